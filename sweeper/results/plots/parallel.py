"""Draws all settings at once: a line for each over parallel axes, along which the reader of a page can filter.

The lines are plain 2D lines: they need no WebGL, are sharp in print, and can have any width. The script
`page_files/parallel.js` lets the reader drag along the axes.
"""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.measurements import Goal
from sweeper.results.plots.accuracies import Row
from sweeper.results.plots.marks import number_of
from sweeper.results.plots.points import Points
from sweeper.results.plots.style import (
    CLEAR,
    HEIGHT,
    ITS_TEXT,
    PALE,
    SCALE,
    SMALL_SIZE,
    TEXT_SIZE,
    NotDrawnError,
    Picture,
    Trace,
    axis_title,
    hover,
    is_logarithmic,
    shown,
    sketch,
)

#: Most distinct values of an axis on which each value gets a place of its own.
_MOST_PLACES = 12

#: Labels of axes that fit beside each other on a narrow page. With more axes, each next label stands lower, on at most
#: `_MOST_LEVELS` levels.
_MOST_BESIDE, _MOST_LEVELS = 5, 3

#: Approximate number of ticks of an axis of numbers.
_TICKS = 5

#: Number of line colours. All lines of a colour are one trace, so that thousands of lines make a small page.
_COLOURS = 12

#: Width and opacity of lines by their number: most lines, width, opacity.
_WIDTHS = ((60, 2.5, 0.9), (400, 2.0, 0.7), (math.inf, 1.0, 0.5))

#: Room above the axes for the colour bar, in pixels.
_ABOVE = 66


@dataclass(frozen=True)
class _Side:
    """One axis: its title, the height of each setting on it from 0 to 1, and its ticks with their labels."""

    column: str
    label: str
    heights: Sequence[float]
    ticks: Sequence[tuple[float, str]]


