"""The contract between what hands out jobs, what runs them and what works on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from sweeper.execution.resources import Machines, Request, Shared
from sweeper.job import Job, Progress
from sweeper.trial import Ended

Work = Callable[[Job, Callable[[Progress], None]], Sequence[Ended]]


class JobSource(Protocol):
    """Where jobs come from and where what is known of them goes; called from one thread only."""

    def on_workers(self, workers: int) -> None:
        """Hear how many jobs can be worked on at a time: before the first job, and again when that changes."""

    def on_waiting(self, keys: Sequence[str], reason: str) -> None:
        """Hear which jobs that were handed out have no worker yet, whenever that changes.

        Args:
            keys: Of all of them.
            reason: What they wait for, where that takes long; otherwise empty.
        """

    def next_job(self) -> Job | None:
        """Return a job to start now; None when there is none, though one that is running may still lead to another."""

    def on_progress(self, job: Job, progress: Progress) -> None:
        """Hear of an epoch."""

    def on_ended(self, job: Job, ended: Sequence[Ended]) -> None:
        """Hear how the wanted members of a job ended, or that they paused; once a job."""

    def should_stop(self) -> bool:
        """Whether to start nothing more and leave what is running."""


@dataclass(frozen=True)
class Expected:
    """What is known of a run before anything is looked at.

    Attributes:
        jobs: How many there are at most.
        cpus: What each asks for.
        modules: What each imports, and takes seconds.
    """

    jobs: int
    cpus: float = 1.0
    modules: Sequence[str] = ()


class Executor(Protocol):
    """Runs every job of a source."""

    def starting(self, expected: Expected) -> AbstractContextManager[object]:
        """Begin to start what takes long, without waiting for it; stop it when this is left.

        Args:
            expected: What will be run.
        """

    def joined(self, shared: Shared) -> AbstractContextManager[Machines | None]:
        """Join the machines that jobs will run on, and look at them; None where it is this machine alone.

        Args:
            shared: What every machine must find there.

        Raises:
            ClusterError: If they cannot be joined.
        """

    def run(self, work: Work, source: JobSource, request: Request) -> None:
        """Run until the source has no more jobs or wants to stop. What goes wrong in a training, `work` returns.

        Args:
            work: What a job is worked on with. A `SpecMismatchError` from it ends the run, and no trial has failed.
            source: Where jobs come from.
            request: What each job asks for.
        """

    def clear(self) -> None:
        """Remove what killed processes have left of machines that they had started; for who runs nothing."""


class StoppedError(Exception):
    """Raised inside a job to leave it where it is; its last checkpoint stays."""
