"""Trials become points, points become fronts: Arrow tables, and how they are stored.

One *point* is one setting: its replicates (the same setting with other seeds) are averaged,
and their spread is kept beside the mean.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from sweeper.analysis.conditions import where
from sweeper.analysis.formats import METADATA_KEY, encode, parquet_bytes, read_parquet
from sweeper.analysis.pareto import hypervolume, non_dominated
from sweeper.errors import QueryError
from sweeper.trial import MEASUREMENTS, WALLS, Goal, Objective, State, TrialRecord

__all__ = [
    "FRONT_FORMAT",
    "ArrowTable",
    "Front",
    "axis_column",
    "axis_values",
    "compute_front",
    "compute_fronts",
    "concatenated",
    "encode",
    "front_place",
    "parquet_bytes",
    "points_table",
    "read_parquet",
    "where",
]

#: What queries return, under a name that other rooms can use without pyarrow.
ArrowTable = pa.Table

#: Written into every stored front; raise it when an older sweeper could misread a newer file.
FRONT_FORMAT = 1

_FIXED_COLUMNS = ("key", "keys", "task", "replicates", "channels_per_layer")


def axis_column(name: str) -> str:
    """Return the column, and the MLflow metric, that holds an axis.

    An axis named like a measurement or a fixed column is written as `setting.<name>`, so that
    what was chosen is never mistaken for what was measured.
    """
    taken = name in MEASUREMENTS or name in WALLS or name in _FIXED_COLUMNS
    return f"setting.{name}" if taken else name


# --- points ---------------------------------------------------------------------------------------


def points_table(records: Sequence[TrialRecord], objectives: Sequence[Objective]) -> pa.Table:
    """Return one row for each setting, averaged over its complete replicates.

    Args:
        records: Trials in any order; those that are not complete are left out.
        objectives: Objectives whose spread is wanted.

    Returns:
        Columns `key` (the trial with the lowest seed), `keys`, `task`, `replicates`; the axes; each
        name in `MEASUREMENTS` (mean, in its own unit, null unless every replicate has a finite
        value); `<objective>_sd` (sample standard deviation, null for one replicate); each name in
        `WALLS` (true if any replicate touched it); `channels_per_layer`. Sorted by task, then by
        the number of the setting's first trial.
    """
    groups: dict[tuple[str, str], list[TrialRecord]] = {}
    for record in records:
        if record.state is State.COMPLETE:
            groups.setdefault((record.task, record.setting_key), []).append(record)
    points = [sorted(group, key=lambda r: (r.seed, r.number, r.key)) for group in groups.values()]
    points.sort(key=lambda group: (group[0].task, min(r.number for r in group), group[0].key))

    axes = list(dict.fromkeys(axis for group in points for axis in group[0].axes))
    columns: dict[str, pa.Array] = {
        "key": pa.array([group[0].key for group in points], pa.string()),
        "keys": pa.array([[r.key for r in group] for group in points], pa.list_(pa.string())),
        "task": pa.array([group[0].task for group in points], pa.string()),
        "replicates": pa.array([len(group) for group in points], pa.int64()),
    }
    for axis in axes:
        columns[axis_column(axis)] = axis_values([group[0].axes.get(axis) for group in points])
    for name in MEASUREMENTS:
        columns[name] = pa.array([_mean(group, name) for group in points], pa.float64())
    for objective in objectives:
        spread = [_standard_deviation(group, objective.name) for group in points]
        columns[f"{objective.name}_sd"] = pa.array(spread, pa.float64())
    for wall in WALLS:
        touched = [any(r.measurement.get(wall, 0.0) > 0 for r in group) for group in points]
        columns[wall] = pa.array(touched, pa.bool_())
    channels = [group[0].details.get("channels_per_layer") for group in points]
    columns["channels_per_layer"] = pa.array(
        [None if c is None else [int(n) for n in c] for c in channels], pa.list_(pa.int64())
    )
    return pa.table(columns)


def axis_values(values: Sequence[str | int | float | bool | None]) -> pa.Array:
    """Return an axis as a column: yes or no, whole numbers, fractions, or else words."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {int}:
        return pa.array(values, pa.int64())
    if kinds and kinds <= {int, float}:
        return pa.array([None if v is None else float(v) for v in values], pa.float64())
    return pa.array([None if v is None else str(v) for v in values], pa.string())


