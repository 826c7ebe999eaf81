"""Finds out before training what it will need: facts about the tasks, and the costs of a short probe training."""

from __future__ import annotations

import resource
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from sweeper import model
from sweeper.errors import SpecError
from sweeper.limits import read_limits
from sweeper.model.checkpoint import save_state
from sweeper.model.compute import torch_facts, use_threads
from sweeper.model.forecast import expected_work, seconds_of_work
from sweeper.model.shard import Course
from sweeper.spec import LatticeSetting
from sweeper.training.inputs import costs_of, growth_of, load_task, local_files, members_of, training_of, window_of


@dataclass(frozen=True)
class TaskFacts:
    """Facts about a task before training.

    Attributes:
        train_images, validation_images, test_images: Numbers of images.
        image: Channels, height and width.
        classes: Number of classes.
        fingerprint: Hash of the data.
        network_bytes: Approximate memory of training one network, for the largest one.
        names: Names of the classes, in order.
        brightness: Mean pixel of the training images, 0–1.
        notes: Changes that made images alike, and unusual facts about labels.
        warnings: Facts that look like mistakes.
    """

    train_images: int
    validation_images: int
    test_images: int
    image: tuple[int, int, int]
    classes: int
    fingerprint: str
    network_bytes: int
    names: tuple[str, ...] = ()
    brightness: float = 0.0
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Return the facts that `asdict` turned into values, after a passage through JSON."""
        read: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in values.items()}
        return cls(**read)

    @property
    def pixels(self) -> int:
        """Pixels of one image."""
        return self.image[1] * self.image[2]

    @property
    def example_bytes(self) -> int:
        """Approximate largest size of the test images in a network's file, in bytes."""
        return model.most_bytes(self.image)


def check(settings: Sequence[LatticeSetting], folder: str | None = None) -> dict[str, TaskFacts]:
    """Load every task and build every window once, so that invalid ones are refused before training starts.

    Args:
        settings: Settings to be trained.
        folder: Folder of the user's own degradations, which are run here; None for tasks without any.

    Returns:
        Facts by task label.

    Raises:
        SpecError: If images cannot be read, classes are missing, or a window does not fit.
    """
    facts: dict[str, TaskFacts] = {}
    groups = {setting.group_key: setting for setting in settings}
    for setting in groups.values():
        label = setting.task.label
        try:
            task = load_task(setting.task, folder)
            network_bytes = _network_bytes(setting, task)
        except model.ModelError as error:
            raise SpecError(f"task {label!r} cannot be trained: {error}") from error
        if label in facts:
            network_bytes = max(network_bytes, facts[label].network_bytes)
        facts[label] = TaskFacts(
            len(task.train),
            len(task.validation),
            len(task.test),
            task.image,
            task.classes,
            task.fingerprint,
            network_bytes,
            task.names or tuple(map(str, task.labels)),
            task.train.brightness,
            task.notes,
            task.warnings,
        )
    return facts


def _network_bytes(setting: LatticeSetting, task: model.Task) -> int:
    """Return the largest memory of training a network, by its window, in bytes; refuse an impossible window."""
    lattice, window = setting.lattice, window_of(setting, task)
    needed = window.training_bytes(min(setting.training.batch_size, len(task.train)))
    growth = growth_of(setting)
    if growth is None:
        return needed
    # The window may grow as deep as layers are halved, so an impossible halving is refused now.
    window.resized((1,) * max((1, *lattice.halve)), 1)
    if needed > growth.memory_bytes:
        raise model.WindowError(
            f"memory_mib must leave room for the window that growing begins with, which takes "
            f"{-(-needed // 2**20)} MiB, but got lattice.memory_mib={lattice.memory_mib}. Raise it."
        )
    return growth.memory_bytes


