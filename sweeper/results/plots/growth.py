"""Draws growth: of the resources that a task needs as it gets harder, and of a front while its sweep ran."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from sweeper.analysis.points import axis_column, own_units_in
from sweeper.measurements import Goal
from sweeper.results.plots.accuracies import Row, is_bound, spread
from sweeper.results.plots.marks import UPPER_BOUND, arrow, bound_in_legend
from sweeper.results.plots.points import Points
from sweeper.results.plots.style import (
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
    place_on,
    shown,
    sketch,
)
from sweeper.results.plots.trades import BOUNDS
from sweeper.results.sweep_tables import SweepTables
from sweeper.trial import State

#: Axes of a sweep that change a task's complexity, most important first. The values of `data` have no order.
COMPLEXITIES = ("classes", "noise", "occlusion", "train_images", "data")

#: Largest ratio between numbers of training updates that still count as equal budgets.
_ALIKE = 1.02

_UNITS_OF_TIME = ((3 * 86400.0, 86400.0, "days"), (2 * 3600.0, 3600.0, "hours"), (120.0, 60.0, "minutes"))


# --- needs of a task ------------------------------------------------------------------------------


def complexities(sweep: SweepTables) -> list[str]:
    """Return the names in `COMPLEXITIES` whose values differ between the trials of a sweep."""
    values: dict[str, set[object]] = {}
    for record in sweep.records:
        for name, value in record.axes.items():
            values.setdefault(name, set()).add(value)
    return [name for name in COMPLEXITIES if len(values.get(name, ())) > 1]


def growth(points: Points, resource: str, complexity: str | None) -> Picture:
    """Draw how much of a resource it takes to reach some accuracies, over the tasks of a sweep.

    Args:
        points: Points of any task of a sweep with two tasks or more.
        resource: One of `RESOURCES`.
        complexity: The axis by which the tasks differ; None if there is none.

    Raises:
        NotDrawnError: If no two tasks reach the same accuracy, or no axis tells the tasks apart.
    """
    sweep = points.sweep
    by_task = _measured(points, resource)
    if complexity is None:
        raise NotDrawnError(f"the tasks of sweep {sweep.name!r} differ in none of {', '.join(COMPLEXITIES)}")
    column = axis_column(complexity)
    others = [name for name in complexities(sweep) if name != complexity]
    lines = _by_other_axes(points, by_task, resource, others) if others else _by_level(points, by_task, resource)
    names = dict.fromkeys(axis for record in sweep.records for axis in record.axes)
    columns = {axis_column(name): name for name in names}
    smallest = {task: min(row[resource] for row in rows) for task, rows in by_task.items()}
    traces, bounds = [], list[Row]()
    most = max(place for place, _, _ in lines)
    for place, name, unsorted in lines:
        colour, symbol, dash = LINES[place]
        rows = sorted(unsorted, key=lambda row: _order(row[column]))
        bounding = [is_bound(row, resource, smallest[row["task"]]) for row in rows]
        bounds += [row for row, is_one in zip(rows, bounding, strict=True) if is_one]
        traces.append({
            "type": "scatter",
            "x": [_place(row[column]) for row in rows],
            "y": [row[resource] for row in rows],
            "mode": "lines+markers",
            "line": {"color": colour, "width": 2, "dash": dash},
            "marker": {
                "symbol": [f"{symbol}-open" if is_one else symbol for is_one in bounding],
                "size": 9 + 5 * (most - place),
                "color": colour,
                "line": {"width": 2, "color": colour},
            },
            "customdata": [[row["key"]] for row in rows],
            "text": [
                f"<b>{shown(row['task'])}</b>{UPPER_BOUND * is_one}<br>{hover(row, sweep.objectives, columns)}"
                for row, is_one in zip(rows, bounding, strict=True)
            ],
            "hovertemplate": ITS_TEXT,
            "name": name,
        })
    drawn = [row for _, _, rows in lines for row in rows]
    across = _complexity_axis(complexity, [row[column] for row in drawn])
    up = axis(resource, [row[resource] for row in drawn], Goal.MINIMIZE, has_arrows=bool(bounds))
    arrows = dict.fromkeys((place_on(across, _place(row[column])), place_on(up, row[resource])) for row in bounds)
    looks = sketch(
        [*traces, *([bound_in_legend()] if bounds else [])],
        showlegend=True,
        xaxis=across,
        yaxis=up,
        annotations=[arrow(*at) for at in arrows],
    )
    each = f"an accuracy, a line for each {' and '.join(others)}" if others else "some accuracies"
    caption = (
        f"The least {resource} of all settings that reach {each}, over the {complexity} of the task. "
        f"A line has no point where no setting reaches the accuracy.{BOUNDS if bounds else ''}"
    ) + _unequal(drawn, sweep.spec.get("training", {}))
    suffix = "" if complexity == complexities(sweep)[0] else f"-{complexity}"
    title = f"{resource.capitalize()} needed over {complexity}"
    return Picture(f"growth-{resource}{suffix}", title, caption, looks)


def _unequal(rows: Sequence[Row], training: Mapping[str, Any]) -> str:
    """Return a warning if these settings cannot be compared: trainings neither settled nor of equal length.

    Args:
        rows: The settings.
        training: The section `training` of the sweep's spec, as JSON holds it.
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


