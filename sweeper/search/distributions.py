"""Distributions of searched parameters in Optuna's terms."""

from __future__ import annotations

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sweeper.spec import Distribution, Parameter


def distribution_of(given: Parameter) -> BaseDistribution:
    """Return the distribution of a searched parameter in Optuna's terms."""
    if given.values is not None:
        return CategoricalDistribution(given.values)
    low, high = given.extremes
    is_log = given.distribution is Distribution.LOG_UNIFORM
    if given.count is not None:
        return IntDistribution(int(low), int(high), log=is_log)
    return FloatDistribution(float(low), float(high), log=is_log)
