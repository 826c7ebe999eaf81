"""Sweeps as jobs of a Ray cluster, through Ray's job server. Knows jobs and their names, but not what a sweep is.

A sweep's jobs are numbered: `sweeper-NAME-1`, `sweeper-NAME-2`, … Ray refuses a number that is taken. So if two users
submit the same sweep at once, one wins, and the other one gets the winner's job.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sweeper.credentials import redacted
from sweeper.errors import ClusterError, UnknownSweepError
from sweeper.provenance import extra

if TYPE_CHECKING:  # Ray reads its environment when it is imported, which must not happen yet
    from ray.job_submission import JobDetails, JobSubmissionClient

#: Metadata key that marks a job as a sweep's.
_SWEEP = "sweeper.sweep"

#: Longest orderly end of a driver before Ray kills it, in seconds: it may be writing an outcome, or the mirror.
_STOP_WAIT_S = 60

#: Seconds between two looks at a job, and seconds that a job server may be away before that is an error.
_LOOK_EVERY_S, _PATIENCE_S = 1.0, 60.0


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep.

    Attributes:
        sweep: Name of the sweep.
        number: Number among the sweep's jobs, from 1.
        status: Ray's status: PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED.
        facts: Metadata that was noted at submission, by name.
        started_ms, ended_ms: Unix milliseconds; None if not yet.
        exit_code: Exit code of the driver; None before it ends, or if Ray does not know it.
        message: Ray's explanation of the status.
    """

    sweep: str
    number: int
    status: str
    facts: Mapping[str, str] = field(default_factory=dict)
    started_ms: int | None = None
    ended_ms: int | None = None
    exit_code: int | None = None
    message: str = ""

    @property
    def id(self) -> str:
        """Ray's name of the job."""
        return f"sweeper-{self.sweep}-{self.number}"

    @property
    def is_over(self) -> bool:
        """Whether the job has ended."""
        return self.status in {"STOPPED", "SUCCEEDED", "FAILED"}

    @property
    def code(self) -> int:
        """Exit code for a command that waited for the job: the driver's, or 143 as after SIGTERM, or 1 if unknown."""
        if self.status == "STOPPED":
            return 143
        return self.exit_code if self.exit_code is not None else int(self.status != "SUCCEEDED")


class JobServer:
    """The job server of a Ray cluster.

    Args:
        address: Address of the job server, such as `http://head:8265`.

    Raises:
        ClusterError: If the address is of another kind, nothing answers there, the server refuses access, or Ray's
            client of job servers is not installed.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        _refuse_silence(self.address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if urlsplit(self.address).hostname in {"127.0.0.1", "localhost"}:
            os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # as in `executors.py`, for clusters on this machine
        with self._asking("ask for its jobs"):
            self._client = _client(self.address)
            self._client.list_jobs()

    def jobs(self, sweep: str | None = None) -> list[SweepJob]:
        """Return the jobs of a sweep, or of all sweeps, the newest last."""
        with self._asking("ask for its jobs"):
            found = [job for details in self._client.list_jobs() if (job := _job(details)) is not None]
        return sorted((job for job in found if sweep in {None, job.sweep}), key=lambda job: (job.sweep, job.number))

    def newest(self, sweep: str) -> SweepJob:
        """Return the newest job of a sweep.

        Raises:
            UnknownSweepError: If the sweep has no job.
        """
        if jobs := self.jobs(sweep):
            return jobs[-1]
        names = ", ".join(sorted({job.sweep for job in self.jobs()})) or "none"
        raise UnknownSweepError(
            f"no job of sweep {sweep!r} is known at {self.address} (sweeps there: {names}). Submit it with "
            f"`sweeper submit`; after a restart of the head its former jobs are forgotten, their results are not."
        )

    def submit(self, job: SweepJob, command: str, folder: Path, environment: Mapping[str, Any]) -> SweepJob:
        """Submit a job of a sweep.

        Args:
            job: The job to submit. Its number follows those that were known when the need for a job was decided. Its
                facts become metadata, which Ray shows to everyone who may see its jobs.
            command: Command line that starts the driver.
            folder: Content of the driver's working directory.
            environment: Ray's runtime environment, without the working directory.

        Returns:
            The job, or the sweep's newest job if somebody else was faster.
        """
        variables = {"RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_WAIT_S), **environment.get("env_vars", {})}
        environment = {**environment, "working_dir": str(folder), "env_vars": variables}
        limit = time.monotonic() + _PATIENCE_S
        with self._asking(f"submit sweep {job.sweep!r}"):
            while True:
                try:
                    self._client.submit_job(
                        entrypoint=command,
                        submission_id=job.id,
                        runtime_env=dict(environment),
                        metadata={**job.facts, _SWEEP: job.sweep},
                    )
                    return job
                except RuntimeError as error:
                    if (now := self.jobs(job.sweep)) and now[-1].number >= job.number:
                        return now[-1]
                    if "No available agent" not in str(error) or time.monotonic() > limit:
                        raise
                time.sleep(_LOOK_EVERY_S)  # the head has just started and has no agent yet

    def stop(self, job: SweepJob) -> SweepJob:
        """End a job in order, and return it once it has ended."""
        with self._asking(f"stop sweep {job.sweep!r}"):
            self._client.stop_job(job.id)
        return self.wait(job)

    def wait(self, job: SweepJob) -> SweepJob:
        """Return a job when it is over; tolerate a server that is away for a while."""
        while not (now := self._patiently(lambda: self.job_now(job))).is_over:
            time.sleep(_LOOK_EVERY_S)
        return now

    def job_now(self, job: SweepJob) -> SweepJob:
        """Return a job as it is now.

        Raises:
            UnknownSweepError: If the server does not know the job any more.
        """
        for now in self.jobs(job.sweep):
            if now.number == job.number:
                return now
        raise UnknownSweepError(
            f"the job {job.id} is not known at {self.address} any more: its head was restarted. Submit the sweep again "
            "with `sweeper submit`: it goes on where it was."
        )

    def log(self, job: SweepJob) -> str:
        """Return everything that a job has written so far."""
        with self._asking(f"read the log of {job.id}"):
            return readable(self._client.get_job_logs(job.id))

    def follow(self, job: SweepJob, write: Callable[[str], None]) -> SweepJob:
        """Pass a job's output to `write` until the job is over, and return the job."""
        written, rest = 0, ""

        async def tail(skip: int) -> None:
            nonlocal written, rest
            async for text in self._client.tail_job_logs(job.id):
                new, skip = text[skip:], max(0, skip - len(text))
                written += len(new)
                lines, newline, rest = (rest + new).rpartition("\n")
                write(readable(lines + newline))

        while not self._patiently(lambda: self.job_now(job)).is_over:
            try:
                asyncio.run(tail(written))
            except (OSError, RuntimeError) as error:  # the connection broke, but the job may go on
                logging.getLogger(__name__).debug("the log of %s broke off: %s", job.id, error)
            time.sleep(_LOOK_EVERY_S)
        with self._asking(f"read the log of {job.id}"):
            write(readable(rest + self._client.get_job_logs(job.id)[written:]))
        return self.job_now(job)

    def _patiently(self, ask: Callable[[], SweepJob]) -> SweepJob:
        limit = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return ask()
            except ClusterError:
                if time.monotonic() > limit:
                    raise
            time.sleep(_LOOK_EVERY_S)

    @contextmanager
    def _asking(self, doing: str) -> Iterator[None]:
        """Turn exceptions of Ray's client into one-sentence errors."""
        try:
            yield
        except ImportError as error:
            raise ClusterError(
                f"what talks to job servers is not installed ({error}). Install it: pip install {extra('cluster')!r}"
            ) from error
        except Exception as error:
            if type(error).__name__ == "AuthenticationError":
                raise ClusterError(_not_let_in(self.address, str(error))) from error
            if not isinstance(error, (OSError, RuntimeError, ValueError)) or isinstance(error, ClusterError):
                raise
            raise ClusterError(
                f"could not {doing} at {self.address}: {_reason(error)}. Check the address, and that the head's job "
                "server runs."
            ) from error


