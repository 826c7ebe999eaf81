"""Paths of SQLite files as URIs: SQLAlchemy, Optuna and MLflow open exactly the meant file."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from sqlalchemy.engine import make_url

import sweeper
from sweeper import sqlite_uri
from sweeper.checks.audit import audit
from sweeper.driver.sweep import Sweep
from sweeper.errors import HomeError
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.spec import load_spec

#: Names of files that a URI, SQLAlchemy, SQLite, Optuna or MLflow could misread.
ODD = [
    "pct%20enc",
    "100%",
    "a%2Fb",
    "a b",
    "a#b",
    "we?ird=1&mode=memory",
    "{SCHEMA_VERSION}",
    "ümlaut 雪",
    "co:lon@x",
    "quo'te\"",
    "back\\slash",
    " lead",
    "file:x",
    "...",
]


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_every_path_is_opened_as_it_is_and_read_back(name):
    file = Path("/some folder", name, "mlflow.db")
    uri = sqlite_uri.uri_of(file)
    assert make_url(uri).database == str(file)
    assert sqlite_uri.file_of(uri) == file
    assert make_url(uri).query == {}


@pytest.mark.parametrize(
    "uri", ["http://host/x", "postgresql://host/db", "sqlite://", "sqlite:///:memory:", "sqlite:///"]
)
def test_what_means_no_file_is_none(uri):
    assert sqlite_uri.file_of(uri) is None


@pytest.mark.parametrize(("uri", "file"), [("sqlite:///my.db", "my.db"), ("sqlite:////x/a.db?timeout=3", "/x/a.db")])
def test_file_of_what_a_user_writes(uri, file):
    assert sqlite_uri.file_of(uri) == Path(file)


@pytest.mark.parametrize("name", ODD)
def test_optuna_and_mlflow_make_the_file_that_is_meant_and_nothing_else(tmp_path, name, empty_database):
    folder = tmp_path / name
    folder.mkdir()
    optuna.create_study(storage=optuna.storages.RDBStorage(sqlite_uri.uri_of(folder / "ledger.db")))
    shutil.copy(empty_database, folder / "mlflow.db")
    MlflowClient(sqlite_uri.uri_of(folder / "mlflow.db")).create_experiment("one", (folder / "artifacts").as_uri())
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        assert ("one",) in database.execute("SELECT name FROM experiments").fetchall()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert {path.name.partition("-")[0] for path in folder.iterdir()} == {"ledger.db", "mlflow.db"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pct%20enc", "we?ird #1", "{x} ümlaut"])
def test_sweep_in_a_home_of_any_name_is_driven_read_and_audited_there(tmp_path, name, empty_database):
    home = tmp_path / name
    home.mkdir()
    shutil.copy(empty_database, home / "mlflow.db")
    summary = Sweep("smoke", home).run(load_spec("smoke"), executor=InlineExecutor())
    assert (summary.counts.complete, summary.is_mirrored) == (8, True)
    loaded = sweeper.load_sweep("smoke", home=home)
    assert loaded.trials().num_rows == 8
    assert len(loaded.fronts()) == 2
    assert all(promise.holds for promise in audit(Home(home).known("smoke"), Home(home).tracking_uri_of("smoke")))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert sorted(path.name for path in home.iterdir()) == ["artifacts", "mlflow.db", "smoke"]


def test_before_sqlalchemy_reads_escapes_paths_stand_as_they_are_and_some_are_refused(monkeypatch):
    monkeypatch.setattr(sqlite_uri, "version", lambda _: "2.0.43")
    file = Path("/home/pct%20enc/a b#1.db")
    assert sqlite_uri.uri_of(file) == f"sqlite:///{file}"
    assert sqlite_uri.file_of(f"sqlite:///{file}") == file
    for name in ("we?ird", "{x}"):
        with pytest.raises(HomeError, match="in its path, which database addresses cannot hold"):
            Home(Path("/home") / name)
