"""Draws a front in three objectives: in 3D on screens, where a reader can turn it, and in panels on paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.measurements import Objective
from sweeper.results.plots.accuracies import Row
from sweeper.results.plots.marks import COUNTS, counted, marks, number_of
from sweeper.results.plots.panels import LONGEST_TITLE, PANEL, Page
from sweeper.results.plots.points import Points
from sweeper.results.plots.style import (
    PALE,
    SCALE,
    SMALL_SIZE,
    TEXT_SIZE,
    NotDrawnError,
    Picture,
    Trace,
    axis,
    axis_title,
    is_counted,
    is_logarithmic,
    number,
    sketch,
    wrapped,
)

_LONGEST_IN_SPACE = 24

_NAME = "front-3d"


def front_in_space(points: Points) -> Picture:
    """Draw the front in the first three objectives; colour shows the fourth, if there is one.

    Raises:
        NotDrawnError: If the sweep has fewer than three objectives, or all settings have the same value in one.
    """
    if len(points.objectives) < 3:
        raise NotDrawnError(f"it needs three objectives, but sweep {points.sweep.name!r} has {len(points.objectives)}")
    z, x, y, *more = points.objectives
    rows = points.with_all(*(objective.name for objective in points.objectives))
    for objective in (x, y, z):
        if len({row[objective.name] for row in rows}) == 1:
            raise NotDrawnError(
                f"all settings have the same {objective.name}: {number(rows[0][objective.name])}. "
                "Two objectives show all there is."
            )
    keys = points.front_keys
    front, others = ([row for row in rows if (row["key"] in keys) is is_in] for is_in in (True, False))
    shade = more[0] if more else z
    marker = {
        "size": 6,
        "color": [row[shade.name] for row in front],
        "colorscale": SCALE,
        "line": {"width": 1, "color": PALE},
        "colorbar": _bar(shade, points.units),
    }
    traces = []
    if others:
        how = {"size": 3.5, "color": PALE, "opacity": 0.5}
        traces.append(marks(points, others, x.name, y.name, z=z.name, name="other settings", marker=how))
    heights = [row[z.name] for row in rows]
    floor = min(heights) - 0.05 * (max(heights) - min(heights))
    stems = {
        "type": "data",
        "symmetric": False,
        "array": [0] * len(front),
        "arrayminus": [row[z.name] - floor for row in front],
        "color": PALE,
        "thickness": 1.5,
        "width": 0,
    }
    name = "front of all objectives"
    traces.append(marks(points, front, x.name, y.name, z=z.name, name=name, marker=marker, error_z=stems))
    space: dict[str, Any] = {
        f"{side}axis": {"title": {"text": _title_in_space(one, points.units)}, "nticks": 5}
        for side, one in (("x", x), ("y", y), ("z", z))
    }
    for side, one in (("x", x), ("y", y)):
        if is_logarithmic([row[one.name] for row in rows]):
            space[f"{side}axis"] |= {"type": "log", "dtick": 1}
        elif is_counted(one.name, [row[one.name] for row in rows], points.units):
            space[f"{side}axis"] |= {"dtick": 1}
    space["zaxis"]["range"] = [floor, max(heights) + min(heights) - floor]
    space["camera"] = {"eye": {"x": 1.62, "y": -2.05, "z": 0.9}, "center": {"x": -0.04, "y": -0.03, "z": -0.12}}
    space["aspectmode"] = "cube"
    looks = sketch(traces, height=520, scene=space, margin={"l": 8, "r": 8, "t": 8, "b": 8})
    caption = (
        f"The front of all objectives, {number_of(len(front))}, in {x.name}, {y.name} and {z.name}; colour tells "
        f"{shade.name}. "
    )
    turned = "Stems reach down to the floor; drag to turn it. Arrows say which direction is better."
    panels = _panels(points, front, others, (x, y, z), shade)
    counts = COUNTS if any(trace.get("mode") == "text" for trace in panels.traces) else ""
    flat = f"Each panel is a view along one of the axes.{counts} Arrows say which direction is better."
    title = f"{z.name.capitalize()} against {x.name} and {y.name}"
    return Picture(
        _NAME,
        title,
        caption + turned,
        looks,
        flat=Picture(_NAME, title, caption + flat, panels.drawn()),
        numbers=_numbers(points, rows, keys),
    )


def _numbers(points: Points, rows: Sequence[Row], keys: frozenset[str]) -> list[dict[str, Any]]:
    """Return the settings with all objectives."""
    names = [objective.name for objective in points.objectives]
    return [{"key": row["key"], "on the front": row["key"] in keys, **{n: row[n] for n in names}} for row in rows]


def _title_in_space(objective: Objective, units: Mapping[str, str] | None) -> str:
    """Return the title of a 3D axis; a long one is wrapped so that it stays on a narrow page."""
    return wrapped(axis_title(objective.name, objective.goal, units), _LONGEST_IN_SPACE)


def _bar(objective: Objective, units: Mapping[str, str] | None) -> dict[str, Any]:
    """Return a colour bar below the picture, where it takes no width."""
    title = {"text": axis_title(objective.name, objective.goal, units), "side": "top", "font": {"size": TEXT_SIZE}}
    where = {"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.02, "yanchor": "top", "len": 0.6}
    return {
        **where,
        "thickness": 10,
        "title": title,
        "tickfont": {"size": SMALL_SIZE},
        "nticks": 5,
        "outlinewidth": 0,
    }


def _panels(
    points: Points,
    front: Sequence[Row],
    others: Sequence[Row],
    space: tuple[Objective, Objective, Objective],
    shade: Objective,
) -> Page:
    """Draw three views: from the front, from the side and from above; panels share the axes between them."""
    x, y, z = space
    page = Page(2, 2, 2 * PANEL, above=8, below=56, gap=0.16, has_legend=bool(others), least_column=120)
    bar = page.colour_bar(axis_title(shade.name, shade.goal, points.units))
    del bar["tickvals"], bar["ticktext"]
    bar |= {"nticks": 5, "tickfont": {"size": SMALL_SIZE}, "outlinewidth": 0}
    for at, (row, column, across, up) in enumerate(((0, 0, x, z), (0, 1, y, z), (1, 0, x, y))):
        sides = [_side(points, one, [*front, *others]) for one in (across, up)]
        if column:  # the panel to the left has the same axis and shows its title
            del sides[1]["title"]
        where = page.panel(row, column, *sides)
        if others:
            pale = {"size": 5, "color": PALE, "opacity": 0.6}
            page.traces.append({**_unsaid(points, others, across, up), **where, "name": "other settings"})
            page.traces[-1] |= {"marker": pale, "showlegend": not at, "legendgroup": "others"}
        look: dict[str, Any] = {
            "size": 9,
            "color": [one[shade.name] for one in front],
            "colorscale": SCALE,
            "line": {"width": 1, "color": PALE},
        }
        name = "front of all objectives"
        page.traces.append({**_unsaid(points, front, across, up), **where, "name": name, "legendgroup": "front"})
        page.traces[-1] |= {"marker": look | ({"colorbar": bar} if not at else {}), "showlegend": not at}
        page.traces += [trace | where for trace in counted([*front, *others], across.name, up.name, [])]
    return page


def _side(points: Points, objective: Objective, rows: Sequence[Row]) -> dict[str, Any]:
    """Return an axis of a panel, with a title wrapped to the panel's size."""
    found = axis(objective.name, [row[objective.name] for row in rows], objective.goal, points.units)
    found["title"] = {"text": wrapped(axis_title(objective.name, objective.goal, points.units), LONGEST_TITLE)}
    return found


def _unsaid(points: Points, rows: Sequence[Row], x: Objective, y: Objective) -> Trace:
    """Return marks whose hover text is the key alone: the 3D picture already holds each setting's full text."""
    trace = marks(points, rows, x.name, y.name)
    del trace["text"]
    return trace | {"hovertemplate": "%{customdata[0]}<extra></extra>"}
