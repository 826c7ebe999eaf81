"""Draws parameters: the importance of each for each objective, and each objective against each parameter."""

from __future__ import annotations

from typing import Any

from sweeper.measurements import Objective
from sweeper.results.plots.accuracies import Row
from sweeper.results.plots.panels import Page
from sweeper.results.plots.points import Points
from sweeper.results.plots.style import BLUE, ITS_TEXT, PALE, NotDrawnError, Picture, axis, shown

#: Heights in pixels: of a slice's panel, of a parameter's bar, and of the words above either.
_SLICE, _BAR, _WORDS = 190, 26, 30

#: Most panels in a row.
_MOST_BESIDE = 4

#: The title of the picture of importance.
IMPORTANCE = "What matters for which objective"

#: Least number of settings for which importance is drawn.
LEAST = 4

#: For importance: number of bootstrap draws, and most settings in a draw; the time grows with the square of the latter.
DRAWS, MOST = 8, 100

#: With fewer settings than this for each parameter, the caption warns that they are few.
_FEW = 10


def importance(points: Points) -> Picture:
    """Draw how much of each objective's variance each parameter explains alone, with the spread of that share.

    Raises:
        NotDrawnError: If nothing varies, or there are too few settings.
    """
    from sweeper.search.importance import importances  # loads optuna, which a list of pictures does not need

    rows, parameters = _varied(points)
    if len(rows) < LEAST:
        raise NotDrawnError(f"importance takes {LEAST} settings at least, and there are {len(rows)}")
    found = {
        one.name: importances(rows, list(parameters), one.name, draws=DRAWS, most=MOST) for one in points.objectives
    }
    known = [one for one in points.objectives if found[one.name]]
    if not known:
        raise NotDrawnError(f"no objective varies over the {len(rows)} settings")
    beside = min(len(known), _MOST_BESIDE)
    down = -(-len(known) // beside)
    page = Page(down, beside, down * (_BAR * len(parameters) + _WORDS + 40), above=_WORDS, gap=0.06)
    names = [shown(name) for name in parameters.values()]
    for number, objective in enumerate(known):
        row, column = divmod(number, beside)
        across = {"range": [0, 1.02], "tickformat": ".0%", "nticks": 5}
        upwards: dict[str, Any] = {"autorange": "reversed", "type": "category", "showticklabels": column == 0}
        where = page.panel(row, column, across, upwards)
        page.write(where, [f"{shown(objective.name)} {objective.goal.arrow}"])
        shares = [found[objective.name][column_of] for column_of in parameters]
        page.traces.append({
            "type": "bar",
            "orientation": "h",
            "x": [one.share for one in shares],
            "y": names,
            "error_x": {
                "array": [one.high - one.share for one in shares],
                "arrayminus": [one.share - one.low for one in shares],
                "color": PALE,
                "thickness": 1.5,
            },
            "marker": {"color": BLUE},
            "text": [
                f"{name}: {one.share:.0%} of the variance of {shown(objective.name)}, {one.low:.0%} to {one.high:.0%}"
                for name, one in zip(names, shares, strict=True)
            ],
            "textposition": "none",
            "hovertemplate": ITS_TEXT,
            "showlegend": False,
            **where,
        })
    few = (
        f" {len(rows)} settings are FEW for {len(parameters)} varied "
        f"{'parameter' if len(parameters) == 1 else 'parameters'}: take it as a hint where to look, not as a finding."
        if len(rows) < _FEW * len(parameters)
        else ""
    )
    left_out = [one.name for one in points.objectives if one not in known]
    flat = f" {', '.join(left_out)} does not vary." if left_out else ""
    drawn = f"{min(len(rows), MOST)} of the {len(rows)} settings" if len(rows) > MOST else f"the {len(rows)} settings"
    caption = (
        "Share of each objective's variance, over the ranges that were tried, that a parameter explains alone, by "
        f"fANOVA. Whiskers reach from the least to the most of {DRAWS} draws, with replacement, of {drawn}: where they "
        "overlap, the order is not known. What several parameters explain only together is in no bar, and a parameter "
        f"that a sampler hardly varied looks unimportant.{few}{flat}"
    )
    return Picture("importance", IMPORTANCE, caption, page.drawn())


def has_importance(points: Points) -> bool:
    """Return whether importance can be drawn, without computing it."""
    try:
        rows, _ = _varied(points)
    except NotDrawnError:
        return False
    return len(rows) >= LEAST and any(len({row[one.name] for row in rows}) > 1 for one in points.objectives)


def slices(points: Points) -> Picture:
    """Draw each objective against each parameter, with a panel for each pair.

    Raises:
        NotDrawnError: If nothing varies.
    """
    rows, parameters = _varied(points)
    objectives = points.objectives
    page = Page(
        len(objectives),
        len(parameters),
        len(objectives) * _SLICE,
        above=10,
        has_legend=True,
        gap=0.14 / len(parameters),
    )
    for row, objective in enumerate(objectives):
        for column, (name, title) in enumerate(parameters.items()):
            across = _axis_of(name, title, rows, points)
            upwards = axis(objective.name, [one[objective.name] for one in rows], objective.goal, points.units)
            upwards["title"] = upwards["title"] if column == 0 else {"text": ""}
            if row < len(objectives) - 1:
                across["title"] = {"text": ""}
            where = page.panel(row, column, across, upwards)
            page.traces += _slice(points, rows, (name, objective), where, page)
    caption = (
        "Each point is a setting, averaged over its seeds; blue ones are on the front of all objectives. The other "
        "parameters vary along: a slice shows where good settings lie, not what a parameter alone does."
    )
    return Picture("slices", "Every objective against every parameter", caption, page.drawn())


def _slice(
    points: Points, rows: list[Row], pair: tuple[str, Objective], where: dict[str, str], page: Page
) -> list[dict[str, Any]]:
    name, objective = pair
    traces = []
    for title, is_member, how in (
        ("other settings", False, {"size": 6, "color": PALE, "opacity": 0.7}),
        ("on the front", True, {"size": 8, "color": BLUE}),
    ):
        own = [row for row in rows if (row["key"] in points.front_keys) is is_member]
        if own:
            legend: dict[str, Any] = {"name": title, "legendgroup": title, "showlegend": page.is_new(title)}
            # The hover text names this panel's two columns only: full texts in every panel would make the page large.
            text = (
                f"<b>%{{customdata[0]}}</b><br>{shown(points.axes[name])} = %{{x}}<br>{shown(objective.name)}: %{{y}}"
            )
            traces.append({
                "type": "scatter",
                "mode": "markers",
                "x": [row[name] for row in own],
                "y": [row[objective.name] for row in own],
                "customdata": [[row["key"]] for row in own],
                "hovertemplate": f"{text}<extra></extra>",
                "marker": how,
                **legend,
                **where,
            })
    return traces


def _axis_of(name: str, title: str, rows: list[Row], points: Points) -> dict[str, Any]:
    values = [row[name] for row in rows]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        found = axis(name, values, None, points.units)
    else:
        found = {"type": "category"}
    return {**found, "title": {"text": shown(title)}}


def _varied(points: Points) -> tuple[list[Row], dict[str, str]]:
    """Return the settings with all objectives, and the parameters that vary among them: column -> name."""
    rows = points.with_all(*(objective.name for objective in points.objectives))
    parameters = {
        column: name
        for column, name in points.axes.items()
        if all(row.get(column) is not None for row in rows) and len({str(row[column]) for row in rows}) > 1
    }
    if not parameters:
        raise NotDrawnError(f"no parameter varies over all {len(rows)} settings")
    return rows, parameters
