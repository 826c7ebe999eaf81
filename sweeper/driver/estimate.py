"""Estimates what a sweep will need: counts it where possible, and otherwise extrapolates a short probe training."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sweeper.driver.needs import population_size
from sweeper.driver.subjects import FIRST_EPOCH_PATIENCE_S, FunctionSubject, LatticeSubject
from sweeper.execution.contention import Others, others_at_work, worker_niceness
from sweeper.ledger.populations import Population, form_populations
from sweeper.limits import read_limits
from sweeper.spec import FunctionSweep, LatticeSetting, LatticeSweep, LoadedSpec, SweepSpec
from sweeper.training import forecast
from sweeper.training.forecast import TaskFacts

#: Most kinds of populations whose speed is measured, and most populations measured of each; all others are assumed to
#: take the mean. A search of anything but pressures has as many kinds as settings.
_MEASURED_KINDS, _LOOKED_AT = 6, 40


Item = TypeVar("Item")


@dataclass(frozen=True)
class Estimate:
    """Estimated needs of a sweep, from a short probe training on this machine.

    Attributes:
        cells: Number of trials by task.
        images: Facts about the images of each task.
        search: Description of the search; empty for a plain grid.
        populations: Number of populations.
        population_size: Largest number of networks trained side by side.
        alone_s: Training time in seconds if nothing else uses the processors.
        train_s: Training time in seconds if the machine stays as busy as it is now.
        grows: Whether windows may grow, so that more time may be needed: the estimate uses their initial size.
        ends_early: Whether trainings may end before their budget is used up, so that less time may be needed.
        load: Mean number of other processes that want a processor now.
        memory_bytes: Largest memory of all workers together.
        disk_bytes: Disk space in the home.
        first: For a user's own function, the costs and measurements of its first epoch; empty if it took too long to
            wait for. None for lattices.
    """

    cells: Mapping[str, int]
    images: Mapping[str, TaskFacts]
    search: str
    populations: int
    population_size: int
    alone_s: float
    train_s: float
    grows: bool
    ends_early: bool
    load: float
    memory_bytes: int
    disk_bytes: int
    first: Mapping[str, Any] | None = None


def estimate(loaded: LoadedSpec, workers: int) -> Estimate:
    """Plan a sweep without writing anything, and estimate what it needs.

    Raises:
        SpecError: If the sweep cannot be trained.
    """
    if isinstance(loaded.spec, FunctionSweep):
        return _of_function(loaded, loaded.spec, workers)
    assert isinstance(loaded.spec, LatticeSweep)
    return _of_lattices(loaded, loaded.spec, workers)


def _of_function(loaded: LoadedSpec, spec: FunctionSweep, workers: int) -> Estimate:
    """Call the function for one epoch, and assume that every trial takes as long as that one would."""
    subject = FunctionSubject(loaded, spec)
    subject.look()
    first, processors = subject.first, read_limits().workers
    # If the first epoch took too long to wait for, every epoch is assumed to take as long as that wait.
    first_s = float(first.get("seconds", FIRST_EPOCH_PATIENCE_S))
    one_s = first_s + float(first.get("epoch_seconds") or first_s) * max(0, int(first.get("epochs", 1)) - 1)
    busy, others = min(workers, spec.planned), others_at_work()
    in_all = -(-spec.planned // busy) * one_s
    per_task = spec.planned // len(spec.tasks)
    return Estimate(
        cells=dict.fromkeys(spec.tasks, per_task),
        images={},
        search=_searched(spec),
        populations=spec.planned,
        population_size=1,
        alone_s=in_all * Others(0, 0).slow_down(busy, processors, 0),
        train_s=in_all * others.slow_down(busy, processors, worker_niceness()),
        grows=False,
        ends_early=spec.early_stopping is not None,
        load=others.load,
        memory_bytes=busy * int(first.get("memory_bytes", 0)),
        disk_bytes=40_000 * spec.planned,
        first=first,
    )


def _of_lattices(loaded: LoadedSpec, spec: LatticeSweep, workers: int) -> Estimate:
    subject = LatticeSubject(loaded, spec)
    subject.look()
    tasks, slower = subject.tasks, subject.own.slower
    size = population_size(spec, workers, forecast.memory_budget(tasks))
    side_by_side = size if spec.trains_side_by_side else min(size, spec.replicates)
    settings = spec.settings() if spec.search is None else _searched_settings(spec)
    populations = form_populations(settings, side_by_side)
    largest = populations if spec.search is None else form_populations(_largest_settings(spec), side_by_side)
    probes = {kind: forecast.probe(_lattices(those[0])) for kind, those in _kinds(largest).items()}
    checkpoint_bytes = sum(probes[kind].checkpoint_bytes * len(those) for kind, those in _kinds(largest).items())
    processors = read_limits().workers
    busy = min(workers, len(populations))
    others = others_at_work()
    took = dict[str, float]()
    for those in _spread(list(_kinds(populations).values()), _MEASURED_KINDS):
        probed = _spread(those, _LOOKED_AT)
        seconds = forecast.seconds([_lattices(one) for one in probed], spec.beside.shown, min(busy, processors))
        seconds = [slower * one for one in seconds]
        took |= dict.fromkeys((one.key for one in those), sum(seconds) / len(seconds))
        took |= {one.key: value for one, value in zip(probed, seconds, strict=True)}
    mean = sum(took.values()) / len(took)
    ends = [0.0] * workers  # as in Ray Tune, each population goes to the worker that is free first
    for population in populations:
        ends[ends.index(min(ends))] += took.get(population.key, mean)
    # A probe sees windows at their initial size; growing windows may reach their limit.
    grows = spec.grows
    grown = grows * max(len(p.keys) for p in populations) * max(task.network_bytes for task in tasks.values())
    example_bytes = max(task.example_bytes for task in tasks.values())
    cells = {task: sum(s.task_label == task for s in settings) for task in spec.tasks}
    return Estimate(
        cells=cells,
        images=tasks,
        search=_searched(spec),
        populations=len(populations),
        population_size=max(len(population.keys) for population in populations),
        alone_s=max(ends) * Others(0, 0).slow_down(busy, processors, 0),
        train_s=max(ends) * others.slow_down(busy, processors, worker_niceness()),
        grows=grows,
        ends_early=bool(spec.early_stopping)
        or any(_lattices(one)[0].training.until == "settled" for one in populations),
        load=others.load,
        memory_bytes=min(workers, len(populations)) * (max(p.memory_bytes for p in probes.values()) + grown),
        # A population has two checkpoints, and its networks take at most a third of one. Ledger and MLflow keep about
        # 40 kB per trial, beside the example images in the network's file.
        disk_bytes=checkpoint_bytes * 7 // 3 + (40_000 + example_bytes) * len(settings),
    )


def _lattices(population: Population) -> Sequence[LatticeSetting]:
    """Return the settings of a population of lattices."""
    return [setting for setting in population.settings if isinstance(setting, LatticeSetting)]


def _kinds(populations: Sequence[Population]) -> dict[tuple[str, int], list[Population]]:
    """Group populations by the group key of their settings and by their size; only pressures differ within a kind."""
    found = defaultdict[tuple[str, int], list[Population]](list)
    for population in populations:
        found[population.settings[0].group_key, len(population.settings)].append(population)
    return found


def _spread(items: Sequence[Item], most: int) -> Sequence[Item]:
    """Return at most `most` of the items, evenly spaced."""
    return items[:: -(-len(items) // most)]


def _searched_settings(spec: LatticeSweep) -> list[LatticeSetting]:
    """Return as many settings as a search will try, drawn at random from the searched ranges."""
    chance, found = random.Random(0), list[LatticeSetting]()
    for cell in spec.cells():
        for _ in range(spec.search.trials if spec.search else 1):
            values = {name: given.at(chance.random()) for name, given in spec.searched.items()}
            drawn = spec.proposed_lattice(cell, values)
            found += [drawn.model_copy(update={"seed": seed}) for seed in spec.seeds]
    return sorted(found, key=lambda setting: (setting.task_label, setting.group_key))


def _largest_settings(spec: LatticeSweep) -> list[LatticeSetting]:
    """Return as many settings as a search will try, each at the upper ends of the searched ranges."""
    trials = spec.search.trials if spec.search else 1
    upper = {name: given.extremes[-1] for name, given in spec.searched.items()}
    largest = [spec.proposed_lattice(cell, upper) for cell in spec.cells()]
    seeds = [s for _ in range(trials) for s in spec.seeds]
    return [setting.model_copy(update={"seed": seed}) for setting in largest for seed in seeds]


def _searched(spec: SweepSpec) -> str:
    if spec.search is None:
        return ""
    cells = len(spec.cells())
    grid = f"each of {cells} cells of the grid" if cells > 1 else "one cell"
    replicates = f", {spec.replicates} replicates each" if spec.replicates > 1 else ""
    return f"{spec.search.sampler} tries {spec.search.trials} settings in {grid}{replicates}"