def parallel(points: Points) -> Picture:
    """Draw every setting as a line over axes and objectives.

    Raises:
        NotDrawnError: If there is only one setting, or fewer than two columns vary.
    """
    names = [objective.name for objective in points.objectives]
    rows = points.with_all(*names)
    if len(rows) < 2:
        raise NotDrawnError("there is only one setting: lines need two to compare")
    columns = {column: name for column, name in points.axes.items() if all(row[column] is not None for row in rows)}
    goals = {objective.name: objective.goal for objective in points.objectives}
    of = [(column, name, None) for column, name in columns.items()] + [(name, name, goals[name]) for name in names]
    of = [one for one in of if len({row[one[0]] for row in rows}) > 1]
    if len(of) < 2:
        raise NotDrawnError(f"the {len(rows)} settings differ in {'one thing' if of else 'nothing'} alone")
    sides = [_side(column, name, [row[column] for row in rows], points.units, goal) for column, name, goal in of]
    most_lines = max(side.label.count("<br>") + 1 for side in sides)
    levels = min(_MOST_LEVELS, -(-len(sides) // _MOST_BESIDE))
    foot = 22 + 14 * most_lines * levels
    # Worst first, so that the best lines lie on top.
    first = points.objectives[0]
    sign = 1 if first.goal is Goal.MAXIMIZE else -1
    order = sorted(range(len(rows)), key=lambda at: (sign * rows[at][first.name], at))
    layout: dict[str, Any] = {
        "xaxis": _hidden([-0.06, len(sides) - 1 + 0.06]),
        "yaxis": _hidden([-0.02, 1.02]),
        "shapes": [_upright(at) for at in range(len(sides))],
        "annotations": [
            *(word for at, side in enumerate(sides) for word in _ticks(at, side)),
            _over_scale(axis_title(first.name, first.goal, points.units)),
            *(_label(at, side, 14 * most_lines * (at % levels)) for at, side in enumerate(sides)),
        ],
        "margin": {"l": 52, "r": 40, "t": _ABOVE, "b": foot},
        "showlegend": False,
        "dragmode": False,
        "meta": {"parallel": [side.label.replace("<br>", " ") for side in sides]},
    }
    traces = [*_lines(rows, order, sides, first.name), _scale(points, rows)]
    dots = [at for at, side in enumerate(sides) if side.column == first.name]
    if dots:
        traces.append(_dots(points, rows, order, dots[0], sides[dots[0]]))
    height = HEIGHT + 20 + 14 * most_lines * (levels - 1)
    caption = (
        f"Each line is one of {number_of(len(rows))}, coloured by {first.name}. On a page: drag along an axis to "
        "choose a part of it, click the axis to take that back, and drag an axis' name to move the axis."
    )
    said = [{"key": row["key"], **{name: row[column] for column, name, _ in of}} for row in rows]
    return Picture(
        "parallel",
        "All settings: what was chosen and what came of it",
        caption,
        sketch(traces, height, least_width=90 + 40 * len(sides), least_height=_ABOVE + foot + 75, **layout),
        numbers=said,
    )


def _hidden(span: Sequence[float]) -> dict[str, Any]:
    return {"visible": False, "fixedrange": True, "range": list(span)}


def _upright(at: int) -> dict[str, Any]:
    ink = {"color": PALE, "width": 1.5}
    return {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "line": ink, "layer": "below"}


def _ticks(at: int, side: _Side) -> list[dict[str, Any]]:
    """Return the tick labels of an axis, each with a dash that leads to it."""
    how = {"showarrow": False, "xanchor": "right", "yanchor": "middle", "xshift": -1, "font": {"size": SMALL_SIZE}}
    return [{"x": at, "y": height, "text": f"{text} –", **how} for height, text in side.ticks]


def _label(at: int, side: _Side, lower: float) -> dict[str, Any]:
    how: dict[str, Any] = {"showarrow": False, "bgcolor": CLEAR, "font": {"size": TEXT_SIZE}}
    how |= {"xanchor": "center", "yanchor": "top", "align": "center"}
    name = f"axis {at}"
    return {"x": at, "y": 0, "yref": "paper", "yshift": -10 - lower, "text": side.label, "name": name, **how}


def _over_scale(title: str) -> dict[str, Any]:
    """Return the title of the colour bar."""
    how: dict[str, Any] = {"showarrow": False, "bgcolor": CLEAR, "font": {"size": TEXT_SIZE}}
    place = {"x": 0.5, "xref": "paper", "xanchor": "center", "y": 1, "yref": "paper", "yanchor": "top"}
    return {**how, **place, "yshift": _ABOVE - 2, "text": title}


def _lines(rows: Sequence[Row], order: Sequence[int], sides: Sequence[_Side], by: str) -> list[Trace]:
    """Return a trace for the lines of each colour, after an empty one, which takes the lines a reader filters out."""
    low, high = min(row[by] for row in rows), max(row[by] for row in rows)
    groups: dict[int, list[int]] = {}
    for at in order:
        share = (rows[at][by] - low) / (high - low) if high > low else 0.5
        groups.setdefault(min(_COLOURS - 1, int(share * _COLOURS)), []).append(at)
    _, width, opacity = next(one for one in _WIDTHS if len(rows) <= one[0])
    pale = {"color": PALE, "width": 1}
    common = {"type": "scatter", "mode": "lines", "hoverinfo": "skip"}
    traces: list[Trace] = [{**common, "x": [], "y": [], "line": pale, "opacity": 0.25, "meta": {"keys": []}}]
    for group, members in groups.items():
        traces.append({
            **common,
            "x": [x for _ in members for x in [*range(len(sides)), None]],
            "y": [y for at in members for y in [*(round(side.heights[at], 5) for side in sides), None]],
            "line": {"color": _colour((group + 0.5) / _COLOURS), "width": width},
            "opacity": opacity,
            "meta": {"keys": [rows[at]["key"] for at in members]},
        })
    return traces


def _colour(share: float) -> str:
    """Return the colour at a share of 0 to 1 on the common scale."""
    (low, first), (high, second) = next(pair for pair in itertools.pairwise(SCALE) if pair[0][0] <= share <= pair[1][0])
    part = (share - low) / (high - low)
    mixed = (round(int(first[at : at + 2], 16) * (1 - part) + int(second[at : at + 2], 16) * part) for at in (1, 3, 5))
    return f"rgb({', '.join(map(str, mixed))})"


def _scale(points: Points, rows: Sequence[Row]) -> Trace:
    """Return an invisible mark, which carries the colour bar above the axes."""
    first = points.objectives[0]
    values = [row[first.name] for row in rows]
    bar = {
        "orientation": "h",
        "x": 0.5,
        "xanchor": "center",
        "y": 1,
        "yref": "container",
        "yanchor": "top",
        "ypad": 22,
        "len": 0.6,
        "thickness": 10,
        "tickfont": {"size": SMALL_SIZE},
        "nticks": 5,
        "outlinewidth": 0,
    }
    look = {"color": [min(values)], "cmin": min(values), "cmax": max(values), "colorscale": SCALE, "showscale": True}
    marker = {**look, "colorbar": bar, "opacity": 0}
    return {"type": "scatter", "mode": "markers", "x": [None], "y": [None], "marker": marker, "hoverinfo": "skip"}


def _dots(points: Points, rows: Sequence[Row], order: Sequence[int], place: int, side: _Side) -> Trace:
    """Return a dot for each setting on the axis of the first objective; the dot carries the hover text."""
    first = points.objectives[0]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [place] * len(rows),
        "y": [round(side.heights[at], 5) for at in order],
        "marker": {"size": 7, "color": [rows[at][first.name] for at in order], "colorscale": SCALE},
        "customdata": [[rows[at]["key"]] for at in order],
        "text": [hover(rows[at], points.objectives, points.axes, points.units) for at in order],
        "hovertemplate": ITS_TEXT,
        "cliponaxis": False,
    }


# --- axes -----------------------------------------------------------------------------------------


def _side(
    column: str, name: str, values: Sequence[Any], units: Mapping[str, str] | None, goal: Goal | None = None
) -> _Side:
    """Return an axis: with a place for each value if values are words or few, else linear or logarithmic."""
    label = _narrow(axis_title(name, goal, units))
    is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    distinct = sorted(set(values)) if is_number else sorted(set(values), key=str)
    if goal is None and (not is_number or len(distinct) <= _MOST_PLACES):
        height = {value: at / max(1, len(distinct) - 1) for at, value in enumerate(distinct)}
        shown_ones = distinct if len(distinct) <= 2 * _MOST_PLACES else [distinct[0], distinct[-1]]
        return _Side(column, label, [height[v] for v in values], [(height[v], _tick(v)) for v in shown_ones])
    low, high = distinct[0], distinct[-1]
    if is_logarithmic(values):
        low, high = math.floor(math.log10(low)), math.ceil(math.log10(high))
        ticks = [((power - low) / (high - low), f"1e{power}") for power in range(low, high + 1)]
        return _Side(column, label, [(math.log10(value) - low) / (high - low) for value in values], ticks)
    is_whole = all(float(value).is_integer() for value in distinct)
    ticks = [((value - low) / (high - low), f"{value:.6g}") for value in _round_values(low, high, is_whole=is_whole)]
    return _Side(column, label, [(value - low) / (high - low) for value in values], ticks)


def _round_values(low: float, high: float, *, is_whole: bool) -> list[float]:
    """Return some round numbers between two numbers; whole numbers for counts."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= rough)
    step = max(step, 1.0) if is_whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [at * step for at in range(first, last + 1)]


def _narrow(title: str) -> str:
    """Break a title at spaces, underscores and hyphens into lines so short that titles fit beside each other."""
    return "<br>".join(textwrap.wrap(title.replace("_", "_ ").replace("-", "- "), 10, break_long_words=False)).replace(
        "_ ", "_"
    )


def _tick(value: object) -> str:
    text = f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else shown(value)
    return text if len(text) <= 14 else f"{text[:13]}…"
