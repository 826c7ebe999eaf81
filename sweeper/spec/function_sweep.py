"""A sweep of a user's own training function: the arguments it is called with, and the measures it returns."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from sweeper.measurements import TAKEN
from sweeper.own_code import SOURCE
from sweeper.spec.function_setting import ARGUMENT, FunctionSetting
from sweeper.spec.parameter_forms import form_of, form_problems, is_searched, range_problems
from sweeper.spec.parameters import MOST_SETTINGS, Parameter
from sweeper.spec.problems import NOT_WRITTEN, Loc, Problem, broken_rule, nearest, problem, refuse
from sweeper.spec.setting import FUNCTION, Frozen, Scalar
from sweeper.spec.sweep_spec import SweepSpec

#: Type of an argument's values; an argument without a type takes any of them.
Kind = Literal["bool", "int", "float", "str", ""]

_MEASURE = re.compile(r"[A-Za-z_]\w*")

#: Keys of lattice sweeps, which are refused here.
_OF_LATTICES = ("task", "lattice", "training", "probes", "probe_images", "lesions", "complexity", "costs")


def source_problem(source: str) -> tuple[str, str] | None:
    """Return the rule that a function's name breaks, and a fix; None if the name is valid."""
    if SOURCE.fullmatch(source):
        is_file = source.partition(":")[0].endswith(".py")
        fix = f"Write `train: {source.replace('.py:', ':')}`: modules are named without .py."
        return ("train must be module:function", fix) if is_file else None
    if any(letter.isspace() or letter in "/\\" for letter in source):
        fix = "Commands are not run: write a function that does the same, and name it as in `train: exits:train`."
        return "train must be module:function", fix
    return "train must be module:function", "Write it as in `train: exits:train`, for train in exits.py."


def _check_source(source: str) -> str:
    if broken := source_problem(source):
        raise broken_rule(*broken)
    return source


def _version_text(version: object) -> object:
    """Return a version as text, since YAML reads 2 as a number and keys contain the text."""
    return str(version) if isinstance(version, int | float) and not isinstance(version, bool) else version


class ArgumentSpec(Frozen):
    """An argument of the function, from its signature.

    Attributes:
        kind: Type of its values.
        is_required: Whether it has no default.
        default: Its default, if that is a number, a text or a boolean.
    """

    kind: Kind = ""
    is_required: bool = False
    default: Scalar | None = None


