"""Runs jobs, in this process or with Ray Tune. Knows nothing of what a job means.

An executor asks a source for jobs until there is none, has each worked on, and tells the source what comes back.
Ray's own state is placement only: nothing is ever restored from it.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

from sweeper.errors import ClusterError
from sweeper.jobs import JobSource, StoppedError, Work
from sweeper.vocabulary import Job, Progress


class InlineExecutor:
    """Runs one job after the other in this process: for tests, and for a debugger."""

    def run(self, work: Work, source: JobSource) -> None:
        """Run every job of the source here."""
        source.on_workers(1)
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
        address: A running cluster, `HOST:PORT`, or `auto` for the one that was started on this machine; None starts
            one here, for this run only.
        scratch: Folder for what Ray Tune writes beside, emptied before and after; None takes a temporary one.

    Raises:
        ClusterError: If the address is of another kind or nothing answers there; when running, if the cluster
            cannot be joined or has no CPU for a worker.
    """

    def __init__(self, workers: int | None = None, address: str | None = None, scratch: Path | None = None) -> None:
        self._workers, self._scratch = workers, scratch
        self._address = joined(address) if address else None

    def run(self, work: Work, source: JobSource) -> None:
        """Run every job of the source on Ray."""
        if source.should_stop():
            return
        _set_environment(self._address)
        from sweeper import placement  # Ray reads its environment when it is imported

        with placement.cluster(self._workers, self._address) as workers:
            if not source.should_stop():
                source.on_workers(workers)
                placement.place(work, source, workers, self._scratch)


def joined(address: str) -> str:
    """Return the place of a cluster where something listens: Ray itself would try for many minutes without a word.

    Raises:
        ClusterError: If the address is of another kind, or nothing answers there.
    """
    place = _address_on_this_machine() if address == "auto" else address
    if not re.fullmatch(r"[^/]+:\d{1,5}", place):
        raise ClusterError(
            f"--address, or RAY_ADDRESS, takes the address of a running cluster, HOST:PORT or 'auto', but got "
            f"{address!r}. A Ray head listens on port 6379; an address that starts with http:// is for submitting jobs."
        )
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"the Ray cluster at {place} cannot be reached: {error}. Check the address, and start its head with "
            "`ray start --head`."
        ) from error
    return place


def _address_on_this_machine() -> str:
    """Return the address that `ray start` left for `auto`."""
    note = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")
    try:
        return note.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ClusterError(
            "--address auto found no Ray cluster on this machine. Start one with `ray start --head`, or give HOST:PORT."
        ) from error


def _set_environment(address: str | None) -> None:
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
    if address is None or address.startswith(("127.", "localhost:")):
        # Without these Ray writes a token into the user's home, listens on every network interface, and looks for a
        # head on the loopback at this machine's outer address.
        defaults |= {"RAY_AUTH_MODE": "disabled", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
