"""Mathematics of fronts: the non-dominated set and its hypervolume. Knows nothing of trials.

A point *dominates* another if it is no worse in every objective and better in one. Shapes:
N points, M objectives. The algorithms are moocore's; tests compare them with slow, obvious twins.
"""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sweeper.measurements import Goal


def non_dominated(values_NM: ArrayLike, goals: Sequence[Goal], /) -> NDArray[np.bool_]:
    """Return which points no other point dominates. Equal points are all kept.

    Args:
        values_NM: Objective values, shape (N, M), in their own units. Not written to.
        goals: Direction of each objective, length M.

    Returns:
        Shape (N,), True on the front; empty for an empty input.

    Raises:
        ValueError: If the shape does not fit the goals, or a value is NaN or infinite.

    Example:
        >>> non_dominated([[0.9, 3.0], [0.8, 3.0]], [Goal.MAXIMIZE, Goal.MINIMIZE])
        array([ True, False])

    Source: moocore, `is_nondominated`; O(N log N) for two and three objectives.
    """
    points_NM = checked_points(values_NM, goals)
    if len(points_NM) == 0:
        return np.zeros(0, dtype=bool)
    # keep_weakly, because two seeds of one setting, or two settings that tie, are both worth showing.
    kept_N = moocore.is_nondominated(points_NM, maximise=maximised(goals), keep_weakly=True)
    return np.asarray(kept_N, dtype=bool)


def hypervolume(values_NM: ArrayLike, goals: Sequence[Goal], reference_M: ArrayLike, /) -> float:
    """Return the volume that the points dominate inside the reference point.

    Args:
        values_NM: Objective values, shape (N, M). Dominated points change nothing.
        goals: Direction of each objective, length M.
        reference_M: The worst corner that still counts, shape (M,), in the objectives' units.

    Returns:
        The product of the objectives' units; 0.0 if no point is better than the reference in every objective.

    Raises:
        ValueError: If a shape does not fit the goals, or a value is NaN or infinite.

    Example:
        >>> hypervolume([[1.0, 2.0]], [Goal.MINIMIZE, Goal.MINIMIZE], [3.0, 3.0])
        2.0

    Source: Zitzler and Thiele 1998; moocore, `hypervolume`, exact.
    """
    points_NM = checked_points(values_NM, goals)
    corner_M = checked_corner(reference_M, goals)
    sign_M = np.where(maximised(goals), -1.0, 1.0)
    inside_N = (points_NM * sign_M < corner_M * sign_M).all(axis=1)
    if not inside_N.any():
        return 0.0
    return float(moocore.hypervolume(points_NM[inside_N], ref=corner_M, maximise=maximised(goals)))


def ranks(values_NM: ArrayLike, goals: Sequence[Goal], /) -> NDArray[np.int64]:
    """Return each point's non-dominated rank: 0 on the front, 1 on the front of the remaining points, and so on.

    Args:
        values_NM: Objective values, shape (N, M).
        goals: Direction of each objective, length M.

    Returns:
        Whole numbers, shape (N,). Equal points share a rank.

    Raises:
        ValueError: If the shape does not fit the goals, or a value is NaN or infinite.

    Source: Deb et al. 2002 (non-dominated sorting); moocore, `pareto_rank`.
    """
    points_NM = checked_points(values_NM, goals)
    if len(points_NM) == 0:
        return np.zeros(0, dtype=np.int64)
    return np.asarray(moocore.pareto_rank(points_NM, maximise=maximised(goals)), dtype=np.int64)


def scalarized(values_NM: ArrayLike, goals: Sequence[Goal], weights_M: ArrayLike, /) -> NDArray[np.float64]:
    """Return the augmented Chebyshev value of each point: max_i w_i q_i + 0.05 Σ w_i q_i, with quantiles q.

    Quantiles make objectives of any unit and spread comparable: q is 0 for the best value of an objective among the
    points, 1 for the worst, and ties share their mean rank.

    Args:
        values_NM: Objective values, shape (N, M).
        goals: Direction of each objective, length M.
        weights_M: Weights, shape (M,), not negative.

    Returns:
        Shape (N,), to be minimised, without a unit.

    Raises:
        ValueError: If a shape does not fit the goals, or a value is NaN or infinite.

    Source: Knowles 2006 (ParEGO), equation 2, with quantiles in place of its range scaling.
    """
    points_NM = checked_points(values_NM, goals)
    losses_NM = points_NM * np.where(maximised(goals), -1.0, 1.0)
    below_NM = (losses_NM[None, :, :] < losses_NM[:, None, :]).sum(1)
    ties_NM = (losses_NM[None, :, :] == losses_NM[:, None, :]).sum(1)
    quantiles_NM = (below_NM + (ties_NM - 1) / 2) / max(1, len(points_NM) - 1)
    weighted_NM = quantiles_NM * np.asarray(weights_M, dtype=float)
    return np.asarray(weighted_NM.max(axis=1, initial=0.0) + 0.05 * weighted_NM.sum(axis=1))


def maximised(goals: Sequence[Goal]) -> list[bool]:
    """Return which objectives to maximise, as moocore's argument `maximise` takes it."""
    return [Goal(goal) is Goal.MAXIMIZE for goal in goals]


def checked_points(values_NM: ArrayLike, goals: Sequence[Goal]) -> NDArray[np.float64]:
    """Return a private copy of the points as floats, shape (N, M), or refuse them with a ValueError."""
    if len(goals) == 0:
        raise ValueError("a front needs at least one objective, but got none. Name one, such as accuracy.")
    points_NM = np.array(values_NM, dtype=np.float64)
    if points_NM.size == 0:
        return points_NM.reshape(0, len(goals))
    if points_NM.ndim != 2 or points_NM.shape[1] != len(goals):
        raise ValueError(
            f"points need the shape (N, {len(goals)}), one column for each objective, "
            f"but have {points_NM.shape}. Pass one row for each point."
        )
    bad_rows = np.flatnonzero(~np.isfinite(points_NM).all(axis=1))
    if len(bad_rows):
        row = int(bad_rows[0])
        raise ValueError(
            f"every objective value must be finite, but row {row} holds {points_NM[row].tolist()}. "
            "Leave out trials that ended without a finite measurement."
        )
    return points_NM


def checked_corner(corner_M: ArrayLike, goals: Sequence[Goal], what: str = "reference point", /) -> NDArray[np.float64]:
    """Return a private copy of a point as floats, shape (M,), or refuse it with a ValueError."""
    corner_M = np.array(corner_M, dtype=np.float64)
    if corner_M.shape != (len(goals),):
        raise ValueError(
            f"the {what} needs one value for each of {len(goals)} objectives, "
            f"but has shape {corner_M.shape}. Give a list of {len(goals)} numbers."
        )
    if not np.isfinite(corner_M).all():
        raise ValueError(
            f"the {what} must be finite, but got {corner_M.tolist()}. "
            "Choose the worst value that still counts for each objective."
        )
    return corner_M
