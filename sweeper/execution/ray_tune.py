"""One run of Ray Tune over a source's jobs, on the cluster that `ray_cluster` has joined.

Imported by `executors.py` once Ray's environment is set. Ray Tune writes the objects that it is given into snapshots.
These are never read, so the classes below leave their state out.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from sweeper.errors import ClusterError, ClusterLostError
from sweeper.execution import ray_private
from sweeper.execution.contract import JobSource, Work
from sweeper.execution.lifeline import died, watching
from sweeper.execution.ray_cluster import autoscaler_says, request_of, seen, unplaced
from sweeper.execution.resources import Request
from sweeper.execution.waiting import Waiting
from sweeper.execution.worker import trainable, travel_by_value, unable_in, unable_sentence
from sweeper.job import Job, Progress
from sweeper.trial import Ended, Outcome

#: Longest silence of a worker after its job's time limit, in seconds. A sound worker stops at the limit by itself; one
#: that stays silent longer hangs and is killed.
HANGS_AFTER_S = 60.0

#: Approximate number of jobs per worker in one run of Tune, and the least number of jobs in a run. Runs are limited
#: because Tune keeps objects, texts and folders of every trial until a run's end, and visits each of them at every
#: step. At a run's end workers wait for the last one, on average for half a job: a hundredth of the time.
_JOBS_A_WORKER, _LEAST_JOBS = 50, 250

#: Number of times that a job that failed on a used worker is tried again on another worker before the failure counts.
_FRESH_TRIES = 2

#: Modules that a worker imports for Tune.
MODULES = ("ray.tune",)

_T = TypeVar("_T")


def run_jobs(
    work: Work,
    source: JobSource,
    request: Request,
    limit: int | None,
    scratch: Path | None = None,
    *,
    lost: Callable[[], str] = lambda: "",
    at_worst: Callable[[str], None] | None = None,
) -> None:
    """Run every job of a source; return when no job is left, or the source wants to stop.

    Args:
        work: Function that works on a job.
        source: Source of the jobs.
        request: Resources that each job asks for.
        limit: Largest number of jobs at a time. None: as many as the cluster has room for, and one that waits.
        scratch: Folder for Ray Tune's files.
        lost: Returns a description of what has died of Ray; empty while all of it lives.
        at_worst: Ends the process, given this description, if a dead Ray prevents an orderly end.

    Raises:
        ClusterLostError: If Ray has died.
    """
    guarded = _Guarded(source)
    with watching(lost, lambda reason: guarded.fail(ClusterLostError(died(reason))), at_worst):
        _run_all(work, guarded, request, limit, scratch)
    if guarded.error:
        raise guarded.error


def _run_all(work: Work, guarded: _Guarded, request: Request, limit: int | None, scratch: Path | None) -> None:
    """Run every job, until no job is left, the source wants to stop, or an error ends the run."""
    # These loggers would show a traceback of Tune's internals for every worker that dies, an incomplete trial although
    # the source tries its job again and says so, and a full disk for a snapshot that is never read.
    for name in ("execution.tune_controller", "execution.experiment_state", "tune"):
        logging.getLogger(f"ray.tune.{name}").setLevel(logging.CRITICAL)
    travel_by_value()
    waiting = Waiting(guarded, request, limit, seen, unplaced, autoscaler_says)
    first: Job | None = None
    while True:
        at_once = limit or seen().at_once(request)
        most = max(_LEAST_JOBS, _JOBS_A_WORKER * at_once)
        searcher = PlanSearcher(guarded, most, first, lambda: waiting.at_most, guarded.cannot_begin)
        _run_tune(work, searcher, guarded, Placement(request, waiting), scratch)
        first = guarded.next_job() if searcher.is_used_up else None
        if first is None:
            break


@dataclass(frozen=True)
class Placement:
    """How jobs are placed: the request of each, and the object that limits and reports waiting jobs."""

    request: Request
    waiting: Waiting


def _run_tune(work: Work, searcher: PlanSearcher, source: _Guarded, room: Placement, scratch: Path | None) -> None:
    """Run Tune once, until the searcher has no more jobs, and remove Tune's files."""
    above = [(path, path.stat()) for path in list(scratch.parents)[:2] if path.exists()] if scratch else []
    if scratch is not None:
        shutil.rmtree(scratch, ignore_errors=True)  # a killed driver leaves it behind
        scratch.mkdir(parents=True)
    folder, folders = str(scratch or tempfile.mkdtemp(prefix="sweeper-tune-")), FolderCallback()
    try:
        tuner = tune.Tuner(
            tune.with_resources(trainable(work), request_of(room.request)),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=InOrder(),  # type: ignore[no-untyped-call]  # ray has no types here
                num_samples=-1,  # the searcher limits the number at a time, which may change
                reuse_actors=True,
                trial_dirname_creator=_directory_name,
            ),
            run_config=tune.RunConfig(
                name="placement",
                storage_path=folder,
                verbose=0,
                stop=SourceStopper(source),
                callbacks=[WorkerCallback(searcher, room.waiting, source.fail), folders],
                failure_config=tune.FailureConfig(max_failures=0),  # the source decides about retries
            ),
        )
        tuner.fit()
    finally:
        folders.remove_rest()
        shutil.rmtree(folder, ignore_errors=True)
        _remove_made_again(above)