class FunctionSweep(SweepSpec):
    """A sweep of a user's own training function.

    Attributes:
        train: The function: `exits:train` is the function `train` in exits.py beside this file, or in an installed
            package.
        version: Part of every key: another version makes other trials of the same arguments.
        task_axes: Arguments whose values make tasks, each with its own front, such as `[dataset]`; called `tasks` in
            the file.
        measures: Measures that the function returns, with their units, such as `{accuracy: share, energy: nJ}`.
        arguments: Arguments from the function's signature; never written by hand.
    """

    train: Annotated[str, AfterValidator(_check_source)]
    version: Annotated[str, BeforeValidator(_version_text)] = ""
    task_axes: Annotated[tuple[str, ...], Field(strict=False, alias="tasks")] = ()
    measures: Mapping[str, str] = Field(default_factory=dict)
    arguments: Mapping[str, ArgumentSpec] = Field(default_factory=dict, json_schema_extra=NOT_WRITTEN)

    @classmethod
    def _resolved(
        cls, document: Mapping[str, Any], context: Mapping[str, Any] | None
    ) -> tuple[dict[str, Any], list[Problem]]:
        return _resolved(document, bool((context or {}).get("is_stored")))

    @field_validator("measures")
    @classmethod
    def _check_measures(cls, measures: dict[str, str]) -> dict[str, str]:
        if not measures:
            raise broken_rule(
                "measures must name what the function measures, with units", "Write `measures: {accuracy: share}`."
            )
        problems = []
        for name, unit in measures.items():
            if not _MEASURE.fullmatch(name) or name in TAKEN or name.endswith("_sd"):
                rule = f"{name!r} cannot be the name of a measure"
                fix = "Use letters, digits and _, and no name of a column, see docs/reference/columns.md."
                problems.append(problem((name,), rule, unit, fix))
        if problems:
            refuse(cls, problems)
        return measures

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        """Refuse objectives and conditions that name no measure of the function."""
        places: list[tuple[Loc, str]] = [
            (("objectives", at, "name"), one.name) for at, one in enumerate(self.objectives)
        ]
        if self.search is not None:
            places += [(("search", "subject_to", at), one.name) for at, one in enumerate(self.search.subject_to)]
            ways = [(way, getattr(self.search, way)) for way in ("minimize", "maximize")]
            places += [(("search", way), name) for way, name in ways if name is not None]
        if problems := [
            problem(loc, "a measure must be one of `measures`", name, nearest(name, self.measures))
            for loc, name in places
            if name not in self.measures
        ]:
            refuse(type(self), problems)
        if self.early_stopping is not None and self.early_stopping.min_epochs is None:
            said = "early_stopping must have min_epochs, because a function reports after epochs"
            given = self.early_stopping.model_dump(mode="json", exclude_unset=True)
            refuse(type(self), [problem(("early_stopping",), said, given, "Give min_epochs in place of the other.")])
        return self

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        """Refuse different tasks with the same name."""
        named = {(cell.task_label, *(cell.arguments[one] for one in self.task_axes)) for cell in self._cells()}
        for label, times in Counter(label for label, *_ in named).items():
            if times > 1:
                rule = f"tasks must have different names, but {times} are named {label!r}"
                refuse(
                    type(self), [problem(("tasks",), rule, list(self.task_axes), "Use values that differ in letters.")]
                )
        return self

    @property
    def own_units(self) -> Mapping[str, str] | None:
        """Units of the function's measures, by name."""
        return self.measures

    def place_of(self, name: str) -> str:
        """Return the name of a parameter in a flat setting."""
        return f"{ARGUMENT}{name}"

    def _cells(self) -> list[FunctionSetting]:
        return self._product({name: given.extremes[:1] for name, given in self.searched.items()})

    def _product(self, searched: Mapping[str, tuple[Scalar, ...]]) -> list[FunctionSetting]:
        given = {**self.axes, **searched}
        ordered = [*self.task_axes, *(name for name in given if name not in self.task_axes)]
        fixed = {name: one.default for name, one in self.arguments.items() if one.default is not None}
        fixed |= {name: one.value for name, one in self.parameters.items() if one.value is not None}
        axes = {name: given.get(name, (fixed[name],) if name in fixed else ()) for name in ordered}
        return [
            FunctionSetting(
                train=self.train,
                version=self.version,
                arguments={**fixed, **dict(zip(axes, chosen, strict=True))},
                task_axes=self.task_axes,
                seed=self.seed,
            )
            for chosen in itertools.product(*axes.values())
        ]


def _resolved(document: Mapping[str, Any], is_stored: bool) -> tuple[dict[str, Any], list[Problem]]:
    """Return a document whose parameters have the types of the function's arguments, and the problems found."""
    problems = [
        problem((name,), f"{name} must be left out where `{FUNCTION}` names a function", document[name], _fix_of(name))
        for name in _OF_LATTICES
        if name in document
    ]
    found = {name: value for name, value in document.items() if name not in _OF_LATTICES}
    arguments = {
        name: one if isinstance(one, ArgumentSpec) else ArgumentSpec.model_validate(one)
        for name, one in dict(found.get("arguments") or {}).items()
    }
    raw = found.get("parameters")
    given = dict(raw) if isinstance(raw, Mapping) else {}
    if raw is not None and not isinstance(raw, Mapping):
        problems.append(
            problem(("parameters",), "parameters must hold `key: value` lines", raw, "Indent its keys below it.")
        )
    tasks = found.get("tasks", ())
    tasks = [tasks] if isinstance(tasks, str) else list(tasks) if isinstance(tasks, list | tuple) else []
    parameters: dict[str, Parameter] = {}
    source = document[FUNCTION]
    is_source = isinstance(source, str) and source_problem(source) is None  # otherwise its arguments are unknown
    if not is_source:
        given, tasks = {}, []
    for name, form in given.items():
        typed, wrong = _typed(str(name), form, arguments, is_task=name in tasks)
        problems += wrong
        if typed is not None:
            parameters[str(name)] = typed
    for name, one in arguments.items():
        if one.is_required and name not in given:
            rule, fix = f"{name} must be given, because {document[FUNCTION]} has no default for it", f"Add `{name}: …`."
            problems.append(Problem(("parameters",), rule, "but it is missing", fix))
    for name in tasks:
        if name not in arguments:
            problems.append(problem(("tasks",), "tasks must name arguments", name, nearest(str(name), arguments)))
        elif name not in given and arguments[name].default is None:
            rule = f"{name} must have values, because it makes tasks"
            problems.append(problem(("tasks",), rule, name, f"Write `parameters: {{{name}: {{values: [...]}}}}`."))
    sizes = [len(one.values) for one in parameters.values() if one.values is not None and one.distribution is None]
    if math.prod(sizes) > MOST_SETTINGS:
        rule = f"a sweep must hold at most {MOST_SETTINGS} settings"
        got = f"but got {' × '.join(map(str, sizes))} = {math.prod(sizes)}"
        problems.append(Problem(("parameters",), rule, got, "Take values out, or make several sweeps."))
        parameters = {}
    found["parameters"] = parameters
    found["tasks"] = [name for name in tasks if name in arguments]
    if not is_stored:
        found["arguments"] = arguments
    return found, problems


