"""A tracking server that dies, hangs and comes back, and a deleted tracking database, with the real MLflow."""

from __future__ import annotations

import shutil
import signal
import time
from dataclasses import replace

import pytest

from sweeper.results.watcher import Watcher
from sweeper.tracking.live import LiveState, Stage, TaskState
from sweeper.tracking.mlflow.reader import MlflowReader
from sweeper.tracking.mlflow.recorder import MlflowRecorder
from tests.contracts.recorder import FACTS
from tests.faults.rig import GRID, HALF
from tests.support.servers import tracking

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path, empty_database):
    folder = tmp_path / "tracking"
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")  # saves seconds
    with tracking(folder) as found:
        yield found


@pytest.mark.rare
def test_server_killed_in_the_middle_stops_nothing_and_holds_everything_when_it_is_back(
    new_cli, server, assert_undisturbed
):
    cli = new_cli(GRID)
    driver = cli.start("run", "fragile.yaml", "--workers", "1", "--tracking-uri", server.uri)
    cli.wait_for_training(driver)
    server.stop(signal.SIGKILL)
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
    server.stop(number) if number == signal.SIGKILL else server.send(number)
    out, err = driver.communicate(timeout=300)
    assert driver.returncode == 2, out + err
    assert "4 trials: 4 complete" in out
    assert "every outcome is safe in the ledger, but MLflow does not hold all of them" in err
    assert server.uri in err
    assert "run `sweeper mirror fragile`" in err
    assert "Traceback" not in err
    assert_undisturbed(cli)
    if number == signal.SIGSTOP:
        server.send(signal.SIGCONT)  # requests that were sent meanwhile arrive now
    else:
        server.start()
    code, out, err = cli.run("mirror", "fragile")
    assert (code, "4 complete" in out) == (0, True), err
    cli.audit()


@pytest.mark.rare
def test_deleted_database_comes_back_from_the_ledger(new_cli):
    cli = new_cli(HALF)
    cli.end(cli.start("run", "fragile.yaml", "--workers", "2"))
    before = {front.task: front.table for front in MlflowReader(cli.tracking_uri, "fragile").fronts()}
    for path in cli.home.glob("mlflow.db*"):
        path.unlink()
    code, out, err = cli.run("mirror", "fragile")
    assert (code, "4 complete" in out) == (0, True), err
    after = {front.task: front.table for front in MlflowReader(cli.tracking_uri, "fragile").fronts()}
    assert before.keys() == after.keys()
    assert all(before[task].equals(after[task]) for task in before)
    cli.audit()


def test_server_that_is_killed_while_a_sweep_is_watched_is_missed_until_it_is_back(server, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    recorder = MlflowRecorder(server.uri)
    recorder.open(FACTS)
    state = LiveState(FACTS.name, (TaskState("digits-10", 8, complete=3),), written_ms=time.time_ns() // 1_000_000)
    recorder.record_live(state)
    watcher = Watcher(lambda: MlflowReader(server.uri, FACTS.name).live())
    assert (watcher.look().state, watcher.look().trouble) == (state, "")
    server.stop(signal.SIGKILL)
    view = watcher.look()
    assert view.state == state
    assert f"at {server.uri}" in view.trouble
    server.start()
    later = replace(state, stage=Stage.FINISHED, written_ms=state.written_ms + 1)
    recorder.record_live(later)
    view = watcher.look()
    assert (view.state, view.trouble) == (later, "")
