"""The contract between the source of jobs, the executor that runs them and the work on them."""

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
    """The source of jobs, which also receives reports on them; called from one thread only."""

    def on_workers(self, workers: int) -> None:
        """Receive the number of jobs that can run at a time: before the first job, and again when it changes."""

    def on_waiting(self, keys: Sequence[str], reason: str) -> None:
        """Receive the handed-out jobs that have no worker yet, whenever that changes.

        Args:
            keys: Keys of all these jobs.
            reason: What they wait for, if the wait is long; otherwise empty.
        """

    def next_job(self) -> Job | None:
        """Return a job to start now; None if there is none, although a running job may still lead to another."""

    def on_progress(self, job: Job, progress: Progress) -> None:
        """Receive the report of an epoch."""

    def on_ended(self, job: Job, ended: Sequence[Ended]) -> None:
        """Receive how the wanted members of a job ended, or that they paused; called once per job."""

    def should_stop(self) -> bool:
        """Return whether to start nothing more and to leave running jobs."""


@dataclass(frozen=True)
class Expected:
    """What is known of a run before anything is checked.

    Attributes:
        jobs: Largest number of jobs.
        cpus: CPUs that each job asks for.
        modules: Modules that each job imports and that take seconds to load.
    """

    jobs: int
    cpus: float = 1.0
    modules: Sequence[str] = ()


class Executor(Protocol):
    """Runs every job of a source."""

    def starting(self, expected: Expected) -> AbstractContextManager[object]:
        """Begin slow starts without waiting for them; leaving the context stops what was started.

        Args:
            expected: The expected run.
        """

    def joined(self, shared: Shared) -> AbstractContextManager[Machines | None]:
        """Join the machines that jobs will run on, and check them; yield None if jobs run on this machine alone.

        Args:
            shared: Everything that each machine must find.

        Raises:
            ClusterError: If the machines cannot be joined.
        """

    def run(self, work: Work, source: JobSource, request: Request) -> None:
        """Run until the source has no more jobs or wants to stop. `work` returns failures of a training as outcomes.

        Args:
            work: Function that works on a job. If it raises a `SpecMismatchError`, the run ends and no trial fails.
            source: Source of the jobs.
            request: Resources that each job asks for.
        """

    def clear(self) -> None:
        """Remove leftovers of killed processes; called instead of `run` if there is nothing to run."""


class StoppedError(Exception):
    """Raised inside a job to leave it at its present point; its last checkpoint stays."""
