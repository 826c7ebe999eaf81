"""How much of a layer may elimination take at once, and from how many layers, in windows of several layers?

Question and judge were written down before the results.

`fading_count` says how many channels of a network fade in a stage. The question is which. Until 2026-11-30 they were
all of the one layer whose weakest channel is worth least for its price. Then the first stage of a large window takes a
whole layer: 9 of 40 channels fade, and a layer has 8. That cuts off every layer above, and without the first layer the
network is empty.

Judge: the objective that networks end with, training loss + prices, as the product reports it; geometric mean over
pressures and seeds, at equal updates. Beside it: networks that end empty, or with every channel of the window.

Variants, by the largest share of a layer that fades in a stage:

- *one layer*: all from one layer;
- *but one*: all from one layer, which keeps a channel;
- *a half*, *a third*, *a quarter*: from several layers, those worth least for their price first.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from unittest.mock import patch

import torch

from sweeper.model import Pressures, Task, TaskDefinition, TrainingSettings, Window, load_task, train

#: Where image files lie beside a checkout; see tests/model/test_tasks.py.
SHARED = Path(__file__).parents[2] / "shared" / "data"

Fading = Callable[[Sequence[float], Sequence[int], int], list[int]]


def one_layer(spared: int) -> Fading:
    """Return what takes all channels from the one layer that is worth least, but so many."""

    def of(worth_L: Sequence[float], channels_L: Sequence[int], fading: int) -> list[int]:
        found = [0] * len(channels_L)
        layer = min(range(len(channels_L)), key=worth_L.__getitem__)
        found[layer] = min(fading, max(1, channels_L[layer] - spared))
        return found

    return of


def share(largest: float) -> Fading:
    """Return what takes at most this share of each layer, those worth least first."""

    def of(worth_L: Sequence[float], channels_L: Sequence[int], fading: int) -> list[int]:
        found = [0] * len(channels_L)
        for l in sorted(range(len(channels_L)), key=worth_L.__getitem__):
            found[l] = min(channels_L[l], max(1, round(largest * channels_L[l])), fading - sum(found))
        return found

    return of


VARIANTS: Mapping[str, Fading] = {
    "one layer": one_layer(0),
    "but one": one_layer(1),
    "a half": share(1 / 2),
    "a third": share(1 / 3),
    "a quarter": share(1 / 4),
}

#: By data: learning rate, λ_breadth (λ_depth is half of it), and λ_time.
SETTINGS = {
    "digits": (3e-3, (2e-3, 6e-3, 1.5e-2, 4e-2), 0.1),
    "fashion_mnist": (4e-3, (4e-3, 8e-3, 1.6e-2), 0.1),
}


def load(data: str) -> tuple[Task, tuple[int, ...]]:
    """Return a task, and the layers of its networks that halve the image."""
    if data == "digits":
        return load_task(TaskDefinition()), ()
    train_file, test_file = (SHARED / f"{data}_{part}.parquet" for part in ("train", "test"))
    if not train_file.is_file():
        raise SystemExit(f"{data} needs {train_file}, which is not there. Leave out --data for the embedded digits.")
    counts = {"train_images": 4000, "validation_images": 500, "test_images": 500}
    return load_task(TaskDefinition(data=str(train_file), test=str(test_file), resize=(14,), **counts)), (2,)


def rows_of(variant: str, given: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Train one population under all pressures and seeds, and yield a row for each network."""
    task, halve = load(given.data)
    rate, pressures, time_pressure = SETTINGS[given.data]
    window = Window(
        (given.channels,) * given.layers,
        given.steps,
        task.image,
        task.classes,
        halve=halve,
        standardize="images",
        time_selection=given.halting,
    )
    members = [Pressures(p, p / 2, time_pressure, seed) for seed in given.seeds for p in pressures]
    settings = TrainingSettings(None, 32, rate, "elimination", 0.2, updates=given.updates, round_updates=90)
    started = time.perf_counter()
    with patch("sweeper.model.shard.fading_by_layer", VARIANTS[variant]):
        results = train(task, window, members, settings)
    seconds = time.perf_counter() - started
    for member, trained in zip(members, results, strict=True):
        found = trained.measurement
        names = ("objective", "training_loss", "accuracy", "depth", "time")
        yield {
            **{"variant": variant, "data": given.data, "window": f"{given.layers} × {given.channels}"},
            **{"updates": given.updates, "halting": given.halting, "pressure": member.breadth, "seed": member.seed},
            **{name: found[name] for name in names},
            **{"layers": trained.channels_per_layer, "seconds": seconds},
        }


def line(variant: str, rows: Sequence[Mapping[str, object]], window: int) -> str:
    """Return a variant's row of the table."""

    def numbers(name: str) -> list[float]:
        return [float(str(row[name])) for row in rows]

    counts = [sum(layers) for row in rows if isinstance(layers := row["layers"], list)]
    objective = math.exp(statistics.mean(math.log(value) for value in numbers("objective")))
    depth, accuracy = statistics.mean(numbers("depth")), statistics.median(numbers("accuracy"))
    ends = f"{counts.count(0)}, {counts.count(window)} of {len(counts)}"
    return f"| {variant} | {objective:.3f} | {accuracy:.2f} | {depth:.1f} | {statistics.mean(counts):.0f} | {ends} |"


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
    print("| in a stage | objective | right | depth | channels | empty, full |\n|---|---|---|---|---|---|", flush=True)
    for variant in given.variants:
        rows = list(rows_of(variant, given))
        print(line(variant, rows, given.layers * given.channels), flush=True)
        if given.json:
            with given.json.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()
