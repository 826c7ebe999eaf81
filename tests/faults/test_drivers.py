"""Drivers that are killed or interrupted, or that meet another one, on the real Ray, SQLite and MLflow."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter

import mlflow
import pytest

from sweeper.tracking.mlflow.reader import MlflowReader
from sweeper.trial import State
from tests.faults.rig import HALF, PATIENCE_S, SEARCH

pytestmark = pytest.mark.slow


def kill_three_times(cli, dice, latest_s):
    """Start a sweep and kill its driver three times while it trains; return the trials finished by then."""
    known = {}
    for words in (["run", "fragile.yaml"], ["resume", "fragile"], ["resume", "fragile"]):
        process = cli.start(*words, "--workers", "2")
        cli.wait_for_training(process)
        time.sleep(dice.uniform(0, latest_s))
        cli.kill(process)
        now = cli.finished()
        assert known.items() <= now.items(), "a finished trial was run again"
        known = now
    return known


@pytest.mark.rare
def test_driver_of_a_grid_killed_three_times_ends_with_the_sweep_of_one_that_was_not(
    new_cli, undisturbed, assert_undisturbed
):
    cli = new_cli()
    known = kill_three_times(cli, random.Random(20261123), 2.5)
    assert len(known) < 8, "the kills came too late to test anything"
    said = cli.end(cli.start("resume", "fragile", "--workers", "2"))
    assert "8 trials: 8 complete" in said
    records, (expected, fronts) = cli.records(), undisturbed
    assert known.items() <= records.items(), "a finished trial was run again"
    assert records.keys() == expected.keys()
    assert_undisturbed(cli)
    assert max(record.attempt for record in records.values()) > 1
    for front in MlflowReader(cli.tracking_uri, "fragile").fronts():
        assert front.table.equals(fronts[front.task].table)
        assert front.hypervolume == fronts[front.task].hypervolume
    cli.audit()


@pytest.mark.rare
def test_driver_of_a_search_killed_three_times_tries_every_setting_of_every_cell_once(new_cli):
    """Proposals depend on the order of outcomes, so nothing is compared with an undisturbed search."""
    cli = new_cli(SEARCH)
    known = kill_three_times(cli, random.Random(20261125), 1.5)
    assert len(known) < 12, "the kills came too late to test anything"
    said = cli.end(cli.start("resume", "fragile", "--workers", "2"))
    assert "12 trials" in said
    records = cli.records()
    assert known.items() <= records.items(), "a finished trial was run again"
    assert {record.state for record in records.values()} == {State.COMPLETE, State.PRUNED}
    cells = {}
    for record in records.values():
        cells.setdefault(record.task, {}).setdefault(record.setting_key, []).append(record.seed)
    assert [sorted(map(sorted, its.values())) for its in cells.values()] == [[[0, 1]] * 3] * 2
    client = mlflow.MlflowClient(cli.tracking_uri)
    runs = client.search_runs([client.get_experiment_by_name("fragile").experiment_id], "tags.`sweeper.kind` = 'trial'")
    assert Counter(run.data.tags["sweeper.trial_key"] for run in runs) == Counter(list(records))
    cli.audit()


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.rare),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.rare),  # its terminal was closed
    ],
)
def test_interrupted_driver_says_how_to_go_on_and_loses_at_most_an_epoch(new_cli, number, code, assert_undisturbed):
    cli = new_cli(HALF)
    process = cli.start("run", "fragile.yaml", "--workers", "2")
    cli.wait_for_training(process)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # Ctrl-C reaches every process of the terminal's group
    else:
        process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, err
    assert "sweeper resume fragile" in out
    assert "Traceback" not in err
    assert "received at time" not in err, "Ray's own handler would have the process aborted 3 s later"
    counts = cli.counts()
    assert counts["running"] == 0
    assert counts["planned"] == counts["complete"] + counts["waiting"] == 4
    cli.audit()
    before = cli.checkpoints()
    process = cli.start("resume", "fragile", "--workers", "2")
    cli.wait_for_training(process)
    assert before.keys() <= cli.checkpoints().keys()
    assert "4 complete" in cli.end(process)
    assert_undisturbed(cli)
    cli.audit()


@pytest.mark.rare
def test_driver_under_nohup_outlives_its_terminal(new_cli):
    cli = new_cli(HALF, before=("nohup",))
    process = cli.start("run", "fragile.yaml", "--workers", "2")
    cli.wait_for_training(process)
    os.killpg(process.pid, signal.SIGHUP)
    assert "4 complete" in cli.end(process)


@pytest.mark.rare
def test_second_driver_is_refused_while_the_first_lives_and_starts_when_it_is_dead(new_cli, assert_undisturbed):
    cli = new_cli(HALF)
    first = cli.start("run", "fragile.yaml", "--workers", "1")
    cli.wait_for_training(first)
    code, _, err = cli.run("resume", "fragile")
    assert code == 2
    assert f"process {first.pid}" in err
    cli.kill(first)
    assert cli.counts()["driver"] is None
    assert "4 complete" in cli.end(cli.start("resume", "fragile", "--workers", "2"))
    assert_undisturbed(cli)
    cli.audit()
