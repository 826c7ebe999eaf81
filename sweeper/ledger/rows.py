"""Rows of the ledger: what one of Optuna's trials holds, read back. Whoever only reads does without Optuna itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sweeper.errors import SpecError
from sweeper.ledger.populations import Population
from sweeper.measurements import Objective
from sweeper.rules import RULES, rules_in
from sweeper.spec import keys_of, setting_of
from sweeper.trial import Ended, Outcome, State, TrialRecord

#: What we call the states of Optuna's trials, by its own names.
STATES = {
    "WAITING": State.WAITING,
    "RUNNING": State.RUNNING,
    "COMPLETE": State.COMPLETE,
    "PRUNED": State.PRUNED,
    "FAIL": State.FAILED,
}


class StoredState(Protocol):
    """The state of a stored trial, as Optuna has it."""

    @property
    def name(self) -> str:
        """One of `STATES`."""


class StoredTrial(Protocol):
    """What is read of a stored trial: Optuna's own `FrozenTrial` is one."""

    @property
    def number(self) -> int:
        """Its row in the study."""

    @property
    def state(self) -> StoredState:
        """Where it stands."""

    @property
    def values(self) -> Sequence[float] | None:
        """Of the objectives; None for none."""

    @property
    def datetime_start(self) -> datetime | None:
        """When it began to run."""

    @property
    def datetime_complete(self) -> datetime | None:
        """When it was finished."""

    @property
    def user_attrs(self) -> Mapping[str, Any]:
        """The row's attributes."""


class Source(Protocol):
    """What a ledger is read from: one study for each task of the sweep."""

    @property
    def driver(self) -> str | None:
        """Who drives the sweep, in words, as far as the storage knows; a file knows nothing."""

    @property
    def tasks(self) -> list[str]:
        """Labels of the tasks that have a study, in the order in which they were made."""

    def noted(self, task: str) -> Mapping[str, Any]:
        """Return what is noted on a task's study."""

    def trials(self, task: str) -> Sequence[StoredTrial]:
        """Return the rows of a task that the ledger wrote, in order."""

    def all_trials(self, task: str) -> Sequence[StoredTrial]:
        """Return every row of a task, also what the ledger did not write."""

    def close(self) -> None:
        """Let go of the storage."""


def state_of(trial: StoredTrial) -> State:
    """Return where a row stands."""
    return STATES[trial.state.name]


def record_of(sweep: str, task: str, trial: StoredTrial, own_units: Mapping[str, str] | None = None) -> TrialRecord:
    """Return what a row says.

    Args:
        sweep, task: Which row it is of.
        trial: The row.
        own_units: Of a user's own function: units of what it measures.
    """
    plan, claim = trial.user_attrs["plan"], trial.user_attrs.get("claim", {})
    # An outcome counts once the row is finished: both are written together.
    ended = trial.user_attrs.get("ended", {}) if state_of(trial).is_finished else {}
    setting, rules = plan["setting"], rules_in(plan)
    if rules == RULES:
        setting_of(setting)  # refuses what is damaged; what is of other rules is taken at its word
    return TrialRecord(
        key=plan["key"],
        sweep=sweep,
        task=task,
        number=trial.number,
        state=state_of(trial),
        setting=setting,
        axes=plan["axes"],
        setting_key=keys_of(setting, rules).setting_key,
        seed=setting["seed"],
        population=plan["population"],
        attempt=claim.get("attempt", 0),
        outcome=Outcome(ended["outcome"]) if ended else None,
        reason=ended.get("reason", ""),
        measurement=ended.get("measurement", {}),
        details=ended.get("details", {}),
        curve=ended.get("curve", ()),
        started_ms=_unix_ms(trial.datetime_start),
        ended_ms=_unix_ms(trial.datetime_complete),
        note=plan.get("note", {}),
        rungs={int(epoch): measured for epoch, measured in trial.user_attrs.get("rungs", {}).items()},
        retries=claim.get("retries", {}),
        own_units=own_units,
    )


