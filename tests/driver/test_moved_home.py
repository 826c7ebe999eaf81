"""A home is a folder: wherever it is moved, copied, linked or mounted, commands use only the files there."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

import sweeper
from sweeper.checks.audit import audit
from sweeper.checks.outside import parts_outside
from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.results.find_network import find_network
from sweeper.spec import load_spec
from sweeper.tracking.mlflow.client import connect, connect_reading
from sweeper.tracking.mlflow.tables import StoredTables

#: A home of version 0.1, and the folder in which it was written.
EARLIER, WRITTEN_AT = Path(__file__).parents[1] / "data" / "home-0.1.tar.xz", "/home/user/sweeps"


def stop_after(populations):
    """Return an observer, and a `should_stop` that is true once so many trials are complete."""
    counted = []

    def observe(snapshot):
        counted.append(snapshot.counts.complete)

    return observe, lambda: bool(counted) and counted[-1] >= populations


@pytest.fixture(scope="module")
def written(tmp_path_factory, empty_database):
    """A home with a half trained sweep."""
    home = tmp_path_factory.mktemp("written") / "old"
    home.mkdir()
    shutil.copy(empty_database, home / "mlflow.db")
    observe, should_stop = stop_after(1)
    summary = Sweep("smoke", home).run(
        load_spec("smoke"), executor=InlineExecutor(), observe=observe, should_stop=should_stop
    )
    assert 0 < summary.counts.complete < summary.counts.planned == 8
    return home


@pytest.fixture
def old(written, tmp_path):
    """A copy of that home with absolute paths in its files and databases, as an earlier version wrote them."""
    home = tmp_path / "old"
    shutil.copytree(written, home)
    noted_by_whole_paths(home, written)
    return home


def noted_by_whole_paths(home, written):
    """Make a home look as if an earlier version had written it where it is now, with absolute paths."""
    (home / "smoke" / "tracking.txt").write_text(f"sqlite:///{home}/mlflow.db\n")
    for file in (home / "mlflow.db", home / "smoke" / "ledger.db"):
        with closing(sqlite3.connect(file)) as database, database:
            for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                for _, column, *_ in database.execute(f'PRAGMA table_info("{table}")').fetchall():
                    database.execute(
                        f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) '
                        f"WHERE typeof(\"{column}\") = 'text'",
                        (str(written), str(home)),
                    )


def state_of(home):
    """Return names, sizes, contents and times of everything in a folder."""
    return {
        path.relative_to(home): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(home.rglob("*"))
    }


def moved(old, tmp_path):
    old.rename(tmp_path / "new")
    return tmp_path / "new"


def renamed_above(old, tmp_path):
    folder = tmp_path / "of another name" / "deep 100%25"
    folder.mkdir(parents=True)
    shutil.move(old, folder / "home")
    return folder / "home"


def copied(old, tmp_path):
    shutil.copytree(old, tmp_path / "copy")
    return tmp_path / "copy"


def linked(old, tmp_path):
    (tmp_path / "link").symlink_to(moved(old, tmp_path))
    return tmp_path / "link"


def mounted(old, tmp_path):
    """Move the home and mount it at another place."""
    if os.getuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a mount needs root")
    point = tmp_path / "mounted"
    point.mkdir()
    done = subprocess.run(["mount", "--bind", moved(old, tmp_path), point], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    return point


@pytest.fixture(params=[moved, renamed_above, copied, linked, mounted], ids=lambda how: how.__name__)
def place(request, old, tmp_path):
    """The new place of a home of an earlier version; the test must not change the old place."""
    before = state_of(old)
    found = request.param(old, tmp_path)
    is_copy = request.param is copied
    yield found
    if request.param is mounted:
        subprocess.run(["umount", "--lazy", found], check=True, timeout=60)
    assert old.exists() == is_copy
    if is_copy:
        assert state_of(old) == before


def read_everything(home):
    """Read a sweep in every way."""
    loaded = sweeper.load_sweep("smoke", home=home)
    fronts = [front for front in loaded.fronts() if front.table.num_rows]
    assert fronts
    assert loaded.trials().num_rows > 0
    assert loaded.spec_text
    key = fronts[0].table["key"][0].as_py()
    assert find_network(Home(home), key).path.is_relative_to(home)
    assert loaded.report(home.parent / "report.html").stat().st_size > 1000
    return fronts


def holds(home):
    promises = audit(Home(home).known("smoke"), Home(home).tracking_uri_of("smoke"))
    assert {promise.text: promise.said for promise in promises if not promise.holds} == {}


def test_home_is_read_where_it_is_and_reading_writes_nothing(place):
    before = state_of(place)
    read_everything(place)
    holds(place)
    assert parts_outside(Home(place).known("smoke"), Home(place).tracking_uri_of("smoke")) == []
    assert state_of(place) == before


def test_home_is_mirrored_where_it_is(place):
    for file in place.rglob("*.parquet"):
        file.unlink()
    assert Sweep("smoke", place).mirror().is_mirrored
    read_everything(place)
    holds(place)


@pytest.mark.slow
def test_home_is_driven_to_its_end_where_it_is_and_names_no_other_place_then(place, written, old):
    summary = Sweep("smoke", place).resume(executor=InlineExecutor())
    assert summary.counts.complete == summary.counts.planned == 8
    assert summary.is_mirrored
    assert len(read_everything(place)) == 2
    holds(place)
    assert (place / "smoke" / "tracking.txt").read_text() == "sqlite:///mlflow.db\n"
    if not place.samefile(old) if old.exists() else place.resolve() == place:
        with closing(sqlite3.connect(place / "mlflow.db")) as database:
            text = "\n".join(database.iterdump())
        assert str(old) not in text


def test_mlflow_itself_finds_the_artifacts_of_a_home_that_was_driven_where_it_is(place, tmp_path):
    Sweep("smoke", place).mirror()
    client = connect(Home(place).tracking_uri, is_reading=True)
    (run,) = client.search_runs([client.get_experiment_by_name("smoke").experiment_id], "tags.`sweeper.kind` = 'sweep'")
    (tmp_path / "got").mkdir()
    got = Path(client.download_artifacts(run.info.run_id, "spec.yaml", str(tmp_path / "got")))
    assert got.read_text() == load_spec("smoke").text


@pytest.mark.slow
def test_copy_and_original_go_their_own_ways(old, tmp_path):
    copy = copied(old, tmp_path)
    Sweep("smoke", old).resume(executor=InlineExecutor())
    before = state_of(old)
    assert sweeper.load_sweep("smoke", home=copy).trials().num_rows < 8
    assert Sweep("smoke", copy).resume(executor=InlineExecutor()).counts.complete == 8
    assert state_of(old) == before
    shutil.rmtree(old)
    read_everything(copy)
    holds(copy)


def test_copy_of_a_copy_whose_database_was_named_by_hand_leaves_both_alone(old, tmp_path):
    """An earlier version could drive a copy once the user named its database, and noted that name."""
    copy = copied(old, tmp_path)
    (copy / "smoke" / "tracking.txt").write_text(f"sqlite:///{copy}/mlflow.db\n")
    again = tmp_path / "again"
    shutil.copytree(copy, again)
    before = state_of(old), state_of(copy)
    assert Sweep("smoke", again).resume(executor=InlineExecutor()).counts.complete == 8
    assert (state_of(old), state_of(copy)) == before


@pytest.mark.parametrize("name", ["mlflow.db", "of everyone.db"])
def test_database_elsewhere_that_the_user_has_named_stays_the_one(old, tmp_path, name, empty_database):
    elsewhere = tmp_path / "elsewhere" / name
    elsewhere.parent.mkdir()
    shutil.copy(empty_database, elsewhere)
    Sweep("smoke", old, f"sqlite:///{elsewhere}").mirror()
    home = moved(old, tmp_path)
    uri = Home(home).tracking_uri_of("smoke")
    assert uri == f"sqlite:///{elsewhere}"
    (said,) = [part for part in parts_outside(Home(home).known("smoke"), uri) if "MLflow" in part]
    assert str(elsewhere) in said


@pytest.mark.slow
@pytest.mark.parametrize("noted", ["files", "."])
def test_storage_in_the_home_moves_with_it(written, tmp_path, noted, empty_database):
    home = tmp_path / "old"
    home.mkdir()
    shutil.copy(empty_database, home / "mlflow.db")
    observe, should_stop = stop_after(1)
    storage = str(home / noted)
    sweep = Sweep("smoke", home, storage=storage)
    sweep.run(load_spec("smoke"), executor=InlineExecutor(), observe=observe, should_stop=should_stop)
    for text in (noted, str(Path(storage))):  # the note of this version, and that of earlier ones
        (home / "smoke" / "storage.txt").write_text(f"{text}\n")
        new = tmp_path / f"new {len(text)}"
        shutil.copytree(home, new)
        before = state_of(home)
        assert Sweep("smoke", new).resume(executor=InlineExecutor()).counts.complete == 8
        assert state_of(home) == before
        assert len(list((new / noted / "smoke" / "networks").iterdir())) == 8
        holds(new)


def test_artifacts_of_a_server_that_ran_in_the_home_are_found_where_it_is_now(old, tmp_path):
    """Such a server names folders by the number of the experiment."""
    with closing(sqlite3.connect(old / "mlflow.db")) as database, database:
        number = database.execute("SELECT experiment_id FROM experiments WHERE name = 'smoke'").fetchone()[0]
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            database.execute(
                f"UPDATE {table} SET {column} = replace({column}, '/artifacts/smoke', '/mlartifacts/{number}')"
            )
    (old / "mlartifacts").mkdir()
    (old / "artifacts" / "smoke").rename(old / "mlartifacts" / str(number))
    copy = copied(old, tmp_path)
    before = state_of(old)
    read_everything(copy)
    assert Sweep("smoke", copy).resume(executor=InlineExecutor()).counts.complete == 8
    assert state_of(old) == before
    shutil.rmtree(old)
    holds(copy)


def test_artifacts_elsewhere_are_said(old, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    with closing(sqlite3.connect(old / "mlflow.db")) as database, database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (f"{old}", f"{elsewhere}/not"))
            database.execute(f"UPDATE {table} SET {column} = replace({column}, '/artifacts/smoke', '/theirs')")
    (said,) = parts_outside(Home(old).known("smoke"), Home(old).tracking_uri)
    assert f"{elsewhere}/not/theirs" in said


def test_home_of_version_0_1_is_read_and_mirrored_where_it_was_unpacked(tmp_path):
    with tarfile.open(EARLIER) as archive:
        archive.extractall(tmp_path, filter="data")
    home = tmp_path / "sweeps"
    uri = Home(home).tracking_uri_of("grid")
    assert uri == f"sqlite:///{home}/mlflow.db"
    assert isinstance(connect_reading(uri), StoredTables)
    assert len(sweeper.load_sweep("grid", home=home).fronts()) == 2
    Sweep("grid", home).mirror()
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        places = database.execute("SELECT artifact_uri FROM runs JOIN experiments e USING (experiment_id)").fetchall()
    assert places
    assert all(place.startswith(f"file://{home}/artifacts/") for (place,) in places)
    assert not Path(WRITTEN_AT).exists()
