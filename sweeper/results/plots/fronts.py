"""Pictures of fronts: in two and in three objectives, trade-offs at matched accuracy, and all settings at once."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.measurements import Goal, Objective
from sweeper.results.plots.points import Points, Row, best_of, levels, spread
from sweeper.results.plots.style import (
    BLUE,
    HEIGHT,
    ITS_TEXT,
    LEAST_SIZE,
    LINES,
    ORANGE,
    PALE,
    SCALE,
    SMALL_SIZE,
    NotDrawnError,
    Picture,
    Trace,
    axis,
    axis_title,
    hover,
    is_counted,
    is_logarithmic,
    number,
    shown,
    sketch,
)

#: Pairs of resources that are traded against each other: the one to the right, the one upwards.
TRADES = (("breadth", "depth"), ("depth", "time"), ("breadth", "time"))

#: Accuracies at which they are compared.
MOST_LEVELS = 4

#: An axis with no more values than this is drawn with one place for each of them.
_MOST_PLACES = 12

_LONGEST_IN_SPACE = 24

#: So many labels of parallel axes stand beside each other.
_MOST_BESIDE = 7

#: Of what half of the seeds attain, and of what one of them attains.
_DARK, _LIGHT = "rgba(0, 114, 178, 0.42)", "rgba(0, 114, 178, 0.2)"


def marks(points: Points, rows: Sequence[Row], x: str, y: str, *, z: str | None = None, **how: Any) -> Trace:
    """Return settings as markers that carry key and hover text."""
    positions: dict[str, Any] = {"x": [row[x] for row in rows], "y": [row[y] for row in rows]}
    if z is not None:
        positions["z"] = [row[z] for row in rows]
    texts = [hover(row, points.objectives, points.axes, points.units) for row in rows]
    common = {"mode": "markers", "customdata": [[row["key"]] for row in rows], "text": texts}
    kind = "scatter" if z is None else "scatter3d"
    return {"type": kind, **positions, **common, "hovertemplate": ITS_TEXT, **how}


# --- two objectives -------------------------------------------------------------------------------


def front_against(points: Points, x: Objective) -> Picture:
    """Draw the front of the first objective and another one.

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
    best = best_of(rows, [y, x])
    keys = {row["key"] for row in best}
    rest = [row for row in rows if row["key"] not in keys]
    members = [row for row in rest if row["key"] in points.front_keys]
    others = [row for row in rest if row["key"] not in points.front_keys]
    pair = f"front of {shown(y.name)} and {shown(x.name)}"
    attained = points.sweep.attainment(points.task, [y.name, x.name]).to_pylist() if points.seeds > 1 else []
    corner = (_worst([*rows, *attained], x), _worst([*rows, *attained], y))
    traces = [*_bands(attained, (y, x), corner), *_others(points, others, x.name, y.name)]
    if members:
        how = {"symbol": "diamond-open", "size": 9, "color": ORANGE, "line": {"width": 2}}
        traces.append(marks(points, members, x.name, y.name, name="front of all objectives", marker=how))
    steps = staircase([(row[x.name], row[y.name]) for row in best], corner)
    traces += [
        _line(steps, color=BLUE, name=pair, legendgroup="pair", showlegend=False),
        marks(points, best, x.name, y.name, name=pair, marker={"size": 9, "color": BLUE}, legendgroup="pair"),
    ]
    looks = sketch(
        traces,
        xaxis=axis(x.name, [row[x.name] for row in [*rows, *attained]], x.goal, points.units),
        yaxis=axis(y.name, [row[y.name] for row in [*rows, *attained]], y.goal, points.units),
    )
    mean = " Each point is a setting, averaged over its seeds." if points.seeds > 1 else ""
    caption = (
        f"The line is the front: {_counted(len(best))} that no other one beats in both {y.name} and {x.name}.{mean}"
        f"{' Diamonds are on the front only when the other objectives count too.' if members else ''}"
        f"{_BAND_CAPTION if attained else ''}"
        " Arrows say which direction is better."
    )
    return Picture(f"front-{x.name}", f"{y.name.capitalize()} against {x.name}", caption, looks)


_BAND_CAPTION = (
    " The dark band is what half of the seeds attain but not all, the light one what one attains but not half; a seed "
    "attains what one of its own trials dominates."
)


def _bands(attained: Sequence[Row], pair: tuple[Objective, Objective], corner: tuple[float, float]) -> list[Trace]:
    """Draw what some, but not all, of the seeds attain: rows of `SweepTables.attainment`, none for one seed."""
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


def _others(points: Points, rows: Sequence[Row], x: str, y: str) -> list[Trace]:
    how = {"size": 6, "color": PALE, "opacity": 0.7}
    return [marks(points, rows, x, y, name="other settings", marker=how)] if rows else []


