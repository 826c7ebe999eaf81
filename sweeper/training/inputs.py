"""Translates settings into the terms of the model's training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from sweeper import cache, model, storage
from sweeper.model.complexity import complexity
from sweeper.model.degradations import Kind, own_kind
from sweeper.model.places import File, is_uri
from sweeper.model.sources import files_of
from sweeper.spec import ROUND_UPDATES, LatticeSetting, TaskSpec, WindowKind, colour_of, labels_of, sides_of
from sweeper.training.own_source import function_of

#: Subfolder of the user's cache that holds pixels.
IMAGES = "images"


def load_task(task: TaskSpec, folder: str | None = None) -> model.Task:
    """Load a task; load it again in this process only if its files have changed.

    Args:
        task: Task to load.
        folder: Folder that is searched for the user's own degradation first. None loads the task without its own
            degradation, which suffices to see its size.

    Raises:
        TaskError: If images or labels cannot be read, or classes are missing; an error of the model.
        SourceError: If there is no such degradation.
    """
    if task.own_degradation is not None and folder is None:
        task = task.model_copy(update={"degradation": None, "level": 0.0})
    return _load_once(task, _state_of(task), folder if task.own_degradation is not None else None)


def _state_of(task: TaskSpec) -> str:
    """Return a hash that changes when a file of the images changes."""
    files = (file for place in task.files for file in files_of(place, storage.reached))
    return hashlib.sha256("\n".join(f"{file} {file.size} {file.changed}" for file in files).encode()).hexdigest()


def local_files(task: TaskSpec) -> list[File]:
    """Return the files of a task's images that lie on this machine.

    Raises:
        TaskError: If the files cannot be listed.
    """
    return [file for place in task.files if not is_uri(place) for file in files_of(place)]


@lru_cache(maxsize=2)
def _load_once(task: TaskSpec, state: str, folder: str | None) -> model.Task:
    """Load a task, once for each state of its files."""
    root = cache.folder()
    return model.load_task(definition_of(task, folder), root / IMAGES if root else None, storage.reached)


def complexity_of(task: TaskSpec, folder: str | None = None) -> Mapping[str, float]:
    """Return measures of how hard a task is; see `model.complexity`. The last tasks' measures are cached."""
    return _complexity_once(task, _state_of(task), folder if task.own_degradation is not None else None)


@lru_cache(maxsize=8)
def _complexity_once(task: TaskSpec, state: str, folder: str | None) -> Mapping[str, float]:
    return complexity(_load_once(task, state, folder))


def own_kinds(sources: Mapping[str, str], folder: str, key: str) -> dict[str, Kind]:
    """Import degradations that a user has written.

    Args:
        sources: Source of each, such as `module:function`, by name.
        folder: Folder that is searched for their modules first.
        key: Key of the spec that names them, for errors.

    Raises:
        SourceError: If there is no such function.
    """
    return {name: own_kind(name, function_of(source, Path(folder), key)) for name, source in sources.items()}


def definition_of(task: TaskSpec, folder: str | None = None) -> model.TaskDefinition:
    """Return the definition of a task for the model, without the standardisation, which is up to the network."""
    given = task.model_dump(mode="json", exclude={"standardize"})
    crop = sides_of(task.crop)
    read: dict[str, Any] = {
        "classes": labels_of(task.classes) if isinstance(task.classes, str) else task.classes,
        "resize": sides_of(task.resize),
        "crop": crop and (crop[0], crop[-1]),  # a single side means a square
        "background": colour_of(task.background),
    }
    if (source := task.own_degradation) is not None and folder is not None:
        name = source.rpartition(":")[2]
        own = own_kinds({name: source}, folder, "task.degradation")
        read |= {"degradation": name, "own_degradation": own[name]}
    return model.TaskDefinition(**{**given, **read})


def members_of(settings: Sequence[LatticeSetting]) -> list[model.Pressures]:
    """Return pressures and seed of each member of a population."""
    return [
        model.Pressures(
            s.breadth_pressure,
            s.depth_pressure,
            s.time_pressure,
            s.seed,
            tuple(s.own_pressures.get(cost, 0.0) for cost in s.costs),
        )
        for s in settings
    ]


def costs_of(setting: LatticeSetting, folder: str) -> list[model.OwnCost]:
    """Import the costs that a user has written; all members of a population have the same ones.

    Args:
        setting: Setting of any member.
        folder: Folder that is searched for their modules first.

    Raises:
        SourceError: If there is no such function.
    """
    return [
        model.OwnCost(name, function_of(source, Path(folder), f"costs.{name}"))
        for name, source in setting.costs.items()
    ]


def training_of(setting: LatticeSetting) -> model.TrainingSettings:
    """Return the training settings of a population."""
    given = setting.training.model_dump(mode="json")
    if setting.training.updates is None:
        return model.TrainingSettings(**given)
    return model.TrainingSettings(epochs=None, round_updates=ROUND_UPDATES, **given)


def window_of(setting: LatticeSetting, task: model.Task) -> model.Window:
    """Return the initial window of a network."""
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
    """Return how far windows may grow; None if their size is given."""
    lattice = setting.lattice
    return model.Growth(lattice.memory_mib * 2**20) if lattice.window is WindowKind.AUTO else None
