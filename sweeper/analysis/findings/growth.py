"""F2: networks grow in breadth, depth and time with the complexity of the task."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.analysis.findings.networks import RESOURCES, Networks
from sweeper.analysis.findings.statistics import (
    DRAWS,
    INTERVAL,
    Estimate,
    Floats,
    Indices,
    bootstrapped,
    kendall,
    trend,
)
from sweeper.analysis.findings.tradeoffs import PRIMARY
from sweeper.analysis.findings.verdicts import LEAST_SEEDS, Control, Part

CLAIM = "F2"
TITLE = "networks grow in breadth, depth and time with the complexity of the task"

#: Least number of tasks on a ladder.
LEAST_LEVELS = 4

#: The smallest ratio between the needs of the hardest and the easiest task that matters.
LEAST = 1.1

#: Least agreement of the two measures of complexity on the ladder's order, as Kendall's τ.
LEAST_AGREEMENT = 0.6

#: Largest rise of accuracy along a ladder at which its tasks still count as harder.
MOST_RISE = 0.02


@dataclass(frozen=True)
class Ladder:
    """Tasks from the easiest to the hardest.

    Attributes:
        levels: The tasks, without their class sets.
        regression, neighbour: Mean error of each measure of complexity.
        agreement: Kendall's τ between the orders by the two measures.
    """

    levels: tuple[str, ...]
    regression: tuple[float, ...]
    neighbour: tuple[float, ...]
    agreement: float


def ladder_of(networks: Networks) -> Ladder | None:
    """Return the tasks of a sweep in the order of their complexity; None if complexity was not measured."""
    levels = np.unique(networks.level)
    measured = [networks.values.get(f"complexity.{name}") for name in ("regression", "neighbour")]
    if any(values is None for values in measured) or not len(levels):
        return None
    errors = np.array([
        [float(np.mean(values[networks.level == level])) for level in levels]  # type: ignore[index]
        for values in measured
    ])
    if not np.isfinite(errors).all():
        return None
    from scipy import stats

    ranks = stats.rankdata(errors, axis=1)
    order = np.lexsort((errors[0], ranks.mean(0)))
    return Ladder(
        tuple(levels[order].tolist()),
        tuple(errors[0][order].tolist()),
        tuple(errors[1][order].tolist()),
        kendall(errors[0], errors[1]) if len(levels) > 1 else math.nan,
    )


def parts(networks: Networks, ladder: Ladder, rule: str) -> list[Part]:
    """Decide how much of each resource the networks of one halting rule need along a ladder of tasks.

    Args:
        networks: Complete trials of that rule, of all tasks of the ladder.
        ladder: The tasks in order.
        rule: Name of the halting rule.
    """
    rng = np.random.default_rng(0)
    task = " < ".join(ladder.levels)
    lacks = _lacks(networks, ladder)
    accuracy = _accuracies(networks, ladder)
    return [_part(networks, ladder, resource, task, rule, lacks, accuracy, rng) for resource in RESOURCES]


def _lacks(networks: Networks, ladder: Ladder) -> str:
    blocks = len(np.unique(networks.block))
    if len(ladder.levels) < LEAST_LEVELS:
        return f"the ladder has {len(ladder.levels)} tasks, and {LEAST_LEVELS} are needed"
    if blocks < LEAST_SEEDS:
        return f"{blocks} blocks of class sets and seeds climbed the ladder, and {LEAST_SEEDS} are needed"
    sets = len(np.unique(networks.class_set))
    if networks.class_set.any() and sets < LEAST_SEEDS:
        # Otherwise the seeds share classes, and what is found may be the peculiarity of these few.
        return f"`class_seed` has {sets} of the {LEAST_SEEDS} values that are needed where classes are drawn"
    return ""


def _accuracies(networks: Networks, ladder: Ladder) -> list[float]:
    return [float(networks.accuracy[networks.level == level].mean()) for level in ladder.levels]


def _part(
    networks: Networks,
    ladder: Ladder,
    resource: str,
    task: str,
    rule: str,
    lacks: str,
    accuracy: list[float],
    rng: np.random.Generator,
) -> Part:
    pressures, at_accuracy = (
        at_fixed_pressures(networks, ladder, resource),
        at_fixed_accuracy(networks, ladder, resource),
    )
    ways = {
        "at fixed pressures": _way(pressures, rng),
        "at fixed accuracy": _way(at_accuracy.values, rng),
    }
    # Both ways must show growth, so the weaker one decides. A refuted way decides even if the other lacks data.
    enough = {name: way for name, way in ways.items() if way.blocks >= LEAST_SEEDS and way.effect.is_known}
    is_refuted = any(way.effect.high < LEAST for way in enough.values())
    if not lacks and not is_refuted:
        of = len(np.unique(networks.block))
        few = [f"{name} in {way.blocks} of {of} blocks" for name, way in ways.items() if way.blocks < LEAST_SEEDS]
        if few:
            lacks = f"no task is censored {' and '.join(few)}, and {LEAST_SEEDS} are needed"
    compared = enough if is_refuted else ways
    worse = min(compared.values(), key=lambda way: way.effect.low if way.effect.is_known else -math.inf)
    rise = accuracy[-1] - accuracy[0]
    controls = (
        Control(
            "harder tasks",
            bool(rise <= MOST_RISE),
            f"accuracy goes from {accuracy[0]:.3f} to {accuracy[-1]:.3f} along the ladder at the same pressures",
            is_void=True,
        ),
        Control(
            "order of the ladder",
            bool(ladder.agreement >= LEAST_AGREEMENT),
            f"the two measures of complexity agree by τ = {ladder.agreement:.2f}; {LEAST_AGREEMENT:g} is needed",
            is_void=True,
        ),
    )
    return Part(
        CLAIM,
        resource,
        rule,
        task,
        worse.effect,
        "times from the easiest to the hardest task",
        LEAST,
        p=max((way.p for way in compared.values()), default=math.nan),
        networks=len(networks),
        seeds=len(np.unique(networks.block)),
        lacks=lacks,
        controls=controls,
        numbers=_numbers(networks, ladder, accuracy, ways, pressures, at_accuracy),
    )


def _numbers(
    networks: Networks,
    ladder: Ladder,
    accuracy: Sequence[float],
    ways: Mapping[str, _Way],
    pressures: Floats,
    at_accuracy: AtAccuracy,
) -> dict[str, Any]:
    """Return the numbers behind a resource's effect: both ways, each task of the ladder, and each block."""
    spreads = {
        "at fixed pressures": _intervals(np.log(_whole(pressures)), np.exp),
        "at fixed accuracy": _intervals(np.log(_whole(at_accuracy.values)), np.exp),
    }
    sure = _intervals(_by_block(networks, ladder), np.asarray)
    found = {
        name: {
            "ratio": way.effect.value,
            "low": way.effect.low,
            "high": way.effect.high,
            "p": way.p,
            "blocks": way.blocks,
        }
        for name, way in ways.items()
    }
    return {
        "ways": found,
        "ladder": [
            {
                "task": level,
                "regression": ladder.regression[at],
                "neighbour": ladder.neighbour[at],
                "accuracy": accuracy[at],
                "accuracy_interval": list(sure[at]),
                "at_fixed_pressures": _mean(pressures, at),
                "at_fixed_pressures_interval": list(spreads["at fixed pressures"][at]),
                "at_fixed_accuracy": _mean(at_accuracy.values, at),
                "at_fixed_accuracy_interval": list(spreads["at fixed accuracy"][at]),
                "censored_above": int(at_accuracy.is_above[:, at].sum()),
                "censored_below": int(at_accuracy.is_below[:, at].sum()),
                "macs": float(networks.macs[networks.level == level].mean()),
                "parameters": float(networks.parameters[networks.level == level].mean()),
            }
            for at, level in enumerate(ladder.levels)
        ],
        "target": at_accuracy.target,
        "blocks": [
            {
                "block": str(block),
                "at_fixed_pressures": _known(pressures[at]),
                "at_fixed_accuracy": _known(at_accuracy.values[at]),
            }
            for at, block in enumerate(np.unique(networks.block))
        ],
    }


