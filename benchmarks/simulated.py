"""Simulates clusters of any size: workers that answer after random times, and train nothing.

Jobs and answers go through the product's own searcher in the form in which they are sent. `Queue` has only one queue of
answers around it, so it shows the driver's own time. `Tune` keeps Ray Tune's own loop too, and replaces only Ray's
actors. Both wait for the next answer that is due, so the time in which none is due is the driver's idle time.
"""

from __future__ import annotations

import heapq
import json
import math
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from sweeper.execution.contract import JobSource, Work
from sweeper.execution.executors import InlineExecutor, _set_environment
from sweeper.execution.resources import ONE_CPU, Node, Request, Resources, Seen
from sweeper.job import Progress
from sweeper.measurements import MEASUREMENTS
from sweeper.trial import Ended, Outcome

EPOCHS, POPULATION = 24, 8

#: Sigma of a training's log-normal time; half of the times are within a third of the mean.
SPREAD = 0.4

#: Measurements of a worker after an epoch.
MEASURED = {"accuracy": 0.53125, "loss": 1.31479, "breadth": 7.0, "depth": 3.0, "time": 2.40625}


def _told(outcome: Outcome | None) -> str:
    """Return a worker's JSON about an ended member, with %r for accuracy and time, so that each gets its own values."""
    chance = random.Random(1)
    measured: dict[str, Any] = {name: chance.uniform(0, 5) for name in MEASUREMENTS}
    curve = [{"epoch": epoch, **{n: chance.random() for n in MEASURED}} for epoch in range(1, EPOCHS + 1)]
    ended = Ended(outcome, "", measured | {"accuracy": "%r", "time": "%r"}, {"channels_per_layer": [4, 2]}, curve)
    return json.dumps(asdict(ended)).replace('"%r"', "%r")


COMPLETE, PAUSED = _told(Outcome.COMPLETE), _told(None)
REPORTS = [json.dumps(asdict(Progress(epoch, EPOCHS, [MEASURED] * POPULATION))) for epoch in range(EPOCHS + 1)]


@dataclass
class Worker:
    """State of a worker.

    Attributes:
        answers: Remaining answers about its job, each with the time that it takes.
        freed_s: Time of its last answer; None while it works.
    """

    answers: Iterator[tuple[float, dict[str, Any]]] = field(default_factory=lambda: iter(()))
    freed_s: float | None = None
    members: int = 0  # members that end with its job


@dataclass
class Figures:
    """Measurements within the time window.

    Attributes:
        seconds: Length of the window.
        results, reports: Numbers of complete trials, and of reported epochs.
        idle_s: Seconds in which nothing was due.
        waits: Waits of workers between a result and the next job, in seconds.
        lost_s: Total seconds in which workers waited for the driver, for any reason.
        processor_s: Processor seconds of this process.
    """

    seconds: float = math.nan
    results: int = 0
    reports: int = 0
    idle_s: float = 0.0
    waits: list[float] = field(default_factory=list)
    lost_s: float = 0.0
    processor_s: float = math.nan


