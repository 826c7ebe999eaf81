"""Which solver of the costs reaches the better front, and whether one pressure means the same in every training."""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from sweeper.analysis.pareto import hypervolume
from sweeper.measurements import Goal
from sweeper.model import Lattice, Pressures, TaskDefinition, TrainingSettings, Window, load_task, train
from sweeper.model.costs import group_norms, scale_channels
from sweeper.model.proximal import proximal_step

Row = dict[str, Any]

OBJECTIVES = {"accuracy": Goal.MAXIMIZE, "breadth": Goal.MINIMIZE, "depth": Goal.MINIMIZE, "time": Goal.MINIMIZE}
REFERENCE = (0.0, 9.0, 4.0, 7.0)
#: The answer that needs no network is on every front, so that no variant gains by having killed one.
NO_NETWORK = {"accuracy": 0.1, "breadth": 0.0, "depth": 0.0, "time": 1.0}
#: Networks near chance fill most of the volume (no network at all is worth 21.6), so it is also given without them.
FLOORS = (0.0, 0.3, 0.5)

SEEDS = (0, 1, 2)
CALIBRATION_SEED = 9
TIME_PRESSURES = (0.05, 0.2)


@dataclass(frozen=True)
class Variant:
    """One way to put breadth and depth pressure on a network.

    Attributes:
        solver: As in `TrainingSettings`; what follows is for `proximal` only.
        form: `exact`, the product's own; `metric`, all weights of a group scaled alike, by the same threshold in Adam's
            metric; `plain`, the threshold on plain norms, as the product had it first.
        rank_memory: Ranks come from a moving average of the norms over so many steps; `plain` and `metric` only.
        ramp: Pressures rise linearly over this share of the training.
        grid_of: The variant whose calibration serves this one too, since λ is in the same units in both.
        stretch: Raises the grid's upper ends, where the short calibration left too much alive in a longer training.
    """

    solver: str = "proximal"
    form: str = "exact"
    rank_memory: int = 1
    ramp: float = 0.0
    grid_of: str = ""
    stretch: float = 1.0


VARIANTS = {
    "backprop": Variant("backprop"),
    "plain": Variant(form="plain"),
    "slow rank": Variant(form="plain", rank_memory=100, grid_of="plain"),
    "metric": Variant(form="metric", grid_of="exact"),
    "plain, ramp": Variant(form="plain", ramp=0.3, grid_of="plain"),
    "metric, ramp": Variant(form="metric", ramp=0.3, grid_of="exact, ramp", stretch=2),
    "exact": Variant(),
    "exact, ramp": Variant(ramp=0.3, stretch=2),
}


@dataclass(frozen=True)
class Condition:
    """Circumstances of a training, other than its pressures."""

    epochs: int = 24
    batch_size: int = 64
    learning_rate: float = 3e-3
    channels: int = 8
    layers: int = 3
    steps: int = 6


CONDITIONS = {
    "reference": Condition(),
    "lr 1.5e-3": Condition(learning_rate=1.5e-3),
    "lr 6e-3": Condition(learning_rate=6e-3),
    "batch 32": Condition(batch_size=32),
    "batch 128": Condition(batch_size=128),
    "12 epochs": Condition(epochs=12),
    "12 epochs, 16 × 3 × 6": Condition(epochs=12, channels=16),
    "48 epochs": Condition(epochs=48),
    "12 epochs, 12 × 4 × 8": Condition(epochs=12, channels=12, layers=4, steps=8),
}


class Shrinkage:
    """Stands in for `model.shard.proximal_step`; keeps its variant's own memory over one training.

    Every weight of a channel is scaled by max(0, 1 − lr · (λ_breadth · k + λ_depth · l) / norm), or exactly shrunk.
    """

    def __init__(self, variant: Variant, steps: int) -> None:
        self.variant, self.steps, self.step = variant, steps, 0
        self.slow: list[Tensor] = []

    @torch.no_grad()
    def __call__(self, lattice: Lattice, breadth_P: Tensor, depth_P: Tensor, optimizer: Optimizer) -> list[Tensor]:
        done, variant = self.step / self.steps, self.variant
        self.step += 1
        strength = min(1.0, done / variant.ramp) if variant.ramp else 1.0
        if variant.form == "exact":
            return proximal_step(lattice, strength * breadth_P, strength * depth_P, optimizer)
        plain = group_norms(lattice)
        self.slow = [s + (g - s) / variant.rank_memory for s, g in zip(self.slow or plain, plain, strict=True)]
        self.slow = [torch.where(g > 0, s, 0.0) for s, g in zip(self.slow, plain, strict=True)]
        norms = metric_norms(lattice, optimizer) if variant.form == "metric" else plain
        scales: list[Tensor] = []
        for layer, (slow_PC, norm_PC) in enumerate(zip(self.slow, norms, strict=True), start=1):
            rank_PC = slow_PC.argsort(dim=1, descending=True, stable=True).argsort(dim=1) + 1
            pressure_PC = breadth_P[:, None] * rank_PC + depth_P[:, None] * layer
            threshold_PC = strength * optimizer.param_groups[0]["lr"] * pressure_PC
            scales.append((1 - threshold_PC / norm_PC.clamp_min(1e-30)).clamp_min(0))
        dead = [(scale_PC == 0) | (g == 0) for scale_PC, g in zip(scales, plain, strict=True)]
        scale_channels(lattice, [torch.where(d, 0.0, scale_PC) for d, scale_PC in zip(dead, scales, strict=True)])
        return dead


