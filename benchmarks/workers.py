"""Measures how many reports a second one driver takes from its workers, which limits a cluster with short trainings.

Jobs report as often as they can and train nothing; a report contains the measurements of a population after an epoch.
The rate is compared with that of plain Ray tasks, which return once and report nothing. Workers here are processes of
one machine: with many more workers than cores the driver competes with them, so figures are lower bounds for a cluster.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence

from sweeper.execution.executors import RayExecutor
from sweeper.job import Job, Progress
from sweeper.trial import Ended, Outcome

#: Report of a population of eight after an epoch.
VALUES = [{"accuracy": 0.5, "loss": 1.0, "breadth": 10.0, "depth": 2.0, "time": 3.0}] * 8


def report_only(job: Job, report: Callable[[Progress], None]) -> Sequence[Ended]:
    reports = int(job.settings[0]["reports"])
    for epoch in range(1, reports + 1):
        report(Progress(epoch, reports, VALUES))
    return [Ended(Outcome.COMPLETE)] * len(job.keys)


class Source:
    """Hands out a number of jobs, and records the times of reports once every worker is busy."""

    def __init__(self, jobs: int, reports: int, workers: int) -> None:
        self._left, self._reports, self._workers = jobs, reports, workers
        self._busy = set[str]()
        self.times = list[float]()
        self.ended = 0

    def on_workers(self, workers: int) -> None:
        pass

    def next_job(self) -> Job | None:
        if not self._left:
            return None
        self._left -= 1
        keys = tuple(f"{self._left:08x}{member:08x}" for member in range(8))
        return Job(f"job-{self._left}", "task", keys, ({"reports": self._reports},) * 8, (True,) * 8)

    def on_progress(self, job: Job, progress: Progress) -> None:
        self._busy.add(job.key)
        if len(self._busy) >= self._workers:  # before that, workers are still starting
            self.times.append(time.perf_counter())

    def on_ended(self, job: Job, ended: Sequence[Ended]) -> None:
        self.ended += 1

    def should_stop(self) -> bool:
        return False


def plain_tasks(workers: int, count: int) -> float:
    """Return how many plain Ray tasks a second the workers return."""
    import ray

    ray.init(address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        task = ray.remote(num_cpus=1)(lambda values: values)
        ray.get([task.remote(VALUES) for _ in range(4 * workers)])
        began = time.perf_counter()
        ray.get([task.remote(VALUES) for _ in range(count)])
        return count / (time.perf_counter() - began)
    finally:
        ray.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 8, 32])
    parser.add_argument("--reports", type=int, default=50, help="of each job")
    parser.add_argument("--jobs", type=int, default=4, help="of each worker")
    args = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    print(f"{'workers':>7} {'reports/s':>9} {'plain tasks/s':>13} {'ratio':>6} {'first report':>12}")
    for workers in args.workers:
        jobs = args.jobs * workers
        source = Source(jobs, args.reports, workers)
        began = time.perf_counter()
        RayExecutor(workers).run(report_only, source)
        assert source.ended == jobs
        rate = (len(source.times) - 1) / (source.times[-1] - source.times[0])
        plain = plain_tasks(workers, 50 * jobs)
        started = source.times[0] - began
        print(f"{workers:7} {rate:9.1f} {plain:13.1f} {rate / plain:6.3f} {started:10.1f} s", flush=True)


if __name__ == "__main__":
    main()
