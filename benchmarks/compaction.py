"""Compares the speed of a shrunk population with fresh, dense networks of its sizes; aim: at most 1.3 times the time.

    .venv/bin/python benchmarks/compaction.py [--device cuda] [--rounds 7] [--epochs 8]

A population learns the digits under breadth pressures that shrink its networks to different sizes. Its training steps
are then timed against those of fresh lattices. For this population and some made-up ones, the division of
`model.shard.divide` is timed against other divisions. Times are those of this process alone on the CPU, and
synchronised wall time on a GPU. The variants take turns, and the least of all rounds counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from lattice import fastest, hardware
from population import STEPS, course, fresh, training

from sweeper.model import Pressures, TaskDefinition, TrainingSettings, Window, load_task
from sweeper.model.compute import use_threads
from sweeper.model.growth import Extent
from sweeper.model.native.library import usable
from sweeper.model.population import TrainingPopulation
from sweeper.model.resize import fitting_window
from sweeper.model.shard import Course, Shard, divide, regroup

AIM = 1.3
CHANNELS, LAYERS, STEPS_OF_WINDOW, BATCH = 12, 3, 6, 64
#: Breadth and time pressures of the trained networks.
PRESSURES = [(1e-4, 0.01), (2e-4, 0.3), (3e-4, 0.01), (4e-4, 0.3), (6e-4, 0.01), (8e-4, 0.3), (1e-3, 0.01), (2e-3, 0.3)]
#: Made-up populations: channels by layer and steps of each network.
MADE_UP: dict[str, list[tuple[list[int], int]]] = {
    "eight alike": [([6, 6, 6], 4)] * 8,
    "half large, half small": [([12, 12, 12], 6)] * 4 + [([3, 2, 2], 2)] * 4,
    "all different": [([12 - m, 12 - m, 12 - m][: 3 - m // 3], 6 - m // 2) for m in range(8)],
    "one large": [([12, 12, 12], 6)] + [([3, 3], 3)] * 7,
}


def trained(epochs: int, device: str) -> TrainingPopulation:
    """Train a population of eight for some epochs, so that it shrinks."""
    task = load_task(TaskDefinition(classes=10))
    settings = TrainingSettings(epochs=epochs, batch_size=BATCH, learning_rate=3e-3, solver="proximal", step_loss=0.2)
    members = [Pressures(breadth, 1e-4, time, seed) for seed, (breadth, time) in enumerate(PRESSURES)]
    window = Window((CHANNELS,) * LAYERS, STEPS_OF_WINDOW, task.image, task.classes)
    population = TrainingPopulation(
        Course(members, settings, task.train.to(device)), window, None, torch.zeros(0, device=device)
    )
    while population.epoch < epochs:
        population.run_epoch()
    return population


def of_sizes(course: Course, window: Window, extents: Sequence[Extent], parts: Sequence[Sequence[int]]) -> list[Shard]:
    """Return fresh, dense networks of these sizes, one lattice for each of `parts`."""
    return [
        fresh(
            course, part, fitting_window(window, [extents[m].channels for m in part], [extents[m].steps for m in part])
        )
        for part in parts
    ]


def show_shrunk(population: TrainingPopulation, device: str, rounds: int) -> None:
    """Print the time of a step after shrinking, and in fresh lattices."""
    run, window, extents = population.course, population.window, population.extents
    everyone = range(len(extents))
    alone = [[m] for m in everyone]
    kept = {
        m: k for shard in population.shards for m, k in zip(shard.members, zip(*_kept(shard), strict=True), strict=True)
    }
    parts = [shard.members for shard in population.shards]
    calls = {
        "as it stands": training(population.shards),
        "fresh, divided and padded alike": training(
            fresh(run, shard.members, shard.lattice.window) for shard in population.shards
        ),
        "fresh, each network alone": training(of_sizes(run, window, extents, alone)),
        "shrunk, each network alone": training(regroup(population.shards, kept, extents, alone, window)),
        "fresh, all in one": training(of_sizes(run, window, extents, [everyone])),
        "fresh, in the window it began with": training([fresh(run, everyone, window)]),
    }
    print("Networks:", "; ".join(f"{'+'.join(map(str, e.channels)) or 'none'} × {e.steps}" for e in extents))
    print("Divided:", ", ".join(str(part) for part in parts), "\n")
    ms = fastest(calls, device, rounds)
    print("| eight networks, 8×8 digits | ms a training step | as it stands, by this |\n|---|---:|---:|")
    for name, value in ms.items():
        print(f"| {name} | {value / STEPS:.1f} | {ms['as it stands'] / value:.2f} |")
    a, b = ms["as it stands"], ms["shrunk, each network alone"]
    ratios = {
        "as it stands, by fresh ones divided alike": a / ms["fresh, divided and padded alike"],
        "as it stands, by fresh ones alone": a / ms["fresh, each network alone"],
        "shrunk ones alone, by fresh ones alone": b / ms["fresh, each network alone"],
    }
    print()
    for name, ratio in ratios.items():
        print(f"- {name}: {ratio:.2f}, aim {AIM} {'reached' if ratio <= AIM else 'missed'}")
    print()


def _kept(shard: Shard) -> list[list[torch.Tensor]]:
    """Return by layer and row the indices of the living channels."""
    return [[row.nonzero().flatten() for row in alive_PC] for alive_PC in shard.prune()]


def show_divisions(name: str, window: Window, extents: list[Extent], device: str, rounds: int) -> None:
    """Print the time of a population's step under several divisions."""
    run = course(len(extents), window.image, device)
    order = sorted(range(len(extents)), key=lambda m: extents[m].steps * sum(extents[m].channels))
    chosen = divide(window, extents, run.batch_size, usable()[0])[0]
    ways = {"chosen": chosen}
    for count in (1, 2, 4, 8):
        size = len(order) // count
        ways[f"{count} equal"] = [order[start : start + size] for start in range(0, len(order), size)]
    ms = fastest({way: training(of_sizes(run, window, extents, parts)) for way, parts in ways.items()}, device, rounds)
    cells = " | ".join(f"{value / STEPS:.1f}" for value in ms.values())
    best = ms["chosen"] / min(ms.values())
    print(f"| {name} | {'+'.join(str(len(part)) for part in chosen)} | {cells} | {best:.2f} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=8)
    given = parser.parse_args()
    use_threads(1)
    print(f"{hardware(given.device)}; batch {BATCH}, best of {given.rounds} rounds, {given.epochs} epochs\n")
    population = trained(given.epochs, given.device)
    show_shrunk(population, given.device, given.rounds)
    print("| population | chosen division | chosen, ms | all in one | two | four | each alone | chosen, by the best |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    small, large = population.window, Window((CHANNELS,) * LAYERS, STEPS_OF_WINDOW, (1, 28, 28), 10, halve=(2, 3))
    show_divisions("trained, 8×8", small, population.extents, given.device, given.rounds)
    for name, sizes in MADE_UP.items():
        for window in (small, large):
            extents = [Extent(channels, steps) for channels, steps in sizes]
            show_divisions(f"{name}, {window.image[1]}×{window.image[2]}", window, extents, given.device, given.rounds)


if __name__ == "__main__":
    main()
