"""Measures the epochs that early stopping saves, and the hypervolume that it costs, on one cell of digits."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from digits_cell import EPOCHS, OBJECTIVES, POPULATION, Trainings, a_spec, nodes, searched, volume

from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.job import Job, Progress
from sweeper.measurements import Objective
from sweeper.search.halving import goes_on
from sweeper.spec import LoadedSpec
from sweeper.spec.search_spec import EarlyStopping
from sweeper.tracking.memory import MemoryRecorder
from sweeper.training.train import train_population
from sweeper.trial import Ended

Measured = Mapping[str, float]
Row = Mapping[str, Mapping[int, Any]]

MIN_EPOCHS, FACTORS = (3, 5, 10), (2, 3, 4)


def stop_early(rows: Sequence[Row], rule: EarlyStopping, objectives: Sequence[Objective]) -> tuple[int, list[Measured]]:
    """Stop recorded trainings at the rungs of a rule, one population after the other, as with one worker.

    Returns:
        Epochs trained, and the measurements of the trainings that reached their end.
    """
    epochs, complete = 0, list[Measured]()
    here: dict[int, list[Measured]] = {rung: [] for rung in rule.rungs(EPOCHS)}
    for start in range(0, len(rows), POPULATION):
        going = list(rows[start : start + POPULATION])
        for rung, everyone in here.items():
            first = len(everyone)
            everyone += [row["at"][rung] for row in going]
            stays = [
                goes_on(everyone[n], everyone[:n] + everyone[n + 1 :], objectives, (), rule.factor)
                for n in range(first, len(everyone))
            ]
            epochs += rung * stays.count(False)
            going = [row for row, does in zip(going, stays, strict=True) if does]
        epochs += EPOCHS * len(going)
        complete += [row["at"][EPOCHS] for row in going]
    return epochs, complete


def front_volume(measured: Sequence[Measured]) -> float:
    """Return the worth of a search for the front: its hypervolume."""
    return volume(measured)


def useful_volume(measured: Sequence[Measured]) -> float:
    """Return the hypervolume above an accuracy of 0.5, so that collapsed networks do not count."""
    return volume(measured, 0.5)


def best_accuracy(measured: Sequence[Measured]) -> float:
    """Return the worth of a search for accuracy alone: the best accuracy."""
    return max((one["accuracy"] for one in measured), default=0.0)


@dataclass(frozen=True)
class Purpose:
    """The purpose of a search, and the worth of its results."""

    title: str
    objectives: Sequence[Objective]
    worth: Callable[[Sequence[Measured]], float]


PURPOSES = (
    Purpose("the front, by hypervolume", OBJECTIVES, front_volume),
    Purpose("the front, by hypervolume above accuracy 0.5", OBJECTIVES, useful_volume),
    Purpose("accuracy alone, by the best one", OBJECTIVES[:1], best_accuracy),
)


def simulated(draws: Sequence[Sequence[Row]], purpose: Purpose) -> list[str]:
    """Return a table of rules, each tried on every draw of settings from the grid."""
    found = [
        "| min_epochs | factor | epochs trained | kept, median | worst | as many epochs without stopping | worst |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for min_epochs, factor in product(MIN_EPOCHS, FACTORS):
        rule = EarlyStopping(min_epochs=min_epochs, factor=factor)
        trained, kept, fewer = [], [], []
        for draw in draws:
            whole = [row["at"][EPOCHS] for row in draw]
            worth = purpose.worth(whole)
            epochs, complete = stop_early(draw, rule, purpose.objectives)
            trained.append(epochs / (EPOCHS * len(draw)))
            kept.append(purpose.worth(complete) / worth)
            fewer.append(purpose.worth(whole[: round(epochs / EPOCHS)]) / worth)
        found.append(
            f"| {min_epochs} | {factor} | {statistics.median(trained):.2f} | {statistics.median(kept):.3f} "
            f"| {min(kept):.3f} | {statistics.median(fewer):.3f} | {min(fewer):.3f} |"
        )
    return found


def real(settings: int, rule: Mapping[str, int] | None) -> str:
    """Run a sweep of random settings through the driver, in this process; return a line of the table."""
    more = {"early_stopping": dict(rule)} if rule else {}
    search = {"sampler": "random", "trials": settings}
    spec = a_spec(parameters=searched(), search=search, **more)
    trained = 0

    def counted(job: Job, report: Callable[[Progress], None]) -> list[Ended]:
        def heard(progress: Progress) -> None:
            nonlocal trained
            trained += sum(1 for values in progress.values if values)
            report(progress)

        return train_population(job, heard)

    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        summary = Sweep(spec.name, folder).run(
            LoadedSpec(spec, "", Path("cell")), executor=InlineExecutor(), recorder=MemoryRecorder(), work=counted
        )
        used_s = time.process_time() - started
    says = f"{rule['min_epochs']} | {rule['factor']}" if rule else "none |"
    volumes = f"{summary.fronts[0].hypervolume:.2f}"
    return f"| {says} | {summary.counts.pruned} of {settings} | {trained} | {used_s:.0f} | {volumes} |"


def main() -> None:
    """Train the missing part of the grid, and print the effects of rules; or run one rule in real sweeps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path("digits_cell.json"), help="where trainings are kept")
    parser.add_argument("--workers", type=int, default=2, help="processes that train the grid")
    parser.add_argument("--settings", type=int, default=96, help="drawn from the grid, in each order")
    parser.add_argument("--orders", type=int, default=40)
    parser.add_argument("--real", type=int, default=0, help="settings of a sweep that is run with and without")
    parser.add_argument("--rule", nargs=2, type=int, default=(5, 3), help="min_epochs and factor of that run")
    arguments = parser.parse_args()
    if arguments.real:
        print("| min_epochs | factor | stopped | epochs | processor seconds | hypervolume |")
        print("|---:|---:|---:|---:|---:|---:|")
        for rule in (None, dict(zip(("min_epochs", "factor"), arguments.rule, strict=True))):
            print(real(arguments.real, rule), flush=True)
        return
    trainings = Trainings(arguments.cache)
    trainings.train(nodes(), arguments.workers)
    every = [trainings.rows[node] for node in nodes()]
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(every))[: arguments.settings] for _ in range(arguments.orders)]
    draws = [[every[number] for number in order] for order in orders]
    for purpose in PURPOSES:
        print(f"\n{purpose.title}; {arguments.settings} settings, {arguments.orders} orders, {EPOCHS} epochs\n")
        print("\n".join(simulated(draws, purpose)), flush=True)


if __name__ == "__main__":
    main()
