"""What to try next in a cell: Optuna's samplers, asked on a study that is made anew from what the ledger knows.

The ledger is the only truth, and a sampler's study is a view of it that lives for one question: it has one trial for
each setting, not for each replicate, and its values are means. So nothing of a sampler is ever saved but what it notes
on a trial, which the ledger keeps, and a search that was killed goes on as if nothing had happened.
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

#: How often in a row a sampler may propose what was tried already, before one is drawn at random.
MOST_REPEATS = 10

#: What Optuna's genetic algorithms call a population has at most so many members, its own default.
_LARGEST_GENERATION = 50

#: Corners of the space come first where they are at most one in so many of all trials.
_CORNERS_SHARE = 3

#: Others go on from what they have proposed themselves, or from nothing.
_LEARNS_FROM_ALL = (Sampler.TPE, Sampler.GP)


@dataclass(frozen=True)
class Known:
    """A setting that was tried, or is being tried.

    Attributes:
        values: Of what is searched.
        state: RUNNING while any of its replicates has no outcome.
        measurement: Means over its complete replicates.
        note: What the sampler noted when it proposed the setting.
    """

    values: Mapping[str, Scalar]
    state: State
    measurement: Mapping[str, float] = field(default_factory=dict)
    note: Mapping[str, Any] = field(default_factory=dict)

    def to_values(self) -> dict[str, Any]:
        """Return it as plain values, which `from_values` reads; without the note, which means nothing elsewhere."""
        return {"values": dict(self.values), "state": str(self.state), "measurement": dict(self.measurement)}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Return what `to_values` wrote."""
        return cls(values["values"], State(values["state"]), values["measurement"])


@dataclass(frozen=True)
class Proposal:
    """A setting to try.

    Attributes:
        values: Of what is searched.
        note: What the sampler noted; plain values, kept by the ledger.
        repeats: How many proposals before this one were settings that had been tried already.
    """

    values: Mapping[str, Scalar]
    note: Mapping[str, Any]
    repeats: int = 0

    def to_note(self) -> dict[str, Any]:
        """Return what the ledger keeps of it beside the setting."""
        return {**self.note, "repeats": self.repeats} if self.repeats else dict(self.note)


@dataclass
class Question:
    """What a sampler is asked about.

    Attributes:
        spec: The sweep; it has a search.
        cell: Key of the cell.
        known: Every setting of the cell, in the order in which they were proposed.
        warm: Complete settings of other sweeps.
        repeats: Proposals of this cell so far that had been tried already.
    """

    spec: SweepSpec
    cell: str
    known: Sequence[Known]
    warm: Sequence[Known] = ()
    repeats: int = 0

    @property
    def search(self) -> SearchSpec:
        """How the cell is searched."""
        if self.spec.search is None:
            raise ValueError(f"sweep {self.spec.name!r} has nothing to search")
        return self.spec.search


def propose(question: Question, count: int) -> list[Proposal]:
    """Return settings to try next, none of which is known.

    The answer depends on the question alone. Seeds of the samplers are derived from the sweep's seed, the cell and the
    number of proposals so far: a sampler that starts with the same seed after every restart would repeat itself.

    Args:
        question: What is known.
        count: How many; they are asked for one after the other, each while the ones before are being tried.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it warns of what no user can mend
    distributions = {name: distribution_of(given) for name, given in question.spec.searched.items()}
    seed = _seed(question, len(question.known) + question.repeats)
    sampler = make_sampler(question.search, seed, _seed(question, "cell"))
    rng = np.random.default_rng(seed)
    known, found = list(question.known), list[Proposal]()
    study: NotedStudy | None = None
    while len(found) < count:
        # Weights are drawn for every proposal, and with them every value changes.
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
    """Return Optuna's sampler of a name.

    Args:
        search: Names it, and says for how many trials.
        seed: Differs from one question to the next.
        cell_seed: The same for every question of a cell.
    """
    generation = min(_LARGEST_GENERATION, max(8, search.trials // 8))
    samplers = optuna.samplers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # the user can do nothing about it
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
                # One sequence a cell; its place in it is noted on the trials.
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
    """Return what is known as a study of its own, in memory."""
    search, spec = question.search, question.spec
    goals = {objective.name: objective.goal for objective in spec.objectives}
    if search.single:
        goals = {search.single: Goal.MAXIMIZE if search.maximize else Goal.MINIMIZE}
    directions = [StudyDirection[goal.name] for goal in ([Goal.MINIMIZE] if search.scalarize else goals.values())]
    study = NotedStudy(directions, sampler)
    if search.sampler is not Sampler.RANDOM:  # it asks nobody
        told = [*question.warm, *known]
        values = _values(told, goals, rng.dirichlet(np.ones(len(goals))) if search.scalarize else None)
        for one, its_values in zip(told, values, strict=True):
            study.study.add_trial(_trial(one, its_values, search, distributions))
        study.go_on_from(known[-1].note if known else {})
    return study


def _values(told: Sequence[Known], goals: Mapping[str, Goal], weights: np.ndarray | None) -> list[list[float] | None]:
    """Return what each setting is worth; None where that is not known."""
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
    """Return a corner of the space that is not known; None where it is not to be begun with.

    Each pressure prices one objective, so a front's ends, and much of its hypervolume, lie where pressures have theirs;
    a sampler that draws from within finds them late. What is searched for one thing alone, or over more than pressures,
    has its best anywhere.
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
    """Ask a sampler until it proposes what is not known; None if it does not."""
    tried = {tuple(one.values[name] for name in distributions) for one in known}
    for repeats in range(MOST_REPEATS):
        trial = noted.study.ask(dict(distributions))
        if tuple(trial.params[name] for name in distributions) not in tried:
            return Proposal(dict(trial.params), noted.note_on(trial.number), repeats)
        # It has its answer already, from the trial that it repeats.
        noted.study.tell(trial, state=TrialState.FAIL)
    return None


def _unseen(
    question: Question,
    known: Sequence[Known],
    distributions: Mapping[str, BaseDistribution],
    rng: np.random.Generator,
) -> Proposal:
    """Draw a setting at random from those that are not known."""
    tried = {tuple(one.values[name] for name in distributions) for one in known}
    size = question.spec.search_size
    if size is not None and size <= 4 * len(tried) + 1000:  # of so few that drawing would take long to find one
        options = [
            option for option in itertools.product(*map(_choices, distributions.values())) if option not in tried
        ]
        chosen = options[int(rng.integers(len(options)))]
        return Proposal(dict(zip(distributions, chosen, strict=True)), {}, MOST_REPEATS)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=int(rng.integers(2**31))))
    while True:  # some range has no end of values, so this ends
        params = study.ask(dict(distributions)).params
        if tuple(params[name] for name in distributions) not in tried:
            return Proposal(dict(params), {}, MOST_REPEATS)


def _choices(distribution: BaseDistribution) -> Sequence[Scalar]:
    if isinstance(distribution, CategoricalDistribution):
        return [choice for choice in distribution.choices if choice is not None]
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1)
    raise TypeError(f"{distribution} has no end of values")
