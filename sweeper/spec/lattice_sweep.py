"""A sweep of lattices: recurrent networks that are trained on images."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self, cast

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from sweeper.lesion import RULE as LESION_RULE
from sweeper.lesion import parts_of
from sweeper.spec.choices import DegradationKind, WindowKind, called, most_of
from sweeper.spec.own_parts import COST_UNIT, OwnMeasure, Source, cost_column, cost_names, name_problems
from sweeper.spec.parameters import PRESSURES, Owners, owners_with, resolve
from sweeper.spec.problems import Problem, broken_rule, problem, refuse
from sweeper.spec.setting import (
    SECTIONS,
    AnyDegradation,
    Count,
    LatticeSetting,
    LatticeSpec,
    Positive,
    PressuresSpec,
    Scalar,
    TaskSpec,
    TrainingSpec,
    pressure_of,
)
from sweeper.spec.sweep_spec import Beside, SweepSpec


def _read_levels(raw: object) -> object:
    """Accept a single level without brackets."""
    return (raw,) if isinstance(raw, int | float) and not isinstance(raw, bool) else raw


def _read_lesions(raw: object) -> object:
    """Accept a single lesion without brackets."""
    return (raw,) if isinstance(raw, str) else raw


def _check_lesion(text: str) -> str:
    if (parts := parts_of(text)) is None:
        raise broken_rule(f"a lesion must be {LESION_RULE}", 'Write it as in `lesions: [lateral, "layer:3"]`.')
    return ",".join(parts)


Lesion = Annotated[str, AfterValidator(_check_lesion)]

Levels = Annotated[tuple[Positive, ...], BeforeValidator(_read_levels), Field(strict=False, min_length=1)]


#: Order in which a spec is written; digests of existing specs depend on it.
_WRITTEN = (
    *("name", "description", "task", "lattice", "parameters", "training", "search", "early_stopping", "replicates"),
    *("seed", "placement", "objectives", "reference_point", "fronts", "probes", "probe_images", "lesions"),
    *("complexity", "costs", "measures"),
)

#: Keys that are not written if empty, so that specs from before these keys keep their digests.
_IF_ANY = ("costs", "measures")


class LatticeSweep(SweepSpec):
    """A whole sweep of lattices: its settings, its measurements, and where it runs.

    Attributes:
        task, lattice, training: The sections; a varied field has its first value there.
        parameters: The axes, in file order, the searched parameters, and the constant pressures.
        probes: Levels of each degradation of the test images that complete networks are shown, such as
            `{debris: [0.1, 0.25], blank: 1}`; a degradation of your own is named as `"my_fog:fog"`. Probes are part of
            the measurement and not of the training, so no trial's key contains them.
        probe_images: Number of test images shown under each probe, always the same ones; left out, all of them. Intact
            images are all shown.
        lesions: Parts that are removed from complete networks, which then see intact test images, such as
            `[lateral, top-down, "lateral,top-down"]`. No trial's key contains them.
        complexity: Whether the difficulty of each task is measured, by the errors of simple learners. No trial's key
            contains it.
        costs: Costs of your own, by name: `{wiring: my_costs:wiring}` is the function `wiring` in my_costs.py beside
            this file, or in an installed package. Each has a pressure, `wiring_pressure`, and is measured as
            `cost_wiring`.
        measures: Measures of your own, by name, such as `{robustness: {unit: share, of: my_measures:robustness}}`. No
            trial's key contains them.
    """

    task: TaskSpec = TaskSpec()
    lattice: LatticeSpec = LatticeSpec()
    training: TrainingSpec = TrainingSpec()
    probes: Mapping[AnyDegradation, Levels] = Field(default_factory=dict)
    probe_images: Count | None = None
    lesions: Annotated[tuple[Lesion, ...], BeforeValidator(_read_lesions), Field(strict=False)] = ()
    complexity: bool = False
    costs: Mapping[str, Source] = Field(default_factory=dict)
    measures: Mapping[str, OwnMeasure] = Field(default_factory=dict)

    @classmethod
    def _resolved(
        cls, document: Mapping[str, Any], context: Mapping[str, Any] | None
    ) -> tuple[dict[str, Any], list[Problem]]:
        return resolve(document, context, owners_with(tuple(cost_names(document))))

    @model_validator(mode="after")
    def _check_early_stopping(self) -> Self:
        """Refuse early stopping in another unit than the training's budget."""
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
        cls, probes: dict[DegradationKind | str, tuple[float, ...]]
    ) -> dict[DegradationKind | str, tuple[float, ...]]:
        problems = []
        for kind, levels in probes.items():
            most = most_of(kind)
            if most is not None and max(levels) > most:
                rule = f"levels of {kind} must be shares above 0 and at most {most:g}"
                problems.append(problem((str(kind),), rule, list(levels), "Lower them."))
            if len(set(levels)) < len(levels):
                rule = f"{kind} must name each level once"
                problems.append(problem((str(kind),), rule, list(levels), "Remove the repeated level."))
            if sum(called(other) == called(kind) for other in probes) > 1:
                rule = f"degradations must have different names, but two are called {called(kind)!r}"
                problems.append(problem((str(kind),), rule, list(levels), "Rename one of the functions."))
        if problems:
            refuse(cls, problems)
        return {kind: tuple(sorted(levels)) for kind, levels in probes.items()}

    @field_validator("lesions")
    @classmethod
    def _check_lesions(cls, lesions: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(lesions)) < len(lesions):
            raise broken_rule("lesions must name each lesion once", "Remove the repeated one.")
        return lesions

    @field_validator("costs")
    @classmethod
    def _check_costs(cls, costs: dict[str, str]) -> dict[str, str]:
        if problems := name_problems(costs, of_costs=True):
            refuse(cls, problems)
        return costs

    @field_validator("measures")
    @classmethod
    def _check_measures(cls, measures: dict[str, OwnMeasure]) -> dict[str, OwnMeasure]:
        if problems := name_problems(measures, of_costs=False):
            refuse(cls, problems)
        return measures

    @property
    def added_units(self) -> Mapping[str, str]:
        """Units of the user's own costs and measures, by the names of their columns."""
        costs = {cost_column(name): COST_UNIT for name in self.costs}
        return {**costs, **{name: one.unit for name, one in self.measures.items()}}

    @property
    def own_sources(self) -> Mapping[str, str]:
        """The user's own functions, by their places in the file, such as `costs.wiring`."""
        costs = {f"costs.{name}": source for name, source in self.costs.items()}
        measures = {f"measures.{name}": one.of for name, one in self.measures.items()}
        probes = {f"probes.{called(source)}": source for source in self.own_probes.values()}
        return {**costs, **measures, **self._own_task_degradations, **probes}

    @property
    def own_probes(self) -> Mapping[str, str]:
        """The user's own degradations among the probes, by name."""
        return {called(kind): kind for kind in self.probes if not isinstance(kind, DegradationKind)}

    @property
    def _own_task_degradations(self) -> Mapping[str, str]:
        """The user's own degradations of the tasks, by their places in the file."""
        given = dict.fromkeys(task.own_degradation for task in self._variants("task"))
        own = [source for source in given if source is not None]
        return {f"task.degradation {source}" if len(own) > 1 else "task.degradation": source for source in own}

    @property
    def has_own_images(self) -> bool:
        """Whether a user's own function degrades the images of a task."""
        return bool(self._own_task_degradations)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The labels of the tasks, in the order of the settings."""
        return tuple(task.label for task in self._variants("task"))

    @property
    def beside(self) -> Beside:
        """The further measurements of complete networks, which decide nothing."""
        probes = tuple((called(kind), level) for kind, levels in self.probes.items() for level in levels)
        return Beside(probes, self.probe_images, self.lesions, self.complexity)

    @property
    def grows(self) -> bool:
        """Whether windows grow, so that they take more memory at the end than at the beginning."""
        return self.lattice.window is WindowKind.AUTO

    @property
    def trains_side_by_side(self) -> bool:
        """Whether all searched parameters may differ within a population."""
        owner_of = self._owners.names
        return all(owner_of[name] == PRESSURES for name in self.searched)

    def place_of(self, name: str) -> str:
        """Return the name of a parameter in a flat setting."""
        owner = self._owners.names[name]
        return name if owner == PRESSURES else f"{owner}.{name}"

    def settings(self) -> list[LatticeSetting]:
        """Return every setting of the grid once; see `SweepSpec.settings`."""
        return cast(list[LatticeSetting], super().settings())

    def cells(self) -> list[LatticeSetting]:
        """Return the first setting of each cell of the grid, with the first seed."""
        return cast(list[LatticeSetting], super().cells())

    def proposed_lattice(self, cell: LatticeSetting, values: Mapping[str, Scalar]) -> LatticeSetting:
        """Return the setting of a cell with these values of the searched parameters."""
        return cast(LatticeSetting, self.proposed(cell, values))

    def corners(self) -> list[LatticeSetting]:
        """Return the settings at the ends of all varied and searched parameters; see `SweepSpec.corners`."""
        return cast(list[LatticeSetting], super().corners())

    def _product(self, searched: Mapping[str, tuple[Scalar, ...]]) -> list[LatticeSetting]:
        variants = [list(self._variants(owner, searched)) for owner in self._owners.models]
        own_pressures = {cost: pressure_of(cost) for cost in self.costs}
        return [
            LatticeSetting(
                task=task,
                lattice=lattice,
                training=training,
                seed=self.seed,
                costs=self.costs,
                own_pressures={cost: getattr(pressures, name) for cost, name in own_pressures.items()},
                **{name: getattr(pressures, name) for name in PressuresSpec.model_fields},
            )
            for task, lattice, training, pressures in itertools.product(*variants)
        ]

    @property
    def _owners(self) -> Owners:
        return owners_with(tuple(self.costs))

    def _variants(self, owner: str, searched: Mapping[str, tuple[Scalar, ...]] | None = None) -> Iterator[Any]:
        """Yield the owner's part of the settings, one per combination of the owner's axes and these values."""
        given = {**self.axes, **(searched or {})}
        owners = self._owners
        owner_of = owners.names
        axes = {name: values for name, values in given.items() if owner_of[name] == owner}
        base = self._pressures() if owner == PRESSURES else getattr(self, owner)
        for chosen in itertools.product(*axes.values()):
            yield owners.models[owner].model_validate({**base.model_dump(), **dict(zip(axes, chosen, strict=True))})

    def _pressures(self) -> PressuresSpec:
        constants = {n: given.value for n, given in self.parameters.items() if given.value is not None}
        return cast(PressuresSpec, self._owners.models[PRESSURES].model_validate(constants))

    def _document(self) -> dict[str, Any]:
        """Return the spec in the form of the file; a varied field is left out of its section."""
        written = super()._document()
        document = {name: written[name] for name in _WRITTEN if name in written}
        document = {name: value for name, value in document.items() if value or name not in _IF_ANY}
        varied = {*self.axes, *self.searched}
        for section in SECTIONS:
            document[section] = {n: v for n, v in document[section].items() if n not in varied}
        return document
