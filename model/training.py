"""One plain loop that trains a population and hands each epoch's measurements to a callable."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sweeper.model.growth import Growth
from sweeper.model.images import Images
from sweeper.model.own_costs import OwnCost
from sweeper.model.population import Trained, TrainingPopulation
from sweeper.model.settings import Pressures, TrainingSettings
from sweeper.model.shard import Course
from sweeper.model.tasks import Task
from sweeper.model.window import Window

#: The stream that says which validation images are measured after each round.
_WATCHING = 5

#: At most so many points of a training curve are kept, however many epochs there are.
CURVE_POINTS = 50


@dataclass(frozen=True)
class Epoch:
    """What is handed out after each epoch, or each round where a training is given by its updates.

    Attributes:
        epoch: Rounds done, from 1.
        epochs: Rounds in all.
        values: By member: `loss`, `accuracy`, `time`, `channels` on the validation images; empty where not finite or
            stopped.
        full: Members whose window could not grow for want of memory, since this epoch, and their sizes in words.
        state: Returns all that is needed to go on from here; tensors, numbers and lists only.
    """

    epoch: int
    epochs: int
    values: Sequence[dict[str, float]]
    full: dict[int, str]
    state: Callable[[], dict[str, Any]]


def train(
    task: Task,
    window: Window,
    members: Sequence[Pressures],
    settings: TrainingSettings,
    *,
    growth: Growth | None = None,
    report: Callable[[Epoch], None] = lambda _: None,
    state: dict[str, Any] | None = None,
    until: int | None = None,
    stopped: Collection[int] = (),
    is_over: Callable[[], bool] = lambda: False,
    costs: Sequence[OwnCost] = (),
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> list[Trained]:
    """Train one network per member, side by side.

    Each trains as it would alone, up to rounding, which training amplifies: over six epochs of digits the weights
    differed from those trained alone by 6e-15 in float64, but by up to 0.1 in float32 (`benchmarks/rounding.py`).

    Deterministic given the seeds and torch's thread count. Every random stream is derived from the member's seed
    and the number of the pass over the images, so a state taken between two rounds holds them by its own number.

    A training may pause and go on from the state that was reported last: it ends, to the last bit, as one that never
    paused. Members may be stopped on the way: the computation goes on without them, and the others train as before up
    to rounding.

    Args:
        task: Images to learn, and images held out: what is handed out after each epoch is measured on those for
            validation, and those for testing are looked at once, when a network is complete.
        window: What every network may use; where windows grow, what they begin with.
        members: Pressures and seed of each network.
        settings: Shared by all.
        growth: Lets windows grow, to a limit. None: `window` is all there is.
        report: Called after each round; what it raises ends the training.
        state: Where to go on, as handed to `report` before. None starts anew.
        until: Rounds after which to pause, with every member measured as it is then; schedules such as the learning
            rate follow the whole training all the same. A state that is there already is measured and not reported
            again; one that is further is measured where it is. None trains to the end.
        stopped: Numbers of the members that are not trained any further. Those of former calls are named again.
        is_over: Asked again and again in each epoch, before the next steps; once true the training ends where it is,
            in the middle of an epoch as it may be, and is of no use but for what `report` has seen.
        costs: Those of a user's own, in the order of each member's pressures for them.
        device: Torch device.
        dtype: Type of weights and pixels.

    Returns:
        One result per member, in order, those that have no network any more included; see `End`.

    Raises:
        CheckpointError: If `state` belongs to another population, or lacks a member that is not stopped.
    """
    course = Course(members, settings, task.train.to(device, dtype), task.degradations, costs)
    validation = task.validation.to(device, dtype)
    watched = _watched(validation, settings.epoch_images)
    population = TrainingPopulation(course, window, growth, torch.zeros(0, device=device, dtype=dtype))
    if state is not None:
        population.restore(state, stopped)
    population.stop(stopped)
    keep_every = math.ceil(course.rounds / CURVE_POINTS)
    last = course.rounds if until is None else min(until, course.rounds)
    while population.epoch < last and not population.is_done:
        full = population.run_epoch(is_over)
        if population.is_interrupted:
            break
        values = population.values(watched)
        for curve, value, end in zip(population.curves, values, population.ends, strict=True):
            is_kept = population.epoch == end or (population.epoch % keep_every == 0 and population.epoch < end)
            curve.extend([{"epoch": population.epoch, **value}] if value and is_kept else [])
        report(Epoch(population.epoch, course.rounds, values, full, population.state))
    is_complete = last == course.rounds  # at a pause networks may have ended, but it is not known yet who goes on
    return population.results(validation, task.test.to(device, dtype) if is_complete else None)


def _watched(validation: Images, most: int | None) -> Images:
    """Return the validation images that are measured after each round: so many of them, always the same."""
    if most is None or most >= len(validation):
        return validation
    chosen = np.sort(np.random.default_rng(_WATCHING).permutation(len(validation))[:most])
    return validation.some(torch.from_numpy(chosen).to(validation.labels.device))
