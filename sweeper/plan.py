"""The ledger: which settings exist, in which state, with which outcome; and which comes next.

The ledger is an Optuna storage with one study per sweep and task cell, named `<sweep>/<task>`. It is the only truth
about a sweep: Ray's state is placement, MLflow is a mirror. One driver writes it. Every trial carries two attributes:

    plan     key, setting, population: written with the row itself, so that no row is ever without them
    claim    attempt, owner, heard_ms: who works on it
    ended    outcome, reason, measurement, details, curve: written before the row is finished, which is the commit mark
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from sweeper.errors import HomeError, SpecMismatchError, UnknownSweepError
from sweeper.population import Counts, Population, count, form_populations
from sweeper.spec import LoadedSpec, Setting, SweepSpec
from sweeper.vocabulary import Ended, Objective, Outcome, State, TrialRecord

#: How long a reader or writer waits for the SQLite file while another one writes.
SQLITE_TIMEOUT_S = 60

#: A running trial's `heard_ms` is written at most this often.
HEARD_EVERY_MS = 60_000

_STATES = {
    TrialState.WAITING: State.WAITING,
    TrialState.RUNNING: State.RUNNING,
    TrialState.COMPLETE: State.COMPLETE,
    TrialState.FAIL: State.FAILED,
}


class Ledger:
    """The ledger of one sweep.

    Args:
        url: URL of the Optuna storage, such as `sqlite:////path/ledger.db`.
        sweep: Name of the sweep.

    Raises:
        HomeError: If the storage cannot be opened.
    """

    def __init__(self, url: str, sweep: str) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.sweep = sweep
        arguments = {"connect_args": {"timeout": SQLITE_TIMEOUT_S}} if url.startswith("sqlite") else {}
        try:
            self._storage = optuna.storages.RDBStorage(url, engine_kwargs=arguments)
            self._studies = self._load_studies()
        except (SQLAlchemyError, RuntimeError) as error:
            raise HomeError(
                f"the ledger of sweep {sweep!r} cannot be opened: {_first_line(error)} ({_without_password(url)}). "
                "Restore the file from a copy, or choose another --name to start a new sweep."
            ) from error

    def _load_studies(self) -> dict[str, optuna.Study]:
        names = optuna.get_all_study_names(self._storage)
        return {
            name.removeprefix(f"{self.sweep}/"): optuna.load_study(study_name=name, storage=self._storage)
            for name in names
            if name.startswith(f"{self.sweep}/")
        }

    # ---- planning ------------------------------------------------------------------------------------------------

    @property
    def planned_spec(self) -> LoadedSpec | None:
        """The spec this sweep was planned from; None if no plan was begun."""
        for study in self._studies.values():
            known = study.user_attrs
            if "spec" in known:
                spec = SweepSpec.from_json(known["spec"])
                return LoadedSpec(spec, known["spec_text"], Path(known["spec_path"]))
        return None

    @property
    def spec(self) -> SweepSpec:
        """The spec this sweep was planned from.

        Raises:
            UnknownSweepError: If the sweep was never planned.
        """
        planned = self.planned_spec
        if planned is None:
            raise UnknownSweepError(
                f"sweep {self.sweep!r} was never planned to the end. Start it again with `sweeper run`."
            )
        return planned.spec

    @property
    def identity(self) -> str:
        """What tells this sweep from another of the same name in another home."""
        return str(self._studies[self.spec.tasks[0]].user_attrs["identity"])

    def refuse_other(self, loaded: LoadedSpec) -> None:
        """Check that this sweep was planned from the same spec, or not at all.

        Raises:
            SpecMismatchError: With the difference, key by key.
        """
        planned = self.planned_spec
        differences = planned.spec.differences(loaded.spec) if planned else []
        if differences:
            listed = "\n  ".join(differences)
            raise SpecMismatchError(
                f"sweep {self.sweep!r} exists already with another spec (planned -> given):\n  {listed}\n"
                f"Give this one another name with --name, or continue the planned one with "
                f"`sweeper resume {self.sweep}`."
            )

    def plan(self, loaded: LoadedSpec, population_size: int, identity: str) -> None:
        """Write every setting of the spec as a waiting trial, once.

        Idempotent: a plan that a crash cut short is completed, with the population size and identity first planned.
        """
        self.refuse_other(loaded)
        spec = loaded.spec
        directions = [StudyDirection[objective.goal.name] for objective in spec.objectives]
        for task in spec.tasks:
            if task not in self._studies:
                self._studies[task] = optuna.create_study(
                    storage=self._storage,
                    study_name=f"{self.sweep}/{task}",
                    directions=directions,
                    load_if_exists=True,
                )
            study = self._studies[task]
            known = study.user_attrs
            # The spec comes last: a study that has it has everything a resumed plan needs.
            for name, value in (
                ("population_size", population_size),
                ("identity", identity),
                ("spec_text", loaded.text),
                ("spec_path", str(loaded.path)),
                ("spec", spec.to_json()),
            ):
                if name not in known:
                    study.set_user_attr(name, value)
        size = self._studies[spec.tasks[0]].user_attrs["population_size"]
        distributions = _distributions(spec)
        written = {task: _plan_keys(self._trials(task)) for task in self._studies}
        for population in form_populations(spec.settings(), size):
            for key, setting in zip(population.keys, population.settings, strict=True):
                if key not in written[population.task]:
                    self._add(spec, population, key, setting, distributions)

    def _add(
        self,
        spec: SweepSpec,
        population: Population,
        key: str,
        setting: Setting,
        distributions: Mapping[str, BaseDistribution],
    ) -> None:
        axes = spec.axes_of(setting)
        params = {name: value for name, value in {**axes, "seed": setting.seed}.items() if name in distributions}
        plan = {"key": key, "setting": setting.flat(), "axes": axes, "population": population.key}
        self._studies[population.task].add_trial(
            create_trial(
                state=TrialState.WAITING,
                params=params,
                distributions={name: distributions[name] for name in params},
                user_attrs={"plan": plan},
            )
        )

    # ---- what comes next -----------------------------------------------------------------------------------------

    def open_populations(self) -> list[Population]:
        """Return every population with a member that has no outcome, interrupted ones first, then in plan order."""
        found: list[Population] = []
        for task in self._studies:
            rows: dict[str, list[FrozenTrial]] = {}
            for trial in self._trials(task):
                rows.setdefault(trial.user_attrs["plan"]["population"], []).append(trial)
            found.extend(_population(key, task, trials) for key, trials in rows.items())
        found = [population for population in found if population.open]
        return sorted(found, key=lambda population: not population.interrupted)

    def claim(self, population: Population, owner: str, now_ms: int) -> None:
        """Mark the open members of a population as running, by this owner.

        Members that a former driver left running are taken over: their attempt counts up.
        """
        population.heard_ms = now_ms
        for key, number in zip(population.keys, population.numbers, strict=True):
            if key not in population.open:
                continue
            trial = self._trial(population.task, number)
            attempt = trial.user_attrs.get("claim", {}).get("attempt", 0) + 1
            claim = {"attempt": attempt, "owner": owner, "heard_ms": now_ms}
            self._storage.set_trial_user_attr(trial._trial_id, "claim", claim)
            if trial.state == TrialState.WAITING:
                # `Study.ask` would hand out the first waiting row; a population names its rows. Same storage call.
                self._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)

    def hear(self, population: Population, now_ms: int) -> None:
        """Note that a running population was heard of; written at most every `HEARD_EVERY_MS`."""
        if now_ms - population.heard_ms < HEARD_EVERY_MS:
            return
        population.heard_ms = now_ms
        for key, number in zip(population.keys, population.numbers, strict=True):
            if key in population.open:
                trial = self._trial(population.task, number)
                claim = {**trial.user_attrs["claim"], "heard_ms": now_ms}
                self._storage.set_trial_user_attr(trial._trial_id, "claim", claim)

    # ---- outcomes ------------------------------------------------------------------------------------------------

    def tell(self, population: Population, key: str, ended: Ended) -> TrialRecord:
        """Write how one member ended. The first outcome of a trial stands; a later one changes nothing.

        A complete outcome that lacks an objective, or has a value that is not finite, is a failure of its own kind.
        """
        study = self._studies[population.task]
        number = population.numbers[population.keys.index(key)]
        trial = self._trial(population.task, number)
        if not trial.state.is_finished():
            ended = _checked(ended, self.spec.objectives)
            content = {
                "outcome": str(ended.outcome),
                "reason": ended.reason,
                "measurement": {k: v for k, v in ended.measurement.items() if math.isfinite(v)},
                "details": {k: list(v) for k, v in ended.details.items()},
                "curve": [dict(point) for point in ended.curve],
            }
            self._storage.set_trial_user_attr(trial._trial_id, "ended", content)
            if ended.outcome is Outcome.COMPLETE:
                values = [ended.measurement[objective.name] for objective in self.spec.objectives]
                study.tell(number, values, skip_if_finished=True)
            else:
                study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
        population.open.discard(key)
        return self._record(population.task, self._trial(population.task, number))

    # ---- reading -------------------------------------------------------------------------------------------------

    def records(self, task: str | None = None) -> list[TrialRecord]:
        """Return every trial, in plan order; of one task if asked."""
        tasks = self._studies if task is None else [task]
        return [self._record(name, trial) for name in tasks for trial in self._trials(name)]

    def counts(self) -> Counts:
        """Return how many trials stand where."""
        return count(self.records())

    def _trials(self, task: str) -> list[FrozenTrial]:
        trials = self._studies[task].get_trials(deepcopy=False)
        return [trial for trial in trials if "plan" in trial.user_attrs]

    def _trial(self, task: str, number: int) -> FrozenTrial:
        study = self._studies[task]
        return self._storage.get_trial(self._storage.get_trial_id_from_study_id_trial_number(study._study_id, number))

    def _record(self, task: str, trial: FrozenTrial) -> TrialRecord:
        plan, claim = trial.user_attrs["plan"], trial.user_attrs.get("claim", {})
        # An outcome is written before the row is finished: until then it does not count.
        ended = trial.user_attrs.get("ended", {}) if trial.state.is_finished() else {}
        setting = Setting.from_flat(plan["setting"])
        return TrialRecord(
            key=plan["key"],
            sweep=self.sweep,
            task=task,
            number=trial.number,
            state=_STATES[trial.state],
            setting=plan["setting"],
            axes=plan["axes"],
            setting_key=setting.setting_key,
            seed=setting.seed,
            population=plan["population"],
            attempt=claim.get("attempt", 0),
            outcome=Outcome(ended["outcome"]) if ended else None,
            reason=ended.get("reason", ""),
            measurement=ended.get("measurement", {}),
            details=ended.get("details", {}),
            curve=ended.get("curve", ()),
            started_ms=_unix_ms(trial.datetime_start),
            ended_ms=_unix_ms(trial.datetime_complete),
        )


def _plan_keys(trials: Sequence[FrozenTrial]) -> set[str]:
    return {trial.user_attrs["plan"]["key"] for trial in trials}


def _population(key: str, task: str, trials: Sequence[FrozenTrial]) -> Population:
    """Form a population again from its rows."""
    keys = tuple(trial.user_attrs["plan"]["key"] for trial in trials)
    return Population(
        key=key,
        task=task,
        keys=keys,
        settings=tuple(Setting.from_flat(trial.user_attrs["plan"]["setting"]) for trial in trials),
        numbers=tuple(trial.number for trial in trials),
        open={k for k, trial in zip(keys, trials, strict=True) if not trial.state.is_finished()},
        interrupted={k for k, trial in zip(keys, trials, strict=True) if trial.state == TrialState.RUNNING},
    )


def _checked(ended: Ended, objectives: Sequence[Objective]) -> Ended:
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


def _distributions(spec: SweepSpec) -> dict[str, BaseDistribution]:
    """Describe the axes to Optuna, so that its own tools show them.

    Numbers are ranges and not choices: Optuna lets a range grow later, a list of choices it does not.
    """
    distributions: dict[str, BaseDistribution] = {}
    seeds = (spec.seed, spec.seed + spec.replicates - 1)
    for name, values in {**spec.axes, "seed": seeds}.items():
        numbers = [value for value in values if isinstance(value, (int, float))]
        if len(numbers) < len(values):
            distributions[name] = CategoricalDistribution(tuple(str(value) for value in values))
        elif all(isinstance(number, int) for number in numbers):
            distributions[name] = IntDistribution(int(min(numbers)), int(max(numbers)))
        else:
            distributions[name] = FloatDistribution(float(min(numbers)), float(max(numbers)))
    return distributions


def _unix_ms(when: datetime | None) -> int | None:
    return None if when is None else round(when.timestamp() * 1000)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


def _without_password(url: str) -> str:
    return re.sub(r"://[^/@]*@", "://…@", url)
