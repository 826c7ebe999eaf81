"""The ledger: which settings exist, in which state and with which outcome, and which setting comes next.

The ledger is an Optuna storage with one study per sweep and task. It is the only truth about a sweep: Ray's state is
placement, MLflow is a mirror. One driver writes the ledger. Every trial carries these attributes:

    plan     key, number of the rules, setting, population, and the sampler's note if there is a search: written with
             the row itself. A new attempt also notes the row that it replaces.
    claim    attempt, owner, heard_ms, retries: who works on the trial, and how often it was tried again
    rungs    the measurement at each rung that the trial has passed
    ended    outcome, reason, measurement, details, curve: written together with the row's last state

Each change of a population is one transaction: after a crash it holds for all members or for none.
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

#: Least time between two writes of a running trial's `heard_ms`, in milliseconds.
HEARD_EVERY_MS = 60_000

#: Approximate number of trials planned in one transaction: enough to be cheap, few enough to stop in between.
PLANNED_AT_ONCE = 200


class Ledger(LedgerReader):
    """The ledger of one sweep, for writing.

    Args:
        url: URL of the Optuna storage, such as `sqlite:////path/ledger.db`.
        sweep: Name of the sweep.
        holder: Description of the driver that opens the ledger; empty for readers.
        only_reads: Whether a ledger file must never be written to.

    Raises:
        HomeError: If the storage cannot be opened.
        SweepBusyError: If the storage is shared and another driver holds the sweep.
    """

    def __init__(self, url: str, sweep: str, holder: str = "", *, only_reads: bool = False) -> None:
        self._studies: Studies = Studies(url, sweep, holder, only_reads=only_reads)
        super().__init__(sweep, self._studies)

    # ---- planning ------------------------------------------------------------------------------------------------

    def refuse_other(self, loaded: LoadedSpec) -> None:
        """Check that the sweep is not planned yet, or was planned from this spec or one that has grown into it.

        Raises:
            SpecMismatchError: If the spec has changed otherwise; lists the differences key by key.
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
        """Write every setting of a grid once, as a waiting trial; for a search, write what its proposals need.

        Planning is idempotent. It completes a plan that a crash or a stop cut short, with the population sizes and the
        facts that were planned first. A grown spec adds its new settings. Changed code of the user's counts from now
        on; the caller has checked that the user accepts it.

        Args:
            loaded: Spec to plan.
            population_size: Largest number of networks trained side by side.
            facts: Short texts by name that hold for the whole sweep: its identity, versions, data hashes.
            should_stop: Called before each batch of trials is written; planning ends if it returns True.
            knowledge: By cell key, settings of other sweeps for the sampler. Only the first plan's are kept.

        Raises:
            SpecMismatchError: If the sweep was planned from another spec, or its images have changed.
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
            self.__dict__.pop("_revision", None)  # the spec may have grown
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
            # The revisions are written last: a study that has them has everything a resumed plan needs.
            if len(noted.get("revisions", [])) < len(revisions):
                self._studies.note(task, "revisions", [revision.to_values() for revision in revisions])

    def _batches(self, spec: SweepSpec, populations: Iterable[Population]) -> Iterator[tuple[str, list[NewRow]]]:
        """Yield the rows of populations in batches of one task each."""
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
        """Yield the populations of a grid; each revision forms populations from the settings that it added."""
        if revisions[-1].spec.search:
            return
        seen: set[str] = set()
        for revision in revisions:
            added = {key: setting for setting in revision.spec.settings() if (key := setting.key) not in seen}
            seen |= added.keys()
            yield from form_populations(list(added.values()), revision.population_size)

    def _missing_replicates(self) -> Iterator[Population]:
        """Yield populations of the replicates that searched settings lack, because seeds were added later."""
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
        """Return every population with an unfinished member: interrupted populations first, otherwise in plan order."""
        found: list[Population] = []
        for task in self._studies.tasks:
            # By population and key: a new attempt takes the former one's place, so members keep the checkpoint's order.
            # An attempt that moved to a new population leaves its finished row behind as a member of the old one.
            rows: dict[str, dict[str, StoredTrial]] = {}
            for trial in self._studies.trials(task):
                rows.setdefault(trial.user_attrs["plan"]["population"], {})[row_key(trial)] = trial
            for key, trials in rows.items():
                with understood(self.sweep, f"a row of population {key}"):
                    found.append(population_of(key, task, list(trials.values())))
        found = [population for population in found if population.open]
        return sorted(found, key=lambda population: not population.interrupted)

    def propose(self, records: Iterable[TrialRecord]) -> list[Population]:
        """Ask the sampler of the next cell for settings, and write them as waiting trials.

        Args:
            records: Every trial of the sweep, as it stands now.

        Returns:
            The populations of these trials; empty if every cell has all its settings, or the sweep has no search.
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
            # All rows or none, so that a crash leaves no partial proposal.
            numbers = {row_key(trial): trial.number for trial in self._studies.add(cell.task, rows)}
        for population in populations:
            population.numbers = tuple(numbers[key] for key in population.keys)
            population.open = set(population.keys)
        return populations

    def claim(self, population: Population, owner: str, now_ms: int, code: str = "") -> None:
        """Mark the open members of a population as running under this owner.

        The owner takes over members that a former driver left running; their attempt number goes up.

        Args:
            population: Population that starts or continues.
            owner: Description of the owner.
            now_ms: Current time, Unix milliseconds.
            code: Version of the user's own code that trains the population from now on; empty if there is none.
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
        """Set running members of these populations to waiting; the next driver continues them first."""
        with self._studies.writing():
            for population in populations:
                running = [trial for trial in self._open_rows(population) if not is_waiting(trial)]
                changes = [RowChange(trial.number, state=State.WAITING) for trial in running]
                self._studies.change(population.task, changes)

    def hear(self, population: Population, now_ms: int) -> None:
        """Note a sign of life of a running population; written at most every `HEARD_EVERY_MS`."""
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
        """Return how many trials have a newest attempt that ended with one of these outcomes."""
        return sum(len(ended_so(self._studies.trials(task), outcomes)) for task in self._studies.tasks)

    def try_again(self, outcomes: Collection[Outcome], begin_anew: Callable[[str], None]) -> dict[Outcome, int]:
        """Plan a new attempt of every trial that ended with one of these outcomes; the former attempt stays as history.

        If a crash cuts this short, a second call completes it: trials that already wait again are left alone.

        Args:
            outcomes: Some of `REPEATABLE`.
            begin_anew: Called with the key of each population that must start without a checkpoint, before the
                population is planned.

        Returns:
            How many trials are tried again, by outcome; outcomes without such a trial are left out.
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
        """Write how one member ended; see `tell_all`."""
        return self.tell_all(population, {key: ended})[0]

    def tell_all(self, population: Population, ended: Mapping[str, Ended]) -> list[TrialRecord]:
        """Write how members ended, all or none. The first outcome of a trial stands; a later one changes nothing.

        A complete outcome that lacks an objective is written as `missing_objective`, one with an objective that is not
        finite as `not_finite`.
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
        """Note the measurements with which members reached a rung, and the outcomes of those that are stopped there.

        All of it is written or nothing, because a member noted at a rung without its verdict would never be judged.
        The first measurement of a trial at a rung stands, and so does its first outcome.

        Args:
            population: Population that reached the rung.
            epoch: Epoch of the rung.
            measured: Measurements by trial key.
            stopped: Outcomes of the stopped members, by trial key.
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
        """Note that a population failed as a whole, and return the populations to try again.

        Args:
            population: Population that failed.
            kind: Kind of failure; each kind has a counter of its retries without division.
            apart: Whether to divide the open members into two populations, which start from the beginning; otherwise
                the population continues together.
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
        """Rename this sweep in the storage and in the specs that it was planned from, all or nothing."""
        with self._studies.writing():
            self._studies.rename(name)

    def delete(self) -> None:
        """Remove everything that the storage has of this sweep; a repeated call completes an interrupted one."""
        with self._studies.writing():
            self._studies.delete()

    def records_in(self, population: Population) -> list[TrialRecord]:
        """Return the members of a population, in order."""
        rows = self._studies.rows(population.task, population.numbers)
        return [self._record(population.task, row) for row in rows]


def _end(number: int, ended: Ended, objectives: Sequence[Objective]) -> RowChange:
    """Return the change that ends a row: its outcome and its state, which are written together."""
    outcome = ended.outcome
    if outcome is None:
        raise ValueError(f"trial {number} has no outcome yet")
    # A pruned trial's values stay in its attribute: with several objectives Optuna takes no values of pruned trials.
    is_complete = outcome is Outcome.COMPLETE
    values = [ended.measurement[objective.name] for objective in objectives] if is_complete else None
    return RowChange(number, {"ended": content_of(ended), **told_of_end(ended)}, outcome.state, values)
