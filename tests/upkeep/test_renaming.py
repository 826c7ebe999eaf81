"""`sweeper rename` moves a whole sweep to another name, with the same trials, and never a running one."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from sweeper import storage
from sweeper.checks.audit import audit
from sweeper.driver.sweep import Sweep
from sweeper.errors import HomeError, SweepBusyError, TrackingError, UnknownSweepError
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.ledger.open import read_ledger
from sweeper.ledger.studies import Studies
from sweeper.results.find_network import find_network
from sweeper.spec import load_spec
from sweeper.tracking.memory import MemoryRecorder
from sweeper.tracking.mlflow.client import connect, experiment_of
from sweeper.training.train import train_population
from sweeper.upkeep import renaming
from sweeper.upkeep.renaming import rename
from tests.support import servers
from tests.support.stuck import a_stuck_driver
from tests.support.swept import SILENT
from tests.upkeep.conftest import files_below, trained
from tests.upkeep.test_removing import StopError, text_of


def broken(home, name):
    return [promise.name for promise in audit(home.known(name), home.tracking_uri_of(name)) if not promise.holds]


def rows(sweeper, command, home):
    code, out, _ = sweeper(*command.split(), "--json", "--home", home.root)
    assert code == 0
    return out


@pytest.mark.slow
def test_renamed_sweep_is_the_same_under_its_new_name_and_the_old_one_is_free(sweeper, home, tmp_path):
    before = [rows(sweeper, f"{command} first", home) for command in ("pareto", "trials", "status")]
    other = files_below(home.root / "second")
    number = experiment_of(connect(home.tracking_uri), home.tracking_uri, "first").experiment_id
    code, out, err = sweeper("rename", "first", "final", "--home", home.root)
    assert (code, out, err) == (0, "sweep first is called final now\n", "")
    after = [rows(sweeper, f"{command} final", home) for command in ("pareto", "trials", "status")]
    assert [text.replace('"first"', '"final"') for text in before] == after
    assert home.sweeps() == ["final", "second"]
    assert broken(home, "final") == []
    experiment = experiment_of(connect(home.tracking_uri), home.tracking_uri, "final")
    assert (experiment.name, experiment.experiment_id) == ("final", number), "addresses of its page stay"
    for command in ("status", "pareto", "resume", "audit"):
        code, _, err = sweeper(command, "first", "--home", home.root)
        assert (code, "no sweep 'first'" in err) == (2, True), command
    told = text_of(home.root / "mlflow.db").replace("/artifacts/first", "").replace("name: first", "")
    assert "first" not in told.replace("first_", ""), "only where its artifacts are, and what its user wrote"
    assert files_below(home.root / "second") == other
    assert broken(home, "second") == []
    trained(tmp_path, "first", home.root)
    assert broken(home, "first") == []
    assert broken(home, "final") == []


def test_renamed_sweep_goes_on_where_it_was(home, tmp_path):
    recorder = MemoryRecorder()
    loaded = load_spec("smoke", name="third")
    calls = []

    def work(job, report):
        calls.append(job)
        return train_population(job, report)

    options = {"executor": InlineExecutor(), "recorder": recorder, "work": work}
    Sweep("third", home.root).run(loaded, should_stop=lambda: len(calls) > 1, **options)
    with closing(read_ledger(home.known("third"))) as ledger:
        done = {record.key for record in ledger.records() if record.state.is_finished}
    assert done
    before = len(calls)
    assert rename(home, "third", "fourth") is False
    options["recorder"] = MemoryRecorder()
    summary = Sweep("fourth", home.root).run(load_spec("smoke", name="fourth"), **options)
    assert summary.is_finished
    again = {key for job in calls[before:] for key, wanted in zip(job.keys, job.wanted, strict=True) if wanted}
    assert again
    assert not done & again, "what is finished never runs again"


def test_spec_of_the_new_name_is_the_planned_one(home, tmp_path):
    (tmp_path / "s.yaml").write_text(SILENT)
    rename(home, "first", "final")
    summary = Sweep("final", home.root).run(
        load_spec(tmp_path / "s.yaml", name="final"), executor=InlineExecutor(), work=lambda *_: pytest.fail("trained")
    )
    assert summary.is_finished


@pytest.mark.parametrize("taken", ["a sweep", "a folder", "its own", "the home's"])
def test_name_that_is_taken_is_refused_and_nothing_changes(home, taken):
    new = {"a sweep": "second", "a folder": "mine", "its own": "first", "the home's": "artifacts"}[taken]
    (home.root / "mine").mkdir()
    before = files_below(home.root)
    with pytest.raises(HomeError, match=f"'?{new}"):
        rename(home, "first", new)
    assert files_below(home.root) == before
    assert home.sweeps() == ["first", "second"]


@pytest.mark.parametrize("whose", ["somebody's", "a sweep's", "deleted"])
def test_experiment_that_has_the_name_is_left_and_nothing_changes(home, whose):
    client = connect(home.tracking_uri)
    number = client.create_experiment("final", tags={"sweeper.sweep": "final"} if whose == "a sweep's" else None)
    if whose == "deleted":
        client.set_experiment_tag(number, "sweeper.sweep", "final")
        client.delete_experiment(number)
    with pytest.raises(TrackingError, match="'final'"):
        rename(home, "first", "final")
    assert home.sweeps() == ["first", "second"]
    assert home.sweep("first").upkeep == {}


@pytest.mark.slow
def test_running_and_unknown_sweeps_keep_their_names(home):
    with a_stuck_driver(home.root, "stuck") as pid, pytest.raises(SweepBusyError, match=f"process {pid}"):
        rename(home, "stuck", "loose")
    assert "stuck" in home.sweeps()
    with pytest.raises(UnknownSweepError):
        rename(home, "nobody", "somebody")


def test_wrong_names_are_refused(sweeper, home):
    for words in (("first", "../evil"), ("../first", "evil"), ("first", "")):
        code, out, err = sweeper("rename", *words, "--home", home.root)
        assert (code, out) == (2, "")
        assert "name must hold letters" in err


STEPS = (
    (Studies, "rename"),
    (renaming, "_move_folder"),
    (renaming, "rename_in_mlflow"),
)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("place", "name"), STEPS)
def test_interrupted_renaming_is_finished_by_giving_it_again(sweeper, home, monkeypatch, place, name, when):
    step = getattr(place, name)

    def stopped(*arguments):
        if when == "after":
            step(*arguments)
        raise StopError

    with monkeypatch.context() as patched:
        patched.setattr(place, name, stopped)
        with pytest.raises(StopError):
            rename(home, "first", "final")
    (found,) = [one for one in home.sweeps() if one != "second"]
    with pytest.raises(HomeError, match="`sweeper rename first final` was interrupted"):
        home.known(found)
    with pytest.raises(HomeError, match="`sweeper rename first final`"):
        rename(home, found, "other")
    assert sweeper("rename", "first", "final", "--home", home.root)[0] == 0
    assert home.sweeps() == ["final", "second"]
    assert broken(home, "final") == []
    assert broken(home, "second") == []


@pytest.mark.parametrize("number", range(1, 9))
def test_mlflow_that_fails_in_the_middle_is_gone_on_with(sweeper, home, monkeypatch, number):
    from mlflow import MlflowClient

    calls = []

    def counted(method):
        def call(*arguments, **options):
            calls.append(method)
            if len(calls) == number:
                raise StopError
            return method(*arguments, **options)

        return call

    with monkeypatch.context() as patched:
        for one in ("set_tag", "set_experiment_tag", "rename_experiment", "update_run"):
            patched.setattr(MlflowClient, one, counted(getattr(MlflowClient, one)))
        with pytest.raises(TrackingError):
            rename(home, "first", "final")
    assert home.sweeps() == ["final", "second"]
    assert sweeper("rename", "first", "final", "--home", home.root)[0] == 0
    assert broken(home, "final") == []


def test_files_elsewhere_move_along(home, tmp_path):
    folder = tmp_path / "storage"
    trained(tmp_path, "third", home.root, storage=str(folder))
    before = files_below(folder / "third")
    rename(home, "third", "fourth")
    assert files_below(folder) == {f"fourth/{path}": data for path, data in before.items()}
    assert broken(home, "fourth") == []


def test_moved_home_of_a_renamed_sweep_finds_its_artifacts(sweeper, home, tmp_path):
    assert sweeper("rename", "first", "final", "--home", home.root)[0] == 0
    shutil.move(home.root, tmp_path / "moved")
    moved = Home(tmp_path / "moved")
    assert broken(moved, "final") == []
    assert sweeper("mirror", "final", "--home", moved.root)[0] == 0
    assert str(home.root) + "/" not in text_of(moved.root / "mlflow.db").replace("sweeper.home", "")


@pytest.mark.slow
def test_object_store_and_shared_ledger_are_renamed(s3, postgres, monkeypatch, home, tmp_path):
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    database = postgres.new_database()
    for name in ("third", "third-b"):
        trained(tmp_path, name, home.root, storage=s3, ledger=database)
    with pytest.raises(HomeError, match="third-b"):
        rename(home, "third", "third-b")
    before = storage.sizes_below(storage.join(s3, "third"))
    rename(home, "third", "fourth")
    assert storage.sizes_below(storage.join(s3, "fourth")) == before
    assert storage.sizes_below(storage.join(s3, "third")) == {}
    for name in ("fourth", "third-b"):
        assert broken(home, name) == []
    rename(Home(home.root), "fourth", "third")
    assert broken(home, "third") == []


@pytest.mark.slow
def test_server_knows_the_new_name_alone(sweeper, tmp_path):
    with servers.tracking(tmp_path / "server") as server:
        home = trained(tmp_path, "first", tmp_path / "home", tracking_uri=server.uri)
        before = rows(sweeper, "pareto first", home)
        assert sweeper("rename", "first", "final", "--home", home.root)[0] == 0
        assert rows(sweeper, "pareto final", home) == before.replace('"first"', '"final"')
        assert broken(home, "final") == []
        _, out, _ = sweeper("list", "--json", "--home", tmp_path / "none", "--tracking-uri", server.uri)
        assert [row["name"] for row in json.loads(out)] == ["final"]
        assert find_network(home, json.loads(before)[0]["key"]).sweep == "final"
        assert Path(home.root, "final").is_dir()
