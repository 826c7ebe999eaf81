"""Hands out populations and takes outcomes back: to the ledger first, then to the mirror."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from sweeper.analysis.fronts import Front, compute_fronts
from sweeper.analysis.trials import aims
from sweeper.driver.mirror import Mirroring
from sweeper.driver.progress import EarlyFront, SweepProgress, planned_tasks
from sweeper.driver.retry import Step, failed_together, next_step
from sweeper.driver.same_fault import same_fault
from sweeper.errors import HomeError, QueryError, TrackingError
from sweeper.job import Job, Lease, Progress
from sweeper.ledger.counts import Counts, count
from sweeper.ledger.home import Drive, SweepFolder
from sweeper.ledger.ledger import Ledger
from sweeper.ledger.populations import Population
from sweeper.ledger.rows import finite
from sweeper.own_code import FIRST, version_of
from sweeper.search.rungs import Rungs
from sweeper.spec import SweepSpec
from sweeper.tracking.live import LiveState, Stage
from sweeper.tracking.recorder import Recorder, SweepFacts
from sweeper.trial import Ended, Outcome, TrialRecord


@dataclass
class Snapshot:
    """State of a running sweep, handed to an observer after every change.

    Attributes:
        counts: Trials by state, as in the ledger.
        live: Returns the live state of the sweep, task by task; may be called at any time, from any thread.
        note: Something the user should know now, such as a tracking server that does not answer.
    """

    counts: Counts
    live: Callable[[], LiveState]
    note: str = ""


@dataclass(frozen=True)
class Summary:
    """How a run of a sweep ended.

    Attributes:
        is_finished: Whether every planned trial has an outcome.
        unmirrored: Why MLflow does not hold every outcome; empty if it does.
        fault: The failure that every trial ended with, if that stopped the sweep; otherwise empty.
    """

    name: str
    counts: Counts
    fronts: Sequence[Front]
    is_finished: bool
    unmirrored: str = ""
    fault: str = ""

    @property
    def is_mirrored(self) -> bool:
        """Whether MLflow holds every outcome."""
        return not self.unmirrored

    def require_mirrored(self) -> None:
        """Check that MLflow holds every outcome of the run.

        Raises:
            TrackingError: If it does not; names the command that writes the missing outcomes.
        """
        if not self.is_mirrored:
            raise TrackingError(
                f"every outcome is safe in the ledger, but MLflow does not hold all of them: {self.unmirrored} "
                f"Once it answers again, run `sweeper mirror {self.name}`."
            )


#: Facts that are not mirrored, because they say nothing to readers of the mirror.
_OF_THE_LEDGER = frozenset({"identity", FIRST})

Observer = Callable[[Snapshot], None]


class Driver:
    """Hands out populations and takes outcomes back; the source of an executor's jobs."""

    def __init__(
        self,
        ledger: Ledger,
        folder: SweepFolder,
        lease: Drive,
        recorder: Recorder,
        observe: Observer = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
        given: Callable[[Job], Job] = lambda job: job,
    ) -> None:
        self._given = given
        self._fault = ""  # the failure that all trials have ended with so far
        self._ledger, self._folder, self._lease, self._recorder = ledger, folder, lease, recorder
        self.observe, self._is_asked_to_stop = observe, should_stop
        self._spec: SweepSpec = ledger.spec
        self._code = version_of(ledger.code)
        self._waiting = ledger.open_populations()
        self._running: dict[str, Population] = {}
        self._times = 0  # how often a population was handed out
        self._records = {record.key: _without_curve(record) for record in ledger.records()}
        self._rungs = Rungs(self._spec)
        early = EarlyFront(self._spec.objectives, self._spec.reference_point)
        planned = planned_tasks(self._spec)
        self._progress = SweepProgress(folder.name, planned, self._records.values(), early=early)
        counts = count(self._records.values(), self._spec.planned).without_driver()
        self._snapshot = Snapshot(counts, self._progress.state)
        self._mirror = Mirroring(recorder, self._fronts, self._progress.state, require_home=lease.require_home)

    def open(self) -> None:
        """Begin or continue the sweep in the mirror.

        Raises:
            TrackingError: If the mirror cannot take this sweep.
        """
        spec, planned = self._spec, self._ledger.planned_spec
        facts = {name: value for name, value in self._ledger.facts.items() if name not in _OF_THE_LEDGER}
        if self._code:
            facts["code.version"] = self._code  # the version that counts now
        facts["home"] = str(self._folder.path.parent)  # the present home; the sweep may have been planned in another
        facts["seeds"] = ", ".join(str(spec.seed + replicate) for replicate in range(spec.replicates))
        text = planned.text if planned else ""
        identity, what = self._ledger.facts.get("identity", ""), aims(spec.objectives, spec.reference_point)
        self._recorder.open(SweepFacts(self._folder.name, text, spec.to_json(), facts, identity, what))
        with suppress(QueryError):  # a state of another version; the next fronts bring the hypervolumes
            if (former := self._recorder.live()) is not None:
                self._progress.recall(former)

    def should_stop(self) -> bool:
        """Whether to start nothing more: on request, or because a user's function always fails in the same place."""
        return bool(self._fault) or self._is_asked_to_stop()

    def begin(self) -> None:
        """Start to mirror the sweep's live state, until the sweep ends."""
        self._mirror.begin()

    def say(self, note: str) -> None:
        """Show a note to the user."""
        self._note(note)
        self.observe(self._snapshot)

    def _note(self, note: str) -> None:
        self._snapshot.note = note
        self._progress.say(note)

    def on_workers(self, workers: int) -> None:
        """Note how many populations can be trained at a time."""
        self._progress.has_workers(workers)

    def on_waiting(self, keys: Sequence[str], reason: str) -> None:
        """Note which populations have no worker yet; if the wait is long, show its reason."""
        self._progress.wait(keys)
        if reason:
            self.say(reason)

    @property
    def has_work(self) -> bool:
        """Whether any trial has no outcome yet."""
        return self._snapshot.counts.waiting > 0

    def next_job(self) -> Job | None:
        """Claim the next population and return it as a job; None if none waits and the search proposes nothing.

        Raises:
            HomeError: If the ledger cannot be written, a disk is full, or the home is gone.
        """
        self._lease.require_home()
        if not self._waiting:
            self._waiting = self._proposed()
        if not self._waiting:
            return None
        self._folder.require_room()
        population = self._waiting.pop(0)
        self._ledger.claim(population, self._lease.session, _now_ms(), self._code)
        self._running[population.key] = population
        self._snapshot.counts = self._snapshot.counts.started(len(population.open))
        self._progress.begun(population.key, population.task, len(population.open))
        self.say("")
        # An ended member may have a new attempt in another population; its record then belongs to that attempt.
        members = [self._records[key] for key in population.keys if key in population.open]
        beside = self._spec.beside
        job = Job(
            key=population.key,
            task=population.task,
            keys=population.keys,
            settings=tuple(setting.flat() for setting in population.settings),
            wanted=tuple(key in population.open for key in population.keys),
            checkpoint=self._folder.checkpoint(population.key),
            networks=tuple(self._folder.network(key) for key in population.keys),
            probes=beside.probes,
            probe_files=tuple(self._folder.probes(key) for key in population.keys) if beside.probes else (),
            probe_images=beside.probe_images,
            lesions=beside.lesions,
            complexity=beside.complexity,
            lease=self._handed_out(population),
            stopped=tuple(key in population.stopped for key in population.keys) if population.stopped else (),
            until=self._rungs.next_rung(members),
            time_limit_s=self._spec.placement.time_limit_s,
        )
        return self._given(job)

    def _handed_out(self, population: Population) -> Lease | None:
        """Write a new lease of a population, so that its former worker stops."""
        self._times += 1
        try:
            return self._folder.hand_out(population.key, f"{self._lease.session}/{self._times}")
        except OSError as error:
            self.say(
                f"the lease of population {population.key} could not be written: {error.strerror}; "
                "a worker that was cut off would not notice that it goes on elsewhere"
            )
            return None

    def _proposed(self) -> list[Population]:
        populations = self._ledger.propose(self._records.values())
        for population in populations:
            self._records |= {record.key: record for record in self._ledger.records_in(population)}
        return populations

    def on_progress(self, job: Job, progress: Progress) -> None:
        """Note an epoch of a running population."""
        self._lease.require_home()
        population = self._running[job.key]
        self._ledger.hear(population, _now_ms())
        self._progress.heard(job.key, progress.epoch, progress.epochs, progress.values)
        self.say("; ".join(progress.notes))

    def on_ended(self, job: Job, ended: Sequence[Ended]) -> None:
        """Write and mirror how the members of a population ended; put back failed or paused ones that continue."""
        self._lease.require_home()
        population = self._running.pop(job.key)
        self._progress.left(job.key)
        if not self._goes_on(population, ended):
            members = dict(zip(job.wanted_keys, ended, strict=True))
            paused = {key: member for key, member in members.items() if member.outcome is None}
            stopped = self._judge(population, job.until or 0, paused)
            ended_now = {key: member for key, member in members.items() if member.outcome is not None}
            told = [*stopped, *self._note_ended(self._ledger.tell_all(population, ended_now))]
            if population.open:
                self._put_back([population])
            self._mirror.put(told, job.task)
        self.say(self._mirror.problem or self._snapshot.note)

    def _goes_on(self, population: Population, ended: Sequence[Ended]) -> bool:
        """Put a population that failed as a whole back if it may be tried again; return whether it may."""
        kind = failed_together(ended)
        if kind is None:
            return False
        tried = max(self._records[key].retries.get(str(kind), 0) for key in population.open)
        limits = self._spec.placement.retries.model_dump()
        step = next_step(kind, len(population.open), tried, limits)
        if step is Step.FINAL:
            return False
        parts = self._ledger.retry(population, kind, apart=step is Step.APART)
        for part in parts:
            self._records |= {r.key: r for r in self._ledger.records_in(part) if r.key in part.open}
        self._note(_said(population, ended[0], step, tried + 1, limits[str(kind)]))
        self._put_back(parts)
        return True

    def _judge(self, population: Population, epoch: int, paused: Mapping[str, Ended]) -> Sequence[TrialRecord]:
        """Note the members that reached a rung, stop those that others outperform, and return the stopped ones.

        Measurements and verdicts are written together. Otherwise a driver killed in between would leave members that
        are never judged at this rung.
        """
        if not paused:
            return []
        measured = {key: finite(member.measurement) for key, member in paused.items()}
        known = {key: self._records[key] for key in paused}
        # The first measurement at a rung stands.
        here = {key: replace(its, rungs={epoch: measured[key], **its.rungs}) for key, its in known.items()}
        going = self._rungs.going_on(list(here.values()), epoch, (self._records | here).values())
        reason = f"stopped after epoch {epoch}: others did better by then"
        stopped = {k: replace(m, outcome=Outcome.PRUNED, reason=reason) for k, m in paused.items() if k not in going}
        passed = self._ledger.pass_rung(population, epoch, measured, stopped)
        self._records |= {record.key: _without_curve(record) for record in passed}
        return self._note_ended([record for record in passed if record.key in stopped])

    def _note_ended(self, told: Sequence[TrialRecord]) -> Sequence[TrialRecord]:
        for record in told:
            self._records[record.key] = _without_curve(record)
            self._snapshot.counts = self._snapshot.counts.ended(record)
        self._progress.ended(told)
        counts = self._snapshot.counts
        if self._spec.own_units is not None and not counts.complete and not counts.pruned:
            self._fault = same_fault(self._records.values())
        return told

    def _put_back(self, populations: Sequence[Population]) -> None:
        """Put populations at the head of the queue, before anything new begins."""
        self._waiting = [*populations, *self._waiting]
        self._snapshot.counts = self._snapshot.counts.started(-sum(len(p.open) for p in populations))

    def finish(self) -> Summary:
        """Mirror the missing outcomes, and return how the run ended.

        Raises:
            HomeError: If the home is gone; then nothing is written.
        """
        self._lease.require_home()
        self._release()
        counts = count(self._records.values(), self._spec.planned).without_driver()
        is_finished = counts.waiting == 0
        is_stopped = not is_finished and self._is_asked_to_stop()
        if is_stopped:
            self._mirror.hasten()
        self._mirror.finish()
        finished = {key for key, record in self._records.items() if record.state.is_finished}
        missing = finished - self._mirror.done
        state = ("FAILED" if counts.failed else "FINISHED") if is_finished else "KILLED"
        left_out = self._mirror.left_out if is_stopped else 0
        if left_out:
            missing = set()  # the next driver, or `sweeper mirror`, writes them to a slow mirror
        try:
            # Read from the ledger, because the records in memory have no curves.
            records = [record for record in self._ledger.records() if record.key in missing] if missing else []
            if self._mirror.catch_up(records, self._spec.tasks):
                self._mirror.close(state, self._progress.state(Stage.FINISHED if is_finished else Stage.INTERRUPTED))
        except HomeError as error:
            self._mirror.problem = str(error)
        if left_out and not self._mirror.problem:
            self._mirror.problem = f"it was stopped while {left_out} outcomes waited to be written."
        fronts = [self._mirror.fronts.get(task) or self._fronts(task)[0] for task in self._spec.tasks]
        fault = "" if is_finished else self._fault
        return Summary(self._folder.name, counts, fronts, is_finished, self._mirror.problem, fault)

    def stop(self) -> None:
        """End the mirror's thread, waiting only briefly for a tracking server that hangs."""
        self._mirror.stop(wait_s=5)

    def _release(self) -> None:
        """Set trials without a worker to waiting; if the ledger cannot be written, the next driver takes them over."""
        with suppress(HomeError):
            self._ledger.release([*self._running.values(), *self._waiting])
        for key in self._running:
            self._progress.left(key)
        self._running.clear()

    def _fronts(self, task: str) -> list[Front]:
        records = list(self._records.values())  # copied at once, because the mirror's thread calls this
        spec = self._spec
        fronts = compute_fronts(records, self._folder.name, task, spec.objectives, spec.reference_point, spec.fronts)
        self._progress.front(task, fronts[0].hypervolume, fronts[0].table.num_rows)
        return fronts


def _without_curve(record: TrialRecord) -> TrialRecord:
    """Return a record to keep in memory, without its curve: curves are large, and only the mirror needs them, once."""
    return replace(record, curve=())


def _said(population: Population, ended: Ended, step: Step, times: int, limit: int) -> str:
    """Return a sentence on what happened to a population and what comes next."""
    happened = {
        Outcome.LOST: f"the worker that trained population {population.key} died",
        Outcome.OUT_OF_MEMORY: f"population {population.key} ran out of memory",
    }.get(ended.outcome or Outcome.FAILED, f"the training of population {population.key} failed")
    if ended.outcome is Outcome.LOST and not ended.reason.startswith(happened):  # such as a full disk
        happened = f"population {population.key} was lost: {ended.reason.strip().splitlines()[-1]}"
    if step is Step.APART:
        return f"{happened}; its {len(population.open)} members are tried again in two halves"
    return f"{happened}; it goes on from its last checkpoint (try {times} of {limit})"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
