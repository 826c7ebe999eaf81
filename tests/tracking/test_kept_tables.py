"""MLflow's empty tables are made once on a machine, and copied for every new home."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest

from sweeper import cache
from sweeper.tracking.mlflow import client as of_client
from sweeper.tracking.mlflow import private
from sweeper.tracking.mlflow.client import connect


@pytest.fixture
def kept(tmp_path, monkeypatch, empty_database):
    """The file of the tables in a cache; it has a mark by which a test recognizes a copy."""
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / "cache"))
    source = tmp_path / "made.db"
    shutil.copyfile(empty_database, source)
    with closing(sqlite3.connect(source)) as database, database:
        database.execute("delete from experiments")
        database.execute("pragma user_version = 41")
    cache.keep(f"mlflow-{private.tables_mark()}.db", source)
    return tmp_path / "cache" / f"mlflow-{private.tables_mark()}.db"


def mark_of(file):
    with closing(sqlite3.connect(file)) as database:
        return database.execute("pragma user_version").fetchone()[0]


def schema(file):
    with closing(sqlite3.connect(file)) as database:
        return set(database.execute("select type, name from sqlite_master"))


def test_new_home_gets_a_copy_with_an_experiment_of_its_own(kept, tmp_path, empty_database):
    for name in ("one", "two"):
        file = tmp_path / name / "mlflow.db"
        (found,) = connect(f"sqlite:///{file}").search_experiments()
        assert found.name == "Default"
        assert mark_of(file) == 41
        assert schema(file) == schema(empty_database)
        assert [each.name for each in file.parent.iterdir() if ".new" in each.name] == []
    with closing(sqlite3.connect(kept)) as database:
        assert database.execute("select count(*) from experiments").fetchone() == (0,)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["missing", "torn", "not a database", "of something else", "used"])
def test_what_is_no_empty_database_of_mlflow_is_made_anew_and_kept(kept, tmp_path, damage, empty_database):
    if damage == "missing":
        kept.unlink()
    elif damage == "torn":
        kept.write_bytes(kept.read_bytes()[:50_000])
    elif damage == "not a database":
        kept.write_bytes(b"x" * 10_000)
    elif damage == "of something else":
        kept.unlink()
        with closing(sqlite3.connect(kept)) as database, database:
            database.execute("create table runs (id)")
    else:
        shutil.copyfile(empty_database, kept)
    file = tmp_path / "home" / "mlflow.db"
    assert len(connect(f"sqlite:///{file}").search_experiments()) == 1
    assert schema(file) == schema(empty_database)
    assert of_client._is_whole(kept)
    assert len(connect(f"sqlite:///{tmp_path / 'next.db'}").search_experiments()) == 1


def test_tables_of_another_mlflow_have_another_mark(monkeypatch, tmp_path):
    mark = private.tables_mark()
    assert len(mark) == 16
    monkeypatch.setattr(private, "version", lambda _: "3.99")
    assert private.tables_mark() not in ("", mark)
    monkeypatch.setattr(private, "find_spec", lambda _: None)
    assert private.tables_mark() == ""


@pytest.mark.slow
def test_where_they_cannot_be_told_apart_they_are_made_as_ever(kept, tmp_path, monkeypatch):
    monkeypatch.setattr(of_client, "tables_mark", lambda: "")
    file = tmp_path / "home" / "mlflow.db"
    connect(f"sqlite:///{file}")
    assert mark_of(file) == 0
