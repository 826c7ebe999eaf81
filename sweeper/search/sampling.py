"""Chooses the settings to try next in a cell with Optuna's samplers, on a study made anew from the ledger.

The ledger is the only truth. A sampler's study is a view of the ledger that lives for one question: it has one trial
for each setting, not for each replicate, and its values are means. Of a sampler only its notes on trials are saved, in
the ledger. So a killed search continues as if nothing had happened.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from sweeper.analysis.pareto import scalarized
from sweeper.measurements import Goal
from sweeper.search.distributions import distribution_of
from sweeper.search.sampler_notes import NotedStudy, attributes_of
from sweeper.spec import Sampler, Scalar, SearchSpec, SweepSpec
from sweeper.trial import State

#: Number of repeated proposals in a row after which a setting is drawn at random.
MOST_REPEATS = 10

#: Largest population of Optuna's genetic algorithms, which is Optuna's default.
_LARGEST_GENERATION = 50

#: Corners of the space are tried first if at most one in this many trials is a corner.
_CORNERS_SHARE = 3

#: Samplers that learn from all trials; others continue from their own proposals, or learn nothing.
_LEARNS_FROM_ALL = (Sampler.TPE, Sampler.GP)


@dataclass(frozen=True)
class Known:
    """A setting that was tried, or is being tried.

    Attributes:
        values: Values of the searched parameters.
        state: RUNNING while any of its replicates has no outcome.
        measurement: Means over its complete replicates.
        note: The sampler's note when it proposed the setting.
    """

    values: Mapping[str, Scalar]
    state: State
    measurement: Mapping[str, float] = field(default_factory=dict)
    note: Mapping[str, Any] = field(default_factory=dict)

    def to_values(self) -> dict[str, Any]:
        """Return the setting as plain values for `from_values`, without the note, which is meaningless elsewhere."""
        return {"values": dict(self.values), "state": str(self.state), "measurement": dict(self.measurement)}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Return the setting that `to_values` wrote."""
        return cls(values["values"], State(values["state"]), values["measurement"])


@dataclass(frozen=True)
class Proposal:
    """A setting to try.

    Attributes:
        values: Values of the searched parameters.
        note: The sampler's note as plain values, kept by the ledger.
        repeats: Number of proposals before this one that repeated earlier settings.
    """

    values: Mapping[str, Scalar]
    note: Mapping[str, Any]
    repeats: int = 0

    def to_note(self) -> dict[str, Any]:
        """Return the note that the ledger keeps beside the setting."""
        return {**self.note, "repeats": self.repeats} if self.repeats else dict(self.note)


@dataclass
class Question:
    """A question to a sampler.

    Attributes:
        spec: Spec of the sweep, with a search.
        cell: Key of the cell.
        known: Every setting of the cell, in the order in which they were proposed.
        warm: Complete settings of other sweeps.
        repeats: Number of proposals in this cell so far that repeated earlier settings.
    """

    spec: SweepSpec
    cell: str
    known: Sequence[Known]
    warm: Sequence[Known] = ()
    repeats: int = 0

    @property
    def search(self) -> SearchSpec:
        """The search of the spec."""
        if self.spec.search is None:
            raise ValueError(f"sweep {self.spec.name!r} has nothing to search")
        return self.spec.search


