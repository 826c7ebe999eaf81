"""A tiny, really trained sweep, and made-up answers of people to its images: the material of findings."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.spec import load_spec
from sweeper.training.train import train_population

#: Four settings, five seeds, and everything that the claims F3 to F5 need.
ASKED = """
name: asked
task: {data: digits, classes: [0, 1, 4], train_images: 200, validation_images: 60, test_images: 90}
lattice: {channels: 3, layers: 2, steps: 4, time_selection: confidence}
parameters:
  breadth_pressure: {values: [0, 1e-3]}
  time_pressure: {values: [0, 0.1]}
replicates: 5
training: {updates: 60, batch_size: 32, learning_rate: 1e-2}
probes:
  debris: [0.1, 0.25, 0.4]
  occlude_beside: [0.1, 0.25, 0.4]
  contrast: 0.5
  noise: [0.05, 0.1, 0.2, 0.3, 0.4]
  blank: 1
lesions: [lateral, top-down, deepest]
objectives: [{name: accuracy, goal: maximize}, {name: time, goal: minimize}]
reference_point: {accuracy: 0, time: 5}
"""

#: A sweep that cannot support any claim.
SILENT = """
name: silent
task: {data: digits, classes: [0, 1], train_images: 60, validation_images: 30, test_images: 30}
lattice: {channels: 2, layers: 1, steps: 2, time_selection: fixed}
parameters: {breadth_pressure: {values: [0, 1e-2]}}
training: {updates: 4, batch_size: 32}
objectives: [{name: accuracy, goal: maximize}, {name: time, goal: minimize}]
reference_point: {accuracy: 0, time: 3}
"""


def swept(folder, empty_database, *specs):
    """Run sweeps in this process; return the address of the MLflow that holds them."""
    home = folder / "home"
    home.mkdir()
    shutil.copy(empty_database, home / "mlflow.db")
    for text in specs:
        file = folder / f"{text.split('name: ', 1)[1].split()[0]}.yaml"
        file.write_text(text)
        found = load_spec(file)
        Sweep(found.spec.name, home).run(found, executor=InlineExecutor(), work=train_population)
    return Home(home).tracking_uri


def answers(labels, path, classes=10, seed=0):
    """Write how many of 50 people chose each class for each image, in the form of CIFAR-10H."""
    rng = np.random.default_rng(seed)
    counts = []
    for label in labels:
        share = np.full(classes, rng.uniform(0, 0.5) / classes)
        share[label] += 1 - share.sum()
        counts.append(rng.multinomial(50, share).tolist())
    table = pa.table({"test_index": np.arange(len(labels)), "label": np.asarray(labels), "counts": counts})
    pq.write_table(table, path)
    return path


def reactions(path, experiment="noise", conditions=("0", "0.05", "0.1", "0.2", "0.3", "0.4"), people=6, seed=0):
    """Write people's reaction times under each level of a degradation, one row per trial."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "experiment": experiment,
            "condition": condition,
            "subject": f"person {person}",
            "rt_seconds": float(np.exp(0.1 * number - 0.5 + 0.1 * rng.normal())),
            "correct": bool(rng.random() < 0.9),
        }
        for number, condition in enumerate(conditions)
        for person in range(people)
        for _ in range(10)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path
