"""Runs jobs, in this process or with Ray Tune. Knows nothing of what a job means.

An executor asks a source for jobs until there is none, has each worked on, and tells the source what comes back.
Ray's own state is placement only: nothing is ever restored from it.
"""

from __future__ import annotations

import os
import re
import socket

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
        ClusterError: If the address is of another kind; when running, if the cluster cannot be started, reached,
            or has no CPU for a worker.
    """

    def __init__(self, workers: int | None = None, address: str | None = None) -> None:
        if address and "://" in address and not address.startswith("ray://"):
            raise ClusterError(
                f"--address, or RAY_ADDRESS, takes the address of a running cluster, HOST:PORT or 'auto', but got "
                f"{address}. An address that starts with http:// is for submitting jobs."
            )
        if address and address != "auto" and not re.search(r":\d+$", address):
            raise ClusterError(
                f"--address, or RAY_ADDRESS, takes HOST:PORT or 'auto', but got {address!r}. "
                "A Ray head listens on port 6379."
            )
        self._workers, self._address = workers, address

    def run(self, work: Work, source: JobSource) -> None:
        """Run every job of the source on Ray."""
        if self._address:
            _require_listening(self._address)
        _set_environment(is_local=self._address is None)
        from sweeper import placement  # Ray reads its environment when it is imported

        with placement.cluster(self._workers, self._address) as workers:
            if not source.should_stop():
                placement.place(work, source, workers)


def _require_listening(address: str) -> None:
    """Ask whether anything listens at an address: Ray itself would try for many minutes without a word."""
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"the Ray cluster at {address} cannot be reached: {error}. Check the address, and start its head with "
            "`ray start --head`."
        ) from error


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
