"""A stored sweep in Python: fronts, points and trials as Arrow tables, from MLflow alone. Nothing is ever written."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from sweeper.errors import UnknownSweepError
from sweeper.record import read_artifact, read_front, read_network, read_trials
from sweeper.table import Front, compute_front, points_table, where
from sweeper.trials import StoredTrials
from sweeper.vocabulary import Objective, TrialRecord


class LoadedSweep:
    """One sweep as MLflow holds it at the time it is first asked; load it again to see what has come since.

    Args:
        name: Name of the sweep.
        tracking_uri: Where MLflow is; the sweep may have run on another machine.
    """

    def __init__(self, name: str, tracking_uri: str) -> None:
        self.name, self.tracking_uri = name, tracking_uri

    @cached_property
    def _stored(self) -> StoredTrials:
        return read_trials(self.tracking_uri, self.name)

    @cached_property
    def records(self) -> list[TrialRecord]:
        """The finished trials, by task and number."""
        return self._stored.records

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What the sweep optimises, in the order of its spec."""
        return self._stored.objectives

    @property
    def reference_point(self) -> dict[str, float]:
        """The fixed corner that bounds every hypervolume: a value per objective, in its unit."""
        return dict(self._stored.reference_point)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Labels of the tasks that have a finished trial, sorted."""
        return tuple(sorted({record.task for record in self.records}))

    @cached_property
    def spec_text(self) -> str:
        """The spec as its user wrote it; empty where it is not stored."""
        return (read_artifact(self.tracking_uri, self.name, "spec.yaml") or b"").decode()

    def trials(self, task: str | None = None, *, where: Sequence[str] = ()) -> pa.Table:
        """Return the finished trials, one row each; columns as in `sweeper.trials.trials_table`.

        Args:
            task: Label of one task; None for all.
            where: Conditions that a row must meet; see `sweeper.table.where`.
        """
        return _chosen(self._stored.table, self._known(task), where)

    def points(self, task: str | None = None, *, where: Sequence[str] = ()) -> pa.Table:
        """Return the settings with a complete trial, averaged over replicates; columns as in `points_table`."""
        return _chosen(points_table(self.records, self.objectives), self._known(task), where)

    def fronts(self, task: str | None = None, objectives: Sequence[str] = ()) -> list[Front]:
        """Return the fronts, one a task, sorted by label.

        Args:
            task: Label of one task; None for all.
            objectives: Names of those of the sweep's objectives to compare by; none for all of them. A front that is
                stored for them is read, with its version; else it is computed, and its version is 0.
        """
        task = self._known(task)
        if stored := read_front(self.tracking_uri, self.name, task, objectives):
            return stored
        named = {objective.name: objective for objective in self.objectives}
        some = tuple(named[name] for name in objectives) or self.objectives
        return [
            compute_front(
                self.records,
                sweep=self.name,
                task=one,
                objectives=some,
                reference_point=self.reference_point,
                is_chosen=bool(objectives),
            )
            for one in (self.tasks if task is None else [task])
        ]

    def network(self, key: str) -> bytes | None:
        """Return the file of the network of a trial that is or was on a front; None if MLflow has none."""
        return read_network(self.tracking_uri, self.name, key)

    def _known(self, task: str | None) -> str | None:
        if task is not None and task not in self.tasks:
            raise UnknownSweepError(
                f"sweep {self.name!r} has no finished trial of task {task!r} "
                f"(it has: {', '.join(self.tasks) or 'none'}). Name one of these."
            )
        return task


def _chosen(table: pa.Table, task: str | None, conditions: Sequence[str]) -> pa.Table:
    if task is not None:
        table = table.filter(pc.equal(table["task"], task))
    return where(table, conditions)
