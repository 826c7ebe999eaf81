"""Mathematics of comparing fronts: distances, coverage, attainment over replicates, and hypervolume over time.

Nothing is inferred: reference points and reference sets are arguments. Shapes: N points, M objectives, R replicates.
Equal and dominated points change no result. Algorithms are moocore's if it has them; tests compare them with slow,
obvious twins.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sweeper.analysis.pareto import checked_corner, checked_points, maximised, non_dominated
from sweeper.measurements import Goal

#: Most clipped boxes that go to moocore directly. Of more boxes, those inside the largest ones are dropped first.
_FEW = 64


def additive_epsilon(values_NM: ArrayLike, reference_set_KM: ArrayLike, goals: Sequence[Goal], /) -> float:
    """Return by how much all points must improve to weakly dominate the reference set.

    max_k min_n max_m (a_nm - r_km), with objectives taken as losses. The formula mixes objectives, so their values need
    one unit, such as those of `normalised`.

    Args:
        values_NM: Objective values, shape (N, M). Not written to.
        reference_set_KM: The reference set, shape (K, M), in the same units.
        goals: Direction of each objective, length M.

    Returns:
        In the objectives' common unit; 0 or less exactly if the points weakly dominate the whole reference set.

    Raises:
        ValueError: If either is empty, a shape does not fit the goals, or a value is NaN or infinite.

    Example:
        >>> additive_epsilon([[2.0, 3.0]], [[1.0, 3.0]], [Goal.MINIMIZE, Goal.MINIMIZE])
        1.0

    Source: Zitzler et al. 2003, I_ε+; moocore, `epsilon_additive`, O(M N K).
    """
    points_NM, reference_KM = _filled(values_NM, goals, "points"), _filled(reference_set_KM, goals, "reference set")
    return float(moocore.epsilon_additive(points_NM, ref=reference_KM, maximise=maximised(goals)))


def igd_plus(values_NM: ArrayLike, reference_set_KM: ArrayLike, goals: Sequence[Goal], /) -> float:
    """Return the mean distance from the reference set to the region that the points dominate (IGD+).

    The mean over k of min_n |max(a_n - r_k, 0)|, with objectives taken as losses. The distance is Euclidean, so values
    need one unit, such as those of `normalised`.

    Args:
        values_NM: Objective values, shape (N, M). Not written to.
        reference_set_KM: The reference set, shape (K, M), in the same units. All of its points weigh the same,
            duplicates too.
        goals: Direction of each objective, length M.

    Returns:
        In the objectives' common unit; 0 exactly if the points weakly dominate the whole reference set.

    Raises:
        ValueError: If either is empty, a shape does not fit the goals, or a value is NaN or infinite.

    Example:
        >>> igd_plus([[4.0, 3.0]], [[1.0, 9.0], [4.0, 3.0]], [Goal.MINIMIZE, Goal.MINIMIZE])
        1.5

    Source: Ishibuchi et al. 2015; moocore, `igd_plus`.
    """
    points_NM, reference_KM = _filled(values_NM, goals, "points"), _filled(reference_set_KM, goals, "reference set")
    return float(moocore.igd_plus(points_NM, ref=reference_KM, maximise=maximised(goals)))


def coverage(a_NM: ArrayLike, b_KM: ArrayLike, goals: Sequence[Goal], /) -> float:
    """Return the share of b that some point of a weakly dominates: C(a, b). It is not 1 - C(b, a).

    Args:
        a_NM: Objective values, shape (N, M); an empty set covers nothing.
        b_KM: Objective values, shape (K, M). All points weigh the same, duplicates too.
        goals: Direction of each objective, length M.

    Returns:
        From 0 to 1; 1 if a equals b.

    Raises:
        ValueError: If b is empty, a shape does not fit the goals, or a value is NaN or infinite.

    Example:
        >>> coverage([[1.0, 2.0]], [[1.0, 2.0], [0.0, 9.0]], [Goal.MINIMIZE, Goal.MINIMIZE])
        0.5

    Source: Zitzler and Thiele 1998, the metric C.
    """
    losses_NM, losses_KM = _losses(checked_points(a_NM, goals), goals), _losses(_filled(b_KM, goals, "second"), goals)
    covered_K = [bool((losses_NM <= loss_M).all(axis=1).any()) for loss_M in losses_KM]
    return sum(covered_K) / len(covered_K)


def ideal_point(values_NM: ArrayLike, goals: Sequence[Goal], /) -> NDArray[np.float64]:
    """Return the best value of each objective, shape (M,), in its own unit.

    Raises:
        ValueError: If there is no point, the shape does not fit the goals, or a value is NaN or infinite.
    """
    points_NM = _filled(values_NM, goals, "points")
    return np.asarray(np.where(maximised(goals), points_NM.max(axis=0), points_NM.min(axis=0)))


def nadir_point(values_NM: ArrayLike, goals: Sequence[Goal], /) -> NDArray[np.float64]:
    """Return the worst value of each objective over the front of the points, shape (M,), in its own unit.

    Raises:
        ValueError: If there is no point, the shape does not fit the goals, or a value is NaN or infinite.
    """
    points_NM = _filled(values_NM, goals, "points")
    front_NM = points_NM[non_dominated(points_NM, goals)]
    return np.asarray(np.where(maximised(goals), front_NM.min(axis=0), front_NM.max(axis=0)))


def normalised(
    values_NM: ArrayLike, goals: Sequence[Goal], ideal_M: ArrayLike, nadir_M: ArrayLike, /
) -> NDArray[np.float64]:
    """Return the points as losses without a unit, scaled so that the ideal point is 0 and the nadir point 1.

    An objective whose ideal and nadir are equal is only shifted.

    Args:
        values_NM: Objective values, shape (N, M). Not written to.
        goals: Direction of each objective, length M.
        ideal_M: Best values, shape (M,), such as `ideal_point` gives.
        nadir_M: Worst values, shape (M,), such as `nadir_point` gives.

    Returns:
        Losses, shape (N, M).

    Raises:
        ValueError: If a shape does not fit the goals, or a value is NaN or infinite.
    """
    points_NM = checked_points(values_NM, goals)
    best_M, worst_M = checked_corner(ideal_M, goals, "ideal point"), checked_corner(nadir_M, goals, "nadir point")
    range_M = np.abs(worst_M - best_M)
    return _losses(points_NM - best_M, goals) / np.where(range_M > 0, range_M, 1.0)


def attainment_surface(fronts_RNM: Sequence[ArrayLike], goals: Sequence[Goal], share: float, /) -> NDArray[np.float64]:
    """Return the best points that at least a share of the replicates attain.

    A replicate *attains* a point if one of its own points weakly dominates it. The surface of the share 0.5 is the
    median front. With R replicates, a share of 1/R or less gives the best surface, which one replicate attains, and 1
    gives the worst, which all attain.

    Args:
        fronts_RNM: The points of each replicate, R arrays of shape (N, M), N of any size. A replicate without points
            attains nothing. Not written to.
        goals: Direction of each objective, length M; two or three.
        share: From 0 (one replicate) to 1; rounded up to whole replicates.

    Returns:
        The corners of the surface, shape (K, M), each once, by the first objective, ascending; empty if so many
        replicates attain no common point.

    Raises:
        ValueError: If there is no replicate, the share is not from 0 to 1, there are not two or three objectives, a
            shape does not fit the goals, or a value is NaN or infinite.

    Example:
        >>> attainment_surface([[[1.0, 3.0]], [[2.0, 2.0]]], [Goal.MINIMIZE, Goal.MINIMIZE], 1.0)
        array([[2., 3.]])

    Source: Fonseca and Fleming 1996; Fonseca et al. 2011; moocore, `eaf`.
    """
    if len(goals) not in (2, 3):
        raise ValueError(
            f"attainment needs two or three objectives, but got {len(goals)}. Choose two or three of them."
        )
    if not 0 <= share <= 1:
        raise ValueError(f"the share of replicates must be from 0 to 1, but got {share}. 0.5 is the median.")
    if not fronts_RNM:
        raise ValueError("attainment needs the front of at least one replicate, but got none.")
    fronts = [checked_points(front, goals) for front in fronts_RNM]
    wanted = whole_replicates(share, len(fronts))
    filled = [_losses(front, goals) for front in fronts if len(front)]
    if wanted > len(filled):
        return np.empty((0, len(goals)))
    replicates = np.repeat(np.arange(len(filled)), [len(front) for front in filled])
    # This function of moocore minimises, and counts in percent of the replicates that have points.
    surface = moocore.eaf(np.vstack(filled), replicates, percentiles=[100 * wanted / len(filled)])
    corners_KM = np.unique(_losses(surface[:, :-1], goals), axis=0)
    return np.asarray(corners_KM + 0.0, dtype=float)  # + 0.0 removes the -0.0 of maximised objectives


def whole_replicates(share: float, replicates: int, /) -> int:
    """Return how many replicates a share of them is, rounded up, and at least 1."""
    # A float share such as 2/3 may lie a little above it, and must not round up to one more replicate.
    return max(1, math.ceil(share * replicates - 1e-9))


def hypervolume_history(
    values_NM: ArrayLike,
    goals: Sequence[Goal],
    reference_M: ArrayLike,
    /,
    names: Sequence[Hashable] | None = None,
) -> NDArray[np.float64]:
    """Return the hypervolume of the first point, of the first two, and so on.

    Args:
        values_NM: Objective values, shape (N, M), in order of time. Not written to.
        goals: Direction of each objective, length M.
        reference_M: The worst corner that still counts, shape (M,), in the objectives' units.
        names: Name of each row, length N. A later row replaces an earlier one of the same name, so the volume may fall.
            None if all names differ; then the volume never falls.

    Returns:
        Shape (N,), the product of the objectives' units; equal to `pareto.hypervolume` up to rounding.

    Raises:
        ValueError: If a shape does not fit the goals, there is not one name per point, or a value is NaN or infinite.

    Example:
        >>> hypervolume_history([[2.0, 2.0], [9.0, 9.0], [1.0, 2.0]], [Goal.MINIMIZE, Goal.MINIMIZE], [3.0, 3.0])
        array([1., 1., 2.])

    A point that does not enter the front costs one comparison with the front. A point that enters adds the part of its
    box that the front does not cover yet. A point that is replaced by a worse value takes such a part away.
    """
    points_NM = checked_points(values_NM, goals)
    corner_M = checked_corner(reference_M, goals)
    whose = list(range(len(points_NM))) if names is None else list(names)
    if len(whose) != len(points_NM):
        raise ValueError(f"each point needs one name, but {len(points_NM)} points have {len(whose)} names.")
    # The sides of each point's box. A box without volume is set to zeros and counts for nothing.
    boxes_NM = np.maximum(_losses(corner_M - points_NM, goals), 0.0)
    boxes_NM[~(boxes_NM > 0).all(axis=1)] = 0.0
    columns = {name: column for column, name in enumerate(dict.fromkeys(whose))}
    union = _Union(len(columns), len(goals))
    volumes = [union.put(columns[name], box_M) for name, box_M in zip(whose, boxes_NM, strict=True)]
    return np.array(volumes, dtype=float)


class _Union:
    """The volume of the union of boxes with one common corner, while boxes are added or replaced one by one.

    Boxes are columns of an array, and `compress` keeps the rows contiguous, along which numpy compares fast.
    """

    def __init__(self, names: int, objectives: int) -> None:
        self._now_MK = np.zeros((objectives, names))  # the box of each name; zeros for none
        self._front_MN = np.empty((objectives, 0))  # the boxes that no other box contains, each once
        self._volume = 0.0

    def put(self, column: int, box_M: NDArray[np.float64]) -> float:
        """Replace the box of a column; return the volume."""
        former_M = self._now_MK[:, column].copy()
        self._now_MK[:, column] = 0.0
        if former_M[0] > 0 and not (box_M >= former_M).all():
            self._remove(former_M)
        self._now_MK[:, column] = box_M
        if box_M[0] > 0 and not _is_inside(box_M, self._front_MN):
            self._volume += float(np.prod(box_M)) - _covered(np.minimum(self._front_MN, box_M[:, None]))
            stays_N = ~(self._front_MN <= box_M[:, None]).all(axis=0)
            self._front_MN = np.hstack([np.compress(stays_N, self._front_MN, axis=1), box_M[:, None]])
        return self._volume

    def _remove(self, box_M: NDArray[np.float64]) -> None:
        """Remove a box from the front, if it is there, and add the boxes that only it contained."""
        is_it_N = (self._front_MN == box_M[:, None]).all(axis=0)
        if not is_it_N.any():
            return
        front_MN = np.compress(~is_it_N, self._front_MN, axis=1)
        is_hidden_K = (self._now_MK <= box_M[:, None]).all(axis=0) & (self._now_MK[0] > 0)
        hidden_MK = np.compress(is_hidden_K, self._now_MK, axis=1)
        if hidden_MK.shape[1]:
            best_K = moocore.is_nondominated(hidden_MK.T, maximise=True)
            shown = [hidden_M[:, None] for hidden_M in hidden_MK.T[best_K] if not _is_inside(hidden_M, front_MN)]
            front_MN = np.hstack([front_MN, *shown])
        rest = self._volume - float(np.prod(box_M)) + _covered(np.minimum(front_MN, box_M[:, None]))
        # The small difference of large numbers is mostly rounding error, so it is computed from the boxes instead.
        self._volume = rest if rest > self._volume / 2 else _covered(front_MN)
        self._front_MN = front_MN


def _is_inside(box_M: NDArray[np.float64], boxes_MN: NDArray[np.float64]) -> bool:
    return bool((boxes_MN >= box_M[:, None]).all(axis=0).any())


def _covered(boxes_MN: NDArray[np.float64]) -> float:
    """Return the volume of the union of boxes that have one corner at the origin."""
    kept = []
    while boxes_MN.shape[1] > _FEW:
        # The largest clipped box contains most others. So a pass or two leave few boxes, and cost less than sorting.
        largest_M1 = boxes_MN[:, [int(np.argmax(np.prod(boxes_MN, axis=0)))]]
        rest_MN = np.compress(~(boxes_MN <= largest_M1).all(axis=0), boxes_MN, axis=1)
        if rest_MN.shape[1] > 0.9 * boxes_MN.shape[1]:
            break
        kept.append(largest_M1)
        boxes_MN = rest_MN
    boxes_MN = np.hstack([*kept, boxes_MN])
    return float(moocore.hypervolume(boxes_MN.T, ref=0.0, maximise=True)) if boxes_MN.shape[1] else 0.0


def _losses(values_NM: NDArray[np.float64], goals: Sequence[Goal]) -> NDArray[np.float64]:
    """Return values with signs such that less is better; applied twice, it returns the original values."""
    return values_NM * np.where(maximised(goals), -1.0, 1.0)


def _filled(values_NM: ArrayLike, goals: Sequence[Goal], what: str) -> NDArray[np.float64]:
    points_NM = checked_points(values_NM, goals)
    if len(points_NM) == 0:
        raise ValueError(f"the {what} must hold at least one point, but got none. Wait until a trial is complete.")
    return points_NM
