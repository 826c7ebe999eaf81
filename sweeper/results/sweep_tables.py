"""Reads a stored sweep as Arrow tables: fronts, points and trials, from its tracker alone. Writes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sweeper.analysis.attainment import SHARES, attainment_table
from sweeper.analysis.comparison import compare_fronts
from sweeper.analysis.conditions import where
from sweeper.analysis.formats import read_probes
from sweeper.analysis.fronts import Front, compute_front
from sweeper.analysis.history import history_table
from sweeper.analysis.points import concatenated, points_table
from sweeper.analysis.trials import StoredTrials
from sweeper.errors import DamagedError, QueryError, UnknownSweepError
from sweeper.measurements import Objective
from sweeper.results.objectives import chosen_objectives, listed
from sweeper.rules import EarlierRules, earlier_rules, rules_in, said_of
from sweeper.spelling import did_you_mean, names_near
from sweeper.tracking.reader import Reader
from sweeper.tracking.recorder import probes_path
from sweeper.trial import State, TrialRecord


class SweepTables:
    """One sweep as its tracker held it when it was first asked; load the sweep again to see newer trials.

    Args:
        reader: Reads the sweep from its tracker; the sweep may have run on another machine.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @property
    def name(self) -> str:
        """Name of the sweep."""
        return self._reader.sweep

    @property
    def address(self) -> str:
        """Address of its tracker, without a password."""
        return self._reader.address

    @cached_property
    def _stored(self) -> StoredTrials:
        return self._reader.trials()

    @cached_property
    def records(self) -> list[TrialRecord]:
        """The finished trials, by task and number."""
        return self._stored.records

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives of the sweep, in the order of its spec."""
        return self._stored.objectives

    @property
    def reference_point(self) -> dict[str, float]:
        """The fixed corner that bounds every hypervolume: a value for each objective, in the objective's unit."""
        return dict(self._stored.reference_point)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Labels of the tasks that have a finished trial, sorted."""
        return tuple(sorted(set(self._stored.table["task"].unique().to_pylist())))

    @cached_property
    def spec_text(self) -> str:
        """The spec as its user wrote it; empty if the tracker does not store it."""
        return (self._reader.artifact("spec.yaml") or b"").decode()

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The spec with every default written out, as JSON holds it; empty if the tracker does not store it."""
        found = json.loads(self._reader.artifact("spec_resolved.json") or b"{}")
        return found if isinstance(found, dict) else {}

    @cached_property
    def facts(self) -> dict[str, str]:
        """Short texts about the sweep by name: versions, data hashes, seeds and the like.

        If the sweep was measured by earlier rules than today's, `measured` says by which.
        """
        facts = self._reader.facts()
        earlier = earlier_rules(rules_in(facts))
        return facts | ({"measured": str(earlier)} if earlier else {})

    @property
    def earlier(self) -> EarlierRules | None:
        """The rules that it was trained and measured by, if they are not today's; else None."""
        return earlier_rules(rules_in(self.facts))

    @cached_property
    def unfinished(self) -> int:
        """How many of its trials have not ended yet; 0 if its tracker does not say."""
        try:
            live = self._reader.live()
        except DamagedError:
            raise
        except QueryError:
            return 0
        return sum(task.planned - task.ended for task in (*live.tasks, live.rest))

    def trials(self, task: str | None = None, *, where: Sequence[str] = ()) -> pa.Table:
        """Return the finished trials, one row each; columns as in docs/reference/columns.md.

        Args:
            task: Label of one task; None for all.
            where: Conditions that a row must meet; see `sweeper.analysis.conditions`.
        """
        return _chosen(self._stored.table, known_task(self, task), where)

    def points(self, task: str | None = None, *, where: Sequence[str] = ()) -> pa.Table:
        """Return the settings that have a complete trial, averaged over replicates; columns as in `points_table`."""
        return _chosen(points_table(self.records, self.objectives), known_task(self, task), where)

    def fronts(self, task: str | None = None, objectives: Sequence[str] = ()) -> list[Front]:
        """Return the fronts, one for each task, sorted by label.

        Args:
            task: Label of one task; None for all.
            objectives: Names of some of the sweep's objectives to compare by; none for all of them. A stored front over
                these objectives is read with its version. Otherwise the front is computed, with version 0.
        """
        listed("objectives", objectives)
        try:
            if stored := self._reader.fronts(task, objectives):
                return stored
        except UnknownSweepError:  # a task without a front may still have finished trials, none of them complete
            known_task(self, task)
        return [
            compute_front(
                self.records,
                sweep=self.name,
                task=one,
                objectives=self._named(objectives),
                reference_point=self.reference_point,
                is_chosen=bool(objectives),
            )
            for one in (self.tasks if task is None else [task])
        ]

    def front(self, task: str | None = None, *, objectives: Sequence[str] = (), where: Sequence[str] = ()) -> pa.Table:
        """Return the points of the fronts in one table, told apart by the column `task`; columns as in `points_table`.

        Args:
            task, objectives: As for `fronts`.
            where: Conditions that a row must meet; see `sweeper.analysis.conditions`.
        """
        fronts = self.fronts(task, objectives)
        tables = [front.table for front in fronts] or [points_table([], self._named(objectives))]
        return _chosen(concatenated(tables), None, where)

    def hypervolume_history(
        self, task: str, *, objectives: Sequence[str] = (), reference_point: Mapping[str, float] | None = None
    ) -> pa.Table:
        """Return how the hypervolume of a task's front changed while its trials ended.

        Args:
            task: Label of the task.
            objectives: Names of some of the sweep's objectives to compare by; none for all of them.
            reference_point: Bounds the volumes; None for the sweep's own.

        Returns:
            One row for each finished trial, in order of ending; columns as in
            `sweeper.analysis.history.history_table`, which says how replicates count.
        """
        corner = self.reference_point if reference_point is None else reference_point
        return history_table(self._records_of(task), self._named(objectives), corner)

    def attainment(
        self, task: str, objectives: Sequence[str] = (), *, shares: Mapping[str, float] = SHARES
    ) -> pa.Table:
        """Return the surfaces that a share of the replicates (seeds) of a task attain.

        Args:
            task: Label of the task.
            objectives: Names of two or three of the sweep's objectives; none for all of them.
            shares: Name of each surface, and the share of replicates that attain it: by default `best` (one),
                `median` (half) and `worst` (all).

        Returns:
            One row for each corner of a surface; columns as in `sweeper.analysis.attainment.attainment_table`.
        """
        return attainment_table(self._records_of(task), self._named(objectives), shares)

    def indicators(
        self,
        task: str,
        other: SweepTables | None = None,
        *,
        objectives: Sequence[str] = (),
        reference_point: Mapping[str, float] | None = None,
    ) -> pa.Table:
        """Return the indicators of a task's front, also against another sweep's front of the same task.

        Args:
            task: Label of a task that both have.
            other: Another sweep; None for this one alone.
            objectives: Names of the objectives to compare by; none for all of the sweep's.
            reference_point: Bounds both hypervolumes; None if both sweeps have the same one.

        Returns:
            One row for each sweep; columns as in `sweeper.analysis.comparison.compare_fronts`, and `measured`, which
            names the rules of measurement: numbers by different rules are not comparable.
        """
        (own,) = self.fronts(task, objectives)
        (others,) = other.fronts(task, objectives) if other else [None]
        measured = [said_of(rules_in(sweep.facts)) for sweep in (self, other) if sweep]
        table = compare_fronts(own, others, reference_point)
        return table.append_column("measured", pa.array(measured, pa.string()))

    def probes(self, task: str | None = None, *, where: Sequence[str] = ()) -> pa.Table:
        """Return the answers of complete networks to each test image, unchanged and under each probe.

        Args:
            task: Label of one task; None for all.
            where: Conditions that a row must meet, such as `probe = debris and level >= 0.25`.

        Returns:
            A row for each trial, probe and image: `key`, `task`, `seed` of the trial; `probe` (`whole` for unchanged
            images), `level`; `image`, its number in the test set, `label`, `answer`, `right`; `steps` until the
            network halts by its own rule, `expected_steps`, and `confidence`, the probability of its answer.

        Raises:
            QueryError: If no complete trial has probes, or the stored file is damaged.
        """
        known_task(self, task)
        tables = []
        for record in self.records:
            if record.state is State.COMPLETE and task in (None, record.task):
                data = self._reader.artifact(probes_path(record.key))
                if data is not None:
                    try:
                        rows = read_probes(data, record.key).replace_schema_metadata(None)
                    except DamagedError as error:
                        file = f"{probes_path(record.key)} of sweep {self.name!r} in MLflow"
                        raise DamagedError(f"{file} is damaged: {error}") from error
                    trial = {"key": record.key, "task": record.task, "seed": record.seed}
                    for at, (name, value) in enumerate(trial.items()):
                        rows = rows.add_column(at, name, pa.array([value] * rows.num_rows))
                    tables.append(rows)
        if not tables:
            raise QueryError(
                f"sweep {self.name!r} has no complete trial{f' of task {task!r}' if task else ''} that was shown "
                "probes. A spec names them under `probes`, before its trials are trained."
            )
        return _chosen(pa.concat_tables(tables), None, where)

    @property
    def network_keys(self) -> list[str]:
        """Keys of the trials whose networks the tracker has: those that are or were on a front."""
        return self._reader.networks().keys

    def network(self, key: str) -> bytes | None:
        """Return the file of the network of a trial that is or was on a front; None if the tracker has none."""
        return self._reader.networks().read(key)

    def _records_of(self, task: str) -> list[TrialRecord]:
        known_task(self, task)
        return [record for record in self.records if record.task == task]

    def _named(self, objectives: Sequence[str]) -> tuple[Objective, ...]:
        return chosen_objectives(self.objectives, objectives, self.name)


def known_task(sweep: SweepTables, task: str | None) -> str | None:
    """Return the label of a task; refuse a task that has no finished trial.

    Raises:
        UnknownSweepError: If the sweep has no finished trial of the task; names the tasks that have one.
    """
    if task is not None and task not in sweep.tasks:
        raise UnknownSweepError(
            f"sweep {sweep.name!r} has no finished trial of task {task!r} (it has: {names_near(task, sweep.tasks)}). "
            + did_you_mean(task, sweep.tasks, "Name one of these.")
        )
    return task


def _chosen(table: pa.Table, task: str | None, conditions: Sequence[str]) -> pa.Table:
    if task is not None:
        table = table.filter(pc.equal(table["task"], task))
    # An empty table has no axis columns, so a condition on an axis would be refused for no reason.
    conditions = listed("where", conditions)
    return where(table, conditions) if table.num_rows else table
