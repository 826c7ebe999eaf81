"""Do pressures mean the same for every way of training a network, and which solver makes the most of them?

Question and criteria were written down before the results.

A pressure is the price of a channel or a step. So at one pressure every way of training should lead to the same
network: from scratch, from a network that was trained without pressure, from a small window that grows, and with half
or twice the updates. There are two criteria, at equal updates:

1. *The final objective of a network*: training loss + λ_breadth · breadth + λ_depth · depth + λ_time · time, as the
   product reports it, with each solver's own prices. Aims: medians over seeds of any route within 5 % of those from
   scratch, channels within 10 %; channels over seeds spread (largest − least) by at most a quarter of their median;
   counts stay the same if the budget is doubled.
2. *The hypervolume* of the networks over all pressures, from those that keep nearly all channels to those that keep
   nearly none: accuracy, channels, depth and time, with one reference point and one way of use (each image halts by the
   network's own rule; validation images). Aim: at least that of the former solvers.

Networks of a fixed size that never feel a pressure show what the objective could be: their loss with the same prices.

Compared with the product's solvers, through the product's own `train`, are:

- *risen*: the proximal step, with pressures that rise once the network has learned and are removed before the end;
- *weakest*: the same, on the weakest channel of each layer only;
- *squares*: squared norms in the loss, so that a price is the same share of every weight.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from sweeper.analysis.pareto import hypervolume
from sweeper.measurements import Goal
from sweeper.model import Lattice, Pressures, Task, TaskDefinition, Trained, TrainingSettings, Window, load_task, train
from sweeper.model.adam import Adam
from sweeper.model.costs import Prices, counted_costs, group_norms
from sweeper.model.counting import living_channels
from sweeper.model.growth import START_CHANNELS, START_STEPS, Growth
from sweeper.model.proximal import proximal_step

Row = dict[str, Any]

#: Folder of image files beside a checkout; see tests/model/test_tasks.py.
SHARED = Path(__file__).parents[2] / "shared" / "data"

CHANNELS, STEPS = (8, 8), 3
UPDATES, BATCH_SIZE, LEARNING_RATE, STEP_LOSS = 2520, 32, 3e-3, 0.2
TIME_PRESSURE, DEPTH_SHARE = 0.05, 0.25  # λ_depth is this share of λ_breadth

OBJECTIVES = {"accuracy": Goal.MAXIMIZE, "channels": Goal.MINIMIZE, "depth": Goal.MINIMIZE, "time": Goal.MINIMIZE}
REFERENCE = (0.0, 17.0, 3.0, 4.0)
#: Accuracy above which the hypervolume is also given, since networks near chance fill much of it.
FLOOR = 0.5

FIXED_SIZES = ((2, 2), (4,), (4, 2), (4, 4), (6, 4), (6, 6), CHANNELS)

Costs = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Schedule:
    """Replaces `model.shard.proximal_step`: pressures start late, rise linearly, stay, and are removed.

    Attributes:
        updates: Updates of the whole training.
        begins, risen, ends: Shares of the training.
    """

    updates: int
    begins: float = 0.25
    risen: float = 0.35
    ends: float = 0.8

    def __call__(self, lattice: Lattice, breadth_P: Tensor, depth_P: Tensor, optimizer: Adam) -> list[Tensor]:
        """Make the proximal step under the current share of the pressures."""
        done = float(optimizer.state[lattice.readout_bias]["step"]) / self.updates
        strength = (done - self.begins) / (self.risen - self.begins) if done < self.ends else 0.0
        if strength <= 0:
            return [norm_PC == 0 for norm_PC in group_norms(lattice)]
        strength = min(1.0, strength)
        return proximal_step(lattice, strength * breadth_P, strength * depth_P, optimizer)


@dataclass(frozen=True)
class WeakestOnly:
    """Replaces `model.proximal.Prices`: only the weakest living channel of a layer pays its price.

    Attributes:
        group_PC: Norms of the layer's channels.
        layer: Its number, from 1.
    """

    group_PC: Tensor
    layer: int

    @classmethod
    def of(cls, group_PC: Tensor, layer: int) -> WeakestOnly:
        """Return the prices in a layer."""
        return cls(group_PC, layer)

    def under(self, breadth_P: Tensor, depth_P: Tensor) -> Tensor:
        """Return the price of each channel of norm 1, shape (P, C)."""
        alive_PC = self.group_PC > 0
        weakest_P1 = torch.where(alive_PC, self.group_PC, torch.inf).argmin(1, keepdim=True)
        price_P1 = (breadth_P * alive_PC.sum(1) + depth_P * self.layer)[:, None]
        return torch.zeros_like(self.group_PC).scatter(1, weakest_P1, price_P1)


def squared_costs(lattice: Lattice) -> Costs:
    """Replace `model.costs.space_costs`: half the squares of the norms are priced."""
    half_squares = [norm_PC.square() / 2 for norm_PC in group_norms(lattice)]
    costs = [Prices.of(square_PC, layer).costs(square_PC) for layer, square_PC in enumerate(half_squares, start=1)]
    nothing_P = torch.zeros_like(lattice.readout_bias[:, 0])
    breadth_P, depth_P = (sum(axis, nothing_P) for axis in zip(*costs, strict=True)) if costs else (nothing_P,) * 2
    return breadth_P, depth_P


def present_costs(lattice: Lattice) -> Costs:
    """Replace `model.costs.space_costs`: living channels are priced, whatever their norms."""
    return counted_costs(living_channels(lattice), lattice.readout_bias[:, 0])


def _nothing(updates: int) -> dict[str, object]:
    return {}


def _risen(updates: int) -> dict[str, object]:
    return {"shard.proximal_step": Schedule(updates), "population.space_costs": present_costs}


def _weakest(updates: int) -> dict[str, object]:
    return {**_risen(updates), "proximal.Prices": WeakestOnly}


def _squares(updates: int) -> dict[str, object]:
    return {"shard.space_costs": squared_costs, "population.space_costs": squared_costs}


@dataclass(frozen=True)
class Variant:
    """One way to put breadth and depth pressure on a network.

    Attributes:
        solver: As in `TrainingSettings`.
        pressures: λ_breadth, from values that keep nearly all channels on ten digits to values that keep nearly none.
        replaced: Returns the replacements in the model, by name, for a training of a number of updates.
    """

    solver: str
    pressures: tuple[float, ...]
    replaced: Callable[[int], Mapping[str, object]] = _nothing


VARIANTS = {
    "elimination": Variant("elimination", (2e-3, 6e-3, 1.5e-2, 4e-2)),
    "proximal": Variant("proximal", (1e-5, 3e-4, 8e-4, 2e-3, 4e-3, 8e-3, 1.6e-2)),
    "backprop": Variant("backprop", (1e-4, 8e-4, 2e-3, 5e-3)),
    "risen": Variant("proximal", (2e-2, 5e-2, 7e-2, 1e-1), _risen),
    "weakest": Variant("proximal", (5e-2, 1e-1, 2e-1, 5e-1), _weakest),
    "squares": Variant("backprop", (1e-3, 3e-3, 5e-3, 1e-2), _squares),
    "fixed size": Variant("elimination", (0.0,)),
}


@dataclass(frozen=True)
class Route:
    """One way of training a network.

    Attributes:
        share: Share of the usual updates.
        channels: Window that the network begins with; None for the task's own.
        is_handed_over: Whether it begins with the weights of a network that was trained without pressure.
        grows: Whether its window grows, up to twice the memory of the usual window.
    """

    share: float = 1.0
    channels: tuple[int, ...] | None = None
    is_handed_over: bool = False
    grows: bool = False


ROUTES = {
    "from scratch": Route(),
    "trained before": Route(is_handed_over=True),
    "started small": Route(channels=(START_CHANNELS,), grows=True),
    "half the updates": Route(0.5),
    "twice the updates": Route(2.0),
}
SIZES = {" + ".join(map(str, sizes)): Route(channels=sizes) for sizes in FIXED_SIZES}


@dataclass(frozen=True)
class Data:
    """A task, and the layers of its networks that halve the image."""

    definition: TaskDefinition
    halve: tuple[int, ...] = ()


def data_of(name: str) -> Data:
    """Return a task by its name; an image file must lie beside the repository."""
    if name.startswith("digits-"):
        return Data(TaskDefinition(classes=int(name.removeprefix("digits-"))))
    train_file, test_file = (SHARED / f"{name}_{part}.parquet" for part in ("train", "test"))
    if not train_file.is_file():
        raise FileNotFoundError(f"{name} needs {train_file}, which is not there")
    counts = {"train_images": 3000, "validation_images": 750, "test_images": 100}
    return Data(TaskDefinition(data=str(train_file), test=str(test_file), **counts), halve=(1, 2))


@dataclass(frozen=True)
class Training:
    """Networks under all pressures of a variant, trained by one route, side by side.

    Attributes:
        task: Images.
        window: The usual window.
        variant: One of `VARIANTS`.
        route: One of `ROUTES` or `SIZES`.
        seeds: Seeds; every pressure gets one network per seed.
    """

    task: Task
    window: Window
    variant: Variant
    route: Route
    seeds: Sequence[int]

    @property
    def updates(self) -> int:
        """Number of training steps."""
        return round(UPDATES * self.route.share)

    def rows(self) -> dict[int, list[Row]]:
        """Train, and return by seed a row for each network that stayed finite."""
        pressures = self.variant.pressures
        members = [Pressures(p, DEPTH_SHARE * p, TIME_PRESSURE, seed) for seed in self.seeds for p in pressures]
        names = {f"sweeper.model.{name}": value for name, value in self.variant.replaced(self.updates).items()}
        if self.route.is_handed_over:
            names["sweeper.model.population.Lattice"] = self._handed_over()
        window, growth = self.window, None
        if self.route.channels:
            window = window.resized(self.route.channels, START_STEPS if self.route.grows else window.steps)
        if self.route.grows:
            # Steps take memory too: in the memory of the usual window, four steps would leave 6 + 6 of 8 + 8 channels.
            growth = Growth(2 * self.window.training_bytes(BATCH_SIZE))
        with _replaced(names):
            results = train(self.task, window, members, self._settings(self.variant.solver), growth=growth)
        found: dict[int, list[Row]] = {seed: [] for seed in self.seeds}
        for member, trained in zip(members, results, strict=True):
            if trained.network is not None:
                found[member.seed].append(_row(member, trained))
        return found

    def _settings(self, solver: str) -> TrainingSettings:
        return TrainingSettings(
            None, BATCH_SIZE, LEARNING_RATE, solver, STEP_LOSS, updates=self.updates, round_updates=90
        )

    def _handed_over(self) -> Callable[[Window, Sequence[int]], Lattice]:
        """Train a network of each seed without pressure on space, and return a function that makes lattices of them."""
        weights: dict[str, Tensor] = {}
        free = [Pressures(0.0, 0.0, TIME_PRESSURE, seed) for seed in self.seeds]
        # All networks stay in one lattice, so that the window and the names of the weights stay the same.
        with _replaced({"sweeper.model.population.WORTH_MOVING": 2.0}):
            train(
                self.task,
                self.window,
                free,
                self._settings("elimination"),
                report=lambda epoch: weights.update(epoch.state()["shards"][0]["lattice"]),
            )
        count = len(self.variant.pressures)
        kept = {name: weight.repeat_interleave(count, dim=0) for name, weight in weights.items()}

        def lattice_of(window: Window, seeds: Sequence[int]) -> Lattice:
            lattice = Lattice(window, seeds)
            lattice.load_state_dict(kept)
            lattice.entry.fill_(1)
            return lattice

        return lattice_of


@contextmanager
def _replaced(names: Mapping[str, object]) -> Iterator[None]:
    with ExitStack() as stack:
        for name, value in names.items():
            stack.enter_context(patch(name, value))
        yield


def _row(member: Pressures, trained: Trained) -> Row:
    found = trained.measurement
    names = (*OBJECTIVES, "objective", "training_loss", "cost_breadth", "cost_depth", "cost_time")
    return {"pressure": member.breadth, **{name: found[name] for name in names}, "layers": trained.channels_per_layer}


class Results:
    """Finished trainings in a JSON file, by task, variant, route and seed; a second start resumes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trainings: dict[str, list[Row]] = json.loads(path.read_text()) if path.exists() else {}

    def has(self, *key: object) -> bool:
        """Tell whether a training is finished."""
        return " | ".join(map(str, key)) in self.trainings

    def add(self, found: Mapping[tuple[object, ...], list[Row]]) -> None:
        """Add trainings, and replace the file with all of them."""
        self.trainings.update({" | ".join(map(str, key)): rows for key, rows in found.items()})
        aside = self.path.with_suffix(".part")
        aside.write_text(json.dumps(self.trainings, indent=1))
        os.replace(aside, self.path)

    def by_seed(self, *key: object) -> list[list[Row]]:
        """Return the rows of each finished seed."""
        beginning = " | ".join(map(str, key)) + " | "
        return [rows for name, rows in self.trainings.items() if name.startswith(beginning)]

    def pairs(self) -> list[tuple[str, str]]:
        """Return the finished pairs of task and variant, in order."""
        return list(dict.fromkeys((*name.split(" | ")[:2],) for name in self.trainings))  # type: ignore[misc]


