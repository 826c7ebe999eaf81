"""The data of pictures: the settings of one task, read from MLflow once, as plain rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sweeper.analysis.fronts import Front
from sweeper.analysis.pareto import non_dominated
from sweeper.analysis.points import axis_column, own_units_in
from sweeper.measurements import Goal, Objective
from sweeper.results.plots.accuracies import Row, chosen_accuracies
from sweeper.results.plots.style import NotDrawnError
from sweeper.results.sweep_tables import SweepTables


@dataclass(frozen=True)
class Points:
    """The settings of one task of a sweep.

    Attributes:
        sweep: The sweep.
        task: Label of the task.
        asked: Accuracies to compare at; none to have them chosen.
    """

    sweep: SweepTables
    task: str
    asked: tuple[float, ...] = ()

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives of the sweep, in the order of its spec."""
        return self.sweep.objectives

    @cached_property
    def front(self) -> Front:
        """The task's front, as MLflow holds it."""
        return next(iter(self.sweep.fronts(self.task)))

    @cached_property
    def of_all_tasks(self) -> list[Row]:
        """The settings of every task with a complete trial."""
        rows: list[Row] = self.sweep.points().to_pylist()
        return rows

    @cached_property
    def rows(self) -> list[Row]:
        """The settings of the task that have a complete trial, in the order of their first trials' numbers.

        Raises:
            NotDrawnError: If there is none.
        """
        rows = [row for row in self.of_all_tasks if row["task"] == self.task]
        if not rows:
            raise NotDrawnError(f"task {self.task!r} of sweep {self.sweep.name!r} has no complete trial yet")
        return rows

    @cached_property
    def front_keys(self) -> frozenset[str]:
        """Keys of the front's settings."""
        return frozenset(self.front.table["key"].to_pylist())

    @cached_property
    def axes(self) -> dict[str, str]:
        """The axes that vary within the task: column -> name."""
        names = dict.fromkeys(axis for record in self.sweep.records for axis in record.axes)
        columns = {axis_column(name, self.units): name for name in names}
        return {
            column: name
            for column, name in columns.items()
            if len({row[column] for row in self.rows if row.get(column) is not None}) > 1
        }

    @cached_property
    def units(self) -> Mapping[str, str] | None:
        """Units of the measurements of a user's own function, by name; None for lattices, whose units are fixed."""
        return own_units_in(self.sweep.records)

    @cached_property
    def accuracies(self) -> tuple[float, ...]:
        """The accuracies at which pictures compare, the same for all tasks, lowest first."""
        return self.asked or chosen_accuracies([row for row in self.of_all_tasks if row["accuracy"] is not None])

    @property
    def seeds(self) -> int:
        """The largest number of replicates of a setting."""
        return int(max(row["replicates"] for row in self.rows))

    def with_all(self, *names: str) -> list[Row]:
        """Return the settings that have a value in all of these columns.

        Raises:
            NotDrawnError: If there is none.
        """
        rows = [row for row in self.rows if all(row.get(name) is not None for name in names)]
        if not rows:
            raise NotDrawnError(f"no setting of task {self.task!r} was measured in {' and '.join(names)}")
        return rows


def best_of(rows: Sequence[Row], objectives: Sequence[Objective]) -> list[Row]:
    """Return the settings that no other dominates, with ties, the best in the last objective first."""
    values = [[row[objective.name] for objective in objectives] for row in rows]
    kept = non_dominated(values, [objective.goal for objective in objectives])
    best = [row for row, is_kept in zip(rows, kept, strict=True) if is_kept]
    last = objectives[-1]
    sign = -1 if last.goal is Goal.MAXIMIZE else 1
    return sorted(best, key=lambda row: (sign * row[last.name], *(row[o.name] for o in objectives), row["key"]))
