"""Drivers that are killed or interrupted, on the real Ray, SQLite and MLflow, through the command line."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import mlflow
import pytest

from sweeper.execute import InlineExecutor
from sweeper.home import Home
from sweeper.plan import Ledger
from sweeper.record import MemoryRecorder, read_front
from sweeper.spec import load_spec
from sweeper.sweep import Sweep
from sweeper.vocabulary import State

pytestmark = pytest.mark.slow

SPEC = """
name: fragile
task: {data: digits, train_images: 600, test_images: 100}
lattice: {channels: 6, layers: 2, steps: 4}
parameters:
  classes: {values: [4, 2]}
  breadth_pressure: {values: [0, 5e-4]}
  time_pressure: {values: [0.02, 0.2]}
training: {epochs: 30, batch_size: 16}
placement: {population: 2}
objectives:
  - {name: accuracy, goal: maximize}
  - {name: breadth, goal: minimize}
  - {name: time, goal: minimize}
reference_point: {accuracy: 0, breadth: 7, time: 5}
"""


class Cli:
    """The command line in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "fragile.yaml").write_text(SPEC)

    def start(self, *words):
        """Start a command in a process group of its own, as a terminal would."""
        return subprocess.Popen(
            [sys.executable, "-m", "sweeper", *words],
            cwd=self.folder,
            env={k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI" and not k.startswith("SWEEPER_")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words):
        process = self.start(*words)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    def ledger(self):
        return Ledger(Home(self.folder / "sweeps").sweep("fragile").ledger_url, "fragile")

    def checkpoints(self):
        found = (self.folder / "sweeps" / "fragile" / "checkpoints").glob("*.pt")
        return {path.name: path.stat().st_mtime_ns for path in found}

    def wait_for_training(self, process):
        """Wait until a checkpoint was written since now: then both workers are in the middle of something."""
        before = self.checkpoints()
        while self.checkpoints() == before:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)


@pytest.fixture
def cli(tmp_path):
    return Cli(tmp_path)


def finished(ledger):
    return {record.key: record for record in ledger.records() if record.state.is_finished}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The same sweep, run to the end in this process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "fragile.yaml").write_text(SPEC)
    recorder = MemoryRecorder()
    sweep = Sweep("fragile", folder / "sweeps")
    sweep.run(load_spec(folder / "fragile.yaml"), executor=InlineExecutor(), recorder=recorder)
    ledger = Ledger(Home(folder / "sweeps").sweep("fragile").ledger_url, "fragile")
    return {record.key: record for record in ledger.records()}, {front.task: front for front in recorder.fronts()}


def test_driver_killed_three_times_ends_with_the_sweep_of_one_that_was_not(cli, undisturbed):
    dice = random.Random(20261123)
    known = {}
    for words in (["run", "fragile.yaml"], ["resume", "fragile"], ["resume", "fragile"]):
        process = cli.start(*words, "--workers", "2")
        cli.wait_for_training(process)
        time.sleep(dice.uniform(0, 2.5))
        process.kill()
        process.communicate()
        now = finished(cli.ledger())
        assert known.items() <= now.items(), "a finished trial was run again"
        known = now
    assert len(known) < 8, "the kills came too late to test anything"
    code, out, err = cli.run("resume", "fragile", "--workers", "2")
    assert code == 0, err
    assert "8 trials: 8 complete" in out

    expected, fronts = undisturbed
    records = cli.ledger().records()
    assert known.items() <= finished(cli.ledger()).items(), "a finished trial was run again"
    assert Counter(record.key for record in records) == Counter(list(expected))
    assert {record.state for record in records} == {State.COMPLETE}
    assert {r.key: r.measurement for r in records} == {key: r.measurement for key, r in expected.items()}
    assert {r.key: list(r.curve) for r in records} == {key: list(r.curve) for key, r in expected.items()}
    assert max(record.attempt for record in records) > 1

    uri = f"sqlite:///{cli.folder}/sweeps/mlflow.db"
    assert_mirrored_once(uri, expected)
    for front in read_front(uri, "fragile"):
        assert front.table.equals(fronts[front.task].table)
        assert front.hypervolume == fronts[front.task].hypervolume
    code, out, _ = cli.run("audit", "fragile")
    assert (code, "9 of 9 promises hold" in out) == (0, True), out


def assert_mirrored_once(uri, expected):
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("fragile")
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    trials = [run for run in runs if run.data.tags["sweeper.kind"] == "trial"]
    assert Counter(run.data.tags["sweeper.trial_key"] for run in trials) == Counter(list(expected))
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in trials:
        assert run.data.metrics["accuracy"] == expected[run.data.tags["sweeper.trial_key"]].measurement["accuracy"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_driver_says_how_to_go_on_and_loses_at_most_an_epoch(cli, number, code):
    process = cli.start("run", "fragile.yaml", "--workers", "2")
    cli.wait_for_training(process)
    time.sleep(1)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # Ctrl-C reaches every process of the terminal's group
    else:
        process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "sweeper resume fragile" in out
    assert "Traceback" not in err
    ended, status, _ = cli.run("status", "fragile", "--json")
    counts = json.loads(status)
    assert ended == 0
    assert counts["running"] == 0
    assert counts["planned"] == counts["complete"] + counts["waiting"] == 8
    before = cli.checkpoints()
    process = cli.start("resume", "fragile", "--workers", "2")
    cli.wait_for_training(process)
    assert before.keys() <= cli.checkpoints().keys()
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "8 complete" in out


def test_second_driver_is_refused_and_names_the_first(cli):
    first = cli.start("run", "fragile.yaml", "--workers", "1")
    cli.wait_for_training(first)
    code, _, err = cli.run("resume", "fragile")
    assert code == 2
    assert f"process {first.pid}" in err
    first.kill()
    first.communicate()


def test_deleted_mlflow_database_comes_back_from_the_ledger(cli):
    code, _, err = cli.run("run", "fragile.yaml", "--workers", "2")
    assert code == 0, err
    uri = f"sqlite:///{cli.folder}/sweeps/mlflow.db"
    before = {front.task: front.table for front in read_front(uri, "fragile")}
    for path in [*(cli.folder / "sweeps").glob("mlflow.db*")]:
        path.unlink()
    code, out, err = cli.run("mirror", "fragile")
    assert (code, "8 complete" in out) == (0, True), err
    after = {front.task: front.table for front in read_front(uri, "fragile")}
    assert before.keys() == after.keys()
    assert all(before[task].equals(after[task]) for task in before)
    assert_mirrored_once(uri, {record.key: record for record in cli.ledger().records()})