Line = tuple[int, str, list[Row]]


def _by_level(points: Points, by_task: Mapping[str, Sequence[Row]], resource: str) -> list[Line]:
    """Return a line for each accuracy that two tasks or more reach, with its index in `LINES`.

    Raises:
        NotDrawnError: If no two tasks reach the same accuracy.
    """
    found = [
        (place, f"accuracy ≥ {level:g}", least)
        for place, level in enumerate(points.accuracies)
        if len(least := _least(by_task, resource, level)) > 1
    ]
    if not found:
        _refuse(points)
    return found


def _by_other_axes(
    points: Points, by_task: Mapping[str, Sequence[Row]], resource: str, others: Sequence[str]
) -> list[Line]:
    """Return a line for each value of the other axes, at the highest of the accuracies that the most tasks reach."""
    reached = [(len(_least(by_task, resource, level)), level) for level in points.accuracies]
    many, level = max(reached)
    if many < 2:
        _refuse(points)
    groups: dict[tuple[object, ...], list[Row]] = {}
    for least in _least(by_task, resource, level):
        groups.setdefault(tuple(least[axis_column(other)] for other in others), []).append(least)
    said = sorted(groups.items(), key=lambda group: [_order(value) for value in group[0]])
    return [
        (place, f"accuracy ≥ {level:g}, {_said(others, values)}", rows)
        for place, (values, rows) in enumerate(spread(said, len(LINES)))
    ]


def _least(by_task: Mapping[str, Sequence[Row]], resource: str, level: float) -> list[Row]:
    """Return, for each task that reaches an accuracy, the setting that reaches it with the least resource."""
    reaching = [[row for row in rows if row["accuracy"] >= level] for rows in by_task.values()]
    return [min(rows, key=lambda row: (row[resource], row["key"])) for rows in reaching if rows]


def _refuse(points: Points) -> NoReturn:
    tried = " or ".join(f"{level:g}" for level in points.accuracies)
    raise NotDrawnError(f"no two tasks of sweep {points.sweep.name!r} reach an accuracy of {tried}")


def _said(axes: Sequence[str], values: Sequence[object]) -> str:
    return ", ".join(
        f"{axis} {value:g}" if isinstance(value, float) else f"{axis} {_place(value)}"
        for axis, value in zip(axes, values, strict=True)
    )


def _measured(points: Points, resource: str) -> dict[str, list[Row]]:
    """Return the settings of each task that have both an accuracy and the resource."""
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


def _order(value: object) -> tuple[bool, float, str]:
    """Return a key that sorts numbers first, then words and missing values."""
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


# --- growth of a front ----------------------------------------------------------------------------


