"""Sweeps of version 0.1 are listed, archived, renamed and deleted like those of this version."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from sweeper.checks.audit import audit
from sweeper.ledger.home import Home

FRONT = ("pareto", "grid", "--json")


@pytest.fixture
def earlier(tmp_path):
    with tarfile.open(Path(__file__).parents[1] / "data" / "home-0.1.tar.xz") as packed:
        packed.extractall(tmp_path, filter="data")
    return Home(tmp_path / "sweeps")


def holds(home, name):
    return all(promise.holds for promise in audit(home.known(name), home.tracking_uri_of(name)))


def test_list_says_by_which_rules_they_are_measured(sweeper, earlier):
    rows = json.loads(sweeper("list", "--json", "--home", earlier.root)[1])
    assert [(row["name"], row["state"], row["done"], row["planned"], row["rules"]) for row in rows] == [
        ("grid", "finished", 4, 4, 2),
        ("search", "interrupted", 8, 16, 2),
    ]


def test_archive_is_read_and_made_a_sweep_again(sweeper, earlier, tmp_path):
    before = sweeper(*FRONT, "--home", earlier.root)
    assert sweeper("archive", "grid", "--home", earlier.root, "--no-report")[0] == 0
    assert sweeper(*FRONT, "--home", "grid.zip") == before
    assert sweeper("unarchive", "grid.zip", "--home", "other")[0] == 0
    assert sweeper(*FRONT, "--home", "other") == before
    assert holds(Home(Path("other")), "grid")


def test_renamed_one_keeps_every_promise_and_deleted_one_leaves_the_other_alone(sweeper, earlier):
    assert sweeper("rename", "grid", "old", "--home", earlier.root)[0] == 0
    assert holds(earlier, "old")
    assert sweeper("rename", "search", "sought", "--home", earlier.root)[0] == 0
    assert sweeper("delete", "old", "--yes", "--home", earlier.root)[0] == 0
    assert earlier.sweeps() == ["sought"]
    assert not [promise for promise in audit(earlier.known("sought"), earlier.tracking_uri) if promise.holds is False]
