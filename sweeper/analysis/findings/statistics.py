"""The statistics that decide findings. Nothing here knows of networks.

All random numbers come from a generator of the caller, so that the same sweep gives the same result again. Functions
import scipy themselves, so that a list of a sweep's pictures does not load it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Number of draws of a bootstrap and of a permutation test.
DRAWS = 2_000

#: Percentiles of the draws at the ends of an interval.
INTERVAL = (2.5, 97.5)


@dataclass(frozen=True)
class Estimate:
    """An effect with its interval.

    Attributes:
        value: The effect; NaN if data do not suffice.
        low, high: The interval; NaN if there is none.
    """

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def is_known(self) -> bool:
        """Whether value and interval are known."""
        return all(map(math.isfinite, (self.value, self.low, self.high)))


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Return Spearman's rank correlation; NaN if one variable does not vary."""
    return partial_spearman(x, y, [])


def partial_spearman(x: ArrayLike, y: ArrayLike, fixed: Sequence[ArrayLike]) -> float:
    """Return the rank correlation of two variables with others held fixed.

    The ranks of both are regressed on the ranks of the others, and the residuals are correlated.

    Args:
        x, y: N values each.
        fixed: The variables held fixed, N values each.

    Returns:
        From −1 to 1; NaN if one of the two has no residual.
    """
    from scipy import stats

    of = np.column_stack([stats.rankdata(x), stats.rankdata(y)])
    if len(of) < 3 + len(fixed):
        return math.nan
    given = np.column_stack([np.ones(len(of)), *(stats.rankdata(one) for one in fixed)])
    left = of - given @ np.linalg.lstsq(given, of, rcond=None)[0]
    sizes = np.linalg.norm(left, axis=0)
    if (sizes < 1e-9 * len(of) ** 1.5).any():  # residuals are mere rounding errors
        return math.nan
    return float(left[:, 0] @ left[:, 1] / sizes.prod())


