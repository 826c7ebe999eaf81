"""Settings in the model's own terms: what its training takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from sweeper import model
from sweeper.model.complexity import complexity
from sweeper.spec import ROUND_UPDATES, LatticeSetting, TaskSpec, WindowKind, labels_of


def load_task(task: TaskSpec) -> model.Task:
    """Load a task; what this process has already is loaded again only if its files have changed.

    Raises:
        TaskError: Of the model, if images or labels cannot be read, or classes are missing.
    """
    files = map(Path, task.files)
    return _load_once(task, tuple(file.stat().st_mtime_ns for file in files if file.is_file()))


@lru_cache(maxsize=2)
def _load_once(task: TaskSpec, changed_ns: tuple[int, ...]) -> model.Task:
    """Load a task, once for each time that its files have changed."""
    return model.load_task(definition_of(task))


def complexity_of(task: TaskSpec) -> Mapping[str, float]:
    """Return how hard a task is, see `model.complexity`; of a task that was just asked about, at once."""
    files = map(Path, task.files)
    return _complexity_once(task, tuple(file.stat().st_mtime_ns for file in files if file.is_file()))


@lru_cache(maxsize=8)
def _complexity_once(task: TaskSpec, changed_ns: tuple[int, ...]) -> Mapping[str, float]:
    return complexity(_load_once(task, changed_ns))


def definition_of(task: TaskSpec) -> model.TaskDefinition:
    """Return what to load for a task; how pixels are standardised is up to the network."""
    given = task.model_dump(mode="json", exclude={"standardize"})
    classes = labels_of(task.classes) if isinstance(task.classes, str) else task.classes
    return model.TaskDefinition(**{**given, "classes": classes})


def members_of(settings: Sequence[LatticeSetting]) -> list[model.Pressures]:
    """Return pressures and seed of each member of a population."""
    return [model.Pressures(s.breadth_pressure, s.depth_pressure, s.time_pressure, s.seed) for s in settings]


def training_of(setting: LatticeSetting) -> model.TrainingSettings:
    """Return what a population is trained with."""
    given = setting.training.model_dump(mode="json")
    if setting.training.updates is None:
        return model.TrainingSettings(**given)
    return model.TrainingSettings(epochs=None, round_updates=ROUND_UPDATES, **given)


def window_of(setting: LatticeSetting, task: model.Task) -> model.Window:
    """Return the window that a network begins with."""
    lattice = setting.lattice
    grows = lattice.window is WindowKind.AUTO
    return model.Window(
        channels=(model.START_CHANNELS,) if grows else (lattice.channels,) * lattice.layers,
        steps=model.START_STEPS if grows else lattice.steps,
        image=task.image,
        classes=task.classes,
        kernel=lattice.kernel,
        halve=lattice.halve,
        time_selection=str(lattice.time_selection),
        bottom_up=str(lattice.bottom_up),
        connections=str(lattice.connections),
        standardize=str(setting.task.standardize),
    )


def growth_of(setting: LatticeSetting) -> model.Growth | None:
    """Return how far windows may grow; None where they are given."""
    lattice = setting.lattice
    return model.Growth(lattice.memory_mib * 2**20) if lattice.window is WindowKind.AUTO else None
