"""The ledger: which settings exist, in which state, with which outcome; and which comes next.

The ledger is an Optuna storage with one study per sweep and task cell, named `<sweep>/<task>`. It is the only truth
about a sweep: Ray's state is placement, MLflow is a mirror. One driver writes it. Every trial carries three attributes:

    plan     key, setting, population: written with the row itself, so that no row is ever without them
    claim    attempt, owner, heard_ms: who works on it
    ended    outcome, reason, measurement, details, curve: written before the row is finished, which is the commit mark
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import optuna
from optuna.distributions import (
    BaseDistribution,
)
from optuna.exceptions import StorageInternalError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from sweeper.errors import HomeError, SpecMismatchError, UnknownSweepError
from sweeper.population import Counts, Population, count, form_populations
from sweeper.rows import Row, checked, content_of, distributions_of, keys_of, population_of, record_of, row_of
from sweeper.spec import LoadedSpec, Setting, SweepSpec
from sweeper.vocabulary import Ended, Objective, Outcome, TrialRecord

#: How long a reader or writer waits for the SQLite file while another one writes.
SQLITE_TIMEOUT_S = 60

#: A running trial's `heard_ms` is written at most this often.
HEARD_EVERY_MS = 60_000


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
    def facts(self) -> Mapping[str, str]:
        """What was noted for the whole sweep when it was planned; empty before."""
        planned = self.planned_spec
        return dict(self._studies[planned.spec.tasks[0]].user_attrs["facts"]) if planned else {}

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

    def plan(
        self,
        loaded: LoadedSpec,
        population_size: int,
        facts: Mapping[str, str],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Write every setting of the spec as a waiting trial, once.

        Idempotent: a plan that a crash cut short, or a wish to stop, is completed, with the population size and the
        facts first planned.

        Args:
            loaded: What to plan.
            population_size: Networks trained side by side, at most.
            facts: Short texts by name that hold for the whole sweep: its identity, versions, data hashes.
            should_stop: Asked before each trial is written.

        Raises:
            SpecMismatchError: If the sweep was planned from another spec, or its images are not the same any more.
            HomeError: If the ledger cannot be written.
        """
        self.refuse_other(loaded)
        self._refuse_other_data(facts)
        with _translated(self.sweep):
            self._plan(loaded, population_size, facts, should_stop)

    def _refuse_other_data(self, facts: Mapping[str, str]) -> None:
        planned = self.facts
        for name, digest in facts.items():
            if name.startswith("data.") and planned.get(name, digest) != digest:
                raise SpecMismatchError(
                    f"the images of task {name.removeprefix('data.')!r} have changed since sweep {self.sweep!r} was "
                    f"planned (hash {planned[name]} -> {digest}). Bring the file back, or start a new one with --name."
                )

    def _plan(
        self, loaded: LoadedSpec, population_size: int, facts: Mapping[str, str], should_stop: Callable[[], bool]
    ) -> None:
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
                ("facts", dict(facts)),
                ("spec_text", loaded.text),
                ("spec_path", str(loaded.path)),
                ("spec", spec.to_json()),
            ):
                if name not in known:
                    study.set_user_attr(name, value)
        size = self._studies[spec.tasks[0]].user_attrs["population_size"]
        distributions = distributions_of(spec)
        written = {task: keys_of(self._trials(task)) for task in self._studies}
        for population in form_populations(spec.settings(), size):
            for key, setting in zip(population.keys, population.settings, strict=True):
                if should_stop():
                    return
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
            found.extend(population_of(key, task, trials) for key, trials in rows.items())
        found = [population for population in found if population.open]
        return sorted(found, key=lambda population: not population.interrupted)

    def claim(self, population: Population, owner: str, now_ms: int) -> None:
        """Mark the open members of a population as running, by this owner.

        Members that a former driver left running are taken over: their attempt counts up.
        """
        population.heard_ms = now_ms
        with _translated(self.sweep):
            self._claim(population, owner, now_ms)

    def _claim(self, population: Population, owner: str, now_ms: int) -> None:
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
        with _translated(self.sweep):
            for key, number in zip(population.keys, population.numbers, strict=True):
                if key in population.open:
                    trial = self._trial(population.task, number)
                    claim = {**trial.user_attrs["claim"], "heard_ms": now_ms}
                    self._storage.set_trial_user_attr(trial._trial_id, "claim", claim)

    @cached_property
    def _objectives(self) -> Sequence[Objective]:
        return self.spec.objectives

    # ---- outcomes ------------------------------------------------------------------------------------------------

    def tell(self, population: Population, key: str, ended: Ended) -> TrialRecord:
        """Write how one member ended. The first outcome of a trial stands; a later one changes nothing.

        A complete outcome that lacks an objective, or has a value that is not finite, is a failure of its own kind.
        """
        number = population.numbers[population.keys.index(key)]
        with _translated(self.sweep):
            if not self._trial(population.task, number).state.is_finished():
                self._finish(population.task, number, checked(ended, self._objectives))
            record = record_of(self.sweep, population.task, self._trial(population.task, number))
        population.open.discard(key)
        return record

    def _finish(self, task: str, number: int, ended: Ended) -> None:
        content = content_of(ended)
        self._storage.set_trial_user_attr(self._trial(task, number)._trial_id, "ended", content)
        if ended.outcome is Outcome.COMPLETE:
            values = [ended.measurement[objective.name] for objective in self._objectives]
            self._studies[task].tell(number, values, skip_if_finished=True)
        else:
            # Values of a pruned trial stay in its attribute: Optuna takes none for several objectives.
            state = TrialState.PRUNED if ended.outcome is Outcome.PRUNED else TrialState.FAIL
            self._studies[task].tell(number, state=state, skip_if_finished=True)

    # ---- reading -------------------------------------------------------------------------------------------------

    def records(self, task: str | None = None) -> list[TrialRecord]:
        """Return every trial, in plan order; of one task if asked."""
        tasks = self._studies if task is None else [task]
        return [record_of(self.sweep, name, trial) for name in tasks for trial in self._trials(name)]

    def counts(self) -> Counts:
        """Return how many trials stand where."""
        return count(self.records())

    def rows(self) -> list[Row]:
        """Return every row as it stands, also those that nothing else would show."""
        return [
            row_of(self.sweep, task, trial)
            for task, study in self._studies.items()
            for trial in study.get_trials(deepcopy=False)
        ]

    def _trials(self, task: str) -> list[FrozenTrial]:
        trials = self._studies[task].get_trials(deepcopy=False)
        return [trial for trial in trials if "plan" in trial.user_attrs]

    def _trial(self, task: str, number: int) -> FrozenTrial:
        study = self._studies[task]
        return self._storage.get_trial(self._storage.get_trial_id_from_study_id_trial_number(study._study_id, number))


def create_ledger(url: str) -> None:
    """Make an empty ledger. Done aside and renamed by the caller: two openers of a half-made one would both fail."""
    with _translated(url):
        storage = optuna.storages.RDBStorage(url)
        storage.engine.dispose()


@contextmanager
def _translated(sweep: str) -> Iterator[None]:
    """Turn the storage's failures into one sentence."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ or error
        raise HomeError(
            f"the ledger of sweep {sweep!r} cannot be written: {_first_line(cause)}. Trials without an outcome stay "
            f"waiting. Free the disk or the lock on it, then `sweeper resume {sweep}`."
        ) from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]


def _without_password(url: str) -> str:
    return re.sub(r"://[^/@]*@", "://…@", url)
