"""A tracking server that dies, hangs and comes back, and a tracking database that is deleted: the real MLflow."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import pytest

from sweeper.live_state import LiveState, Stage, TaskState
from sweeper.record import MlflowRecorder, read_front, read_live
from sweeper.watching import Watcher
from tests.contracts.recorder import FACTS
from tests.faults.rig import GRID, HALF, eventually

pytestmark = pytest.mark.slow


class Server:
    """An MLflow server as `cluster/tracking/start-server.sh` starts it, at an address that stays the same."""

    def __init__(self, folder, database):
        self._folder, self._database, self._process = folder, database, None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"

    def start(self):
        names = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        where = ["--host", "127.0.0.1", "--port", str(self._port), "--workers", "1"]
        stores = ["--backend-store-uri", f"sqlite:///{self._database}", "--artifacts-destination", self._folder]
        with (self._folder / "server.log").open("a") as log:
            self._process = subprocess.Popen(
                [Path(sys.executable).with_name("mlflow"), "server", *where, *stores],
                env=os.environ | names,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(self._answers, self._process)

    def _answers(self):
        try:
            return urlopen(f"{self.uri}/health", timeout=5).status == 200
        except OSError:
            return False

    def signal(self, number):
        """Send a signal to the server and to its worker."""
        os.killpg(self._process.pid, number)
        if number == signal.SIGKILL:
            self._process.wait(timeout=60)


@pytest.fixture
def server(tmp_path, new_cli):
    folder = tmp_path / "tracking"
    folder.mkdir()
    new_cli(GRID)  # its empty database serves the server
    found = Server(folder, tmp_path / "sweeps" / "mlflow.db")
    found.start()
    yield found
    if found._process.poll() is None:
        found.signal(signal.SIGKILL)


def test_server_killed_in_the_middle_stops_nothing_and_holds_everything_when_it_is_back(
    new_cli, server, assert_undisturbed
):
    cli = new_cli(GRID)
    driver = cli.start("run", "fragile.yaml", "--workers", "1", "--tracking-uri", server.uri)
    cli.wait_for_training(driver)
    server.signal(signal.SIGKILL)
    server.start()
    out, err = driver.communicate(timeout=300)
    assert "8 trials: 8 complete" in out
    assert "Traceback" not in err
    if driver.returncode != 0:  # the server took longer to start than the sweep to end
        assert (driver.returncode, "run `sweeper mirror fragile`" in err) == (2, True), err
        assert cli.run("mirror", "fragile")[0] == 0
    assert_undisturbed(cli)
    cli.audit()


@pytest.mark.rare
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_server_that_stays_away_ends_a_complete_sweep_with_2_and_is_caught_up_later(
    new_cli, server, number, assert_undisturbed
):
    cli = new_cli(HALF)
    driver = cli.start("run", "fragile.yaml", "--workers", "2", "--tracking-uri", server.uri)
    cli.wait_for_training(driver)
    server.signal(number)
    out, err = driver.communicate(timeout=300)
    assert driver.returncode == 2, out + err
    assert "4 trials: 4 complete" in out
    assert "every outcome is safe in the ledger, but MLflow does not hold all of them" in err
    assert server.uri in err
    assert "run `sweeper mirror fragile`" in err
    assert "Traceback" not in err
    assert_undisturbed(cli)
    if number == signal.SIGSTOP:
        server.signal(signal.SIGCONT)  # what was sent to it meanwhile arrives now
    else:
        server.start()
    code, out, err = cli.run("mirror", "fragile")
    assert (code, "4 complete" in out) == (0, True), err
    cli.audit()


@pytest.mark.rare
def test_deleted_database_comes_back_from_the_ledger(new_cli):
    cli = new_cli(HALF)
    cli.end(cli.start("run", "fragile.yaml", "--workers", "2"))
    before = {front.task: front.table for front in read_front(cli.tracking_uri, "fragile")}
    for path in cli.home.glob("mlflow.db*"):
        path.unlink()
    code, out, err = cli.run("mirror", "fragile")
    assert (code, "4 complete" in out) == (0, True), err
    after = {front.task: front.table for front in read_front(cli.tracking_uri, "fragile")}
    assert before.keys() == after.keys()
    assert all(before[task].equals(after[task]) for task in before)
    cli.audit()


def test_server_that_is_killed_while_a_sweep_is_watched_is_missed_until_it_is_back(server, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    recorder = MlflowRecorder(server.uri)
    recorder.open(FACTS)
    state = LiveState(FACTS.name, (TaskState("digits-10", 8, complete=3),), written_ms=time.time_ns() // 1_000_000)
    recorder.record_live(state)
    watcher = Watcher(lambda: read_live(server.uri, FACTS.name))
    assert (watcher.look().state, watcher.look().trouble) == (state, "")
    server.signal(signal.SIGKILL)
    view = watcher.look()
    assert view.state == state
    assert f"at {server.uri}" in view.trouble
    server.start()
    later = replace(state, stage=Stage.FINISHED, written_ms=state.written_ms + 1)
    recorder.record_live(later)
    view = watcher.look()
    assert (view.state, view.trouble) == (later, "")
