"""Marks of settings: their places, their hover texts, and counts of settings at one place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sweeper.measurements import Goal, Objective
from sweeper.results.plots.accuracies import Row
from sweeper.results.plots.points import Points
from sweeper.results.plots.style import ITS_TEXT, PALE, SMALL_SIZE, Trace, hover, is_logarithmic, shown

#: Side of a cell, as a share of an axis' span; marks in one cell hide each other and count as one place.
_PLACE = 1 / 150

#: Most other settings at the same place that a hover text names.
_MOST_NAMED = 4


def marks(points: Points, rows: Sequence[Row], x: str, y: str, *, z: str | None = None, **how: Any) -> Trace:
    """Return settings as markers that carry key and hover text."""
    positions: dict[str, Any] = {"x": [row[x] for row in rows], "y": [row[y] for row in rows]}
    if z is not None:
        positions["z"] = [row[z] for row in rows]
    texts = [hover(row, points.objectives, points.axes, points.units) for row in rows]
    common = {"mode": "markers", "customdata": [[row["key"]] for row in rows], "text": texts}
    kind = "scatter" if z is None else "scatter3d"
    return {"type": kind, **positions, **common, "hovertemplate": ITS_TEXT, **how}


def pale_marks(points: Points, rows: Sequence[Row], x: str, y: str, **how: Any) -> list[Trace]:
    """Return the settings in the background as one pale trace; none without settings."""
    look = {"size": 6, "color": PALE, "opacity": 0.7}
    return [marks(points, rows, x, y, **{"name": "other settings", "marker": look, **how})] if rows else []


def line(positions: Sequence[tuple[float, float]], *, color: str, dash: str = "solid", **how: Any) -> Trace:
    """Return a line through places, without a hover text."""
    x, y = ([position[at] for position in positions] for at in (0, 1))
    look = {"color": color, "width": 2, "dash": dash}
    return {"type": "scatter", "x": x, "y": y, "mode": "lines", "line": look, "hoverinfo": "skip", **how}


def counted(rows: Sequence[Row], x: str, y: str, traces: Sequence[Trace], *, aside: int = 1) -> list[Trace]:
    """Return a trace of counts where several settings lie at one place; name the others in each one's hover text.

    Args:
        rows: All settings of a picture.
        x, y: Columns of their places.
        traces: Their marks, whose hover texts are extended.
        aside: Distance of the counts from the marks, in spaces: large marks need more.
    """
    places = _places(rows, x, y)
    together: dict[tuple[int, int], list[Row]] = {}
    for row, place in zip(rows, places, strict=True):
        together.setdefault(place, []).append(row)
    others = {
        row["key"]: [one["key"] for one in those if one["key"] != row["key"]]
        for those in together.values()
        if len(those) > 1
        for row in those
    }
    for trace in traces:
        for at, entry in enumerate(trace.get("customdata", ())):
            if entry[0] in others:
                trace["text"][at] += _and_here(others[entry[0]])
    piles = [those for those in together.values() if len(those) > 1]
    if not piles:
        return []
    return [
        {
            "type": "scatter",
            "mode": "text",
            "x": [max(row[x] for row in those) for those in piles],
            "y": [max(row[y] for row in those) for those in piles],
            "text": ["\u2002" * aside + f"×{len(those)}" for those in piles],
            "textposition": "top right",
            "textfont": {"size": SMALL_SIZE},
            "hoverinfo": "skip",
            "showlegend": False,
            "cliponaxis": False,
        }
    ]


#: Sentence of a caption about these counts.
COUNTS = " A number such as ×3 counts settings at one place."


def _and_here(keys: Sequence[str]) -> str:
    named = ", ".join(shown(key) for key in keys[:_MOST_NAMED])
    more = f" and {len(keys) - _MOST_NAMED} more" if len(keys) > _MOST_NAMED else ""
    return f"<br>at the same place: {named}{more}"


def _places(rows: Sequence[Row], x: str, y: str) -> list[tuple[int, int]]:
    """Return the cell of each setting; settings in the same cell hide each other."""
    across, up = (_cells([row[name] for row in rows]) for name in (x, y))
    return list(zip(across, up, strict=True))


def _cells(values: Sequence[float]) -> list[int]:
    if not values:
        return []
    scaled = [math.log10(value) for value in values] if is_logarithmic(values) else [float(value) for value in values]
    low, high = min(scaled), max(scaled)
    return [round((value - low) / ((high - low) * _PLACE)) if high > low else 0 for value in scaled]


def staircase(positions: Sequence[tuple[float, float]], corner: tuple[float, float]) -> list[tuple[float, float]]:
    """Return the border of the dominated region, from the worst y over each position to the worst x.

    Args:
        positions: Points of the front, best x first.
        corner: The worst x and y, where the border ends.
    """
    steps = [(positions[0][0], corner[1])]
    for x, y in positions:
        steps += [(x, steps[-1][1]), (x, y)]
    steps.append((corner[0], steps[-1][1]))
    return [position for position, before in zip(steps, [None, *steps], strict=False) if position != before]


def worst(rows: Sequence[Row], objective: Objective) -> float:
    """Return the worst value of an objective."""
    values = [row[objective.name] for row in rows]
    return float(min(values) if objective.goal is Goal.MAXIMIZE else max(values))


def number_of(count: int) -> str:
    """Return a number of settings in words."""
    return f"{count} setting{'' if count == 1 else 's'}"


def bound_in_legend() -> Trace:
    """Return a trace without points, which explains open marks with arrows in the legend."""
    return {
        "type": "scatter",
        "x": [None],
        "y": [None],
        "mode": "markers",
        "marker": {"symbol": "circle-open", "size": 9, "color": PALE, "line": {"width": 2}},
        "name": "open, with an arrow: the smallest tried",
        "hoverinfo": "skip",
    }


def arrow(x: object, y: object, *, to_left: bool = False) -> dict[str, Any]:
    """Return an arrow from a point downwards or to the left; it says that the need may be less.

    Args:
        x, y: Place of the point in an annotation's coordinates: on a logarithmic axis the logarithm.
        to_left: Whether the arrow leads to the left.
    """
    shape = {"arrowhead": 2, "arrowsize": 1, "arrowwidth": 1.5, "standoff": 0}
    way = {"ax": 18, "ay": 0, "xshift": -26} if to_left else {"ax": 0, "ay": -18, "yshift": -26}
    return {"x": x, "y": y, "text": "", "showarrow": True, **way, **shape}


#: Line of a hover text about such a point.
UPPER_BOUND = "<br>the smallest tried: an upper bound"
