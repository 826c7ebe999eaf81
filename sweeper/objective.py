"""Settings in, measurements out: the only bridge to `model/`."""

from __future__ import annotations

import json
import math
import resource
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import model
from model.checkpoint import load_state, save_state, state_bytes
from model.compute import is_out_of_memory, machine_bytes, use_threads
from sweeper.errors import QueryError, SpecError
from sweeper.facts import software
from sweeper.spec import Setting, TaskSpec
from sweeper.vocabulary import Ended, Job, Lease, Outcome, Progress, Room, WindowKind


class SupersededError(RuntimeError):
    """Another driver has taken over the sweep: what this worker does is no longer wanted."""


def train_population(job: Job, report: Callable[[Progress], None]) -> list[Ended]:
    """Train the networks of a job side by side, from their last checkpoint if there is one.

    Args:
        job: What to train.
        report: Called after each epoch, when its checkpoint is on disk.

    Returns:
        How each wanted member ended, in order; what is left of the complete ones is on disk then. Whatever goes wrong
        inside the training is an outcome.

    Raises:
        SupersededError: If another driver took over.
        Exception: Whatever `report` raises: it is not the training's fault, and must not become its outcome.
    """
    raised: list[BaseException] = []

    def guarded(progress: Progress) -> None:
        try:
            report(progress)
        except BaseException as error:
            raised.append(error)
            raise

    try:
        return _train(job, guarded)
    except SupersededError:
        raise
    except Exception as error:
        if raised:
            raise
        outcome = Outcome.OUT_OF_MEMORY if is_out_of_memory(error) else Outcome.FAILED
        reason = "".join(traceback.format_exception(error))
        return [Ended(outcome, reason)] * len(job.wanted_keys)


def _train(job: Job, report: Callable[[Progress], None]) -> list[Ended]:
    use_threads(1)  # one network population a core; a reused worker would keep what it had
    path = Path(job.checkpoint) if job.checkpoint else None
    notes: list[str] = []
    # All members take part, also those that have an outcome already: rounding depends on who trains beside whom.
    settings = [Setting.from_flat(setting) for setting in job.settings]
    wanted = [member for member, is_wanted in enumerate(job.wanted) if is_wanted]

    def on_epoch(epoch: model.Epoch) -> None:
        if path:
            _refuse_superseded(job.lease)
            _save(epoch, path, notes)
        limit = settings[0].lattice.memory_mib
        notes.extend(f"{job.keys[m]} stopped growing at {limit} MiB: {size}" for m, size in epoch.full.items())
        report(Progress(epoch.epoch, epoch.epochs, [epoch.values[member] for member in wanted], tuple(notes)))
        notes.clear()

    task = _load(settings[0].task)

    def train_from(state: dict[str, Any] | None) -> list[model.Trained]:
        return model.train(
            task,
            _window(settings[0], task),
            _members(settings),
            _training(settings[0]),
            growth=_growth(settings[0]),
            report=on_epoch,
            state=state,
        )

    try:
        trained = train_from(load_state(path) if path else None)
    except model.CheckpointError as error:
        notes.append(f"{error}; population {job.key} starts anew")
        trained = train_from(None)
    if job.networks:
        _refuse_superseded(job.lease)
        _save_networks(job, wanted, trained, task, notes)
    if notes:
        epochs = settings[0].training.epochs
        report(Progress(epochs, epochs, [{}] * len(wanted), tuple(notes)))
    return [_ended(trained[member]) for member in wanted]


def _save(epoch: model.Epoch, path: Path, notes: list[str]) -> None:
    """Write a checkpoint; where that fails the training goes on, since it is not the training's fault."""
    try:
        save_state(epoch.state(), path)
    except OSError as error:
        notes.append(f"no checkpoint could be written to {path}: {error.strerror}; an interruption would lose more")


