"""A whole sweep with a search, bounds and early stopping, run twice: different test labels decide nothing."""

from __future__ import annotations

from collections import Counter
from contextlib import closing

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.ledger.open import read_ledger
from sweeper.model import load
from sweeper.tracking.memory import MemoryRecorder
from sweeper.trial import State
from tests.model.test_tasks import png, write_images

SPEC = """
name: sets
task: {data: train.parquet, test: test.parquet, classes: 3, train_images: 150, validation_images: 90}
lattice: {channels: 3, layers: 2, steps: 3}
parameters:
  breadth_pressure: {distribution: log_uniform_values, min: 1e-5, max: 1e-2}
  time_pressure: {min: 0, max: 0.5}
training: {epochs: 6, batch_size: 32, learning_rate: 1e-2}
search: {trials: 10, subject_to: accuracy >= 0.4}
early_stopping: {min_epochs: 1, factor: 2}
placement: {population: 2}
objectives: [{name: accuracy, goal: maximize}, {name: time, goal: minimize}, {name: loss, goal: minimize}]
reference_point: {accuracy: 0, time: 4, loss: 3}
fronts: [[accuracy, time]]
"""


def swept(folder, home):
    """Run the sweep in its own home; return its records by key, its fronts and its networks."""
    recorder = MemoryRecorder()
    summary = Sweep.load(folder / "sets.yaml", home=home).run(executor=InlineExecutor(), recorder=recorder)
    sweep = Home(home).known("sets")
    with closing(read_ledger(sweep)) as ledger:
        records = {record.key: record for record in ledger.records()}
    networks = {
        key: load(path) for key, record in records.items() if (path := sweep.network_here(key)) and path.is_file()
    }
    return records, summary.fronts, networks


def told_of_test(record):
    return {name: value for name, value in record.measurement.items() if name.startswith("test_")}


def decided(record):
    """Return everything that a sweep knows about a trial, except times and measurements on the test images."""
    measured = {name: value for name, value in record.measurement.items() if not name.startswith("test_")}
    return {
        **{name: getattr(record, name) for name in ("number", "state", "outcome", "setting", "details", "curve")},
        **{name: getattr(record, name) for name in ("population", "rungs", "note", "axes", "reason")},
        "measured": measured,
    }


@pytest.mark.slow
def test_shuffled_test_labels_change_what_is_reported_of_test_and_nothing_else(tmp_path):
    pixels, labels = (load_digits().images * 15).astype(np.uint8), load_digits().target
    is_test = np.arange(len(labels)) % 4 == 0
    (tmp_path / "sets.yaml").write_text(SPEC)
    write_images(tmp_path / "train.parquet", map(png, pixels[~is_test]), labels[~is_test].tolist())
    found = []
    for home in ("one", "other"):
        ours = labels[is_test] if home == "one" else np.random.default_rng(0).permutation(labels[is_test])
        write_images(tmp_path / "test.parquet", map(png, pixels[is_test]), ours.tolist())
        found.append(swept(tmp_path, tmp_path / home))
    (records, fronts, networks), (records_too, fronts_too, networks_too) = found

    states = Counter(record.state for record in records.values())
    assert states[State.COMPLETE] >= 2
    assert states[State.PRUNED] >= 1, "nothing was stopped early: the test says nothing of early stopping"
    assert records.keys() == records_too.keys()
    assert {key: decided(record) for key, record in records.items()} == {
        key: decided(record) for key, record in records_too.items()
    }
    told, told_too = ({key: told_of_test(record) for key, record in some.items()} for some in (records, records_too))
    assert told != told_too
    assert {key for key, values in told.items() if values} == {
        key for key, record in records.items() if record.state is State.COMPLETE
    }
    assert all("test_accuracy" not in point for record in records.values() for point in record.curve)
    for front, front_too in zip(fronts, fronts_too, strict=True):
        names = [name for name in front.table.column_names if not name.startswith("test_")]
        assert front.table.select(names).equals(front_too.table.select(names))
        assert front.hypervolume == front_too.hypervolume
    assert networks.keys() == networks_too.keys() != set()
    for key, network in networks.items():
        state, state_too = network.state_dict(), networks_too[key].state_dict()
        assert all((state[name] == state_too[name]).all() for name in state)
