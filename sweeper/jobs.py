"""The contract between what hands out jobs, what runs them and what works on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sweeper.vocabulary import Ended, Job, Progress

Work = Callable[[Job, Callable[[Progress], None]], Sequence[Ended]]

#: How often the work of a worker that died is handed to another one before its trials are called lost.
LOST_RETRIES = 3


class JobSource(Protocol):
    """Where jobs come from and where what is known of them goes; called from one thread only."""

    def next_job(self) -> Job | None:
        """Return a job to start now, or None when there is no more."""

    def on_progress(self, job: Job, progress: Progress) -> None:
        """Hear of an epoch."""

    def on_retry(self, job: Job) -> None:
        """Hear that the worker of a job died and that another one takes it up."""

    def on_ended(self, job: Job, ended: Sequence[Ended]) -> None:
        """Hear how the wanted members of a job ended; once a job."""

    def should_stop(self) -> bool:
        """Whether to start nothing more and leave what is running."""


class Executor(Protocol):
    """Runs every job of a source."""

    def run(self, work: Work, source: JobSource) -> None:
        """Run until the source has no more jobs or wants to stop. What goes wrong in a training, `work` returns."""


class StoppedError(Exception):
    """Raised inside a job to leave it where it is; its last checkpoint stays."""
