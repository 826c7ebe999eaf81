"""MLflow's SQLite file, read without MLflow, gives the same as MLflow's own client."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from sweeper.errors import TrackingError
from sweeper.tracking.mlflow.client import (
    KIND,
    SWEEP,
    artifact_paths,
    connect,
    connect_reading,
    disconnect,
    downloaded,
    schema_problem,
    search_runs,
    sweep_experiments,
)
from sweeper.tracking.mlflow.tables import KNOWN_VERSIONS, StoredTables


@pytest.fixture
def file(empty_database, tmp_path):
    return shutil.copy(empty_database, tmp_path / "a b%20c.db")


@pytest.fixture
def uri(file):
    return f"sqlite:///{str(file).replace('%', '%25')}"


@pytest.fixture
def client(uri):
    return MlflowClient(uri)


def filled(client, tmp_path):
    """Make two sweeps, a stranger's experiment and a deleted sweep; return the experiments' numbers."""
    numbers = []
    for name, tags in (("first", {SWEEP: "first"}), ("sec'ond", {SWEEP: "x"}), ("theirs", {}), ("gone", {SWEEP: "y"})):
        folder = (tmp_path / "arti facts" / name).as_uri()
        number = client.create_experiment(name, folder if name != "theirs" else str(tmp_path / "plain"), tags=tags)
        for begun in (30, 10, 20):
            kind = "sweep" if begun == 10 else "trial"
            run = client.create_run(number, begun, {KIND: kind, "ä 'quoted'": "'; --", "n": str(begun)})
            client.log_metric(run.info.run_id, "accuracy", 0.5)
            client.log_text(run.info.run_id, f"text of {begun}", "fronts/one.txt")
            client.log_text(run.info.run_id, "own", "spec.yaml")
            if begun == 30:
                client.set_terminated(run.info.run_id, "FAILED")
            if begun == 20:
                client.delete_run(run.info.run_id)
        numbers.append(number)
    client.delete_experiment(numbers[-1])
    return numbers


def told(run):
    return run.info.run_id, run.info.experiment_id, run.info.status, dict(run.data.tags)


def test_tables_say_what_mlflow_says(client, uri, tmp_path):
    numbers = filled(client, tmp_path)
    tables = connect_reading(uri)
    assert isinstance(tables, StoredTables)
    for name in ("first", "sec'ond", "theirs", "gone", "Default"):
        found, same = tables.get_experiment_by_name(name), client.get_experiment_by_name(name)
        assert (found.experiment_id, found.name, found.lifecycle_stage) == (
            same.experiment_id,
            same.name,
            same.lifecycle_stage,
        )
        assert found.tags == same.tags
    assert tables.get_experiment_by_name("none") is None
    for sweep in ("first", "y", "none"):
        same = client.search_experiments(ViewType.ALL, filter_string=f"tags.`{SWEEP}` = '{sweep}'")
        assert [one.experiment_id for one in tables.experiments_of(sweep)] == [one.experiment_id for one in same]
    assert [one.name for one in sweep_experiments(tables)] == [one.name for one in sweep_experiments(client)]
    for chosen in ([numbers[0]], numbers[:3]):
        for tags in ({KIND: "trial"}, {KIND: "sweep"}, {KIND: "trial", "n": "30"}, {KIND: "none"}):
            found, same = search_runs(tables, chosen, **tags), search_runs(client, chosen, **tags)
            assert [run.info.status for run in found] == [run.info.status for run in same]
            assert sorted(map(str, map(told, found))) == sorted(map(str, map(told, same)))
            for run in found:
                run_id = run.info.run_id
                for folder in ("", "fronts", "nothing"):
                    assert artifact_paths(tables, run_id, folder) == artifact_paths(client, run_id, folder)
                for path in ("fronts/one.txt", "spec.yaml"):
                    assert downloaded(tables, run_id, path) == downloaded(client, run_id, path)
                with pytest.raises(TrackingError, match=r"nothing\.txt of run .* cannot be read"):
                    downloaded(tables, run_id, "nothing.txt")


def test_artifacts_that_are_no_files_are_left_to_mlflow(client, uri, file, tmp_path):
    (number, *_) = filled(client, tmp_path)
    (run,) = search_runs(client, [number], **{KIND: "sweep"})
    tables = connect_reading(uri)
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE runs SET artifact_uri = 's3://bucket/runs'")
    assert tables.artifacts_of(run.info.run_id) is None
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE runs SET artifact_uri = 'file://another.host/runs'")
    assert tables.artifacts_of(run.info.run_id) is None


def test_nothing_is_written_and_the_file_is_let_go(uri, file):
    before = file.read_bytes()
    tables = connect_reading(uri)
    list(sweep_experiments(tables))
    disconnect(tables, uri)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_tables_of_the_mlflow_that_is_installed_are_known(uri, file):
    assert schema_problem(uri) == ""
    with closing(sqlite3.connect(file)) as database:
        ((version,),) = database.execute("SELECT version_num FROM alembic_version").fetchall()
    assert version in KNOWN_VERSIONS


@pytest.mark.parametrize("versions", [["future"], [], ["dc11669786a5", "future"]])
def test_tables_of_a_version_that_is_not_known_are_left_to_mlflow(uri, file, versions):
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("DELETE FROM alembic_version")
        database.executemany("INSERT INTO alembic_version VALUES (?)", [(one,) for one in versions])
    assert not StoredTables(file, uri).is_known
    said = []
    for reach in (lambda: connect(uri, is_reading=True), lambda: connect_reading(uri)):
        try:
            assert isinstance(reach(), MlflowClient)
            said.append("")
        except TrackingError as error:
            said.append(str(error))
    assert said[0] == said[1]


@pytest.mark.parametrize("content", [b"", b"no database", None])
def test_what_is_no_database_of_mlflow_is_refused_as_before(tmp_path, content):
    file = tmp_path / "mlflow.db"
    if content is not None:
        file.write_bytes(content)
    said = []
    for reach in (lambda uri: connect(uri, is_reading=True), connect_reading):
        with pytest.raises(TrackingError) as raised:
            reach(f"sqlite:///{file}")
        said.append(str(raised.value))
    assert said[0] == said[1]