def propose(question: Question, count: int) -> list[Proposal]:
    """Return settings to try next, none of which was tried before.

    The answer depends only on the question. The samplers' seeds derive from the sweep's seed, the cell and the number
    of proposals so far, because a sampler that restarts with the same seed would repeat itself.

    Args:
        question: Spec, cell and known settings.
        count: Number of settings. They are proposed one after the other, each as if the earlier ones were running.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # Optuna's warnings are about things that no user can change
    distributions = {name: distribution_of(given) for name, given in question.spec.searched.items()}
    seed = _seed(question, len(question.known) + question.repeats)
    sampler = make_sampler(question.search, seed, _seed(question, "cell"))
    rng = np.random.default_rng(seed)
    known, found = list(question.known), list[Proposal]()
    study: NotedStudy | None = None
    while len(found) < count:
        # With scalarisation new weights are drawn for every proposal, which changes every value.
        if study is None or question.search.scalarize:
            study = _study(question, known, sampler, distributions, rng)
        proposal = (
            _corner(question, known, distributions)
            or _ask(study, known, distributions)
            or _unseen(question, known, distributions, rng)
        )
        known.append(Known(proposal.values, State.RUNNING, note=proposal.note))
        found.append(proposal)
    return found


def make_sampler(search: SearchSpec, seed: int, cell_seed: int) -> optuna.samplers.BaseSampler:
    """Return the Optuna sampler of a search.

    Args:
        search: Search that names the sampler and the number of trials.
        seed: Seed that differs from one question to the next.
        cell_seed: Seed that is the same for every question of a cell.
    """
    generation = min(_LARGEST_GENERATION, max(8, search.trials // 8))
    samplers = optuna.samplers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # no user can act on it
        match search.sampler:
            case Sampler.TPE:
                return samplers.TPESampler(seed=seed)
            case Sampler.NSGA2:
                return samplers.NSGAIISampler(population_size=generation, seed=seed)
            case Sampler.NSGA3:
                return samplers.NSGAIIISampler(population_size=generation, seed=seed)
            case Sampler.GP:
                return samplers.GPSampler(seed=seed)
            case Sampler.RANDOM:
                return samplers.RandomSampler(seed=seed)
            case Sampler.QMC:
                # One sequence per cell; the trials note their places in it.
                return samplers.QMCSampler(scramble=True, seed=cell_seed)


def _seed(question: Question, part: object) -> int:
    text = f"{question.spec.seed}/{question.cell}/{part}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _study(
    question: Question,
    known: Sequence[Known],
    sampler: optuna.samplers.BaseSampler,
    distributions: Mapping[str, BaseDistribution],
    rng: np.random.Generator,
) -> NotedStudy:
    """Return a new study in memory with the known settings."""
    search, spec = question.search, question.spec
    goals = {objective.name: objective.goal for objective in spec.objectives}
    if search.single:
        goals = {search.single: Goal.MAXIMIZE if search.maximize else Goal.MINIMIZE}
    directions = [StudyDirection[goal.name] for goal in ([Goal.MINIMIZE] if search.scalarize else goals.values())]
    study = NotedStudy(directions, sampler)
    if search.sampler is not Sampler.RANDOM:  # random sampling uses no earlier trials
        told = [*question.warm, *known]
        values = _values(told, goals, rng.dirichlet(np.ones(len(goals))) if search.scalarize else None)
        for one, its_values in zip(told, values, strict=True):
            study.study.add_trial(_trial(one, its_values, search, distributions))
        study.go_on_from(known[-1].note if known else {})
    return study


def _values(told: Sequence[Known], goals: Mapping[str, Goal], weights: np.ndarray | None) -> list[list[float] | None]:
    """Return the values of each setting for Optuna; None for settings without complete, finite values."""
    rows = [[one.measurement.get(name, math.nan) for name in goals] for one in told]
    values: list[list[float] | None] = [
        row if one.state is State.COMPLETE and all(map(math.isfinite, row)) else None
        for one, row in zip(told, rows, strict=True)
    ]
    if weights is None:
        return values
    worth = scalarized([row for row in values if row is not None], list(goals.values()), weights).tolist()
    return [None if row is None else [worth.pop(0)] for row in values]


def _trial(
    one: Known, values: list[float] | None, search: SearchSpec, distributions: Mapping[str, BaseDistribution]
) -> optuna.trial.FrozenTrial:
    states = {State.PRUNED: TrialState.PRUNED, State.FAILED: TrialState.FAIL, State.COMPLETE: TrialState.FAIL}
    state = TrialState.COMPLETE if values is not None else states.get(one.state, TrialState.RUNNING)
    excess = {str(bound): bound.excess(one.measurement.get(bound.name, math.inf)) for bound in search.subject_to}
    return create_trial(
        state=state,
        values=values,
        params=dict(one.values),
        distributions=dict(distributions),
        system_attrs=attributes_of(one.note),
        constraints=excess if values is not None else None,
    )


def _corner(
    question: Question, known: Sequence[Known], distributions: Mapping[str, BaseDistribution]
) -> Proposal | None:
    """Return an untried corner of the space; None if corners should not come first, or all were tried.

    Each pressure prices one objective. So a front's ends, and much of its hypervolume, lie at the ends of the ranges of
    pressures, and a sampler that draws from within finds them late. A search for one objective, or over more than
    pressures, may have its best anywhere.
    """
    search = question.search
    if search.sampler not in _LEARNS_FROM_ALL or search.single or not question.spec.trains_side_by_side:
        return None
    ends = [_ends(distribution) for distribution in distributions.values()]
    if math.prod(map(len, ends)) * _CORNERS_SHARE > search.trials:
        return None
    tried = {tuple(one.values[name] for name in distributions) for one in known}
    left = (corner for corner in itertools.product(*ends) if corner not in tried)
    return next((Proposal(dict(zip(distributions, corner, strict=True)), {}) for corner in left), None)


def _ends(distribution: BaseDistribution) -> Sequence[Scalar]:
    if isinstance(distribution, FloatDistribution | IntDistribution):
        return distribution.low, distribution.high
    return _choices(distribution)


def _ask(noted: NotedStudy, known: Sequence[Known], distributions: Mapping[str, BaseDistribution]) -> Proposal | None:
    """Ask a sampler until it proposes an untried setting; None after `MOST_REPEATS` repeated ones."""
    tried = {tuple(one.values[name] for name in distributions) for one in known}
    for repeats in range(MOST_REPEATS):
        trial = noted.study.ask(dict(distributions))
        if tuple(trial.params[name] for name in distributions) not in tried:
            return Proposal(dict(trial.params), noted.note_on(trial.number), repeats)
        # The study already has the values of this setting, from the trial that this one repeats.
        noted.study.tell(trial, state=TrialState.FAIL)
    return None


def _unseen(
    question: Question,
    known: Sequence[Known],
    distributions: Mapping[str, BaseDistribution],
    rng: np.random.Generator,
) -> Proposal:
    """Draw an untried setting at random."""
    tried = {tuple(one.values[name] for name in distributions) for one in known}
    size = question.spec.search_size
    if size is not None and size <= 4 * len(tried) + 1000:  # so few that random draws would rarely hit an untried one
        options = [
            option for option in itertools.product(*map(_choices, distributions.values())) if option not in tried
        ]
        chosen = options[int(rng.integers(len(options)))]
        return Proposal(dict(zip(distributions, chosen, strict=True)), {}, MOST_REPEATS)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=int(rng.integers(2**31))))
    while True:  # ends, because the space is infinite or much larger than the number of tried settings
        params = study.ask(dict(distributions)).params
        if tuple(params[name] for name in distributions) not in tried:
            return Proposal(dict(params), {}, MOST_REPEATS)


def _choices(distribution: BaseDistribution) -> Sequence[Scalar]:
    if isinstance(distribution, CategoricalDistribution):
        return [choice for choice in distribution.choices if choice is not None]
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1)
    raise TypeError(f"{distribution} has no end of values")