def spread(values: Sequence[float], digits: int) -> str:
    """Return the median of some values, and their range."""
    middle, low, high = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({low}–{high})"


def route_table(results: Results, task: str, variant: str) -> Iterator[str]:
    """Yield the results of each route, and their ratios to those from scratch."""
    yield "| λ_breadth | route | seeds | objective | ratio | channels | ratio | accuracy |"
    yield "|---|---|---|---|---|---|---|---|"
    for pressure, route in product(VARIANTS[variant].pressures, ROUTES):
        rows, scratch = (
            [row for rows in results.by_seed(task, variant, name) for row in rows if row["pressure"] == pressure]
            for name in (route, "from scratch")
        )
        if rows:
            cells = [f"{pressure:g}", route, str(len(rows))]
            for name, digits in (("objective", 3), ("channels", 0)):
                values = [row[name] for row in rows]
                usual = statistics.median([row[name] for row in scratch]) if scratch else 0
                cells += [spread(values, digits), f"{statistics.median(values) / usual:.2f}" if usual else "–"]
            yield f"| {' | '.join([*cells, spread([row['accuracy'] for row in rows], 3)])} |"


def front_table(results: Results, task: str) -> Iterator[str]:
    """Yield the hypervolume of each variant, trained from scratch, over seeds."""
    yield f"| variant | seeds | hypervolume | above accuracy {FLOOR:g} | channels by pressure, medians |"
    yield "|---|---|---|---|---|"
    classes = int(task.removeprefix("digits-")) if task.startswith("digits-") else 10
    for variant, definition in VARIANTS.items():
        if seeds := results.by_seed(task, variant, "from scratch"):
            volumes = [spread([volume(rows, floor, classes) for rows in seeds], 1) for floor in (0.0, FLOOR)]
            counts = [
                statistics.median([row["channels"] for rows in seeds for row in rows if row["pressure"] == pressure])
                for pressure in definition.pressures
            ]
            cells = [variant, str(len(seeds)), *volumes, ", ".join(f"{count:g}" for count in counts)]
            yield f"| {' | '.join(cells)} |"


