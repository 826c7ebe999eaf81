"""A whole sweep as one frozen value: which settings exist, measured by what, compared how."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler

from sweeper.errors import SpecError
from sweeper.parameters import OWNER_OF, OWNERS, PRESSURES, Parameter, resolve
from sweeper.setting import (
    LARGEST_SEED,
    SECTIONS,
    Count,
    Frozen,
    LatticeSpec,
    Number,
    Pressures,
    Scalar,
    Seed,
    Setting,
    TaskSpec,
    TrainingSpec,
)
from sweeper.spec_problems import Problem, broken_rule, nearest, problem, problems_of, refuse, spec_error
from sweeper.vocabulary import MEASUREMENTS, Goal, Objective

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NAME_RULE = "name must hold letters, digits, '.', '_' and '-', begin with a letter or digit, and be at most 100 long"
_NAME_FIX = "Choose another name, such as quickstart-2."

#: Where, and in what words, a sweep is written: none of it changes a result.
_NOT_IDENTITY = ("name", "description", "placement")


def check_name(name: str) -> None:
    """Refuse a name that a sweep cannot have.

    Raises:
        SpecError: With the name and what names may hold.
    """
    if not _NAME.fullmatch(name):
        raise SpecError(f"{_NAME_RULE}, but got {name!r}. {_NAME_FIX}")


def _check_name_field(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise broken_rule(_NAME_RULE, _NAME_FIX)
    return name


def _check_population(population: object) -> object:
    is_count = isinstance(population, int) and not isinstance(population, bool) and population >= 1
    if population != "auto" and not is_count:
        raise broken_rule("population must be auto or a whole number of at least 1", "Use auto.")
    return population


class PlacementSpec(Frozen):
    """Where and how many at once: nothing here changes a result.

    Attributes:
        population: Networks trained side by side in one worker; `auto` decides by the machine.
    """

    population: Annotated[int | Literal["auto"], BeforeValidator(_check_population)] = "auto"


class _ObjectiveEntry(Frozen):
    """An objective as the file writes it."""

    name: str
    goal: Annotated[Goal, Field(strict=False)]

    @field_validator("name")
    @classmethod
    def _is_measured(cls, name: str) -> str:
        if name not in MEASUREMENTS:
            raise broken_rule("an objective must name a measurement", nearest(name, MEASUREMENTS))
        return name


def _read_objective(entry: object) -> Objective:
    if isinstance(entry, Objective):
        entry = {"name": entry.name, "goal": entry.goal}
    try:
        read = _ObjectiveEntry.model_validate(entry)
    except ValidationError as error:
        refuse(_ObjectiveEntry, problems_of(error, _ObjectiveEntry))
    return Objective(read.name, read.goal)


def _write_objective(objective: Objective) -> dict[str, str]:
    return {"name": objective.name, "goal": objective.goal.value}


class SweepSpec(Frozen):
    """A whole sweep: which settings exist, what they are measured by, and where they run.

    Attributes:
        name: The sweep's name everywhere.
        description: One line for people.
        task, lattice, training: The sections; a varied field stands at its first value.
        parameters: The axes, in file order, and the pressures that are constant.
        replicates: Settings are repeated so many times, with the seeds `seed`, `seed` + 1, ...
        seed: The first seed.
        placement: Where, not what: no part of the identity.
        objectives: What is optimised, and in which direction.
        reference_point: The fixed corner that bounds the hypervolume, a number per objective.
    """

    name: Annotated[str, AfterValidator(_check_name_field)]
    description: str = ""
    task: TaskSpec = TaskSpec()
    lattice: LatticeSpec = LatticeSpec()
    parameters: Mapping[str, Parameter] = Field(default_factory=dict)
    training: TrainingSpec = TrainingSpec()
    replicates: Count = 1
    seed: Seed = 0
    placement: PlacementSpec = PlacementSpec()
    objectives: Annotated[
        tuple[
            Annotated[Objective, PlainValidator(_read_objective), PlainSerializer(_write_objective)],
            ...,
        ],
        Field(strict=False, min_length=1),
    ]
    reference_point: Mapping[str, Number]

    @model_validator(mode="wrap")
    @classmethod
    def _read_document(cls, document: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        """Resolve the parameters, then check the rest; every problem is reported, not the first one."""
        if not isinstance(document, Mapping):
            return handler(document)
        resolved, problems = resolve(document, info.context)
        try:
            spec = handler(resolved)
        except ValidationError as error:
            refuse(cls, [*problems, *problems_of(error, cls)])
        if problems:
            refuse(cls, problems)
        return spec

    @field_validator("seed")
    @classmethod
    def _check_last_seed(cls, seed: int, info: ValidationInfo) -> int:
        if seed + info.data.get("replicates", 1) - 1 > LARGEST_SEED:
            raise broken_rule(f"seed plus replicates must stay below {LARGEST_SEED + 1}", "Use a smaller seed.")
        return seed

    @field_validator("objectives")
    @classmethod
    def _check_objectives(cls, objectives: tuple[Objective, ...]) -> tuple[Objective, ...]:
        names = [objective.name for objective in objectives]
        repeated = [number for number, name in enumerate(names) if name in names[:number]]
        if repeated:
            rule, fix = "an objective must be given once", "Remove the second one."
            refuse(cls, [problem((number, "name"), rule, names[number], fix) for number in repeated])
        return objectives

    @field_validator("reference_point")
    @classmethod
    def _check_reference_point(cls, point: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        if "objectives" not in info.data:
            return point
        names = [objective.name for objective in info.data["objectives"]]
        problems = [
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
        problems += [
            problem((name,), rule, value, f"Remove it, or make {name!r} an objective.")
            for name, value in point.items()
            if name not in names
        ]
        if problems:
            refuse(cls, problems)
        return {name: point[name] for name in names}

    @property
    def axes(self) -> dict[str, tuple[Scalar, ...]]:
        """The varied parameters and their values, in the order of the file."""
        return {name: given.values for name, given in self.parameters.items() if given.values is not None}

    @property
    def tasks(self) -> tuple[str, ...]:
        """The labels of the tasks, in the order of the settings."""
        return tuple(task.label for task in self._variants("task"))

    def settings(self) -> list[Setting]:
        """Return every setting once: the product of the axes and the replicates.

        Settings of one task are adjacent, within it those of one population group, and within
        that replicates; values come in the order of the file.
        """
        variants = [list(self._variants(owner)) for owner in OWNERS]
        return [
            Setting(task=task, lattice=lattice, training=training, seed=self.seed + number, **dict(pressures))
            for task, lattice, training, pressures in itertools.product(*variants)
            for number in range(self.replicates)
        ]

    def axes_of(self, setting: Setting) -> dict[str, Scalar]:
        """Return the varied part of a setting, by the names of the axes."""
        flat = setting.flat()
        return {axis: flat[_place(axis)] for axis in self.axes}

    def identity(self) -> dict[str, Any]:
        """Return what makes this sweep this sweep, as JSON values: not its name, nor where it runs."""
        return {key: value for key, value in self._document().items() if key not in _NOT_IDENTITY}

    def differences(self, other: SweepSpec) -> list[str]:
        """Return what differs in `other`, sorted, each as `dotted.key: planned -> given`."""
        planned, given = (dict(_leaves(spec.identity())) for spec in (self, other))
        return [
            f"{key}: {_written(planned, key)} -> {_written(given, key)}"
            for key in sorted(planned.keys() | given.keys())
            if planned.get(key) != given.get(key)
        ]

    def to_json(self) -> str:
        """Return the spec as text that `from_json` reads back."""
        return json.dumps(self._document())

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the spec that `to_json` wrote.

        Raises:
            SpecError: If the text is not a spec.
        """
        place = "the stored spec"
        try:
            return cls.model_validate(json.loads(text))
        except ValidationError as error:
            raise spec_error(problems_of(error, cls), place, None) from error
        except ValueError as error:
            raise SpecError(f"a stored spec must be JSON, but got {error} in {place}. Plan the sweep again.") from error

    def _variants(self, owner: str) -> Iterator[Any]:
        """Yield the owner's part of the settings, one per combination of the owner's axes."""
        axes = {name: values for name, values in self.axes.items() if OWNER_OF[name] == owner}
        base = self._pressures() if owner == PRESSURES else getattr(self, owner)
        for chosen in itertools.product(*axes.values()):
            yield OWNERS[owner].model_validate({**base.model_dump(), **dict(zip(axes, chosen, strict=True))})

    def _pressures(self) -> Pressures:
        constants = {name: given.value for name, given in self.parameters.items() if given.values is None}
        return Pressures.model_validate(constants)

    def _document(self) -> dict[str, Any]:
        """Return the spec in the shape of the file; a varied field is no part of its section."""
        document = self.model_dump(mode="json", exclude_none=True)
        for section in SECTIONS:
            document[section] = {name: v for name, v in document[section].items() if name not in self.axes}
        return document


def _place(axis: str) -> str:
    owner = OWNER_OF[axis]
    return axis if owner == PRESSURES else f"{owner}.{axis}"


def _leaves(value: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _leaves(below, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def _written(leaves: Mapping[str, object], key: str) -> str:
    return json.dumps(leaves[key]) if key in leaves else "absent"
