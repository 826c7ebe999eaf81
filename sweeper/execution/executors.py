"""Runs jobs, in this process or with Ray Tune. Does not know what a job means.

An executor asks a source for jobs until there is none, runs each job, and reports the results to the source. Ray's own
state is placement only: nothing is ever restored from it.
"""

from __future__ import annotations

import math
import os
import re
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

from sweeper.errors import ClusterError, ClusterLostError
from sweeper.execution.background import Background
from sweeper.execution.contract import Expected, JobSource, StoppedError, Work
from sweeper.execution.lifeline import died
from sweeper.execution.ray_folder import ray_folder, remove_left
from sweeper.execution.resources import ONE_CPU, Machines, Request, Shared
from sweeper.imports import import_problem, way_out
from sweeper.job import Job, Progress
from sweeper.limits import read_limits

#: Seconds between two checks of a head, and seconds of silence after which it counts as lost: after 60 s Ray itself
#: would end the process.
HEAD_EVERY_S, HEAD_PATIENCE_S = 5.0, 40.0


class InlineExecutor:
    """Runs one job after the other in this process, for tests and debuggers."""

    def starting(self, expected: Expected) -> AbstractContextManager[None]:
        """Start nothing."""
        return nullcontext()

    def joined(self, shared: Shared) -> AbstractContextManager[None]:
        """Join nothing: jobs run here."""
        return nullcontext()

    def run(self, work: Work, source: JobSource, request: Request = ONE_CPU) -> None:
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
            except Exception as error:
                if not (problem := import_problem(error)):
                    raise
                raise ClusterError(
                    f"nothing can be trained here: {problem}. {way_out(problem)}, and resume the sweep: no "
                    "trial has failed of it, what has no outcome waits."
                ) from error
            source.on_ended(job, ended)

    def clear(self) -> None:
        """Remove nothing."""


class RayExecutor:
    """Runs jobs side by side on the workers of a Ray cluster, placed by Ray Tune; one job is one Tune trial.

    Args:
        workers: Largest number of jobs at a time. None takes all the room there is, including nodes that join a
            cluster later.
        address: Address of a running cluster, `HOST:PORT`, or `auto` for the one started on this machine; None starts
            one here, for this run only.
        scratch: Folder for Ray Tune's files, emptied before and after; None takes a temporary one.
        at_worst: Ends the process, given a description of what has died, if a dead Ray prevents an orderly end; None
            leaves that to Ray.

    Raises:
        ClusterError: If the address is of another kind or nothing answers there; when joining or running, if the
            cluster cannot be joined or has no room for a job.
    """

    def __init__(
        self,
        workers: int | None = None,
        address: str | None = None,
        scratch: Path | None = None,
        at_worst: Callable[[str], None] | None = None,
    ) -> None:
        self._workers, self._scratch, self._at_worst = workers, scratch, at_worst
        self._address = joined(address) if address else None
        self._is_joined = False
        self._started: Background[bool] | None = None

    @contextmanager
    def starting(self, expected: Expected) -> Iterator[None]:
        """Start Ray in the background, with workers that import their modules at once; do nothing for a cluster."""
        if self._address is not None:
            yield
            return
        _set_environment(None)
        # Ray reads its environment when it is imported. Imported here because only one thread may import packages.
        from sweeper.execution import ray_cluster, ray_tune

        ray_cluster.refuse_long_sockets()  # before anything is written
        cpus, modules = self._cpus(expected.cpus, expected.jobs), (*expected.modules, *ray_tune.MODULES)
        is_left = threading.Event()
        with Background(lambda: ray_cluster.connected(None, cpus, modules, is_left.is_set, self._end)) as self._started:
            try:
                yield
            finally:
                is_left.set()
                self._started = None

    def _cpus(self, each: float, jobs: float) -> int | None:
        """Return the number of CPUs for a Ray started here: no more than there is work for; None for all.

        Args:
            each: CPUs of a job.
            jobs: Largest number of jobs.
        """
        if self._workers:
            return math.ceil(min(self._workers, jobs) * each)
        return max(1, math.ceil(jobs * each)) if jobs * each < read_limits().workers else None

    @contextmanager
    def joined(self, shared: Shared) -> Iterator[Machines | None]:
        """Join the cluster and check its nodes; yield None if there is no cluster yet, or it was stopped meanwhile."""
        if self._address is None:
            yield None
            return
        _set_environment(self._address)
        from sweeper.execution import ray_cluster  # Ray reads its environment when it is imported

        with ray_cluster.connected(self._address) as is_there:
            self._is_joined = is_there
            try:
                yield ray_cluster.machines(shared) if is_there else None
            finally:
                self._is_joined = False

    def run(self, work: Work, source: JobSource, request: Request = ONE_CPU) -> None:
        """Run every job of the source on Ray."""
        if source.should_stop():
            return
        _set_environment(self._address)
        from sweeper.execution import (  # Ray reads its environment when it is imported
            ray_cluster,
            ray_private,
            ray_tune,
        )

        with ExitStack() as stack:
            if self._address is None:
                stack.enter_context(ray_private.actors_as_they_start())
            if self._started is not None:
                stack.callback(self._started.leave)  # Ray stops while the source finishes its own work
                is_there = self._started.result()
                ray_cluster.take_back_signals()
            elif self._is_joined:
                is_there = True
            else:
                cpus = self._cpus(request.cpus, math.inf)
                is_there = stack.enter_context(ray_cluster.connected(self._address, cpus, at_worst=self._end))
            if not is_there:
                return
            if source.should_stop():
                return
            lost = ray_cluster.lost_here if self._address is None else head_of(self._address)
            if reason := lost():  # checked first, because calls into a dead Ray may not return
                raise ClusterLostError(died(reason))
            here = ray_cluster.seen().at_once(request)
            if self._address is None:
                # Only the nodes: a Ray started here has no autoscaler, and asking for one takes 3 s.
                Machines(ray_cluster.nodes()).refuse_what_never_fits(request)
            # Without a limit one population more than there is room for waits in line, so that a cluster can grow.
            is_all = self._address is not None and self._workers is None
            limit = None if is_all else self._workers or here
            source.on_workers(here if limit is None else min(limit, here))
            ray_tune.run_jobs(work, source, request, limit, self._scratch, lost=lost, at_worst=self._end)

    def _end(self, reason: str) -> None:
        """End Ray's processes, then this process, if `at_worst` was given."""
        if self._at_worst is not None:
            from sweeper.execution import ray_private

            ray_private.end_children(set())
            self._at_worst(reason)

    def clear(self) -> None:
        """Remove the sessions of Rays whose drivers were killed, as a start does, and Tune's files."""
        if self._address is None:
            remove_left(ray_folder(os.environ))
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


