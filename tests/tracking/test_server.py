"""A real MLflow server, read without MLflow, answers as it answers MLflow's own client."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

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
    search_runs,
    sweep_experiments,
)
from sweeper.tracking.mlflow.server import StoredServer, is_known
from tests.support import servers

NAME = "sec'ond ä"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An environment without the user's own settings."""
    for name in [*os.environ]:
        if name.startswith("MLFLOW_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return tmp_path


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    """A server with two sweeps, a stranger's experiment and a deleted sweep."""
    with servers.tracking(tmp_path_factory.mktemp("server") / "served") as server:
        client = MlflowClient(server.uri)
        for name in ("first", NAME, "theirs", "gone"):
            number = client.create_experiment(name, tags={} if name == "theirs" else {SWEEP: name})
            for begun in (30, 10, 20):
                kind = "sweep" if begun == 10 else "trial"
                run = client.create_run(number, begun, {KIND: kind, "ä 'quoted'": "'; --", "n": str(begun)})
                client.log_text(run.info.run_id, f"text of {begun}", "fronts/one two.txt")
                client.log_text(run.info.run_id, "own", "spec.yaml")
                if begun == 30:
                    client.set_terminated(run.info.run_id, "FAILED")
                if begun == 20:
                    client.delete_run(run.info.run_id)
        client.delete_experiment(number)
        number = client.create_experiment("in files", (server.folder.parent / "in files").as_uri(), tags={SWEEP: "x"})
        run = client.create_run(number, 1, {KIND: "sweep"})
        client.log_text(run.info.run_id, "here", "fronts/one.txt")
        yield server.uri


def told(run):
    return run.info.run_id, run.info.experiment_id, run.info.status, dict(run.data.tags)


@pytest.mark.slow
def test_server_says_what_mlflow_says(uri):
    client, server = connect(uri, is_reading=True), connect_reading(uri)
    assert isinstance(server, StoredServer)
    for name in ("first", NAME, "theirs", "gone", "in files", "Default"):
        found, same = server.get_experiment_by_name(name), client.get_experiment_by_name(name)
        assert (found.experiment_id, found.name, found.lifecycle_stage, found.tags) == (
            same.experiment_id,
            same.name,
            same.lifecycle_stage,
            same.tags,
        )
    assert server.get_experiment_by_name("none") is None
    for sweep in ("first", "y", "none"):
        same = client.search_experiments(ViewType.ALL, filter_string=f"tags.`{SWEEP}` = '{sweep}'")
        assert [one.experiment_id for one in server.experiments_of(sweep)] == [one.experiment_id for one in same]
    assert [one.name for one in sweep_experiments(server)] == [one.name for one in sweep_experiments(client)]
    number = client.get_experiment_by_name(NAME).experiment_id
    for tags in ({KIND: "trial"}, {KIND: "sweep"}, {KIND: "trial", "n": "30"}, {KIND: "none"}):
        found, same = search_runs(server, [number], **tags), search_runs(client, [number], **tags)
        assert list(map(told, found)) == list(map(told, same))
        for run in found:
            run_id = run.info.run_id
            for folder in ("", "fronts", "nothing"):
                assert artifact_paths(server, run_id, folder) == artifact_paths(client, run_id, folder)
            for path in ("fronts/one two.txt", "spec.yaml"):
                assert downloaded(connect_reading(uri), run_id, path) == downloaded(client, run_id, path)
            with pytest.raises(TrackingError, match=r"nothing\.txt of run .* cannot be read"):
                downloaded(server, run_id, "nothing.txt")
    disconnect(server, uri)


@pytest.mark.slow
def test_artifacts_that_are_files_here_are_read_as_files_and_other_ones_by_mlflow(uri):
    server = connect_reading(uri)
    (run,) = search_runs(server, [server.get_experiment_by_name("in files").experiment_id], **{KIND: "sweep"})
    assert artifact_paths(server, run.info.run_id, "fronts") == {"fronts/one.txt"}
    assert downloaded(server, run.info.run_id, "fronts/one.txt") == b"here"
    server._artifact_uris[run.info.run_id] = "s3://bucket/runs"
    assert server.artifacts_of(run.info.run_id) is None


@pytest.mark.slow
def test_many_runs_are_read_page_by_page(uri, monkeypatch):
    monkeypatch.setattr("sweeper.tracking.mlflow.server._A_PAGE", 1)
    server, client = connect_reading(uri), connect(uri, is_reading=True)
    assert [one.name for one in sweep_experiments(server)] == [one.name for one in sweep_experiments(client)]
    numbers = [found.experiment_id for found in sweep_experiments(client)]
    assert list(map(told, search_runs(server, numbers))) == list(map(told, search_runs(client, numbers)))


@pytest.mark.slow
def test_question_to_a_server_loads_no_mlflow(uri, tmp_path):
    code = (
        "import sys\nfrom sweeper.__main__ import main\ntry: main()\nexcept SystemExit: pass\n"
        "print(sorted({'mlflow', 'torch', 'optuna', 'sqlalchemy'} & set(sys.modules)))"
    )
    words = [sys.executable, "-c", code, "pareto", "first", "--tracking-uri", uri]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def refusals(uri):
    """Return the messages about a server that cannot be read, with MLflow and without."""
    said = []
    for reach in (lambda: connect(uri, is_reading=True), lambda: connect_reading(uri)):
        with pytest.raises(TrackingError) as raised:
            reach()
        said.append(str(raised.value))
    return said


def test_server_that_is_away_is_told_as_before():
    with_mlflow, without = refusals("http://alice:secret@127.0.0.1:9")
    assert with_mlflow.partition(" object at ")[0] == without.partition(" object at ")[0]
    assert "could not reach MLflow at http://***@127.0.0.1:9" in without
    assert "secret" not in without


@pytest.mark.slow
def test_login_is_asked_for_and_taken_from_where_mlflow_takes_it(tmp_path, monkeypatch):
    if importlib.util.find_spec("flask_wtf") is None:
        pytest.skip("Flask-WTF is not installed: pip install 'pareto-sweeper[dev]'")
    with servers.tracking(tmp_path / "served", "--auth") as server:
        password = (server.folder / "admin-password").read_text().strip()
        with_mlflow, without = refusals(server.uri)
        assert with_mlflow == without
        assert "HTTP 401" in without
        inside = server.uri.replace("://", f"://admin:{password}@")
        assert isinstance(connect_reading(inside), StoredServer)
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
        assert isinstance(connect_reading(server.uri), StoredServer)
        assert len(set(refusals(server.uri.replace("://", "://admin:wrong@")))) == 1
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
        assert "wrong" not in refusals(server.uri)[1]
        assert isinstance(connect_reading(inside), StoredServer)  # the login in the address comes first


@pytest.mark.parametrize(
    ("variables", "known"),
    [
        ({}, True),
        ({"MLFLOW_TRACKING_INSECURE_TLS": "true"}, True),
        ({"MLFLOW_TRACKING_SERVER_CERT_PATH": "ca.pem"}, True),
        ({"MLFLOW_TRACKING_INSECURE_TLS": "1", "MLFLOW_TRACKING_SERVER_CERT_PATH": "ca.pem"}, False),
        ({"MLFLOW_TRACKING_INSECURE_TLS": "perhaps"}, False),
        ({"MLFLOW_TRACKING_AUTH": "kubernetes"}, False),
        ({"MLFLOW_TRACKING_AWS_SIGV4": "true"}, False),
        ({"MLFLOW_WORKSPACE": "team"}, False),
    ],
)
def test_ways_of_asking_that_are_not_known_are_left_to_mlflow(monkeypatch, variables, known):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_known() is known
