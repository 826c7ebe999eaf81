"""The forms of a parameter: its values, one value, or a range to search, in the words of W&B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from sweeper.spec.advice import for_distribution, for_key, for_number, for_values
from sweeper.spec.choices import Distribution
from sweeper.spec.problems import MOST_TOLD, Loc, Problem, nearest, problem
from sweeper.spec.setting import Scalar

_FORMS = ("values", "value", "distribution", "min", "max")
_ENDS = ("min", "max")
_A_NUMBER = "Write a number such as 0.5, without quotes."

#: Parameters whose single values may be lists.
_LISTS = frozenset({"classes"})


def is_searched(form: Mapping[str, Any]) -> bool:
    """Return whether a parameter is written as a searched one."""
    return any(key in form for key in ("distribution", *_ENDS))


def form_problems(name: str, raw: object, *, is_task: bool) -> list[Problem]:
    """Return the problems of a parameter's form, without a check of its values' types.

    Args:
        name: The parameter.
        raw: Its content in the file.
        is_task: Whether the parameter defines tasks.
    """
    loc: Loc = ("parameters", name)
    example = (
        f"Write `{name}: {{values: [...]}}` to vary it, `{name}: {{value: ...}}` to fix it, "
        f"`{name}: {{distribution: uniform, min: ..., max: ...}}` to search it."
    )
    if isinstance(raw, BaseModel):
        form = raw.model_dump(exclude_none=True)
    elif isinstance(raw, Mapping):
        form = dict(raw)
    else:
        return [problem(loc, f"{name} must hold `values` or `value`", raw, example)]
    unknown = [key for key in form if key not in _FORMS]
    if unknown:
        return [
            problem(
                (*loc, key), f"{key!r} is not a known key", form[key], for_key(str(key)) or nearest(str(key), _FORMS)
            )
            for key in unknown[:MOST_TOLD]
        ]
    if is_searched(form):
        if is_task:
            rule = f"{name} must not be searched, because every task is a cell of its own, with its own front"
            return [problem(loc, rule, form, f"Write `{name}: {{values: [...]}}`.")]
        return _search_problems(loc, form)
    ways = [key for key in ("values", "value") if key in form]
    if len(ways) != 1:
        return [problem(loc, f"{name} must be given in one way, `values` or `value`", form, example)]
    if ways[0] == "values":
        return _values_problems(loc, form["values"])
    return [] if _may_be(name, form["value"]) else [_no_scalar((*loc, "value"), form["value"])]


def _may_be(name: str, value: object) -> bool:
    return isinstance(value, Scalar) or (name in _LISTS and isinstance(value, list | tuple))


def _values_problems(loc: Loc, values: object) -> list[Problem]:
    name, here = loc[-1], (*loc, "values")
    if not isinstance(values, list | tuple):
        fix = for_values(values) or "Write it in brackets, as in [1, 2]."
        return [problem(here, f"{name}.values must be a list", values, fix)]
    if not values:
        return [problem(here, f"{name}.values must not be empty", values, "Give at least one value.")]
    return [_no_scalar((*here, at), value) for at, value in enumerate(values) if not _may_be(str(name), value)]


def _no_scalar(loc: Loc, value: object) -> Problem:
    name = loc[1]
    return problem(loc, f"{name} must be a number or a word", value, "Leave a parameter out to keep its default.")


def _search_problems(loc: Loc, form: Mapping[str, Any]) -> list[Problem]:
    """Return the problems in the form of a searched parameter."""
    name, known = loc[-1], [str(distribution) for distribution in Distribution]
    distribution = form.get("distribution", Distribution.UNIFORM)
    if distribution not in known:
        rule = f"{name}.distribution must be a known distribution"
        fix = for_distribution(form) or nearest(str(distribution), known)
        return [problem((*loc, "distribution"), rule, distribution, fix)]
    is_choice = distribution == Distribution.CATEGORICAL
    wanted = ("values",) if is_choice else _ENDS
    if sorted({*form} - {"distribution"}) != sorted(wanted):
        rule = f"{name} must be given in one way: the distribution {distribution} goes with {' and '.join(wanted)}"
        fix = (
            f"Write `{name}: {{distribution: categorical, values: [...]}}`."
            if is_choice
            else f"Write `{name}: {{distribution: {distribution}, min: ..., max: ...}}`, or values alone for a grid."
        )
        return [problem(loc, rule, dict(form), fix)]
    if is_choice:
        return _values_problems(loc, form["values"])
    problems = [
        problem((*loc, end), f"{name}.{end} must be a number", form[end], for_number(form[end]) or _A_NUMBER)
        for end in _ENDS
        if isinstance(form[end], bool) or not isinstance(form[end], int | float)
    ]
    if problems:
        return problems
    if not form["min"] < form["max"]:
        return [problem(loc, f"{name}.min must be below {name}.max", dict(form), "Exchange or widen them.")]
    if distribution == Distribution.LOG_UNIFORM and form["min"] <= 0:
        rule = f"{name}.min must be above 0 for the distribution {distribution}"
        return [problem((*loc, "min"), rule, form["min"], "Raise it, or use uniform.")]
    if distribution == Distribution.INT_UNIFORM:
        return [
            problem((*loc, end), f"{name}.{end} must be a whole number for int_uniform", form[end], "Round it.")
            for end in _ENDS
            if form[end] != int(form[end])
        ]
    return []


def range_problems(searched: Mapping[str, Mapping[str, Any]], typed: Mapping[str, Sequence[Scalar]]) -> list[Problem]:
    """Return the searched parameters whose typed values do not fit their distribution.

    Args:
        searched: Form of each parameter in the file.
        typed: Ends of each range, or its choices, after the parameter's owner has typed them.
    """
    problems = []
    for name, form in searched.items():
        loc: Loc = ("parameters", name)
        distribution = form.get("distribution")
        if "values" in form and len(typed[name]) < len(form["values"]):
            rule = f"{name} must list each value once"
            problems.append(problem((*loc, "values"), rule, form["values"], "Remove the repeated value."))
        elif distribution == Distribution.UNIFORM and all(isinstance(end, int) for end in typed[name]):
            rule = f"{name} takes whole numbers, so its distribution must be int_uniform or log_uniform_values"
            problems.append(problem((*loc, "distribution"), rule, distribution, "Use int_uniform."))
    return problems


def form_of(form: Mapping[str, Any], typed: Sequence[Scalar]) -> dict[str, Any]:
    """Return the full form of a searched parameter, with values typed by its owner.

    A range without a distribution is uniform, over integers if the parameter takes only integers.
    """
    if "values" in form:
        return {"distribution": Distribution.CATEGORICAL, "values": tuple(typed)}
    is_whole = all(isinstance(end, int) for end in typed)
    distribution = form.get("distribution", Distribution.INT_UNIFORM if is_whole else Distribution.UNIFORM)
    return {"distribution": Distribution(distribution), "min": typed[0], "max": typed[1]}
