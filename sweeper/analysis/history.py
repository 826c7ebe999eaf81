"""Computes how the front of one task grew as its trials ended, as an Arrow table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pyarrow as pa

from sweeper.analysis.indicators import hypervolume_history
from sweeper.measurements import Objective
from sweeper.trial import State, TrialRecord


def history_table(
    records: Sequence[TrialRecord], objectives: Sequence[Objective], reference_point: Mapping[str, float]
) -> pa.Table:
    """Return one row for each finished trial, in order of ending, with the hypervolume after it.

    A trial counts when it ends. The front after it is that of the settings that have a complete trial by then, each
    averaged over its replicates that are complete *by then*, as `sweeper pareto` would have shown it. So the volume may
    fall if another seed of a setting does worse than the first. The last volume is that of the front over all trials.
    Trials that failed or were stopped change no front, but have a row because they took time.

    Args:
        records: Trials of one task, in any order; those that are not finished are left out.
        objectives: The objectives.
        reference_point: The worst value that still counts, for each objective's name.

    Returns:
        Columns `trial` (1, 2, …), `key`, `ended_ms` (Unix milliseconds), `elapsed_s` (seconds since the first of these
        trials started, pauses of the sweep included; null if the ledger has no time), `hypervolume` (product of the
        objectives' units). Trials that ended in the same millisecond are ordered by their number.
    """
    ended = sorted((record for record in records if record.state.is_finished), key=_order)
    began_ms = min((record.started_ms for record in records if record.started_ms is not None), default=None)
    elapsed_s = [
        None if began_ms is None or record.ended_ms is None else (record.ended_ms - began_ms) / 1000 for record in ended
    ]
    return pa.table({
        "trial": pa.array(range(1, len(ended) + 1), pa.int64()),
        "key": pa.array([record.key for record in ended], pa.string()),
        "ended_ms": pa.array([record.ended_ms for record in ended], pa.int64()),
        "elapsed_s": pa.array(elapsed_s, pa.float64()),
        "hypervolume": pa.array(_volumes(ended, objectives, reference_point), pa.float64()),
    })


def _order(record: TrialRecord) -> tuple[float, int, str]:
    return (math.inf if record.ended_ms is None else record.ended_ms, record.number, record.key)


def _volumes(
    ended: Sequence[TrialRecord], objectives: Sequence[Objective], reference_point: Mapping[str, float]
) -> list[float]:
    corner = [float(reference_point[objective.name]) for objective in objectives]
    complete = [record for record in ended if record.state is State.COMPLETE]
    groups: dict[str, list[TrialRecord]] = {}
    points = []
    for record in complete:
        groups.setdefault(record.setting_key, []).append(record)
        # A setting without a finite value in every replicate is on no front. At the corner it adds no volume.
        points.append(_mean(groups[record.setting_key], objectives) or corner)
    goals = [objective.goal for objective in objectives]
    volumes = iter(hypervolume_history(points, goals, corner, names=[record.setting_key for record in complete]))
    now, result = 0.0, []
    for record in ended:
        now = float(next(volumes)) if record.state is State.COMPLETE else now
        result.append(now)
    return result


def _mean(group: Sequence[TrialRecord], objectives: Sequence[Objective]) -> list[float] | None:
    """Return the mean of each objective over replicates, as `points_table` does; None without values."""
    columns = [[record.measurement.get(objective.name, math.nan) for record in group] for objective in objectives]
    if not all(math.isfinite(value) for column in columns for value in column):
        return None
    return [math.fsum(column) / len(column) for column in columns]
