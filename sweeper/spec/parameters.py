"""The `parameters` part of a spec: its fixed, varied and searched parameters and their values.

A parameter belongs to a section (task, lattice, training) or is one of the pressures. The rules of that owner check its
values, in every combination with the owner's other parameters.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, ValidationError, create_model, model_validator

from sweeper.spec.advice import for_key
from sweeper.spec.choices import Distribution
from sweeper.spec.parameter_forms import form_of, form_problems, is_searched, range_problems
from sweeper.spec.problems import MOST_TOLD, Loc, Problem, nearest, problem, problems_of
from sweeper.spec.setting import SECTIONS, Frozen, NotNegative, PressuresSpec, Scalar, TaskSpec, pressure_of

#: Most settings of a sweep; more are probably a typing error.
MOST_SETTINGS = 100_000

#: Fields that cannot be varied, because they belong to one data file or one window.
_FIXED_FIELDS = frozenset({"validation", "test", "halve"})

#: Owner of the parameters that belong to no section of the file.
PRESSURES = "pressures"


@dataclass(frozen=True)
class Owners:
    """The owners of parameters.

    Attributes:
        models: The owners' models, in the order in which a sweep's product is formed.
    """

    models: Mapping[str, type[Frozen]]

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Name of a parameter -> its owner."""
        return {
            name: owner
            for owner, model in self.models.items()
            for name in model.model_fields
            if name not in _FIXED_FIELDS
        }


@lru_cache(maxsize=16)
def owners_with(costs: tuple[str, ...]) -> Owners:
    """Return the owners of a sweep with these own costs, each of which adds a pressure."""
    own: dict[str, Any] = {pressure_of(cost): (NotNegative, 0.0) for cost in costs}
    pressures = create_model("PressuresSpec", __base__=PressuresSpec, **own) if own else PressuresSpec
    return Owners({**SECTIONS, PRESSURES: pressures})


#: Name of a parameter that every sweep can have -> its owner.
OWNER_OF: Mapping[str, str] = owners_with(()).names


class Parameter(Frozen):
    """The values of a grid axis, one constant, or a range to search.

    Attributes:
        values: The values of a grid axis, or the choices of a searched parameter, in the order of the file.
        value: The constant.
        distribution: Distribution of a searched parameter; left out beside `min` and `max`, it is `uniform`.
        min, max: Bounds of a searched number, both included.
    """

    values: tuple[Scalar, ...] | None = None
    value: Scalar | None = None
    distribution: Annotated[Distribution, Field(strict=False)] | None = None
    min: int | float | None = None
    max: int | float | None = None

    @model_validator(mode="after")
    def _is_one_of_all(self) -> Self:
        is_range = self.min is not None and self.max is not None
        if [self.values is not None, self.value is not None, is_range].count(True) != 1:
            raise ValueError("a parameter holds either values, a value or a range")
        return self

    @property
    def extremes(self) -> tuple[Scalar, ...]:
        """The choices of a searched parameter, or the ends of its range."""
        if self.values is not None:
            return self.values
        return tuple(bound for bound in (self.min, self.max) if bound is not None)

    def at(self, share: float) -> Scalar:
        """Return the quantile of the distribution at a share, from 0 to below 1."""
        low, high = self.min, self.max
        if low is None or high is None:
            choices = self.extremes
            return choices[int(share * len(choices))]
        if self.distribution is Distribution.LOG_UNIFORM:
            found = float(low * (high / low) ** share)
        elif self.count is not None:
            return int(low) + int(share * self.count)
        else:
            found = low + share * (high - low)
        return max(low, min(found, high))  # rounding may lead past an end

    def holds(self, value: object) -> bool:
        """Return whether a search of this parameter could find a value."""
        if self.values is not None:
            return value in self.values
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and self.extremes[0] <= value <= self.extremes[1]  # type: ignore[operator]  # numbers, checked

    @property
    def count(self) -> int | None:
        """Number of possible values; None if it is infinite."""
        if self.values is not None:
            return len(self.values)
        low, high = self.min, self.max
        is_whole = self.distribution is Distribution.INT_UNIFORM or (isinstance(low, int) and isinstance(high, int))
        return int(high) - int(low) + 1 if is_whole and low is not None and high is not None else None


@dataclass
class _Owner:
    """The input of one owner: its own section and its parameters."""

    section: dict[str, Any]
    constants: dict[str, Any] = field(default_factory=dict)
    axes: dict[str, list[Any]] = field(default_factory=dict)
    searched: dict[str, dict[str, Any]] = field(default_factory=dict)

    def combinations(self) -> Iterator[tuple[dict[str, Any], dict[str, Loc]]]:
        """Yield every combination of the axes and of the ends of ranges, and the place each value came from."""
        fixed: dict[str, Loc] = {name: ("parameters", name, "value") for name in self.constants}
        options: dict[str, list[tuple[Loc, Any]]] = {
            name: [(("values", at), value) for at, value in enumerate(values)] for name, values in self.axes.items()
        }
        for name, form in self.searched.items():
            options[name] = [((end,), form[end]) for end in ("min", "max") if end in form]
            options[name] += [(("values", at), value) for at, value in enumerate(form.get("values", ()))]
        for chosen in itertools.product(*options.values()):
            picked = dict(zip(options, chosen, strict=True))
            values = {name: value for name, (_, value) in picked.items()}
            places: dict[str, Loc] = {name: ("parameters", name, *at) for name, (at, _) in picked.items()}
            yield {**self.section, **self.constants, **values}, {**fixed, **places}