class Queue(InlineExecutor):
    """An executor whose workers answer after random times.

    Args:
        workers: Number of workers.
        mean_s: Mean time of a training, in seconds.
        settle_s: Seconds from the moment when every worker has a job until counting begins.
        seconds: Length of the counted window, in seconds.
        at_end: Called when the window ends.
    """

    def __init__(
        self, workers: int, mean_s: float, settle_s: float, seconds: float, at_end: Callable[[], None] = lambda: None
    ) -> None:
        self.workers, self._mean_s, self._at_end = workers, mean_s, at_end
        self._settle_s, self._length_s = settle_s, seconds
        self._chance = random.Random(workers)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._begun: dict[str, tuple[int, float]] = {}  # population -> epochs done and time of the whole training
        self._busy = 0  # workers that ever had a job
        self._from_s = self._until_s = math.inf
        self._processor_from_s = math.nan
        self.told = 0  # trials that ended since the start
        self.figures = Figures()

    def is_over(self) -> bool:
        """Whether the window has ended."""
        now_s = time.perf_counter()
        if now_s >= self._from_s and math.isnan(self._processor_from_s):
            self._processor_from_s = time.process_time()
        if now_s >= self._until_s and math.isnan(self.figures.seconds):
            self.figures.seconds = now_s - self._from_s
            self.figures.processor_s = time.process_time() - self._processor_from_s
            self._at_end()
        return not math.isnan(self.figures.seconds)

    def run(self, work: Work, source: JobSource, request: Request = ONE_CPU) -> None:
        """Hand out jobs, and tell the searcher the answers in the order in which they are due."""
        _set_environment(None)
        from sweeper.execution.ray_tune import PlanSearcher

        searcher = PlanSearcher(source, sys.maxsize, at_most=lambda: self.workers)
        source.on_workers(self.workers)
        idle = deque(Worker() for _ in range(self.workers))
        numbers = iter(range(sys.maxsize))

        def answer(worker: Worker, trial: str, result: dict[str, Any]) -> None:
            searcher.on_trial_result(trial, result)
            if "ended" in result:
                searcher.on_trial_complete(trial)
                idle.append(worker)
            else:
                self.go_on(worker, lambda it: answer(worker, trial, it))

        while not source.should_stop():
            while idle and isinstance(config := searcher.suggest(trial := f"{next(numbers)}"), dict):
                self.take(worker := idle.popleft(), config["job"])
                self.go_on(worker, lambda it, worker=worker, trial=trial: answer(worker, trial, it))
            if not self.next():
                break
        self._until_s = min(self._until_s, time.perf_counter())
        self.is_over()

    def take(self, worker: Worker, job: str) -> None:
        """Let a worker begin a job."""
        now_s = time.perf_counter()
        if worker.freed_s is None:
            self._busy += 1
            if self._busy == self.workers:
                self._from_s = now_s + self._settle_s
                self._until_s = self._from_s + self._length_s
        elif self._is_counted(now_s):
            self.figures.waits.append(now_s - worker.freed_s)
            self.figures.lost_s += now_s - worker.freed_s
        is_first, worker.freed_s = worker.freed_s is None, None
        told = json.loads(job)
        worker.members = 0 if told["until"] else sum(told["wanted"])  # members that pause have not ended
        worker.answers = self._answers(told, is_first)

    def _answers(self, job: dict[str, Any], is_first: bool) -> Iterator[tuple[float, dict[str, Any]]]:
        """Yield the time and the answer of each epoch; a worker's first job is taken to have begun before."""
        draw = self._chance.lognormvariate(math.log(self._mean_s) - SPREAD**2 / 2, SPREAD)
        begun = self._chance.randrange(EPOCHS) if is_first and job["until"] is None else 0
        done, took_s = self._begun.get(job["key"], (begun, draw))
        last = job["until"] or EPOCHS
        for epoch in range(done + 1, last + 1):
            yield took_s / EPOCHS, {"progress": REPORTS[epoch]}
        self._begun[job["key"]] = last, took_s
        members = sum(job["wanted"])
        form = ",".join([COMPLETE if last == EPOCHS else PAUSED] * members)
        yield 0.0, {"ended": f"[{form}]" % tuple(self._chance.random() for _ in range(2 * members))}

    def go_on(self, worker: Worker, tell: Callable[[dict[str, Any]], None]) -> None:
        """Schedule a worker's next answer."""
        takes_s, result = next(worker.answers)
        due_s = time.perf_counter() + takes_s

        def answered() -> None:
            now_s = time.perf_counter()
            is_counted = self._is_counted(now_s)
            if "ended" in result:
                worker.freed_s = due_s
                self.told += worker.members
                self.figures.results += is_counted * worker.members
            else:
                self.figures.reports += is_counted
                self.figures.lost_s += is_counted * (now_s - due_s)
            tell(result)

        self.at(due_s, answered)

    def at(self, due_s: float, call: Callable[[], None]) -> None:
        """Schedule a call."""
        self._number += 1
        heapq.heappush(self._due, (due_s, self._number, call))

    def next(self, timeout_s: float = math.inf) -> bool:
        """Wait for the first due call and make it; return False if none is due in time."""
        now_s = time.perf_counter()
        due_s = min(self._due[0][0] if self._due else math.inf, now_s + timeout_s)
        if math.isinf(due_s):
            return False
        if due_s > now_s:
            time.sleep(due_s - now_s)
            woken_s = min(time.perf_counter(), self._until_s)
            self.figures.idle_s += max(0.0, woken_s - max(now_s, self._from_s))
        if not self._due or self._due[0][0] > time.perf_counter():
            return False
        heapq.heappop(self._due)[2]()
        return True

    def _is_counted(self, now_s: float) -> bool:
        return self._from_s <= now_s < self._until_s


class Tune(Queue):
    """The same in Ray Tune's own loop, as `RayExecutor` runs it, on a Ray with one processor and no actor."""

    def run(self, work: Work, source: JobSource, request: Request = ONE_CPU) -> None:
        """Run every job of the source."""
        _set_environment(None)
        from ray.tune.execution import tune_controller

        from sweeper.execution import ray_cluster, ray_tune

        cluster = Node("simulated", Resources(self.workers, 0, 2**50))
        with ExitStack() as stack:
            stack.enter_context(ray_cluster.connected(None, 1))
            stack.enter_context(patch.object(ray_tune, "seen", lambda: Seen([cluster], cluster.has)))
            stack.enter_context(patch.object(ray_tune, "unplaced", lambda: 0))
            stack.enter_context(patch.object(tune_controller, "RayActorManager", lambda **_: Actors(self)))
            source.on_workers(self.workers)
            ray_tune.run_jobs(work, source, request, self.workers)
        self._until_s = min(self._until_s, time.perf_counter())
        self.is_over()


