"""A whole sweep as one frozen value: which settings exist, measured by what, compared how."""

from __future__ import annotations

import itertools
import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler

from sweeper.errors import SpecError
from sweeper.lesion import RULE as LESION_RULE
from sweeper.lesion import parts_of
from sweeper.measurements import Objective
from sweeper.spec.choices import DegradationKind
from sweeper.spec.objectives import ObjectiveField, front_problems, reference_problems, repeated_objectives
from sweeper.spec.parameters import MOST_SETTINGS, OWNER_OF, OWNERS, PRESSURES, Parameter, resolve
from sweeper.spec.problems import Problem, broken_rule, problem, problems_of, refuse, spec_error
from sweeper.spec.search_spec import EarlyStopping, PlacementSpec, SearchSpec
from sweeper.spec.setting import (
    LARGEST_SEED,
    SECTIONS,
    Count,
    Frozen,
    LatticeSpec,
    Number,
    Positive,
    PressuresSpec,
    Scalar,
    Seed,
    Setting,
    TaskSpec,
    TrainingSpec,
    digest,
    in_full,
    present_names,
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NAME_RULE = "name must hold letters, digits, '.', '_' and '-', begin with a letter or digit, and be at most 100 long"
_NAME_FIX = "Choose another name, such as {}"

#: Where, and in what words, a sweep is written: none of it changes a result.
_NOT_IDENTITY = ("name", "description", "placement")


def _read_levels(raw: object) -> object:
    """Accept one level alone."""
    return (raw,) if isinstance(raw, int | float) and not isinstance(raw, bool) else raw


def _read_lesions(raw: object) -> object:
    """Accept one lesion alone."""
    return (raw,) if isinstance(raw, str) else raw


def _check_lesion(text: str) -> str:
    if (parts := parts_of(text)) is None:
        raise broken_rule(f"a lesion must be {LESION_RULE}", 'Write it as in `lesions: [lateral, "layer:3"]`.')
    return ",".join(parts)


Lesion = Annotated[str, AfterValidator(_check_lesion)]

Levels = Annotated[tuple[Positive, ...], BeforeValidator(_read_levels), Field(strict=False, min_length=1)]


def check_name(name: str) -> None:
    """Refuse a name that a sweep cannot have.

    Raises:
        SpecError: With the name and what names may hold.
    """
    if not _NAME.fullmatch(name):
        raise SpecError(f"{_NAME_RULE}, but got {name!r}. {_NAME_FIX.format(name_like(name))}.")


def name_like(text: str) -> str:
    """Return a name that a sweep can have, as near to a text as can be: the text itself where it is one."""
    if _NAME.fullmatch(text):
        return text
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._]+", "-", plain).strip("._-")[:100] or "my-sweep"


