"""The interface of recorders, their input, and the rules that all of them keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from sweeper.analysis.fronts import Front
from sweeper.rules import RULES
from sweeper.tracking.live import LiveState
from sweeper.trial import TrialRecord

_CLOSING = ("FINISHED", "KILLED", "FAILED")
_LONGEST_TEXT = 5000  # every MLflow store keeps this much in a tag; some cut longer values silently


@dataclass(frozen=True)
class SweepFacts:
    """Facts about a sweep, without its trials.

    Attributes:
        name: The sweep's name, and exactly the name of its experiment in MLflow.
        spec_text: The YAML file as written.
        spec_json: The resolved spec as JSON.
        facts: Short texts by name: git revision, versions, data hashes, seeds, home folder.
        identity: Distinguishes this sweep from another of the same name in another home.
        aims: Objectives and reference point, as `sweeper.analysis.trials.aims` writes them.
    """

    name: str
    spec_text: str
    spec_json: str
    facts: Mapping[str, str]
    identity: str = ""
    aims: str = ""


@dataclass(frozen=True)
class StoredSweep:
    """One sweep that MLflow holds.

    Attributes:
        status: Status of its run there.
        points: The stored front's size for each task.
        live: Its last state; None if none is stored or it cannot be read.
        rules: Number of the rules of its measurements.
        identity: Distinguishes it from another sweep of the same name.
    """

    name: str
    status: str
    experiment_id: str
    points: Mapping[str, int]
    live: LiveState | None = None
    rules: int = RULES
    identity: str = ""


class Recorder(Protocol):
    """Mirrors outcomes and fronts. Every method is idempotent."""

    def open(self, sweep: SweepFacts) -> None:
        """Begin or continue a sweep."""

    def record(self, trial: TrialRecord) -> None:
        """Mirror a finished trial; the first finished record of a key stays until a later attempt replaces it.

        Raises:
            ValueError: If the trial is not finished.
        """

    def record_front(self, front: Front) -> Front:
        """Store a front and return it with its version; an unchanged front keeps the stored one."""

    def record_live(self, state: LiveState) -> None:
        """Keep the sweep's state in place of the former one."""

    def close(self, state: str) -> None:
        """End the sweep as FINISHED, KILLED or FAILED; `open` continues it."""

    def live(self) -> LiveState | None:
        """Return the sweep's last state; None if there is none.

        Raises:
            QueryError: If the state is damaged or of a newer format.
        """


# --- rules that all recorders keep ---------------------------------------------------------------


def require_finished(trial: TrialRecord) -> None:
    """Refuse a trial whose outcome may still change."""
    if not trial.state.is_finished:
        raise ValueError(
            f"trial {trial.key} is {trial.state.value}; only finished trials are mirrored. "
            "Record it once its outcome is known."
        )


def checked_closing(state: str) -> str:
    """Return the state in which a sweep ends; refuse an unknown one."""
    if state not in _CLOSING:
        raise ValueError(f"a sweep closes as {', '.join(_CLOSING)}, but got {state!r}. Choose one of them.")
    return state


def member_keys(front: Front) -> list[str]:
    """Return the keys of all trials behind a front's points, replicates included."""
    return [key for keys in front.table["keys"].to_pylist() for key in keys]


def probes_path(key: str) -> str:
    """Return the path, among a sweep's artifacts, of the file of a network's answers under probes."""
    return f"probes/{key}.parquet"


def shortened(text: str, longest: int = _LONGEST_TEXT) -> str:
    """Return the text; if it is too long, its beginning and more of its end, where a traceback names the cause."""
    if len(text) <= longest:
        return text
    note = f"\n[... {len(text)} characters in all, the middle is left out here; the ledger has them ...]\n"
    head = (longest - len(note)) // 3
    return text[:head] + note + text[head + len(note) - longest :]
