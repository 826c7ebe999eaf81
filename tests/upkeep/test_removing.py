"""`sweeper delete` removes all of one sweep, nothing of another one, and never a running one."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from sweeper import storage
from sweeper.checks.audit import audit
from sweeper.errors import HomeError, SweepBusyError, TrackingError, UnknownSweepError
from sweeper.ledger.database import shared_url
from sweeper.ledger.home import Home
from sweeper.ledger.ledger import Ledger
from sweeper.results.find_network import find_network
from sweeper.results.query import pareto
from sweeper.tracking.memory import MemoryRecorder
from sweeper.tracking.mlflow import private
from sweeper.tracking.mlflow.client import connect
from sweeper.tracking.mlflow.reader import read_sweeps
from sweeper.upkeep import removing
from sweeper.upkeep.removing import delete, removal_of
from tests.support import servers
from tests.support.stuck import a_stuck_driver
from tests.upkeep.conftest import files_below, trained


def holds(home, name):
    """Return whether every promise about a sweep holds."""
    return all(promise.holds for promise in audit(home.known(name), home.tracking_uri_of(name)))


def text_of(database):
    with closing(sqlite3.connect(database)) as opened:
        return "\n".join(opened.iterdump())


def test_deleted_sweep_is_found_nowhere_and_the_other_one_is_whole(sweeper, home):
    key = pareto(home.tracking_uri, "first")[0].table["key"].to_pylist()[0]
    code, out, err = sweeper("delete", "first", "--yes", "--home", home.root)
    assert (code, err) == (0, "")
    assert "its 3 runs in MLflow" in out
    assert str(home.root / "first") in out
    for command in ("status", "pareto", "audit", "report"):
        code, _, err = sweeper(command, "first", "--home", home.root)
        assert (code, "there is no sweep 'first'" in err) == (2, True), command
    _, out, _ = sweeper("list", "--json", "--home", home.root, "--tracking-uri", home.tracking_uri)
    assert [row["name"] for row in json.loads(out)] == ["second"]
    assert not (home.root / "first").exists()
    assert not (home.root / "artifacts" / "first").exists()
    assert "first" not in text_of(home.root / "mlflow.db")
    assert holds(home, "second")
    assert find_network(home, key).sweep == "second", "a trial of both sweeps is still one of the other"


def test_name_of_a_deleted_sweep_can_be_run_anew(home, tmp_path):
    delete(removal_of(home, "first"))
    trained(tmp_path, "first", home.root)
    assert holds(home, "first")
    assert holds(home, "second")


def test_without_an_answer_nothing_is_deleted(sweeper, home):
    before = files_below(home.root)
    code, out, err = sweeper("delete", "first", "--home", home.root)
    assert code == 2
    assert "is deleted for good:" in out
    assert "--yes" in err
    assert files_below(home.root) == before


@pytest.mark.slow
def test_running_sweep_is_not_deleted(sweeper, home):
    with a_stuck_driver(home.root, "stuck") as pid:
        looked = removing.Removal(home.sweep("stuck"), "", (), (), (), 0, 1, False)
        before = files_below(home.root / "stuck")
        code, out, err = sweeper("delete", "stuck", "--yes", "--home", home.root)
        assert (code, out) == (2, "")
        assert f"being driven by process {pid}" in err
        with pytest.raises(SweepBusyError, match=f"process {pid}"):  # the driver may have started after the look
            delete(looked)
        assert files_below(home.root / "stuck") == before


def test_unknown_name_is_refused(home):
    with pytest.raises(UnknownSweepError, match="no sweep 'third'"):
        removal_of(home, "third")
    assert not (home.root / "third").exists()


class StopError(Exception):
    """Stands for the end of the process."""


def interrupted_at(monkeypatch, number):
    """Make a deletion fail at its n-th removing step; return a list that collects the steps."""
    steps = []

    def counted(function):
        def step(*arguments, **options):
            steps.append(function)
            if len(steps) == number:
                raise StopError
            return function(*arguments, **options)

        return step

    forgetting = private.forgetting

    def forgetting_less(client):
        found = forgetting(client)
        return private.Forgetting(counted(found.run), counted(found.experiment))

    monkeypatch.setattr("sweeper.tracking.mlflow.removal.forgetting", forgetting_less)
    monkeypatch.setattr(shutil, "rmtree", counted(shutil.rmtree))
    monkeypatch.setattr(storage, "delete", counted(storage.delete))
    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))
    monkeypatch.setattr(Path, "rmdir", counted(Path.rmdir))
    return steps


def steps_of_a_deletion(finished, tmp_path, monkeypatch):
    shutil.copytree(finished, tmp_path / "counted")
    with monkeypatch.context() as patched:
        steps = interrupted_at(patched, -1)
        delete(removal_of(Home(tmp_path / "counted"), "first"))
    return len(steps)


@pytest.mark.slow
def test_interrupted_deletion_is_finished_by_giving_it_again(finished, tmp_path, monkeypatch):
    count = steps_of_a_deletion(finished, tmp_path, monkeypatch)
    assert count > 15
    for number in range(1, count + 1):
        home = Home(tmp_path / f"home{number}")
        shutil.copytree(finished, home.root)
        with monkeypatch.context() as patched:
            interrupted_at(patched, number)
            with suppress(StopError, TrackingError):
                delete(removal_of(home, "first"))
        if home.sweep("first").upkeep:
            assert "first" in home.sweeps()
            with pytest.raises(HomeError, match="`sweeper delete first` was interrupted"):
                home.known("first")
            with pytest.raises(HomeError, match="`sweeper delete first`"), home.sweep("first").drive():
                pass
            delete(removal_of(home, "first"))
        else:  # all is gone but an empty folder
            assert not [path for path in (home.root / "first").rglob("*") if path.name != "driver.json"]
        assert home.sweeps() == ["second"]
        assert "first" not in text_of(home.root / "mlflow.db")
        assert not list((home.root / "artifacts").glob("first/*"))
    assert holds(home, "second")


def test_files_that_no_sweep_writes_stay_and_are_said(home):
    for path in ("notes.txt", "networks/mine.txt"):
        (home.root / "first" / path).write_text("mine")
    stays = delete(removal_of(home, "first"))
    assert sorted(files_below(home.root / "first")) == ["networks/mine.txt", "notes.txt"]
    assert any("notes.txt" in said for said in stays)
    assert any("networks" in said for said in stays)
    assert home.sweeps() == ["second"]


@pytest.mark.parametrize("damage", ["emptied", "removed"])
def test_sweep_with_a_damaged_ledger_is_deleted(home, damage):
    ledger = home.root / "first" / "ledger.db"
    ledger.write_bytes(b"") if damage == "emptied" else ledger.unlink()
    removal = removal_of(home, "first")
    assert removal.done is None
    assert delete(removal) == []
    assert home.sweeps() == ["second"]
    assert [stored.name for stored in read_sweeps(home.tracking_uri)] == ["second"]


def test_experiment_of_another_home_stays(home, tmp_path):
    other = trained(tmp_path, "first", tmp_path / "other", MemoryRecorder())
    removal = removal_of(other, "first", home.tracking_uri)
    (said,) = removal.stays
    assert "that of another sweep of this name" in said
    delete(removal)
    assert not other.root.joinpath("first").exists()
    assert holds(home, "first")


def test_copy_of_a_home_is_deleted_without_what_it_shares(home, finished, tmp_path):
    folder = tmp_path / "storage"
    shared = trained(tmp_path, "third", home.root, storage=str(folder))
    copy = Home(Path(shutil.copytree(home.root, tmp_path / "copy")))
    kept = files_below(folder)
    assert kept
    removal = removal_of(copy, "third", here_only=True)
    assert any(str(folder) in said for said in removal.stays)
    delete(removal)
    assert files_below(folder) == kept
    assert copy.sweeps() == ["first", "second"]
    assert holds(shared, "third")


def test_storage_elsewhere_loses_the_files_of_this_sweep_alone(tmp_path, home):
    folder = tmp_path / "storage"
    for name in ("third", "fourth"):
        trained(tmp_path, name, home.root, storage=str(folder))
    before = files_below(folder / "fourth")
    delete(removal_of(home, "third"))
    assert not (folder / "third").exists()
    assert files_below(folder / "fourth") == before
    assert holds(home, "fourth")


@pytest.mark.slow
def test_object_store_loses_the_files_of_this_sweep_alone(s3, tmp_path, home):
    for name in ("third", "fourth"):
        trained(tmp_path, name, home.root, storage=s3)
    removal = removal_of(home, "third")
    assert any(part.is_outside and "s3://bucket/third" in part.what for part in removal.parts)
    delete(removal)
    assert storage.sizes_below(storage.join(s3, "third")) == {}
    assert storage.sizes_below(storage.join(s3, "fourth"))
    assert holds(home, "fourth")


@pytest.mark.slow
def test_shared_ledger_loses_the_rows_of_this_sweep_alone(postgres, monkeypatch, tmp_path, home):
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    database = postgres.new_database()
    for name in ("third", "third-b"):
        trained(tmp_path, name, home.root, ledger=database)
    held = closing(Ledger(shared_url(database), "third", "somebody else"))
    with held, pytest.raises(SweepBusyError, match="somebody else"):
        removal_of(home, "third")
    delete(removal_of(home, "third"))
    with closing(Ledger(shared_url(database), "third", only_reads=True)) as ledger:
        assert ledger.revisions == []
    assert holds(home, "third-b")
    assert home.sweeps() == ["first", "second", "third-b"]
    trained(tmp_path, "third", home.root, ledger=database)
    assert holds(home, "third")


@pytest.mark.slow
def test_server_frees_the_name_and_says_what_it_keeps(tmp_path, empty_database):
    with servers.tracking(tmp_path / "server") as server:
        home = trained(tmp_path, "first", tmp_path / "home", tracking_uri=server.uri)
        trained(tmp_path, "second", tmp_path / "home", tracking_uri=server.uri)
        stays = delete(removal_of(home, "first"))
        assert [stored.name for stored in read_sweeps(server.uri)] == ["second"]
        (said,) = stays
        assert "3 runs stay in the trash of MLflow" in said
        assert "mlflow gc --experiment-ids" in said
        artifacts = [path for path in server.folder.rglob("*.parquet") if "first" in path.parts]
        assert artifacts == []
        trained(tmp_path, "first", home.root, tracking_uri=server.uri)
        assert holds(home, "first")
        assert holds(home, "second")
        client = connect(server.uri)
        assert len([one for one in client.search_experiments(3) if one.lifecycle_stage == "deleted"]) == 1


def test_without_the_names_of_mlflow_a_sweep_goes_to_the_trash_and_its_name_is_free(home, tmp_path, monkeypatch):
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    assert private.forgetting(connect(home.tracking_uri)) is not None
    monkeypatch.delattr(SqlAlchemyStore, "_hard_delete_run")
    assert private.forgetting(connect(home.tracking_uri)) is None
    (said,) = delete(removal_of(home, "first"))
    assert "mlflow gc --experiment-ids" in said
    assert [stored.name for stored in read_sweeps(home.tracking_uri)] == ["second"]
    trained(tmp_path, "first", home.root)
    assert holds(home, "first")