def _check_name_field(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise broken_rule(_NAME_RULE, f"{_NAME_FIX.format(name_like(name))}, here or with --name.")
    return name


class SweepSpec(Frozen):
    """A whole sweep: which settings exist, what they are measured by, and where they run.

    Attributes:
        name: The sweep's name everywhere.
        description: One line for people.
        task, lattice, training: The sections; a varied field stands at its first value.
        parameters: The axes, in file order, and the pressures that are constant.
        search: How the parameters with a range are searched, in every cell of the grid; left out, it is a plain grid.
        early_stopping: When trials are given up; left out, every one is trained to its end.
        replicates: Settings are repeated so many times, with the seeds `seed`, `seed` + 1, ...
        seed: The first seed.
        placement: Where, not what: no part of the identity.
        objectives: What is optimised, and in which direction.
        reference_point: The fixed corner that bounds the hypervolume, a number per objective.
        fronts: Objectives by name, for each front that is stored beside the one over all of them.
        probes: Levels at which each degradation of the test images is shown to complete networks, such as
            `{debris: [0.1, 0.25], blank: 1}`. Part of what is measured, not of what is trained: no trial's key has it.
        probe_images: Under each probe so many test images are shown, always the same; left out, all of them. Whole
            images are all shown.
        lesions: What is taken out of complete networks, which are shown whole test images then, such as
            `[lateral, top-down, "lateral,top-down"]`. The same holds for it.
        complexity: Whether it is measured how hard each task is, by what simple learners get wrong. The same holds.
    """

    name: Annotated[str, AfterValidator(_check_name_field)]
    description: str = ""
    task: TaskSpec = TaskSpec()
    lattice: LatticeSpec = LatticeSpec()
    parameters: Mapping[str, Parameter] = Field(default_factory=dict)
    training: TrainingSpec = TrainingSpec()
    search: SearchSpec | None = None
    early_stopping: EarlyStopping | None = None
    replicates: Count = 1
    seed: Seed = 0
    placement: PlacementSpec = PlacementSpec()
    objectives: Annotated[tuple[ObjectiveField, ...], Field(strict=False, min_length=1)]
    reference_point: Mapping[str, Number]
    fronts: Annotated[tuple[Annotated[tuple[str, ...], Field(strict=False)], ...], Field(strict=False)] = ()
    probes: Mapping[Annotated[DegradationKind, Field(strict=False)], Levels] = Field(default_factory=dict)
    probe_images: Count | None = None
    lesions: Annotated[tuple[Lesion, ...], BeforeValidator(_read_lesions), Field(strict=False)] = ()
    complexity: bool = False

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
        if problems := repeated_objectives(objectives):
            refuse(cls, problems)
        return objectives

    @field_validator("reference_point")
    @classmethod
    def _check_reference_point(cls, point: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        if "objectives" not in info.data:
            return point
        names = [objective.name for objective in info.data["objectives"]]
        if problems := reference_problems(point, names):
            refuse(cls, problems)
        return {name: point[name] for name in names}

    @field_validator("fronts")
    @classmethod
    def _check_fronts(cls, fronts: tuple[tuple[str, ...], ...], info: ValidationInfo) -> tuple[tuple[str, ...], ...]:
        names = [objective.name for objective in info.data.get("objectives", ())]
        if names and (problems := front_problems(fronts, names)):
            refuse(cls, problems)
        return fronts

    @model_validator(mode="after")
    def _check_early_stopping(self) -> Self:
        """Refuse rungs in another unit than the trainings are given in."""
        rule = self.early_stopping
        unit = "epochs" if self.training.updates is None else "updates"
        if rule is not None and getattr(rule, f"min_{unit}") is None:
            said = f"early_stopping must have min_{unit}, because trainings are given by their {unit}"
            given = rule.model_dump(mode="json", exclude_unset=True)
            refuse(type(self), [problem(("early_stopping",), said, given, f"Give min_{unit} in place of the other.")])
        return self

    @field_validator("probes")
    @classmethod
    def _check_levels(
        cls, probes: dict[DegradationKind, tuple[float, ...]]
    ) -> dict[DegradationKind, tuple[float, ...]]:
        problems = []
        for kind, levels in probes.items():
            if kind.most is not None and max(levels) > kind.most:
                rule = f"levels of {kind} must be shares above 0 and at most {kind.most:g}"
                problems.append(problem((str(kind),), rule, list(levels), "Lower them."))
            if len(set(levels)) < len(levels):
                rule = f"{kind} must name each level once"
                problems.append(problem((str(kind),), rule, list(levels), "Remove the repeated level."))
        if problems:
            refuse(cls, problems)
        return {kind: tuple(sorted(levels)) for kind, levels in probes.items()}

    @field_validator("lesions")
    @classmethod
    def _check_lesions(cls, lesions: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(lesions)) < len(lesions):
            raise broken_rule("lesions must name each lesion once", "Remove the repeated one.")
        return lesions

    @model_validator(mode="after")
    def _check_search(self) -> Self:
        """Refuse a search of nothing, ranges that nothing searches, and more trials than there are settings."""
        if self.search is None and self.searched:
            refuse(
                type(self),
                [
                    Problem(
                        ("search",),
                        f"search is required because {next(iter(self.searched))} has a range",
                        "but it is missing",
                        "Add `search: {trials: 50}`, the number of settings to try in each cell.",
                    )
                ],
            )
        if self.search is None:
            return self
        problems = []
        if not self.searched:
            rule, fix = (
                "search must have a parameter with a range",
                "Give one `{min: ..., max: ...}`.",
            )
            problems.append(problem(("search",), rule, self.search.model_dump(mode="json", exclude_unset=True), fix))
        trials, size = self.search.trials, self.search_size
        if size is not None and self.searched and trials > size:
            rule = f"search.trials must be at most the number of settings there are to find in a cell, {size}"
            problems.append(problem(("search", "trials"), rule, trials, f"Use {size}, or a plain grid of values."))
        if self.planned > MOST_SETTINGS:
            rule = f"a sweep must hold at most {MOST_SETTINGS} trials, but has {self.planned} with this number"
            problems.append(problem(("search", "trials"), rule, trials, "Use fewer, or make several sweeps."))
        if problems:
            refuse(type(self), problems)
        return self

    @property
    def axes(self) -> dict[str, tuple[Scalar, ...]]:
        """The parameters that make the grid and their values, in the order of the file."""
        return {
            name: given.values
            for name, given in self.parameters.items()
            if given.values is not None and given.distribution is None
        }

    @property
    def searched(self) -> dict[str, Parameter]:
        """The parameters that are searched, in the order of the file."""
        return {name: given for name, given in self.parameters.items() if given.distribution is not None}

    @property
    def search_size(self) -> int | None:
        """How many settings there are to find in a cell; None where there is no end of them."""
        sizes = [given.count for given in self.searched.values()]
        return math.prod(size for size in sizes if size is not None) if None not in sizes else None

    @property
    def tasks(self) -> tuple[str, ...]:
        """The labels of the tasks, in the order of the settings."""
        return tuple(task.label for task in self._variants("task"))

    @property
    def probed(self) -> tuple[tuple[str, float], ...]:
        """Every probe and level, in the order of the file."""
        return tuple((str(kind), level) for kind, levels in self.probes.items() for level in levels)

    def shown(self, test_images: int) -> int:
        """Return how many images a complete network is shown beside those that it is measured on."""
        few = min(self.probe_images or test_images, test_images)
        return len(self.probed) * few + (len(self.lesions) + bool(self.probed)) * test_images

    @property
    def seeds(self) -> range:
        """The seeds of the replicates."""
        return range(self.seed, self.seed + self.replicates)

    @property
    def planned(self) -> int:
        """How many trials this sweep will have, when all of it is done."""
        cells = math.prod(map(len, self.axes.values()))
        return cells * (self.search.trials if self.search else 1) * self.replicates

    def settings(self) -> list[Setting]:
        """Return every setting of the grid once: the product of the axes and the replicates.

        Settings of one task are adjacent, within it those of one population group, and within
        that replicates; values come in the order of the file. Where parameters are searched, these are the cells of
        the grid, and what is searched stands at its first value or lower end.
        """
        return [cell.model_copy(update={"seed": seed}) for cell in self.cells() for seed in self.seeds]

    def cells(self) -> list[Setting]:
        """Return the first setting of each cell of the grid, with the first seed."""
        lowest = {name: given.extremes[:1] for name, given in self.searched.items()}
        return self._product(lowest)

    def corners(self) -> list[Setting]:
        """Return the settings at the ends of everything that is varied or searched, with the first seed.

        What fits these fits every setting in between.
        """
        return self._product({name: given.extremes for name, given in self.searched.items()})

    def _product(self, searched: Mapping[str, tuple[Scalar, ...]]) -> list[Setting]:
        variants = [list(self._variants(owner, searched)) for owner in OWNERS]
        return [
            Setting(task=task, lattice=lattice, training=training, seed=self.seed, **dict(pressures))
            for task, lattice, training, pressures in itertools.product(*variants)
        ]

    def proposed(self, cell: Setting, values: Mapping[str, Scalar]) -> Setting:
        """Return the setting of a cell with these values of what is searched."""
        return Setting.from_flat({**cell.flat(), **{place_of(name): value for name, value in values.items()}})

    def axes_of(self, setting: Setting) -> dict[str, Scalar]:
        """Return the varied and searched part of a setting, by the names of the parameters."""
        return self.axes_in(setting.flat())

    def axes_in(self, flat: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return the same of a setting that is flat already."""
        whole = in_full(flat)
        return {name: whole[place_of(name)] for name in (*self.axes, *self.searched)}

    def cell_of(self, setting: Setting) -> str:
        """Return the key of the cell that a setting is in: what it shares with all others of it."""
        return self.cell_at(self.axes_of(setting))

    def cell_at(self, axes: Mapping[str, Scalar]) -> str:
        """Return the key of the cell at these values of the grid's axes."""
        return digest({axis: axes[axis] for axis in self.axes})

    @property
    def searches_pressures_only(self) -> bool:
        """Whether everything that is searched may differ within a population."""
        return all(OWNER_OF[name] == PRESSURES for name in self.searched)

    def identity(self) -> dict[str, Any]:
        """Return what makes this sweep this sweep, as JSON values: not its name, nor where it runs."""
        return {key: value for key, value in self._document().items() if key not in _NOT_IDENTITY}

    def to_json(self) -> str:
        """Return the spec as text that `from_json` reads back."""
        return json.dumps(self._document())

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the spec that `to_json` wrote.

        Raises:
            SpecError: If the text is not a spec.
        """
        origin = "the stored spec"
        try:
            return cls.model_validate(present_names(json.loads(text)), context={"is_stored": True})
        except ValidationError as error:
            raise spec_error(problems_of(error, cls), origin, None) from error
        except ValueError as error:
            raise SpecError(
                f"a stored spec must be JSON, but got {error} in {origin}. Plan the sweep again."
            ) from error

    def _variants(self, owner: str, searched: Mapping[str, tuple[Scalar, ...]] | None = None) -> Iterator[Any]:
        """Yield the owner's part of the settings, one per combination of the owner's axes and these values."""
        given = {**self.axes, **(searched or {})}
        axes = {name: values for name, values in given.items() if OWNER_OF[name] == owner}
        base = self._pressures() if owner == PRESSURES else getattr(self, owner)
        for chosen in itertools.product(*axes.values()):
            yield OWNERS[owner].model_validate({**base.model_dump(), **dict(zip(axes, chosen, strict=True))})

    def _pressures(self) -> PressuresSpec:
        constants = {n: given.value for n, given in self.parameters.items() if given.value is not None}
        return PressuresSpec.model_validate(constants)

    def _document(self) -> dict[str, Any]:
        """Return the spec in the shape of the file; a varied field is no part of its section."""
        document = self.model_dump(mode="json", exclude_none=True)
        varied = {*self.axes, *self.searched}
        for section in SECTIONS:
            document[section] = {n: v for n, v in document[section].items() if n not in varied}
        return document


def place_of(axis: str) -> str:
    """Return the name of a parameter in a flat setting."""
    owner = OWNER_OF[axis]
    return axis if owner == PRESSURES else f"{owner}.{axis}"
