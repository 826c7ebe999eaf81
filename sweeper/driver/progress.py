"""Counts the events of a running sweep as they happen, and returns its live state at any time.

The driver reports every change; the terminal and the mirror's thread ask for the state. The cost of a change does not
depend on the number of trials or tasks.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sweeper.analysis.pareto import hypervolume, non_dominated
from sweeper.measurements import Objective
from sweeper.spec import SweepSpec
from sweeper.tracking.live import MOST_NOTES, LiveState, Note, Stage, TaskState, finite, shortened_note
from sweeper.trial import Outcome, TrialRecord

#: Window over which throughput is measured, and least distance of its samples, in seconds.
WINDOW_S, SAMPLE_EVERY_S = 300.0, 5.0


def planned_tasks(spec: SweepSpec) -> list[TaskState]:
    """Return the tasks of a sweep before anything has happened, in the order of the spec."""
    tasks = Counter(spec.tasks)
    trials = spec.planned // tasks.total()
    cells = trials // (spec.search.trials * spec.replicates) if spec.search else 0
    return [TaskState(task, planned=trials * times, cells=cells * times) for task, times in tasks.items()]


class Pace:
    """Measures how fast work gets done, and estimates how long the rest will take.

    Args:
        clock: Returns seconds from any start; an argument so that a test can move it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, float]] = deque()
        self._started: tuple[float, float] | None = None

    def note(self, work: float) -> None:
        """Note how much work is done; the first call sets the start, so that earlier work does not count."""
        now_s = self._clock()
        self._started = self._started or (now_s, work)
        if not self._samples or now_s - self._samples[-1][0] >= SAMPLE_EVERY_S:
            self._samples.append((now_s, work))
            self._forget(now_s)

    def _forget(self, now_s: float) -> None:
        while len(self._samples) > 1 and self._samples[1][0] <= now_s - WINDOW_S:
            self._samples.popleft()

    def per_minute(self, work: float) -> float | None:
        """Return the work done per minute within the window; None before there are enough samples."""
        now_s = self._clock()
        self._forget(now_s)
        if not self._samples or now_s - self._samples[0][0] < SAMPLE_EVERY_S:
            return None
        since_s, before = self._samples[0]
        return max(0.0, 60 * (work - before) / (now_s - since_s))

    def seconds_left(self, work: float, planned: float) -> float | None:
        """Return the seconds left, extrapolated from all work since the start; None if no work was done yet."""
        if self._started is None or work <= self._started[1]:
            return None
        since_s, before = self._started
        return (self._clock() - since_s) * (planned - work) / (work - before)


@dataclass
class _Training:
    """A population on a worker."""

    task: str
    members: int
    share: float = 0.0  # finished share of its epochs
    waits: bool = False  # whether it waits for a worker
    values: Sequence[Mapping[str, float]] = ()  # latest measurements of its members


@dataclass(frozen=True)
class EarlyFront:
    """Computes the front of networks in training, before any network is complete.

    Attributes:
        objectives: Objectives of the sweep.
        reference_point: The corner that bounds the hypervolume.
    """

    objectives: Sequence[Objective]
    reference_point: Mapping[str, float]

    def of(self, values: Iterable[Mapping[str, float]]) -> tuple[float | None, int | None]:
        """Return the hypervolume and the number of points; None if no network has a value for every objective yet."""
        names, goals = [one.name for one in self.objectives], [one.goal for one in self.objectives]
        points = [[value.get(name, math.nan) for name in names] for value in values]
        points = [point for point in points if all(map(math.isfinite, point))]
        if not points:
            return None, None
        volume = hypervolume(points, goals, [self.reference_point[name] for name in names])
        return finite(volume), int(non_dominated(points, goals).sum())


