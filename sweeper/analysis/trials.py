"""Turns trials into an Arrow table with one row for each, and back; MLflow keeps it beside a sweep's fronts.

A finished trial never changes, so rows are only ever added: the table is stored as a list of parts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from sweeper import own_code
from sweeper.analysis.formats import read_parquet
from sweeper.analysis.points import (
    added_units_in,
    added_units_of,
    axis_column,
    axis_values,
    completed,
    concatenated,
    own_field,
    own_units_in,
    own_units_of,
    probe_names,
    with_added_units,
)
from sweeper.errors import DamagedError, QueryError
from sweeper.measurements import MEASUREMENTS, WALLS, Goal, Objective
from sweeper.sealed import sealed
from sweeper.trial import Outcome, State, TrialRecord

#: Format number in every stored table; raise it when an older version of sweeper could misread a newer file.
TRIALS_FORMAT = 1

#: Most characters of a reason in the table; the ledger holds the whole reason.
_LONGEST_REASON = 1000

_WORDS = ("key", "task", "state", "outcome", "reason", "setting_key", "population")
_NUMBERS = ("number", "seed", "attempt", "started_ms", "ended_ms")


@dataclass(frozen=True)
class StoredTrials:
    """The finished trials of a sweep, with its objectives and reference point.

    Attributes:
        table: As `trials_table` returns it, sorted by task and number.
        objectives: In the order of the spec.
        reference_point: Value per objective name, in the objective's unit.
    """

    sweep: str
    table: pa.Table
    objectives: tuple[Objective, ...]
    reference_point: Mapping[str, float]

    @property
    def records(self) -> list[TrialRecord]:
        """The trials as records, without setting, curve and notes."""
        return records_of(self.table, self.sweep)


def trials_table(records: Iterable[TrialRecord]) -> pa.Table:
    """Return one row for each trial.

    Returns:
        Columns `key`, `task`, `state`, `outcome`, `reason` (shortened), `setting_key`, `population`; `number`, `seed`,
        `attempt`; `started_ms`, `ended_ms` (Unix milliseconds, null if not yet known); `code`, only if the sweep ran
        a user's code: its version or versions; the axes, named by `points.axis_column`; each name in `MEASUREMENTS`,
        the measurements that a user's code adds, and those under probes (in its own unit, null if not measured); each
        name in `WALLS` (null if not measured); `channels_per_layer`. The schema's metadata say which columns are axes.
    """
    rows = sorted(records, key=lambda record: (record.task, record.number, record.key))
    columns: dict[str, pa.Array] = {}
    for name in _WORDS:
        columns[name] = pa.array([_word(getattr(row, name)) for row in rows], pa.string())
    for name in _NUMBERS:
        columns[name] = pa.array([getattr(row, name) for row in rows], pa.int64())
    if any(row.codes for row in rows):
        columns["code"] = pa.array([own_code.JOIN.join(row.codes) for row in rows], pa.string())
    own_units = own_units_in(rows)
    axes = {axis_column(axis, own_units): axis for row in rows for axis in row.axes}
    for column, axis in axes.items():
        columns[column] = axis_values([row.axes.get(axis) for row in rows])
    facts = {"sweeper": json.dumps({"format": TRIALS_FORMAT, "axes": axes})}
    if own_units is not None:
        schema = [pa.field(name, values.type) for name, values in columns.items()]
        schema += [own_field(name, unit) for name, unit in own_units.items()]
        arrays = [pa.array([row.measurement.get(name) for row in rows], pa.float64()) for name in own_units]
        return pa.table([*columns.values(), *arrays], schema=pa.schema(schema, facts))
    added = added_units_in(rows)
    for name in (*MEASUREMENTS, *added, *probe_names(rows)):
        columns[name] = pa.array([row.measurement.get(name) for row in rows], pa.float64())
    for wall in WALLS:
        touched = [row.measurement.get(wall) for row in rows]
        columns[wall] = pa.array([None if value is None else value > 0 for value in touched], pa.bool_())
    channels = [row.details.get("channels_per_layer") for row in rows]
    columns["channels_per_layer"] = pa.array(
        [None if c is None else [int(n) for n in c] for c in channels], pa.list_(pa.int64())
    )
    return with_added_units(pa.table(columns), added).replace_schema_metadata(facts)


def records_of(table: pa.Table, sweep: str) -> list[TrialRecord]:
    """Return the trials of a table as records, without setting, curve and notes, which a table does not hold."""
    axes, measured, own_units = axes_of(table), measured_columns(table), own_units_of(table)
    added_units = added_units_of(table)
    return [
        TrialRecord(
            key=row["key"],
            sweep=sweep,
            task=row["task"],
            number=row["number"],
            state=State(row["state"]),
            setting={},
            axes={axis: row[column] for column, axis in axes.items() if row[column] is not None},
            setting_key=row["setting_key"],
            seed=row["seed"],
            population=row["population"],
            attempt=row["attempt"],
            outcome=Outcome(row["outcome"]) if row["outcome"] else None,
            reason=row["reason"],
            measurement={name: float(row[name]) for name in measured if row[name] is not None},
            details={} if row.get("channels_per_layer") is None else {"channels_per_layer": row["channels_per_layer"]},
            started_ms=row["started_ms"],
            ended_ms=row["ended_ms"],
            own_units=own_units,
            codes=tuple(filter(None, (row.get("code") or "").split(own_code.JOIN))),
            added_units=added_units,
        )
        for row in table.to_pylist()
    ]


def axes_of(table: pa.Table) -> dict[str, str]:
    """Return the columns of a trials' table that are axes: column -> name of the axis."""
    return dict(json.loads((table.schema.metadata or {})[b"sweeper"])["axes"])


