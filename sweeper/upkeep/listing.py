"""Lists the sweeps of a home, and those that only MLflow has, with their states and sizes."""

from __future__ import annotations

from dataclasses import dataclass

from sweeper.errors import SweepError
from sweeper.ledger.home import Home
from sweeper.ledger.standing import Standing, standing_of
from sweeper.tracking.live import STALE_AFTER_S
from sweeper.tracking.recorder import StoredSweep


@dataclass(frozen=True)
class Listed:
    """A sweep in a list.

    Attributes:
        name: Name of the sweep.
        state: running, finished, interrupted or idle; damaged or unfinished if it cannot be read; silent if only MLflow
            has it and its driver has not written for a while.
        done: Trials that have ended in any way; None if unknown.
        planned: Number of trials that the sweep will have; None if unknown.
        failed: Trials that have ended neither complete nor stopped early; None if unknown.
        last_ms: Time of the last activity, Unix milliseconds; None if there was none.
        size: Bytes of its files on this machine; None if only MLflow has it.
        rules: Number of the rules of its measurements.
        place: Where it was found: `home` or `mlflow`.
        problem: Why it cannot be read; empty if it can.
    """

    name: str
    state: str
    done: int | None = None
    planned: int | None = None
    failed: int | None = None
    last_ms: int | None = None
    size: int | None = None
    rules: int | None = None
    place: str = "home"
    problem: str = ""


def sweeps_here(home: Home) -> tuple[list[Listed], set[str]]:
    """Return the sweeps of a home, sorted by name, and their identities.

    Raises:
        HomeError: If the home cannot be read; a single unreadable sweep is listed with its problem.
    """
    found, identities = [], set()
    for name in home.sweeps():
        size = home.sweep(name).used_bytes()
        try:
            standing = standing_of(home.known(name))
        except SweepError as error:
            state = "unfinished" if home.sweep(name).upkeep else "damaged"
            found.append(Listed(name, state, size=size, problem=str(error)))
        else:
            identities.add(standing.identity)
            found.append(_here(standing, size))
    return found, identities


def _here(standing: Standing, size: int) -> Listed:
    counts = standing.counts
    done = sum(counts.outcomes.values())
    return Listed(
        standing.name, standing.state, done, counts.planned, counts.failed, standing.last_ms, size, standing.rules
    )


def sweeps_in_mlflow(tracking_uri: str, identities: set[str], now_ms: int) -> list[Listed]:
    """Return the sweeps that MLflow holds and the home does not, sorted by name.

    Args:
        tracking_uri: Address of MLflow.
        identities: Identities of the home's sweeps.
        now_ms: The current time, Unix milliseconds.

    Raises:
        TrackingError: If MLflow cannot be reached.
    """
    from sweeper.tracking.mlflow.reader import read_sweeps  # imported late, because a home's own sweeps do not need it

    return [_stored(one, now_ms) for one in read_sweeps(tracking_uri) if one.identity not in identities - {""}]


def _stored(stored: StoredSweep, now_ms: int) -> Listed:
    live = stored.live
    if live is None:
        return Listed(stored.name, stored.status.lower(), rules=stored.rules, place="mlflow")
    is_silent = not live.is_ended and now_ms - live.written_ms > STALE_AFTER_S * 1000
    total = live.total
    return Listed(
        stored.name,
        "silent" if is_silent else str(live.stage),
        total.ended,
        total.planned,
        total.failed,
        live.written_ms,
        None,
        stored.rules,
        "mlflow",
    )