class SweepProgress:
    """Live state of a sweep, updated by its driver; several threads may ask for it.

    Args:
        sweep: Name of the sweep.
        tasks: As `planned_tasks` returns them.
        records: Every trial so far; trials that a former driver left running count as waiting.
        clock: Returns seconds from any start.
        now_ms: Returns Unix milliseconds.
        early: Computes the front of networks in training; None shows no such front.
    """

    def __init__(
        self,
        sweep: str,
        tasks: Iterable[TaskState],
        records: Iterable[TrialRecord] = (),
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        early: EarlyFront | None = None,
    ) -> None:
        self._lock = threading.Lock()
        self._pace, self._now_ms, self._early = Pace(clock), now_ms, early
        self._rows = {row.task: row for row in tasks}
        self._training: dict[str, _Training] = {}
        self._without_worker: set[str] = set()  # keys of the populations that wait for a worker
        self._partial = 0.0  # work of all populations in training, in trials; each report updates this sum
        self._volumes: dict[str, tuple[float | None, int | None]] = {}
        self._early_fronts: dict[str, tuple[float | None, int | None]] = {}  # a cache until the task's next report
        self._notes: list[Note] = []
        self._sweep, self._since_ms, self._workers = sweep, now_ms(), 0
        self._former_ms: tuple[int, int] | None = None  # first start and last end in the ledger
        seen: Counter[str] = Counter()
        for record in records:
            seen[record.task] += 1
            if record.state.is_finished:
                self._count(record)
                self._note_time(record)
        for task, number in seen.items():
            row = self._rows[task]
            self._rows[task] = replace(row, planned=max(row.planned, number))
        self._ended = sum(row.ended for row in self._rows.values())

    def recall(self, former: LiveState) -> None:
        """Take over from an earlier run the hypervolumes of fronts that have not changed and are not computed again."""
        with self._lock:
            for row in former.tasks:
                if row.is_early:
                    continue
                self._volumes.setdefault(row.task, (finite(row.hypervolume), row.points))

    def has_workers(self, workers: int) -> None:
        """Note how many populations can be trained at a time."""
        self._workers = workers

    def begun(self, key: str, task: str, members: int) -> None:
        """Count a population as running."""
        with self._lock:
            self._training[key] = _Training(task, members)
            self._runs(task, members)

    def heard(self, key: str, epoch: int, epochs: int, values: Sequence[Mapping[str, float]]) -> None:
        """Note an epoch of a running population, and the measurements of its members."""
        with self._lock:
            training = self._training[key]
            before, training.share = training.share, epoch / epochs if epochs else 0.0
            self._partial += training.members * (training.share - before)
            training.values = values
            self._early_fronts.pop(training.task, None)
            for value in values:
                self._note_accuracy(training.task, value)
            if epoch:
                self._pace.note(self._work())

    def left(self, key: str) -> None:
        """Count a population as not running any more; its members count as waiting until `ended` reports them."""
        with self._lock:
            training = self._training.pop(key)
            self._without_worker.discard(key)
            self._partial = self._partial - training.members * training.share if self._training else 0.0
            self._early_fronts.pop(training.task, None)
            if not training.waits:
                self._runs(training.task, -training.members)

    def wait(self, keys: Collection[str]) -> None:
        """Note which populations have no worker: these wait, and all others run."""
        with self._lock:
            # Only populations that change are visited: of a thousand, most continue to train.
            for key in self._without_worker.symmetric_difference(keys) & self._training.keys():
                training = self._training[key]
                training.waits = not training.waits
                self._runs(training.task, -training.members if training.waits else training.members)
            self._without_worker = self._training.keys() & keys

    def ended(self, records: Sequence[TrialRecord]) -> None:
        """Count trials by how they ended."""
        with self._lock:
            for record in records:
                self._count(record)
            self._ended += len(records)
            if records:
                self._former_ms = None
                self._pace.note(self._work())

    def front(self, task: str, hypervolume: float, points: int) -> None:
        """Note the front of a task."""
        with self._lock:
            self._volumes[task] = finite(hypervolume), points

    def say(self, text: str) -> None:
        """Keep a note; a repeated note replaces its earlier copy."""
        text = shortened_note(text)
        if not text:
            return
        with self._lock:
            others = [note for note in self._notes if note.text != text]
            self._notes = [*others, Note(self._now_ms(), text)][-MOST_NOTES:]

    def state(self, stage: Stage = Stage.RUNNING) -> LiveState:
        """Return the live state; if the sweep is over and no trial ended in this run, with the times of the ledger."""
        with self._lock:
            is_former = stage is not Stage.RUNNING and self._former_ms
            since_ms, written_ms = is_former or (self._since_ms, self._now_ms())
            rows = [self._with_front(row) for row in self._rows.values()]
            work, planned = self._work(), sum(row.planned for row in rows)
            busy = sum(not training.waits for training in self._training.values())
            return LiveState(
                sweep=self._sweep,
                tasks=tuple(rows),
                stage=stage,
                work=work,
                trials_per_minute=self._pace.per_minute(work),
                seconds_left=self._pace.seconds_left(work, planned),
                busy=busy,
                workers=max(self._workers, busy) if self._workers else 0,
                since_ms=since_ms,
                written_ms=written_ms,
                notes=tuple(self._notes),
            )

    def _with_front(self, row: TaskState) -> TaskState:
        """Return a task with its front; before any network is complete, with the front of those in training."""
        volume, points = self._volumes.get(row.task, (None, None))
        if self._early is not None and not row.complete and not points:
            if row.task not in self._early_fronts:
                here = [value for one in self._training.values() if one.task == row.task for value in one.values]
                self._early_fronts[row.task] = self._early.of(here)
            early_volume, early_points = self._early_fronts[row.task]
            if early_points is not None:
                return replace(row, hypervolume=early_volume, points=early_points, is_early=True)
        return replace(row, hypervolume=volume, points=points)

    def _work(self) -> float:
        return self._ended + self._partial

    def _runs(self, task: str, more: int) -> None:
        row = self._rows[task]
        self._rows[task] = replace(row, running=row.running + more)

    def _count(self, record: TrialRecord) -> None:
        row = self._rows[record.task]
        kind = {Outcome.COMPLETE: "complete", Outcome.PRUNED: "pruned"}.get(record.outcome or Outcome.FAILED, "failed")
        self._rows[record.task] = replace(row, **{kind: getattr(row, kind) + 1})
        self._note_accuracy(record.task, record.measurement)

    def _note_time(self, record: TrialRecord) -> None:
        if record.ended_ms:
            first_ms, last_ms = self._former_ms or (record.started_ms or record.ended_ms, 0)
            self._former_ms = min(first_ms, record.started_ms or first_ms), max(last_ms, record.ended_ms)

    def _note_accuracy(self, task: str, values: Mapping[str, float]) -> None:
        accuracy, row = finite(values.get("accuracy")), self._rows[task]
        if accuracy is not None and (row.best_accuracy is None or accuracy > row.best_accuracy):
            self._rows[task] = replace(row, best_accuracy=accuracy)