@dataclass(frozen=True)
class _Way:
    """One of the two ways to measure growth: its ratio, the p of its trend, and its number of blocks."""

    effect: Estimate
    p: float
    blocks: int


def _way(table_BL: Floats, rng: np.random.Generator) -> _Way:
    """Return the growth in a table of a resource: a row for each block, a column for each task, NaN if censored."""
    whole = _whole(table_BL)
    if len(whole) < 2:
        return _Way(Estimate(math.nan), math.nan, len(whole))
    ratio_B = np.log(whole[:, -1] / whole[:, 0])

    def mean(rows: Indices) -> float:
        return float(np.exp(ratio_B[rows].mean()))

    effect = bootstrapped(mean, [[row] for row in range(len(whole))], rng)
    return _Way(effect, trend(whole), len(whole))


def _mean(table_BL: Floats, at: int) -> float | None:
    known = _whole(table_BL)
    return float(np.exp(np.log(known[:, at]).mean())) if len(known) else None


def _whole(table_BL: Floats) -> Floats:
    """Return the blocks in which no task is censored."""
    found: Floats = table_BL[np.isfinite(table_BL).all(1)]
    return found


def _known(row: Floats) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in row]


def _by_block(networks: Networks, ladder: Ladder) -> Floats:
    """Return the mean accuracy of each block on each task."""
    rows = [networks.take(networks.block == block) for block in np.unique(networks.block)]
    return _whole(np.array([_by_level(own, ladder, own.accuracy) for own in rows]))


