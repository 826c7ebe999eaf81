"""Chooses the accuracies at which all pictures of a sweep compare: the user's, or some chosen from all its tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from sweeper.analysis.pareto import non_dominated
from sweeper.errors import QueryError
from sweeper.measurements import MEASUREMENTS, Goal

Row = Mapping[str, Any]
Item = TypeVar("Item")

#: Most accuracies in one picture; each has a colour, a marker and dashes of its own.
MOST_ACCURACIES = 4

#: The resources that a network needs to reach an accuracy.
RESOURCES = ("breadth", "depth", "time")

#: Round accuracies to choose from, if they tell the settings apart. For good networks, errors about halve from each to
#: the next.
_ROUND = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)

#: Candidates to examine for each accuracy to choose, if `_ROUND` does not tell settings apart.
_CANDIDATES = 3


def checked_accuracies(asked: Sequence[float]) -> tuple[float, ...]:
    """Return the accuracies that a user asked for, each once, lowest first.

    Raises:
        QueryError: If there are too many, or one is not a proportion.
    """
    for accuracy in asked:
        if not 0 < accuracy <= 1:
            meant = f" Write {accuracy / 100:g} for {accuracy:g} %." if 1 < accuracy <= 100 else " Name another one."
            raise QueryError(f"an accuracy is a proportion above 0 and up to 1, but got {accuracy:g}.{meant}")
    found = tuple(sorted(set(asked)))
    if len(found) > MOST_ACCURACIES:
        raise QueryError(
            f"a picture tells {MOST_ACCURACIES} accuracies apart at most, but got {len(found)}: "
            f"{', '.join(f'{one:g}' for one in found)}. Name fewer."
        )
    return found


def chosen_accuracies(rows: Sequence[Row]) -> tuple[float, ...]:
    """Choose round accuracies at which to compare the tasks of a sweep, lowest first.

    Two or more tasks, but not all, reach up to half of the accuracies. The others are the highest that all tasks reach.
    No accuracy needs the same networks as the next one.

    Args:
        rows: The settings of all tasks of a sweep that were measured in accuracy.
    """
    by_task: dict[str, list[Row]] = {}
    for row in rows:
        by_task.setdefault(row["task"], []).append(row)
    tops = sorted((max(row["accuracy"] for row in own) for own in by_task.values()), reverse=True)
    if not tops:
        return ()
    least, common, shared = min(row["accuracy"] for row in rows), tops[-1], tops[min(1, len(tops) - 1)]
    below = _telling(by_task, [level for level in _ROUND if least < level <= common])
    above = _telling(by_task, [level for level in _ROUND if common < level <= shared])
    if not below or len(below) + len(above) < 2:  # the accuracies lie too close together for `_ROUND`
        values = sorted({row["accuracy"] for row in rows if row["accuracy"] <= shared})
        levels = [_shortest(before, value) for before, value in zip([-math.inf, *values], values, strict=False)]
        first = sum(level <= common for level in levels)
        below = _telling(by_task, spread(levels[:first], _CANDIDATES * MOST_ACCURACIES))
        above = _telling(by_task, spread(levels[first:], _CANDIDATES * MOST_ACCURACIES))
    above = above[: MOST_ACCURACIES // 2]
    return (*below[len(above) - MOST_ACCURACIES :], *above)


def _telling(by_task: Mapping[str, Sequence[Row]], levels: Sequence[float]) -> list[float]:
    """Return sorted accuracies without those that need the same networks as the next one; the last always stays."""
    found: list[float] = []
    needed: object = None
    for level in reversed(levels):
        needs = [_needed(rows, level) for rows in by_task.values()]
        if needs != needed:
            found.append(level)
        needed = needs
    return found[::-1]


def _needed(rows: Sequence[Row], accuracy: float) -> list[str]:
    """Return the keys of the settings that reach an accuracy and that no other one beats in resources."""
    reaching = [row for row in rows if row["accuracy"] >= accuracy]
    whole = [row for row in reaching if all(row.get(name) is not None for name in RESOURCES)]
    if not whole:
        return [row["key"] for row in reaching]
    kept = non_dominated([[row[name] for name in RESOURCES] for row in whole], [Goal.MINIMIZE] * len(RESOURCES))
    return sorted(row["key"] for row, is_kept in zip(whole, kept, strict=True) if is_kept)


def is_bound(row: Row, resource: str, smallest: float) -> bool:
    """Return whether a setting only gives an upper bound on the resource that its accuracy needs.

    It does if no smaller setting was tried, though a smaller one is possible.

    Args:
        row: The setting's row.
        resource: One of `RESOURCES`.
        smallest: The least of the resource among all settings of the task.
    """
    return bool(MEASUREMENTS[resource].least < row[resource] <= smallest)


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """Return at most `most` evenly spaced items, with the last and, if `most` is above one, the first among them."""
    if len(items) <= most:
        return list(items)
    last = len(items) - 1
    return [items[round(last - part * last / max(1, most - 1))] for part in reversed(range(most))]


def _shortest(low: float, high: float) -> float:
    """Return the number above `low` and up to `high` with the fewest decimals; the largest if there are several."""
    for decimals in range(1, 9):
        rounded: float = math.floor(high * 10**decimals + 1e-9) / 10**decimals
        if low < rounded <= high:
            return rounded
    return high
