"""A sweep that is a job of a cluster, as it is seen from elsewhere: Ray knows its job, MLflow its trials."""

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
from sweeper.ledger.home import Home
from sweeper.spec import LoadedSpec
from sweeper.tracking.live import LiveState, Stage
from sweeper.tracking.trackers import reader_of

#: What a job ended with some of whose trials had failed, before version 0.2.
_FORMERLY_FAILED = 1

#: A driver that has said nothing to MLflow so long after its job has started says it where it cannot be seen from here.
_BEGINS_WITHIN_S = 120.0


@dataclass(frozen=True)
class Submitted:
    """What became of a submission.

    Attributes:
        job: The sweep's newest job.
        is_new: Whether this submission has made it.
        is_complete: Whether there was nothing to submit, since every trial has an outcome.
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
    """Submit a sweep, unless it runs or is complete: one that was interrupted goes on.

    Args:
        server: Of the cluster.
        loaded: The spec.
        named: Where it is kept, by the names of `Locations`. What is None or missing is as it was when the sweep was
            last submitted, or as it is by default.
        runtime_env: YAML file of Ray's runtime environment for driver and workers.
        again: How trials ended that are tried again first.
        takes_new_code: Whether to go on under code of the user's that has changed.
        look_at_tracking: Called with where MLflow is, before a job is submitted that mirrors to it; may raise.

    Raises:
        SweepBusyError: If the sweep runs with another spec.
        ClusterError: If it cannot be submitted, or is kept elsewhere.
    """
    Locations(**_given(named))  # what cannot be meant, or holds a secret, is refused whatever the sweep does just now
    name, digest = loaded.spec.name, {"sweeper.spec": spec_digest(loaded), "sweeper.code": code_digest(loaded)}
    environment = runtime_environment(runtime_env)
    jobs = server.jobs(name)
    former = jobs[-1] if jobs else None
    if former and not former.is_over:
        return Submitted(_agreed(former, digest))
    places = _places(name, jobs, named)
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


def _places(sweep: str, jobs: Sequence[SweepJob], named: Mapping[str, Any]) -> Locations:
    """Return where a sweep is kept: where it was, since elsewhere it would begin anew."""
    given = _given(named)
    if not jobs:
        return Locations(**{**_mirrored_places(sweep, given.get("tracking_uri")), **given})
    former = next((job for job in reversed(jobs) if not job.was_refused), jobs[-1])
    noted = {name: former.facts.get(f"sweeper.{name}") for name in ("home", "tracking_uri", "storage", "ledger")}
    kept = {name: value for name, value in noted.items() if value}
    places = Locations(**{**kept, **given})
    if former.was_refused:  # nothing was planned yet
        return places
    # With its ledger in a database a sweep is found again from any home.
    fixed = {"ledger": places.ledger} if places.ledger else {"ledger": None, "home": places.home}
    for name, value in fixed.items():
        if value != noted[name]:
            raise ClusterError(
                f"sweep {former.sweep!r} was submitted {_with(name, noted[name])}, and now {_with(name, value)}: there "
                f"it would begin anew. Leave --{name} out, or start a new sweep with --name."
            )
    return places


def _mirrored_places(sweep: str, tracking_uri: str | None) -> dict[str, str]:
    """Return where a sweep is kept as MLflow knows it: a head that was restarted has forgotten its jobs."""
    if tracking_uri is None:
        return {}
    try:
        facts = reader_of(tracking_uri, sweep).facts()
    except SweepError:  # there is none yet; or the driver will say what is wrong
        return {}
    return {name: facts[name] for name in ("home", "storage") if facts.get(name)}


def _with(option: str, value: str | None) -> str:
    return f"with --{option} {value}" if value else f"without --{option}"


def _is_complete(job: SweepJob, tracking_uri: str | None) -> bool:
    """Whether every trial has an outcome: its driver said so by its exit code, or MLflow says it."""
    if job.status == "SUCCEEDED":
        return True
    live = live_state(job, tracking_uri)
    return job.code in (ExitCode.SOME_FAILED, _FORMERLY_FAILED) and live is not None and live.stage is Stage.FINISHED


def tracking_uri_of(job: SweepJob, named: str | None = None) -> str:
    """Return where a sweep is mirrored: what is named, or was submitted, or the database in its home on the head."""
    home = Path(job.facts.get("sweeper.home", DEFAULT_HOME)).expanduser()
    return named or job.facts.get("sweeper.tracking_uri") or Home(home).tracking_uri


def live_state(job: SweepJob, tracking_uri: str | None = None) -> LiveState | None:
    """Return how a sweep's trials stand; None where that cannot be read here."""
    try:
        return _seen(reader_of(tracking_uri_of(job, tracking_uri), job.sweep).live(), job)
    except SweepError:
        return None


def _seen(state: LiveState, job: SweepJob) -> LiveState:
    """Return a state as it is now: MLflow does not know of a driver that was killed, nor of one that only starts."""
    if job.is_over and not state.is_ended:
        return replace(state, stage=Stage.INTERRUPTED)
    is_former = not job.is_over and state.is_ended and state.written_ms < (job.started_ms or state.written_ms + 1)
    return replace(state, stage=Stage.RUNNING) if is_former else state


class JobReader:
    """Reads how a sweep stands again and again.

    Args:
        server: Of the cluster.
        job: The sweep's newest job.
        tracking_uri: Where MLflow is; None for where the job was told to mirror to.
    """

    def __init__(self, server: JobServer, job: SweepJob, tracking_uri: str | None) -> None:
        self._server, self._job = server, job
        self._uri = tracking_uri_of(job, tracking_uri)

    def __call__(self) -> LiveState:
        """Return it now.

        Raises:
            TrackingError: If MLflow cannot be read from here.
            UnknownSweepError: If MLflow does not know it.
            QueryError: If it does not say how it stands.
        """
        with suppress(ClusterError, UnknownSweepError):  # a head that is restarted: MLflow knows all the same
            self._job = self._server.newest(self._job.sweep)
        return _seen(reader_of(self._uri, self._job.sweep).live(), self._job)

    def is_too_early(self) -> bool:
        """Whether MLflow does not know the sweep yet, though it was submitted: a driver takes a while to begin."""
        try:
            self()
        except (TrackingError, UnknownSweepError, QueryError) as error:
            if isinstance(error, TrackingError) and not self._uri.startswith("sqlite"):
                return False
            started_s = (self._job.started_ms or time.time() * 1000) / 1000
            return not self._job.is_over and time.time() - started_s < _BEGINS_WITHIN_S
        return False