def _line(positions: Sequence[tuple[float, float]], *, color: str, dash: str = "solid", **how: Any) -> Trace:
    x, y = ([position[at] for position in positions] for at in (0, 1))
    line = {"color": color, "width": 2, "dash": dash}
    return {"type": "scatter", "x": x, "y": y, "mode": "lines", "line": line, "hoverinfo": "skip", **how}


def _worst(rows: Sequence[Row], objective: Objective) -> float:
    values = [row[objective.name] for row in rows]
    return float(min(values) if objective.goal is Goal.MAXIMIZE else max(values))


def staircase(positions: Sequence[tuple[float, float]], corner: tuple[float, float]) -> list[tuple[float, float]]:
    """Return the border of what is dominated, from the worst y over each place to the worst x.

    Args:
        positions: The best x first.
        corner: The worst x and y; what is worse still has no border.
    """
    steps = [(positions[0][0], corner[1])]
    for x, y in positions:
        steps += [(x, steps[-1][1]), (x, y)]
    steps.append((corner[0], steps[-1][1]))
    return [position for position, before in zip(steps, [None, *steps], strict=False) if position != before]


def _counted(number: int) -> str:
    return f"{number} setting{'' if number == 1 else 's'}"


# --- three objectives -----------------------------------------------------------------------------


