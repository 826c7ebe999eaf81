"""F1: at a given accuracy breadth, depth and time can be traded off against each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sweeper.analysis.findings.networks import RESOURCES, Networks, grouped
from sweeper.analysis.findings.statistics import (
    DRAWS,
    Estimate,
    Floats,
    Indices,
    bootstrapped,
    partial_spearman,
    share_beyond,
)
from sweeper.analysis.findings.verdicts import LEAST_SEEDS, Control, Part

CLAIM = "F1"
TITLE = "breadth, depth and time can be traded off against each other at a given accuracy"

#: Percentiles of the accuracies of all networks of a task; the middle one is primary.
TARGETS = (50, 70, 85)
PRIMARY = 70

#: Largest distance of an accuracy from a target.
BAND = 0.05

#: Least number of networks near a target.
LEAST_NETWORKS = 40

#: The smallest correlation that matters.
LEAST = 0.2

#: Largest relative distance from the median multiply-accumulates of networks that count as of equal cost.
EQUAL_COST = 0.25

#: Least number of networks of equal cost.
LEAST_EQUAL = 10

#: Most doublings of a resource in an exchange rate.
_MOST_DOUBLINGS = 30.0

#: Each pair of resources, and the third.
PAIRS = (("breadth", "depth", "time"), ("breadth", "time", "depth"), ("depth", "time", "breadth"))


def parts(networks: Networks, task: str, rule: str) -> list[Part]:
    """Decide for each pair of resources whether networks of one task and halting rule trade them off.

    Args:
        networks: Complete trials, of that task and rule.
        task, rule: Names of the task and the halting rule.
    """
    rng = np.random.default_rng(0)
    free = networks.take(~networks.is_limited)
    targets = {which: float(np.percentile(networks.accuracy, which)) for which in TARGETS} if len(networks) else {}
    band = near_target(networks)
    lacks = _lacks(networks, band, targets)
    rates = exchange_rates(free, rng)
    return [
        _part(free, band, pair, task, rule, lacks, rng, {"targets": _targets(free, targets, pair), "exchange": rates})
        for pair in PAIRS
    ]


def near_target(networks: Networks) -> Networks:
    """Return the networks that no wall bounds and whose accuracy is near the primary target."""
    free = networks.take(~networks.is_limited)
    if not len(networks):
        return free
    return free.take(np.abs(free.accuracy - np.percentile(networks.accuracy, PRIMARY)) <= BAND)


def _lacks(networks: Networks, band: Networks, targets: Mapping[int, float]) -> str:
    seeds = len(np.unique(band.seed))
    if not len(networks):
        return "no trial is complete"
    if len(band) < LEAST_NETWORKS or seeds < LEAST_SEEDS:
        return (
            f"{len(band)} of {len(networks)} networks of {seeds} seeds are within {BAND:g} of accuracy "
            f"{targets[PRIMARY]:.3f} and free of walls; {LEAST_NETWORKS} of {LEAST_SEEDS} seeds are needed"
        )
    return ""


def _part(
    free: Networks,
    band: Networks,
    pair: tuple[str, str, str],
    task: str,
    rule: str,
    lacks: str,
    rng: np.random.Generator,
    numbers: Mapping[str, Any],
) -> Part:
    one, other, _ = pair
    name = f"{one} for {other}"
    numbers = {**numbers, "near": _near(band, pair)}
    if lacks:
        return Part(
            CLAIM, name, rule, task, Estimate(math.nan), "rank correlation", LEAST, lacks=lacks, numbers=numbers
        )
    groups = grouped(band.seed)
    effect = bootstrapped(lambda rows: traded(band.take(rows), pair), groups, rng)
    null = null_of(band, pair, rng)
    equal = free.take(np.abs(free.macs / np.median(free.macs) - 1) <= EQUAL_COST)
    at_equal = traded(equal, pair) if len(equal) >= LEAST_EQUAL else math.nan
    says = f"among {len(equal)} networks of equal multiply-accumulates the correlation is {-at_equal:.2f}"
    control = Control("equal cost", bool(at_equal >= LEAST), f"{says}; at most {-LEAST:g} is needed", is_blind=True)
    by_seed = {str(seed): -traded(band.take(band.seed == seed), pair) for seed in np.unique(band.seed)}
    known = null[np.isfinite(null)]
    return Part(
        CLAIM,
        name,
        rule,
        task,
        effect,
        "rank correlation, sign turned",
        LEAST,
        p=share_beyond(effect.value, null) if math.isfinite(effect.value) else math.nan,
        networks=len(band),
        seeds=len(groups),
        controls=(control,),
        numbers={
            **numbers,
            "at_equal_cost": -at_equal,
            "by_arithmetic": float(-known.mean()) if len(known) else None,
            "without_band": -traded(free, pair),
            "by_seed": by_seed,
        },
    )


def _near(band: Networks, pair: tuple[str, str, str]) -> list[dict[str, Any]]:
    """Return the networks that decide a pair: key, seed, the pair's two resources, the third, and accuracy."""
    columns = [band.key.tolist(), band.seed.tolist(), *(band.resource(name).tolist() for name in pair)]
    names = ("key", "seed", *pair, "accuracy")
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, band.accuracy.tolist(), strict=True)]


def traded(networks: Networks, pair: tuple[str, str, str]) -> float:
    """Return how strongly two resources stand in for each other: their negated partial rank correlation.

    Args:
        networks: Any networks.
        pair: Names of the two resources, and of the third, which is held fixed like accuracy.
    """
    one, other, third = (networks.resource(name) for name in pair)
    return -partial_spearman(one, other, [third, networks.accuracy])


