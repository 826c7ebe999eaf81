"""Which channels may elimination take in one stage, in windows of several layers?

Question and judges were written down before the results.

`fading_count` says how many channels of a network fade in a stage. The question is which. If all are of one layer, the
first stage of a large window takes a whole layer: 9 of 40 channels fade, and a layer has 8. That cuts off every layer
above, and without the first layer the network is empty.

Judges, at equal updates: (1) the objective that networks end with, training loss + prices, as the product reports it;
geometric mean over pressures and seeds. (2) The hypervolume of accuracy, channels, depth and time over the pressures of
a seed; an empty network has no part in it, because a right answer by chance at no cost would be worth more than most
networks. Beside them: networks that end empty, or with every channel of the window.

Variants:

- *one layer*: all from the layer whose weakest channel is worth least for its price;
- *but one*: the same, but that layer keeps a channel;
- *a third of each*: from several layers, those that are worth least first, and at most a third of each;
- *cutting off*: a quarter of a layer at a time; then worths are measured again, with the channels silenced that are
  chosen already. The last channel of a layer may go with all layers above it, and saves their prices too
  (until 2026-11-30, when a lot could also take it together with others);
- *lots*: the same, but the last channel of a layer stays as long as a layer above has any. This is what training does;
- *singly*: the same, one channel at a time.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from sweeper.analysis.pareto import hypervolume
from sweeper.measurements import Goal
from sweeper.model import Images, Pressures, Task, TaskDefinition, TrainingSettings, Window, load_task, train
from sweeper.model.counting import living_channels
from sweeper.model.elimination import fading_count, silent, weakest
from sweeper.model.shard import Shard

#: Where image files lie beside a checkout; see tests/model/test_tasks.py.
SHARED = Path(__file__).parents[2] / "shared" / "data"


def from_one_layer(spared: int) -> Callable[[Shard, Tensor, Images, int], list[Tensor]]:
    """Return what takes the place of `Shard.next_to_fade`: all from one layer, which keeps so many channels."""

    def next_to_fade(shard: Shard, may_fade_P: Tensor, images: Images, stages: int) -> list[Tensor]:
        def fading(row: int, worth_L: Sequence[float], channels_L: Sequence[int]) -> list[int]:
            layer = min(range(len(channels_L)), key=worth_L.__getitem__)
            most = min(fading_count(sum(channels_L), stages), max(1, channels_L[layer] - spared))
            return [most if l == layer else 0 for l in range(len(channels_L))]

        return _measured_once(shard, may_fade_P, images, fading)

    return next_to_fade


def from_several(share: float) -> Callable[[Shard, Tensor, Images, int], list[Tensor]]:
    """Return what takes the place of `Shard.next_to_fade`: at most this share of each layer, the least worth first."""

    def next_to_fade(shard: Shard, may_fade_P: Tensor, images: Images, stages: int) -> list[Tensor]:
        def fading(row: int, worth_L: Sequence[float], channels_L: Sequence[int]) -> list[int]:
            found, left = [0] * len(channels_L), fading_count(sum(channels_L), stages)
            for l in sorted(range(len(channels_L)), key=worth_L.__getitem__):
                found[l] = min(channels_L[l], max(1, round(share * channels_L[l])), left - sum(found))
            return found

        return _measured_once(shard, may_fade_P, images, fading)

    return next_to_fade


@torch.no_grad()
def _measured_once(
    shard: Shard,
    may_fade_P: Tensor,
    images: Images,
    fading: Callable[[int, Sequence[float], Sequence[int]], list[int]],
) -> list[Tensor]:
    living, order = living_channels(shard.lattice), weakest(shard.lattice)
    loss_P, worth, found = shard.loss_on(images), [], [torch.zeros_like(alive_PC) for alive_PC in living]
    for l, alive_PC in enumerate(living):
        with silent(shard.lattice, l, torch.zeros_like(alive_PC).scatter_(1, order[l][:, :1], True)):
            rise_P = (shard.loss_on(images) - loss_P).clamp_min(1e-3)
        price_P = shard.breadth_P * alive_PC.sum(1) + shard.depth_P * (l + 1)
        worth.append(torch.where(alive_PC.any(1), rise_P / price_P.clamp_min(1e-30), torch.inf))
    channels = [alive_PC.sum(1).tolist() for alive_PC in living]
    for row, may_fade in enumerate(may_fade_P.tolist()):
        channels_L = [its[row] for its in channels]
        if may_fade and any(channels_L):
            for l, count in enumerate(fading(row, [float(worth_P[row]) for worth_P in worth], channels_L)):
                found[l][row, order[l][row, :count]] = True
    return found


def prices_of_all_it_carries(living: Sequence[Tensor], breadth_P: Tensor, depth_P: Tensor) -> list[Tensor]:
    """Return what takes the place of `prices`: the last channel of a layer saves the layers above it too."""
    counts = [alive_PC.sum(1) for alive_PC in living]
    whole = [breadth_P * n * (n + 1) / 2 + depth_P * layer * n for layer, n in enumerate(counts, start=1)]
    found = []
    for l, count_P in enumerate(counts):
        above_P = sum(whole[l + 1 :], torch.zeros_like(breadth_P))
        found.append(breadth_P * count_P + depth_P * (l + 1) + torch.where(count_P == 1, above_P, 0.0))
    return found


#: What is replaced in the model, by its name there.
VARIANTS: Mapping[str, Mapping[str, object]] = {
    "one layer": {"shard.Shard.next_to_fade": from_one_layer(0)},
    "but one": {"shard.Shard.next_to_fade": from_one_layer(1)},
    "a third of each": {"shard.Shard.next_to_fade": from_several(1 / 3)},
    "cutting off": {
        "shard.prices": prices_of_all_it_carries,
        "shard.may_lose": lambda living: [alive_PC.any(1) for alive_PC in living],
    },
    "lots": {},
    "singly": {"shard.lot": lambda channels: 1},
}

#: What a network is judged by, beside its objective.
OBJECTIVES = ("accuracy", "channels", "depth", "time")


@dataclass(frozen=True)
class Setting:
    """What networks are trained on, and under which pressures.

    Attributes:
        learning_rate: Of Adam.
        pressures: λ_breadth, λ_depth and λ_time of each network of a seed.
        definition: The task; file names are of the shared folder.
        halve: Layers that halve the image.
    """

    learning_rate: float
    pressures: Sequence[tuple[float, float, float]]
    definition: TaskDefinition
    halve: tuple[int, ...] = ()

    def load(self) -> Task:
        """Return the task, or end the program where its files are missing."""
        definition = self.definition
        if definition.test is None:
            return load_task(definition)
        data, test = (str(SHARED / name) for name in (definition.data, definition.test))
        if not Path(data).is_file():
            raise SystemExit(f"{data} is not there. Leave out --data for the embedded digits.")
        return load_task(replace(definition, data=data, test=test))


_CLOTHES = TaskDefinition(data="fashion_mnist_train.parquet", test="fashion_mnist_test.parquet")

#: By name on the command line. The last one is a part of the sweep `growth-clothes`.
SETTINGS = {
    "digits": Setting(3e-3, [(p, p / 2, 0.1) for p in (2e-3, 6e-3, 1.5e-2, 4e-2)], TaskDefinition()),
    "clothes": Setting(
        4e-3,
        [(p, p / 2, 0.1) for p in (4e-3, 8e-3, 1.6e-2)],
        replace(_CLOTHES, train_images=4000, validation_images=500, test_images=500, resize=(14,)),
        (2,),
    ),
    "three-clothes": Setting(
        4e-3,
        [(breadth, 4e-2, time) for breadth in (5e-3, 3e-2) for time in (0.03, 0.1)],
        replace(_CLOTHES, train_images=6000, test_images=2000, classes=3),
        (2, 3),
    ),
}


def rows_of(variant: str, given: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Train one population under all pressures and seeds, and yield a row for each network."""
    setting = SETTINGS[given.data]
    task = setting.load()
    window = Window(
        (given.channels,) * given.layers,
        given.steps,
        task.image,
        task.classes,
        halve=setting.halve,
        standardize="images",
        time_selection=given.halting,
    )
    members = [Pressures(*pressures, seed) for seed in given.seeds for pressures in setting.pressures]
    settings = TrainingSettings(
        None, 32, setting.learning_rate, "elimination", 0.2, updates=given.updates, round_updates=90
    )
    started = time.perf_counter()
    with ExitStack() as replaced:
        for name, value in VARIANTS[variant].items():
            replaced.enter_context(patch(f"sweeper.model.{name}", value))
        results = train(task, window, members, settings)
    seconds = time.perf_counter() - started
    for member, trained in zip(members, results, strict=True):
        found = trained.measurement
        names = ("objective", "training_loss", *OBJECTIVES)
        yield {
            **{"variant": variant, "data": given.data, "window": f"{given.layers} × {given.channels}"},
            **{
                "updates": given.updates,
                "halting": given.halting,
                "pressure": member.breadth,
                "time_pressure": member.time,
                "seed": member.seed,
            },
            **{name: found[name] for name in names},
            **{"layers": trained.channels_per_layer, "seconds": seconds},
        }


