"""How much of an objective each parameter alone explains: Optuna's fANOVA, repeated to see its uncertainty.

fANOVA fits a forest of trees to the tried settings. It then computes how much of the forest's variance over the whole
range of the parameters each parameter explains alone. With few settings a forest knows little but looks certain. So it
is fitted to several bootstrap draws of the settings: differences between the draws show what is uncertain.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import create_trial

#: Number of trees of a forest.
TREES = 16

#: Ratio of the largest to the smallest value from which a parameter is taken on a logarithmic scale.
_DECADES = 50


@dataclass(frozen=True)
class Importance:
    """The share of an objective's variance that a parameter explains alone.

    Attributes:
        share: Mean share over the draws of settings, 0 to 1. Joint effects of several parameters are in no share.
        low, high: Smallest and largest share of a draw.
    """

    share: float
    low: float
    high: float


def importances(
    rows: Sequence[Mapping[str, Any]], parameters: Sequence[str], objective: str, *, draws: int = 8, most: int = 100
) -> dict[str, Importance]:
    """Return the importance of each parameter for an objective; the same rows give the same result.

    Args:
        rows: Tried settings, with a value for each of the parameters and the objective.
        parameters: Names of the varied parameters.
        objective: Name of the objective.
        draws: Number of draws of the settings, with replacement.
        most: Largest number of settings in a draw: the time grows with its square.

    Returns:
        Importances by parameter; empty if all settings have the same value of the objective.
    """
    rows = [row for row in rows if math.isfinite(row[objective])]
    ranges = {name: _range([row[name] for row in rows]) for name in parameters}
    if not ranges or len({row[objective] for row in rows}) < 2:
        return {}
    chance = np.random.default_rng(0)
    found: list[Mapping[str, float]] = []
    for number in range(draws):
        drawn = [rows[int(index)] for index in chance.integers(len(rows), size=min(len(rows), most))]
        with suppress(RuntimeError, ValueError):  # nothing varies in this draw
            found.append(_fanova(drawn, ranges, objective, number))
    if not found:
        return {}
    shares = {name: [float(one.get(name, 0.0)) for one in found] for name in parameters}
    return {name: Importance(statistics.fmean(some), min(some), max(some)) for name, some in shares.items()}


def _fanova(
    rows: Sequence[Mapping[str, Any]], ranges: Mapping[str, BaseDistribution], objective: str, seed: int
) -> Mapping[str, float]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # Optuna would log each study that is made
    study = optuna.create_study()
    study.add_trials([
        create_trial(
            params={name: _value(row[name]) for name in ranges},
            distributions=dict(ranges),
            value=float(row[objective]),
        )
        for row in rows
    ])
    found: Mapping[str, float] = FanovaImportanceEvaluator(n_trees=TREES, seed=seed).evaluate(study)
    return found


def _range(values: Sequence[Any]) -> BaseDistribution:
    if not all(_is_number(value) for value in values):
        return CategoricalDistribution(sorted({_value(value) for value in values}))
    low, high = float(min(values)), float(max(values))
    return FloatDistribution(low, high, log=low > 0 and high / low >= _DECADES)


def _value(value: Any) -> float | str:
    return float(value) if _is_number(value) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
