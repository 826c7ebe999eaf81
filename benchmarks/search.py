"""How many trials each sampler needs to reach 95 % of a dense grid's hypervolume, on one cell of digits."""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from digits_cell import EPOCHS, RANGES, Trainings, a_spec, axes, nodes, searched, volume

from sweeper.driver.needs import population_size
from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.search.sampling import Known, Question, propose
from sweeper.spec import LoadedSpec, Sampler, SweepSpec
from sweeper.spec.search_spec import GP_MOST_TRIALS
from sweeper.tracking.memory import MemoryRecorder
from sweeper.training.forecast import MemoryBudget
from sweeper.trial import State

SHARE = 0.95
#: Memory for any population, so that only the search decides how many settings are proposed at once.
ROOM = MemoryBudget(machine_bytes=1 << 40, network_bytes=1 << 20, pixels=64)

Measured = Mapping[str, float]


class Table:
    """The trained grid in place of training: a setting gets the measurements of its nearest node, by ratios.

    Attributes:
        measured: Measurements of each node.
        floor: Accuracy above which networks count for the hypervolume.
        whole: Hypervolume of the grid.
    """

    def __init__(self, trainings: Trainings, floor: float) -> None:
        self.floor = floor
        self.measured = {node: trainings.rows[node]["at"][EPOCHS] for node in nodes()}
        self.whole = volume(list(self.measured.values()), floor)

    def answer(self, values: Mapping[str, Any]) -> Measured:
        """Return the measurements of the nearest node."""
        nearest = [
            min(axis, key=lambda node, value=values[name]: abs(np.log(node / value)))  # type: ignore[misc]
            for name, axis in zip(RANGES, axes(), strict=True)
        ]
        return self.measured[tuple(nearest)]

    def trials_needed(self, measured: Sequence[Measured]) -> int:
        """Return the number of measurements that reach the share, or one more than all if they do not."""
        low, high = 0, len(measured) + 1
        while high - low > 1:  # the volume only grows
            middle = (low + high) // 2
            low, high = (low, middle) if volume(measured[:middle], self.floor) >= SHARE * self.whole else (middle, high)
        return high

    def share(self, measured: Sequence[Measured]) -> float:
        """Return the hypervolume of measurements as a share of the grid's."""
        return volume(measured, self.floor) / self.whole


@dataclass(frozen=True)
class Search:
    """One way to search the cell.

    Attributes:
        sampler: Name of the sampler, with `+chebyshev` if the objectives are combined into one.
        trials: Trials in the spec; they decide how many settings are proposed at once, as in a sweep.
        most: Number of settings to propose nevertheless, to see when the share is reached.
        workers: Number of populations that are trained at a time.
        population: As in a spec's `placement`.
        subject_to: As in a spec's `search`.
    """

    sampler: str
    trials: int
    most: int
    workers: int
    population: int | str
    subject_to: tuple[str, ...] = ()

    def spec(self, seed: int) -> SweepSpec:
        """Return the search as a sweep."""
        sampler, _, scalarize = self.sampler.partition("+")
        search = {"sampler": sampler, "trials": self.trials, "subject_to": list(self.subject_to)}
        search |= {"scalarize": scalarize} if scalarize else {}
        return a_spec(seed=seed, parameters=searched(), search=search, placement={"population": self.population})


def search(table: Table, how: Search, seed: int) -> list[Measured]:
    """Search as a sweep does: each worker gets a population of proposals, and the oldest population ends first."""
    spec = how.spec(seed)
    size = population_size(spec, how.workers, ROOM)
    known: list[Known] = []
    running: deque[range] = deque()
    while len(known) < how.most:
        question = Question(spec, "cell", list(known), repeats=sum(one.note.get("repeats", 0) for one in known))
        found = propose(question, min(size, how.most - len(known)))
        running.append(range(len(known), len(known) + len(found)))
        known += [Known(one.values, State.RUNNING, note=one.to_note()) for one in found]
        if len(running) == how.workers:
            for number in running.popleft():
                one = known[number]
                known[number] = Known(one.values, State.COMPLETE, table.answer(one.values), one.note)
    return [table.answer(one.values) for one in known]


def grid_in_random_order(table: Table, seed: int) -> list[Measured]:
    """Return the grid's measurements in random order."""
    measured = list(table.measured.values())
    return [measured[number] for number in np.random.default_rng(seed).permutation(len(measured))]


def best_order(table: Table) -> list[Measured]:
    """Return the grid's measurements, each the one that adds most to those before it, which needs hindsight."""
    left, chosen = list(table.measured.values()), list[Measured]()
    while volume(chosen, table.floor) < SHARE * table.whole:
        best = max(range(len(left)), key=lambda number: volume([*chosen, left[number]], table.floor))
        chosen.append(left.pop(best))
    return chosen


