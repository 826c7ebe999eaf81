"""Compares two fronts of one task: indicators as an Arrow table, with the corner points that they depend on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sweeper.analysis.fronts import Front
from sweeper.analysis.indicators import additive_epsilon, coverage, ideal_point, igd_plus, nadir_point, normalised
from sweeper.analysis.pareto import hypervolume, non_dominated
from sweeper.errors import QueryError
from sweeper.measurements import Goal, Objective


def compare_fronts(
    front: Front, other: Front | None = None, reference_point: Mapping[str, float] | None = None
) -> pa.Table:
    """Return the indicators of a front, or of two fronts compared with each other.

    The non-dominated points of both fronts together are the reference set. Epsilon and IGD+ mix objectives, so every
    objective is scaled first: to 0 at the fronts' ideal point (the best value in either front) and to 1 at their nadir
    point (the worst value in either).

    Args:
        front: A front with at least one point.
        other: Another front of the same task, over the same objectives.
        reference_point: Bounds the hypervolumes: a value for each objective's name, in its unit. None if both fronts
            have the same one.

    Returns:
        One row for each front. Columns: `sweep`, `task`, `version`, `points`; `hypervolume` (product of the objectives'
        units); `additive_epsilon` (by how much all its points must improve to weakly dominate the reference set, as a
        share of the range from ideal to nadir; 0 at best); `igd_plus` (mean distance from the reference set, in the
        same unit; 0 at best); `coverage` (share of the *other* front's points that it weakly dominates). The last three
        are null without another front. Then for each objective `reference_<name>`, `ideal_<name>` and `nadir_<name>`,
        in its own unit, the same in both rows.

    Raises:
        QueryError: If a front has no point, the fronts have different tasks, objectives or reference points, or the
            given reference point lacks an objective or a finite value.
    """
    fronts = [front] if other is None else [front, other]
    _require_comparable(fronts)
    objectives = front.objectives
    corner_M = _corner(fronts, reference_point)
    goals = [objective.goal for objective in objectives]
    points = [_values(one, objectives) for one in fronts]
    ideal_M = ideal_point(np.vstack(points), goals)
    nadirs = np.vstack([nadir_point(values_NM, goals) for values_NM in points])
    nadir_M = np.where([goal is Goal.MAXIMIZE for goal in goals], nadirs.min(axis=0), nadirs.max(axis=0))
    columns = {
        "sweep": pa.array([one.sweep for one in fronts], pa.string()),
        "task": pa.array([one.task for one in fronts], pa.string()),
        "version": pa.array([one.version for one in fronts], pa.int64()),
        "points": pa.array([len(values_NM) for values_NM in points], pa.int64()),
        "hypervolume": pa.array([hypervolume(values_NM, goals, corner_M) for values_NM in points], pa.float64()),
    }
    for name, values in _against_each_other(points, goals, (ideal_M, nadir_M)).items():
        columns[name] = pa.array(values, pa.float64())
    for kind, at_M in (("reference", corner_M), ("ideal", ideal_M), ("nadir", nadir_M)):
        for objective, value in zip(objectives, at_M, strict=True):
            columns[f"{kind}_{objective.name}"] = pa.array([float(value)] * len(fronts), pa.float64())
    return pa.table(columns)


def _against_each_other(
    points: Sequence[NDArray[np.float64]],
    goals: Sequence[Goal],
    corners: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> dict[str, list[float | None]]:
    if len(points) == 1:
        return {"additive_epsilon": [None], "igd_plus": [None], "coverage": [None]}
    together_NM = np.unique(np.vstack(points), axis=0)
    reference_KM = normalised(together_NM[non_dominated(together_NM, goals)], goals, *corners)
    scaled, losses = [normalised(values_NM, goals, *corners) for values_NM in points], [Goal.MINIMIZE] * len(goals)
    return {
        "additive_epsilon": [additive_epsilon(values_NM, reference_KM, losses) for values_NM in scaled],
        "igd_plus": [igd_plus(values_NM, reference_KM, losses) for values_NM in scaled],
        "coverage": [coverage(points[0], points[1], goals), coverage(points[1], points[0], goals)],
    }


def _values(front: Front, objectives: Sequence[Objective]) -> NDArray[np.float64]:
    columns = [front.table[objective.name].to_pylist() for objective in objectives]
    return np.array(columns, dtype=float).T


def _require_comparable(fronts: Sequence[Front]) -> None:
    for front in fronts:
        if front.table.num_rows == 0:
            raise QueryError(
                f"the front of task {front.task!r} of sweep {front.sweep!r} has no point, so there is nothing to "
                "compare. Wait until a trial is complete."
            )
    one, other = fronts[0], fronts[-1]
    if one.task != other.task:
        raise QueryError(
            f"fronts of one task are compared, but these are of {one.task!r} (sweep {one.sweep!r}) and {other.task!r} "
            f"(sweep {other.sweep!r}). Name one task of both."
        )
    if set(one.objectives) != set(other.objectives):
        raise QueryError(
            f"fronts over the same objectives are compared, but sweep {one.sweep!r} has {_goals(one)} and sweep "
            f"{other.sweep!r} has {_goals(other)}. Name the objectives that both have."
        )


def _corner(fronts: Sequence[Front], given: Mapping[str, float] | None) -> list[float]:
    """Return the given reference point, or else the one that all fronts share."""
    one, other = fronts[0], fronts[-1]
    names = [objective.name for objective in one.objectives]
    if given is None:
        corners = [{name: front.reference_point[name] for name in names} for front in fronts]
        if corners[0] != corners[-1]:
            raise QueryError(
                f"hypervolumes under one reference point are compared, but sweep {one.sweep!r} has "
                f"{_point(corners[0])}, and sweep {other.sweep!r} has {_point(corners[-1])}. In Python, "
                "name one for both: `indicators(task, other, reference_point={…})`."
            )
        given = corners[0]
    if set(given) != set(names) or not all(math.isfinite(value) for value in given.values()):
        raise QueryError(
            f"the reference point needs a finite value for each of {', '.join(names)}, but got "
            f"{_point(given) or 'none'}. Name the worst value of each that still counts."
        )
    return [float(given[name]) for name in names]


def _goals(front: Front) -> str:
    return ", ".join(f"{objective.goal} {objective.name}" for objective in front.objectives)


def _point(corner: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in corner.items())