@dataclass(frozen=True)
class Row:
    """A row as it stands, with all that could contradict itself.

    Attributes:
        values: Objective values as Optuna keeps them; None for none.
        plan, claim, ended: The attributes; empty where they are missing.
        record: The trial that the row says it is; None where it cannot be read.
    """

    task: str
    number: int
    state: State
    values: tuple[float, ...] | None
    plan: Mapping[str, Any]
    claim: Mapping[str, Any]
    ended: Mapping[str, Any]
    record: TrialRecord | None

    @property
    def name(self) -> str:
        """The trial's key, or where the row stands if it has none."""
        return str(self.plan.get("key") or f"row {self.number} of {self.task}")


def row_of(sweep: str, task: str, trial: StoredTrial, own_units: Mapping[str, str] | None = None) -> Row:
    """Return a row as it stands."""
    attributes = [trial.user_attrs.get(name) for name in ("plan", "claim", "ended")]
    plan, claim, ended = (found if isinstance(found, dict) else {} for found in attributes)
    try:
        record = record_of(sweep, task, trial, own_units)
    except (SpecError, KeyError, TypeError, ValueError, AttributeError):
        record = None
    values = None if trial.values is None else tuple(trial.values)
    return Row(task, trial.number, state_of(trial), values, plan, claim, ended, record)


def content_of(ended: Ended) -> dict[str, Any]:
    """Return what a row keeps of an outcome; numbers that are not finite are left out."""
    return {
        "outcome": str(ended.outcome),
        "reason": ended.reason,
        "measurement": finite(ended.measurement),
        "details": {name: list(values) for name, values in ended.details.items()},
        "curve": [dict(point) for point in ended.curve],
    }


def finite(measurement: Mapping[str, float]) -> dict[str, float]:
    """Return the values that are finite: a row holds no other ones."""
    return {name: value for name, value in measurement.items() if math.isfinite(value)}


def row_key(trial: StoredTrial) -> str:
    """Return the trial key of a row."""
    return str(trial.user_attrs["plan"]["key"])


def outcome_of(trial: StoredTrial) -> Outcome | None:
    """Return how a row ended; None where it has not, or does not say."""
    ended = trial.user_attrs.get("ended", {}) if state_of(trial).is_finished else {}
    return Outcome(ended["outcome"]) if ended else None


def is_waiting(trial: StoredTrial) -> bool:
    """Return whether nobody has claimed a row yet."""
    return state_of(trial) is State.WAITING


def population_of(key: str, task: str, trials: Sequence[StoredTrial]) -> Population:
    """Form a population again from its rows."""
    keys = tuple(trial.user_attrs["plan"]["key"] for trial in trials)
    return Population(
        key=key,
        task=task,
        keys=keys,
        settings=tuple(setting_of(trial.user_attrs["plan"]["setting"]) for trial in trials),
        numbers=tuple(trial.number for trial in trials),
        open={k for k, trial in zip(keys, trials, strict=True) if not state_of(trial).is_finished},
        interrupted={
            k for k, t in zip(keys, trials, strict=True) if not state_of(t).is_finished and "claim" in t.user_attrs
        },
        stopped={k for k, trial in zip(keys, trials, strict=True) if state_of(trial) is State.PRUNED},
    )


def checked(ended: Ended, objectives: Sequence[Objective]) -> Ended:
    """Turn a complete outcome without usable objectives into a failure of its own kind."""
    if ended.outcome is not Outcome.COMPLETE:
        return ended
    values = {objective.name: ended.measurement.get(objective.name) for objective in objectives}
    for name, value in values.items():
        if value is None:
            known = ", ".join(ended.measurement) or "none"
            reason = f"objective {name!r} was not measured (measured: {known})"
            return Ended(Outcome.MISSING_OBJECTIVE, reason, ended.measurement, ended.details, ended.curve)
        if not math.isfinite(value):
            reason = f"objective {name!r} is {value}"
            return Ended(Outcome.NOT_FINITE, reason, ended.measurement, ended.details, ended.curve)
    return ended


def _unix_ms(when: datetime | None) -> int | None:
    return None if when is None else round(when.timestamp() * 1000)
