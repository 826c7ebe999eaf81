"""Runs a job of a user's own function from where it left off, and turns its result into an outcome."""

from __future__ import annotations

import math
import platform
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from sweeper import storage
from sweeper.imports import import_problem
from sweeper.job import Job, Progress
from sweeper.model.compute import gpu_problem, use_threads
from sweeper.model.errors import CheckpointError
from sweeper.training.checkpoints import Checkpoints
from sweeper.training.handed_out import (
    DISK_FULL,
    GoneError,
    SupersededError,
    kind_of,
    refuse_other_code,
    refuse_superseded,
    unshared,
)
from sweeper.training.own_source import SourceError, function_of, signature_of
from sweeper.training.own_state import packed, unpacked
from sweeper.training.own_trial import LeftError, OwnFunctionError, Progressed, Trial, measured, seed_everything
from sweeper.trial import Ended, Outcome

#: Prefix of the function's arguments in a flat setting.
ARGUMENT = "argument."


def call_function(
    job: Job, report: Callable[[Progress], None], clock: Callable[[], float] = time.monotonic
) -> list[Ended]:
    """Call the function of a job, from its last checkpoint if there is one.

    Args:
        job: Job to run, with one trial.
        report: Called after each epoch, when its checkpoint is on disk.
        clock: Returns seconds from any start; measures the job's time limit.

    Returns:
        How the trial ended, or its measurement at the epoch that the job is to pause after. Any failure inside the
        function is an outcome.

    Raises:
        SupersededError: If the trial was handed out again.
        Exception: Whatever `report` or an import raises: it is not the function's fault, and must not become its
            outcome.
    """
    if job.device != "cpu" and (problem := gpu_problem(job.device)):
        reason = f"trial {job.keys[0]} was given a GPU that torch cannot use on {platform.node()}: {problem}."
        return [Ended(Outcome.FAILED, reason, is_final=True)]
    if problem := unshared(job.lease):
        return [Ended(Outcome.LOST, f"on {platform.node()} {problem}")]
    return [_Call(job, report, clock).ended()]