def readable(log: str) -> str:
    """Return a log without the internal state that Ray dumps when a node dies."""
    return re.sub(r"(?m)^[ \t]+\[state-dump\].*\n?", "", log)


def _client(address: str) -> JobSubmissionClient:
    from ray.job_submission import JobSubmissionClient

    for name in ("dashboard_sdk", "job.sdk"):  # these loggers report each upload
        logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.WARNING)
    logging.getLogger("ray._private.runtime_env.packaging").setLevel(logging.WARNING)
    return JobSubmissionClient(address)


def _refuse_silence(address: str) -> None:
    """Refuse an invalid address, or one where nothing listens, because Ray's client would wait silently."""
    try:
        parts = urlsplit(address)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port or parts.username:
        raise ClusterError(
            f"--address takes the address of a cluster's job server, http://HEAD:8265, but got {redacted(address)}. "
            "(HOST:PORT without http:// is what `sweeper run --address` takes, to drive a sweep from here.)"
        )
    try:
        socket.create_connection((parts.hostname, port), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"no job server can be reached at {address}: {error}. Check the address; a Ray head has one with the "
            "packages of `ray[default]`, on port 8265."
        ) from error


def _not_let_in(address: str, said: str) -> str:
    mode = os.environ.get("RAY_AUTH_MODE", "not set")
    if mode == "token" and "Invalid" in said:
        return (
            f"the cluster at {address} refuses the token that is known here. Take the one of its head: "
            "RAY_AUTH_TOKEN_PATH names its file."
        )
    return (
        f"the cluster at {address} asks for a token, and RAY_AUTH_MODE is {mode} here. Set RAY_AUTH_MODE=token, and "
        "RAY_AUTH_TOKEN_PATH to a file with the token of its head."
    )


def _reason(error: Exception) -> str:
    """Return the last line of an error's message that is not indented, so that a stack is left out."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line[:1].strip()]
    reason = (lines[-1] if lines else type(error).__name__).rstrip(". ")
    return reason if len(reason) <= 300 else f"{reason[:300]}…"


def _job(details: JobDetails) -> SweepJob | None:
    """Return the sweep job of one of Ray's jobs; None if the job is no sweep's."""
    facts = details.metadata or {}
    found = re.fullmatch(r"sweeper-(.+)-(\d+)", details.submission_id or "")
    if not found or facts.get(_SWEEP) != found[1]:
        return None
    return SweepJob(
        sweep=found[1],
        number=int(found[2]),
        status=str(details.status.value),
        facts=facts,
        started_ms=details.start_time or None,
        ended_ms=details.end_time or None,
        exit_code=details.driver_exit_code,
        message=details.message or "",
    )
