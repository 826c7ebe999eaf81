"""Submits a sweep as a job of a cluster and follows it from elsewhere: Ray knows its job, MLflow its trials."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeper.driver.jobs.package import (
    DEFAULT_HOME,
    Locations,
    code_digest,
    driver_command,
    packed,
    runtime_environment,
    spec_digest,
)
from sweeper.driver.jobs.server import JobServer, SweepJob
from sweeper.errors import ClusterError, QueryError, SweepBusyError, SweepError, TrackingError, UnknownSweepError
from sweeper.exit_codes import ExitCode
from sweeper.ledger.home import tracking_uri_in
from sweeper.spec import LoadedSpec
from sweeper.tracking.live import LiveState, Stage, tells_progress
from sweeper.tracking.trackers import reader_of

#: Exit code of a job with failed trials before version 0.2.
_FORMERLY_FAILED = 1

#: Longest time from a job's start until its driver writes to MLflow, in seconds; after that, MLflow is taken to be
#: unreadable from here.
_BEGINS_WITHIN_S = 120.0


@dataclass(frozen=True)
class Submitted:
    """Result of a submission.

    Attributes:
        job: The sweep's newest job.
        is_new: Whether this submission made the job.
        is_complete: Whether there was nothing to submit, because every trial has an outcome.
    """

    job: SweepJob
    is_new: bool = False
    is_complete: bool = False


def submit(
    server: JobServer,
    loaded: LoadedSpec,
    named: Mapping[str, Any],
    runtime_env: Path | None = None,
    *,
    again: Sequence[str] = (),
    takes_new_code: bool = False,
    look_at_tracking: Callable[[str], None] = lambda _: None,
) -> Submitted:
    """Submit a sweep unless it runs or is complete; an interrupted sweep continues.

    Args:
        server: Job server of the cluster.
        loaded: The spec.
        named: Locations by the names of `Locations`. A location that is None or missing is that of the last
            submission, or the default.
        runtime_env: YAML file of Ray's runtime environment for driver and workers.
        again: Outcomes after which trials are tried again first.
        takes_new_code: Whether to continue under code of the user's that has changed.
        look_at_tracking: Called with MLflow's address before a job is submitted that mirrors to it; may raise.

    Raises:
        SweepBusyError: If the sweep runs with another spec or other code.
        ClusterError: If the sweep cannot be submitted, or is kept elsewhere.
    """
    Locations(**_given(named))  # refuses invalid locations and secrets even if the sweep needs no new job
    name, digest = loaded.spec.name, {"sweeper.spec": spec_digest(loaded), "sweeper.code": code_digest(loaded)}
    environment = runtime_environment(runtime_env)
    jobs = server.jobs(name)
    former = jobs[-1] if jobs else None
    if former and not former.is_over:
        return Submitted(_agreed(former, digest))
    places = _places(server, name, jobs, named)
    is_same = former and former.facts.get("sweeper.spec") == digest["sweeper.spec"]
    if former and is_same and not again and _is_complete(former, places.tracking_uri):
        return Submitted(former, is_complete=True)
    if places.tracking_uri:
        look_at_tracking(places.tracking_uri)
    with packed(loaded) as folder:
        noted = {name: value for name, value in digest.items() if value}
        facts = {**places.facts, **noted, "sweeper.submission": f"{time.time_ns()}"}
        wanted = SweepJob(loaded.spec.name, former.number + 1 if former else 1, "PENDING", facts)
        command = driver_command(loaded, places, again, takes_new_code=takes_new_code)
        job = server.submit(wanted, command, folder, environment)
    if job.facts.get("sweeper.submission") != facts["sweeper.submission"]:
        return Submitted(_agreed(job, digest))
    return Submitted(job, is_new=True)


def _given(named: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in named.items() if value is not None}


def _agreed(job: SweepJob, digest: Mapping[str, str]) -> SweepJob:
    others = [name for name, value in digest.items() if job.facts.get(name, "") != value]
    if others:
        other = "another spec" if "sweeper.spec" in others else "other code"
        raise SweepBusyError(
            f"sweep {job.sweep!r} runs already, as job {job.id}, with {other}. End it first with `sweeper stop "
            f"{job.sweep}`, or start a new sweep with --name."
        )
    return job


def _places(server: JobServer, sweep: str, jobs: Sequence[SweepJob], named: Mapping[str, Any]) -> Locations:
    """Return the locations of a sweep; other ones than before are refused, because there the sweep would start anew."""
    given = _given(named)
    if not jobs:
        return Locations(**{**_mirrored_places(sweep, given.get("tracking_uri")), **given})
    planned = next((job for job in reversed(jobs) if not _was_refused(server, job)), None)
    former = planned or jobs[-1]
    noted = {name: former.facts.get(f"sweeper.{name}") for name in ("home", "tracking_uri", "storage", "ledger")}
    kept = {name: value for name, value in noted.items() if value}
    places = Locations(**{**kept, **given})
    if not planned:
        return places
    # A sweep whose ledger is in a database is found from any home.
    fixed = {"ledger": places.ledger} if places.ledger else {"ledger": None, "home": places.home}
    for name, value in fixed.items():
        if value != noted[name]:
            raise ClusterError(
                f"sweep {former.sweep!r} was submitted {_with(name, noted[name])}, and now {_with(name, value)}: there "
                f"it would begin anew. Leave --{name} out, or start a new sweep with --name."
            )
    return places


def _was_refused(server: JobServer, job: SweepJob) -> bool:
    """Return whether a driver ended before it planned anything. It also ends with this code later, by a full disk."""
    if job.exit_code != ExitCode.MISTAKE:
        return False
    try:
        return not tells_progress(server.log(job))
    except ClusterError:  # the node that kept the log is gone; most drivers that end with this code planned nothing
        return True


def _mirrored_places(sweep: str, tracking_uri: str | None) -> dict[str, str]:
    """Return the locations of a sweep that MLflow knows, because a restarted head has forgotten its jobs."""
    if tracking_uri is None:
        return {}
    try:
        facts = reader_of(tracking_uri, sweep).facts()
    except SweepError:  # no such sweep is mirrored yet; or the driver will report the problem
        return {}
    return {name: facts[name] for name in ("home", "storage") if facts.get(name)}


def _with(option: str, value: str | None) -> str:
    return f"with --{option} {value}" if value else f"without --{option}"


def _is_complete(job: SweepJob, tracking_uri: str | None) -> bool:
    """Return whether every trial has an outcome, by the driver's exit code or by MLflow."""
    if job.status == "SUCCEEDED":
        return True
    live = live_state(job, tracking_uri)
    return job.code in (ExitCode.SOME_FAILED, _FORMERLY_FAILED) and live is not None and live.stage is Stage.FINISHED


