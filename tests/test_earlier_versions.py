"""Stored data outlives code: a home that version 0.1 wrote, before its code was split into rooms.

`data/home-0.1.tar.xz` holds a complete grid, and a search with replicates and early stopping whose driver was killed
in the middle: 4 of 16 trials complete, 4 stopped early, 8 open.
"""

from __future__ import annotations

import sys
import tarfile
from collections import Counter
from contextlib import closing
from html import unescape
from pathlib import Path

import pytest
import torch

import sweeper
from sweeper.checks.audit import audit
from sweeper.cli.run import main
from sweeper.driver.sweep import Sweep
from sweeper.errors import SpecMismatchError
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.ledger.open import read_ledger
from sweeper.results.differences import answered
from sweeper.results.find_network import find_network
from sweeper.results.report.page import report
from sweeper.rules import RULES, earlier_rules
from sweeper.spec import load_spec
from sweeper.trial import State

#: Folder in which the home was written.
WRITTEN_AT = "/home/user/sweeps"


@pytest.fixture
def home(tmp_path):
    """The home as it was written: its notes and databases name the former folder."""
    with tarfile.open(Path(__file__).parent / "data" / "home-0.1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    folder = tmp_path / "sweeps"
    assert (folder / "grid" / "tracking.txt").read_text().strip() == f"sqlite:///{WRITTEN_AT}/mlflow.db"
    return Home(folder)


@pytest.fixture
def command(home, monkeypatch):
    """A function that runs a command line in this process, and returns its exit code."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["sweeper", *words, "--home", str(home.root)])
        try:
            main()
        except SystemExit as ended:
            return ended.code or 0
        return 0

    return run


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


def test_interrupted_search_is_not_mixed_with_trials_of_todays_rules(home, tmp_path, command, capsys):
    before = records(home, "search")
    states = Counter(record.state for record in before.values())
    assert (states[State.COMPLETE], states[State.PRUNED]) == (4, 4)
    refused = "sweep 'search' is measured by the rules of version 0.1.* 8 of its 16 trials have no outcome"
    with pytest.raises(SpecMismatchError, match=refused):
        resumed(home, "search")
    spec = tmp_path / "search.yaml"
    spec.write_text(sweeper.load_sweep("search", home=home.root).spec_text)
    for words in (["resume", "search"], ["run", str(spec)]):
        assert command(*words) == 2
        said = capsys.readouterr().err
        assert "under another name with --name" in said
        assert "Traceback" not in said
    assert records(home, "search") == before


@pytest.mark.slow
def test_interrupted_search_is_mirrored_audited_and_reported_as_it_is(home):
    before = records(home, "search")
    assert Sweep("search", home.root).mirror().is_mirrored
    after = records(home, "search")
    assert after.keys() == before.keys()
    assert {k: r for k, r in after.items() if r.state.is_finished} == {
        k: r for k, r in before.items() if r.state.is_finished
    }
    all_promises_hold(home, "search")
    loaded = sweeper.load_sweep("search", home=home.root)
    assert str(earlier_rules(2)) in unescape(report(loaded))
    assert loaded.facts["measured"] == str(earlier_rules(2))


def test_complete_grid_that_is_to_grow_is_refused(home, tmp_path):
    text = sweeper.load_sweep("grid", home=home.root).spec_text
    assert "replicates" not in text
    (tmp_path / "grid.yaml").write_text(f"replicates: 2\n{text}")
    with pytest.raises(SpecMismatchError, match="the spec given is another one"):
        Sweep("grid", home.root).run(load_spec(tmp_path / "grid.yaml"), executor=InlineExecutor())


def test_status_says_by_which_rules_a_sweep_is_measured(home, command, capsys):
    for words in (["status", "grid"], ["pareto", "grid"], ["show", "9f0b26ba842784d7"]):
        assert command(*words) == 0
        assert str(earlier_rules(2)) in capsys.readouterr().err
    assert command("status", "grid", "--json") == 0
    assert str(earlier_rules(2)) in capsys.readouterr().out


def test_sweeps_of_different_rules_are_not_compared_in_silence(home):
    own, other = (sweeper.load_sweep("grid", home=home.root) for _ in range(2))
    (mine,) = own.fronts("digits-2-train60-test40")
    assert "RULES" not in answered(own, other, mine, mine).says
    other.__dict__["facts"] = {"rules": str(RULES)}
    answer = answered(own, other, mine, mine)
    assert f"NOT BY THE SAME RULES: grid is {earlier_rules(2)}" in answer.says
    assert answer.as_json()["other_measured"] == f"measured by rules {RULES}, today's"
    measured = [str(earlier_rules(2)), f"measured by rules {RULES}, today's"]
    assert own.indicators("digits-2-train60-test40", other)["measured"].to_pylist() == measured
    assert own.indicators("digits-2-train60-test40")["measured"].to_pylist() == measured[:1]


@pytest.mark.slow
def test_sweep_of_an_earlier_version_is_mirrored_anew(home):
    for file in home.root.glob("mlflow.db*"):
        file.unlink()
    assert Sweep("grid", home.root).mirror().is_mirrored
    assert sweeper.load_sweep("grid", home=home.root).trials().num_rows == 4