def metric_norms(lattice: Lattice, optimizer: Optimizer) -> list[Tensor]:
    """Return ‖d·w‖ of every group, d = √v̂ + ε."""
    weighted = copy.deepcopy(lattice)
    group = optimizer.param_groups[0]
    for old, new in zip(lattice.parameters(), weighted.parameters(), strict=True):
        state = optimizer.state[old]
        v_hat = state["exp_avg_sq"] / (1 - group["betas"][1] ** float(state["step"]))
        new.mul_(v_hat.sqrt() + group["eps"])
    return group_norms(weighted)


def train_rows(variant: Variant, condition: Condition, members: Sequence[Pressures]) -> list[Row]:
    """Train one population on ten digits; return what is left of each network that stayed finite."""
    task = load_task(TaskDefinition(classes=10))
    window = Window((condition.channels,) * condition.layers, condition.steps, task.image, task.classes)
    settings = TrainingSettings(
        epochs=condition.epochs,
        batch_size=condition.batch_size,
        learning_rate=condition.learning_rate,
        solver=variant.solver,
        step_loss=0.2,
    )
    shrinkage = Shrinkage(variant, condition.epochs * (len(task.train) // condition.batch_size))
    # One lattice throughout: a variant's memory must not be moved, and rounding must not decide.
    with (
        mock.patch("sweeper.model.shard.proximal_step", shrinkage),
        mock.patch("sweeper.model.population.WORTH_MOVING", 2.0),
    ):
        results = train(task, window, members, settings)
    rows: list[Row] = []
    for member, trained in zip(members, results, strict=True):
        if trained.network is not None:
            norms = torch.cat([*group_norms(trained.network), torch.full((1, 1), torch.inf)], dim=1)
            rows.append({
                "seed": member.seed,
                "pressures": [member.breadth, member.depth, member.time],
                **{name: trained.measurement[name] for name in (*OBJECTIVES, "channels")},
                "channels_per_layer": trained.channels_per_layer,
                "weakest": norms.min().item() if trained.channels_per_layer else None,
            })
    return rows


def calibration() -> list[Pressures]:
    """Return breadth pressure alone and depth pressure alone, each over almost five powers of ten."""
    pressures = [4e-5 * 4**i for i in range(9)]
    alone = [(pressure, 0.0) for pressure in pressures] + [(0.0, pressure) for pressure in pressures]
    return [Pressures(breadth, depth, 0.1, CALIBRATION_SEED) for breadth, depth in alone]


def grid(rows: Iterable[Row], stretch: float) -> tuple[list[float], list[float]]:
    """Return four breadth and two depth pressures from a calibration.

    Breadth from where accuracy falls to 95 % of its best to where it falls to 50 %, equal ratios; depth from none to
    where it falls to 95 %, since the two add up. Accuracy and not channels, because every variant loses
    it sooner or later.
    """
    accuracy: dict[int, dict[float, float]] = {0: {}, 1: {}}
    for row in rows:
        breadth, depth, _ = row["pressures"]
        accuracy[0 if breadth else 1][breadth or depth] = row["accuracy"]

    def pressure_at(axis: int, share: float) -> float:
        pressures = sorted(accuracy[axis])
        # Accuracy falls with the pressure, but for noise; np.interp needs it to rise.
        falling = np.minimum.accumulate([accuracy[axis][pressure] for pressure in pressures])
        return float(np.exp(np.interp(-share * falling[0], -falling, np.log(pressures))))

    breadth = np.geomspace(pressure_at(0, 0.95), stretch * pressure_at(0, 0.5), 4)
    return breadth.tolist(), [0.0, stretch * pressure_at(1, 0.95)]


class Results:
    """Finished populations in a JSON file, by part, variant, condition and seed; a second start goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.populations: dict[str, list[Row]] = json.loads(path.read_text()) if path.exists() else {}

    def rows(self, *key: object) -> list[Row]:
        """Return a finished population, or nothing."""
        return self.populations.get(" | ".join(map(str, key)), [])

    def fill(self, key: Sequence[object], variant: Variant, condition: Condition, members: Sequence[Pressures]) -> None:
        """Train a population unless it is there, and write everything aside, then in place."""
        if self.rows(*key):
            return
        self.populations[" | ".join(map(str, key))] = train_rows(variant, condition, members)
        for path, text in (
            (self.path, json.dumps(self.populations, indent=1)),
            (self.path.with_suffix(".md"), tables(self)),
        ):
            aside = path.with_suffix(".part")
            aside.write_text(text)
            os.replace(aside, path)

    def grid(self, name: str) -> tuple[list[float], list[float]]:
        """Return a variant's own grid."""
        return grid(self.rows("calibration", VARIANTS[name].grid_of or name), VARIANTS[name].stretch)


def run(results: Results, part: str, names: Sequence[str], seeds: Sequence[int]) -> None:
    """Train what a part still lacks, its calibrations first."""
    for name in dict.fromkeys(VARIANTS[name].grid_of or name for name in names):
        results.fill(("calibration", name), VARIANTS[name], Condition(epochs=15), calibration())
    if part == "front":
        for seed, name in product(seeds, names):
            axes = *results.grid(name), TIME_PRESSURES
            members = [Pressures(*pressures, seed) for pressures in product(*axes)]
            results.fill((part, name, seed), VARIANTS[name], CONDITIONS["reference"], members)
    if part == "invariance":
        for (title, condition), name in product(CONDITIONS.items(), names):
            inner = results.grid(name)[0][1:3]
            members = [Pressures(breadth, 0.0, 0.1, seed) for breadth, seed in product(inner, seeds)]
            results.fill((part, name, title), VARIANTS[name], condition, members)


def volume(rows: Iterable[Row], floor: float) -> float:
    """Return the hypervolume of networks above an accuracy, together with the answer that needs none."""
    points = [[row[name] for name in OBJECTIVES] for row in (*rows, NO_NETWORK)]
    return hypervolume(points, list(OBJECTIVES.values()), (floor, *REFERENCE[1:]))


def tables(results: Results) -> str:
    """Return everything that is finished as Markdown."""
    return "\n".join([*_grid_lines(results), "", *_front_lines(results), "", *_invariance_lines(results)]) + "\n"


def _grid_lines(results: Results) -> Iterable[str]:
    yield from ("| variant | breadth pressures | depth pressures |", "|---|---|---|")
    for name, variant in VARIANTS.items():
        if results.rows("calibration", variant.grid_of or name):
            breadth, depth = results.grid(name)
            yield f"| {name} | {', '.join(f'{p:.2g}' for p in breadth)} | 0, {depth[1]:.2g} |"


def _front_lines(results: Results) -> Iterable[str]:
    titles = ["variant", "hypervolume", *(f"above accuracy {floor}" for floor in FLOORS[1:])]
    titles += ["best with 6, 12, 18 channels", "channels", "right ≤ 0.3", "weakest survivor"]
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    for name in VARIANTS:
        finished = {seed: rows for seed in SEEDS if (rows := results.rows("front", name, seed))}
        if not finished:
            continue
        columns = [name]
        for floor in FLOORS:
            volumes = [volume(rows, floor) for rows in finished.values()]
            columns.append(f"{', '.join(f'{value:.1f}' for value in volumes)}: {_mean_sd(volumes)}")
        best = [statistics.mean(_best(rows, most) for rows in finished.values()) for most in (6, 12, 18)]
        everyone = [row for rows in finished.values() for row in rows]
        channels = [row["channels"] for row in everyone]
        weakest = [row["weakest"] for row in everyone if row["weakest"]]
        poor = sum(row["accuracy"] <= 0.3 for row in everyone)
        columns += [
            ", ".join(f"{accuracy:.2f}" for accuracy in best),
            f"{min(channels):.0f}–{max(channels):.0f}, median {statistics.median(channels):.0f}",
            f"{poor} of {len(everyone)}",
            f"least {min(weakest):.2g}, median {statistics.median(weakest):.2g}",
        ]
        yield f"| {' | '.join(columns)} |"


def _best(rows: Iterable[Row], most: int) -> float:
    """Return the best accuracy with so many channels at most."""
    return max([row["accuracy"] for row in rows if row["channels"] <= most], default=NO_NETWORK["accuracy"])


def _invariance_lines(results: Results) -> Iterable[str]:
    yield from ("| variant | condition | λ_breadth | channels | accuracy | time |", "|---|---|---|---|---|---|")
    for name, title in product(VARIANTS, CONDITIONS):
        rows = results.rows("invariance", name, title)
        for pressure in sorted({row["pressures"][0] for row in rows}):
            figures = " | ".join(
                ", ".join(f"{row[key]:{form}}" for row in rows if row["pressures"][0] == pressure)
                for key, form in (("channels", ".0f"), ("accuracy", ".2f"), ("time", ".1f"))
            )
            yield f"| {name} | {title} | {pressure:.2g} | {figures} |"


def _mean_sd(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


def main() -> None:
    """Run one part and print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=["calibration", "front", "invariance"], default="front")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--json", type=Path, default=Path("solvers.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = Results(arguments.json)
    run(results, arguments.part, arguments.variants, arguments.seeds)
    print(tables(results), end="")


if __name__ == "__main__":
    main()