def resolve(
    document: Mapping[str, Any], context: Mapping[str, Any] | None, whose: Owners
) -> tuple[dict[str, Any], list[Problem]]:
    """Assign every parameter to its owner, and check it there.

    Args:
        document: A sweep as written in YAML.
        whose: All owners.
        context: `folder`, from which relative paths start; None starts them from the working folder.

    Returns:
        The document with typed sections (with an axis at its first value, and a range at its lower end) and typed
        parameters (only axes, ranges and pressures: other constants are moved to their section), and the problems
        found.
    """
    owners, problems = _owners(document, whose.names)
    # A product that is too large is refused before anything iterates over it.
    oversized = _oversized(owners, document.get("replicates", 1))
    sections: dict[str, Frozen] = {}
    varied: dict[str, Parameter] = {}
    for name, owner in owners.items():
        kind = whose.models[name]
        if oversized:
            sections[name] = kind()
            continue
        models, wrong = _combine(name, owner, context, kind)
        sections[name] = models[0] if models else kind()
        problems += wrong
        if not wrong:
            typed = {n: tuple(dict.fromkeys(getattr(m, n) for m in models)) for n in (*owner.axes, *owner.searched)}
            found = [*_repeated(owner, typed, models), *range_problems(owner.searched, typed)]
            problems += found
            if not found:
                varied |= {axis: Parameter(values=typed[axis]) for axis in owner.axes}
                varied |= {n: Parameter(**form_of(form, typed[n])) for n, form in owner.searched.items()}
    # The order of the file is kept: it decides which axis varies slowest within its section.
    given = [name for name in _mapping(document.get("parameters")) if name in varied]
    parameters = {name: varied[name] for name in given}
    for name, value in sections.pop(PRESSURES):
        parameters.setdefault(name, Parameter(value=value))
    return {**document, **sections, "parameters": parameters}, problems + oversized


def _owners(document: Mapping[str, Any], owner_of: Mapping[str, str]) -> tuple[dict[str, _Owner], list[Problem]]:
    """Distribute sections and parameters to their owners."""
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
        if len(problems) > 10 * MOST_TOLD:
            break
        if name not in owner_of:
            rule = f"{name!r} is not a parameter"
            problems.append(problem(loc, rule, raw, for_key(str(name)) or nearest(str(name), owner_of)))
            continue
        owner = owners[owner_of[name]]
        if name in owner.section:
            rule = f"{name} must be set in one place, and {owner_of[name]}.{name} sets it too"
            problems.append(problem(loc, rule, raw, f"Remove it here or from `{owner_of[name]}`."))
            del owner.section[name]
        wrong = form_problems(name, raw, is_task=owner_of[name] == "task")
        problems += wrong
        if not wrong:
            plain = _mapping(raw)
            if is_searched(plain):
                owner.searched[name] = plain
            elif "values" in plain:
                owner.axes[name] = list(plain["values"])
            else:
                owner.constants[name] = plain["value"]
    return {name: owners[name] for name in (*SECTIONS, PRESSURES)}, problems


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


def _combine(
    name: str, owner: _Owner, context: Mapping[str, Any] | None, kind: type[Frozen]
) -> tuple[list[Frozen], list[Problem]]:
    """Return the owner's typed models, one per combination of its axes, and their problems.

    Combinations are checked, not single values: `classes: 100` may fit one data set of an axis and not another.
    """
    models: list[Frozen] = []
    problems: dict[tuple[Loc, str], Problem] = {}
    for values, places in owner.combinations():
        if len(problems) > 10 * MOST_TOLD:
            break
        try:
            models.append(kind.model_validate(values, context=context))
        except ValidationError as error:
            for found in problems_of(error, kind, (name,)):
                loc = places.get(str(found.loc[1]), found.loc)
                problems.setdefault((loc, found.rule), replace(found, loc=loc))
    return models, list(problems.values())


def _repeated(owner: _Owner, typed: Mapping[str, tuple[Scalar, ...]], models: Sequence[Frozen]) -> list[Problem]:
    """Return problems for repeated values, and for different tasks with the same name."""
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
    """Return a part of the document as a new dict; a key without content gives an empty dict."""
    if isinstance(raw, BaseModel):
        return raw.model_dump(exclude_unset=True)
    return dict(raw) if isinstance(raw, Mapping) else {}
