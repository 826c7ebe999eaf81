"""Objectives and reference points in specs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field, PlainSerializer, PlainValidator, ValidationError, ValidationInfo, field_validator

from sweeper.measurements import Goal, Objective
from sweeper.spec.problems import Problem, nearest, problem, problems_of, refuse
from sweeper.spec.setting import Frozen, measured


class _ObjectiveEntry(Frozen):
    """An objective in the form of the file."""

    name: str
    goal: Annotated[Goal, Field(strict=False)]

    @field_validator("name")
    @classmethod
    def _is_measured(cls, name: str, info: ValidationInfo) -> str:
        return measured(name, "an objective must name a measurement", info)


def _read_objective(entry: object, info: ValidationInfo) -> Objective:
    if isinstance(entry, Objective):
        entry = {"name": entry.name, "goal": entry.goal}
    try:
        read = _ObjectiveEntry.model_validate(entry, context=info.context)
    except ValidationError as error:
        refuse(_ObjectiveEntry, problems_of(error, _ObjectiveEntry))
    return Objective(read.name, read.goal)


def _write_objective(objective: Objective) -> dict[str, str]:
    return {"name": objective.name, "goal": objective.goal.value}


#: An objective as a field of a spec.
ObjectiveField = Annotated[Objective, PlainValidator(_read_objective), PlainSerializer(_write_objective)]


def repeated_objectives(objectives: Sequence[Objective]) -> list[Problem]:
    """Return a problem for each repeated objective, at its place in the list."""
    names = [objective.name for objective in objectives]
    repeated = [number for number, name in enumerate(names) if names.index(name) < number]
    rule, fix = "an objective must be given once", "Remove the second one."
    return [problem((number, "name"), rule, names[number], fix) for number in repeated]


def front_problems(fronts: Sequence[Sequence[str]], names: Sequence[str]) -> list[Problem]:
    """Return the problems of additional fronts, each of which must name a proper subset of the objectives."""
    problems: list[Problem] = []
    seen: set[tuple[str, ...]] = set()
    for number, chosen in enumerate(fronts):
        unknown = [index for index, name in enumerate(chosen) if name not in names]
        for index in unknown:
            rule, got = "a front must name objectives of this sweep", f"but got fronts={chosen[index]}"
            problems.append(Problem((number, index), rule, got, nearest(chosen[index], names)))
        if unknown:
            continue
        if len(chosen) < 2 or len(set(chosen)) < len(chosen) or len(chosen) >= len(names):
            rule = "a front must name two or more of the objectives, each once, and not all of them"
            fix = "The front over all of them is always stored."
            problems.append(Problem((number,), rule, f"but got fronts={list(chosen)}", fix))
        elif tuple(sorted(chosen)) in seen:
            got = f"but got fronts={list(chosen)}"
            problems.append(Problem((number,), "a front must be named once", got, "Remove the second one."))
        seen.add(tuple(sorted(chosen)))
    return problems


def reference_problems(point: Mapping[str, float], names: Sequence[str]) -> list[Problem]:
    """Return the problems of a reference point, which must hold one number for each objective."""
    missing = [
        Problem(
            (),
            f"reference_point must hold a number for the objective {name!r}",
            f"but got reference_point without {name!r}",
            f"Add `{name}:`, a value no useful network reaches.",
        )
        for name in names
        if name not in point
    ]
    rule = "reference_point must hold objectives of this sweep only"
    return missing + [
        problem((name,), rule, value, f"Remove it, or make {name!r} an objective.")
        for name, value in point.items()
        if name not in names
    ]
