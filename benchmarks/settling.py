"""Does a training that ends once its network has settled reach the same result as the whole budget?

Question and criterion were written down before the results. `training.until: settled` ends a network's training when
its loss, counts and expected time no longer change, see `model/settling.py`. How much may the two windows differ before
too much is lost?

Criterion, over seeds, for each pressure on space: the objective (training loss and all costs) and the accuracy on
validation images, settled minus the whole budget of the same seed, and the used share of the budget's updates. A
tolerance is good if the median objective is at most 0.02 nats higher, no seed's objective more than 0.05 nats higher,
and updates are saved.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace
from unittest.mock import patch

import torch

from sweeper.model import Pressures, Task, TaskDefinition, TrainingSettings, Window, load_task, train

BUDGET = TrainingSettings(None, 32, 3e-3, "elimination", 0.2, updates=5040, round_updates=90)
CHANNELS, STEPS, TIME_PRESSURE = (8, 8), 3, 0.05

#: λ_breadth, with λ_depth a quarter of it: 0, and two values that keep about half and a third of the channels on ten
#: digits.
PRESSURES = (0.0, 6e-3, 4e-2)

#: Largest differences of the loss between the two windows, in nats.
TOLERANCES = (0.005, 0.01, 0.02, 0.05)

Found = dict[str, float]


def ends(task: Task, seeds: Sequence[int], settings: TrainingSettings) -> list[Found]:
    """Train a network for every pressure and seed, pressure by pressure, and return their measurements."""
    window = Window(CHANNELS, STEPS, task.image, task.classes, standardize="images")
    members = [Pressures(p, p / 4, TIME_PRESSURE, seed) for p in PRESSURES for seed in seeds]
    return [dict(trained.measurement) for trained in train(task, window, members, settings)]


def row(whole: Sequence[Found], settled: Sequence[Found], label: str) -> str:
    """Return a row of the table: medians over seeds, with the worst seed in brackets."""
    costs = [after["objective"] - before["objective"] for before, after in zip(whole, settled, strict=True)]
    gains = [after["accuracy"] - before["accuracy"] for before, after in zip(whole, settled, strict=True)]
    used = [after["updates"] / before["updates"] for before, after in zip(whole, settled, strict=True)]
    return (
        f"| {label} | {statistics.median(used):.2f} ({min(used):.2f}–{max(used):.2f}) "
        f"| {statistics.median(costs):+.3f} ({max(costs):+.3f}) | {statistics.median(gains):+.3f} ({min(gains):+.3f}) "
        f"| {sum(one['channels'] != other['channels'] for one, other in zip(whole, settled, strict=True))} |"
    )


def main() -> None:
    """Train with every tolerance, and print a table for each task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", nargs="+", type=int, default=[10, 3], help="of the digits")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for classes in arguments.classes:
        task = load_task(TaskDefinition(classes=classes))
        whole = ends(task, arguments.seeds, BUDGET)
        print(f"### digits-{classes}, at most {BUDGET.updates:,} updates\n")
        print("| λ_breadth, tolerance in nats | share of updates used | objective | accuracy | other channels |")
        print("|---|---|---|---|---|")
        by_tolerance = {}
        for tolerance in TOLERANCES:
            with patch("sweeper.model.settling.LOSS_MOVES", tolerance):
                by_tolerance[tolerance] = ends(task, arguments.seeds, replace(BUDGET, until="settled"))
        count = len(arguments.seeds)
        for number, pressure in enumerate(PRESSURES):
            here = slice(number * count, (number + 1) * count)
            for tolerance, found in by_tolerance.items():
                print(row(whole[here], found[here], f"{pressure:g}, {tolerance:g}"))
        print(flush=True)


if __name__ == "__main__":
    main()
