"""A whole sweep as one frozen value: its settings, their measurements, and how they are compared."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler

from sweeper.errors import SpecError
from sweeper.measurements import Objective
from sweeper.spec.objectives import ObjectiveField, front_problems, reference_problems, repeated_objectives
from sweeper.spec.parameters import MOST_SETTINGS, Parameter
from sweeper.spec.problems import Problem, broken_rule, problem, problems_of, refuse
from sweeper.spec.search_spec import EarlyStopping, PlacementSpec, SearchSpec
from sweeper.spec.setting import LARGEST_SEED, Count, Frozen, Number, Scalar, Seed, Setting, digest, in_full
from sweeper.spec.settings import setting_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NAME_RULE = "name must hold letters, digits, '.', '_' and '-', begin with a letter or digit, and be at most 100 long"
_NAME_FIX = "Choose another name, such as {}"

#: Parts of a spec that change no result, and so do not belong to a sweep's identity.
_NOT_IDENTITY = ("name", "description", "placement")


def check_name(name: str) -> None:
    """Refuse a name that a sweep cannot have.

    Raises:
        SpecError: With the name and the rule for names.
    """
    if not _NAME.fullmatch(name):
        raise SpecError(f"{_NAME_RULE}, but got {name!r}. {_NAME_FIX.format(name_like(name))}.")


def name_like(text: str) -> str:
    """Return the valid name of a sweep that is nearest to a text, which is the text itself if it is valid."""
    if _NAME.fullmatch(text):
        return text
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._]+", "-", plain).strip("._-")[:100] or "my-sweep"


def _check_name_field(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise broken_rule(_NAME_RULE, f"{_NAME_FIX.format(name_like(name))}, here or with --name.")
    return name


@dataclass(frozen=True)
class Beside:
    """Further measurements of complete trials, which decide nothing.

    Attributes:
        probes: Degradations of the test images, and their levels.
        probe_images: Number of test images for each probe; None for all.
        lesions: Parts that are removed from complete networks, joined by commas.
        complexity: Whether the difficulty of each task is measured.
    """

    probes: tuple[tuple[str, float], ...] = ()
    probe_images: int | None = None
    lesions: tuple[str, ...] = ()
    complexity: bool = False

    def shown(self, test_images: int) -> int:
        """Return how many further images a complete network answers for these measurements."""
        few = min(self.probe_images or test_images, test_images)
        return len(self.probes) * few + (len(self.lesions) + bool(self.probes)) * test_images


class SweepSpec(Frozen):
    """A whole sweep: its settings, their measurements, and where they run.

    The subclasses `LatticeSweep` and `FunctionSweep` say what is trained.

    Attributes:
        name: The sweep's name everywhere.
        description: One line for people.
        parameters: The axes, in file order, and the searched parameters.
        search: How the parameters with a range are searched, in every cell of the grid; left out, the sweep is a plain
            grid.
        early_stopping: When trials are stopped early; left out, every trial is trained to its end.
        replicates: Number of seeds for each setting: `seed`, `seed` + 1, ...
        seed: The first seed.
        placement: Where trials run; not part of the sweep's identity.
        objectives: The measurements that are optimised, and their directions.
        reference_point: The fixed corner that bounds the hypervolume, one number per objective.
        fronts: Names of objectives, for each front that is stored in addition to the front over all objectives.
    """

    name: Annotated[str, AfterValidator(_check_name_field)]
    description: str = ""
    parameters: Mapping[str, Parameter] = Field(default_factory=dict)
    search: SearchSpec | None = None
    early_stopping: EarlyStopping | None = None
    replicates: Count = 1
    seed: Seed = 0
    placement: PlacementSpec = PlacementSpec()
    objectives: Annotated[tuple[ObjectiveField, ...], Field(strict=False, min_length=1)]
    reference_point: Mapping[str, Number]
    fronts: Annotated[tuple[Annotated[tuple[str, ...], Field(strict=False)], ...], Field(strict=False)] = ()

    @model_validator(mode="wrap")
    @classmethod
    def _read_document(cls, document: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        """Resolve the parameters, then check the rest; all problems are reported, not only the first."""
        if not isinstance(document, Mapping):
            return handler(document)
        resolved, problems = cls._resolved(document, info.context)
        try:
            spec = handler(resolved)
        except ValidationError as error:
            refuse(cls, [*problems, *problems_of(error, cls)])
        if problems:
            refuse(cls, problems)
        return spec

    @classmethod
    def _resolved(
        cls, document: Mapping[str, Any], context: Mapping[str, Any] | None
    ) -> tuple[dict[str, Any], list[Problem]]:
        """Return a document with typed parameters, and their problems."""
        raise NotImplementedError

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
    def _check_search(self) -> Self:
        """Refuse a search without ranges, ranges without a search, and more trials than there are settings."""
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
        """The parameters of the grid and their values, in the order of the file."""
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
        """Number of possible settings in a cell; None if it is infinite."""
        sizes = [given.count for given in self.searched.values()]
        return math.prod(size for size in sizes if size is not None) if None not in sizes else None

    @property
    def tasks(self) -> tuple[str, ...]:
        """The labels of the tasks, in the order of the settings."""
        return tuple(dict.fromkeys(cell.task_label for cell in self.cells()))

    @property
    def beside(self) -> Beside:
        """The further measurements of complete trials, which decide nothing."""
        return Beside()

    @property
    def own_units(self) -> Mapping[str, str] | None:
        """Units of a user's own function's measures, by name; None for lattices, whose measurements are built in."""
        return None

    @property
    def added_units(self) -> Mapping[str, str]:
        """Units of the columns that a user's own code adds to those of lattices, by name."""
        return {}

    @property
    def grows(self) -> bool:
        """Whether networks grow, so that they may take more memory at the end than at the beginning."""
        return False

    @property
    def trains_side_by_side(self) -> bool:
        """Whether settings that a search proposes can be trained side by side."""
        return False

    @property
    def seeds(self) -> range:
        """The seeds of the replicates."""
        return range(self.seed, self.seed + self.replicates)

    @property
    def planned(self) -> int:
        """Number of trials that the finished sweep will have."""
        cells = math.prod(map(len, self.axes.values()))
        return cells * (self.search.trials if self.search else 1) * self.replicates

    def settings(self) -> Sequence[Setting]:
        """Return every setting of the grid once: the product of the axes and the replicates.

        Settings of one task are adjacent, within a task those of one population group, and within a group replicates.
        Values come in the order of the file. In a search these are the cells of the grid, with the searched parameters
        at their first value or lower end.
        """
        return [cell.model_copy(update={"seed": seed}) for cell in self.cells() for seed in self.seeds]

    def cells(self) -> Sequence[Setting]:
        """Return the first setting of each cell of the grid, with the first seed."""
        lowest = {name: given.extremes[:1] for name, given in self.searched.items()}
        return self._product(lowest)

    def corners(self) -> Sequence[Setting]:
        """Return the settings at the ends of all varied and searched parameters, with the first seed.

        Anything that fits these settings fits every setting in between.
        """
        return self._product({name: given.extremes for name, given in self.searched.items()})

    def _product(self, searched: Mapping[str, tuple[Scalar, ...]]) -> Sequence[Setting]:
        """Return every combination of the axes and these values, with the first seed."""
        raise NotImplementedError

    def place_of(self, name: str) -> str:
        """Return the name of a parameter in a flat setting."""
        raise NotImplementedError

    def proposed(self, cell: Setting, values: Mapping[str, Scalar]) -> Setting:
        """Return the setting of a cell with these values of the searched parameters."""
        return setting_of({**cell.flat(), **{self.place_of(name): value for name, value in values.items()}})

    def axes_of(self, setting: Setting) -> dict[str, Scalar]:
        """Return the varied and searched part of a setting, by the names of the parameters."""
        return self.axes_in(setting.flat())

    def axes_in(self, flat: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return the varied and searched part of a flat setting."""
        whole = in_full(flat)
        return {name: whole[self.place_of(name)] for name in (*self.axes, *self.searched)}

    def cell_of(self, setting: Setting) -> str:
        """Return the key of the cell that a setting is in, which all settings of the cell share."""
        return self.cell_at(self.axes_of(setting))

    def cell_at(self, axes: Mapping[str, Scalar]) -> str:
        """Return the key of the cell at these values of the grid's axes."""
        return digest({axis: axes[axis] for axis in self.axes})

    def identity(self) -> dict[str, Any]:
        """Return the sweep's identity as JSON values: everything but its name, description and placement."""
        return {key: value for key, value in self._document().items() if key not in _NOT_IDENTITY}

    def to_json(self) -> str:
        """Return the spec as text that `kinds.spec_from_json` reads back."""
        return json.dumps(self._document())

    def _document(self) -> dict[str, Any]:
        """Return the spec in the form of the file."""
        return self.model_dump(mode="json", exclude_none=True, by_alias=True)
