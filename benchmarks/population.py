"""Measures the gain of training side by side: time per network of whole training steps, and their cost by size.

    .venv/bin/python benchmarks/population.py [--device cuda] [--rounds 5] [--parts sizes,fit]

`sizes` trains 1 to 64 networks in one lattice; `fit` measures small lattices and fits the work model of
`model/work.py` to them. Times are those of this process alone on the CPU, and synchronised wall time on a GPU; the
least of all rounds counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence

import torch
from lattice import fastest, hardware, seconds
from torch import Tensor

from sweeper.model import Images, Lattice, Pressures, TrainingSettings, Window
from sweeper.model.compute import use_threads
from sweeper.model.native.library import TORCH, usable
from sweeper.model.shard import Course, Shard
from sweeper.model.work import Rates

SIZES = (1, 2, 4, 8, 16, 32, 64)
BATCH, CLASSES = 64, 10
#: Training steps of one measurement, and longest time of a row, in seconds.
STEPS, LONGEST_ROW = 8, 60
WINDOWS = {
    "8×8": Window((8,) * 3, 6, (1, 8, 8), CLASSES),
    "14×14": Window((8,) * 3, 6, (1, 14, 14), CLASSES),
    "28×28, halve 2, 3": Window((8,) * 3, 6, (1, 28, 28), CLASSES, halve=(2, 3)),
}
#: Windows that the work model is fitted to.
SIZED = [
    *(Window((c,) * 3, 4, (1, 8, 8), CLASSES) for c in (1, 2, 4, 8, 16)),
    *(Window((8,) * layers, steps, (1, 8, 8), CLASSES) for layers, steps in ((1, 6), (6, 6), (3, 1), (3, 12))),
    Window((8, 4, 2), 4, (1, 8, 8), CLASSES),
    *(Window((c,) * 3, 4, (1, 14, 14), CLASSES) for c in (2, 8)),
    *(Window((c,) * 3, 4, (1, 28, 28), CLASSES, halve=(2, 3)) for c in (2, 8)),
]


def course(population: int, image: tuple[int, int, int], device: str) -> Course:
    """Return a course over random images, just large enough for a measurement."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(BATCH * STEPS, *image, generator=generator)
    labels = torch.randint(CLASSES, (len(pixels),), generator=generator)
    settings = TrainingSettings(epochs=60, batch_size=BATCH, learning_rate=1e-5, solver="elimination", step_loss=0.2)
    members = [Pressures(1e-4, 1e-4, 1e-2, seed) for seed in range(population)]
    return Course(members, settings, Images(pixels, labels).to(device))


def fresh(course: Course, members: Sequence[int], window: Window) -> Shard:
    """Return new, dense networks in one lattice."""
    lattice = Lattice(window, [course.members[m].seed for m in members]).to(course.images.like)
    return Shard(course, members, lattice, [0] * len(members), [window.steps] * len(members))


def training(shards: Iterable[Shard]) -> Callable[[], None]:
    """Return a function that makes a few training steps of all shards."""
    shards = list(shards)

    def run() -> None:
        for each in shards:
            each.advance(0, STEPS)

    return run


def show_sizes(device: str, rounds: int) -> None:
    """Print the time per network and step by population size, and the best size."""
    print("| images |", " | ".join(f"P = {size}" for size in SIZES), "| best | gain |")
    print("|---|" + "---:|" * (len(SIZES) + 2))
    for name, window in WINDOWS.items():
        calls: dict[str, Callable[[], None]] = {}
        for size in SIZES:
            call = training([fresh(course(size, window.image, device), range(size), window)])
            start = seconds(device)
            call()
            if (seconds(device) - start) * (rounds + 2) > LONGEST_ROW:
                break
            calls[str(size)] = call
        ms = {int(size): value / STEPS / int(size) for size, value in fastest(calls, device, rounds).items()}
        best = min(ms, key=lambda size: ms[size])
        cells = (f"{ms[size]:.2f}" if size in ms else "" for size in SIZES)
        print(f"| {name} |", " | ".join(cells), f"| P = {best} | {ms[1] / ms[best]:.2f} |", flush=True)
    print()


def terms(size: int, window: Window, recurrence: str) -> list[float]:
    """Return the parts of a training step's time, in the units of `model/work.py`: states, channels, connections."""
    known, channels = Rates.of(recurrence), window.channels
    by_channels = by_connections = 0.0
    for layer, c in enumerate(channels, start=1):
        height, width = window.side(layer)
        pixels = size * window.steps * BATCH * height * width
        by_channels += pixels * (c + known.pixel)
        by_connections += pixels * c * sum(channels[max(0, layer - 2) : layer + 1])
    return [window.steps * len(channels), by_channels, by_connections if known.connection else 0.0]


def fit(rows: Tensor, ms: Tensor) -> Tensor:
    """Return the factors of the columns of `rows` whose sum has the least relative error from `ms`."""
    used = rows.any(0)
    factors = torch.zeros(rows.shape[1], dtype=rows.dtype)
    factors[used] = torch.linalg.lstsq(rows[:, used] / ms[:, None], torch.ones_like(ms)[:, None]).solution[:, 0]
    return factors


def show_fit(device: str, rounds: int) -> None:
    """Print measured times, and the errors of the work model with its own rates and with the best ones."""
    for recurrence in dict.fromkeys((usable()[0], TORCH)):
        cases, calls = [(size, window) for window in SIZED for size in (1, 4, 8)], {}
        for number, (size, window) in enumerate(cases):
            each = fresh(course(size, window.image, device), range(size), window)
            each.lattice.recurrence = recurrence
            calls[str(number)] = training([each])
        ms = torch.tensor(list(fastest(calls, device, rounds, least=0.05).values()), dtype=torch.float64) / STEPS
        rows = torch.tensor([terms(size, window, recurrence) for size, window in cases], dtype=torch.float64)
        best, known = fit(rows, ms), Rates.of(recurrence)
        given = torch.tensor([known.state, 1.0, known.connection], dtype=torch.float64)
        given *= fit((rows @ given)[:, None], ms)  # scaled to this machine's speed
        errors = [rows @ factors / ms - 1 for factors in (given, best)]
        print(f"{recurrence}: a state is {best[0] / best[1]:,.0f} channels × pixels × images ({known.state:,} in")
        print(f"`model/work.py`), a connection {best[2] / best[1]:.3f} ({known.connection}); off by", end=" ")
        print(*(f"{float(error.square().mean().sqrt()):.0%}" for error in errors), sep=" as they are, and best by ")
        print("\n| P | images | channels | steps | ms | as they are | best |\n|---:|---|---|---:|---:|---:|---:|")
        for (size, window), value, *error in zip(cases, ms.tolist(), *errors, strict=True):
            shown = f"{'×'.join(map(str, window.image[1:]))} | {'+'.join(map(str, window.channels))} | {window.steps}"
            print(f"| {size} | {shown} | {value:.1f} |", " | ".join(f"{float(e):+.0%}" for e in error), "|", flush=True)
        print()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", default="sizes,fit")
    given = parser.parse_args()
    use_threads(1)
    print(f"{hardware(given.device)}; batch {BATCH}, best of {given.rounds} rounds\n")
    if "sizes" in given.parts:
        print("Milliseconds per network and training step, 3 layers of 8 channels, 6 steps:\n")
        show_sizes(given.device, given.rounds)
    if "fit" in given.parts:
        show_fit(given.device, given.rounds)


if __name__ == "__main__":
    main()
