"""Draws growth along a ladder of tasks (F2), with accuracy beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeper.analysis import sheet
from sweeper.results.plots.panels import LONGEST_TITLE, PANEL, Page, interval, is_number, of_rule, rules_of
from sweeper.results.plots.style import (
    BLUE,
    GREEN,
    ITS_TEXT,
    LEAST_SIZE,
    PALE,
    VERMILLION,
    NotDrawnError,
    Trace,
    axis_title,
    number,
    shown,
    wrapped,
)

if TYPE_CHECKING:  # this module loads scipy
    from sweeper.analysis.findings.verdicts import Part


_WAYS = (
    ("at fixed pressures", "at_fixed_pressures", BLUE, "circle", "solid"),
    ("at fixed accuracy", "at_fixed_accuracy", VERMILLION, "square", "dash"),
)


def growth(parts: Sequence[Part]) -> Page:
    """Draw each resource along the ladder of tasks, at fixed pressures and at fixed accuracy, and accuracy beside it.

    Raises:
        NotDrawnError: If there is nothing to draw; says why.
    """
    rules = rules_of(parts)
    if not parts:
        raise NotDrawnError("no network was trained with recurrence")
    page = Page(2 * len(rules), 2, PANEL * 2 * len(rules), above=54, below=56, gap=0.12, has_legend=True)
    for at, rule in enumerate(rules):
        own = of_rule(parts, rule)
        for place, part in enumerate(own):
            _growth_panel(page, divmod(2 * 2 * at + place, 2), part)
        _accuracy_panel(page, divmod(2 * 2 * at + len(own), 2), own[0])
    page.caption = (
        "Tasks from the easiest to the hardest, by what a regression on pixels and the nearest neighbour get wrong. "
        "Lines are means over blocks of class sets and seeds, bars their intervals. At fixed pressures: the mean over "
        "settings that no wall bounds; at fixed accuracy: the least that reaches the target of the hardest task, where "
        "that is not censored. Above each: its ratio between the hardest and the easiest task. The control is "
        "accuracy, which must not rise along the ladder."
    )
    return page


def _ladder_axis(ladder: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": [shown(one["task"]) for one in ladder],
        "tickfont": {"size": LEAST_SIZE},
    }


def _growth_panel(page: Page, place: tuple[int, int], part: Part) -> None:
    ladder = part.numbers["ladder"]
    title = {"text": wrapped(axis_title(part.name), LONGEST_TITLE)}
    where = page.panel(*place, _ladder_axis(ladder), {"title": title, "rangemode": "tozero"})
    for name, column, colour, symbol, dash in _WAYS:
        rows = [one for one in ladder if is_number(one[column])]
        page.traces.append({
            **_with_intervals(
                [shown(one["task"]) for one in rows],
                [one[column] for one in rows],
                [one[f"{column}_interval"] for one in rows],
                (colour, symbol, dash),
            ),
            **where,
            "name": name,
            "legendgroup": name,
            "showlegend": bool(rows) and page.is_new(name),
            "text": [_growth_text(part, one, name, column) for one in rows],
        })
    ways = part.numbers["ways"]
    said = [f"{name}: {_times(ways[name])}, {sheet.counted(ways[name]['blocks'], 'block')}" for name, *_ in _WAYS]
    page.write(where, [f"{part.rule}: <b>{part.name}</b>", *said])


def _times(way: Mapping[str, Any]) -> str:
    return f"× {interval(way['ratio'], way['low'], way['high'])}" if is_number(way["ratio"]) else "not known"


def _growth_text(part: Part, row: Mapping[str, Any], name: str, column: str) -> str:
    censored = [
        f"{row[f'censored_{side}']} blocks need {words} than was tried"
        for side, words in (("above", "more"), ("below", "no more"))
        if column == "at_fixed_accuracy" and row[f"censored_{side}"]
    ]
    lines = [
        f"<b>{shown(row['task'])}</b>",
        f"{part.name} {interval(row[column], *row[f'{column}_interval'])}, {name}",
        f"error of a regression {number(row['regression'])}, of the nearest neighbour {number(row['neighbour'])}",
        *censored,
    ]
    return "<br>".join(lines)


def _with_intervals(
    x: Sequence[Any], y: Sequence[float], intervals: Sequence[Sequence[float | None]], look: tuple[str, str, str]
) -> Trace:
    colour, symbol, dash = look
    bars = [
        (high - value, value - low) if low is not None and high is not None else (0.0, 0.0)
        for value, (low, high) in zip(y, intervals, strict=True)
    ]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": list(x),
        "y": list(y),
        "line": {"color": colour, "width": 2, "dash": dash},
        "marker": {"color": colour, "symbol": symbol, "size": 8},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, up) for up, _ in bars],
            "arrayminus": [max(0.0, down) for _, down in bars],
            "color": colour,
            "thickness": 1.5,
            "width": 4,
        },
        "hovertemplate": ITS_TEXT,
    }


def _accuracy_panel(page: Page, place: tuple[int, int], part: Part) -> None:
    ladder = part.numbers["ladder"]
    tasks = [shown(one["task"]) for one in ladder]
    title = {"text": wrapped(axis_title("accuracy"), LONGEST_TITLE)}
    where = page.panel(*place, _ladder_axis(ladder), {"title": title})
    page.traces.append({
        **_with_intervals(
            tasks,
            [one["accuracy"] for one in ladder],
            [one["accuracy_interval"] for one in ladder],
            (GREEN, "diamond", "solid"),
        ),
        **where,
        "name": "networks",
        "showlegend": page.is_new("networks"),
        "text": [
            f"<b>{task}</b><br>accuracy {interval(one['accuracy'], *one['accuracy_interval'])}"
            for task, one in zip(tasks, ladder, strict=True)
        ],
    })
    for name, column, dash in (
        ("regression on pixels", "regression", "dot"),
        ("nearest neighbour", "neighbour", "dash"),
    ):
        page.traces.append({
            "type": "scatter",
            "mode": "lines",
            "x": tasks,
            "y": [1 - one[column] for one in ladder],
            **where,
            "line": {"color": PALE, "width": 1.5, "dash": dash},
            "name": name,
            "showlegend": page.is_new(name),
            "text": [f"{name}: {number(1 - one[column])} right" for one in ladder],
            "hovertemplate": ITS_TEXT,
        })
    agreed = next(one for one in part.controls if one.name == "order of the ladder")
    harder = next(one for one in part.controls if one.name == "harder tasks")
    says = [f"{one.name}: {'passed' if one.is_passed else 'not passed'}" for one in (harder, agreed)]
    page.write(where, ["control: <b>accuracy</b> at the same pressures", *says])