def lines(table: Table, seeds: int, ways: Sequence[Search]) -> list[str]:
    """Return the table of results."""
    size, quarter = len(table.measured), len(table.measured) // 4
    columns = {"grid in random order": [grid_in_random_order(table, seed) for seed in range(seeds)]}
    with ProcessPoolExecutor(ways[0].workers, mp_context=multiprocessing.get_context("fork")) as pool:
        asked = {way: [pool.submit(search, table, way, seed) for seed in range(seeds)] for way in ways}
        columns |= {way.sampler: [one.result() for one in its] for way, its in asked.items()}
    needed = {name: [table.trials_needed(trace) for trace in traces] for name, traces in columns.items()}
    chance = statistics.median(needed["random"]) if "random" in needed else float("nan")
    found = [
        f"grid of {size} settings, hypervolume {table.whole:.2f}; in hindsight {len(best_order(table))} settings reach "
        f"{SHARE:.0%}; {ways[0].workers} populations of "
        f"{population_size(ways[0].spec(0), ways[0].workers, ROOM)} at a time, {seeds} seeds",
        "",
        f"| what proposes | trials to {SHARE:.0%}, median | range | by the grid | by random | share after {quarter} |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, counts in needed.items():
        longest = max(map(len, columns[name]))
        median, least, greatest = statistics.median(counts), min(counts), max(counts)
        words = [f"> {longest}" if count > longest else f"{count:g}" for count in (median, least, greatest)]
        is_known = median <= longest
        by_grid, by_chance = (f"{median / other:.2f}" if is_known else "" for other in (size, chance))
        share = statistics.median(table.share(trace[:quarter]) for trace in columns[name])
        found.append(f"| {name} | {words[0]} | {words[1]}–{words[2]} | {by_grid} | {by_chance} | {share:.3f} |")
    return found


def gp_seconds(table: Table) -> list[str]:
    """Return the time of a Gaussian process for one proposal, by the numbers of known and running trials."""
    spec = a_spec(parameters=searched(), search={"sampler": "gp", "trials": GP_MOST_TRIALS})
    chance = a_spec(parameters=searched(), search={"sampler": "random", "trials": 100})
    settings = [dict(zip(RANGES, corner, strict=True)) for corner in product(*RANGES.values())]
    settings += [dict(one.values) for one in propose(Question(chance, "cell", []), 100)]
    known = [Known(values, State.COMPLETE, table.answer(values)) for values in settings]
    found = ["| known trials | seconds for one proposal of gp | while six are being tried |", "|---:|---:|---:|"]
    for count in (20, 40, 60, 100):
        seconds = []
        for running in (0, 6):
            tried = [Known(values, State.RUNNING) for values in settings[count : count + running]]
            times = []
            for start in (0, 1, 2):
                started = time.process_time()
                propose(Question(spec, f"cell {start}", [*known[:count], *tried]), 1)
                times.append(time.process_time() - started)
            seconds.append(f"{statistics.median(times):.1f} ({min(times):.1f}–{max(times):.1f})")
        found.append(f"| {count} | {seconds[0]} | {seconds[1]} |")
    return found


def real(table: Table, how: Search, seed: int) -> str:
    """Search with real trainings, through a whole sweep in this process; return the result in words."""
    spec = how.spec(seed)
    with tempfile.TemporaryDirectory() as folder:
        sweep = Sweep(spec.name, folder)
        loaded = LoadedSpec(spec, "", Path("cell"))
        summary = sweep.run(loaded, executor=InlineExecutor(), workers=how.workers, recorder=MemoryRecorder())
    volumes = f"{summary.fronts[0].hypervolume:.2f}, {summary.fronts[0].hypervolume / table.whole:.3f} of the grid's"
    return f"seed {seed}: {summary.counts.complete} trainings with {how.sampler} reach {volumes}"


def main() -> None:
    """Train the missing part of the grid, search it, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path("digits_cell.json"), help="where trainings are kept")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2, help="populations at a time, and processes of this script")
    parser.add_argument(
        "--samplers",
        nargs="+",
        default=[*(s for s in Sampler if s is not Sampler.GP), "tpe+chebyshev"],
        help="also gp, which takes minutes a seed; +chebyshev scalarises",
    )
    parser.add_argument("--population", type=int, help="settings proposed at once, instead of what a sweep chooses")
    parser.add_argument("--floor", type=float, default=0.0, help="accuracy of the reference point")
    parser.add_argument("--subject-to", nargs="+", default=[], help="conditions, such as 'accuracy >= 0.5'")
    parser.add_argument("--without-corners", action="store_true", help="no search begins with the corners of the space")
    parser.add_argument("--real", type=int, metavar="SEED", help="search once by real trainings, a quarter of the grid")
    parser.add_argument("--gp-seconds", action="store_true", help="also time the proposals of gp")
    arguments = parser.parse_args()
    trainings = Trainings(arguments.cache)
    trainings.train(nodes(), arguments.workers)
    table = Table(trainings, arguments.floor)
    size, population = len(table.measured), arguments.population or "auto"
    ways = [
        Search(
            sampler,
            size // 4,
            size // 4 if sampler == Sampler.GP else size,  # each proposal takes seconds
            arguments.workers,
            population,
            tuple(arguments.subject_to),
        )
        for sampler in arguments.samplers
    ]
    if arguments.real is not None:
        print(real(table, ways[0], arguments.real))
        return
    without = (
        mock.patch("sweeper.search.sampling._corner", return_value=None) if arguments.without_corners else nullcontext()
    )
    with without:
        print("\n".join(lines(table, arguments.seeds, ways)))
    if arguments.gp_seconds:
        print("\n" + "\n".join(gp_seconds(table)))


if __name__ == "__main__":
    main()
