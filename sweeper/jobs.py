"""The contract between what hands out jobs, what runs them and what works on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sweeper.vocabulary import Ended, Job, Progress

Work = Callable[[Job, Callable[[Progress], None]], Sequence[Ended]]


class JobSource(Protocol):
    """Where jobs come from and where what is known of them goes; called from one thread only."""

    def on_workers(self, workers: int) -> None:
        """Hear how many jobs are worked on at a time; before the first job."""

    def next_job(self) -> Job | None:
        """Return a job to start now; None when there is none, though one that is running may still lead to another."""

    def on_progress(self, job: Job, progress: Progress) -> None:
        """Hear of an epoch."""

    def on_ended(self, job: Job, ended: Sequence[Ended]) -> None:
        """Hear how the wanted members of a job ended, or that they paused; once a job."""

    def should_stop(self) -> bool:
        """Whether to start nothing more and leave what is running."""


class Executor(Protocol):
    """Runs every job of a source."""

    def run(self, work: Work, source: JobSource) -> None:
        """Run until the source has no more jobs or wants to stop. What goes wrong in a training, `work` returns."""


class StoppedError(Exception):
    """Raised inside a job to leave it where it is; its last checkpoint stays."""