def _remove_made_again(folders: Sequence[tuple[Path, os.stat_result]]) -> None:
    """Remove folders that disappeared during the run and that Tune has made again for its files.

    Args:
        folders: The parent of Tune's folder and the parent's parent, as they were before. The latter stays if another
            disk is there now, because the folder may be a mount point.
    """
    for index, (path, before) in enumerate(folders):
        with suppress(OSError):
            now = path.stat()
            is_other = not os.path.samestat(now, before)
            if is_other and (index == 0 or now.st_dev == before.st_dev):
                path.rmdir()  # fails unless the folder is empty


class _Guarded:
    """A source whose first error ends the run in order, instead of amid Tune's own bookkeeping."""

    def __init__(self, source: JobSource) -> None:
        self._source = source
        self.error: Exception | None = None

    def on_workers(self, workers: int) -> None:
        self._call(lambda: self._source.on_workers(workers))

    def on_waiting(self, keys: Sequence[str], reason: str) -> None:
        self._call(lambda: self._source.on_waiting(keys, reason))

    def next_job(self) -> Job | None:
        return None if self.should_stop() else self._call(self._source.next_job)

    def on_progress(self, job: Job, progress: Progress) -> None:
        self._call(lambda: self._source.on_progress(job, progress))

    def on_ended(self, job: Job, ended: Sequence[Ended]) -> None:
        self._call(lambda: self._source.on_ended(job, ended))

    def should_stop(self) -> bool:
        return self.error is not None or self._source.should_stop()

    def cannot_begin(self, sentence: str) -> None:
        """End the run, because a worker cannot begin its job."""
        self.fail(ClusterError(sentence))

    def fail(self, error: Exception) -> None:
        """End the run with an error, in order; the first one stands."""
        self.error = self.error or error

    def _call(self, call: Callable[[], _T]) -> _T | None:
        if self.error is not None:
            return None
        try:
            return call()
        except Exception as error:
            self.error = error
            return None


def _directory_name(trial: Trial) -> str:
    return str(trial.trial_id)  # by default the job's whole text would be the name of a folder


