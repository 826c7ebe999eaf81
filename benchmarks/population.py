"""What training side by side gains: time per network of whole training steps, and what they cost by size.

    .venv/bin/python benchmarks/population.py [--device cuda] [--rounds 5] [--parts sizes,fit]

`sizes` trains 1 to 64 networks in one lattice; `fit` measures small lattices and fits the work model of
`model/shard.py` to them. CPU: time of this process alone; GPU: wall time, synchronised; the least of all rounds counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence

import torch
from lattice import fastest, hardware, seconds
from torch import Tensor

from sweeper.model import Images, Lattice, Pressures, TrainingSettings, Window, shard
from sweeper.model.compute import use_threads
from sweeper.model.shard import Course, Shard

SIZES = (1, 2, 4, 8, 16, 32, 64)
BATCH, CLASSES = 64, 10
#: Training steps of one measurement, and seconds that a row may take.
STEPS, LONGEST_ROW = 8, 60
WINDOWS = {
    "8×8": Window((8,) * 3, 6, (1, 8, 8), CLASSES),
    "14×14": Window((8,) * 3, 6, (1, 14, 14), CLASSES),
    "28×28, halve 2, 3": Window((8,) * 3, 6, (1, 28, 28), CLASSES, halve=(2, 3)),
}
#: What the work model is fitted to, and what shows whether it holds for other depths and steps.
FITTED = [(size, (c,) * 3, 6) for size in (1, 4, 8) for c in (1, 2, 4, 8, 12, 16)]
OTHERS = [(4, (8,) * layers, steps) for layers, steps in ((1, 6), (2, 6), (6, 6), (3, 1), (3, 2), (3, 12))]


def course(population: int, image: tuple[int, int, int], device: str) -> Course:
    """Return a course over random images, just large enough to measure."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(BATCH * STEPS, *image, generator=generator)
    labels = torch.randint(CLASSES, (len(pixels),), generator=generator)
    settings = TrainingSettings(epochs=60, batch_size=BATCH, learning_rate=1e-5, solver="elimination", step_loss=0.2)
    members = [Pressures(1e-4, 1e-4, 1e-2, seed) for seed in range(population)]
    return Course(members, settings, Images(pixels, labels).to(device))


def fresh(course: Course, members: Sequence[int], window: Window) -> Shard:
    """Return new, dense networks in one lattice."""
    lattice = Lattice(window, [course.members[m].seed for m in members]).to(course.images.pixels)
    return Shard(course, members, lattice, [0] * len(members), [window.steps] * len(members))


def training(shards: Iterable[Shard]) -> Callable[[], None]:
    """Return a function that makes a few training steps of all shards."""
    shards = list(shards)

    def run() -> None:
        for each in shards:
            each.advance(0, STEPS)

    return run


def show_sizes(device: str, rounds: int) -> None:
    """Print the time per network and step by population size, and where it is least."""
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


#: Work models: the term by size, and whether they are fitted to all lattices or to those of 3 layers and 6 steps alone.
MODELS = {
    "as in shard.py, 3 layers alone": ("channels", False),
    "as in shard.py": ("channels", True),
    "by channels and all that they send to": ("channels and outputs", True),
}


def terms(size: int, channels: tuple[int, ...], steps: int, pixels: int) -> dict[str, float]:
    """Return what a training step's time may be made of, with `pixels` of a whole batch."""
    by_channels = steps * sum(c + 1 for c in channels)
    up = steps * sum(channels[1:])
    sideways_and_down = (steps - 1) * (sum(channels) + sum(channels[:-1]))  # the last step sends only up
    return {
        "states": steps * len(channels),
        "channels": size * pixels * by_channels,
        "channels and outputs": size * pixels * (by_channels + up + sideways_and_down),
    }


def fit(rows: Tensor, ms: Tensor) -> Tensor:
    """Return the factors of the columns of `rows` with which the sum is closest to `ms`, relative to it."""
    return torch.linalg.lstsq(rows / ms[:, None], torch.ones_like(ms)[:, None]).solution[:, 0]


def show_fit(device: str, rounds: int, image: tuple[int, int, int]) -> None:
    """Print measured times, and how far the fitted work models are from them."""
    sizes = FITTED + OTHERS
    calls = {}
    for size, channels, steps in sizes:
        window = Window(channels, steps, image, CLASSES)
        calls[f"{size} {channels} {steps}"] = training([fresh(course(size, image, device), range(size), window)])
    least = fastest(calls, device, rounds, least=0.05)
    ms = torch.tensor(list(least.values()), dtype=torch.float64) / STEPS
    known = [terms(*size, BATCH * image[1] * image[2]) for size in sizes]
    print("| work model | a, ms | a / b | error, root of mean square | at most |")
    print("|---|---:|---:|---:|---:|")
    errors = []
    for name, (by_size, is_of_all) in MODELS.items():
        rows = torch.tensor([[term["states"], term[by_size]] for term in known], dtype=torch.float64)
        count = len(sizes) if is_of_all else len(FITTED)
        a, b = factors = fit(rows[:count], ms[:count])
        error = rows @ factors / ms - 1
        errors.append(error.tolist())
        mean, most = error[:count].square().mean().sqrt(), error[:count].abs().max()
        print(f"| {name} | {float(a):.3f} | {float(a / b):,.0f} | {float(mean):.0%} | {float(most):.0%} |")
    print(f"\n`shard.py` has a / b = {shard._FIXED_WORK:,} channels × pixels × images.\n")
    print(f"| {image[1]}×{image[2]}: P | channels | steps | ms |", " | ".join(MODELS), "|")
    print("|---:|---|---:|---:|" + "---:|" * len(MODELS))
    for (size, channels, steps), value, *error in zip(sizes, ms.tolist(), *errors, strict=True):
        shown = " | ".join(f"{e:+.0%}" for e in error)
        print(f"| {size} | {len(channels)} × {channels[0]} | {steps} | {value:.1f} | {shown} |")
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
        for side in (8, 14):
            show_fit(given.device, given.rounds, (1, side, side))


if __name__ == "__main__":
    main()
