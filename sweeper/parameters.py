"""The `parameters` part of a spec: which names are fixed there, which are varied, over which values.

A parameter belongs to a section (task, lattice, training) or is one of the pressures. Its values
are checked by that owner's own rules, in every combination with the owner's other parameters.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from pydantic import BaseModel, ValidationError, model_validator

from sweeper.setting import SECTIONS, Frozen, Pressures, Scalar, TaskSpec
from sweeper.spec_problems import Loc, Problem, nearest, problem, problems_of

#: More settings than this are a slip of the keyboard, not a plan.
MOST_SETTINGS = 100_000

#: Fields that belong to one data file or one shape, and so cannot be varied.
_FIXED_FIELDS = frozenset({"test", "halve"})

_DISTRIBUTIONS = ("uniform", "log_uniform_values", "int_uniform", "categorical")
_FORMS = ("values", "value", "distribution", "min", "max")
_SEARCH_FORMS = ("distribution", "min", "max")

#: The owner of the parameters that stand in no section of the file.
PRESSURES = "pressures"

OWNERS: Mapping[str, type[Frozen]] = {**SECTIONS, PRESSURES: Pressures}

#: Name of a parameter -> its owner, in the order in which a sweep's product is formed.
OWNER_OF: Mapping[str, str] = {
    name: owner for owner, model in OWNERS.items() for name in model.model_fields if name not in _FIXED_FIELDS
}


class Parameter(Frozen):
    """Either the values of an axis or one constant.

    Attributes:
        values: The values of an axis, in the order of the file; None for a constant.
        value: The constant; None for an axis.
    """

    values: tuple[Scalar, ...] | None = None
    value: Scalar | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.values is None) == (self.value is None):
            raise ValueError("a parameter holds either values or a value")
        return self


@dataclass
class _Owner:
    """What one owner is given: its own section and the parameters that fall to it."""

    section: dict[str, Any]
    constants: dict[str, Any] = field(default_factory=dict)
    axes: dict[str, list[Any]] = field(default_factory=dict)

    def combinations(self) -> Iterator[tuple[dict[str, Any], dict[str, Loc]]]:
        """Yield every combination of the axes, with the place each parameter's value came from."""
        fixed = {name: ("parameters", name, "value") for name in self.constants}
        for chosen in itertools.product(*(enumerate(values) for values in self.axes.values())):
            picked = dict(zip(self.axes, chosen, strict=True))
            values = {name: value for name, (_, value) in picked.items()}
            places: dict[str, Loc] = {name: ("parameters", name, "values", at) for name, (at, _) in picked.items()}
            yield {**self.section, **self.constants, **values}, {**fixed, **places}


def resolve(document: Mapping[str, Any], context: Mapping[str, Any] | None) -> tuple[dict[str, Any], list[Problem]]:
    """Give every parameter to its owner, and check it there.

    Args:
        document: A sweep as written in YAML.
        context: `folder`, which relative paths start from; None leaves them to the working folder.

    Returns:
        The document with typed sections (an axis stands at its first value there) and typed
        parameters (axes and pressures only: other constants have moved to their section), and
        the problems found on the way.
    """
    owners, problems = _owners(document)
    # A product that is too large is refused before anything walks it.
    oversized = _oversized(owners, document.get("replicates", 1))
    sections: dict[str, Frozen] = {}
    axes: dict[str, tuple[Scalar, ...]] = {}
    for name, owner in owners.items():
        if oversized:
            sections[name] = OWNERS[name]()
            continue
        models, wrong = _combine(name, owner, context)
        sections[name] = models[0] if models else OWNERS[name]()
        problems += wrong
        if not wrong:
            typed = {axis: tuple(dict.fromkeys(getattr(model, axis) for model in models)) for axis in owner.axes}
            axes |= typed
            problems += _repeated(owner, typed, models)
    # The order of the file is kept: it decides which axis varies slowest within its section.
    given = [name for name in _mapping(document.get("parameters")) if name in axes]
    parameters = {name: Parameter(values=axes[name]) for name in given}
    for name, value in sections.pop(PRESSURES):
        parameters.setdefault(name, Parameter(value=value))
    return {**document, **sections, "parameters": parameters}, problems + oversized


def _owners(document: Mapping[str, Any]) -> tuple[dict[str, _Owner], list[Problem]]:
    """Hand out sections and parameters to their owners."""
    problems: list[Problem] = []
    owners = {PRESSURES: _Owner({})}
    for section in (*SECTIONS, "parameters"):
        if not isinstance(document.get(section), Mapping | BaseModel | None):
            rule = f"{section} must hold `key: value` lines"
            problems.append(problem((section,), rule, document[section], "Indent its keys below it."))
    for section in SECTIONS:
        owners[section] = _Owner(_mapping(document.get(section)))
    for name, raw in _mapping(document.get("parameters")).items():
        loc = ("parameters", name)
        if name not in OWNER_OF:
            rule = f"{name!r} is not a parameter"
            problems.append(problem(loc, rule, raw, nearest(str(name), OWNER_OF)))
            continue
        owner = owners[OWNER_OF[name]]
        if name in owner.section:
            rule = f"{name} must be set in one place, and {OWNER_OF[name]}.{name} sets it too"
            problems.append(problem(loc, rule, raw, f"Remove it here or from `{OWNER_OF[name]}`."))
            del owner.section[name]
        wrong = _form_problems(name, raw)
        problems += wrong
        if not wrong:
            plain = _mapping(raw)
            if "values" in plain:
                owner.axes[name] = list(plain["values"])
            else:
                owner.constants[name] = plain["value"]
    return {name: owners[name] for name in OWNERS}, problems


