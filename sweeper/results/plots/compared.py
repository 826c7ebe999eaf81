"""Draws several sweeps' fronts of one task, over each pair of the first objective and another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.analysis.fronts import Front
from sweeper.measurements import Goal, Objective
from sweeper.results.plots.marks import staircase
from sweeper.results.plots.panels import PANEL, Page
from sweeper.results.plots.points import best_of
from sweeper.results.plots.style import LINES, NotDrawnError, Picture, axis, number, shown

#: Most panels in a row.
_MOST_BESIDE = 3


def fronts_beside(fronts: Sequence[Front]) -> Picture:
    """Draw fronts of one task and the same objectives in the same panels.

    Raises:
        NotDrawnError: If a front has no point, there is only one objective, or there are more fronts than line styles.
    """
    first, *others = fronts[0].objectives
    if not others or not all(front.table.num_rows for front in fronts) or len(fronts) > len(LINES):
        raise NotDrawnError(f"fronts are drawn beside each other where each of at most {len(LINES)} has a point")
    rows = [front.table.to_pylist() for front in fronts]
    every = [row for some in rows for row in some]
    beside = min(len(others), _MOST_BESIDE)
    down = -(-len(others) // beside)
    page = Page(down, beside, down * PANEL, above=10, has_legend=True, gap=0.08)
    for place, other in enumerate(others):
        units = fronts[0].own_units
        x = axis(other.name, [row[other.name] for row in every], other.goal, units)
        y = axis(first.name, [row[first.name] for row in every], first.goal, units)
        if place % beside:
            y["title"] = {"text": ""}  # once a row
        where = page.panel(*divmod(place, beside), x, y)
        corner = (_worst(every, other), _worst(every, first))
        for place_of, (front, some, (colour, symbol, dash)) in enumerate(zip(fronts, rows, LINES, strict=False)):
            # The first front's marks are filled, the others' larger and open, so that coinciding points stay visible.
            look = {"size": 8} if not place_of else {"size": 8 + 5 * place_of, "line": {"width": 2}}
            shape = symbol if not place_of else f"{symbol}-open"
            best = best_of(some, [first, other])
            group = {"name": shown(front.sweep), "legendgroup": shown(front.sweep), **where}
            steps = staircase([(row[other.name], row[first.name]) for row in best], corner)
            page.traces.append({
                "type": "scatter",
                "mode": "lines",
                "x": [at[0] for at in steps],
                "y": [at[1] for at in steps],
                "line": {"color": colour, "width": 2, "dash": dash},
                "hoverinfo": "skip",
                "showlegend": False,
                **group,
            })
            page.traces.append({
                "type": "scatter",
                "mode": "markers",
                "x": [row[other.name] for row in some],
                "y": [row[first.name] for row in some],
                "customdata": [[row["key"]] for row in some],
                "text": [_said(front.sweep, row, (first, other)) for row in some],
                "hovertemplate": "%{text}<extra></extra>",
                "marker": {**look, "color": colour, "symbol": shape},
                "showlegend": page.is_new(front.sweep),
                **group,
            })
    caption = (
        "The fronts over all objectives, one colour a sweep. Each line joins what no other point of its sweep's front "
        "beats in the two objectives of the panel. Arrows say which direction is better."
    )
    return Picture("fronts-beside", "The fronts beside each other", caption, page.drawn())


def _said(sweep: str, row: Mapping[str, Any], pair: Sequence[Objective]) -> str:
    values = "<br>".join(f"{shown(one.name)}: {number(row[one.name])}" for one in pair)
    return f"<b>{shown(sweep)}</b> {shown(row['key'])}<br>{values}"


def _worst(rows: Sequence[Mapping[str, Any]], objective: Objective) -> float:
    values = [row[objective.name] for row in rows]
    return float(min(values) if objective.goal is Goal.MAXIMIZE else max(values))
