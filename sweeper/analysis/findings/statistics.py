"""The statistics that findings are decided by. Nothing here knows of networks.

Whatever is drawn is drawn from a generator that the caller gives, so that the same sweep says the same thing again.
scipy is loaded where it is used: who lists the pictures of a sweep asks only what it has, and does without.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Draws of a bootstrap and of a permutation test.
DRAWS = 2_000

#: Between which percentiles of the draws an interval lies.
INTERVAL = (2.5, 97.5)


@dataclass(frozen=True)
class Estimate:
    """An effect, and between what it is known to lie.

    Attributes:
        value: What was found; NaN where there is too little to say.
        low, high: The interval; NaN where there is none.
    """

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def is_known(self) -> bool:
        """Whether there are a value and an interval."""
        return all(map(math.isfinite, (self.value, self.low, self.high)))


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Return Spearman's rank correlation; NaN where one of the two does not vary."""
    return partial_spearman(x, y, [])


def partial_spearman(x: ArrayLike, y: ArrayLike, fixed: Sequence[ArrayLike]) -> float:
    """Return the rank correlation of two variables with others held fixed.

    The ranks of both are taken without what the ranks of the others explain linearly, and what is left is correlated.

    Args:
        x, y: N values each.
        fixed: What is held fixed, N values each.

    Returns:
        From −1 to 1; NaN where nothing is left of one of the two.
    """
    from scipy import stats

    of = np.column_stack([stats.rankdata(x), stats.rankdata(y)])
    if len(of) < 3 + len(fixed):
        return math.nan
    given = np.column_stack([np.ones(len(of)), *(stats.rankdata(one) for one in fixed)])
    left = of - given @ np.linalg.lstsq(given, of, rcond=None)[0]
    sizes = np.linalg.norm(left, axis=0)
    if (sizes < 1e-9 * len(of) ** 1.5).any():  # nothing but what rounding leaves
        return math.nan
    return float(left[:, 0] @ left[:, 1] / sizes.prod())


def weighted_ranks(values: ArrayLike, weight: Floats) -> Floats:
    """Return the ranks of values that count so many times, less the mean rank: as if each stood there so often.

    So a bootstrap ranks all its draws at once, and sorts once.

    Args:
        values: N of them; equal ones share their ranks.
        weight: How often each counts, in each of D draws: (D, N).

    Returns:
        Shape (D, N). Ranks of what counts 0 times mean nothing.
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
    """Return a statistic with its interval: groups are drawn first, and members within them.

    Args:
        statistic: Takes indices of observations, some of them several times.
        groups: Indices of the members of each group, such as the networks of each seed.
        rng: What is drawn from.
        draws: How often.

    Returns:
        The statistic of all, and the percentiles of its draws; no interval where fewer than two groups are given or
        where a tenth of the draws say nothing.
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
    """Return a statistic with the interval that leaving out one group at a time gives, by Student's t.

    For statistics of distances, which a bootstrap would spoil: a member that is drawn twice is at distance 0 to itself.
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
    """Return the p-value of what was found among what chance drew: the share of draws at least as large.

    What was found counts as one of the draws, so that p is never 0 (Phipson and Smyth 2010).
    """
    drawn = drawn[np.isfinite(drawn)]
    return float((1 + np.count_nonzero(drawn >= found - 1e-12)) / (1 + len(drawn)))


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Return p-values that are corrected together by Holm's method (1979), by name."""
    ordered, corrected, most = sorted(p, key=lambda name: p[name]), dict[str, float](), 0.0
    for rank, name in enumerate(ordered):
        most = max(most, min(1.0, (len(ordered) - rank) * p[name]))
        corrected[name] = most
    return corrected


def trend(values: ArrayLike) -> float:
    """Return the p-value of Page's test (1963) that values rise along the columns, one-sided.

    Args:
        values: A row for each block, a column for each step of the ladder, from the easiest.
    """
    from scipy import stats

    table = np.asarray(values, float)
    if len(table) < 2 or table.shape[1] < 3:
        return math.nan
    # The exact distribution counts rankings one by one, and knows no ties.
    has_ties = any(len(np.unique(row)) < len(row) for row in table)
    method = "asymptotic" if has_ties or len(table) > 12 or table.shape[1] > 8 else "exact"
    return float(stats.page_trend_test(table, method=method).pvalue)


def rises(values: ArrayLike) -> float:
    """Return the p-value of Wilcoxon's signed-rank test that values lie above zero, one-sided; 1 where all are 0."""
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
    """Return the mean of correlations by Fisher's z; NaN where none is known."""
    known = np.asarray(correlations, float)
    known = known[np.isfinite(known)]
    return float(np.tanh(np.arctanh(np.clip(known, -0.999999, 0.999999)).mean())) if len(known) else math.nan


def within(x: ArrayLike, y: ArrayLike, groups: ArrayLike, fixed: Sequence[ArrayLike] = (), least: int = 10) -> float:
    """Return the rank correlation within groups, averaged over them by Fisher's z.

    Args:
        x, y: N values each.
        groups: The group of each.
        fixed: What is held fixed, N values each.
        least: Groups with fewer members say nothing.
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
    """How a distance matrix divides between groups and within them.

    Attributes:
        share: R², the share of the sum of squares that lies between groups.
        adjusted: The same without what groups of chance would have: 0 where they differ as chance does.
    """

    share: float
    adjusted: float


def permanova(distance: Floats, groups: ArrayLike) -> Split:
    """Divide the variance of distances between groups and within them, after Anderson (2001).

    Args:
        distance: N × N, symmetric, zero on the diagonal.
        groups: The group of each.
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
    """Return points whose distances are as near to given ones as a plane allows: classical scaling (Torgerson 1952).

    Args:
        distance: N × N, symmetric, zero on the diagonal.
        dimensions: Of the points.

    Returns:
        N points, and the share of the variance of distances that they hold: of the sum of all positive eigenvalues.
        Signs are such that the coordinate that is furthest from zero is positive. No points for fewer than three
        observations, or where distances are unknown or all zero.
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
    """Return the reliability of the whole from the correlation of its halves."""
    return math.nan if not math.isfinite(correlation) else max(0.0, 2 * correlation / (1 + correlation))