def volume(rows: Sequence[Row], floor: float, classes: int) -> float:
    """Return the hypervolume of networks above an accuracy, including the constant answer without a network."""
    nothing = {"accuracy": 1 / classes, "channels": 0.0, "depth": 0.0, "time": 1.0}
    points = [[row[name] for name in OBJECTIVES] for row in (*rows, nothing)]
    return hypervolume(points, list(OBJECTIVES.values()), (floor, *REFERENCE[1:]))


def size_table(results: Results, task: str) -> Iterator[str]:
    """Yield the objective that networks of each fixed size would have at the pressures of elimination."""
    pressures = VARIANTS["elimination"].pressures
    yield f"| channels | seeds | accuracy | {' | '.join(f'objective at {pressure:g}' for pressure in pressures)} |"
    yield "|---" * (3 + len(pressures)) + "|"
    for size in SIZES:
        if rows := [row for rows in results.by_seed(task, "fixed size", size) for row in rows]:
            cells = [size, str(len(rows)), spread([row["accuracy"] for row in rows], 3)]
            for p in pressures:
                prices = [p * (row["cost_breadth"] + DEPTH_SHARE * row["cost_depth"]) for row in rows]
                cells.append(spread([row["objective"] + price for row, price in zip(rows, prices, strict=True)], 3))
            yield f"| {' | '.join(cells)} |"