class PlanSearcher(Searcher):
    """Hands out a source's jobs as Tune asks for configurations, and takes Tune's reports back.

    Args:
        source: Source of the jobs.
        most: Largest number of jobs to hand out.
        first: A job that was already taken from the source.
        at_most: Returns how many jobs may now be handed out at a time.
        on_unable: Called with the user's message if a worker cannot begin; the job is left as it is.
    """

    def __init__(
        self,
        source: JobSource,
        most: int,
        first: Job | None = None,
        at_most: Callable[[], int] = lambda: sys.maxsize,
        on_unable: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__()
        self._on_unable = on_unable
        self._source, self._left, self._first, self._at_most = source, most, first, at_most
        self._jobs: dict[str, Job] = {}
        self._live: set[str] = set()  # trials that Tune has not finished: their workers are not free yet
        self._limits: dict[str, float] = {}  # time limits in seconds, by trial
        self._heard: dict[str, float] = {}  # when a trial with a limit was last heard of
        self._hangs: set[str] = set()
        self._spoiled: set[str] = set()  # trials whose workers are retired
        self._again: list[Job] = []  # jobs that failed on retired workers
        self._tries: Counter[str] = Counter()

    @property
    def is_used_up(self) -> bool:
        """Whether all `most` jobs were handed out; the source may have more."""
        return self._left <= 0

    @property
    def handed(self) -> Mapping[str, Job]:
        """Jobs that were handed out and have not ended, by trial."""
        return self._jobs

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def suggest(self, trial_id: str) -> Any:
        """Return the next job as a configuration; None if one may come later, `FINISHED` if none will."""
        if self.is_used_up and not self._again:
            return None if self._jobs else Searcher.FINISHED  # a running job may have to be tried again
        if len(self._live) >= self._at_most():
            return None
        if self._again:
            job: Job | None = self._again.pop(0)
        else:
            job, self._first = self._first or self._source.next_job(), None
            self._left -= 1
        if job is None:
            self._left += 1
            return None if self._jobs else Searcher.FINISHED
        self._jobs[trial_id] = job
        if job.time_limit_s is not None:
            self._limits[trial_id] = job.time_limit_s
        self._live.add(trial_id)
        return {"job": json.dumps(asdict(job)), "may_be_spoiled": self._tries[job.key] < _FRESH_TRIES}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass a worker's report to the source."""
        job = self._jobs.get(trial_id)
        if job is None:
            return
        self._heard.pop(trial_id, None)
        if "ended" in result:
            del self._jobs[trial_id]  # otherwise it would count twice: Tune repeats the last result of a trial
            self._source.on_ended(job, [_ended_from(member) for member in json.loads(result["ended"])])
        elif "unable" in result:
            del self._jobs[trial_id]
            self._on_unable(unable_sentence(json.loads(result["unable"])))
        elif "stop" in result:
            del self._jobs[trial_id]
            self._on_unable(str(result["stop"]))
        elif "spoiled" in result:
            self._spoiled.add(trial_id)
        elif "progress" in result:
            self._source.on_progress(job, Progress(**json.loads(result["progress"])))

    def on_trial_error(self, trial_id: str, error: Exception | None) -> None:
        """Report that the worker of a job died; jobs that ended in order were reported with their results."""
        job = self._jobs.pop(trial_id, None)
        if job is None:
            return
        if trial_id in self._hangs:
            reason = (
                f"the worker that trained population {job.key} did not answer after the limit of {job.time_limit_s} s"
            )
            self._source.on_ended(job, [Ended(Outcome.TIMED_OUT, reason)] * len(job.wanted_keys))
            return
        if trial_id in self._spoiled:
            self._spoiled.discard(trial_id)
            self._tries[job.key] += 1
            self._again.append(job)
            said = "failed on a worker that had trained others: a new one tries it before that counts"
            self._source.on_waiting([job.key], f"population {job.key} {said}")
            return
        said = f"{type(error).__name__}: {error}".strip()
        if sentence := unable_in(said):
            self._on_unable(sentence)
            return
        # Ray's own monitor kills a worker before the system's memory is full, and says so.
        is_memory = isinstance(error, ray.exceptions.OutOfMemoryError) or "OutOfMemory" in said
        outcome = Outcome.OUT_OF_MEMORY if is_memory else Outcome.LOST
        reason = f"the worker that trained population {job.key} died: {said}"
        self._source.on_ended(job, [Ended(outcome, reason)] * len(job.wanted_keys))

    def hanging(self, running: Iterable[str], now: float) -> list[str]:
        """Return the running trials that have been silent for longer than allowed.

        Args:
            running: Trials that have a worker now; a trial without one cannot hang.
            now: Seconds from any start.
        """
        if not self._limits:
            return []
        quiet = [id for id in running if id in self._limits and id in self._jobs]
        hangs = [id for id in quiet if now - self._heard.setdefault(id, now) > self._limits[id] + HANGS_AFTER_S]
        self._hangs.update(hangs)
        return hangs

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Stop counting a trial; its results and errors were already reported."""
        self._live.discard(trial_id)
        self._limits.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the ledger is the truth."""


class InOrder(FIFOScheduler):
    """Leaves the choice of the next trial to Tune's own queue.

    The default scheduler does the same, but goes through every past trial at each step.
    """

    def choose_trial_to_run(self, tune_controller: object) -> None:
        """Choose no trial, so that Tune takes the next one of its queue."""


class WorkerCallback(tune.Callback):
    """Tells the searcher why a worker died, which Tune does not; kills hanging workers; watches waiting jobs.

    Args:
        searcher: Searcher that is told.
        waiting: Watches the jobs that wait.
        fail: Ends the run with an error if a hanging worker cannot be killed.
    """

    def __init__(self, searcher: PlanSearcher, waiting: Waiting, fail: Callable[[Exception], None]) -> None:
        self._searcher, self._waiting, self._fail = searcher, waiting, fail
        self._running: dict[str, Trial] = {}  # Tune's own list only grows, and most of its trials have ended

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Note that a trial has a worker."""
        self._running[trial.trial_id] = trial

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Note that its worker is free."""
        self._running.pop(trial.trial_id, None)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Report which trial's worker died, and why."""
        self._running.pop(trial.trial_id, None)
        self._searcher.on_trial_error(trial.trial_id, _error_of(trial))

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Kill hanging workers; Tune then reports them as dead."""
        for trial_id in self._searcher.hanging(self._running, time.monotonic()):
            try:
                if actor := ray_private.actor_of(self._running[trial_id]):
                    ray.kill(actor)
            except ClusterError as error:
                self._fail(error)
        self._waiting.step(self._searcher.handed, self._running.keys())


class FolderCallback(tune.Callback):
    """Removes Tune's files of ended trials on this machine."""

    def __init__(self) -> None:
        self._places: set[Path] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Remove the folders that Tune keeps of a trial, but not its working folder, which the worker is still in."""
        own, kept = ray_private.folders_of(trial)
        if own is not None:
            self._places.add(own.parent.parent)
        for folder in kept:
            shutil.rmtree(folder, ignore_errors=True)

    def remove_rest(self) -> None:
        """Remove the rest of the run in Ray's folder, once the workers are gone."""
        for run_jobs in self._places:
            shutil.rmtree(run_jobs, ignore_errors=True)
            with suppress(OSError):
                run_jobs.parent.rmdir()  # the folder that is named by the run's time


class SourceStopper(tune.Stopper):
    """Ends the whole run when the source wants to stop."""

    def __init__(self, source: JobSource) -> None:
        self._source = source

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Stop no single trial."""
        return False

    def stop_all(self) -> bool:
        """Return whether to end the run."""
        return self._source.should_stop()


def _error_of(trial: Trial) -> Exception | None:
    """Return what a trial's worker died of, from Tune's local file, which reaches Tune's storage only later."""
    with suppress(Exception):  # the error's class cannot be loaded here, or the file is on another machine
        error = ray.cloudpickle.loads(Path(str(trial.pickled_error_file)).read_bytes())
        return error if isinstance(error, Exception) else None
    return trial.get_error()


def _ended_from(values: dict[str, Any]) -> Ended:
    outcome = values["outcome"]
    return Ended(**{**values, "outcome": Outcome(outcome) if outcome else None})
