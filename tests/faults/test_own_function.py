"""A sweep of a user's own function when its workers and driver are killed, or its function hangs."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults.rig import Cli, eventually, workers

pytestmark = [pytest.mark.slow, pytest.mark.rare]

SPEC = """
name: fragile
train: walks:train
parameters: {width: {values: [2, 4, 8]}, epochs: {value: 24}}
measures: {accuracy: share, cost: units}
objectives: [{name: accuracy, goal: maximize}, {name: cost, goal: minimize}]
reference_point: {accuracy: 0, cost: 20}
replicates: 2
early_stopping: {min_epochs: 6, factor: 2}
"""

#: A function whose result depends on every random number of every epoch.
WALKS = """
import random
import time

import numpy as np
import torch


def train(trial, width: int, epochs: int = 24, pause: float = 0.3):
    walked = trial.state or {"sum": 0.0, "tensor": torch.zeros(3)}
    for _ in trial.epochs(epochs):
        time.sleep(pause)
        walked = {
            "sum": walked["sum"] + random.random() + np.random.rand(),
            "tensor": walked["tensor"] + torch.randn(3) / width,
        }
        measured = (walked["sum"] + float(walked["tensor"].sum())) % 1
        trial.report(state=walked, accuracy=measured, cost=width)
"""


def swept(folder, spec=SPEC, code=WALKS):
    folder.mkdir()
    (folder / "walks.py").write_text(code)
    return Cli(folder, spec)


def ends(cli):
    return {key: (str(record.outcome), record.measurement, record.curve) for key, record in cli.records().items()}


def test_workers_and_driver_that_are_killed_leave_the_same_numbers_behind(tmp_path):
    whole = swept(tmp_path / "whole", code=WALKS.replace("time.sleep(pause)", "pass"))
    assert whole.run("run", "fragile.yaml", "--workers", "2")[0] == 0
    cli = swept(tmp_path / "struck")
    driver = cli.start("run", "fragile.yaml", "--workers", "2")
    cli.wait_for_training(driver)
    os.kill(eventually(lambda: workers(driver.pid), driver)[0], signal.SIGKILL)
    cli.wait_for_outcome(driver)
    cli.kill(driver)
    driver = cli.start("resume", "fragile", "--workers", "2")
    cli.wait_for_training(driver)
    driver.send_signal(signal.SIGTERM)
    driver.communicate()
    assert cli.run("resume", "fragile", "--workers", "2")[0] == 0
    cli.audit(promises=8)
    assert ends(cli) == ends(whole)


def test_function_that_hangs_and_never_reports_is_timed_out_and_the_others_go_on(tmp_path):
    code = "import time\ndef train(trial, width: int, epochs: int = 1):\n    time.sleep(10**6 if width == 8 else 0)\n"
    code += "    trial.report(accuracy=0.5, cost=width)\n"
    spec = SPEC.partition("replicates")[0] + "placement: {time_limit_s: 2}\n"
    cli = swept(tmp_path / "hangs", spec, code)
    assert cli.run("run", "fragile.yaml", "--workers", "2")[0] == 3
    outcomes = {record.axes["width"]: str(record.outcome) for record in cli.records().values()}
    assert outcomes == {2: "complete", 4: "complete", 8: "timed_out"}
    cli.audit(promises=8)