class _Call:
    """One call of a function, and its progress."""

    def __init__(self, job: Job, report: Callable[[Progress], None], clock: Callable[[], float]) -> None:
        self._job, self._report, self._clock, self._started = job, report, clock, clock()
        self._checkpoints = Checkpoints(job.checkpoint) if job.checkpoint else None
        self._notes: list[str] = []
        self._done = Progressed()
        self._left: Ended | BaseException | None = None  # why the function was left before its end

    def ended(self) -> Ended:
        """Call the function, and return how the call ended."""
        job = self._job
        state = self._restored()
        if job.until is not None and self._done.epoch >= job.until:  # paused before, but its report was lost
            return self._measured(None)
        given, seed = _arguments(job), int(job.settings[0]["seed"])
        try:
            function = function_of(str(job.settings[0]["train"]), Path(job.own_folder))
            signature = signature_of(function, Path(job.own_folder))
        except SourceError as error:
            return Ended(Outcome.FAILED, str(error), is_final=True)
        refuse_other_code(job.code, signature.files, str(job.settings[0]["train"]))
        use_threads(max(1, math.floor(job.cpus)))
        trial = Trial(job.keys[0], job.device, seed, job.measures, self._done, state, self._on_report)
        given |= {"trial": trial} if signature.takes_trial else {}
        given |= {"seed": seed} if signature.takes_seed else {}
        seed_everything(seed, "begin")
        with self._leaving():
            result = function(**given)
            if self._left is None:
                return self._returned(result, signature.takes_trial)
        if isinstance(self._left, BaseException):
            raise self._left
        assert self._left is not None
        return self._left

    @contextmanager
    def _leaving(self) -> Iterator[None]:
        """Turn the function's exceptions into an outcome, unless it was left on purpose."""
        try:
            yield
        except LeftError:
            return
        except OwnFunctionError as error:
            self._left = self._left or Ended(Outcome.FAILED, str(error), curve=self._done.curve, is_final=True)
        except (Exception, SystemExit) as error:  # a SystemExit ends only the trial, not the worker
            if self._left is not None:  # the function was left, and raised something on its way out
                return
            if isinstance(error, Exception) and import_problem(error):
                raise
            reason = "".join(traceback.format_exception(type(error), error, _of_theirs(error)))
            kind = kind_of(error) if isinstance(error, Exception) else Outcome.FAILED
            self._left = Ended(kind, reason, curve=self._done.curve)

    def _on_report(self, done: Progressed, state: object) -> None:
        """Save and pass on a report, and leave the function at its time limit, at a pause or after a failure."""
        if self._left is not None:  # the function was left once, and has continued all the same
            raise LeftError
        try:
            self._keep(done, state)
            self._report(Progress(done.epoch, done.epochs, [_finite(done.values)], tuple(self._notes)))
            self._notes.clear()
        except (OwnFunctionError, SupersededError):
            raise
        except GoneError as error:
            self._left = Ended(Outcome.LOST, f"on {platform.node()} {error}")
        except Exception as error:
            self._left = error
            if isinstance(error, OSError) and error.errno in DISK_FULL:
                self._left = Ended(Outcome.LOST, f"on {platform.node()} {error.strerror}")
        limit, until = self._job.time_limit_s, self._job.until
        if self._left is None and limit is not None and self._clock() - self._started > limit:
            reason = f"training took longer than its limit of {limit:g} s and was left after epoch {done.epoch}"
            self._left = Ended(Outcome.TIMED_OUT, reason, _finite(done.values), curve=done.curve)
        if self._left is None and until is not None and until <= done.epoch < done.epochs:
            self._left = self._measured(None)
        if self._left is not None:
            raise LeftError

    def _keep(self, done: Progressed, state: object) -> None:
        if self._checkpoints is None or not done.has_state:
            return
        refuse_superseded(self._job.lease)
        kept = {"epoch": done.epoch, "epochs": done.epochs, "values": done.values, "curve": done.curve}
        content = {**kept, "own": self._job.keys[0], "state": packed(state)}
        try:
            self._checkpoints.save(content)
        except OSError as error:
            if error.errno in DISK_FULL:
                raise
            where = storage.without_credentials(self._job.checkpoint)
            self._notes.append(f"the checkpoint {where} could not be written: {error.strerror}; training goes on")

    def _restored(self) -> Any:
        """Return the state to continue from, and remember its progress; None to start from the beginning."""
        refused: list[str] = []
        for kept in self._checkpoints.states(refused) if self._checkpoints else ():
            if kept.get("own") != self._job.keys[0]:
                refused.append(f"the checkpoint {storage.without_credentials(self._job.checkpoint)} is another trial's")
                continue
            try:
                self._done = Progressed(
                    int(kept["epoch"]), int(kept["epochs"]), dict(kept["values"]), list(kept["curve"]), has_state=True
                )
                return unpacked(kept["state"])
            except (CheckpointError, KeyError, TypeError, ValueError) as error:
                refused.append(f"a checkpoint cannot be used: {type(error).__name__}")
        if refused:
            self._notes.append(f"{'; '.join(refused)}; trial {self._job.keys[0]} begins anew")
        return None

    def _returned(self, result: object, takes_trial: bool) -> Ended:
        """Return how a trial ended after its function has returned."""
        if result is None and not takes_trial:
            raise OwnFunctionError(
                f"{self._job.settings[0]['train']} returned nothing. Return measures by name, such as "
                "{'accuracy': 0.9}, or take an argument `trial` and call trial.report."
            )
        if result is not None:
            self._done.values |= measured(result, self._job.measures, "what the function returned")
        if not self._done.values:
            raise OwnFunctionError(
                f"{self._job.settings[0]['train']} ended without a measure. Call trial.report, or return measures by "
                "name."
            )
        return self._measured(Outcome.COMPLETE)

    def _measured(self, outcome: Outcome | None) -> Ended:
        if strange := [name for name, value in self._done.values.items() if not math.isfinite(value)]:
            reason = f"{strange[0]} is {self._done.values[strange[0]]} after epoch {self._done.epoch}"
            if outcome is None:
                return Ended(Outcome.NOT_FINITE, reason, _finite(self._done.values), curve=self._done.curve)
        return Ended(outcome, "", self._done.values, curve=self._done.curve)


def _of_theirs(error: BaseException) -> TracebackType | None:
    """Return the part of an exception's traceback that begins in the user's own code."""
    found = error.__traceback__
    while found is not None and found.tb_next is not None and found.tb_frame.f_code.co_filename == __file__:
        found = found.tb_next
    return found


def _arguments(job: Job) -> dict[str, Any]:
    setting = job.settings[0]
    return {name.removeprefix(ARGUMENT): value for name, value in setting.items() if name.startswith(ARGUMENT)}


def _finite(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}
