"""Watches how many workers a cluster has for a sweep, and what waiting populations wait for. Knows nothing of Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

from sweeper.execution.contract import JobSource
from sweeper.execution.resources import Request, Seen
from sweeper.job import Job

#: Least time between two looks at the cluster, in seconds.
LOOK_EVERY_S = 2.0

#: Wait for a worker after which the user is told, in seconds; merely starting a worker takes seconds.
WAITS_AFTER_S = 15.0


class Waiting:
    """Tells a source how many workers there are, which jobs have none, and, once per change, what these wait for.

    Args:
        source: Source that is told.
        request: Resources that each job asks for.
        limit: Largest number of jobs at a time; None if the whole cluster may be taken.
        look: Returns the cluster as it is.
        unplaced: Returns how many requests wait for resources, without those whose workers are starting.
        more_to_come: Returns a clause that says whether the cluster will grow.
        clock: Returns seconds from any start.
    """

    def __init__(
        self,
        source: JobSource,
        request: Request,
        limit: int | None,
        look: Callable[[], Seen],
        unplaced: Callable[[], int],
        more_to_come: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._request, self._limit = source, request, limit
        self._look, self._unplaced, self._more_to_come, self._clock = look, unplaced, more_to_come, clock
        self._looked_s: float | None = None
        self._places: int | None = None
        self._workers: int | None = None
        self._since_s: float | None = None  # since when fewer jobs have their resources than there is room for
        self._told: set[str] = set()  # jobs that the source knows to have no worker
        self._said: tuple[object, ...] = ()

    @property
    def at_most(self) -> int:
        """Jobs that may be handed out at a time: one more than there is room for, so that an autoscaler sees demand."""
        if self._places is None:
            self._places = self._look().at_once(self._request)
        return self._places + 1 if self._limit is None else min(self._places + 1, self._limit)

    def step(self, handed: Mapping[str, Job], running: Collection[str]) -> None:
        """Look at the handed-out jobs and at the cluster; cheap enough to be called often.

        Args:
            handed: Jobs that have not ended, by trial.
            running: Trials that have a worker.
        """
        now_s = self._clock()
        idle = [job for trial, job in handed.items() if trial not in running]
        self._tell({job.key for job in idle})
        if self._looked_s is not None and now_s - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = now_s
        seen = self._look()
        self._places = places = seen.at_once(self._request)
        workers = places if self._limit is None else min(places, self._limit)
        if workers != self._workers:
            self._workers = workers
            self._source.on_workers(workers)
        # If all workers are busy, the next population merely waits for one of them, which is no news.
        if not idle or len(running) >= max(workers, 1) or len(handed) - self._unplaced() >= max(workers, 1):
            self._since_s, self._said = None, ()
            return
        self._since_s = now_s if self._since_s is None else self._since_s
        if now_s - self._since_s > WAITS_AFTER_S:
            self._say(idle[0], seen, places, len(running))

    def _say(self, job: Job, seen: Seen, places: int, running: int) -> None:
        more_to_come = self._more_to_come()
        if (news := (len(seen.nodes), places, running, more_to_come)) != self._said:
            self._said = news
            self._source.on_waiting(sorted(self._told), self._reason(job, seen, places, more_to_come))

    def _tell(self, idle: set[str]) -> None:
        if idle != self._told:
            self._told = idle
            self._source.on_waiting(sorted(idle), "")

    def _reason(self, job: Job, seen: Seen, places: int, more_to_come: str) -> str:
        count = f"{len(seen.nodes)} {'node' if len(seen.nodes) == 1 else 'nodes'}"
        there = f"{seen.free} free on {count}" if places else f"{count}, none of which can hold it"
        return f"population {job.key} waits for {self._request}: the cluster has {there}, and {more_to_come}"