def volume(rows: Sequence[Mapping[str, object]], given: argparse.Namespace) -> float:
    """Return the hypervolume of one seed's networks, in proportion correct × channels × layers × steps."""
    corner = (0.0, given.layers * given.channels + 1.0, given.layers + 1.0, given.steps + 1.0)
    goals = (Goal.MAXIMIZE, Goal.MINIMIZE, Goal.MINIMIZE, Goal.MINIMIZE)
    points = [tuple(float(str(row[name])) for name in OBJECTIVES) for row in rows if row["layers"]]
    return hypervolume(points, goals, corner)


def line(variant: str, rows: Sequence[Mapping[str, object]], given: argparse.Namespace) -> str:
    """Return a variant's row of the table."""

    def numbers(name: str) -> list[float]:
        return [float(str(row[name])) for row in rows]

    objective = math.exp(statistics.mean(math.log(value) for value in numbers("objective")))
    volumes = [volume([row for row in rows if row["seed"] == seed], given) for seed in given.seeds]
    depth, right, counts = (
        statistics.mean(numbers("depth")),
        statistics.median(numbers("accuracy")),
        numbers("channels"),
    )
    ends = f"{counts.count(0)}, {counts.count(given.layers * given.channels)} of {len(counts)}"
    cells = [f"{objective:.3f}", f"{statistics.mean(volumes):.0f}", f"{right:.2f}", f"{depth:.1f}"]
    return f"| {variant} | {' | '.join(cells)} | {statistics.mean(counts):.0f} | {ends} |"


def main() -> None:
    """Print one row for each variant; every network goes to a file of JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=SETTINGS, default="digits")
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--channels", type=int, default=8, help="of each layer")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--updates", type=int, default=1260)
    parser.add_argument("--halting", choices=("confidence", "fixed", "state"), default="confidence")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--variants", choices=VARIANTS, nargs="+", default=list(VARIANTS))
    parser.add_argument("--json", type=Path, help="append one line per network")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| variant | objective | volume | right | depth | channels | empty, full |\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    for variant in given.variants:
        rows = list(rows_of(variant, given))
        print(line(variant, rows, given), flush=True)
        if given.json:
            with given.json.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()