def _fix_of(name: str) -> str:
    if name == "costs":
        return "Costs are what lattices pay: have the function add them to its loss, and measure them."
    if name in ("task", "lattice", "training"):
        return "Make what it says arguments of the function, and give them under `parameters`."
    return "It is measured of lattices alone: have the function measure it."


def _typed(
    name: str, raw: object, arguments: Mapping[str, ArgumentSpec], *, is_task: bool
) -> tuple[Parameter | None, list[Problem]]:
    """Return a parameter with values of its argument's type, and the problems found."""
    loc: Loc = ("parameters", name)
    if isinstance(raw, Parameter):
        return raw, []
    if isinstance(raw, Mapping) and (strange := [key for key in raw if key in _CONDITIONAL]):
        rule = f"{name} must not depend on other parameters"
        return None, [problem((*loc, strange[0]), rule, raw[strange[0]], "Make a sweep for each case.")]
    if name not in arguments and isinstance(raw, Mapping) and any(isinstance(one, Mapping) for one in raw.values()):
        rule = f"{name} must not hold other parameters"
        return None, [problem(loc, rule, raw, "Give each argument of the function by its own name.")]
    if name not in arguments:
        return None, [problem(loc, f"{name!r} is no argument of the function", raw, nearest(name, arguments))]
    if wrong := form_problems(name, raw, is_task=is_task):
        return None, wrong
    form, kind = dict(raw) if isinstance(raw, Mapping) else {}, arguments[name].kind
    ends: Sequence[tuple[Loc, object]]
    if is_searched(form) and "values" not in form:
        ends = [((*loc, end), form[end]) for end in ("min", "max")]
    elif "values" in form:
        ends = [((*loc, "values", at), value) for at, value in enumerate(form["values"])]
    else:
        ends = [((*loc, "value"), form["value"])]
    values, problems = [], list[Problem]()
    for place, value in ends:
        typed = _as_kind(value, kind)
        if typed is None:
            problems.append(problem(place, f"{name} must be {_KINDS[kind]}, as its argument is", value, "Correct it."))
        else:
            values.append(typed)
    if problems:
        return None, problems
    if is_searched(form):
        wrong = range_problems({name: form}, {name: values})
        return (None, wrong) if wrong else (Parameter(**form_of(form, values)), [])
    if "value" in form:
        return Parameter(value=values[0]), []
    if len(set(_told_apart(values))) < len(values):
        rule = f"{name} must list each value once"
        return None, [problem((*loc, "values"), rule, list(form["values"]), "Remove the repeated value.")]
    return Parameter(values=tuple(values)), []


#: Words of other tools for conditional parameters.
_CONDITIONAL = frozenset({"when", "if", "condition", "conditions", "depends_on", "parent"})

_KINDS: Mapping[str, str] = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a word",
    "": "a number or a word",
}


def _as_kind(value: object, kind: str) -> Scalar | None:
    """Convert a value to a kind; return None if it is not of that kind."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if kind == "":
        return value if isinstance(value, Scalar) else None
    if kind == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) + 0.0
    if kind == "int" and isinstance(value, float) and value == int(value):
        return int(value)
    wanted = {"bool": bool, "int": int, "str": str}.get(kind)
    is_it = wanted is not None and isinstance(value, wanted) and (kind == "bool" or not isinstance(value, bool))
    return value if is_it else None  # type: ignore[return-value]  # it is one


def _told_apart(values: Sequence[Scalar]) -> Iterator[tuple[type, Scalar]]:
    yield from ((type(value), value) for value in values)
