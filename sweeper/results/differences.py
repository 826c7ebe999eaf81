"""Compares two sweeps task by task: which settings only one front has, and by how much one front is better.

`sweeper.analysis.comparison` computes the indicators of two fronts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from sweeper.analysis import sheet
from sweeper.analysis.comparison import compare_fronts
from sweeper.analysis.fronts import Front
from sweeper.analysis.indicators import coverage
from sweeper.analysis.points import concatenated
from sweeper.errors import QueryError
from sweeper.measurements import Objective
from sweeper.results.objectives import front_objectives
from sweeper.results.query import with_origin
from sweeper.results.questions import Answer
from sweeper.results.sweep_tables import SweepTables
from sweeper.rules import rules_in, said_of
from sweeper.trial import State


def compared(
    own: SweepTables, other: SweepTables, task: str | None = None, objectives: Sequence[str] = ()
) -> list[Answer]:
    """Return how the fronts of one sweep differ from those of another.

    Args:
        own: The sweep in question.
        other: The sweep to compare it with.
        task: Label of one task; None for all that both have.
        objectives: Names of objectives to compare by; none for all of them.

    Returns:
        An answer for each task that both sweeps have. Its rows are settings on the front of `own` alone (`gained`) and
        on the front of `other` alone (`lost`). `why` says how the setting stands in the other sweep. Two trials have
        the same setting if they differ in nothing but the seed.

    Raises:
        QueryError: If the sweeps have no task in common, or have different objectives or reference points.
        UnknownSweepError: If a sweep does not exist or lacks the task.
    """
    _check_same_aims(own, other, objectives)
    common = [one for one in own.tasks if one in other.tasks] if task is None else [task]
    if not common:
        raise QueryError(
            f"sweeps {own.name!r} and {other.name!r} have no task in common "
            f"({own.name}: {', '.join(own.tasks) or 'none'}; {other.name}: {', '.join(other.tasks) or 'none'}). "
            "Compare sweeps that learned the same."
        )
    return [answered(own, other, _front(own, one, objectives), _front(other, one, objectives)) for one in common]


def _front(sweep: SweepTables, task: str, objectives: Sequence[str]) -> Front:
    names = front_objectives(sweep.objectives, objectives, sweep.name) if objectives else ()
    (front,) = sweep.fronts(task, names)
    return front


def _check_same_aims(own: SweepTables, other: SweepTables, objectives: Sequence[str]) -> None:
    """Refuse to compare hypervolumes over different objectives or reference points."""
    mine, theirs = _aims(own, objectives), _aims(other, objectives)
    if mine == theirs:
        return
    shared = [name for name, aim in _aims(own).items() if _aims(other).get(name) == aim]
    ask = f"`sweeper pareto {own.name} --compare {other.name} --objectives {','.join(shared)}`"
    way = f"What both have is compared by {ask}." if len(shared) > 1 else "They cannot be compared."
    raise QueryError(
        f"sweeps {own.name!r} and {other.name!r} have other objectives or reference points "
        f"({own.name}: {_aims_text(mine)}; {other.name}: {_aims_text(theirs)}). {way}"
    )


def _aims(sweep: SweepTables, names: Sequence[str] = ()) -> dict[str, tuple[str, float]]:
    front_objectives(sweep.objectives, names, sweep.name)
    return {
        objective.name: (str(objective.goal), sweep.reference_point[objective.name])
        for objective in sweep.objectives
        if not names or objective.name in names
    }


def _aims_text(aims: Mapping[str, tuple[str, float]]) -> str:
    return ", ".join(f"{goal} {name} from {value:g}" for name, (goal, value) in aims.items())


def answered(own: SweepTables, other: SweepTables, mine: Front, theirs: Front) -> Answer:
    """Return how one front differs from another of the same task, objectives and reference point.

    Args:
        own: The sweep in question.
        other: The sweep to compare it with.
        mine: A front of `own`.
        theirs: The front of `other` in the same task, over the same objectives.
    """
    goals = [objective.goal for objective in mine.objectives]
    values, others = _values(mine, mine.objectives), _values(theirs, mine.objectives)
    my_keys, their_keys = _setting_keys(own, mine), _setting_keys(other, theirs)
    gained = [number for number, key in enumerate(my_keys) if key not in their_keys]
    lost = [number for number, key in enumerate(their_keys) if key not in my_keys]
    kept = len(my_keys) - len(gained)
    facts: dict[str, Any] = {
        "compared_with": {"sweep": other.name, "front_version": theirs.version},
        "hypervolume": mine.hypervolume,
        "other_hypervolume": theirs.hypervolume,
        "hypervolume_difference": mine.hypervolume - theirs.hypervolume,
        "coverage": coverage(values, others, goals) if others else None,
        "coverage_by_other": coverage(others, values, goals) if values else None,
        **_scaled(mine, theirs),
        "gained": len(gained),
        "lost": len(lost),
        "kept": kept,
    }
    rows = [
        _rows(mine, gained, "gained", [_why(other, my_keys[number]) for number in gained]),
        _rows(theirs, lost, "lost", [_why(own, their_keys[number]) for number in lost]),
    ]
    says = _text(facts, theirs)
    if own.earlier != other.earlier:
        facts["measured"], facts["other_measured"] = (said_of(rules_in(sweep.facts)) for sweep in (own, other))
        says += f"; NOT BY THE SAME RULES: {own.name} is {facts['measured']}; {other.name} is {facts['other_measured']}"
    return Answer(mine, says, concatenated(rows), ("role",), facts)


def _scaled(mine: Front, theirs: Front) -> dict[str, float | None]:
    """Return the indicators that put objectives on a common scale; see `compare_fronts`."""
    names = ("additive_epsilon", "igd_plus")
    if not mine.table.num_rows or not theirs.table.num_rows:
        return {f"{name}{whose}": None for name in names for whose in ("", "_of_other")}
    table = compare_fronts(mine, theirs)
    return {f"{name}{whose}": table[name][at].as_py() for name in names for at, whose in enumerate(("", "_of_other"))}


def _text(facts: Mapping[str, Any], theirs: Front) -> str:
    mine, other = ("-" if facts[name] is None else f"{facts[name]:.0%}" for name in ("coverage", "coverage_by_other"))
    return (
        f"against sweep {theirs.sweep}, {sheet.version_text(theirs.version)}: "
        f"hypervolume {facts['hypervolume']:.4g} against {facts['other_hypervolume']:.4g}, "
        f"difference {facts['hypervolume_difference']:+.4g}; covers {mine} of the other front, which covers {other} of "
        f"this one; {facts['gained']} settings gained, {facts['lost']} lost, {facts['kept']} on both"
    )


def _values(front: Front, objectives: Sequence[Objective]) -> list[tuple[float, ...]]:
    return list(zip(*(front.table[objective.name].to_pylist() for objective in objectives), strict=True))


def _setting_keys(sweep: SweepTables, front: Front) -> list[str]:
    """Return for each point a key of its setting without the seed, or the point's own key if its trial is not there."""
    settings = {record.key: record.setting_key for record in sweep.records}
    return [settings.get(key, key) for key in front.table["key"].to_pylist()]


def _why(sweep: SweepTables, setting: str) -> str:
    """Return in words how a setting that is not on a sweep's front stands in that sweep."""
    states = {record.state for record in sweep.records if record.setting_key == setting}
    if State.COMPLETE in states:
        return f"not on the front of {sweep.name}"
    return f"not complete in {sweep.name}" if states else f"not in {sweep.name}"


def _rows(front: Front, numbers: Sequence[int], role: str, why: Sequence[str]) -> pa.Table:
    rows = with_origin(front.table.take(pa.array(numbers, pa.int64())), front)
    rows = rows.add_column(0, "role", pa.array([role] * len(numbers), pa.string()))
    return rows.append_column("why", pa.array(why, pa.string()))