def joined(address: str) -> str:
    """Return the address of a cluster after checking that something listens there; Ray would try silently for minutes.

    Raises:
        ClusterError: If the address is of another kind, or nothing answers there.
    """
    head = _address_on_this_machine() if address == "auto" else address
    if not re.fullmatch(r"[^/]+:\d{1,5}", head):
        raise ClusterError(
            f"--address, or RAY_ADDRESS, takes the address of a running cluster, HOST:PORT or 'auto', but got "
            f"{address!r}. A Ray head listens on port 6379; an address that starts with http:// is for submitting jobs."
        )
    host, _, port = head.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"the Ray cluster at {head} cannot be reached: {error}. Check the address, and start its head with "
            "`ray start --head`."
        ) from error
    return head


def head_of(address: str, patience_s: float = HEAD_PATIENCE_S) -> Callable[[], str]:
    """Return a function that says that the head of a cluster was silent for too long; it returns "" while all is well.

    Args:
        address: Address of the head, `HOST:PORT`.
        patience_s: Silence after which the head counts as lost, in seconds.
    """
    host, _, port = address.rpartition(":")
    heard_s = asked_s = time.monotonic()

    def lost() -> str:
        nonlocal heard_s, asked_s
        if time.monotonic() - asked_s >= HEAD_EVERY_S:
            asked_s = time.monotonic()
            try:
                socket.create_connection((host, int(port)), timeout=HEAD_EVERY_S).close()
                heard_s = time.monotonic()
            except OSError:
                pass
        silent_s = time.monotonic() - heard_s
        if silent_s <= patience_s:
            return ""
        return f"the head of the Ray cluster at {address} has not listened for {silent_s:.0f} s"

    return lost


def _address_on_this_machine() -> str:
    """Return the address that `ray start` left for `auto`."""
    note = ray_folder(os.environ) / "ray_current_cluster"
    try:
        return note.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ClusterError(
            "--address auto found no Ray cluster on this machine. Start one with `ray start --head`, or give HOST:PORT."
        ) from error


def _set_environment(address: str | None) -> None:
    """Set the variables that Ray reads when it is imported; values that the user has set stand."""
    defaults = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the ledger and MLflow hold the results
        "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the source decides when to stop
        "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's own snapshots are never read
        "TUNE_WARN_THRESHOLD_S": "60",
        "TUNE_MAX_PENDING_TRIALS_PG": "10000",  # the searcher sets the limit; otherwise workers would start one by one
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_AIR_NEW_OUTPUT": "0",  # the new output prints a banner whatever `verbose` says
    }
    if address is None or address.startswith(("127.", "localhost:")):
        # Without it Ray listens on every network interface, and looks for a head on the loopback under this machine's
        # outer address.
        defaults |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    if address is None:
        defaults |= {"PL_DISABLE_FORK": "1"}  # Tune sets this for its workers; see `ray_private.actors_as_they_start`
        if os.environ.get("RAY_AUTH_MODE", "token") == "token" and "RAY_AUTH_TOKEN_PATH" not in os.environ:
            # Other users of this machine must not run code through Ray's ports. A token that the user has set stands;
            # without any, Ray would write one into the user's home folder.
            defaults |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    elif address.startswith(("127.", "localhost:")):
        defaults |= {"RAY_AUTH_MODE": "disabled"}
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
