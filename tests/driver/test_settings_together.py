"""Training settings in combination: a sweep that is stopped repeatedly ends like one that was not stopped."""

from __future__ import annotations

from contextlib import closing

import pytest

from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.ledger.open import read_ledger
from sweeper.model import load
from sweeper.tracking.memory import MemoryRecorder
from sweeper.trial import State

BEGINNING = """
name: together
task:
  {data: digits, classes: [1, 3, 5, 8], train_images: 200, validation_images: 80, test_images: 80,
   degradation: debris, level: 0.2}
objectives: [{name: accuracy, goal: maximize}, {name: time, goal: minimize}]
reference_point: {accuracy: 0, time: 9}
probes: {contrast: 0.5}
placement: {population: 4}
"""

SPECS = {
    "settled": """
lattice: {channels: 3, layers: 2, steps: 3, time_selection: state, bottom_up: next}
parameters: {breadth_pressure: {values: [0, 1e-2]}, time_pressure: {values: [0, 0.3]}}
training: {updates: 1600, until: settled, batch_size: 32, learning_rate: 1e-2}
early_stopping: {min_updates: 400, factor: 2}
""",
    "eliminated": """
lattice: {channels: 4, layers: 2, steps: 3, time_selection: confidence}
parameters: {breadth_pressure: {values: [2e-3, 1e-1]}, depth_pressure: {values: [0, 2e-2]}}
training: {updates: 400, batch_size: 32, learning_rate: 1e-2}
early_stopping: {min_updates: 200, factor: 2}
""",
    "feed-forward": """
lattice: {channels: 3, layers: 2, steps: 3, bottom_up: next}
parameters: {connections: {values: [all, feed_forward]}, breadth_pressure: {values: [2e-3, 1e-1]}}
training: {updates: 400, batch_size: 32, learning_rate: 1e-2}
""",
    "grown": """
lattice: {window: auto, memory_mib: 2, time_selection: confidence, bottom_up: next}
parameters: {breadth_pressure: {values: [1e-3, 2e-2]}, depth_pressure: {values: [0, 1e-2]}}
training: {updates: 400, batch_size: 32, learning_rate: 1e-2}
""",
}


def swept(path, home, every=None):
    """Run a sweep to its end; return its records and networks by key, and how often it was stopped.

    Args:
        path: Spec of the sweep.
        home: Folder for the sweep.
        every: Rounds after which the sweep is stopped, each time; None means never.
    """
    stops = 0
    while True:
        heard = []

        def note(snapshot, heard=heard):
            heard.append(snapshot.live().work)

        def is_enough(heard=heard):
            return every is not None and len(set(heard)) > every

        sweep = Sweep.load(path, home=home) if not stops else Sweep("together", home)
        summary = sweep.run(executor=InlineExecutor(), recorder=MemoryRecorder(), observe=note, should_stop=is_enough)
        if summary.is_finished:
            break
        stops += 1
    folder = Home(home).known("together")
    with closing(read_ledger(folder)) as ledger:
        records = {record.key: record for record in ledger.records()}
    networks = {
        key: load(file).state_dict()
        for key in records
        if (file := folder.network_here(key)) is not None and file.is_file()
    }
    return records, networks, stops


def known(record):
    """Return everything that is known about a trial except its times."""
    names = ("state", "outcome", "setting", "details", "curve", "measurement", "rungs", "reason")
    return {name: getattr(record, name) for name in names}


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECS)
def test_sweep_that_is_stopped_again_and_again_ends_as_one_that_was_not(name, tmp_path, monkeypatch):
    monkeypatch.setattr("sweeper.model.settling.LOSS_MOVES", 0.05)  # some networks settle within the short budget
    path = tmp_path / "together.yaml"
    path.write_text(BEGINNING + SPECS[name])
    records, networks, _ = swept(path, tmp_path / "whole")
    others, their_networks, stops = swept(path, tmp_path / "stopped", every=5 if name == "settled" else 2)
    assert stops >= 1
    assert {key: known(record) for key, record in others.items()} == {key: known(r) for key, r in records.items()}
    assert their_networks.keys() == networks.keys()
    for key, state in networks.items():
        assert all(value.equal(their_networks[key][part]) for part, value in state.items())
    complete = [record for record in records.values() if record.state is State.COMPLETE]
    assert complete
    assert all(record.measurement["probe.contrast.0.5.time"] >= 1 for record in complete)
    if name == "settled":
        assert any(record.measurement["updates"] < 1600 for record in complete), "nothing has settled"
        assert any(record.state is State.PRUNED for record in records.values())
    if name == "feed-forward":
        recurrent = {key for key, state in networks.items() if any("lateral" in part for part in state)}
        assert {records[key].axes["connections"] for key in recurrent} == {"all"}
    if name == "eliminated":
        sizes = {record.measurement["channels"] for record in complete}
        assert min(sizes) < 8, "nothing was eliminated"
