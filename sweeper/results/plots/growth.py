"""Pictures of growth: what a task needs as it gets harder, and how a front grew while its sweep ran."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.analysis.points import axis_column, own_units_in
from sweeper.measurements import Goal
from sweeper.results.plots.fronts import MOST_LEVELS
from sweeper.results.plots.points import Points, Row, levels, spread
from sweeper.results.plots.style import (
    BLUE,
    ITS_TEXT,
    LINES,
    PALE,
    NotDrawnError,
    Picture,
    Trace,
    axis,
    axis_title,
    hover,
    number,
    shown,
    sketch,
)
from sweeper.results.sweep_tables import SweepTables
from sweeper.trial import State

#: What grows.
RESOURCES = ("breadth", "depth", "time")

#: Axes of a sweep that make a task more or less complex, the ones that matter most first. Data files have no order.
COMPLEXITIES = ("classes", "noise", "occlusion", "train_images", "data")

#: Trainings whose numbers of updates differ by no more are compared without a word.
_ALIKE = 1.02

_UPPER_BOUND = "<br>the smallest tried: an upper bound"

_UNITS_OF_TIME = ((3 * 86400.0, 86400.0, "days"), (2 * 3600.0, 3600.0, "hours"), (120.0, 60.0, "minutes"))


# --- what a task needs ----------------------------------------------------------------------------


def complexities(sweep: SweepTables) -> list[str]:
    """Return the axes that make tasks of a sweep differ; `data` stands for a difference that no axis tells."""
    values: dict[str, set[object]] = {}
    for record in sweep.records:
        for name, value in record.axes.items():
            values.setdefault(name, set()).add(value)
    return [name for name in COMPLEXITIES if len(values.get(name, ())) > 1]


def growth(points: Points, resource: str, complexity: str | None) -> Picture:
    """Draw how much of a resource it takes to reach some accuracies, over the tasks of a sweep.

    Args:
        points: Of any task of a sweep with two tasks or more.
        resource: One of `RESOURCES`.
        complexity: The axis that tells the tasks apart; None where none does.

    Raises:
        NotDrawnError: If there are no two tasks that reach the same accuracy.
    """
    sweep = points.sweep
    by_task = _measured(points, resource)
    if complexity is None:
        raise NotDrawnError(f"the tasks of sweep {sweep.name!r} differ in none of {', '.join(COMPLEXITIES)}")
    column = axis_column(complexity)
    others = [name for name in complexities(sweep) if name != complexity]
    lines = _by_other_axes(by_task, resource, others) if others else _by_level(by_task, resource)
    names = dict.fromkeys(axis for record in sweep.records for axis in record.axes)
    columns = {axis_column(name): name for name in names}
    smallest = {task: min(row[resource] for row in rows) for task, rows in by_task.items()}
    traces, bounds = [], list[Row]()
    for index, (name, unsorted) in enumerate(lines):
        colour, symbol, dash = LINES[index]
        rows = sorted(unsorted, key=lambda row: _order(row[column]))
        is_bound = [row[resource] <= smallest[row["task"]] for row in rows]
        bounds += [row for row, is_one in zip(rows, is_bound, strict=True) if is_one]
        traces.append({
            "type": "scatter",
            "x": [_place(row[column]) for row in rows],
            "y": [row[resource] for row in rows],
            "mode": "lines+markers",
            "line": {"color": colour, "width": 2, "dash": dash},
            "marker": {
                "symbol": [f"{symbol}-open" if is_one else symbol for is_one in is_bound],
                "size": 9 + 5 * (len(lines) - 1 - index),
                "line": {"width": 2},
            },
            "customdata": [[row["key"]] for row in rows],
            "text": [
                f"<b>{shown(row['task'])}</b>{_UPPER_BOUND * is_one}<br>{hover(row, sweep.objectives, columns)}"
                for row, is_one in zip(rows, is_bound, strict=True)
            ],
            "hovertemplate": ITS_TEXT,
            "name": name,
        })
    drawn = [row for _, rows in lines for row in rows]
    looks = sketch(
        [*traces, *([_bound_in_legend()] if bounds else [])],
        showlegend=True,
        xaxis=_complexity_axis(complexity, [row[column] for row in drawn]),
        yaxis=axis(resource, [row[resource] for row in drawn], Goal.MINIMIZE),
        annotations=[_arrow(*at) for at in dict.fromkeys((_place(row[column]), row[resource]) for row in bounds)],
    )
    each = f"an accuracy that all tasks reach, a line for each {' and '.join(others)}" if others else "some accuracies"
    caption = (
        f"The least {resource} of all settings that reach {each}, over the {complexity} of the task. "
        "A line has no point where no setting reaches the accuracy. An open point with an arrow is the smallest that "
        "was tried: an upper bound of the need, not the need."
    ) + _unequal(drawn, sweep.spec.get("training", {}))
    suffix = "" if complexity == complexities(sweep)[0] else f"-{complexity}"
    title = f"{resource.capitalize()} needed over {complexity}"
    return Picture(f"growth-{resource}{suffix}", title, caption, looks)


def _bound_in_legend() -> Trace:
    """Return a trace without a point, which says what an open one with an arrow is."""
    return {
        "type": "scatter",
        "x": [None],
        "y": [None],
        "mode": "markers",
        "marker": {"symbol": "circle-open", "size": 9, "color": PALE, "line": {"width": 2}},
        "name": "open, with an arrow: the smallest tried",
        "hoverinfo": "skip",
    }


def _arrow(x: object, y: float) -> dict[str, Any]:
    """Return an arrow down from a point: what is needed may be less."""
    shape = {"arrowhead": 2, "arrowsize": 1, "arrowwidth": 1.5, "standoff": 0}
    return {"x": x, "y": y, "text": "", "showarrow": True, "ax": 0, "ay": -18, "yshift": -26, **shape}


def _unequal(rows: Sequence[Row], training: Mapping[str, Any]) -> str:
    """Return what keeps these settings from being compared: trainings that are neither settled nor equally long.

    Args:
        rows: The settings.
        training: That section of the sweep's spec, as JSON holds it.
    """
    used = [row["updates"] for row in rows if row.get("updates") is not None]
    if training.get("until") == "settled":
        unit = "epochs" if training.get("updates") is None else "updates"
        going = sum(row[unit] is not None and row[unit] >= training.get(unit, math.inf) for row in rows)
        return f" {going} of these {len(rows)} networks had not settled when their budget ended." if going else ""
    if not used or max(used) <= _ALIKE * min(used):
        return ""
    return (
        f" Not at equal budgets: these networks took from {min(used):,.0f} to {max(used):,.0f} training steps, which "
        "alone can make one task seem to need more. Equal `training.updates`, or `until: settled`, compare tasks."
    )


Line = tuple[str, list[Row]]


def _by_level(by_task: Mapping[str, Sequence[Row]], resource: str) -> list[Line]:
    """Return a line for each accuracy."""
    return [(f"accuracy ≥ {level:g}", least) for level, least in matched_levels(by_task, resource)]


def _by_other_axes(by_task: Mapping[str, Sequence[Row]], resource: str, others: Sequence[str]) -> list[Line]:
    """Return a line for each value of the other axes, at the highest round accuracy that all tasks reach."""
    top = min(max(row["accuracy"] for row in rows) for rows in by_task.values())
    level = levels([row["accuracy"] for rows in by_task.values() for row in rows if row["accuracy"] <= top], 1)[-1]
    groups: dict[tuple[object, ...], list[Row]] = {}
    for rows in by_task.values():
        least = min((row for row in rows if row["accuracy"] >= level), key=lambda row: (row[resource], row["key"]))
        groups.setdefault(tuple(least[axis_column(other)] for other in others), []).append(least)
    said = sorted(groups.items(), key=lambda group: [_order(value) for value in group[0]])
    return [(f"accuracy ≥ {level:g}, {_said(others, values)}", rows) for values, rows in spread(said, len(LINES))]


def _said(axes: Sequence[str], values: Sequence[object]) -> str:
    return ", ".join(
        f"{axis} {value:g}" if isinstance(value, float) else f"{axis} {_place(value)}"
        for axis, value in zip(axes, values, strict=True)
    )


def _measured(points: Points, resource: str) -> dict[str, list[Row]]:
    """Return the settings of each task that were measured in accuracy and a resource."""
    by_task: dict[str, list[Row]] = {}
    for row in points.of_all_tasks:
        if row["accuracy"] is not None and row[resource] is not None:
            by_task.setdefault(row["task"], []).append(row)
    if len(by_task) < 2:
        raise NotDrawnError(
            f"growth compares tasks, but {'one task' if by_task else 'no task'} of sweep {points.sweep.name!r} "
            f"has a complete trial{f': {next(iter(by_task))}' if by_task else ''}"
        )
    return by_task


def matched_levels(by_task: Mapping[str, Sequence[Row]], resource: str) -> list[tuple[float, list[Row]]]:
    """Return some accuracies that two tasks or more reach, and of each such task the setting of least resource.

    Raises:
        NotDrawnError: If no two tasks reach the same accuracy.
    """
    tops = sorted((max(row["accuracy"] for row in rows) for rows in by_task.values()), reverse=True)
    matched = [row["accuracy"] for rows in by_task.values() for row in rows if row["accuracy"] <= tops[1]]
    found: list[tuple[float, list[Row]]] = []
    for level in reversed(levels(matched, 3 * MOST_LEVELS)):
        reaching = [[row for row in rows if row["accuracy"] >= level] for rows in by_task.values()]
        least = [min(rows, key=lambda row: (row[resource], row["key"])) for rows in reaching if rows]
        if len(least) > 1 and (not found or _what(least, resource) != _what(found[-1][1], resource)):
            found.append((level, least))
    return spread(found[::-1], MOST_LEVELS)


def _what(least: Sequence[Row], resource: str) -> list[tuple[str, float]]:
    return [(row["task"], row[resource]) for row in least]


def _order(value: object) -> tuple[bool, float, str]:
    """Sort what may be missing, numbers or words."""
    is_number = isinstance(value, int | float)
    return (value is None or not is_number, float(value) if is_number else 0.0, str(value))  # type: ignore[arg-type]


def _place(value: object) -> Any:
    return value if isinstance(value, int | float) else shown("all" if value is None else value)


def _complexity_axis(complexity: str, values: Sequence[object]) -> dict[str, Any]:
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) < len(values):
        return {"title": {"text": axis_title(complexity)}, "type": "category"}
    distinct = sorted(set(numbers))
    ticks = {"tickvals": distinct, "ticktext": [f"{value:g}" for value in distinct]} if len(distinct) <= 6 else {}
    return axis(complexity, numbers) | ticks


# --- how a front grew -----------------------------------------------------------------------------


def hypervolume_over(points: Points, over: str) -> Picture:
    """Draw the hypervolume of the front as trials ended.

    Args:
        points: Of the task.
        over: `trials` or `time`.

    Raises:
        NotDrawnError: If fewer than two trials have ended, there are no times, or the volume never left 0.
    """
    rows = points.sweep.hypervolume_history(points.task).to_pylist()
    if over == "time":
        rows = [row for row in rows if row["elapsed_s"] is not None]
    if len(rows) < 2:
        known = " at a known time" if over == "time" else ""
        raise NotDrawnError(
            f"{len(rows) or 'no'} trial{'' if len(rows) == 1 else 's'} of task {points.task!r} ended{known}"
        )
    if not any(row["hypervolume"] for row in rows):
        corner = ", ".join(f"{name} {value:g}" for name, value in points.sweep.reference_point.items())
        raise NotDrawnError(
            f"the hypervolume is 0: no setting is better than the reference point ({corner}) in all of it"
        )
    if over == "time":
        per, unit = _unit_of_time(rows[-1]["elapsed_s"])
        x, title = [row["elapsed_s"] / per for row in rows], f"wall time ({unit})"
    else:
        x, title = [row["trial"] for row in rows], "trials that have ended (count)"
    y = [row["hypervolume"] for row in rows]
    members = points.front_keys
    is_member = [row["key"] in members for row in rows]
    looks = sketch(
        [
            # The volume is that after a trial: it stays until the next one ends.
            {
                "type": "scatter",
                "x": [0, x[0], *x],
                "y": [0, 0, *y],
                "mode": "lines",
                "line": {"color": BLUE, "width": 2, "shape": "hv"},
                "name": "hypervolume",
                "hoverinfo": "skip",
                "showlegend": False,
            },
            *_ended(points, rows, x, y, is_member),
        ],
        xaxis={"title": {"text": title}, "range": [0, 1.04 * x[-1]]},
        yaxis={"title": {"text": "hypervolume (product of the units)"}, "range": [0, 1.08 * max(y)]},
    )
    goals = " × ".join(objective.name for objective in points.objectives)
    clock = ", over wall time since the first one began, pauses included" if over == "time" else ""
    caption = (
        f"Volume that the front dominates, {goals}, inside the reference point: after each trial that ended{clock}. "
        "Diamonds are trials on the last front."
    )
    head = "wall time" if over == "time" else "trials"
    return Picture(f"hypervolume-{over}", f"Hypervolume over {head}", caption, looks)


def _ended(
    points: Points, rows: Sequence[Row], x: Sequence[float], y: Sequence[float], is_member: Sequence[bool]
) -> list[Trace]:
    """Mark trials: those on the last front, and the others."""
    outcomes = {record.key: record for record in points.sweep.records if record.task == points.task}
    own = own_units_in(outcomes.values())
    columns = {axis_column(name, own): name for record in outcomes.values() for name in record.axes}
    traces = []
    for wanted, name, marker in (
        (False, "trial", {"size": 5, "color": PALE}),
        (True, "trial on the last front", {"size": 10, "color": BLUE, "symbol": "diamond"}),
    ):
        chosen = [at for at, member in enumerate(is_member) if member is wanted]
        if not chosen:
            continue
        texts = []
        for at in chosen:
            record = outcomes[rows[at]["key"]]
            said: dict[str, Any] = {axis_column(name, own): value for name, value in record.axes.items()}
            said |= {**record.measurement, "key": record.key, **record.details}
            ended = "" if record.state is State.COMPLETE else f"<br>{record.outcome or record.state}"
            text = hover(said, points.objectives, {c: n for c, n in columns.items() if c in points.axes})
            texts.append(f"{text}{ended}<br>trial {rows[at]['trial']}, hypervolume {number(y[at])}")
        traces.append({
            "type": "scatter",
            "x": [x[at] for at in chosen],
            "y": [y[at] for at in chosen],
            "mode": "markers",
            "marker": marker,
            "customdata": [[rows[at]["key"]] for at in chosen],
            "text": texts,
            "hovertemplate": ITS_TEXT,
            "name": name,
        })
    return traces


def _unit_of_time(seconds: float) -> tuple[float, str]:
    """Return seconds of a unit and its name, so that the numbers stay short."""
    return next(((per, unit) for least, per, unit in _UNITS_OF_TIME if seconds >= least), (1.0, "seconds"))