def _values(group: Sequence[TrialRecord], name: str) -> list[float] | None:
    # A mean over some of the replicates would be compared with means over all of them: all or null.
    values = [float(record.measurement.get(name, math.nan)) for record in group]
    return values if all(math.isfinite(value) for value in values) else None


def _mean(group: Sequence[TrialRecord], name: str) -> float | None:
    values = _values(group, name)
    return None if values is None else math.fsum(values) / len(values)


def _standard_deviation(group: Sequence[TrialRecord], name: str) -> float | None:
    values = _values(group, name)
    return None if values is None or len(values) < 2 else statistics.stdev(values)


def concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    """Return tables one below the other. Columns that one of them lacks are null there.

    Where one holds words and another numbers in one column, the numbers become words; whole numbers and fractions
    become fractions.
    """
    fields = [field for table in tables for field in table.schema]
    words = {field.name for field in fields if pa.types.is_string(field.type)}
    spoken = [_with_words(table, words) for table in tables]
    return pa.concat_tables(spoken, promote_options="permissive").combine_chunks()


def _with_words(table: pa.Table, words: set[str]) -> pa.Table:
    for index, field in enumerate(table.schema):
        if field.name in words and not pa.types.is_string(field.type):
            table = table.set_column(index, field.name, table[field.name].cast(pa.string()))
    return table


# --- fronts ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Front:
    """The non-dominated points of one task cell, with everything needed to read them again.

    Attributes:
        version: Counts the stored fronts of this task from 1; 0 when not stored yet.
        reference_point: Value per objective name, in the objective's unit, bounding `hypervolume`.
        hypervolume: Volume between the front and the reference point, product of the units.
        table: The front's rows of `points_table`, sorted by the first objective, ascending.
        is_chosen: Whether the objectives were chosen for this front, and are not those of the sweep.
    """

    sweep: str
    task: str
    version: int
    objectives: tuple[Objective, ...]
    reference_point: Mapping[str, float]
    hypervolume: float
    table: pa.Table
    is_chosen: bool = False

    @property
    def place(self) -> str:
        """What this front is stored under: its task, and its objectives where they are not all of the sweep's."""
        return front_place(self.task, [o.name for o in self.objectives] if self.is_chosen else ())

    def same_content(self, other: Front) -> bool:
        """Return whether both fronts say the same, whatever their versions."""
        return (
            (self.sweep, self.task, self.objectives) == (other.sweep, other.task, other.objectives)
            and dict(self.reference_point) == dict(other.reference_point)
            and bool(self.table.equals(other.table))
        )

    def to_parquet_bytes(self) -> bytes:
        """Return the front as one Parquet file, its facts as JSON in the schema's metadata."""
        facts = {
            "format": FRONT_FORMAT,
            "sweep": self.sweep,
            "task": self.task,
            "version": self.version,
            "objectives": [[objective.name, objective.goal.value] for objective in self.objectives],
            "reference_point": dict(self.reference_point),
            "hypervolume": self.hypervolume,
            "is_chosen": self.is_chosen,
        }
        return parquet_bytes(self.table.replace_schema_metadata({METADATA_KEY: json.dumps(facts)}))

    @staticmethod
    def from_parquet_bytes(data: bytes) -> Front:
        """Return the front that `to_parquet_bytes` wrote.

        Raises:
            QueryError: If the bytes are damaged, are no front, or come from a newer sweeper.
        """
        table, facts = read_parquet(data, "front")
        found = int(facts["format"])
        if found > FRONT_FORMAT:
            raise QueryError(
                f"this front has format {found}, but this sweeper reads formats up to {FRONT_FORMAT}. "
                "Update sweeper, or store the front again with `sweeper mirror` from this version."
            )
        try:
            return Front(
                sweep=facts["sweep"],
                task=facts["task"],
                version=int(facts["version"]),
                objectives=tuple(Objective(name, Goal(goal)) for name, goal in facts["objectives"]),
                reference_point={name: float(value) for name, value in facts["reference_point"].items()},
                hypervolume=float(facts["hypervolume"]),
                table=table.replace_schema_metadata(None),
                is_chosen=bool(facts.get("is_chosen", False)),
            )
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise QueryError(
                f"the facts of a stored front are incomplete ({type(error).__name__}: {error}). "
                "Store the front again with `sweeper mirror`."
            ) from error