def _intervals(table_BL: Floats, back: Callable[[Floats], Floats]) -> list[tuple[float | None, float | None]]:
    """Return the interval of the mean over blocks on each task, by a bootstrap of blocks; None for fewer than two.

    The intervals are described only. They draw from a generator of their own, so that the draws that decide stay the
    same with and without them.

    Args:
        table_BL: A row for each block.
        back: Transforms means from the scale of the table to that of the values.
    """
    blocks, levels = table_BL.shape
    if blocks < 2:
        return [(None, None)] * levels
    drawn = np.random.default_rng(0).integers(0, blocks, (DRAWS, blocks))
    low, high = np.percentile(back(table_BL[drawn].mean(1)), INTERVAL, axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def at_fixed_pressures(networks: Networks, ladder: Ladder, resource: str) -> Floats:
    """Return a resource by block and task: the geometric mean over settings that are censored on no task of the block.

    Returns:
        Shape (blocks, tasks); NaN for a block without such a setting.
    """
    rows = []
    for block in np.unique(networks.block):
        own = networks.take(networks.block == block)
        kept = []
        for setting in np.unique(own.setting):
            them = own.take(own.setting == setting)
            values = _by_level(them, ladder, them.resource(resource))
            limited = _by_level(them, ladder, them.limited[resource].astype(float))
            if np.isfinite(values).all() and not limited.any() and (values > 0).all():
                kept.append(np.log(values))
        rows.append(np.exp(np.mean(kept, 0)) if kept else np.full(len(ladder.levels), math.nan))
    return np.array(rows).reshape(-1, len(ladder.levels))


def _by_level(networks: Networks, ladder: Ladder, values: Floats) -> Floats:
    found = [values[networks.level == level] for level in ladder.levels]
    return np.array([one.mean() if len(one) else math.nan for one in found])


@dataclass(frozen=True)
class AtAccuracy:
    """The least of a resource that each block needs to reach one accuracy.

    Attributes:
        values: Shape (blocks, tasks); NaN if censored.
        is_above: Whether no network of the block reaches the accuracy, so that the need exceeds all that was tried.
        is_below: Whether the smallest network of the block already reaches it, so that the need may be less.
        target: The accuracy.
    """

    values: Floats
    is_above: NDArray[np.bool_]
    is_below: NDArray[np.bool_]
    target: float


def at_fixed_accuracy(networks: Networks, ladder: Ladder, resource: str) -> AtAccuracy:
    """Return the least of a resource with which each block reaches the primary target accuracy of the hardest task."""
    blocks, levels = np.unique(networks.block), ladder.levels
    hardest = networks.accuracy[networks.level == levels[-1]]
    target = float(np.percentile(hardest, PRIMARY)) if len(hardest) else math.nan
    values = np.full((len(blocks), len(levels)), math.nan)
    above, below = (np.zeros(values.shape, bool) for _ in range(2))
    for b, block in enumerate(blocks):
        for at, level in enumerate(levels):
            own = networks.take((networks.block == block) & (networks.level == level))
            if len(own):
                values[b, at], above[b, at], below[b, at] = least_for(own.resource(resource), own.accuracy, target)
    return AtAccuracy(values, above, below, target)


def least_for(resource: Floats, accuracy: Floats, target: float) -> tuple[float, bool, bool]:
    """Return the least of a resource that reaches an accuracy, interpolated between the frontier's networks around it.

    No network that has any channel has less than 1 of a resource. So a network with 1 that reaches the target is not
    censored: there is nothing smaller that could have been tried. For the same reason no interpolation goes below 1.

    Args:
        resource, accuracy: Values of N networks.
        target: The accuracy.

    Returns:
        The value; whether no network reaches the target; whether the network with the least of the resource already
        reaches it, though a smaller one is possible. The value is NaN in both cases.
    """
    order = np.lexsort((-accuracy, resource))
    amounts, best = resource[order], np.maximum.accumulate(accuracy[order])
    if best[-1] < target:
        return math.nan, True, False
    at = int(np.argmax(best >= target))
    if amounts[at] == 1:
        return 1.0, False, False
    if amounts[at] == amounts[0]:
        return math.nan, False, True
    # The frontier's point before: the best of all networks with less of the resource.
    less = amounts < amounts[at]
    low, reached = float(best[less][-1]), float(best[at])
    first = float(amounts[less][np.argmax(best[less] >= low)])
    share = (target - low) / (reached - low)
    return max(1.0, first + share * (float(amounts[at]) - first)), False, False
