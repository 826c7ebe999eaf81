"""A tour: one small sweep from a file to a stored front, read from top to bottom like a tutorial.

Here everything happens in this process, so that a reader can inspect each step: `InlineExecutor` trains one population
after another, and a recorder in memory keeps the outcomes. On the command line the same sweep is
`sweeper run tour.yaml`, with Ray Tune as the executor and MLflow as the recorder.
"""

from __future__ import annotations

import pytest

from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.populations import form_populations
from sweeper.spec import load_spec
from sweeper.tracking.memory import MemoryRecorder

SPEC = """
name: tour
task: {data: digits}                        # 1,797 real handwritten digits
lattice: {channels: 4, layers: 2, steps: 3} # the window every network starts in
parameters:
  classes: {values: [4, 2]}                 # two tasks: two cells, two fronts
  breadth_pressure: {values: [0, 0.5]}      # two prices of a channel
  time_pressure: {value: 0.05}              # one price of a step
training: {epochs: 4}
objectives:
  - {name: accuracy, goal: maximize}
  - {name: breadth, goal: minimize}
reference_point: {accuracy: 0, breadth: 5}
"""


@pytest.mark.slow
def test_tour_from_a_file_to_a_front(tmp_path):
    # A spec is a file. Loading reads it once, checks every rule, and returns an object that never changes.
    path = tmp_path / "tour.yaml"
    path.write_text(SPEC)
    loaded = load_spec(path)
    assert loaded.spec.tasks == ("digits-4", "digits-2")

    # A spec stands for a list of settings. A setting's key is a hash of everything that decides its result.
    settings = loaded.spec.settings()
    assert [(s.task.classes, s.breadth_pressure) for s in settings] == [(4, 0.0), (4, 0.5), (2, 0.0), (2, 0.5)]
    assert len({setting.key for setting in settings}) == 4

    # Settings that share task, lattice and training train side by side, as one population.
    populations = form_populations(settings, size=2)
    assert [population.task for population in populations] == ["digits-4", "digits-2"]

    # A run plans the sweep into a ledger, trains trials that have no outcome yet, and mirrors every outcome.
    sweep, recorder, seen = Sweep.load(path, home=tmp_path / "sweeps"), MemoryRecorder(), []
    summary = sweep.run(executor=InlineExecutor(), recorder=recorder, observe=lambda s: seen.append(s.counts.complete))
    assert (summary.counts.planned, summary.counts.complete, summary.is_finished) == (4, 4, True)
    assert seen == sorted(seen)
    assert recorder.trials.keys() == {setting.key for setting in settings}

    # A front holds the networks that no other network dominates, with its reference point.
    easy, hard = sorted(summary.fronts, key=lambda front: front.task)
    assert dict(hard.reference_point) == {"accuracy": 0, "breadth": 5}
    for front in (easy, hard):
        rows = front.table.to_pylist()
        print(front.task, [(round(row["accuracy"], 3), row["channels_per_layer"]) for row in rows])
        assert 1 <= len(rows) <= 2
        assert 0 < front.hypervolume < 5
        by_accuracy = [row["breadth"] for row in rows]
        assert by_accuracy == sorted(by_accuracy)  # along a front, better networks are broader
    # Two classes are easier than four.
    assert max(easy.table["accuracy"].to_pylist()) > max(hard.table["accuracy"].to_pylist())

    # A second run trains nothing: every trial has an outcome.
    def must_not_train(job, report):
        raise AssertionError("a finished trial was run again")

    again = sweep.resume(executor=InlineExecutor(), recorder=MemoryRecorder(), work=must_not_train)
    assert again.counts == summary.counts
