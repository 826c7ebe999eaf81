"""Answers questions about all settings of a sweep: the cheapest that suffices, dominance, and spreads over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sweeper.analysis import sheet
from sweeper.analysis.columns import unit
from sweeper.analysis.conditions import Comparison, Condition, Joined, comparisons, holds, known_column, parsed, where
from sweeper.analysis.fronts import Front
from sweeper.analysis.points import concatenated, points_table
from sweeper.analysis.sheet import Sheet
from sweeper.errors import QueryError, UnknownSweepError
from sweeper.measurements import DECIDES_NOTHING, MEASUREMENTS, Goal, Objective, deciding_twin, is_probe
from sweeper.results.query import origin_notes, with_origin
from sweeper.results.sweep_tables import SweepTables
from sweeper.trial import State, TrialRecord

#: Least number of characters of a key that name a trial.
SHORTEST_KEY = 6


@dataclass(frozen=True)
class Answer:
    """The answer to a question about one task.

    Attributes:
        front: The whole front behind the answer: sweep, task, version, objectives, reference point.
        says: The answer in a sentence.
        points: Rows of `points_table`, with a column `role` that says what each row is in the answer.
        shown: Columns to show, without the key.
        facts: The numbers of the answer by name.
        is_found: Whether any setting answers the question.
    """

    front: Front
    says: str
    points: pa.Table
    shown: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    is_found: bool = True

    def as_json(self) -> dict[str, Any]:
        """Return the answer for programs."""
        return {
            "sweep": self.front.sweep,
            "task": self.front.task,
            "front_version": self.front.version,
            "objectives": {objective.name: str(objective.goal) for objective in self.front.objectives},
            "reference_point": dict(self.front.reference_point),
            "answer": self.says,
            **self.facts,
            "points": self.points.to_pylist(),
        }

    def as_sheet(self) -> Sheet:
        """Return the answer as a sheet."""
        rows = self.points.to_pylist()
        names = [*self.shown, *(objective.name for objective in self.front.objectives)]
        seeds = ["replicates"] if any(row["replicates"] > 1 for row in rows) else []
        ends = [name for name in ("on_front", "why", "key") if name in self.points.column_names]
        made = sheet.made_by(self.front)
        return Sheet(
            f"Sweep {self.front.sweep}, task {self.front.task}: {self.says}",
            sheet.fields(
                rows,
                [*names, *made, *seeds, *ends],
                self.front.objectives,
                self.front.own_units,
                self.front.added_units,
                spare=made,
            )
            if rows
            else (),
            origin_notes(self.front),
            f"{self.front.sweep}-{self.front.key}-v{self.front.version}-answer",
        )


def as_table(answers: Sequence[Answer]) -> pa.Table:
    """Return the points of all answers in one table, with the sweep, version and reference point of each."""
    return concatenated([with_origin(answer.points, answer.front) for answer in answers])


@dataclass(frozen=True)
class Best:
    """A wish: the least, or the most, of one column among the settings that meet a condition.

    Attributes:
        at: The condition, such as `accuracy >= 0.95`.
        name: The column: a measurement, or an axis of numbers.
        goal: Whether the least or the most of it is best.
    """

    at: str
    name: str
    goal: Goal


def best(sweep: SweepTables, front: Front, wish: Best, conditions: Sequence[str] = ()) -> Answer:
    """Return the settings that fulfil a wish best, with all ties, and the next best with the gap.

    Args:
        sweep: A sweep.
        front: The front of one of its tasks; the answer marks its points.
        wish: The wish; all complete settings of the task compete, not the front alone.
        conditions: Further conditions that a setting must meet.

    Raises:
        QueryError: If no trial is complete, or the wish names no column or a column without numbers.
    """
    points = where(_marked(complete_points(sweep, front.task), front), conditions)
    wanted = known_column(points, wish.name, f"named by --{wish.goal}")
    if not (pa.types.is_floating(wanted.type) or pa.types.is_integer(wanted.type)):
        raise QueryError(f"--{wish.goal} {wish.name} asks for the best of words. Name a measurement or a number.")
    condition = parsed(wish.at)
    _check_decides([wish.name, *(one.name for one in comparisons(condition))])
    met = points.filter(pc.and_(holds(points, condition, wish.at), pc.is_valid(wanted)))
    facts: dict[str, Any] = {"at": wish.at, str(wish.goal): wish.name}
    if met.num_rows == 0:
        near = nearest(points, condition)
        says = f"none of {sheet.counted(points.num_rows, 'setting')} has {wish.at}{_near_text(near)}"
        return Answer(front, says, _with_role(met, []), facts=facts | {"nearest": near}, is_found=False)
    is_most = wish.goal is Goal.MAXIMIZE
    ranks = sorted(set(met[wish.name].to_pylist()), reverse=is_most)[:2]
    best_first = [(o.name, "descending" if o.goal is Goal.MAXIMIZE else "ascending") for o in front.objectives]
    met = met.sort_by([(wish.name, "descending" if is_most else "ascending"), *best_first, ("key", "ascending")])
    met = met.filter(pc.is_in(met[wish.name], pa.array(ranks, wanted.type)))
    roles = ["best" if value == ranks[0] else "next" for value in met[wish.name].to_pylist()]
    gap = abs(ranks[1] - ranks[0]) if len(ranks) > 1 else None
    facts |= {"best": ranks[0], "next": ranks[1] if len(ranks) > 1 else None, "gap": gap}
    says = _best_text(wish, ranks, roles.count("best"))
    shown = ("role", wish.name, *(one.name for one in comparisons(condition)))
    return Answer(front, says, _with_role(met, roles), tuple(n for n in shown if n != "key"), facts)


def _check_decides(names: Sequence[str]) -> None:
    """Refuse to choose a network by a measurement on test images or probes."""
    for name in names:
        if is_probe(name) or (name in MEASUREMENTS and not MEASUREMENTS[name].decides):
            fix = "Use accuracy or time." if is_probe(name) else f"Use {deciding_twin(name)}."
            raise QueryError(f"the best cannot be chosen by {name}: {DECIDES_NOTHING}. {fix}")


def _best_text(wish: Best, ranks: Sequence[float], count: int) -> str:
    word = "most" if wish.goal is Goal.MAXIMIZE else "least"
    values = [sheet.value_text(wish.name, value) for value in ranks]
    many = f", by {count} settings alike" if count > 1 else ""
    named = unit(wish.name).replace("share", "").replace("count", "")
    text = f"the {word} {wish.name} with {wish.at} is {f'{values[0]} {named}'.strip()}{many}"
    return f"{text}; the next best is {values[1]}, a gap of {abs(ranks[1] - ranks[0]):.3g}" if ranks[1:] else text


def nearest(points: pa.Table, condition: Condition) -> list[dict[str, Any]]:
    """Return how near settings come to a condition that none meets.

    Args:
        points: Rows of settings.
        condition: The condition that none of them meets.

    Returns:
        An entry for each comparison with a number that fails although settings meet the rest of the condition
        (`given`): its column, the nearest value among these settings, and the keys of those that have it.
    """
    parts = condition.parts if isinstance(condition, Joined) and condition.word == "and" else (condition,)
    found = []
    for at, part in enumerate(parts):
        able, rest = points, (*parts[:at], *parts[at + 1 :])
        for other in rest:
            able = able.filter(holds(able, other))
        given = " and ".join(f"({one})" if isinstance(one, Joined) else f"{one}" for one in rest)
        found += [near for one in comparisons(part) if (near := _nearest(able, one, given)) is not None]
    return found


def _nearest(able: pa.Table, one: Comparison, given: str) -> dict[str, Any] | None:
    is_number = pa.types.is_floating(able[one.name].type) or pa.types.is_integer(able[one.name].type)
    if one.number is None or one.operator == "!=" or not is_number or pc.any(holds(able, one)).as_py():
        return None
    able = able.filter(pc.is_valid(able[one.name]))
    if able.num_rows == 0:
        return None
    value = min(able[one.name].to_pylist(), key=lambda value: abs(value - one.number))
    keys = able.filter(pc.equal(able[one.name], value))["key"].to_pylist()
    return {"name": one.name, "given": given, "nearest": value, "keys": keys}


def unmet(fronts: Sequence[Front], conditions: Sequence[str]) -> str:
    """Say that no network of some fronts meets the conditions, and how near the nearest come."""
    kind = sheet.noun(fronts[0].own_units)
    condition = parsed(" and ".join(f"({one})" for one in conditions) if conditions[1:] else conditions[0])
    near = _near_text(nearest(concatenated([front.table for front in fronts]), condition))
    tasks = f"tasks {', '.join(front.task for front in fronts)}" if fronts[1:] else f"task {fronts[0].task}"
    return (
        f"sweep {fronts[0].sweep!r}, {tasks}: no non-dominated {kind} meets {' and '.join(conditions)}{near}. "
        "Ask about all complete settings with --at CONDITION and --minimize or --maximize NAME."
    )


def _near_text(near: Sequence[Mapping[str, Any]]) -> str:
    texts = []
    for one in near:
        name = one["name"]
        others = f" and {len(one['keys']) - 1} more" if len(one["keys"]) > 1 else ""
        given = f" with {one['given']}" if one["given"] else ""
        texts.append(
            f"the nearest {name}{given} is {sheet.value_text(name, one['nearest'])}, of {one['keys'][0]}{others}"
        )
    return f": {'; '.join(texts)}" if texts else ""


def dominated(
    sweep: SweepTables, front: Front, record: TrialRecord, *, is_by: bool, conditions: Sequence[str]
) -> Answer:
    """Return the settings that a network's setting dominates, or those that dominate it.

    Args:
        sweep: A sweep.
        front: The front of the network's task, over the objectives to compare by.
        record: A complete trial; its setting is compared by the means over replicates.
        is_by: True for the settings that it dominates, False for those that dominate it.
        conditions: Conditions that the listed settings must meet.

    Raises:
        QueryError: If the trial was not measured in every objective.
    """
    points = _marked(complete_points(sweep, front.task), front)
    is_own = pa.array([record.key in keys for keys in points["keys"].to_pylist()], pa.bool_())
    own, others = points.filter(is_own), points.filter(pc.invert(is_own))
    for objective in front.objectives:
        if own[objective.name][0].as_py() is None:
            raise QueryError(f"trial {record.key} has no finite {objective.name}, so nothing can be compared with it.")
        others = others.filter(pc.is_valid(others[objective.name]))
    (one,) = _losses(own, front.objectives)
    count, all_losses = others.num_rows, _losses(others, front.objectives)
    listed = [_dominates(one, other) if is_by else _dominates(other, one) for other in all_losses]
    others = others.filter(pa.array(listed, pa.bool_())).sort_by(_order(front.objectives))
    others = where(others, conditions)
    verb = "dominates" if is_by else "is dominated by"
    met = f" that meet {' and '.join(conditions)}" if conditions else ""
    standing = "on the front" if own["on_front"][0].as_py() else "not on the front"
    says = f"{record.key}, {standing}, {verb} {others.num_rows} of {sheet.counted(count, 'other setting')}{met}"
    roles = ["asked", *["dominated" if is_by else "dominating"] * others.num_rows]
    facts = {"key": record.key, "count": others.num_rows, "others": count}
    return Answer(front, says, _with_role(concatenated([own, others]), roles), ("role",), facts)


def spreads(sweep: SweepTables, front: Front, conditions: Sequence[str] = ()) -> Answer:
    """Return each objective's mean and sample standard deviation over replicates, for the points of a front.

    Args:
        sweep: A sweep; all of its objectives are returned.
        front: The front of one of its tasks, over all or some of the objectives.
        conditions: Conditions that a setting must meet.
    """
    members = {key for keys in front.table["keys"].to_pylist() for key in keys}
    records = [record for record in sweep.records if record.key in members]
    if not records:
        raise QueryError(nothing_complete(sweep, front.task))
    points = where(points_table(records, sweep.objectives), conditions).sort_by(_order(front.objectives))
    seeds = {record.key: record.seed for record in records}
    listed = [[seeds[key] for key in keys] for keys in points["keys"].to_pylist()]
    points = points.append_column("seeds", pa.array(listed, pa.list_(pa.int64())))
    counts = sorted(set(points["replicates"].to_pylist()))
    many = " to ".join(dict.fromkeys(map(str, (counts[0], counts[-1])))) if counts else "0"
    each = "with one seed each, so without a spread" if many == "1" else f"with {many} seeds, mean ± standard deviation"
    says = f"{sheet.counted(points.num_rows, 'non-dominated setting')} {each}"
    shown = tuple(objective.name for objective in sweep.objectives)
    return Answer(front, says, _with_role(points, ["front"] * points.num_rows), shown)


def complete_points(sweep: SweepTables, task: str) -> pa.Table:
    """Return the settings of a task that have a complete trial.

    Raises:
        QueryError: If there is none.
    """
    points = sweep.points(task)
    if points.num_rows == 0:
        raise QueryError(nothing_complete(sweep, task))
    return points


def nothing_complete(sweep: SweepTables, task: str) -> str:
    """Say that a task has no complete trial, and how many of its trials ended otherwise."""
    count = sum(record.task == task for record in sweep.records)
    ended = f"all {count} finished trials ended in another way" if count else "none has finished"
    return (
        f"no trial of sweep {sweep.name!r}, task {task!r}, is complete: {ended}. "
        f"See `sweeper trials {sweep.name}`, or continue it with `sweeper resume {sweep.name}`."
    )


def known_trial(sweep: SweepTables, key: str) -> TrialRecord:
    """Return the complete trial of a sweep whose key begins with `key`.

    Raises:
        QueryError: If `key` is too short, fits several trials, or fits a trial that is not complete.
        UnknownSweepError: If `key` fits no trial.
    """
    if len(key) < SHORTEST_KEY:
        raise QueryError(f"a trial is named by at least {SHORTEST_KEY} characters of its key, but got {key!r}.")
    found = [record for record in sweep.records if record.key.startswith(key)]
    if not found:
        raise UnknownSweepError(
            f"no finished trial of sweep {sweep.name!r} has a key that begins with {key!r}. "
            f"`sweeper trials {sweep.name}` lists them."
        )
    if len(found) > 1:
        some = ", ".join(record.key for record in found[:5]) + (", …" if len(found) > 5 else "")
        raise QueryError(f"{key!r} fits {len(found)} trials of sweep {sweep.name!r}: {some}. Give more of the key.")
    if found[0].state is not State.COMPLETE:
        raise QueryError(
            f"trial {found[0].key} of sweep {sweep.name!r} is {found[0].state}, not complete, and never on a front. "
            f"`sweeper trials {sweep.name}` says why."
        )
    return found[0]


def _marked(points: pa.Table, front: Front) -> pa.Table:
    """Return points with a column `on_front`."""
    members = {key for keys in front.table["keys"].to_pylist() for key in keys}
    marks = [not members.isdisjoint(keys) for keys in points["keys"].to_pylist()]
    return points.append_column("on_front", pa.array(marks, pa.bool_()))


def _with_role(points: pa.Table, roles: Sequence[str]) -> pa.Table:
    return points.add_column(0, "role", pa.array(roles, pa.string()))


def _order(objectives: Sequence[Objective]) -> list[tuple[str, str]]:
    return [*((objective.name, "ascending") for objective in objectives), ("key", "ascending")]


def _losses(points: pa.Table, objectives: Sequence[Objective]) -> list[tuple[float, ...]]:
    """Return a row for each point: its objectives, with signs such that less is better in all of them."""
    signs = [-1 if objective.goal is Goal.MAXIMIZE else 1 for objective in objectives]
    columns = [
        [sign * value for value in points[o.name].to_pylist()] for sign, o in zip(signs, objectives, strict=True)
    ]
    return list(zip(*columns, strict=True))


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
