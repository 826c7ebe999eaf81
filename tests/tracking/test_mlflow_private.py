"""Private names of MLflow: the pinned MLflow has them, and a missing one is handled."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from importlib.metadata import version
from types import SimpleNamespace

import pytest
from packaging.specifiers import SpecifierSet
from sqlalchemy import Engine

from sweeper import cache
from sweeper.checks.services import tracking
from sweeper.errors import TrackingError
from sweeper.tracking.mlflow import private
from sweeper.tracking.mlflow.client import connect, disconnect, login, schema_problem, settle
from tests.execution.test_ray_private import bounds_of

TABLES = ["create_sqlalchemy_engine", "_get_schema_version", "_get_latest_schema_revision"]


@pytest.fixture
def new(tmp_path):
    """Address of a database that does not exist yet; making its tables takes seconds."""
    return f"sqlite:///{tmp_path}/new.db"


@pytest.fixture
def uri(empty_database, tmp_path):
    return f"sqlite:///{shutil.copy(empty_database, tmp_path / 'mlflow.db')}"


@pytest.fixture
def no_login(monkeypatch, tmp_path):
    """The user's home folder, empty, without variables that name a login."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_versions_that_an_error_names_are_those_of_the_project():
    assert bounds_of("mlflow") == {str(SpecifierSet(private.TESTED))}
    assert SpecifierSet(private.TESTED).contains(version("mlflow"))


@pytest.mark.slow
def test_pinned_mlflow_makes_tables_and_tells_their_version(new):
    connect(f"{new}.in-place").search_experiments()
    assert private.make_tables(new)
    found, wanted = private.schema_versions(new)
    assert found == wanted
    assert found
    assert schema_problem(new) == ""


def test_pinned_mlflow_shows_its_engine(uri):
    assert isinstance(private.engine_of(connect(uri)), Engine)


def test_tables_of_another_version_are_told(uri):
    connect(uri)
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database, database:
        database.execute("update alembic_version set version_num = 'older'")
    assert "are of another version of MLflow (older, but" in schema_problem(uri)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["create_sqlalchemy_engine", "_initialize_tables"])
def test_without_its_names_mlflow_makes_its_tables_itself(new, monkeypatch, name, tmp_path):
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / "cache"))
    with monkeypatch.context() as without:
        without.delattr(f"mlflow.store.db.utils.{name}")
        assert not private.make_tables(f"{new}.other")
    monkeypatch.setattr("sweeper.tracking.mlflow.client.make_tables", lambda _: False)
    client = connect(new)
    assert client.create_experiment("any")
    assert [found.name for found in connect(new, is_reading=True).search_experiments()] == ["any", "Default"]


@pytest.mark.parametrize("name", TABLES)
def test_without_its_names_tables_are_not_compared_nor_touched_and_the_version_is_named(uri, monkeypatch, name):
    connect(uri)
    monkeypatch.delattr(f"mlflow.store.db.utils.{name}")
    with pytest.raises(TrackingError) as raised:
        schema_problem(uri)
    said = str(raised.value)
    assert said.startswith(f"MLflow {version('mlflow')} does not tell which tables it needs")
    assert name in said
    assert f"pip install 'mlflow{private.TESTED}'" in said
    (found,) = tracking(uri, SpecifierSet(private.TESTED))
    assert name in found.found


@pytest.mark.parametrize("gone", ["_tracking_client", "store", "engine"])
def test_without_its_engine_a_client_reads_writes_and_lets_go(uri, monkeypatch, gone):
    shown = connect(uri)
    assert shown.create_experiment("any")
    if gone == "_tracking_client":
        monkeypatch.delattr(shown, gone)
    else:
        store = shown._tracking_client.store
        hidden = {"store": {}, "engine": {"store": SimpleNamespace(search_experiments=store.search_experiments)}}
        monkeypatch.setattr(shown, "_tracking_client", SimpleNamespace(**hidden[gone]))
    assert private.engine_of(shown) is None
    settle(shown, uri)
    disconnect(shown, uri)
    again = connect(uri, is_reading=True)
    assert [found.name for found in again.search_experiments()] == ["any", "Default"]


@pytest.mark.slow
def test_client_without_an_engine_to_show_writes_as_mlflow_does_by_itself(new, monkeypatch):
    monkeypatch.setattr("sweeper.tracking.mlflow.client.engine_of", lambda _: None)
    client = connect(new)
    assert client.create_experiment("any")
    with closing(sqlite3.connect(new.removeprefix("sqlite:///"))) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)


@pytest.mark.parametrize("is_there", [True, False])
def test_login_is_the_one_that_mlflow_documents_with_its_name_and_without(no_login, monkeypatch, is_there):
    if not is_there:
        import mlflow.utils.credentials

        monkeypatch.delattr(mlflow.utils.credentials, "read_mlflow_creds")
    assert login() is None
    (no_login / ".mlflow").mkdir()
    (no_login / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = ann\nmlflow_tracking_password = 100%%\n"
    )
    assert login() == ("ann", "100%")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "other")
    assert login() == ("ann", "other")
