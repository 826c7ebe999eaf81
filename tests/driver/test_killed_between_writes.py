"""A driver that is killed before any one of its ledger writes: the next driver ends with the same results."""

from __future__ import annotations

import pytest

from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.ledger.ledger import Ledger
from sweeper.ledger.studies import Studies
from sweeper.spec import load_spec
from sweeper.tracking.memory import MemoryRecorder
from sweeper.trial import Ended, Outcome, State

#: Two settings with two replicates each; the worse setting is stopped half way.
SPEC = """
name: killed
task: {data: digits, train_images: 60, test_images: 20}
lattice: {channels: 2, layers: 1, steps: 1}
parameters:
  classes: {values: [4]}
  breadth_pressure: {min: 0, max: 1e-2}
training: {epochs: 4, batch_size: 16}
search: {trials: 2, sampler: random}
replicates: 2
early_stopping: {min_epochs: 2, factor: 2}
placement: {population: 2}
objectives: [{name: accuracy, goal: maximize}]
reference_point: {accuracy: 0}
"""


class Killed(BaseException):
    """Ends a driver at once, as a kill signal would."""


def work(job, report):
    """Work whose accuracy is higher for a smaller pressure, and which pauses where the job asks for it."""
    outcome = None if job.until else Outcome.COMPLETE
    measured = [{"accuracy": 1 - setting["breadth_pressure"] + setting["seed"] / 1e6} for setting in job.settings]
    return [Ended(outcome, "", its) for its, is_wanted in zip(measured, job.wanted, strict=True) if is_wanted]


@pytest.fixture
def go(tmp_path):
    file = tmp_path / "killed.yaml"
    file.write_text(SPEC)

    def drive(home):
        sweep = Sweep("killed", tmp_path / home)
        return sweep.run(load_spec(file), executor=InlineExecutor(), recorder=MemoryRecorder(), work=work)

    return drive


def results(home):
    ledger = Ledger(Home(home).sweep("killed").ledger_url, "killed")
    return {
        record.key: (record.state, record.measurement, record.rungs, record.reason, record.population)
        for record in ledger.records()
    }


@pytest.mark.slow
def test_every_setting_is_judged_at_every_rung_whenever_the_driver_is_killed(go, tmp_path, monkeypatch):
    assert go("calm").is_finished
    expected = results(tmp_path / "calm")
    states = [state for state, *_ in expected.values()]
    assert min(states.count(State.COMPLETE), states.count(State.PRUNED)) > 0
    change, left = Studies.change, [0]

    def counted(studies, task, changes):
        if changes and not left[0]:
            raise Killed
        left[0] -= bool(changes)
        return change(studies, task, changes)

    monkeypatch.setattr(Studies, "change", counted)
    for before in range(100):  # number of writes before the kill
        left[0], home = before, f"killed-{before}"
        try:
            go(home)
        except Killed:
            left[0] = -1
            go(home)
            assert results(tmp_path / home) == expected, f"killed after {before} writes"
        else:
            break
    assert 5 < before < 99, "so many writes there are, about"
