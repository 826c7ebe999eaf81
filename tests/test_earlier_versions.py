"""Stored data outlives code: a home that version 0.1 wrote, before its code was ordered into rooms.

`data/home-0.1.tar.xz` holds a grid that is complete, and a search with replicates and early stopping whose driver was
killed in the middle: 4 of 16 trials complete, 4 stopped early, 8 open.
"""

from __future__ import annotations

import sqlite3
import tarfile
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
import torch

import sweeper
from sweeper.checks.audit import audit
from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.ledger.open import read_ledger
from sweeper.results.find_network import find_network
from sweeper.results.report.page import report
from sweeper.trial import State

#: Where the home was when it was written.
WRITTEN_AT = "/home/user/sweeps"


@pytest.fixture
def home(tmp_path):
    """A copy of the home, moved: addresses in it are whole paths."""
    with tarfile.open(Path(__file__).parent / "data" / "home-0.1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    folder = tmp_path / "sweeps"
    for database in folder.rglob("*.db"):
        with closing(sqlite3.connect(database)) as connection, connection:
            _move(connection, str(folder))
    for note in folder.glob("*/tracking.txt"):
        note.write_text(note.read_text().replace(WRITTEN_AT, str(folder)))
    return Home(folder)


def _move(connection, folder):
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        for _, column, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
            connection.execute(
                f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) '
                f'WHERE typeof("{column}") = \'text\' AND instr("{column}", ?)',
                (WRITTEN_AT, folder, WRITTEN_AT),
            )


def resumed(home, name):
    return sweeper.resume(name, home=home.root, executor=InlineExecutor(), progress=False)


def all_promises_hold(home, name):
    promises = audit(home.known(name), home.tracking_uri_of(name, None))
    assert {promise.text: promise.said for promise in promises if not promise.holds} == {}
    assert len(promises) == 9


def records(home, name):
    with closing(read_ledger(home.known(name))) as ledger:
        return {record.key: record for record in ledger.records()}


@pytest.mark.slow
def test_complete_sweep_is_read_audited_and_reported(home):
    loaded = sweeper.load_sweep("grid", home=home.root)
    front = loaded.front("digits-2-train60-test40").to_pylist()
    assert [(row["key"], row["accuracy"], row["channels_per_layer"]) for row in front] == [
        ("9f0b26ba842784d7", 0.525, [2, 2])
    ]
    assert [round(front.hypervolume, 4) for front in loaded.fronts()] == [0.6716, 0.4146]
    assert loaded.front("digits-3-train60-test40", objectives=["accuracy", "time"]).num_rows == 1
    assert loaded.trials().num_rows == 4
    assert loaded.facts["version.sweeper"] == "0.1.0"
    all_promises_hold(home, "grid")
    page = report(loaded)
    assert all(key in page for key in loaded.trials()["key"].to_pylist())


def test_network_of_an_earlier_version_answers(home):
    network = sweeper.load_network(find_network(home, "9f0b26ba842784d7").path)
    assert network.description["key"] == "9f0b26ba842784d7"
    assert network(torch.rand(5, 1, 8, 8)).log_probs.shape == (5, 2)


@pytest.mark.slow
def test_resuming_a_complete_sweep_trains_nothing(home):
    before = records(home, "grid")

    def must_not_train(job, report):
        raise AssertionError("a finished trial was run again")

    summary = Sweep("grid", home.root).resume(executor=InlineExecutor(), work=must_not_train)
    assert summary.counts.complete == 4
    assert records(home, "grid") == before


@pytest.mark.slow
def test_interrupted_search_is_resumed_to_its_end_audited_and_reported(home):
    before = records(home, "search")
    finished = {key: record for key, record in before.items() if record.state.is_finished}
    assert Counter(record.state for record in finished.values()) == {State.COMPLETE: 4, State.PRUNED: 4}
    counts = resumed(home, "search").counts
    assert (counts.planned, counts.waiting, counts.running, counts.failed) == (16, 0, 0, 0)
    after = records(home, "search")
    assert {key: after[key] for key in finished} == finished, "what was finished stays as it was"
    assert before.keys() <= after.keys()
    all_promises_hold(home, "search")
    assert "search" in report(sweeper.load_sweep("search", home=home.root))


@pytest.mark.slow
def test_sweep_of_an_earlier_version_is_mirrored_anew(home):
    for file in home.root.glob("mlflow.db*"):
        file.unlink()
    assert Sweep("grid", home.root).mirror().is_mirrored
    assert sweeper.load_sweep("grid", home=home.root).trials().num_rows == 4
