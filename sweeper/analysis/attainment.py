"""Computes attainment surfaces over the replicates of one task, as an Arrow table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pyarrow as pa

from sweeper.analysis.indicators import attainment_surface, whole_replicates
from sweeper.errors import QueryError
from sweeper.measurements import Objective
from sweeper.trial import State, TrialRecord

#: The usual surfaces: attained by one replicate, by half of them, and by all.
SHARES: Mapping[str, float] = {"best": 0.0, "median": 0.5, "worst": 1.0}


def attainment_table(
    records: Sequence[TrialRecord], objectives: Sequence[Objective], shares: Mapping[str, float] = SHARES
) -> pa.Table:
    """Return the surfaces that a share of the replicates attain.

    All complete trials with one seed are one replicate: the sweep with that seed alone, without averages. A replicate
    *attains* a point if one of its trials is no worse in every objective.

    Args:
        records: Trials of one task, in any order. Trials that are not complete, or lack a finite value of an
            objective, are left out.
        objectives: Two or three objectives.
        shares: Name of each surface, and the share of replicates that attain it, from 0 (one replicate) to 1 (all);
            rounded up to whole replicates.

    Returns:
        One row for each corner of a surface, by surface in the order of the shares, then by the first objective,
        ascending. Columns `surface`, `share`, `attained_by` (number of replicates), `replicates` (number of all
        replicates), and each objective in its own unit.

    Raises:
        QueryError: If there are not two or three objectives, fewer than two seeds, or a share is not from 0 to 1.
    """
    names = [objective.name for objective in objectives]
    if len(objectives) not in (2, 3):
        raise QueryError(
            f"attainment is computed over two or three objectives, but got {len(objectives)}: "
            f"{', '.join(names) or 'none'}. Name two or three of them."
        )
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise QueryError(f"the share of surface {name!r} must be from 0 to 1, but got {share}. 0.5 is the median.")
    fronts: dict[int, list[list[float]]] = {}
    for record in records:
        values = [record.measurement.get(name, math.nan) for name in names]
        if record.state is State.COMPLETE and all(math.isfinite(value) for value in values):
            fronts.setdefault(record.seed, []).append(values)
    if len(fronts) < 2:
        seeds = ", ".join(map(str, fronts)) or "none"
        raise QueryError(
            f"attainment compares replicates, so it needs complete trials with at least two seeds, but got "
            f"{len(fronts)} (seeds: {seeds}). Set `replicates: 2` or more in the spec, or wait until more are complete."
        )
    goals = [objective.goal for objective in objectives]
    replicates = list(fronts.values())
    surfaces = [(name, share, attainment_surface(replicates, goals, share)) for name, share in shares.items()]
    rows = [(name, share, point) for name, share, surface in surfaces for point in surface.tolist()]
    by = {name: whole_replicates(share, len(replicates)) for name, share in shares.items()}
    return pa.table({
        "surface": pa.array([name for name, _, _ in rows], pa.string()),
        "share": pa.array([share for _, share, _ in rows], pa.float64()),
        "attained_by": pa.array([by[name] for name, _, _ in rows], pa.int64()),
        "replicates": pa.array([len(replicates)] * len(rows), pa.int64()),
        **{name: pa.array([point[index] for _, _, point in rows], pa.float64()) for index, name in enumerate(names)},
    })
