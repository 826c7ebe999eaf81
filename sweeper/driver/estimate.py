"""What a sweep will need: counted where it can be, estimated from a short probe training where not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sweeper.driver.needs import population_size
from sweeper.ledger.populations import form_populations
from sweeper.spec import LoadedSpec, Setting, SweepSpec, WindowKind
from sweeper.training import forecast


@dataclass(frozen=True)
class Estimate:
    """What a sweep will need: an estimate from a short probe training on this machine.

    Attributes:
        cells: Trials by task.
        search: What is searched how, in words; empty for a plain grid.
        populations: How many.
        population_size: Networks side by side, at most.
        train_s: Time of the training, with the windows as they begin.
        grows: Whether windows grow, so that more time may be needed.
        memory_bytes: Of all workers, at most.
        disk_bytes: In the home.
    """

    cells: Mapping[str, int]
    search: str
    populations: int
    population_size: int
    train_s: float
    grows: bool
    memory_bytes: int
    disk_bytes: int


def estimate(loaded: LoadedSpec, workers: int) -> Estimate:
    """Plan a sweep without writing anything, and probe what it needs."""
    spec = loaded.spec
    tasks = forecast.check(spec.corners())
    size = population_size(spec, workers, forecast.memory_budget(tasks))
    settings = spec.settings() if spec.search is None else _largest_settings(spec)
    populations = form_populations(settings, size if spec.searches_pressures_only else min(size, spec.replicates))
    probes: dict[tuple[str, int], forecast.Probe] = {}
    checkpoint_bytes = 0
    ends = [0.0] * workers  # each population goes to the worker that is free first, as Ray Tune does it
    for population in populations:
        kind = (population.settings[0].group_key, len(population.settings))
        if kind not in probes:
            probes[kind] = forecast.probe(population.settings)
        checkpoint_bytes += probes[kind].checkpoint_bytes
        ends[ends.index(min(ends))] += probes[kind].round_s * population.settings[0].training.rounds
    # A probe sees windows as they begin; those that grow may take all that they are allowed.
    grows = spec.lattice.window is WindowKind.AUTO
    grown = grows * max(len(p.keys) for p in populations) * max(task.network_bytes for task in tasks.values())
    example_bytes = max(task.example_bytes for task in tasks.values())
    cells = {task: sum(s.task.label == task for s in settings) for task in spec.tasks}
    return Estimate(
        cells=cells,
        search=_searched(spec),
        populations=len(populations),
        population_size=max(len(population.keys) for population in populations),
        train_s=max(ends),
        grows=grows,
        memory_bytes=min(workers, len(populations)) * (max(p.memory_bytes for p in probes.values()) + grown),
        # A population has two checkpoints, and its networks are at most a third of one; 40 kB are about what ledger and
        # MLflow keep of a trial, beside the test images that its network's file shows.
        disk_bytes=checkpoint_bytes * 7 // 3 + (40_000 + example_bytes) * len(settings),
    )


def _largest_settings(spec: SweepSpec) -> list[Setting]:
    """Return as many settings as a search will try, each at the upper ends of what is searched."""
    trials = spec.search.trials if spec.search else 1
    upper = {name: given.extremes[-1] for name, given in spec.searched.items()}
    largest = [spec.proposed(cell, upper) for cell in spec.cells()]
    seeds = [s for _ in range(trials) for s in spec.seeds]
    return [setting.model_copy(update={"seed": seed}) for setting in largest for seed in seeds]


def _searched(spec: SweepSpec) -> str:
    if spec.search is None:
        return ""
    cells = len(spec.cells())
    grid = f"each of {cells} cells of the grid" if cells > 1 else "one cell"
    replicates = f", {spec.replicates} replicates each" if spec.replicates > 1 else ""
    return f"{spec.search.sampler} tries {spec.search.trials} settings in {grid}{replicates}"
