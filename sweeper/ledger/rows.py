"""Reads rows of the ledger from Optuna's trials, without importing Optuna."""

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

#: Our states by the names of Optuna's.
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
    """The parts of a stored trial that are read; Optuna's `FrozenTrial` has them."""

    @property
    def number(self) -> int:
        """Number of its row in the study."""

    @property
    def state(self) -> StoredState:
        """Its state."""

    @property
    def values(self) -> Sequence[float] | None:
        """Objective values; None if there are none."""

    @property
    def datetime_start(self) -> datetime | None:
        """Time when the trial began to run."""

    @property
    def datetime_complete(self) -> datetime | None:
        """Time when the trial finished."""

    @property
    def user_attrs(self) -> Mapping[str, Any]:
        """The row's attributes."""


class Source(Protocol):
    """The source that a ledger is read from: one study for each task of the sweep."""

    @property
    def driver(self) -> str | None:
        """Description of the sweep's driver, if the storage knows one; a file never does."""

    @property
    def tasks(self) -> list[str]:
        """Labels of the tasks that have a study, in the order in which the studies were made."""

    def noted(self, task: str) -> Mapping[str, Any]:
        """Return the notes on a task's study."""

    def trials(self, task: str) -> Sequence[StoredTrial]:
        """Return the rows of a task that the ledger wrote, in order."""

    def all_trials(self, task: str) -> Sequence[StoredTrial]:
        """Return every row of a task, including rows that the ledger did not write."""

    def close(self) -> None:
        """Close the storage."""


def state_of(trial: StoredTrial) -> State:
    """Return the state of a row."""
    return STATES[trial.state.name]


#: Types of the values of a measurement.
_NUMBERS = frozenset((int, float, bool))


def require_shape(trial: StoredTrial) -> None:
    """Check that the attributes of a row have the types that the ledger writes; their content is not checked.

    Raises:
        ValueError: If an attribute has another type; names it.
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
    """Check that a finished row's Optuna state and values agree with our attributes, which are written with them."""
    if not state_of(trial).is_finished:
        return
    outcome, measured = outcome_of(trial), trial.user_attrs.get("ended", {}).get("measurement", {})
    if outcome is None or outcome.state is not state_of(trial):
        said = f"its outcome is {outcome}" if outcome else "it has no outcome"
        raise ValueError(f"{said}, but its state is {state_of(trial)}")
    if state_of(trial) is State.COMPLETE and list(trial.values or ()) != [measured.get(name) for name in objectives]:
        raise ValueError("its objective values are others than those measured")


def record_of(sweep: str, task: str, trial: StoredTrial, spec: SweepSpec | None = None) -> TrialRecord:
    """Return the record of a row.

    Args:
        sweep, task: Sweep and task that the row belongs to.
        trial: The row.
        spec: Spec of the sweep. With it, facts that the row holds twice must agree; with None they are not compared.

    Raises:
        SpecError, ValueError, KeyError, TypeError, AttributeError: If the row holds something else than was written.
    """
    require_shape(trial)
    plan, claim = trial.user_attrs["plan"], trial.user_attrs.get("claim", {})
    # An outcome counts only once the row is finished, because both are written together.
    ended = trial.user_attrs.get("ended", {}) if state_of(trial).is_finished else {}
    setting, rules = plan["setting"], rules_in(plan)
    keys = keys_of(setting, rules)
    if spec is not None:
        _require_agreement(trial, [one.name for one in spec.objectives])
        if keys.key != plan["key"]:
            raise ValueError(f"its key {plan['key']} is not that of its setting")
    if rules == RULES:
        setting_of(setting)  # refuses a damaged setting; settings of other rules are not checked
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
    """A row as it stands, with every part that could contradict another.

    Attributes:
        values: Objective values as Optuna keeps them; None if there are none.
        plan, claim, ended: The attributes; empty if missing.
        record: The trial record of the row; None if it cannot be read.
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
        """The trial's key, or the number and task of the row if it has none."""
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
    """Return what a row keeps of an outcome; measured values that are not finite are left out."""
    return {
        "outcome": str(ended.outcome),
        "reason": ended.reason,
        "measurement": finite(ended.measurement),
        "details": {name: list(values) for name, values in ended.details.items()},
        "curve": [dict(point) for point in ended.curve],
    }


def told_of_plan(key: str, axes: Mapping[str, Any]) -> dict[str, str]:
    """Return a planned trial's attributes for Optuna's own tools; sweeper never reads them.

    They include parameters that are words, because only numbers are Optuna parameters here (see `distributions_of`).
    """
    words = {name: value for name, value in axes.items() if isinstance(value, str) and name not in _OURS}
    return words | {"key": key}


def told_of_end(ended: Ended) -> dict[str, str]:
    """Return an ended trial's attributes for Optuna's own tools; sweeper never reads them."""
    return {"outcome": str(ended.outcome)} | ({"reason": ended.reason} if ended.reason else {})


#: Names of our own attributes; a parameter with one of these names is not written as an attribute.
_OURS = frozenset(("plan", "claim", "ended", "rungs", "key", "outcome", "reason"))


def finite(measurement: Mapping[str, float]) -> dict[str, float]:
    """Return the values that are finite, because a row holds no others."""
    return {name: value for name, value in measurement.items() if math.isfinite(value)}


def row_key(trial: StoredTrial) -> str:
    """Return the trial key of a row."""
    return str(trial.user_attrs["plan"]["key"])


def outcome_of(trial: StoredTrial) -> Outcome | None:
    """Return the outcome of a row; None if it has not ended or has no outcome."""
    ended = trial.user_attrs.get("ended", {}) if state_of(trial).is_finished else {}
    return Outcome(ended["outcome"]) if ended else None


def is_waiting(trial: StoredTrial) -> bool:
    """Return whether a row waits: no driver runs it."""
    return state_of(trial) is State.WAITING


def population_of(key: str, task: str, trials: Sequence[StoredTrial]) -> Population:
    """Rebuild a population from its rows."""
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
    """Turn a complete outcome with a missing or non-finite objective into a failure of its own kind."""
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
