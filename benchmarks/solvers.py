"""Which solver of the costs reaches the better front, and whether one pressure means the same in every training."""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from model import Lattice, Pressures, TaskDefinition, TrainingSettings, Window, load_task, train
from model.costs import group_norms, scale_channels
from sweeper.front import hypervolume
from sweeper.vocabulary import Goal

Row = dict[str, Any]
Weights = dict[str, list[Tensor]]

#: A lattice's weights that count in a group norm.
CONNECTIONS = ("bottom_up", "lateral", "top_down", "readout", "hazard")

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
        is_in_metric: The threshold meets the group norm in Adam's diagonal metric, ‖d·w‖ with d = √v̂ + ε, which is
            the condition under which the exact proximal operator in that metric gives zero (Yun et al. 2021).
        rank_memory: Ranks come from a moving average of the norms over so many steps.
        ramp: Pressures rise linearly over this share of the training.
        grid_of: The variant whose calibration serves this one too, since λ is in the same units in both.
        stretch: Raises the grid's upper ends, where the short calibration left too much alive in a longer training.
    """

    solver: str = "proximal"
    is_in_metric: bool = False
    is_exact: bool = False
    rank_memory: int = 1
    ramp: float = 0.0
    grid_of: str = ""
    stretch: float = 1.0


VARIANTS = {
    "backprop": Variant("backprop"),
    "proximal": Variant(),
    "slow rank": Variant(rank_memory=100, grid_of="proximal"),
    "metric": Variant(is_in_metric=True, grid_of="exact"),
    "metric, own grid": Variant(is_in_metric=True),
    "proximal, ramp": Variant(ramp=0.3, grid_of="proximal"),
    "metric, ramp": Variant(is_in_metric=True, ramp=0.3, grid_of="exact, ramp", stretch=2),
    "exact": Variant(is_in_metric=True, is_exact=True),
    "exact, ramp": Variant(is_in_metric=True, is_exact=True, ramp=0.3, stretch=2),
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
    """Stands in for `model.training.proximal_step`; keeps its variant's own memory over one training.

    Every weight of a channel is scaled by max(0, 1 − lr · (λ_breadth · k + λ_depth · l) / norm).
    """

    def __init__(self, variant: Variant, steps: int) -> None:
        self.variant, self.steps, self.step = variant, steps, 0
        self.slow: list[Tensor] = []
        self.optimizer: Optimizer

    def see(self, optimizer: Optimizer, *_: object) -> None:
        """Note the optimizer after its step: the trained code need not hand it over."""
        self.optimizer = optimizer

    @torch.no_grad()
    def __call__(self, lattice: Lattice, breadth_P: Tensor, depth_P: Tensor, lr: float, *_: object) -> list[Tensor]:
        done, variant = self.step / self.steps, self.variant
        self.step += 1
        strength = min(1.0, done / variant.ramp) if variant.ramp else 1.0
        plain = group_norms(lattice)
        self.slow = [s + (g - s) / variant.rank_memory for s, g in zip(self.slow or plain, plain, strict=True)]
        self.slow = [torch.where(g > 0, s, 0.0) for s, g in zip(self.slow, plain, strict=True)]
        metric = self._metric(lattice) if variant.is_in_metric else None
        norms = group_norms(_weighted(lattice, metric)) if metric else plain
        thresholds: list[Tensor] = []
        scales: list[Tensor] = []
        for layer, (slow_PC, norm_PC) in enumerate(zip(self.slow, norms, strict=True), start=1):
            rank_PC = slow_PC.argsort(dim=1, descending=True, stable=True).argsort(dim=1) + 1
            thresholds.append(strength * lr * (breadth_P[:, None] * rank_PC + depth_P[:, None] * layer))
            scales.append((1 - thresholds[-1] / norm_PC.clamp_min(1e-30)).clamp_min(0))
        dead = [(scale_PC == 0) | (g == 0) for scale_PC, g in zip(scales, plain, strict=True)]
        if metric and variant.is_exact:
            shrink_exactly(lattice, metric, plain, thresholds)
            scales = [torch.ones_like(scale_PC) for scale_PC in scales]
        scale_channels(lattice, [torch.where(d, 0.0, scale_PC) for d, scale_PC in zip(dead, scales, strict=True)])
        return dead

    def _metric(self, lattice: Lattice) -> Weights:
        """Return d = √v̂ + ε of every weight that a channel touches."""
        group = self.optimizer.param_groups[0]

        def diagonal(weight: Tensor) -> Tensor:
            state = self.optimizer.state[weight]
            v_hat: Tensor = state["exp_avg_sq"] / (1 - group["betas"][1] ** float(state["step"]))
            return v_hat.sqrt() + float(group["eps"])

        return {name: [diagonal(weight) for weight in getattr(lattice, name)] for name in CONNECTIONS}


def _weighted(lattice: Lattice, metric: Weights) -> Lattice:
    """Return what `group_norms` reads of a lattice, every weight multiplied by its d."""
    weights = {name: [w * d for w, d in zip(getattr(lattice, name), metric[name], strict=True)] for name in CONNECTIONS}
    view = SimpleNamespace(window=lattice.window, is_adaptive=True, bias=lattice.bias, **weights)
    return cast(Lattice, view)


def _ends(weights: Weights, l: int, layers: int) -> list[Tensor]:
    """Return views of all that touches a layer's channels, each (P, C_l, …)."""
    views = [weights["bottom_up"][l], weights["lateral"][l], weights["lateral"][l].transpose(1, 2)]
    views += [weights["readout"][l].transpose(1, 2), weights["hazard"][l][..., None]]
    if l > 0:
        views.append(weights["top_down"][l - 1].transpose(1, 2))
    if l + 1 < layers:
        views += [weights["top_down"][l], weights["bottom_up"][l + 1].transpose(1, 2)]
    return views