def _form_problems(name: str, raw: object) -> list[Problem]:
    """Return what is wrong with the way a parameter is written, whatever its values."""
    loc: Loc = ("parameters", name)
    example = f"Write `{name}: {{values: [...]}}` to vary it, `{name}: {{value: ...}}` to fix it."
    if not isinstance(raw, Mapping | Parameter):
        return [problem(loc, f"{name} must hold `values` or `value`", raw, example)]
    form = _mapping(raw)
    unknown = [key for key in form if key not in _FORMS]
    if unknown:
        return [
            problem((*loc, key), f"{key!r} is not a known key", form[key], nearest(str(key), _FORMS)) for key in unknown
        ]
    searched = [key for key in _SEARCH_FORMS if key in form]
    ways = [key for key in ("values", "value") if key in form] + searched[:1]
    if len(ways) != 1:
        return [problem(loc, f"{name} must be given in one way, `values` or `value`", dict(form), example)]
    if searched:
        return [_searched(loc, form)]
    here = (*loc, ways[0])
    values = form[ways[0]] if ways[0] == "values" else [form["value"]]
    if not isinstance(values, list | tuple):
        return [problem(here, f"{name}.values must be a list", values, "Write it in brackets, as in [1, 2].")]
    if not values:
        return [problem(here, f"{name}.values must not be empty", values, "Give at least one value.")]
    places = [here] if ways[0] == "value" else [(*here, number) for number in range(len(values))]
    return [
        problem(place, f"{name} must be a number or a word", value, "Leave a parameter out to keep its default.")
        for place, value in zip(places, values, strict=True)
        if not isinstance(value, Scalar)
    ]


def _searched(loc: Loc, form: Mapping[str, Any]) -> Problem:
    name = loc[-1]
    distribution = form.get("distribution", "uniform")
    if distribution not in _DISTRIBUTIONS:
        rule = f"{name}.distribution must be a known distribution"
        return problem((*loc, "distribution"), rule, distribution, nearest(str(distribution), _DISTRIBUTIONS))
    rule = f"{name} must be a list of values, because searching is not available in this version"
    return problem(loc, rule, dict(form), "Give values: [...] instead.")


def _oversized(owners: Mapping[str, _Owner], replicates: object) -> list[Problem]:
    """Return the problem of a sweep with too many settings, its product spelled out."""
    sizes = {name: len(values) for owner in owners.values() for name, values in owner.axes.items()}
    if isinstance(replicates, int) and replicates > 1:
        sizes["replicates"] = replicates
    total = math.prod(sizes.values())
    if total <= MOST_SETTINGS:
        return []
    product = " × ".join(f"{size} {name}" for name, size in sizes.items())
    loc: Loc = ("parameters",) if len(sizes) > 1 or "replicates" not in sizes else ("replicates",)
    rule = f"a sweep must hold at most {MOST_SETTINGS} settings"
    return [Problem(loc, rule, f"but got {product} = {total}", "Take values out, or make several sweeps.")]


def _combine(name: str, owner: _Owner, context: Mapping[str, Any] | None) -> tuple[list[Frozen], list[Problem]]:
    """Return the owner's typed models, one per combination of its axes, and what is wrong with them.

    Combinations, not single values: `classes: 100` may fit one data set of the axis and not another.
    """
    models: list[Frozen] = []
    problems: dict[tuple[Loc, str], Problem] = {}
    for values, places in owner.combinations():
        try:
            models.append(OWNERS[name].model_validate(values, context=context))
        except ValidationError as error:
            for found in problems_of(error, OWNERS[name], (name,)):
                loc = places.get(str(found.loc[1]), found.loc)
                problems.setdefault((loc, found.rule), replace(found, loc=loc))
    return models, list(problems.values())


def _repeated(owner: _Owner, typed: Mapping[str, tuple[Scalar, ...]], models: Sequence[Frozen]) -> list[Problem]:
    """Return the values given twice, and tasks that could not be told apart by name."""
    problems = []
    for name, values in owner.axes.items():
        if len(typed[name]) < len(values):
            rule = f"{name} must list each value once"
            problems.append(problem(("parameters", name, "values"), rule, values, "Remove the repeated value."))
    labels = Counter(model.label for model in models if isinstance(model, TaskSpec))
    for label, times in labels.items():
        if times > 1 and not problems:
            rule = f"tasks must have different names, but {times} are named {label!r}"
            fix = "Rename one of the data files: a task is named after its file."
            problems.append(problem(("parameters", "data"), rule, owner.axes.get("data"), fix))
    return problems


def _mapping(raw: object) -> dict[str, Any]:
    """Return a part of the document as a new dict; a key with nothing below it is an empty part."""
    if isinstance(raw, BaseModel):
        return raw.model_dump(exclude_unset=True)
    return dict(raw) if isinstance(raw, Mapping) else {}