def tracking_uri_of(job: SweepJob, named: str | None = None) -> str:
    """Return the tracking URI of a sweep: the one named or submitted, or the database in its home on the head."""
    home = Path(job.facts.get("sweeper.home", DEFAULT_HOME)).expanduser()
    return named or job.facts.get("sweeper.tracking_uri") or tracking_uri_in(home)


def live_state(job: SweepJob, tracking_uri: str | None = None) -> LiveState | None:
    """Return the live state of a sweep; None if it cannot be read here."""
    try:
        return _seen(reader_of(tracking_uri_of(job, tracking_uri), job.sweep).live(), job)
    except SweepError:
        return None


def _seen(state: LiveState, job: SweepJob) -> LiveState:
    """Return a live state corrected by the job: MLflow knows neither of a killed driver nor of one that just starts."""
    if job.is_over and not state.is_ended:
        return replace(state, stage=Stage.INTERRUPTED)
    is_former = not job.is_over and state.is_ended and state.written_ms < (job.started_ms or state.written_ms + 1)
    return replace(state, stage=Stage.RUNNING) if is_former else state


class JobReader:
    """Reads the live state of a sweep repeatedly.

    Args:
        server: Job server of the cluster.
        job: The sweep's newest job.
        tracking_uri: Address of MLflow; None for the one that the job mirrors to.
    """

    def __init__(self, server: JobServer, job: SweepJob, tracking_uri: str | None) -> None:
        self._server, self._job = server, job
        self._uri = tracking_uri_of(job, tracking_uri)

    def __call__(self) -> LiveState:
        """Return the live state now.

        Raises:
            TrackingError: If MLflow cannot be read from here.
            UnknownSweepError: If MLflow does not know the sweep.
            QueryError: If MLflow holds no live state of the sweep.
        """
        with suppress(ClusterError, UnknownSweepError):  # the head may be restarting; MLflow answers all the same
            self._job = self._server.newest(self._job.sweep)
        return _seen(reader_of(self._uri, self._job.sweep).live(), self._job)

    def is_too_early(self) -> bool:
        """Whether MLflow does not know the submitted sweep yet, because its driver takes a while to begin."""
        try:
            self()
        except (TrackingError, UnknownSweepError, QueryError) as error:
            if isinstance(error, TrackingError) and not self._uri.startswith("sqlite"):
                return False
            started_s = (self._job.started_ms or time.time() * 1000) / 1000
            return not self._job.is_over and time.time() - started_s < _BEGINS_WITHIN_S
        return False