#: The one method that Tune calls on an actor directly: which metrics it adds to results.
_ACTOR = SimpleNamespace(get_auto_filled_metrics=SimpleNamespace(remote=lambda **_: {}))


class Actors:
    """Replaces Ray Tune's actor manager, with the part of its interface that Tune uses.

    Args:
        times: Knows the time of each answer, and waits for it.
    """

    def __init__(self, times: Tune) -> None:
        self._times = times
        self._numbers = iter(range(sys.maxsize))
        self._workers: dict[Any, Worker] = {}  # by tracked actor
        self._live_actors_to_ray_actors_resources: dict[Any, tuple[Any, None]] = {}
        self._said: dict[Any, dict[str, Any]] = {}  # last result of each actor

    num_actor_tasks = property(lambda self: len(self._workers))
    num_live_actors = property(lambda self: len(self._live_actors_to_ray_actors_resources))
    num_pending_actors = property(lambda self: len(self._workers) - self.num_live_actors)
    num_total_actors = num_actor_tasks

    def add_actor(self, *, kwargs: dict[str, Any], on_start: Any, on_stop: Any, on_error: Any, **_: Any) -> Any:
        """Start an actor at once."""
        from ray.air.execution._internal.tracked_actor import TrackedActor

        actor = TrackedActor(next(self._numbers), on_start=on_start, on_stop=on_stop, on_error=on_error)
        self._workers[actor] = worker = Worker()

        def started() -> None:
            if actor in self._workers:
                self._live_actors_to_ray_actors_resources[actor] = _ACTOR, None
                self._times.take(worker, kwargs["config"]["job"])
                on_start(actor)

        self._times.at(time.perf_counter(), started)
        return actor

    def schedule_actor_task(
        self, tracked_actor: Any, method_name: str, args: Any = (), kwargs: Any = None, on_result: Any = None, **_: Any
    ) -> object:
        """Let an actor train on, begin another job, or stop."""
        worker = self._workers.get(tracked_actor)
        if worker is None or on_result is None:
            return object()

        def tell(answer: Any) -> None:
            if tracked_actor in self._workers:
                on_result(tracked_actor, answer)

        if method_name == "reset":
            self._times.take(worker, args[0]["job"])
            self._times.at(time.perf_counter(), lambda: tell(True))
        elif "ended" in self._said.get(tracked_actor, ()):  # Tune's sign that a function has returned
            last = self._said.pop(tracked_actor) | {"done": True, "__duplicate__": True}
            self._times.at(time.perf_counter(), lambda: tell(last))
        else:
            self._times.go_on(worker, lambda said: tell(self._filled(tracked_actor, said)))
        return object()

    def _filled(self, actor: Any, said: dict[str, Any]) -> dict[str, Any]:
        """Return a result with the fields that Tune's workers add."""
        added = {name: time.time() for name in ("timestamp", "time_this_iter_s", "time_total_s", "time_since_restore")}
        names = dict.fromkeys(("date", "hostname", "node_ip"), "a name")
        self._said[actor] = {**said, **added, **names, "done": False, "training_iteration": 1, "pid": 1}
        return dict(self._said[actor])

    def next(self, timeout: float | None = None) -> bool:
        """Wait for an answer and handle it, as Ray's own manager does."""
        return self._times.next(math.inf if timeout is None else timeout)

    def remove_actor(self, tracked_actor: Any, kill: bool = False, stop_future: object = None) -> bool:
        """End an actor at once."""
        is_live = self._live_actors_to_ray_actors_resources.pop(tracked_actor, None) is not None
        self._workers.pop(tracked_actor, None)
        if stopped := tracked_actor._on_stop:
            self._times.at(time.perf_counter(), lambda: stopped(tracked_actor))
        return is_live

    def is_actor_started(self, tracked_actor: Any) -> bool:
        """Return whether an actor is alive."""
        return tracked_actor in self._live_actors_to_ray_actors_resources

    def is_actor_failed(self, tracked_actor: Any) -> bool:
        """Return False: no actor ever fails."""
        return False

    def clear_actor_task_futures(self, tracked_actor: Any) -> None:
        """Do nothing: an actor has one task at a time, and has finished it."""

    def get_live_actors_resources(self) -> dict[str, float]:
        """Return nothing, since Tune only prints it."""
        return {}

    def cleanup(self) -> None:
        """End all actors."""
        self._workers.clear()
