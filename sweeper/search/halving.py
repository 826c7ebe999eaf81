"""Decides which settings continue from a rung: successive halving for several objectives, without trials or ledgers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sweeper.analysis.pareto import ranks
from sweeper.measurements import Bound, Objective


def goes_on(
    newcomer: Mapping[str, float],
    others: Sequence[Mapping[str, float]],
    objectives: Sequence[Objective],
    bounds: Sequence[Bound],
    factor: int,
) -> bool:
    """Return whether a setting that has reached a rung is among the best that have reached it so far.

    Settings are ordered by how far they are from meeting the bounds, and then by non-dominated rank. The best one in
    `factor` continue, and so do all that are no worse than the last of these. So a non-dominated setting is never
    stopped in favour of another one.

    Args:
        newcomer: Measurement of the setting at the rung.
        others: Measurements of the other settings at the rung, in any order.
        objectives: Objectives to optimise.
        bounds: Conditions on measurements.
        factor: About one setting in `factor` continues.

    Source: the stopping rule of asynchronous successive halving (Li et al. 2020), with the non-dominated rank of
    MO-ASHA (Schmucker et al. 2021) in place of one loss; here tied settings continue.
    """
    entries = [newcomer, *others]
    if any(not math.isfinite(newcomer.get(objective.name, math.nan)) for objective in objectives):
        return False
    entries = [e for e in entries if all(math.isfinite(e.get(o.name, math.nan)) for o in objectives)]
    excess_N = [sum(max(0.0, bound.excess(e.get(bound.name, -math.inf))) for bound in bounds) for e in entries]
    rows_NM = [[entry[objective.name] for objective in objectives] for entry in entries]
    order_N = list(zip(excess_N, ranks(rows_NM, [o.goal for o in objectives]).tolist(), strict=True))
    last_place = max(1, math.ceil(len(entries) / factor))
    return order_N[0] <= sorted(order_N)[last_place - 1]