def measured_columns(table: pa.Table) -> list[str]:
    """Return the columns of measurements of a trials' table, also those of a later version."""
    if (own_units := own_units_of(table)) is not None:
        return list(own_units)
    others = {*_WORDS, *_NUMBERS, *axes_of(table)}
    unknown = [
        field.name
        for field in table.schema
        if field.name not in others and (pa.types.is_floating(field.type) or pa.types.is_boolean(field.type))
    ]
    return list(dict.fromkeys([*(name for name in (*MEASUREMENTS, *WALLS) if name in table.column_names), *unknown]))


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Return tables of trials as one, sorted by task and number.

    An axis that holds numbers in one table and words in another becomes words. Whole numbers become fractions if the
    axis also holds fractions.
    """
    axes = {column: axis for table in tables for column, axis in axes_of(table).items()}
    facts = json.dumps({"format": TRIALS_FORMAT, "axes": axes})
    order = [("task", "ascending"), ("number", "ascending"), ("key", "ascending")]
    whole = concatenated(tables).sort_by(order).combine_chunks()
    return whole.replace_schema_metadata({"sweeper": facts})


def to_parquet_bytes(table: pa.Table) -> bytes:
    """Return a table of trials as one Parquet file."""
    return sealed(table)


def from_parquet_bytes(data: bytes) -> pa.Table:
    """Return the table that `to_parquet_bytes` wrote.

    Measurements that are newer than the file are null. Columns that this version does not know are kept.

    Raises:
        QueryError: If the bytes are damaged, are not trials, or come from a newer version of sweeper.
    """
    table, facts = read_parquet(data, "trials")
    if int(facts["format"]) > TRIALS_FORMAT:
        raise QueryError(
            f"these trials have format {facts['format']}, but this sweeper reads formats up to {TRIALS_FORMAT}. "
            "Update sweeper, or store them again with `sweeper mirror` from this version."
        )
    of_lattices = () if own_units_of(table) is not None else ("channels_per_layer",)
    if missing := [name for name in (*_WORDS, *_NUMBERS, *of_lattices) if name not in table.column_names]:
        raise QueryError(
            f"the stored trials lack {', '.join(missing)}. Store them again with `sweeper mirror` from this version."
        )
    return completed(table)


def aims(objectives: Sequence[Objective], reference_point: Mapping[str, float]) -> str:
    """Encode objectives and reference point as one text, for a tag."""
    goals = [[objective.name, objective.goal.value] for objective in objectives]
    return json.dumps({"objectives": goals, "reference_point": dict(reference_point)})


def read_aims(text: str) -> tuple[tuple[Objective, ...], dict[str, float]]:
    """Decode the text that `aims` wrote.

    Raises:
        QueryError: If the text is something else.
    """
    try:
        facts = json.loads(text)
        objectives = tuple(Objective(name, Goal(goal)) for name, goal in facts["objectives"])
        return objectives, {name: float(facts["reference_point"][name]) for name, _ in facts["objectives"]}
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(
            f"the objectives of this sweep cannot be read from MLflow ({type(error).__name__}: {error}). "
            "Store them again with `sweeper mirror`."
        ) from error


def _word(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _LONGEST_REASON else f"[…] {text[-_LONGEST_REASON + 4 :]}"