def null_of(band: Networks, pair: tuple[str, str, str], rng: np.random.Generator, draws: int = DRAWS) -> Floats:
    """Return draws of how strongly chance would trade two resources, given what arithmetic forces.

    For breadth and depth, each network's total of channels is spread anew over layers, with all ways that the window
    allows equally likely. For a pair with time, times are permuted among the networks.
    """
    one, other, third = pair
    found = np.empty(draws)
    if "time" not in (one, other):
        most = band.window or (int(band.channels.max()), int(band.depth.max()))
        breadth_DN, depth_DN = spread(band.channels.astype(np.int64), *most, rng, draws)
        for draw in range(draws):
            found[draw] = -partial_spearman(breadth_DN[draw], depth_DN[draw], [band.time, band.accuracy])
        return found
    space, held = (other, third) if one == "time" else (one, third)
    for draw in range(draws):
        time = rng.permutation(band.time)
        found[draw] = -partial_spearman(band.resource(space), time, [band.resource(held), band.accuracy])
    return found


def spread(
    totals: Indices, most_channels: int, most_layers: int, rng: np.random.Generator, draws: int
) -> tuple[Indices, Indices]:
    """Spread totals of channels over layers at random, with all ways that a window allows equally likely.

    Args:
        totals: Channels of N networks.
        most_channels, most_layers: Size of the window; every layer in use has at least one channel.
        rng: The random generator.
        draws: Number of draws.

    Returns:
        Breadth and depth, each (draws, N). A total that the window cannot hold is left in one layer.
    """
    ways = _ways(most_channels, most_layers, int(totals.max(initial=0)))
    breadth, depth = (np.zeros((draws, len(totals)), np.int64) for _ in range(2))
    for total in np.unique(totals):
        columns = np.flatnonzero(totals == total)
        count = draws * len(columns)
        if not 1 <= total < ways.shape[1] or not ways[:, total].any():
            breadth[:, columns], depth[:, columns] = total, int(total > 0)
            continue
        likely = ways[:, total] / ways[:, total].sum()
        layers = rng.choice(len(ways), count, p=likely)
        left, widest = np.full(count, total), np.zeros(count, np.int64)
        for above in range(most_layers - 1, -1, -1):  # layers that remain above this one
            for rest in np.unique(left[layers > above]):
                rows = np.flatnonzero((layers > above) & (left == rest))
                sizes = np.arange(1, min(most_channels, rest) + 1)
                weight = ways[above, rest - sizes]
                drawn = rng.choice(sizes, len(rows), p=weight / weight.sum())
                widest[rows] = np.maximum(widest[rows], drawn)
                left[rows] -= drawn
        breadth[:, columns] = widest.reshape(draws, -1)
        depth[:, columns] = layers.reshape(draws, -1)
    return breadth, depth


def _ways(most_channels: int, most_layers: int, most_total: int) -> Floats:
    """Return the number of ways to split each total over each number of layers: shape (layers + 1, total + 1)."""
    ways = np.zeros((most_layers + 1, most_total + 1))
    ways[0, 0] = 1
    for layers, total in itertools.product(range(1, most_layers + 1), range(1, most_total + 1)):
        ways[layers, total] = ways[layers - 1, max(0, total - most_channels) : total].sum()
    return ways


def _targets(free: Networks, targets: Mapping[int, float], pair: tuple[str, str, str]) -> list[dict[str, Any]]:
    """Return the correlation near each target accuracy."""
    found = []
    for which, target in targets.items():
        band = free.take(np.abs(free.accuracy - target) <= BAND)
        found.append({
            "percentile": which,
            "accuracy": target,
            "networks": len(band),
            "correlation": -traded(band, pair),
        })
    return found


def exchange_rates(free: Networks, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return by what factor one resource must grow at equal accuracy if another is halved, for all pairs.

    A linear fit predicts the log-odds of accuracy from the logarithms of the three resources. A rate is given only if
    the intervals of both slopes lie above zero.
    """
    usable = free.take((free.breadth > 0) & (free.depth > 0) & (free.time > 0))
    if len(usable) < LEAST_NETWORKS or len(np.unique(usable.seed)) < LEAST_SEEDS:
        return []
    groups = grouped(usable.seed)
    slopes = {
        name: bootstrapped(lambda rows, at=at: float(_slopes(usable.take(rows))[at]), groups, rng)  # type: ignore[misc]
        for at, name in enumerate(RESOURCES)
    }
    found = []
    for halved, paid in itertools.permutations(RESOURCES, 2):
        is_known = all(slopes[name].is_known and slopes[name].low > 0 for name in (halved, paid))
        rate = Estimate(math.nan)
        if is_known:
            a, b = RESOURCES.index(halved), RESOURCES.index(paid)
            rate = bootstrapped(lambda rows, a=a, b=b: _rate(usable.take(rows), a, b), groups, rng)  # type: ignore[misc]
        found.append({
            "halved": halved,
            "paid": paid,
            "times": rate.value if is_known else None,
            "low": rate.low if is_known else None,
            "high": rate.high if is_known else None,
        })
    return found


def _slopes(networks: Networks) -> Floats:
    odds = np.clip(networks.accuracy, 0.005, 0.995)
    of = [np.ones(len(networks)), *(np.log(networks.resource(name)) for name in RESOURCES)]
    found: Floats = np.linalg.lstsq(np.column_stack(of), np.log(odds / (1 - odds)), rcond=None)[0][1:]
    return found


def _rate(networks: Networks, halved: int, paid: int) -> float:
    slopes = _slopes(networks)
    if slopes[paid] <= 0:
        return math.nan
    # A resource that gains almost no accuracy would need a nearly infinite factor.
    return float(2 ** min(slopes[halved] / slopes[paid], _MOST_DOUBLINGS))
