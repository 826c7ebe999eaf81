"""Draws fronts in two objectives: of one sweep with all its settings and bands, or of several sweeps."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.measurements import Goal, Objective
from sweeper.results.plots.accuracies import Row
from sweeper.results.plots.marks import COUNTS, counted, line, marks, number_of, pale_marks, staircase, worst
from sweeper.results.plots.points import Points, best_of
from sweeper.results.plots.style import BLUE, LINES, ORANGE, NotDrawnError, Picture, Trace, axis, number, shown, sketch

#: Colours of the bands that half of the seeds attain, and that one seed attains.
_DARK, _LIGHT = "rgba(0, 114, 178, 0.42)", "rgba(0, 114, 178, 0.2)"


def front_against(points: Points, x: Objective, beside: Sequence[Points] = ()) -> Picture:
    """Draw the front of the first objective and another one.

    Args:
        points: The task's points.
        x: The other objective.
        beside: Points of the same task of other sweeps.

    Raises:
        NotDrawnError: If all settings lie in one point.
    """
    y = points.objectives[0]
    rows = points.with_all(x.name, y.name)
    if len({(row[x.name], row[y.name]) for row in rows}) == 1:
        many = f"all {len(rows)} settings have" if len(rows) > 1 else "the only setting has"
        raise NotDrawnError(
            f"{many} {y.name} {number(rows[0][y.name])} and {x.name} {number(rows[0][x.name])}: a front of one point"
        )
    return _fronts_beside([points, *beside], x, y) if beside else _front_alone(points, rows, x, y)


def _front_alone(points: Points, rows: Sequence[Row], x: Objective, y: Objective) -> Picture:
    best = best_of(rows, [y, x])
    keys = {row["key"] for row in best}
    rest = [row for row in rows if row["key"] not in keys]
    members = [row for row in rest if row["key"] in points.front_keys]
    others = [row for row in rest if row["key"] not in points.front_keys]
    pair = f"front of {shown(y.name)} and {shown(x.name)}"
    attained = points.sweep.attainment(points.task, [y.name, x.name]).to_pylist() if points.seeds > 1 else []
    corner = (worst([*rows, *attained], x), worst([*rows, *attained], y))
    traces = [*_bands(attained, (y, x), corner), *pale_marks(points, others, x.name, y.name)]
    if members:
        how = {"symbol": "diamond-open", "size": 9, "color": ORANGE, "line": {"width": 2}}
        traces.append(marks(points, members, x.name, y.name, name="front of all objectives", marker=how))
    steps = staircase([(row[x.name], row[y.name]) for row in best], corner)
    traces += [
        line(steps, color=BLUE, name=pair, legendgroup="pair", showlegend=False),
        marks(points, best, x.name, y.name, name=pair, marker={"size": 9, "color": BLUE}, legendgroup="pair"),
    ]
    counts = counted(rows, x.name, y.name, traces)
    looks = sketch(
        [*traces, *counts],
        xaxis=axis(x.name, [row[x.name] for row in [*rows, *attained]], x.goal, points.units),
        yaxis=axis(y.name, [row[y.name] for row in [*rows, *attained]], y.goal, points.units),
    )
    mean = " Each point is a setting, averaged over its seeds." if points.seeds > 1 else ""
    caption = (
        f"The line is the front: {number_of(len(best))} that no other one beats in both {y.name} and {x.name}.{mean}"
        f"{' Diamonds are on the front only when the other objectives count too.' if members else ''}"
        f"{_BAND_CAPTION if attained else ''}{COUNTS if counts else ''}"
        " Arrows say which direction is better."
    )
    return Picture(f"front-{x.name}", f"{y.name.capitalize()} against {x.name}", caption, looks)


def _fronts_beside(several: Sequence[Points], x: Objective, y: Objective) -> Picture:
    """Draw the fronts of several sweeps, each with a colour, marker and dashes of its own."""
    rows_of = [points.with_all(x.name, y.name) for points in several]
    rows = [row for own in rows_of for row in own]
    corner = (worst(rows, x), worst(rows, y))
    behind, traces, said = list[Trace](), list[Trace](), []
    for points, own, (colour, symbol, dash) in zip(several, rows_of, LINES, strict=False):
        best = best_of(own, [y, x])
        keys = {row["key"] for row in best}
        name = shown(points.sweep.name)
        group = {"legendgroup": name}
        rest = {"name": f"{name}: other settings", "showlegend": False, **group}
        pale = {"size": 5, "color": colour, "opacity": 0.45, "symbol": symbol}
        others = [row for row in own if row["key"] not in keys]
        behind += pale_marks(points, others, x.name, y.name, marker=pale, **rest)
        steps = staircase([(row[x.name], row[y.name]) for row in best], corner)
        how = {"size": 9, "color": colour, "symbol": symbol}
        traces += [
            line(steps, color=colour, dash=dash, name=name, showlegend=False, **group),
            marks(points, best, x.name, y.name, name=name, marker=how, showlegend=True, **group),
        ]
        said.append(f"{points.sweep.name} with {number_of(len(best))}")
    counts = counted(rows, x.name, y.name, [*behind, *traces])
    looks = sketch(
        [*behind, *traces, *counts],
        showlegend=True,
        xaxis=axis(x.name, [row[x.name] for row in rows], x.goal, several[0].units),
        yaxis=axis(y.name, [row[y.name] for row in rows], y.goal, several[0].units),
    )
    caption = (
        f"The lines are the fronts of {y.name} and {x.name} on task {several[0].task}: {', '.join(said)}. "
        f"Pale marks are the other settings.{COUNTS if counts else ''} Arrows say which direction is better."
    )
    names = " and ".join(points.sweep.name for points in several)
    return Picture(f"front-{x.name}", f"{y.name.capitalize()} against {x.name}, {names}", caption, looks)


_BAND_CAPTION = (
    " The dark band is what half of the seeds attain but not all, the light one what one attains but not half; a seed "
    "attains what one of its own trials dominates."
)


def _bands(attained: Sequence[Row], pair: tuple[Objective, Objective], corner: tuple[float, float]) -> list[Trace]:
    """Draw the bands that some, but not all, seeds attain, from the rows of `SweepTables.attainment`."""
    y, x = pair
    surfaces: dict[str, list[tuple[float, float]]] = {}
    for row in attained:
        surfaces.setdefault(row["surface"], []).append((row[x.name], row[y.name]))
    sign = -1 if x.goal is Goal.MAXIMIZE else 1
    borders = {
        name: staircase(sorted(positions, key=lambda xy: sign * xy[0]), corner) for name, positions in surfaces.items()
    }
    bands = (("median", "worst", _DARK, "half of the seeds"), ("best", "median", _LIGHT, "one seed"))
    return [
        {
            "type": "scatter",
            "x": [position[0] for position in outline],
            "y": [position[1] for position in outline],
            "mode": "lines",
            "line": {"width": 0},
            "fill": "toself",
            "fillcolor": colour,
            "hoverinfo": "skip",
            "name": who,
        }
        for upper, lower, colour, who in bands
        if upper in borders
        for outline in [[*borders[upper], *reversed(borders.get(lower, [corner]))]]
    ]
