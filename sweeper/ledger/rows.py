"""Rows of the ledger: what one Optuna trial holds, written from settings and outcomes and read back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial as FrozenTrial  # under their own names again: the ledger takes them from here
from optuna.trial import TrialState

from sweeper.errors import SpecError
from sweeper.ledger.optuna_tables import NewRow as NewRow
from sweeper.ledger.populations import Population
from sweeper.measurements import Objective
from sweeper.rules import FACT, RULES, rules_in
from sweeper.search.distributions import distribution_of
from sweeper.spec import Setting, SweepSpec, keys_of
from sweeper.trial import Ended, Outcome, State, TrialRecord

_STATES = {
    TrialState.WAITING: State.WAITING,
    TrialState.RUNNING: State.RUNNING,
    TrialState.COMPLETE: State.COMPLETE,
    TrialState.PRUNED: State.PRUNED,
    TrialState.FAIL: State.FAILED,
}


def new_rows(
    spec: SweepSpec, populations: Iterable[Population], notes: Mapping[str, object] | None = None
) -> Iterator[tuple[str, list[NewRow]]]:
    """Yield the task and the rows of each population; a search gives what the sampler noted, by setting key."""
    known = distributions_of(spec)  # once: it goes through every value of the grid
    for population in populations:
        rows = []
        for key, setting in zip(population.keys, population.settings, strict=True):
            flat = setting.flat()
            axes = spec.axes_in(flat)
            ranges = {name: its for name, its in known.items() if name in axes or name == "seed"}
            plan: dict[str, Any] = {
                "key": key,
                FACT: RULES,
                "setting": flat,
                "axes": axes,
                "population": population.key,
            }
            if notes and (note := notes[setting.setting_key]):
                plan["note"] = note
            varied = {**axes, "seed": setting.seed}
            rows.append(NewRow({"plan": plan}, {name: varied[name] for name in ranges}, ranges))
        yield population.task, rows


#: What numbers of a measurement are read back as.
_NUMBERS = frozenset((int, float, bool))


def require_shape(trial: FrozenTrial) -> None:
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


def _require_agreement(trial: FrozenTrial, objectives: Sequence[str]) -> None:
    """Check that a finished row says the same in Optuna's words and in ours: both were written together."""
    if not trial.state.is_finished():
        return
    outcome, measured = outcome_of(trial), trial.user_attrs.get("ended", {}).get("measurement", {})
    if outcome is None or outcome.state is not _STATES[trial.state]:
        said = f"its outcome is {outcome}" if outcome else "it has no outcome"
        raise ValueError(f"{said}, but its state is {_STATES[trial.state]}")
    if trial.state is TrialState.COMPLETE and trial.values != [measured.get(name) for name in objectives]:
        raise ValueError("its objective values are others than those measured")


def record_of(sweep: str, task: str, trial: FrozenTrial, objectives: Sequence[str] | None = None) -> TrialRecord:
    """Return what a row says.

    Args:
        sweep, task: Where it stands.
        trial: The row.
        objectives: Names of the sweep's objectives: what the row says twice must then be the same. None believes it.

    Raises:
        SpecError, ValueError, KeyError, TypeError, AttributeError: If it says something else than was written.
    """
    require_shape(trial)
    plan, claim = trial.user_attrs["plan"], trial.user_attrs.get("claim", {})
    # An outcome counts once the row is finished: both are written together.
    ended = trial.user_attrs.get("ended", {}) if trial.state.is_finished() else {}
    setting, rules = plan["setting"], rules_in(plan)
    keys = keys_of(setting, rules)
    if objectives is not None:
        _require_agreement(trial, objectives)
        if keys.key != plan["key"]:
            raise ValueError(f"its key {plan['key']} is not that of its setting")
    if rules == RULES:
        Setting.from_flat(setting)  # refuses what is damaged; what is of other rules is taken at its word
    return TrialRecord(
        key=plan["key"],
        sweep=sweep,
        task=task,
        number=trial.number,
        state=_STATES[trial.state],
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


def row_of(sweep: str, task: str, trial: FrozenTrial) -> Row:
    """Return a row as it stands."""
    attributes = [trial.user_attrs.get(name) for name in ("plan", "claim", "ended")]
    plan, claim, ended = (found if isinstance(found, dict) else {} for found in attributes)
    try:
        record = record_of(sweep, task, trial)
    except (SpecError, KeyError, TypeError, ValueError, AttributeError):
        record = None
    values = None if trial.values is None else tuple(trial.values)
    return Row(task, trial.number, _STATES[trial.state], values, plan, claim, ended, record)


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


def row_key(trial: FrozenTrial) -> str:
    """Return the trial key of a row."""
    return str(trial.user_attrs["plan"]["key"])


def outcome_of(trial: FrozenTrial) -> Outcome | None:
    """Return how a row ended; None where it has not, or does not say."""
    ended = trial.user_attrs.get("ended", {}) if trial.state.is_finished() else {}
    return Outcome(ended["outcome"]) if ended else None


def is_waiting(trial: FrozenTrial) -> bool:
    """Return whether nobody has claimed a row yet."""
    return trial.state == TrialState.WAITING


def population_of(key: str, task: str, trials: Sequence[FrozenTrial]) -> Population:
    """Form a population again from its rows."""
    keys = tuple(trial.user_attrs["plan"]["key"] for trial in trials)
    return Population(
        key=key,
        task=task,
        keys=keys,
        settings=tuple(Setting.from_flat(trial.user_attrs["plan"]["setting"]) for trial in trials),
        numbers=tuple(trial.number for trial in trials),
        open={k for k, trial in zip(keys, trials, strict=True) if not trial.state.is_finished()},
        interrupted={
            k for k, t in zip(keys, trials, strict=True) if not t.state.is_finished() and "claim" in t.user_attrs
        },
        stopped={k for k, trial in zip(keys, trials, strict=True) if trial.state == TrialState.PRUNED},
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


def distributions_of(spec: SweepSpec) -> dict[str, BaseDistribution]:
    """Describe what is varied to Optuna, so that its own tools show it.

    Numbers are ranges and not choices: Optuna lets a range grow later, a list of choices it does not. Words are left to
    the row's attribute for that reason.
    """
    found: dict[str, BaseDistribution] = {}
    for name, values in {**spec.axes, "seed": (spec.seeds[0], spec.seeds[-1])}.items():
        numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
        if len(numbers) < len(values):
            continue
        if all(isinstance(number, int) for number in numbers):
            found[name] = IntDistribution(int(min(numbers)), int(max(numbers)))
        else:
            found[name] = FloatDistribution(float(min(numbers)), float(max(numbers)))
    return found | {name: distribution_of(given) for name, given in spec.searched.items() if given.values is None}


def _unix_ms(when: datetime | None) -> int | None:
    return None if when is None else round(when.timestamp() * 1000)