def compute_front(
    records: Iterable[TrialRecord],
    *,
    sweep: str,
    task: str,
    objectives: Sequence[Objective],
    reference_point: Mapping[str, float],
    version: int = 0,
    is_chosen: bool = False,
) -> Front:
    """Return the front of one task cell from its complete trials.

    Args:
        records: Trials of any sweep and task; only those of `sweep` and `task` count.
        objectives: What to optimise; the first one orders the rows.
        reference_point: The worst value that still counts, for each objective's name.
        version: Number of the front where it is already known.
        is_chosen: Whether the objectives are others than the sweep's.

    Returns:
        The front; an empty table and hypervolume 0.0 when no trial is complete.

    Raises:
        ValueError: If the reference point lacks an objective, or holds a value that is not finite.
    """
    missing = [objective.name for objective in objectives if objective.name not in reference_point]
    if missing:
        raise ValueError(
            f"the reference point of sweep '{sweep}' has no value for {', '.join(missing)} "
            f"(it has: {', '.join(reference_point) or 'none'}). Give one for each objective."
        )
    table = points_table([r for r in records if (r.sweep, r.task) == (sweep, task)], objectives)
    for objective in objectives:
        table = table.filter(pc.is_valid(table[objective.name]))
    goals = [objective.goal for objective in objectives]
    rows_NM = list(zip(*(table[o.name].to_pylist() for o in objectives), strict=True))
    table = table.filter(pa.array(non_dominated(rows_NM, goals)))
    order = [(objective.name, "ascending") for objective in objectives]
    table = table.sort_by([*order, ("key", "ascending")]).combine_chunks()
    front_NM = list(zip(*(table[o.name].to_pylist() for o in objectives), strict=True))
    corner_M = [float(reference_point[objective.name]) for objective in objectives]
    return Front(
        sweep=sweep,
        task=task,
        version=version,
        objectives=tuple(objectives),
        reference_point=dict(zip((o.name for o in objectives), corner_M, strict=True)),
        hypervolume=hypervolume(front_NM, goals, corner_M),
        table=table,
        is_chosen=is_chosen,
    )


def compute_fronts(
    records: Iterable[TrialRecord],
    sweep: str,
    task: str,
    objectives: Sequence[Objective],
    reference_point: Mapping[str, float],
    chosen: Sequence[Sequence[str]] = (),
) -> list[Front]:
    """Return the front of one task cell over all objectives, and those over some of them that were chosen.

    Args:
        records, sweep, task, objectives, reference_point: As for `compute_front`.
        chosen: Names of objectives, for each front that is wanted beside the first.
    """
    own = [record for record in records if (record.sweep, record.task) == (sweep, task)]
    by_name = {objective.name: objective for objective in objectives}
    wanted = [(tuple(objectives), False), *((tuple(by_name[name] for name in names), True) for names in chosen)]
    return [
        compute_front(
            own, sweep=sweep, task=task, objectives=some, reference_point=reference_point, is_chosen=is_chosen
        )
        for some, is_chosen in wanted
    ]


def front_place(task: str, objectives: Sequence[str] = ()) -> str:
    """Return what the front of a task is stored under, over some of the objectives if they are named."""
    return "/".join([task, *objectives])