@dataclass(frozen=True)
class MemoryBudget:
    """The numbers that decide how many networks can be trained side by side.

    Attributes:
        pixels: Pixels of the largest image.
        network_bytes: Approximate memory of training one network.
        machine_bytes: Memory of the machine.
        sharing: Number of populations that share this memory; 0 for all that are trained at a time.
        machine: Name of the machine in errors.
    """

    pixels: int
    network_bytes: int
    machine_bytes: int
    sharing: int = 0
    machine: str = "this machine"


def memory_budget(tasks: Mapping[str, TaskFacts]) -> MemoryBudget:
    """Return the memory budget of this machine for these tasks."""
    return MemoryBudget(
        pixels=max(task.pixels for task in tasks.values()),
        network_bytes=max(task.network_bytes for task in tasks.values()),
        machine_bytes=read_limits().memory_bytes,
    )


def usable_gpus() -> int:
    """Return how many GPUs of this machine torch can use."""
    return len(torch_facts()["devices"])


def files(settings: Sequence[LatticeSetting]) -> dict[str, int]:
    """Return the sizes of the local image files that training reads, by absolute path, without those at URIs."""
    return {file.path: file.size for task in {one.task for one in settings} for file in local_files(task)}


def heaviest(settings: Sequence[LatticeSetting]) -> LatticeSetting:
    """Return the setting whose networks need most memory to train."""
    groups = {setting.group_key: setting for setting in settings}
    return max(groups.values(), key=lambda setting: _network_bytes(setting, load_task(setting.task)))


def seconds(populations: Sequence[Sequence[LatticeSetting]], shown: Callable[[int], int], at_once: int) -> list[float]:
    """Estimate the processor seconds that trainings of populations of one kind take on this machine.

    Args:
        populations: Members of each population: the same number, differing only in pressures and seeds.
        shown: Returns how many more images a complete network is shown, given the number of test images.
        at_once: Number of populations trained at a time.
    """
    use_threads(1)
    first = populations[0][0]
    task, training = load_task(first.task), training_of(first)
    window, tested = window_of(first, task), len(task.validation) + len(task.test) + shown(len(task.test))
    courses = [Course(members_of(them), training, task.train, task.degradations) for them in populations]
    of_work = seconds_of_work(courses[0], window, at_once)
    return [of_work * expected_work(course, window, len(task.validation), tested) for course in courses]


@dataclass(frozen=True)
class Probe:
    """Memory and checkpoint size of a population, measured by a short training with one thread."""

    memory_bytes: int
    checkpoint_bytes: int


def probe(settings: Sequence[LatticeSetting], batches: int = 3, folder: str | None = None) -> Probe:
    """Train a population on a few batches and measure it.

    Args:
        settings: Members of one population.
        batches: Number of batches.
        folder: Folder of the user's own costs and degradations, which are run here; None trains without them.
    """
    use_threads(1)
    first = settings[0]
    task = load_task(first.task, folder)
    size = min(first.training.batch_size, len(task.train))
    few = model.Task(
        model.Images(task.train.pixels[:size], task.train.labels[:size]),
        model.Images(task.validation.pixels[:size], task.validation.labels[:size]),
        model.Images(task.test.pixels[:1], task.test.labels[:1]),
        task.classes,
        task.fingerprint,
        degradations=task.degradations,
    )
    sizes: list[int] = []
    _forget_peak()

    def on_epoch(epoch: model.Epoch) -> None:
        if not sizes:
            sizes.append(len(save_state(epoch.state())))

    training = replace(training_of(first), epochs=batches, updates=None, round_updates=None)
    model.train(
        few,
        window_of(first, task),
        members_of(settings),
        training,
        growth=growth_of(first),
        report=on_epoch,
        costs=() if folder is None else costs_of(first, folder),
    )
    return Probe(_peak_bytes(), sizes[0])


def _forget_peak() -> None:
    """Reset the system's record of this process's peak memory, because decoding images is no part of a training."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int:
    """Return the peak memory of this process since `_forget_peak`, in bytes."""
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
