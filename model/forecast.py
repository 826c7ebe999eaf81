"""Forecasts how long a training will take: the work of its steps, and the speed of this machine.

Under elimination most networks become small, and they do so earlier the higher the pressures are. The forecast assumes
that a network of n channels has a loss of log(K) / n nats, where K is the number of classes. This held on digits: for
pressures on breadth from 1e-3 to 0.2 the assumption predicted the number of remaining channels to within one with ten
classes, and to within three with three. Growing windows are forecast at the size that they begin with. Windows of other
solvers are forecast at their full size.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import torch

from sweeper.model.elimination import CHOSEN_ON, JUDGED_ON, fading_count, lot
from sweeper.model.growth import Extent
from sweeper.model.lattice import Lattice
from sweeper.model.native.library import usable
from sweeper.model.settings import Pressures, TrainingSettings
from sweeper.model.shard import Course, Shard, divide
from sweeper.model.tasks import Images
from sweeper.model.window import Window

#: Time to answer an image as a share of the time to learn from it; 0.29 was measured on digits with eight networks.
ANSWERED = 0.3

#: Least time for which the speed is measured, in seconds, and training steps between two looks at the clock.
_MEASURED_S, _STEPS = 0.4, 4


def expected_work(course: Course, window: Window, validation: int, tested: int) -> float:
    """Return about how much work a training is, summed over all images of all steps; see `model.work`.

    Args:
        course: The training.
        window: Window that every network begins with.
        validation: Number of images that are answered after each round.
        tested: Number of images that are answered at the end, in all.
    """
    ends = [last for number in range(course.rounds) for _, last in course.looks(number)]
    paths = list(zip(*(_channels(course, window, member, ends) for member in course.members), strict=True))
    at_rounds = {course.begin(number + 1) for number in range(course.rounds)}
    known: dict[tuple[int, ...], float] = {}
    total = each = 0.0
    for (before, now), channels in zip(pairwise([0, *ends]), paths, strict=True):
        if channels not in known:
            known[channels] = _least(course, window, channels)
        each = known[channels]
        answered = (now in at_rounds) * validation
        if now in course.schedule.decisions:
            left = course.schedule.stages_left(now)
            lots = max((_lots(count, window, left) for count in channels), default=0)
            answered += JUDGED_ON + lots * (window.layers + 1) * CHOSEN_ON
        total += each * ((now - before) * course.batch_size + ANSWERED * answered)
    return total + each * ANSWERED * tested


def _lots(count: int, window: Window, stages: int) -> int:
    """Return in how many lots a network's channels are chosen that fade in the next stage."""
    if not count or not stages:
        return 0
    layers = min(window.layers, count)
    return math.ceil(fading_count(count, stages) / lot(count // layers))


def _least(course: Course, window: Window, channels: Sequence[int]) -> float:
    """Return the work of one image if networks of these numbers of channels are divided best."""
    extents = [Extent(_spread(count, window), window.steps) for count in channels]
    return divide(window, extents, course.batch_size, usable()[0])[1]


def _spread(count: int, window: Window) -> list[int]:
    """Spread a number of channels evenly over the layers of a window."""
    if count >= sum(window.channels):
        return list(window.channels)
    layers = min(window.layers, max(1, count))
    return [max(1, count // layers + (layer < count % layers)) for layer in range(layers)]


def _channels(course: Course, window: Window, pressures: Pressures, ends: Sequence[int]) -> Iterator[int]:
    """Yield how many channels a network is expected to have before each look at it."""
    count, schedule = sum(window.channels), course.schedule
    best, kept = math.inf, count
    is_over = not (pressures.breadth or pressures.depth)
    for now in ends:
        yield count
        if is_over or now not in schedule.decisions:
            continue
        wants = math.log(window.classes) / max(count, 1)
        costs = sum(
            pressures.breadth * c * (c + 1) / 2 + pressures.depth * layer * c
            for layer, c in enumerate(_spread(count, window), start=1)
        )
        if wants + costs <= best:
            best, kept = wants + costs, count
        left = schedule.stages_left(now)
        is_over = left == 0 or count <= 1 or wants > best
        count = kept if is_over else count - fading_count(count, left)


def seconds_of_work(course: Course, window: Window, at_once: int = 1) -> float:
    """Measure how many seconds of a processor a unit of work takes while as many threads work as in the sweep.

    Args:
        course: The training.
        window: Window of the networks.
        at_once: Number of populations that are trained at a time.
    """
    threads = max(1, min(at_once, len(os.sched_getaffinity(0))))
    with ThreadPoolExecutor(threads) as pool:
        measured = list(pool.map(lambda _: _step_seconds(course, window), range(threads)))
    members = [Extent.of(window)] * len(course.members)
    work = divide(window, members, course.batch_size, usable()[0])[1] * course.batch_size
    return sum(measured) / threads / work


def reference_step_ms(recurrence: str) -> float:
    """Measure a training step on this machine: 8 networks of 3 layers, 8 channels and 4 steps, 32 images of 8 × 8.

    Args:
        recurrence: Implementation of the recurrence, one of `usable()`.

    Returns:
        Milliseconds of processor time of one thread.
    """
    window = Window((8, 8, 8), 4, (1, 8, 8), 10)
    pixels, labels = torch.linspace(0, 1, 32 * 64).reshape(32, 1, 8, 8), torch.arange(32) % 10
    members = [Pressures(1e-2, 0.0, 0.1, seed) for seed in range(8)]
    how = TrainingSettings(1, 32, 4e-3, "elimination", 0.0)
    return 1000 * _step_seconds(Course(members, how, Images(pixels, labels)), window, recurrence)


def _step_seconds(course: Course, window: Window, recurrence: str = "") -> float:
    """Return how many seconds of processor time this thread needs for a training step in the whole window."""
    lattice = Lattice(window, [member.seed for member in course.members]).to(course.images.like)
    lattice.recurrence = recurrence or lattice.recurrence
    if window.standardize == "images":
        lattice.standardize_by(*course.images.statistics)
    lattice.standardize_pooled()
    count = len(course.members)
    shard = Shard(course, range(count), lattice, [0] * count, [window.steps] * count)
    shard.advance(0, 1)  # warms up
    begun, spent, steps = time.perf_counter(), 0.0, 0
    while not steps or time.perf_counter() - begun < _MEASURED_S:
        before = time.thread_time()
        shard.advance(steps, steps + _STEPS)
        spent, steps = spent + time.thread_time() - before, steps + _STEPS
    return spent / steps
