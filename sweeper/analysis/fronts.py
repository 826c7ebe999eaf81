"""Computes fronts from points, as Arrow tables, and encodes them for storage."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from sweeper.analysis.formats import METADATA_KEY, read_parquet
from sweeper.analysis.pareto import hypervolume, non_dominated
from sweeper.analysis.points import (
    added_units_of,
    code_versions,
    completed,
    own_units_of,
    points_table,
    varied_columns,
)
from sweeper.errors import DamagedError, QueryError
from sweeper.measurements import WALLS, Goal, Objective
from sweeper.sealed import sealed
from sweeper.trial import TrialRecord

#: Format number in every stored front; raise it when an older version of sweeper could misread a newer file.
FRONT_FORMAT = 1


@dataclass(frozen=True)
class Front:
    """The non-dominated points of one task cell, with everything needed to read them again.

    Attributes:
        version: Counts the stored fronts of this task from 1; 0 if the front is not stored.
        reference_point: Value per objective name, in the objective's unit, bounding `hypervolume`.
        hypervolume: Volume between the front and the reference point, product of the units.
        table: The front's rows of `points_table`, sorted by the first objective, ascending.
        is_chosen: Whether the objectives were chosen for this front, and are not those of the sweep.
        varied: Columns of the axes in which the task's complete trials differ; None if an earlier version of sweeper
            stored the front, without this fact.
    """

    sweep: str
    task: str
    version: int
    objectives: tuple[Objective, ...]
    reference_point: Mapping[str, float]
    hypervolume: float
    table: pa.Table
    is_chosen: bool = False
    varied: tuple[str, ...] | None = None

    @property
    def key(self) -> str:
        """Key that this front is stored under: its task, with its objectives if they are not all of the sweep's."""
        return front_key(self.task, [o.name for o in self.objectives] if self.is_chosen else ())

    @property
    def own_units(self) -> dict[str, str] | None:
        """Units of the measurements of a user's own function, by name; None for a front of lattices."""
        return own_units_of(self.table)

    @property
    def codes(self) -> list[str]:
        """For each row the version or versions of the user's code; empty if no trial ran a user's code."""
        return code_versions(self.table)

    @property
    def added_units(self) -> dict[str, str]:
        """Units of the measurements that a user's code adds to those of lattices, by name."""
        return added_units_of(self.table)

    def best(self, rows: int) -> Front:
        """Return this front with at most so many rows, in the same order: the best in the first objective."""
        left_out = max(0, self.table.num_rows - rows)
        is_last_best = self.objectives[0].goal is Goal.MAXIMIZE  # rows ascend
        return replace(self, table=self.table.slice(left_out if is_last_best else 0, rows))

    def example_condition(self) -> str:
        """Return a condition on the first two objectives that this front's middle row meets; empty without rows."""
        if not self.table.num_rows:
            return ""
        row = self.table.slice(self.table.num_rows // 2, 1).to_pylist()[0]
        better = {Goal.MAXIMIZE: ">=", Goal.MINIMIZE: "<="}
        return " and ".join(
            f"{one.name} {better[one.goal]} {_reached(row[one.name], one.goal)}" for one in self.objectives[:2]
        )

    def same_content(self, other: Front) -> bool:
        """Return whether both fronts have the same content, whatever their versions.

        Only columns that both have are compared: a later version of sweeper may have measured more.
        """
        common = [name for name in self.table.column_names if name in other.table.column_names]
        return (
            (self.sweep, self.task, self.objectives) == (other.sweep, other.task, other.objectives)
            and dict(self.reference_point) == dict(other.reference_point)
            and bool(_comparable(self.table.select(common)).equals(_comparable(other.table.select(common))))
        )

    def to_parquet_bytes(self) -> bytes:
        """Return the front as one Parquet file, with its facts as JSON in the schema's metadata."""
        facts = {
            "format": FRONT_FORMAT,
            "sweep": self.sweep,
            "task": self.task,
            "version": self.version,
            "objectives": [[objective.name, objective.goal.value] for objective in self.objectives],
            "reference_point": dict(self.reference_point),
            "hypervolume": self.hypervolume,
            "is_chosen": self.is_chosen,
            "varied": None if self.varied is None else list(self.varied),
        }
        return sealed(self.table.replace_schema_metadata({METADATA_KEY: json.dumps(facts)}))

    @staticmethod
    def from_parquet_bytes(data: bytes) -> Front:
        """Return the front that `to_parquet_bytes` wrote.

        Measurements that are newer than the file are null. Columns that this version does not know are kept.

        Raises:
            QueryError: If the bytes are damaged, are not a front, or come from a newer version of sweeper.
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
                table=completed(table.replace_schema_metadata(None)),
                is_chosen=bool(facts.get("is_chosen", False)),
                varied=None if facts.get("varied") is None else tuple(map(str, facts["varied"])),
            )
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise DamagedError(
                f"the facts of a stored front are incomplete ({type(error).__name__}: {error}). "
                "Store the front again with `sweeper mirror`."
            ) from error


def _comparable(table: pa.Table) -> pa.Table:
    # Earlier versions stored false, not null, for walls that were not measured.
    for wall in set(WALLS).intersection(table.column_names):
        at = table.column_names.index(wall)
        table = table.set_column(at, wall, pc.fill_null(table[wall], False).combine_chunks())
    return table.combine_chunks()


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
        objectives: The objectives; the first one orders the rows.
        reference_point: The worst value that still counts, for each objective's name.
        version: Number of the front, if it is already known.
        is_chosen: Whether the objectives differ from the sweep's.

    Returns:
        The front; with an empty table and hypervolume 0.0 if no trial is complete.

    Raises:
        ValueError: If the reference point lacks an objective, or holds a value that is not finite.
    """
    missing = [objective.name for objective in objectives if objective.name not in reference_point]
    if missing:
        raise ValueError(
            f"the reference point of sweep '{sweep}' has no value for {', '.join(missing)} "
            f"(it has: {', '.join(reference_point) or 'none'}). Give one for each objective."
        )
    own = [record for record in records if (record.sweep, record.task) == (sweep, task)]
    table = points_table(own, objectives)
    varied = varied_columns(own)
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
        varied=varied,
    )


def compute_fronts(
    records: Iterable[TrialRecord],
    sweep: str,
    task: str,
    objectives: Sequence[Objective],
    reference_point: Mapping[str, float],
    chosen: Sequence[Sequence[str]] = (),
) -> list[Front]:
    """Return the front of one task cell over all objectives, and the wanted fronts over some of them.

    Args:
        records, sweep, task, objectives, reference_point: As for `compute_front`.
        chosen: Names of the objectives of each further front.
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


def front_key(task: str, objectives: Sequence[str] = ()) -> str:
    """Return the key that a task's front is stored under; with objectives, that of the front over these alone."""
    return "/".join([task, *objectives])


def _reached(value: float, goal: Goal) -> str:
    """Return a value in three digits, rounded such that the value still meets it as a bound."""
    if not value:
        return "0"
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 2)
    if not step:  # the smallest floats have no three digits
        return f"{value:.10g}"
    steps = math.floor(value / step) if goal is Goal.MAXIMIZE else math.ceil(value / step)
    return f"{steps * step:.10g}"