def _save_networks(
    job: Job, wanted: Sequence[int], trained: Sequence[model.Trained], task: model.Task, notes: list[str]
) -> None:
    """Write what is left of each wanted member; where that fails it is said, and the outcomes stand."""
    known = {"classes": task.classes, "data": task.fingerprint, "software": software()}
    failed: list[OSError] = []
    for member in wanted:
        result = trained[member]
        if result.network is None:
            continue
        description = {
            "key": job.keys[member],
            "setting": dict(job.settings[member]),
            "measurement": {name: value for name, value in result.measurement.items() if math.isfinite(value)},
            "step_dist": result.step_dist,
            **known,
        }
        try:
            model.save(result.network, description, job.networks[member])
        except OSError as error:
            failed.append(error)
    if failed:
        folder = Path(job.networks[0]).parent
        notes.append(
            f"{len(failed)} networks could not be written to {folder}: {failed[0].strerror}; "
            "their measurements are safe, but they cannot be exported"
        )


def network_problem(path: Path) -> str:
    """Read a network's file and check all of it.

    Returns:
        What is wrong with it, as it follows the file's name; empty where nothing is.
    """
    return read_network(path)[0]


def read_network(path: Path) -> tuple[str, Mapping[str, Any]]:
    """Read a network's file and check all of it.

    Returns:
        What is wrong with it, empty where nothing is; and what it says of its trial, empty where it cannot be read.
    """
    try:
        return "", model.load(path).description
    except model.NetworkFileError as error:
        return error.problem, {}


def checkpoint_problem(path: Path) -> str:
    """Read a population's checkpoint; return what is wrong with it, empty where nothing is or there is none."""
    try:
        load_state(path)
    except model.CheckpointError as error:
        return str(error)
    return ""


def _ended(trained: model.Trained) -> Ended:
    if trained.network is None:
        return Ended(Outcome.NOT_FINITE, trained.reason, curve=trained.curve)
    details = {"channels_per_layer": trained.channels_per_layer}
    return Ended(Outcome.COMPLETE, "", trained.measurement, details, trained.curve)


def _refuse_superseded(lease: Lease | None) -> None:
    """Stop a worker that outlived its driver before it writes beside a new one."""
    if lease is None:
        return
    try:
        session = json.loads(Path(lease.path).read_text(encoding="utf-8")).get("session")
    except (OSError, ValueError):
        return  # being rewritten; asked again after the next epoch
    if session != lease.session:
        raise SupersededError(f"session {lease.session} was taken over by {session}")


def _load(task: TaskSpec) -> model.Task:
    files = [Path(file) for file in (task.data, task.test) if file]
    return _load_once(task, tuple(file.stat().st_mtime_ns for file in files if file.is_file()))


@lru_cache(maxsize=2)
def _load_once(task: TaskSpec, changed_ns: tuple[int, ...]) -> model.Task:
    """Load a task, unless this process has it already and its files have not changed."""
    return model.load_task(model.TaskDefinition(**task.model_dump()))


def _members(settings: Sequence[Setting]) -> list[model.Pressures]:
    return [model.Pressures(s.breadth_pressure, s.depth_pressure, s.time_pressure, s.seed) for s in settings]


def _training(setting: Setting) -> model.TrainingSettings:
    return model.TrainingSettings(**setting.training.model_dump(mode="json"))


def _window(setting: Setting, task: model.Task) -> model.Window:
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
    )


def _growth(setting: Setting) -> model.Growth | None:
    lattice = setting.lattice
    return model.Growth(lattice.memory_mib * 2**20) if lattice.window is WindowKind.AUTO else None


@dataclass(frozen=True)
class TaskFacts:
    """What is known of a task before training.

    Attributes:
        train_images, test_images: How many.
        image: Channels, height and width.
        classes: How many.
        fingerprint: Hash of the data.
        network_bytes: About what training takes per network, of the largest one.
    """

    train_images: int
    test_images: int
    image: tuple[int, int, int]
    classes: int
    fingerprint: str
    network_bytes: int

    @property
    def pixels(self) -> int:
        """Pixels of one image."""
        return self.image[1] * self.image[2]


