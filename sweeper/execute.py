"""Runs jobs, in this process or with Ray Tune. Knows nothing of what a job means.

An executor asks a source for jobs until there is none, has each worked on, and tells the source what comes back.
Ray's own state is placement only: nothing is ever restored from it.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sweeper.errors import ClusterError
from sweeper.jobs import JobSource, StoppedError, Work
from sweeper.vocabulary import Job, Progress


class InlineExecutor:
    """Runs one job after the other in this process: for tests, and for a debugger."""

    def run(self, work: Work, source: JobSource) -> None:
        """Run every job of the source here."""
        while not source.should_stop() and (job := source.next_job()) is not None:

            def report(progress: Progress, job: Job = job) -> None:
                source.on_progress(job, progress)
                if source.should_stop():
                    raise StoppedError

            try:
                ended = work(job, report)
            except StoppedError:
                return
            source.on_ended(job, ended)


class RayExecutor:
    """Runs jobs side by side on the workers of a Ray cluster, placed by Ray Tune; one job is one Tune trial.

    Args:
        workers: Jobs at a time; each takes one CPU. None takes all CPUs of the cluster.
        address: A running cluster, `host:port` or `auto`; None starts one on this machine, for this run only.

    Raises:
        ClusterError: When running, if the cluster cannot be started, reached, or has no CPU for a worker.
    """

    def __init__(self, workers: int | None = None, address: str | None = None) -> None:
        self._workers, self._address = workers, address

    def run(self, work: Work, source: JobSource) -> None:
        """Run every job of the source on Ray."""
        with _connected(self._workers, self._address) as workers:
            if source.should_stop():
                return
            from sweeper import placement  # only once the environment is set, see _connected

            placement.place(work, source, workers)


@contextmanager
def _connected(workers: int | None, address: str | None) -> Iterator[int]:
    """Start or join a Ray cluster, give the number of jobs to run at a time, and leave it again."""
    if address and "://" in address and not address.startswith("ray://"):
        raise ClusterError(
            f"--address takes the address of a running cluster, HOST:PORT or 'auto', but got {address}. "
            "An address that starts with http:// is for submitting jobs."
        )
    _set_environment(is_local=address is None)
    handlers = _signal_handlers()
    import ray

    try:
        if address is None:
            ray.init(
                address="local",
                num_cpus=workers or os.cpu_count(),
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
                object_store_memory=100 * 2**20,
            )
        else:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = f"the Ray cluster at {address} cannot be reached" if address else "Ray cannot be started here"
        raise ClusterError(
            f"{where}: {str(error).strip().splitlines()[0]}. Check the address, and that "
            "RAY_AUTH_MODE is the same here as on the cluster."
        ) from error
    try:
        for number, handler in handlers.items():
            signal.signal(number, handler)  # ray.init puts its own in place
        cpus = int(ray.cluster_resources().get("CPU", 0))  # type: ignore[no-untyped-call]  # ray has no types here
        if cpus < 1:
            raise ClusterError(f"the Ray cluster at {address} has no CPU for a worker. Start a node with CPUs.")
        yield min(workers or cpus, cpus)
    finally:
        ray.shutdown()


def _signal_handlers() -> dict[signal.Signals, Any]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


def _set_environment(*, is_local: bool) -> None:
    """Set what Ray reads when it is imported; a value that the user has set stands."""
    defaults = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the ledger and MLflow hold the results
        "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the source decides when to stop
        "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's own snapshots are never read
        "TUNE_WARN_THRESHOLD_S": "60",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_AIR_NEW_OUTPUT": "0",  # the new one prints a banner whatever `verbose` says
    }
    if is_local:
        # Without these Ray writes a token into the user's home, and listens on every network interface.
        defaults |= {"RAY_AUTH_MODE": "disabled", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
