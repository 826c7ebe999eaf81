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
from sweeper.spec import SweepSpec, keys_of, setting_of
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


#: What numbers of a measurement are read back as.
_NUMBERS = frozenset((int, float, bool))


def require_shape(trial: StoredTrial) -> None:
    """Check that the attributes of a row are of the kinds that were written; what they say is another matter.

    Raises:
        ValueError: With what is not.
    """
    plan, claim, ended = (trial.user_attrs.get(name, {}) for name in ("plan", "claim", "ended"))
    for name, value in {"plan": plan, "claim": claim, "ended": ended}.items():
        if not isinstance(value, dict):
            raise ValueError(f"its {name} is no mapping")
    kinds = {"key": str, "population": str, "setting": dict, "axes": dict}
    if wrong := [name for name, kind in kinds.items() if not isinstance(plan.get(name), kind)]:
        raise ValueError(f"its plan has no usable {' and no '.join(wrong)}")
    if not isinstance(claim.get("attempt", 0), int):
        raise ValueError("its claim has no usable attempt")
    curve = ended.get("curve", [])
    if not _is_measured(ended.get("measurement", {})):
        raise ValueError("its measurement holds something else than numbers")
    if not isinstance(curve, list) or not all(_is_measured(point) and "epoch" in point for point in curve):
        raise ValueError("its curve holds something else than numbers by epoch")
    if not isinstance(ended.get("details", {}), dict) or not isinstance(ended.get("reason", ""), str):
        raise ValueError("its reason or its details are of another kind")


def _is_measured(found: object) -> bool:
    return isinstance(found, dict) and {type(value) for value in found.values()} <= _NUMBERS


def _require_agreement(trial: StoredTrial, objectives: Sequence[str]) -> None:
    """Check that a finished row says the same in Optuna's words and in ours: both were written together."""
    if not state_of(trial).is_finished:
        return
    outcome, measured = outcome_of(trial), trial.user_attrs.get("ended", {}).get("measurement", {})
    if outcome is None or outcome.state is not state_of(trial):
        said = f"its outcome is {outcome}" if outcome else "it has no outcome"
        raise ValueError(f"{said}, but its state is {state_of(trial)}")
    if state_of(trial) is State.COMPLETE and list(trial.values or ()) != [measured.get(name) for name in objectives]:
        raise ValueError("its objective values are others than those measured")


def record_of(sweep: str, task: str, trial: StoredTrial, spec: SweepSpec | None = None) -> TrialRecord:
    """Return what a row says.

    Args:
        sweep, task: Where it stands.
        trial: The row.
        spec: What the sweep measures: what the row says twice must then be the same. None believes it.

    Raises:
        SpecError, ValueError, KeyError, TypeError, AttributeError: If it says something else than was written.
    """
    require_shape(trial)
    plan, claim = trial.user_attrs["plan"], trial.user_attrs.get("claim", {})
    # An outcome counts once the row is finished: both are written together.
    ended = trial.user_attrs.get("ended", {}) if state_of(trial).is_finished else {}
    setting, rules = plan["setting"], rules_in(plan)
    keys = keys_of(setting, rules)
    if spec is not None:
        _require_agreement(trial, [one.name for one in spec.objectives])
        if keys.key != plan["key"]:
            raise ValueError(f"its key {plan['key']} is not that of its setting")
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
        setting_key=keys.setting_key,
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
        own_units=spec.own_units if spec else None,
        codes=tuple(claim.get("codes", ())),
        added_units=spec.added_units if spec else {},
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


def row_of(sweep: str, task: str, trial: StoredTrial) -> Row:
    """Return a row as it stands."""
    attributes = [trial.user_attrs.get(name) for name in ("plan", "claim", "ended")]
    plan, claim, ended = (found if isinstance(found, dict) else {} for found in attributes)
    try:
        record = record_of(sweep, task, trial)
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


def told_of_plan(key: str, axes: Mapping[str, Any]) -> dict[str, str]:
    """Return what tools of Optuna's are told of a planned trial beside its parameters; nothing here reads it again.

    Parameters that are words are among it: Optuna's own are numbers here (see `distributions_of`).
    """
    words = {name: value for name, value in axes.items() if isinstance(value, str) and name not in _OURS}
    return words | {"key": key}


def told_of_end(ended: Ended) -> dict[str, str]:
    """Return what tools of Optuna's are told of how a trial ended; nothing here reads it again."""
    return {"outcome": str(ended.outcome)} | ({"reason": ended.reason} if ended.reason else {})


#: Attributes that no parameter's name may take.
_OURS = frozenset(("plan", "claim", "ended", "rungs", "key", "outcome", "reason"))


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