def tables(results: Results) -> str:
    """Return all finished trainings as Markdown."""
    lines: list[str] = []
    for task in dict.fromkeys(task for task, _ in results.pairs()):
        lines += [f"### {task}", "", *front_table(results, task), ""]
        for variant in (variant for its, variant in results.pairs() if its == task):
            table = size_table(results, task) if variant == "fixed size" else route_table(results, task, variant)
            lines += [variant, "", *table, ""]
    return "\n".join(lines)


def main() -> None:
    """Train the requested networks that are not in the file yet, and print the tables of all that are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["digits-10"], help="digits-2 to digits-10, or an image file")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["elimination"])
    parser.add_argument("--routes", nargs="+", choices=ROUTES, default=list(ROUTES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--json", type=Path, default=Path("objective.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = Results(arguments.json)
    for task in arguments.tasks:
        try:
            data = data_of(task)
        except FileNotFoundError as error:
            print(f"{task} is left out: {error}.")
            continue
        images = load_task(data.definition)
        window = Window(CHANNELS, STEPS, images.image, images.classes, halve=data.halve, standardize="images")
        for variant in arguments.variants:
            routes = SIZES if variant == "fixed size" else {name: ROUTES[name] for name in arguments.routes}
            for name, route in routes.items():
                if seeds := [seed for seed in arguments.seeds if not results.has(task, variant, name, seed)]:
                    found = Training(images, window, VARIANTS[variant], route, seeds).rows()
                    results.add({(task, variant, name, seed): rows for seed, rows in found.items()})
    print(tables(results), end="")


if __name__ == "__main__":
    main()
