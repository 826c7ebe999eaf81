"""MLflow's server as `sweeper ui` starts it: its address, its arguments, and its end. The processes are real."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil
import pytest

from sweeper.tracking.mlflow.serving import free_port, serving

#: Code that stands in for MLflow's command line: a server that starts another process.
SERVER = """
import os, signal, subprocess, sys, time
if len(sys.argv) > 1:
    subprocess.Popen([sys.executable, __file__])
    print(sys.argv, os.environ["MLFLOW_BACKEND_STORE_URI"], sorted(n for n in os.environ if "MLFLOW" in n), flush=True)
time.sleep(600)
"""


#: The same, except that neither process ends at a termination signal.
STUBBORN = SERVER.replace("if len", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nif len")


@pytest.fixture
def as_mlflow(tmp_path, monkeypatch):
    """A function that puts a program in MLflow's place."""
    (tmp_path / "path").mkdir()
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'path'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return (tmp_path / "path" / "mlflow.py").write_text


def until(claim):
    end = time.monotonic() + 60
    while not claim():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_address_with_a_password_is_on_no_command_line(as_mlflow, monkeypatch):
    as_mlflow(SERVER)
    named = {"MLFLOW_HOST": "0.0.0.0", "MLFLOW_SERVER_ALLOWED_HOSTS": "*", "MLFLOW_S3_ENDPOINT_URL": "s"}
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    uri = "postgresql://me:hunter2@nowhere/db"
    with serving(uri, free_port()) as server:
        until(lambda: server._log.read_text())
        tree = [psutil.Process(server._process.pid), *psutil.Process(server._process.pid).children(recursive=True)]
        assert len(tree) >= 3
        assert not any("hunter2" in word for process in tree for word in process.cmdline())
        words, _, rest = server._log.read_text().partition("] ")
        assert "'--host', '127.0.0.1'" in words
        names = rest.partition("[")[2]
        assert rest.startswith(uri), "it is told all the same"
        assert "MLFLOW_S3_ENDPOINT_URL" in names
        assert "MLFLOW_HOST" not in names
        assert "ALLOWED_HOSTS" not in names


@pytest.mark.slow
def test_server_that_does_not_end_when_it_is_asked_to_is_killed_with_what_it_has_started(as_mlflow):
    as_mlflow(STUBBORN)
    with serving("sqlite:///nowhere.db", free_port()) as server:
        until(lambda: server._log.read_text())
        tree = psutil.Process(server._process.pid).children(recursive=True)
    assert len(tree) == 2
    assert psutil.wait_procs(tree, timeout=5)[1] == []


@pytest.mark.slow
def test_keeper_ends_with_the_input_that_its_parent_held(as_mlflow):
    """A killed parent closes nothing, but the keeper's input ends with the parent."""
    as_mlflow(SERVER)
    code = (
        "import sys, time; from sweeper.tracking.mlflow.serving import serving\n"
        "with serving('sqlite:///nowhere.db', 9) as server:\n    print(server._process.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        keeper = psutil.Process(int(parent.stdout.readline()))
        until(lambda: keeper.children())
        tree = [keeper, *keeper.children(recursive=True)]
        parent.kill()
    assert psutil.wait_procs(tree, timeout=30)[1] == []


def test_server_that_ends_says_why_without_a_password_and_leaves_nothing(as_mlflow):
    as_mlflow("raise SystemExit('cannot reach postgresql://me:hunter2@nowhere/db.')")
    with serving("sqlite:///nowhere.db", free_port()) as server:
        assert not server.wait_until_it_answers()
        said = server.trouble()
    assert said.startswith("MLflow has ended: cannot reach postgresql://")
    assert "hunter2" not in said
    assert not server._log.parent.exists()
