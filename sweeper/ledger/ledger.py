"""The ledger: which settings exist, in which state, with which outcome; and which comes next.

The ledger is an Optuna storage with one study per sweep and task. It is the only truth about a sweep: Ray's state is
placement, MLflow is a mirror. One driver writes it. Every trial carries these attributes:

    plan     key, the number of the rules, setting, population, and of a search what the sampler noted: written with
             the row itself; of a trial that is tried again on request also the row that it takes the place of
    claim    attempt, owner, heard_ms, retries: who works on it, and how often it was tried again
    rungs    the measurement at each rung that it has passed
    ended    outcome, reason, measurement, details, curve: written together with the row's last state

What happens to a population is written in one transaction: after a crash it has happened to all of its members or none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from sweeper import own_code
from sweeper.errors import SpecMismatchError
from sweeper.ledger.again import ended_so
from sweeper.ledger.damage import understood
from sweeper.ledger.new_rows import new_attempts, new_rows
from sweeper.ledger.optuna_tables import NewRow
from sweeper.ledger.populations import Population, form_populations
from sweeper.ledger.reading import LedgerReader
from sweeper.ledger.revision import Revision
from sweeper.ledger.rows import (
    StoredTrial,
    checked,
    content_of,
    finite,
    is_waiting,
    outcome_of,
    population_of,
    row_key,
    state_of,
    told_of_end,
)
from sweeper.ledger.studies import RowChange, Studies
from sweeper.measurements import Objective
from sweeper.rules import FACT, RULES
from sweeper.search.cells import cells_of, next_cell, proposals_for
from sweeper.search.sampling import Known
from sweeper.spec import LoadedSpec, Setting, SweepSpec, refused_differences, setting_of
from sweeper.trial import Ended, Outcome, State, TrialRecord

#: A running trial's `heard_ms` is written at most this often.
HEARD_EVERY_MS = 60_000

#: Trials that are planned in one transaction, about: enough to make it cheap, few enough to stop in between.
PLANNED_AT_ONCE = 200


class Ledger(LedgerReader):
    """The ledger of one sweep, to be written.

    Args:
        url: URL of the Optuna storage, such as `sqlite:////path/ledger.db`.
        sweep: Name of the sweep.
        holder: Who drives the sweep, in words; empty for all others.
        only_reads: Whether a file is never written to.

    Raises:
        HomeError: If the storage cannot be opened.
        SweepBusyError: If the storage is shared and another driver holds the sweep.
    """

    def __init__(self, url: str, sweep: str, holder: str = "", *, only_reads: bool = False) -> None:
        self._studies: Studies = Studies(url, sweep, holder, only_reads=only_reads)
        super().__init__(sweep, self._studies)

    # ---- planning ------------------------------------------------------------------------------------------------

    def refuse_other(self, loaded: LoadedSpec) -> None:
        """Check that this sweep was planned from the same spec, or from one that has grown into this, or not at all.

        Raises:
            SpecMismatchError: With what was taken away or changed, key by key.
        """
        planned = self.planned_spec
        differences = refused_differences(planned.spec, loaded.spec) if planned else []
        if differences:
            listed = "\n  ".join(differences)
            raise SpecMismatchError(
                f"sweep {self.sweep!r} exists already with another spec (planned -> given):\n  {listed}\n"
                "A spec may grow (more values, replicates or trials, wider ranges), nothing else. "
                f"Give this one another name with --name, or continue the planned one with "
                f"`sweeper resume {self.sweep}`."
            )

    def plan(
        self,
        loaded: LoadedSpec,
        population_size: int,
        facts: Mapping[str, str],
        should_stop: Callable[[], bool] = lambda: False,
        knowledge: Mapping[str, Sequence[Known]] | None = None,
    ) -> None:
        """Write every setting of a grid as a waiting trial, once; of a search, what is needed to propose settings.

        Idempotent: a plan that a crash cut short, or a wish to stop, is completed, with the population sizes and the
        facts first planned. A spec that has grown adds what is new; code of the user's that is another one counts from
        now on, whoever has accepted it.

        Args:
            loaded: What to plan.
            population_size: Networks trained side by side, at most.
            facts: Short texts by name that hold for the whole sweep: its identity, versions, data hashes.
            should_stop: Asked before each batch of trials is written.
            knowledge: By key of a cell: settings of other sweeps that the sampler is told; kept when first planned.

        Raises:
            SpecMismatchError: If the sweep was planned from another spec, or its images are not the same any more.
            HomeError: If the ledger cannot be written.
        """
        self.refuse_other(loaded)
        self._refuse_other_data(facts)
        with self._studies.writing():
            revisions = self.revisions
            is_other_code = own_code.FILES in facts and own_code.files_in(facts) != self.code
            if not revisions or revisions[-1].spec != loaded.spec or is_other_code:
                revisions.append(Revision(loaded, population_size, {**facts, FACT: str(RULES)}))
            self._write_revisions(revisions, knowledge or {})
            self.__dict__.pop("_revision", None)  # it may have grown
            self.__dict__.pop("_planned_now", None)
            written = {task: {row_key(trial) for trial in self._studies.trials(task)} for task in self._studies.tasks}
            for task, rows in self._batches(loaded.spec, (*self._grid(revisions), *self._missing_replicates())):
                new = [row for row in rows if row.attributes["plan"]["key"] not in written[task]]
                if new and should_stop():
                    return
                self._studies.add(task, new)

    def _refuse_other_data(self, facts: Mapping[str, str]) -> None:
        planned = self.facts
        for name, digest in facts.items():
            if name.startswith("data.") and planned.get(name, digest) != digest:
                raise SpecMismatchError(
                    f"the images of task {name.removeprefix('data.')!r} have changed since sweep {self.sweep!r} was "
                    f"planned (hash {planned[name]} -> {digest}). Bring the file back, or start a new one with --name."
                )

    def _write_revisions(self, revisions: Sequence[Revision], knowledge: Mapping[str, Sequence[Known]]) -> None:
        spec = revisions[-1].spec
        for task in spec.tasks:
            self._studies.make(task, spec.objectives)
            noted = self._studies.noted(task)
            if "knowledge" not in noted:
                told = {cell: [known.to_values() for known in its] for cell, its in knowledge.items()}
                self._studies.note(task, "knowledge", told)
            # The revisions come last: a study that has them has everything a resumed plan needs.
            if len(noted.get("revisions", [])) < len(revisions):
                self._studies.note(task, "revisions", [revision.to_values() for revision in revisions])

    def _batches(self, spec: SweepSpec, populations: Iterable[Population]) -> Iterator[tuple[str, list[NewRow]]]:
        """Yield the rows of populations, so many of one task at a time."""
        task, rows = "", list[NewRow]()
        for its_task, its_rows in new_rows(spec, populations):
            if rows and (its_task != task or len(rows) >= PLANNED_AT_ONCE):
                yield task, rows
                rows = []
            task = its_task
            rows += its_rows
        if rows:
            yield task, rows

    def _grid(self, revisions: Sequence[Revision]) -> Iterator[Population]:
        """Yield the populations of a grid: each revision forms them from the settings that it added."""
        if revisions[-1].spec.search:
            return
        seen: set[str] = set()
        for revision in revisions:
            added = {key: setting for setting in revision.spec.settings() if (key := setting.key) not in seen}
            seen |= added.keys()
            yield from form_populations(list(added.values()), revision.population_size)

    def _missing_replicates(self) -> Iterator[Population]:
        """Yield populations of the replicates that settings found by a search lack since there are to be more."""
        revision = self.revisions[-1]
        if not revision.spec.search:
            return
        missing: list[Setting] = []
        for task in self._studies.tasks:
            seeds: dict[str, set[int]] = {}
            first: dict[str, Setting] = {}
            for record in self.records(task):
                seeds.setdefault(record.setting_key, set()).add(record.seed)
                first.setdefault(record.setting_key, setting_of(record.setting))
            missing += [
                setting.model_copy(update={"seed": seed})
                for key, setting in first.items()
                for seed in revision.spec.seeds
                if seed not in seeds[key]
            ]
        yield from form_populations(missing, revision.population_size)

    # ---- what comes next -----------------------------------------------------------------------------------------

    def open_populations(self) -> list[Population]:
        """Return every population with a member that has no outcome, interrupted ones first, then in plan order."""
        found: list[Population] = []
        for task in self._studies.tasks:
            # By population and key: a new attempt stands where the former one stood, in the order of the checkpoint;
            # one that has left its population is still a member, as it ended there.
            rows: dict[str, dict[str, StoredTrial]] = {}
            for trial in self._studies.trials(task):
                rows.setdefault(trial.user_attrs["plan"]["population"], {})[row_key(trial)] = trial
            for key, trials in rows.items():
                with understood(self.sweep, f"a row of population {key}"):
                    found.append(population_of(key, task, list(trials.values())))
        found = [population for population in found if population.open]
        return sorted(found, key=lambda population: not population.interrupted)

    def propose(self, records: Iterable[TrialRecord]) -> list[Population]:
        """Ask the sampler of the cell whose turn it is for settings, and write them as waiting trials.

        Args:
            records: Every trial of the sweep, as it stands now.

        Returns:
            Their populations; none where every cell has all its settings, or nothing is searched.
        """
        revision = self._revision
        cell = next_cell(revision.spec, cells_of(revision.spec, records)) if revision.spec.search else None
        if cell is None:
            return []
        with self._studies.writing():
            with understood(self.sweep, f"what the sampler of {cell.task!r} was told"):
                told = self._studies.noted(cell.task).get("knowledge", {}).get(cell.key, [])
                known = [Known.from_values(one) for one in told]
            found = proposals_for(revision.spec, cell, revision.population_size, known)
            settings = [first.model_copy(update={"seed": s}) for first, _ in found for s in revision.spec.seeds]
            notes = {first.setting_key: proposal.to_note() for first, proposal in found}
            populations = form_populations(settings, revision.population_size)
            rows = [row for _, its in new_rows(revision.spec, populations, notes) for row in its]
            # All or none: a crash leaves no half of a proposal.
            numbers = {row_key(trial): trial.number for trial in self._studies.add(cell.task, rows)}
        for population in populations:
            population.numbers = tuple(numbers[key] for key in population.keys)
            population.open = set(population.keys)
        return populations

    def claim(self, population: Population, owner: str, now_ms: int, code: str = "") -> None:
        """Mark the open members of a population as running, by this owner.

        Members that a former driver left running are taken over: their attempt counts up.

        Args:
            population: What is begun, or gone on with.
            owner: Who does it.
            now_ms: Unix milliseconds.
            code: Version of the user's own code that it is trained under from now on; empty where there is none.
        """
        population.heard_ms = now_ms
        with self._studies.writing():
            changes = []
            for trial in self._open_rows(population):
                claim = trial.user_attrs.get("claim", {})
                is_news = claim.get("owner") != owner or claim.get("is_over", False)
                attempt = claim.get("attempt", 0) + is_news
                claim = {**claim, "attempt": attempt, "owner": owner, "heard_ms": now_ms, "is_over": False}
                if code and claim.get("codes", [])[-1:] != [code]:
                    claim["codes"] = [*claim.get("codes", []), code]
                state = State.RUNNING if is_waiting(trial) else None
                changes.append(RowChange(trial.number, {"claim": claim}, state))
            self._studies.change(population.task, changes)

    def release(self, populations: Iterable[Population]) -> None:
        """Let what this driver leaves undone wait again; the next driver takes it up first."""
        with self._studies.writing():
            for population in populations:
                running = [trial for trial in self._open_rows(population) if not is_waiting(trial)]
                changes = [RowChange(trial.number, state=State.WAITING) for trial in running]
                self._studies.change(population.task, changes)

    def hear(self, population: Population, now_ms: int) -> None:
        """Note that a running population was heard of; written at most every `HEARD_EVERY_MS`."""
        if now_ms - population.heard_ms < HEARD_EVERY_MS:
            return
        population.heard_ms = now_ms
        with self._studies.writing():
            changes = [
                RowChange(trial.number, {"claim": {**trial.user_attrs["claim"], "heard_ms": now_ms}})
                for trial in self._open_rows(population)
            ]
            self._studies.change(population.task, changes)

    def _open_rows(self, population: Population) -> Sequence[StoredTrial]:
        return self._studies.rows(population.task, self._open_numbers(population))

    def _open_numbers(self, population: Population) -> list[int]:
        members = zip(population.keys, population.numbers, strict=True)
        return [number for key, number in members if key in population.open]

    @cached_property
    def _revision(self) -> Revision:
        return self.revisions[-1]

    def ended_so(self, outcomes: Collection[Outcome]) -> int:
        """Return how many trials ended in one of these ways, by their newest attempts."""
        return sum(len(ended_so(self._studies.trials(task), outcomes)) for task in self._studies.tasks)

    def try_again(self, outcomes: Collection[Outcome], begin_anew: Callable[[str], None]) -> dict[Outcome, int]:
        """Plan a new attempt of every trial that ended in one of these ways; the former one stays as its history.

        What a crash cuts short is completed when it is asked for again: a trial that waits has not ended so.

        Args:
            outcomes: Some of `REPEATABLE`.
            begin_anew: Called with the key of each population that must find no checkpoint, before it is planned.

        Returns:
            How many are tried again, by how they ended; without those that none did.
        """
        counted: Counter[Outcome] = Counter()
        with self._studies.writing():
            for task in self._studies.tasks:
                ended = ended_so(self._studies.trials(task), outcomes)
                rows, anew = new_attempts(ended)
                for key in anew:
                    begin_anew(key)
                self._studies.add(task, rows)
                counted.update(outcome for trial in ended if (outcome := outcome_of(trial)))
        return dict(counted)

    # ---- outcomes ------------------------------------------------------------------------------------------------

    def tell(self, population: Population, key: str, ended: Ended) -> TrialRecord:
        """Write how one member ended, as `tell_all` does."""
        return self.tell_all(population, {key: ended})[0]

    def tell_all(self, population: Population, ended: Mapping[str, Ended]) -> list[TrialRecord]:
        """Write how members ended, all or none. The first outcome of a trial stands; a later one changes nothing.

        A complete outcome that lacks an objective, or has a value that is not finite, is a failure of its own kind.
        """
        task, objectives = population.task, self._revision.spec.objectives
        numbers = [population.number_of(key) for key in ended]
        with self._studies.writing():
            before = {trial.number: trial for trial in self._studies.rows(task, numbers)}
            changes = [
                _end(number, checked(its, objectives), objectives)
                for number, its in zip(numbers, ended.values(), strict=True)
                if not state_of(before[number]).is_finished
            ]
            after = {trial.number: trial for trial in self._studies.change(task, changes)}
        records = [self._record(task, after.get(number, before[number])) for number in numbers]
        population.open -= ended.keys()
        population.stopped |= {record.key for record in records if record.state is State.PRUNED}
        return records

    def pass_rung(
        self,
        population: Population,
        epoch: int,
        measured: Mapping[str, Mapping[str, float]],
        stopped: Mapping[str, Ended],
    ) -> list[TrialRecord]:
        """Note with what measurement members, by key, reached a rung, and how those end that are stopped there.

        All or none is written: who was there without a verdict would never be judged. What was noted there first
        stands, and so does the first outcome of a trial.
        """
        task, objectives = population.task, self._revision.spec.objectives
        numbers = {key: population.number_of(key) for key in measured}
        with self._studies.writing():
            before = {trial.number: trial for trial in self._studies.rows(task, list(numbers.values()))}
            changes = []
            for key, number in numbers.items():
                rungs = before[number].user_attrs.get("rungs", {})
                noted = {} if str(epoch) in rungs else {"rungs": {**rungs, str(epoch): finite(measured[key])}}
                if key in stopped and not before[number].state.is_finished():
                    end = _end(number, stopped[key], objectives)
                    changes.append(replace(end, attributes={**noted, **end.attributes}))
                elif noted:
                    changes.append(RowChange(number, noted))
            after = {trial.number: trial for trial in self._studies.change(task, changes)}
        population.open -= stopped.keys()
        population.stopped |= stopped.keys()
        return [self._record(task, after.get(number, before[number])) for number in numbers.values()]

    def retry(self, population: Population, kind: Outcome, *, apart: bool) -> list[Population]:
        """Note that a population failed as a whole, and return how to try its open members again.

        Args:
            population: What failed.
            kind: What happened; each kind has a counter of its own, of how often it was tried again as it was.
            apart: Whether to divide it into two populations, which begin anew; otherwise it goes on together.
        """
        keys = [key for key in population.keys if key in population.open]
        settings = [s for s in population.settings if s.key in population.open]
        parts = form_populations(settings, -(-len(keys) // 2)) if apart else [population]
        with self._studies.writing():
            changes = []
            for part in parts:
                part.numbers = tuple(population.number_of(key) for key in part.keys)
                part.open = part.open or set(part.keys)
                for trial in self._open_rows(part):
                    claim, plan = trial.user_attrs["claim"], trial.user_attrs["plan"]
                    retries = claim.get("retries", {})
                    retries = {**retries, str(kind): retries.get(str(kind), 0) + (not apart)}
                    attributes = {"claim": {**claim, "retries": retries, "is_over": True}}
                    if apart:
                        former = [*plan.get("former", []), plan["population"]]
                        attributes["plan"] = {**plan, "population": part.key, "former": former}
                    changes.append(RowChange(trial.number, attributes))
            self._studies.change(population.task, changes)
        return parts

    def rename(self, name: str) -> None:
        """Give this sweep another name in the storage, and in the specs that it was planned from; all or nothing."""
        with self._studies.writing():
            self._studies.rename(name)

    def delete(self) -> None:
        """Remove everything that the storage has of this sweep; of one that was half removed, the rest."""
        with self._studies.writing():
            self._studies.delete()

    def records_in(self, population: Population) -> list[TrialRecord]:
        """Return the members of a population, in order."""
        rows = self._studies.rows(population.task, population.numbers)
        return [self._record(population.task, row) for row in rows]


def _end(number: int, ended: Ended, objectives: Sequence[Objective]) -> RowChange:
    """Return how a row ends: its outcome and its state, which are written together."""
    outcome = ended.outcome
    if outcome is None:
        raise ValueError(f"trial {number} has no outcome yet")
    # Values of a pruned trial stay in its attribute: Optuna takes none for several objectives.
    is_complete = outcome is Outcome.COMPLETE
    values = [ended.measurement[objective.name] for objective in objectives] if is_complete else None
    return RowChange(number, {"ended": content_of(ended), **told_of_end(ended)}, outcome.state, values)
