"""Draws findings whose marks are networks: trade-offs at one accuracy (F1), and how different networks are (F5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeper.analysis.findings.tradeoffs import BAND
from sweeper.results.plots.panels import (
    LONGEST_TITLE,
    PANEL,
    Page,
    apart,
    interval,
    is_number,
    of_rule,
    ranks,
    rules_of,
    share,
)
from sweeper.results.plots.style import (
    ITS_TEXT,
    PALE,
    PALETTE,
    SCALE,
    NotDrawnError,
    Trace,
    axis_title,
    is_counted,
    number,
    shown,
    wrapped,
)

if TYPE_CHECKING:  # this module loads scipy
    from sweeper.analysis.findings.verdicts import Part


#: Most settings to tell apart by colour and marker; with more, a panel for each pressure shows its value as colour.
_MOST_SETTINGS = 6

_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross")


# --- F1: trade-offs -------------------------------------------------------------------------------


def tradeoff(parts: Sequence[Part]) -> Page:
    """Draw the networks near one accuracy: a panel for each pair of resources, a row for each halting rule.

    Raises:
        NotDrawnError: If there is nothing to draw; says why.
    """
    rules = rules_of(parts)
    few = [part for part in parts if len(part.numbers["near"]) < 3]
    if not parts or len(few) == len(parts):
        raise NotDrawnError(few[0].why if few else "no network of this task was trained with recurrence")
    rules = [rule for rule in rules if any(part not in few for part in of_rule(parts, rule))]
    page = Page(len(rules), 3, PANEL * len(rules), above=66, gap=0.09)
    for row, rule in enumerate(rules):
        for column, part in enumerate(of_rule(parts, rule)):
            _tradeoff_panel(page, row, column, part, is_first=not row and not column)
    accuracies = ", ".join(f"{_target(of_rule(parts, rule)[0]):.3f} ({rule})" for rule in rules)
    page.caption = (
        f"Each mark is a network within {BAND:g} of the target accuracy, {accuracies}, that no wall of its window "
        "bounds; networks at one place stand around it. Above each pair: its partial rank correlation with the third "
        "resource and accuracy held fixed, and the interval over seeds; below zero, one stands in for the other. Then "
        "what arithmetic or chance alone gives, and the correlation among networks of equal multiply-accumulates, "
        "where a trade-off is certain."
    )
    return page


def _target(part: Part) -> float:
    return float(next(one["accuracy"] for one in part.numbers["targets"] if one["percentile"] == 70))


def _tradeoff_panel(page: Page, row: int, column: int, part: Part, *, is_first: bool) -> None:
    x, y = part.name.split(" for ")
    rows = part.numbers["near"]
    third = next(name for name in ("breadth", "depth", "time") if name not in (x, y))
    xs, ys = apart([one[x] for one in rows], [one[y] for one in rows]) if rows else ([], [])
    across, up = (_resource_axis(name, [one[name] for one in rows]) for name in (x, y))
    where = page.panel(row, column, across, up)
    marker: dict[str, Any] = {
        "size": 8,
        "opacity": 0.85,
        "color": ranks([one[third] for one in rows]),
        "colorscale": SCALE,
        "cmin": 0,
        "cmax": 1,
        "line": {"width": 0.5, "color": PALE},
    }
    if is_first:
        marker["colorbar"] = page.colour_bar("the third resource")
    page.traces.append({
        "type": "scatter",
        "mode": "markers",
        "x": xs,
        "y": ys,
        "meta": {"places": {"x": [one[x] for one in rows], "y": [one[y] for one in rows]}},
        **where,
        "marker": marker,
        "customdata": [[one["key"]] for one in rows],
        "text": [
            f"<b>{shown(one['key'])}</b><br>"
            + "<br>".join(f"{name} {number(one[name])}" for name in ("breadth", "depth", "time", "accuracy"))
            + f"<br>seed {one['seed']}"
            for one in rows
        ],
        "hovertemplate": ITS_TEXT,
        "name": part.name,
    })
    effect = part.effect
    lines = [
        f"<b>{interval(-effect.value, -effect.high, -effect.low)}</b>"
        if is_number(effect.value)
        else f"<b>{part.verdict}</b>"
    ]
    if part.lacks:
        lines.append(f"{len(rows)} networks near {_target(part):.3f}")
    else:
        what = "arithmetic" if "time" not in (x, y) else "chance"
        lines.append(f"{what} alone {interval(part.numbers['by_arithmetic'])}")
        lines.append(f"at equal cost {interval(part.numbers['at_equal_cost'])}")
    page.write(where, [f"{part.rule}: {part.name}", *lines])


def _resource_axis(name: str, values: Sequence[float]) -> dict[str, Any]:
    ticks = {"dtick": 1} if values and is_counted(name, values) else {"nticks": 6}
    return {"title": {"text": wrapped(axis_title(name), LONGEST_TITLE)}, **ticks}


# --- F5: diversity --------------------------------------------------------------------------------


def diversity(parts: Sequence[Part]) -> Page:
    """Draw a map of networks whose distances show how different they are, with a row for each halting rule.

    Raises:
        NotDrawnError: If there is nothing to draw; says why.
    """
    known = [part for part in parts if part.numbers.get("map")]
    if not known:
        raise NotDrawnError(parts[0].why if parts else "no network of this task was trained with recurrence")
    settings = list(dict.fromkeys(row["setting"] for part in known for row in part.numbers["map"]))
    pressures = _varied(settings)
    by_setting = len(settings) <= _MOST_SETTINGS or not pressures
    columns = 1 if by_setting else len(pressures)
    page = Page(len(known), columns, (PANEL + 40) * len(known), above=66, gap=0.07, has_legend=by_setting)
    for row, part in enumerate(known):
        for column in range(columns):
            where = page.panel(row, column, _map_axis("first"), _map_axis("second") if not column else _map_axis(""))
            points = part.numbers["map"]
            if by_setting:
                page.traces += [
                    {**one, **where, "showlegend": page.is_new(one["name"])} for one in _by_setting(points, settings)
                ]
            else:
                name = pressures[column]
                bar = {} if page.has_bar else {"colorbar": page.colour_bar("the pressure")}
                page.traces.append({**_by_pressure(points, name, bar), **where})
            said = _map_words(part) if not column else ["", "", ""]
            head = part.rule if by_setting else f"{part.rule}: colour is {pressures[column].replace('_', ' ')}"
            page.write(where, [f"<b>{head}</b>", *said])
    page.caption = (
        "Each mark is a network; marks are as far apart as channels by layer, depth, steps and what lesions cost are "
        f"different, as well as a plane allows ({', '.join(share(one.numbers['map_share']) for one in known)} of the "
        "variance). Written above: the share of the variance of distances that lies between settings, with its "
        "interval over seeds, and as control the share between seeds."
    )
    return page


def _map_words(part: Part) -> list[str]:
    if part.lacks:
        return [str(part.verdict), f"{len(part.numbers['map'])} networks"]
    effect = part.effect
    said = interval(100 * effect.value, 100 * effect.low, 100 * effect.high, "{:.0f}")
    return [f"between settings {said} %", f"between seeds {share(part.numbers['between_seeds'])}"]


def _map_axis(which: str) -> dict[str, Any]:
    title = {"title": {"text": f"{which} dimension"}} if which else {}
    return {**title, "nticks": 5}


def _varied(settings: Sequence[str]) -> list[str]:
    """Return the pressures that settings differ in."""
    values: dict[str, set[str]] = {}
    for setting in settings:
        for name, value in _read(setting).items():
            values.setdefault(name, set()).add(value)
    return [name for name, some in values.items() if len(some) > 1 and name.endswith("_pressure")]


def _read(setting: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in setting.split() if "=" in part)


def _by_setting(points: Sequence[Mapping[str, Any]], settings: Sequence[str]) -> list[Trace]:
    found = []
    for at, setting in enumerate(settings):
        own = [one for one in points if one["setting"] == setting]
        marker = {
            "color": PALETTE[at % len(PALETTE)],
            "symbol": _SYMBOLS[at % len(_SYMBOLS)],
            "size": 9,
            "opacity": 0.85,
        }
        found.append({**_on_map(own), "marker": marker, "name": shown(setting or "all"), "legendgroup": setting})
    return found


def _by_pressure(points: Sequence[Mapping[str, Any]], name: str, bar: Mapping[str, Any]) -> Trace:
    values = [float(_read(one["setting"]).get(name, "nan")) for one in points]
    marker: dict[str, Any] = {
        "color": ranks(values),
        "colorscale": SCALE,
        "cmin": 0,
        "cmax": 1,
        "size": 9,
        "opacity": 0.85,
        "line": {"width": 0.5, "color": PALE},
    }
    return {**_on_map(points), "marker": {**marker, **bar}, "name": name}


def _on_map(points: Sequence[Mapping[str, Any]]) -> Trace:
    x, y = apart([one["x"] for one in points], [one["y"] for one in points])
    return {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": y,
        "meta": {"places": {"x": [one["x"] for one in points], "y": [one["y"] for one in points]}},
        "customdata": [[one["key"]] for one in points],
        "text": [
            f"<b>{shown(one['key'])}</b><br>{shown(one['setting']).replace(' ', '<br>')}<br>seed {one['seed']}<br>"
            f"channels, from the image upwards: {' · '.join(map(str, one['channels_per_layer']))}<br>"
            f"steps {number(one['time'])}, accuracy {number(one['accuracy'])}"
            for one in points
        ],
        "hovertemplate": ITS_TEXT,
    }