def shrink_exactly(lattice: Lattice, metric: Weights, norms: list[Tensor], thresholds: list[Tensor]) -> None:
    """Apply argmin ½ Σ d·(w − w')² + τ·‖w‖ to every group on its own, in place, where it is not zero.

    The solution is w = w' · d / (d + τ / n), its norm n solves Σ (d·w' / (d·n + τ))² = 1. A weight between two
    channels is scaled by both, and a channel's weight on itself twice.
    """
    weights = {name: [weight.data for weight in getattr(lattice, name)] for name in CONNECTIONS}
    layers = lattice.window.layers
    factors: list[tuple[Tensor, Tensor]] = []
    for l, (start_PC, threshold_PC) in enumerate(zip(norms, thresholds, strict=True)):
        pairs = list(zip(_ends(weights, l, layers), _ends(metric, l, layers), strict=True))
        pulls = [((w * d).square().flatten(2), d.flatten(2)) for w, d in pairs]
        norm_PC = start_PC
        for _ in range(4):  # Newton on 1/√sum, which is linear in n when all d are equal
            sum_PC, slope_PC = torch.zeros_like(norm_PC), torch.zeros_like(norm_PC)
            for pull, d in pulls:
                below = d * norm_PC[..., None] + threshold_PC[..., None] + 1e-30
                sum_PC += (pull / below.square()).sum(2)
                slope_PC += (pull * d / below.pow(3)).sum(2)
            step_PC = sum_PC * (sum_PC.sqrt() - 1) / slope_PC.clamp_min(1e-30)
            norm_PC = (norm_PC + step_PC).clamp_min(1e-8).minimum(start_PC)
        for w, d in pairs:
            shape = (*norm_PC.shape, *[1] * (w.dim() - 2))
            factors.append((w, d / (d + (threshold_PC / norm_PC.clamp_min(1e-8)).reshape(shape))))
        factors.append((lattice.bias[l].data, norm_PC / start_PC.clamp_min(1e-8)))
    for weight, factor in factors:
        weight.mul_(factor)


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
        entropy_bonus=0.1,
    )
    shrinkage = Shrinkage(variant, condition.epochs * (len(task.train) // condition.batch_size))
    hook = register_optimizer_step_post_hook(shrinkage.see)
    with mock.patch("model.training.proximal_step", shrinkage):
        results = train(task, window, members, settings)
    hook.remove()
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
