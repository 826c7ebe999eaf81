"""Shared by search.py and stopping.py: one cell of digits, and its trainings, which are kept in a file."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from sweeper.analysis.pareto import hypervolume
from sweeper.job import Job, Progress
from sweeper.measurements import Goal, Objective
from sweeper.spec import LatticeSweep
from sweeper.training.train import train_population
from sweeper.trial import Outcome

EPOCHS = 24
#: Epochs, besides the last, after which everything is measured: all rungs of the rules that stopping.py compares.
MARKS = (3, 5, 6, 9, 10, 12, 15, 20)
RANGES = {"breadth_pressure": (5e-5, 1.5e-3), "depth_pressure": (5e-5, 1.5e-3), "time_pressure": (0.02, 0.5)}
#: Number of grid nodes along each range, at equal ratios.
NODES = (6, 5, 5)
GOALS = {"accuracy": "maximize", "breadth": "minimize", "depth": "minimize", "time": "minimize"}
OBJECTIVES = tuple(Objective(name, Goal(goal)) for name, goal in GOALS.items())
REFERENCE = {"accuracy": 0, "breadth": 9, "depth": 4, "time": 7}
#: Further measurements at every mark, besides the objectives.
BESIDE = ("cost_breadth", "cost_depth")
POPULATION = 8

Pressures = tuple[float, ...]


def a_spec(name: str = "cell", seed: int = 0, **more: Any) -> LatticeSweep:
    """Return a sweep of the cell, ten digits in a window of 3 × 8 channels and 6 steps; by default the dense grid."""
    grid = {pressure: {"values": list(nodes)} for pressure, nodes in zip(RANGES, axes(), strict=True)}
    return LatticeSweep.model_validate({
        "name": name,
        "seed": seed,
        "task": {"data": "digits"},
        "lattice": {"channels": 8, "layers": 3, "steps": 6, "time_selection": "confidence"},
        "parameters": grid,
        # The ranges of pressures suit this solver.
        "training": {"epochs": EPOCHS, "batch_size": 64, "learning_rate": 3e-3, "solver": "proximal"},
        "placement": {"population": POPULATION},
        "objectives": [{"name": name, "goal": goal} for name, goal in GOALS.items()],
        "reference_point": REFERENCE,
        **more,
    })


def searched() -> dict[str, dict[str, Any]]:
    """Return the pressures as ranges, for the section `parameters`."""
    return {n: {"distribution": "log_uniform_values", "min": low, "max": high} for n, (low, high) in RANGES.items()}


def axes() -> list[list[float]]:
    """Return the nodes of the dense grid along each range."""
    return [
        [float(f"{node:.4g}") for node in np.geomspace(low, high, count)]
        for (low, high), count in zip(RANGES.values(), NODES, strict=True)
    ]


def nodes() -> list[Pressures]:
    """Return the dense grid."""
    return list(product(*axes()))


def volume(measurements: Sequence[Mapping[str, float]], floor: float = 0.0) -> float:
    """Return the hypervolume of measurements above an accuracy."""
    goals = [objective.goal for objective in OBJECTIVES]
    rows = [[measured[name] for name in GOALS] for measured in measurements]
    return hypervolume(np.reshape(rows, (-1, len(goals))), goals, list({**REFERENCE, "accuracy": floor}.values()))


class Trainings:
    """Trained settings of the cell in a JSON file; a second start resumes.

    Attributes:
        rows: By pressures: measurements by epoch under `at`, and under `cpu_s` the network's share of its population's
            processor seconds until that epoch.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[Pressures, dict[str, dict[int, Any]]] = {}
        for row in json.loads(path.read_text()) if path.exists() else []:
            self.rows[tuple(row["pressures"])] = {
                part: {int(epoch): value for epoch, value in row[part].items()} for part in ("at", "cpu_s")
            }

    def train(self, settings: Sequence[Pressures], workers: int) -> None:
        """Train the missing settings in populations, in `workers` processes."""
        left = [pressures for pressures in settings if pressures not in self.rows]
        batches = [left[start : start + POPULATION] for start in range(0, len(left), POPULATION)]
        np.random.default_rng(0).shuffle(batches)  # so that a part of the batches represents the whole
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            for done in as_completed([pool.submit(train_with_marks, batch) for batch in batches]):
                self.rows |= done.result()
                self._write()
                print(f"{len(self.rows)} settings trained", flush=True)

    def _write(self) -> None:
        aside = self.path.with_suffix(".part")
        aside.write_text(json.dumps([{"pressures": key, **row} for key, row in self.rows.items()]))
        os.replace(aside, self.path)


def train_with_marks(batch: Sequence[Pressures]) -> dict[Pressures, dict[str, dict[int, Any]]]:
    """Train a population as a sweep does, with a pause at every mark; pauses change no result."""
    base = a_spec().settings()[0]
    settings = [base.model_copy(update=dict(zip(RANGES, pressures, strict=True))) for pressures in batch]
    rows: dict[Pressures, dict[str, dict[int, Any]]] = {pressures: {"at": {}, "cpu_s": {}} for pressures in batch}
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        for until in (*MARKS, None):
            job = Job(
                key="population",
                task="digits",
                keys=tuple(str(number) for number in range(len(batch))),
                settings=tuple(setting.flat() for setting in settings),
                wanted=(True,) * len(batch),
                checkpoint=str(Path(folder, "population")),
                until=until,
            )
            ended = train_population(job, _unheard)
            used_s = (time.process_time() - started) / len(batch)
            for row, member in zip(rows.values(), ended, strict=True):
                if member.outcome not in (None, Outcome.COMPLETE):
                    raise RuntimeError(member.reason)
                row["at"][until or EPOCHS] = {name: member.measurement[name] for name in (*GOALS, *BESIDE)}
                row["cpu_s"][until or EPOCHS] = used_s
    return rows


def _unheard(progress: Progress) -> None:
    """Ignore a progress report."""
