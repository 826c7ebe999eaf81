"""Checks which sweeps may share one picture: those with the same task, objectives and units."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.analysis.points import own_units_in
from sweeper.errors import QueryError
from sweeper.results.plots.style import LINES
from sweeper.results.sweep_tables import SweepTables


def comparable(sweep: SweepTables, task: str, others: Sequence[SweepTables]) -> Sequence[SweepTables]:
    """Return the other sweeps if each can be drawn beside a sweep.

    Raises:
        QueryError: If there are too many, or one is named twice, lacks the task, or has other objectives.
    """
    if len(others) >= len(LINES):
        raise QueryError(f"a picture tells {len(LINES)} sweeps apart at most, but got {len(others) + 1}. Name fewer.")
    seen = {(sweep.name, sweep.address)}
    for other in others:
        if (other.name, other.address) in seen:
            raise QueryError(f"sweep {other.name!r} is in the picture already. Name another one to draw beside it.")
        seen.add((other.name, other.address))
        if task not in other.tasks:
            raise QueryError(
                f"sweep {other.name!r} has no finished trial of task {task!r} "
                f"(it has: {', '.join(other.tasks) or 'none'}). Choose a task that both sweeps have."
            )
        goals = [{one.name: (one.goal.value, _unit(of, one.name)) for one in of.objectives} for of in (sweep, other)]
        if goals[0] != goals[1]:
            own, its = (", ".join(f"{goal} {name}" for name, (goal, _) in one.items()) for one in goals)
            raise QueryError(
                f"sweep {other.name!r} has other objectives ({its}) than {sweep.name!r} ({own}). "
                "Draw sweeps of the same objectives beside each other."
            )
    return others


def _unit(sweep: SweepTables, name: str) -> str:
    """Return the unit that a user's own function gave a measurement; empty for lattices, whose units never differ."""
    units = own_units_in(sweep.records)
    return "" if units is None else units.get(name, "none")
