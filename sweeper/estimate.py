"""What a sweep will need: counted where it can be, estimated from a short probe training where not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sweeper import objective
from sweeper.population import form_populations, population_size
from sweeper.spec import LoadedSpec


@dataclass(frozen=True)
class Estimate:
    """What a sweep will need: an estimate from a short probe training on this machine."""

    cells: Mapping[str, int]
    populations: int
    population_size: int
    train_s: float
    memory_bytes: int
    disk_bytes: int


def estimate(loaded: LoadedSpec, workers: int) -> Estimate:
    """Plan a sweep without writing anything, and probe what it needs."""
    spec = loaded.spec
    settings = spec.settings()
    tasks = objective.check(settings)
    size = population_size(spec, workers, max(task.pixels for task in tasks.values()))
    populations = form_populations(settings, size)
    probes: dict[tuple[str, int], objective.Probe] = {}
    checkpoint_bytes = 0
    ends = [0.0] * workers  # each population goes to the worker that is free first, as Ray Tune does it
    for population in populations:
        kind = (population.settings[0].group_key, len(population.settings))
        if kind not in probes:
            probes[kind] = objective.probe(population.settings)
        checkpoint_bytes += probes[kind].checkpoint_bytes
        ends[ends.index(min(ends))] += probes[kind].epoch_s * population.settings[0].training.epochs
    cells = {task: sum(s.task.label == task for s in settings) for task in spec.tasks}
    return Estimate(
        cells=cells,
        populations=len(populations),
        population_size=max(len(population.keys) for population in populations),
        train_s=max(ends),
        memory_bytes=min(workers, len(populations)) * max(p.memory_bytes for p in probes.values()),
        # Networks are at most a third of their checkpoint; 40 kB are about what ledger and MLflow keep of a trial.
        disk_bytes=checkpoint_bytes * 4 // 3 + 40_000 * len(settings),
    )