def hypervolume_over(points: Points, over: str, beside: Sequence[Points] = ()) -> Picture:
    """Draw how the hypervolume of the front grew as trials ended.

    Args:
        points: The task's points.
        over: `trials` or `time`.
        beside: Points of the same task of other sweeps; the reference point of `points` bounds their volumes too.

    Raises:
        NotDrawnError: If fewer than two trials have ended, no times are known, or the hypervolume is always 0.
    """
    several = [points, *beside]
    histories = [_history(one, over, points.sweep.reference_point) for one in several]
    per, unit = _unit_of_time(max(rows[-1]["elapsed_s"] for rows in histories)) if over == "time" else (1.0, "")
    title = f"wall time ({unit})" if over == "time" else "trials that have ended (count)"
    traces: list[Trace] = []
    most_x, most_y = 0.0, 0.0
    for one, rows, (colour, symbol, dash) in zip(several, histories, LINES, strict=False):
        x = [row["elapsed_s"] / per if over == "time" else row["trial"] for row in rows]
        y = [row["hypervolume"] for row in rows]
        most_x, most_y = max(most_x, x[-1]), max(most_y, *y)
        name = shown(one.sweep.name) if beside else "hypervolume"
        # The volume after a trial holds until the next one ends.
        traces.append({
            "type": "scatter",
            "x": [0, x[0], *x],
            "y": [0, 0, *y],
            "mode": "lines",
            "line": {"color": colour, "width": 2, "shape": "hv", "dash": dash},
            "name": name,
            "legendgroup": name,
            "hoverinfo": "skip",
            "showlegend": bool(beside),
        })
        own = _ended(one, rows, x, y, colour, "diamond" if not beside else symbol)
        traces += [
            trace | {"name": f"{name}: {trace['name']}", "legendgroup": name, "showlegend": False} if beside else trace
            for trace in own
        ]
    looks = sketch(
        traces,
        xaxis={"title": {"text": title}, "range": [0, 1.04 * most_x]},
        yaxis={"title": {"text": "hypervolume (product of the units)"}, "range": [0, 1.08 * most_y]},
    )
    goals = " × ".join(objective.name for objective in points.objectives)
    clock = ", over wall time since the first one began, pauses included" if over == "time" else ""
    whose = f" of {points.sweep.name}" if beside else ""
    caption = (
        f"Volume that the front dominates, {goals}, inside the reference point{whose}: after each trial that "
        f"ended{clock}. {'Large marks' if beside else 'Diamonds'} are trials on the last front."
    )
    head = "wall time" if over == "time" else "trials"
    names = f", {' and '.join(one.sweep.name for one in several)}" if beside else ""
    return Picture(f"hypervolume-{over}", f"Hypervolume over {head}{names}", caption, looks)


def _history(points: Points, over: str, corner: Mapping[str, float]) -> list[Row]:
    """Return the hypervolume history of one sweep, bounded by a reference point."""
    rows: list[Row] = points.sweep.hypervolume_history(points.task, reference_point=corner).to_pylist()
    if over == "time":
        rows = [row for row in rows if row["elapsed_s"] is not None]
    if len(rows) < 2:
        known = " at a known time" if over == "time" else ""
        raise NotDrawnError(
            f"{len(rows) or 'no'} trial{'' if len(rows) == 1 else 's'} of task {points.task!r} "
            f"of sweep {points.sweep.name!r} ended{known}"
        )
    if not any(row["hypervolume"] for row in rows):
        said = ", ".join(f"{name} {value:g}" for name, value in corner.items())
        raise NotDrawnError(
            f"the hypervolume of sweep {points.sweep.name!r} is 0: no setting is better than the reference point "
            f"({said}) in all of it"
        )
    return rows


def _ended(
    points: Points, rows: Sequence[Row], x: Sequence[float], y: Sequence[float], colour: str, symbol: str
) -> list[Trace]:
    """Return marks of the trials that have ended, those on the last front apart."""
    members = points.front_keys
    is_member = [row["key"] in members for row in rows]
    outcomes = {record.key: record for record in points.sweep.records if record.task == points.task}
    own = own_units_in(outcomes.values())
    columns = {axis_column(name, own): name for record in outcomes.values() for name in record.axes}
    traces = []
    for wanted, name, marker in (
        (False, "trial", {"size": 5, "color": PALE}),
        (True, "trial on the last front", {"size": 10, "color": colour, "symbol": symbol}),
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
    """Return the seconds in a unit of time and its name, such that the numbers stay short."""
    return next(((per, unit) for least, per, unit in _UNITS_OF_TIME if seconds >= least), (1.0, "seconds"))