def check(settings: Sequence[Setting]) -> dict[str, TaskFacts]:
    """Load every task and build every window once, so that what cannot work is refused before training starts.

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
            task = _load(setting.task)
            network_bytes = _network_bytes(setting, task)
        except model.ModelError as error:
            raise SpecError(f"task {label!r} cannot be trained: {error}") from error
        if label in facts:
            network_bytes = max(network_bytes, facts[label].network_bytes)
        facts[label] = TaskFacts(
            len(task.train), len(task.test), task.image, task.classes, task.fingerprint, network_bytes
        )
    return facts


def _network_bytes(setting: Setting, task: model.Task) -> int:
    """Return what training a network takes at most, so far as its window says; refuse a window that cannot be."""
    lattice, window = setting.lattice, _window(setting, task)
    needed = window.training_bytes(min(setting.training.batch_size, len(task.train)))
    growth = _growth(setting)
    if growth is None:
        return needed
    # As deep as layers are halved it may grow: what cannot be then is refused now.
    window.resized((1,) * max((1, *lattice.halve)), 1)
    if needed > growth.memory_bytes:
        raise model.WindowError(
            f"memory_mib must leave room for the window that growing begins with, which takes "
            f"{-(-needed // 2**20)} MiB, but got lattice.memory_mib={lattice.memory_mib}. Raise it."
        )
    return growth.memory_bytes


def room(tasks: Mapping[str, TaskFacts]) -> Room:
    """Return what decides how many networks are trained side by side on this machine."""
    return Room(
        pixels=max(task.pixels for task in tasks.values()),
        network_bytes=max(task.network_bytes for task in tasks.values()),
        machine_bytes=machine_bytes(),
    )


@dataclass(frozen=True)
class Probe:
    """A short training's measure of a population: an estimate, on this machine, with one thread."""

    epoch_s: float
    memory_bytes: int
    checkpoint_bytes: int


def probe(settings: Sequence[Setting], batches: int = 4) -> Probe:
    """Train a population on a few batches and measure it.

    Args:
        settings: Members of one population.
        batches: How many batches; the first one warms up and is not counted.
    """
    use_threads(1)
    first = settings[0]
    task = _load(first.task)
    size = min(first.training.batch_size, len(task.train))
    few = model.Task(
        model.Images(task.train.pixels[:size], task.train.labels[:size]),
        model.Images(task.test.pixels[:size], task.test.labels[:size]),
        task.classes,
        task.fingerprint,
    )
    ends: list[float] = []
    sizes: list[int] = []

    def on_epoch(epoch: model.Epoch) -> None:
        ends.append(time.perf_counter())
        if not sizes:
            sizes.append(state_bytes(epoch.state()))

    training = replace(_training(first), epochs=batches)
    model.train(
        few,
        _window(first, task),
        _members(settings),
        training,
        growth=_growth(first),
        report=on_epoch,
    )
    # One probe epoch is one batch of training and one of testing; training costs about three times testing.
    per_batch = (ends[-1] - ends[0]) / (batches - 1)
    epoch_s = per_batch * (0.75 * (len(task.train) // size) + 0.25 * len(task.test) / size)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Probe(epoch_s, memory, sizes[0])


@dataclass(frozen=True)
class Described:
    """A network from a file.

    Attributes:
        title: Its task and its trial's key, as far as the file tells.
        measurement: What the file says was measured on it.
    """

    graph: model.Graph
    title: str
    measurement: Mapping[str, float]


def describe(path: Path) -> Described:
    """Read a network's file.

    Raises:
        QueryError: If it holds no network, or does not say how probable the network's steps are.
    """
    try:
        network = model.load(path)
        description = network.description
        step_dist = description.get("step_dist")
        if not isinstance(step_dist, list) or not all(isinstance(p, float | int) for p in step_dist):
            raise QueryError(f"{path} cannot be shown: its description has no list of numbers named step_dist.")
        graph = model.graph_of(network.lattice, step_dist)
    except model.ModelError as error:
        raise QueryError(f"no network can be shown: {error}") from error
    measured = description.get("measurement")
    numbers = measured.items() if isinstance(measured, dict) else ()
    return Described(graph, _title(description, path), {n: v for n, v in numbers if isinstance(v, float | int)})


def _title(description: Mapping[str, Any], path: Path) -> str:
    """Return task and key of a network's trial; of a network that has none, the name of its file."""
    try:
        task = [Setting.from_flat(description["setting"]).task.label]
    except (SpecError, KeyError, AttributeError):
        task = []  # written by hand, or by another version
    key = description.get("key")
    return " · ".join([*task, f"trial {key}" if key else path.name])