def weighted_ranks(values: ArrayLike, weight: Floats) -> Floats:
    """Return the centred ranks of weighted values, as if each value occurred as often as its weight says.

    So a bootstrap ranks all its draws at once, with one sort.

    Args:
        values: N values; equal ones share their ranks.
        weight: How often each value counts, in each of D draws: (D, N).

    Returns:
        Shape (D, N). Ranks of values of weight 0 mean nothing.
    """
    _, group = np.unique(np.asarray(values), return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    of_group = np.add.reduceat(weight[:, order], starts, axis=1)
    ranks = of_group.cumsum(1) - of_group / 2 + 0.5
    found: Floats = (ranks - (of_group.sum(1, keepdims=True) + 1) / 2)[:, group]
    return found


def bootstrapped(
    statistic: Callable[[Indices], float],
    groups: Sequence[ArrayLike],
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> Estimate:
    """Return a statistic with its interval, by a bootstrap that draws groups first, and then members within them.

    Args:
        statistic: Takes indices of observations, some of them several times.
        groups: Indices of the members of each group, such as the networks of each seed.
        rng: The random generator.
        draws: Number of draws.

    Returns:
        The statistic of all observations, and the percentiles of its draws. There is no interval for fewer than two
        groups, or if more than a tenth of the draws are not finite.
    """
    members = [np.asarray(group, np.int64) for group in groups]
    value = statistic(np.concatenate(members)) if members else math.nan
    if len(members) < 2 or not math.isfinite(value):
        return Estimate(value)
    found = np.empty(draws)
    for draw in range(draws):
        chosen = rng.integers(0, len(members), len(members))
        found[draw] = statistic(
            np.concatenate([members[i][rng.integers(0, len(members[i]), len(members[i]))] for i in chosen])
        )
    found = found[np.isfinite(found)]
    if len(found) < 0.9 * draws:
        return Estimate(value)
    low, high = np.percentile(found, INTERVAL)
    return Estimate(value, float(low), float(high))


def jackknifed(statistic: Callable[[Indices], float], groups: Sequence[ArrayLike]) -> Estimate:
    """Return a statistic with its interval, by leaving out one group at a time (jackknife) and Student's t.

    It suits statistics of distances. A bootstrap would spoil these, because a member drawn twice has distance 0 to
    itself.
    """
    from scipy import stats

    members = [np.asarray(group, np.int64) for group in groups]
    value, count = statistic(np.concatenate(members)) if members else math.nan, len(members)
    if count < 3:
        return Estimate(value)
    without = np.array([
        statistic(np.concatenate([one for at, one in enumerate(members) if at != out])) for out in range(count)
    ])
    if not np.isfinite(without).all():
        return Estimate(value)
    error = math.sqrt((count - 1) / count * float(np.square(without - without.mean()).sum()))
    reach = float(stats.t.ppf(INTERVAL[1] / 100, count - 1)) * error
    return Estimate(value, value - reach, value + reach)


def share_beyond(found: float, drawn: Floats) -> float:
    """Return the p-value of a value under draws by chance: the share of draws at least as large.

    The value itself counts as one of the draws, so that p is never 0 (Phipson and Smyth 2010).
    """
    drawn = drawn[np.isfinite(drawn)]
    return float((1 + np.count_nonzero(drawn >= found - 1e-12)) / (1 + len(drawn)))


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Return p-values, corrected together by Holm's method (1979), by name."""
    ordered, corrected, most = sorted(p, key=lambda name: p[name]), dict[str, float](), 0.0
    for rank, name in enumerate(ordered):
        most = max(most, min(1.0, (len(ordered) - rank) * p[name]))
        corrected[name] = most
    return corrected


def trend(values: ArrayLike) -> float:
    """Return the one-sided p-value of Page's test (1963) that values rise along the columns.

    Args:
        values: A row for each block, a column for each step of the ladder, easiest first.
    """
    from scipy import stats

    table = np.asarray(values, float)
    if len(table) < 2 or table.shape[1] < 3:
        return math.nan
    # The exact distribution enumerates rankings, which takes long for large tables, and allows no ties.
    has_ties = any(len(np.unique(row)) < len(row) for row in table)
    method = "asymptotic" if has_ties or len(table) > 12 or table.shape[1] > 8 else "exact"
    return float(stats.page_trend_test(table, method=method).pvalue)


def rises(values: ArrayLike) -> float:
    """Return the one-sided p-value of Wilcoxon's signed-rank test that values lie above zero; 1 if all are 0."""
    from scipy import stats

    given = np.asarray(values, float)
    given = given[given != 0]
    if not len(given):
        return 1.0
    return float(stats.wilcoxon(given, alternative="greater").pvalue)


def slope(x: ArrayLike, y: ArrayLike) -> float:
    """Return the slope of y over x by Theil and Sen: the median of the slopes between all pairs."""
    from scipy import stats

    x, y = np.asarray(x, float), np.asarray(y, float)
    if len(np.unique(x)) < 2:
        return math.nan
    return float(stats.theilslopes(y, x)[0])


def kendall(x: ArrayLike, y: ArrayLike) -> float:
    """Return Kendall's τ-b of two orders."""
    from scipy import stats

    return float(stats.kendalltau(x, y).statistic)


def fisher_mean(correlations: ArrayLike) -> float:
    """Return the mean of correlations by Fisher's z; NaN if none is known."""
    known = np.asarray(correlations, float)
    known = known[np.isfinite(known)]
    return float(np.tanh(np.arctanh(np.clip(known, -0.999999, 0.999999)).mean())) if len(known) else math.nan


def within(x: ArrayLike, y: ArrayLike, groups: ArrayLike, fixed: Sequence[ArrayLike] = (), least: int = 10) -> float:
    """Return the rank correlation within groups, averaged over them by Fisher's z.

    Args:
        x, y: N values each.
        groups: The group of each value.
        fixed: The variables held fixed, N values each.
        least: Groups with fewer members are left out.
    """
    x, y, of = np.asarray(x, float), np.asarray(y, float), np.asarray(groups)
    held = [np.asarray(one, float) for one in fixed]
    masks = [of == group for group in np.unique(of)]
    return fisher_mean([
        partial_spearman(x[mask], y[mask], [one[mask] for one in held])
        for mask in masks
        if np.count_nonzero(mask) >= least
    ])


@dataclass(frozen=True)
class Split:
    """The share of a distance matrix's variance that lies between groups.

    Attributes:
        share: R², the share of the sum of squares that lies between groups.
        adjusted: R² adjusted for chance: 0 on average for random groups.
    """

    share: float
    adjusted: float


def permanova(distance: Floats, groups: ArrayLike) -> Split:
    """Split the variance of distances into parts between and within groups, after Anderson (2001).

    Args:
        distance: N × N, symmetric, zero on the diagonal.
        groups: The group of each observation.
    """
    of = np.asarray(groups)
    names, index, counts = np.unique(of, return_inverse=True, return_counts=True)
    count = len(of)
    if len(names) < 2 or len(names) >= count:
        return Split(math.nan, math.nan)
    squares = np.square(distance)
    total = squares.sum() / (2 * count)
    if total <= 0:
        return Split(math.nan, math.nan)
    is_in = np.zeros((len(names), count))
    is_in[index, np.arange(count)] = 1
    inner = float((((is_in @ squares) * is_in).sum(1) / (2 * counts)).sum())
    share = 1 - inner / total
    return Split(share, 1 - (1 - share) * (count - 1) / (count - len(names)))


def classical_scaling(distance: Floats, dimensions: int = 2) -> tuple[Floats, float]:
    """Return points in few dimensions that approximate given distances: classical scaling (Torgerson 1952).

    Args:
        distance: N × N, symmetric, zero on the diagonal.
        dimensions: Number of dimensions of the points.

    Returns:
        N points, and the share of the variance that they hold: their share of the sum of all positive eigenvalues. In
        each dimension the coordinate furthest from zero is positive. There are no points for fewer than three
        observations, or if distances are not finite or all zero.
    """
    count, nothing = len(distance), (np.zeros((0, dimensions)), math.nan)
    if count < 3 or not np.isfinite(distance).all() or not distance.any():
        return nothing
    centred = np.eye(count) - 1 / count
    values, vectors = np.linalg.eigh(-centred @ np.square(distance) @ centred / 2)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    points = vectors[:, :dimensions] * np.sqrt(values[:dimensions])
    furthest = points[np.abs(points).argmax(0), np.arange(dimensions)]
    return points * np.where(furthest < 0, -1, 1), float(values[:dimensions].sum() / values.sum())


def shuffled_within(values: NDArray[np.generic], strata: ArrayLike, rng: np.random.Generator) -> NDArray[np.generic]:
    """Return values in random order within each stratum."""
    shuffled, of = values.copy(), np.asarray(strata)
    for stratum in np.unique(of):
        mask = of == stratum
        shuffled[mask] = rng.permutation(values[mask])
    return shuffled


def spearman_brown(correlation: float) -> float:
    """Return the reliability of the whole from the correlation of its halves, and at least 0."""
    return math.nan if not math.isfinite(correlation) else max(0.0, 2 * correlation / (1 + correlation))
