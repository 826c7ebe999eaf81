"""A SQLite ledger uses a write-ahead log while a driver lives, and is one plain file before and after."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest

from sweeper.ledger.ledger import Ledger
from tests.ledger.test_ledger import FACTS, GOOD, loaded  # noqa: F401


def files(folder):
    return sorted(path.name for path in folder.glob("ledger.db*"))


def journal(folder):
    with closing(sqlite3.connect(folder / "ledger.db")) as file:
        return file.execute("PRAGMA journal_mode").fetchone()[0]


@pytest.fixture
def driven(tmp_path, loaded):  # noqa: F811
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db", "tiny", "a driver")
    ledger.plan(loaded, 4, FACTS)
    yield ledger
    ledger.close()


def test_file_is_written_ahead_while_a_driver_lives_and_single_afterwards(driven, tmp_path):
    assert journal(tmp_path) == "wal"
    driven.close()
    assert (files(tmp_path), journal(tmp_path)) == (["ledger.db"], "delete")
    assert len(Ledger(f"sqlite:///{tmp_path}/ledger.db", "tiny").records()) == 12
    driven.close()


def test_reader_sees_what_is_told_and_does_not_keep_the_driver_from_closing(driven, tmp_path):
    reader = Ledger(f"sqlite:///{tmp_path}/ledger.db", "tiny")
    population = driven.open_populations()[0]
    driven.claim(population, "me", 0)
    told = driven.tell_all(population, dict.fromkeys(population.keys, GOOD))
    assert [r for r in reader.records() if r.state.is_finished] == told
    driven.close()
    assert [r for r in reader.records() if r.state.is_finished] == told
    reader.close()
    again = Ledger(f"sqlite:///{tmp_path}/ledger.db", "tiny", "the next driver")
    assert [r for r in again.records() if r.state.is_finished] == told
    again.close()
    assert (files(tmp_path), journal(tmp_path)) == (["ledger.db"], "delete")


def test_reader_in_the_middle_of_something_leaves_the_file_as_it_is(driven, tmp_path):
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as reading:
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM trials").fetchone()
        driven.close()
    assert len(Ledger(f"sqlite:///{tmp_path}/ledger.db", "tiny").records()) == 12


def test_driver_that_was_killed_leaves_files_that_any_reader_understands(driven, tmp_path):
    population = driven.open_populations()[0]
    driven.claim(population, "me", 0)
    told = driven.tell_all(population, dict.fromkeys(population.keys, GOOD))
    killed = tmp_path / "killed"
    killed.mkdir()
    for name in files(tmp_path):  # copied while open, as a kill would leave them
        shutil.copy(tmp_path / name, killed / name)
    assert files(killed) == ["ledger.db", "ledger.db-shm", "ledger.db-wal"]
    reader = Ledger(f"sqlite:///{killed}/ledger.db", "tiny")
    assert [r for r in reader.records() if r.state.is_finished] == told
