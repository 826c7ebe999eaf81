"""Answers questions about stored sweeps from MLflow alone. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from sweeper.analysis import sheet
from sweeper.analysis.conditions import where as rows_where
from sweeper.analysis.fronts import Front
from sweeper.analysis.points import added_units_in, concatenated
from sweeper.analysis.sheet import Sheet
from sweeper.analysis.trials import axes_of
from sweeper.results.objectives import front_objectives
from sweeper.results.sweep_tables import SweepTables
from sweeper.tracking.trackers import reader_of
from sweeper.trial import Outcome


def pareto(
    tracking_uri: str, sweep: str, *, task: str | None = None, where: Sequence[str] = (), objectives: Sequence[str] = ()
) -> list[Front]:
    """Return the stored fronts of a sweep, reduced to the points that meet all conditions.

    Args:
        tracking_uri: Address of MLflow; the sweep may have run on another machine.
        sweep: Name of the sweep.
        task: Label of one task cell; None for all, sorted by label.
        where: Conditions such as `accuracy >= 0.95`; see `sweeper.analysis.conditions`.
        objectives: Names of some of the sweep's objectives to compare by; none for all. If no front over these
            objectives is stored, it is computed from the sweep's trials.

    Returns:
        One front for each task. The version and the hypervolume stay those of the whole front.

    Raises:
        UnknownSweepError: If there is no such sweep, or no front of that task.
        QueryError: If a condition cannot be read or names no column, or the sweep has no such objective.
        TrackingError: If MLflow cannot be reached.
    """
    if objectives:
        loaded = SweepTables(reader_of(tracking_uri, sweep))
        fronts = loaded.fronts(task, front_objectives(loaded.objectives, objectives, sweep))
    else:
        fronts = reader_of(tracking_uri, sweep).fronts(task)
    # An empty front has no axis columns, so a condition on an axis would be refused for no reason.
    return [replace(front, table=rows_where(front.table, where)) if front.table.num_rows else front for front in fronts]


def as_table(fronts: Sequence[Front]) -> pa.Table:
    """Return the points of all fronts in one table, told apart by the column `task`.

    A column that one front lacks is null in its rows. If a column holds words in one front and numbers in another, the
    numbers become words. Whole numbers become fractions if the column also holds fractions.

    Args:
        fronts: Fronts of one sweep, or of sweeps that are compared.
    """
    return concatenated([front.table for front in fronts]) if fronts else pa.table({})


def exported(fronts: Sequence[Front]) -> pa.Table:
    """Return the table of `as_table` with the columns `sweep`, `front_version` and `reference_point` in front."""
    return concatenated([with_origin(front.table, front) for front in fronts]) if fronts else pa.table({})


def with_origin(table: pa.Table, front: Front) -> pa.Table:
    """Return rows with the sweep, version and reference point of their front, unless they have these columns."""
    count = table.num_rows
    corner = pa.struct([(name, pa.float64()) for name in front.reference_point])
    origin = {
        "sweep": pa.array([front.sweep] * count, pa.string()),
        "front_version": pa.array([front.version] * count, pa.int64()),
        "reference_point": pa.array([dict(front.reference_point)] * count, corner),
    }
    columns = {name: origin.get(name) for name in origin} | dict(zip(table.column_names, table.columns, strict=True))
    return pa.table(columns)


def front_sheet(front: Front, conditions: Sequence[str] = ()) -> Sheet:
    """Return a front as a sheet, for a document."""
    met = f" that meet {' and '.join(conditions)}" if conditions else ""
    chosen = f" in {' and '.join(o.name for o in front.objectives)}" if front.is_chosen else ""
    noun = f"non-dominated {sheet.noun(front.own_units)}"
    return Sheet(
        f"Sweep {front.sweep}, task {front.task}: {sheet.counted(front.table.num_rows, noun)}{chosen}{met}",
        sheet.front_fields(front),
        (
            *origin_notes(front),
            f"Hypervolume of the whole front: {front.hypervolume:.4g}",
            *sheet.legend(front.own_units, front.codes),
        ),
        "-".join([front.sweep, front.key, f"v{front.version}"]),
    )


def origin_notes(front: Front) -> tuple[str, ...]:
    """Return the version and the reference point behind an answer, for the end of a sheet."""
    version = sheet.version_text(front.version)
    return (f"{version[0].upper()}{version[1:]} · reference point: {sheet.point_text(front.reference_point)}",)


def trial_sheets(sweep: SweepTables, table: pa.Table, conditions: Sequence[str] = ()) -> list[Sheet]:
    """Return finished trials as sheets, one for each task.

    Args:
        sweep: Their sweep.
        table: As `SweepTables.trials` returns it, or some of its rows.
        conditions: The conditions by which these rows were chosen.
    """
    tasks: dict[str, list[dict[str, object]]] = {}
    for row in table.to_pylist():
        tasks.setdefault(row["task"], []).append(row)
    if not tasks:
        says = f"Sweep {sweep.name}: none of {len(sweep.records)} finished trials meets {' and '.join(conditions)}"
        return [Sheet(says, (), label=f"{sweep.name}-trials")]
    return [_trial_sheet(sweep, rows, list(axes_of(table)), conditions) for rows in tasks.values()]


def named(table: pa.Table, sweep: str) -> pa.Table:
    """Return a table of trials with the name of their sweep in its first column."""
    return table.add_column(0, "sweep", pa.array([sweep] * table.num_rows, pa.string()))


def _trial_sheet(
    sweep: SweepTables, rows: Sequence[dict[str, object]], axes: Sequence[str], conditions: Sequence[str]
) -> Sheet:
    task = rows[0]["task"]
    fixed = {axis: rows[0][axis] for axis in axes if len({str(row[axis]) for row in rows}) == 1}
    shared = [f"{axis} {sheet.value_text(axis, value)}" for axis, value in fixed.items() if value is not None]
    seeds = ["seed"] if len({row["seed"] for row in rows}) > 1 else []
    reasons = ["reason"] if any(row["reason"] for row in rows) else []
    measured = [objective.name for objective in sweep.objectives]
    outcomes = ["outcome"] if len({row["outcome"] for row in rows}) > 1 else []
    names = ["key", *outcomes, *(axis for axis in axes if axis not in fixed), *seeds, *measured, *reasons]
    counts = {outcome: sum(row["outcome"] == outcome for row in rows) for outcome in Outcome}
    ended = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in counts.items() if count)
    met = f" that meet {' and '.join(conditions)}" if conditions else ""
    return Sheet(
        f"Sweep {sweep.name}, task {task}: {sheet.counted(len(rows), 'finished trial')}{met}; {ended}",
        sheet.fields(rows, names, sweep.objectives, added=added_units_in(sweep.records)),
        (
            *([f"All of them: {', '.join(shared)}"] if shared else []),
            f"Reference point: {sheet.point_text(sweep.reference_point)}",
        ),
        f"{sweep.name}-{task}-trials",
    )