def front_in_space(points: Points) -> Picture:
    """Draw the front in the first three objectives; a fourth one is told by colour.

    Raises:
        NotDrawnError: If the sweep has fewer objectives, or all settings have the same value in one of them.
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
        f"{side}axis": {"title": {"text": _title_in_space(one, points.units), "font": {"size": 12}}, "nticks": 5}
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
        f"The front of all objectives, {_counted(len(front))}, in {x.name}, {y.name} and {z.name}; colour tells "
        f"{shade.name}. Stems reach down to the floor; drag to turn it. Arrows say which direction is better."
    )
    return Picture("front-3d", f"{z.name.capitalize()} against {x.name} and {y.name}", caption, looks)


def _title_in_space(objective: Objective, units: Mapping[str, str] | None) -> str:
    """Return the title of an axis in space, which must not leave a narrow page: a long one has its unit below."""
    title = axis_title(objective.name, objective.goal, units)
    return title if len(title) <= _LONGEST_IN_SPACE else title.replace(" (", "<br>(")


def _bar(objective: Objective, units: Mapping[str, str] | None) -> dict[str, Any]:
    """Return a scale of colours below the picture, so that it takes no width."""
    title = {"text": axis_title(objective.name, objective.goal, units), "side": "top", "font": {"size": 12}}
    where = {"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.02, "yanchor": "top", "len": 0.6}
    return {
        **where,
        "thickness": 10,
        "title": title,
        "tickfont": {"size": SMALL_SIZE},
        "nticks": 5,
        "outlinewidth": 0,
    }


# --- trade-offs -----------------------------------------------------------------------------------


def trade_off(points: Points, x: str, y: str) -> Picture:
    """Draw which resources suffice for some accuracies: the non-dominated settings of those that reach each of them.

    Raises:
        NotDrawnError: If there is nothing to trade: all settings have the same value of one of the resources.
    """
    rows = points.with_all("accuracy", x, y)
    for name in (x, y):
        if len({row[name] for row in rows}) == 1:
            raise NotDrawnError(f"all settings have the same {name}: {number(rows[0][name])}")
    resources = [Objective(y, Goal.MINIMIZE), Objective(x, Goal.MINIMIZE)]
    curves = accuracy_curves(rows, resources)
    seen = {row["key"] for _, best in curves for row in best}
    traces = _others(points, [row for row in rows if row["key"] not in seen], x, y)
    corner = (_worst(rows, resources[1]), _worst(rows, resources[0]))
    # From the lowest level up, large to small: where settings reach several levels, all their markers are seen.
    for position, (level, best) in enumerate(curves):
        colour, symbol, dash = LINES[position]
        name = f"accuracy ≥ {level:g}"
        group = {"legendgroup": name, "name": name}
        steps = staircase([(row[x], row[y]) for row in best], corner)
        how = {"symbol": f"{symbol}-open", "size": 9 + 5 * (len(curves) - 1 - position), "color": colour}
        line = _line(steps, color=colour, dash=dash, **group, showlegend=False)
        traces += [line, marks(points, best, x, y, marker={**how, "line": {"width": 2}}, **group)]
    looks = sketch(
        traces,
        xaxis=axis(x, [row[x] for row in rows], Goal.MINIMIZE),
        yaxis=axis(y, [row[y] for row in rows], Goal.MINIMIZE),
    )
    caption = (
        f"Each line joins the settings that need least {x} and {y} of all that reach an accuracy; "
        "what lies above and to the right of it reaches that accuracy too, or should."
    )
    return Picture(f"trade-{x}-{y}", f"{y.capitalize()} against {x} at matched accuracy", caption, looks)


def accuracy_curves(rows: Sequence[Row], resources: Sequence[Objective]) -> list[tuple[float, list[Row]]]:
    """Return some accuracies, and the settings of least resources that reach each; no two of them the same ones."""
    curves: list[tuple[float, list[Row]]] = []
    for level in reversed(levels([row["accuracy"] for row in rows], 3 * MOST_LEVELS)):
        best = best_of([row for row in rows if row["accuracy"] >= level], resources)
        if not curves or [row["key"] for row in best] != [row["key"] for row in curves[-1][1]]:
            curves.append((level, best))
    return spread(curves[::-1], MOST_LEVELS)


# --- all settings at once -------------------------------------------------------------------------


def parallel(points: Points) -> Picture:
    """Draw every setting as a line over axes and objectives.

    Raises:
        NotDrawnError: If there is only one setting, or nothing varies.
    """
    names = [objective.name for objective in points.objectives]
    rows = points.with_all(*names)
    if len(rows) < 2:
        raise NotDrawnError("there is only one setting: lines need two to compare")
    columns = {column: name for column, name in points.axes.items() if all(row[column] is not None for row in rows)}
    goals = {objective.name: objective.goal for objective in points.objectives}
    sides = [_side(column, name, [row[column] for row in rows], points.units) for column, name in columns.items()]
    sides += [_side(name, name, [row[name] for row in rows], points.units, goals[name]) for name in names]
    sides = [side for side in sides if len(set(side["values"])) > 1]
    if len(sides) < 2:
        raise NotDrawnError(f"the {len(rows)} settings differ in {'one thing' if sides else 'nothing'} alone")
    most_lines = max(side["label"].count("<br>") + 1 for side in sides)
    is_crowded = len(sides) > _MOST_BESIDE
    if is_crowded:  # on a narrow page labels stand beside each other when every other one is lower
        for side in sides[1::2]:
            side["label"] = "<br>" * most_lines + side["label"]
    first = points.objectives[0]
    line = {"color": [row[first.name] for row in rows], "colorscale": SCALE, "showscale": False}
    trace = {
        "type": "parcoords",
        "dimensions": sides,
        "line": line,
        "customdata": [[row["key"]] for row in rows],
        "labelside": "bottom",
        "labelfont": {"size": LEAST_SIZE},
        "tickfont": {"size": LEAST_SIZE},
        "rangefont": {"size": 1, "color": "rgba(0,0,0,0)"},  # the axes have ticks
    }
    # plotly draws the axes black, also on black; axes that are moved come to stand on these places again.
    positions = [at / (len(sides) - 1) for at in range(len(sides))]
    ink = {"color": PALE, "width": 1}
    lines = [{"type": "line", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": ink} for x in positions]
    foot = 30 + 13 * most_lines * (1 + is_crowded)
    height = HEIGHT + 13 * most_lines * is_crowded
    looks = sketch([trace], height, shapes=lines, margin={"l": 46, "r": 26, "t": 20, "b": foot})
    caption = (
        f"Each line is one of {_counted(len(rows))}, from blue to orange by {first.name}. "
        "Drag along an axis to choose a part of it; drag an axis' name to move the axis."
    )
    return Picture("parallel", "All settings: what was chosen and what came of it", caption, looks)


def _side(
    column: str, name: str, values: Sequence[Any], units: Mapping[str, str] | None, goal: Goal | None = None
) -> dict[str, Any]:
    """Return an axis of parallel coordinates: places for words and few values, else numbers, in decades if need be."""
    label = _narrow(axis_title(name, goal, units))
    is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    distinct = sorted(set(values)) if is_number else sorted(set(values), key=str)
    if goal is None and (not is_number or len(distinct) <= _MOST_PLACES):
        position = {value: at for at, value in enumerate(distinct)}
        ticks = {"tickvals": list(position.values()), "ticktext": [_tick(value) for value in distinct]}
        return {"label": label, "values": [position[value] for value in values], **ticks}
    if is_logarithmic(values):
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        ticks = {"tickvals": list(range(low, high + 1)), "ticktext": [f"1e{p}" for p in range(low, high + 1)]}
        return {"label": label, "values": [math.log10(value) for value in values], "range": [low, high], **ticks}
    if all(float(value).is_integer() for value in values) and distinct[-1] - distinct[0] <= _MOST_PLACES:
        return {
            "label": label,
            "values": list(values),
            "tickvals": list(range(int(distinct[0]), int(distinct[-1]) + 1)),
        }
    return {"label": label, "values": list(values)}


def _narrow(title: str) -> str:
    """Break a title at its spaces and underscores into lines that stand beside each other on a narrow page."""
    return "<br>".join(textwrap.wrap(title.replace("_", "_ ").replace("-", "- "), 10, break_long_words=False)).replace(
        "_ ", "_"
    )


def _tick(value: object) -> str:
    text = f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else shown(value)
    return text if len(text) <= 14 else f"{text[:13]}…"
