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


def record_of(sweep: str, task: str, trial: FrozenTrial) -> TrialRecord:
    """Return what a row says."""
    plan, claim = trial.user_attrs["plan"], trial.user_attrs.get("claim", {})
    # An outcome counts once the row is finished: both are written together.
    ended = trial.user_attrs.get("ended", {}) if trial.state.is_finished() else {}
    setting, rules = plan["setting"], rules_in(plan)
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
