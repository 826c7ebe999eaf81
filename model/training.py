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

#: Random stream that chooses the validation images to measure after each round.
_WATCHING = 5

#: Most points of a training curve that are kept.
CURVE_POINTS = 50


@dataclass(frozen=True)
class Epoch:
    """Report after each epoch, or after each round if a training is given by its updates.

    Attributes:
        epoch: Rounds done, from 1.
        epochs: Rounds in all.
        values: By member: `loss`, `accuracy`, `time`, `channels` on the validation images; empty for members that are
            stopped or not finite.
        full: Members whose growth the memory limit began to prevent in this epoch, and their sizes in words.
        state: Returns everything needed to resume here: tensors, numbers and lists only.
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

    Each network trains as it would alone, up to rounding, which training amplifies: over six epochs of digits the
    weights differed from those trained alone by 6e-15 in float64, but by up to 0.1 in float32
    (`benchmarks/rounding.py`).

    Training is deterministic given the seeds and torch's thread count. Every random stream is derived from the member's
    seed and the number of the pass or step, so a state taken between two rounds need not store any stream.

    A training may pause and resume from the last reported state: it ends, to the last bit, as one that never paused.
    Members may be stopped on the way: the others train on as before, up to rounding.

    Args:
        task: Training images and held-out images. The reports after each epoch use the validation images; the test
            images are used once, when a network is complete.
        window: Window of every network; if windows grow, the one that they begin with.
        members: Pressures and seed of each network.
        settings: Settings shared by all members.
        growth: Lets windows grow up to a limit. None keeps `window`.
        report: Called after each round; an exception from it ends the training.
        state: State to resume from, as passed to `report` before. None starts anew.
        until: Rounds after which to pause and measure every member; schedules such as the learning rate still follow
            the whole training. A state that has already reached or passed these rounds is measured but not reported
            again. None trains to the end.
        stopped: Numbers of the members to stop. Members stopped in former calls must be named again.
        is_over: Called repeatedly in each epoch, before the next steps. Once it returns true, the training ends at
            once, possibly in the middle of an epoch, and only the earlier reports are of use.
        costs: A user's own costs, in the order of each member's pressures on them.
        device: Torch device.
        dtype: Type of weights and pixels.

    Returns:
        One result per member, in order, including members without a network; see `End`.

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
    is_complete = last == course.rounds  # at a pause it is not yet known which members will go on
    return population.results(validation, task.test.to(device, dtype) if is_complete else None)


def _watched(validation: Images, most: int | None) -> Images:
    """Return the validation images to measure after each round: at most `most`, always the same."""
    if most is None or most >= len(validation):
        return validation
    chosen = np.sort(np.random.default_rng(_WATCHING).permutation(len(validation))[:most])
    return validation.some(torch.from_numpy(chosen).to(validation.labels.device))
