"""Homes: who may drive a sweep, what a home keeps of it, and homes that cannot be used."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper import storage
from sweeper.errors import HomeError, SweepBusyError, UnknownSweepError
from sweeper.ledger.home import NOT_KEPT, Home
from tests.support.stuck import killed

DRIVE = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from sweeper.ledger.home import Home

with Home(Path(sys.argv[1])).sweep(sys.argv[2]).drive():
    print("driving", flush=True)
    time.sleep(600)
"""

PASSWORDS = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=8, max_size=20).filter(
    lambda text: text not in "(not kept: it carries a password)"  # the note that replaces a password
)


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def planned(home, name):
    """Return the folder of a sweep, with an empty file in place of its ledger."""
    folder = home.sweep(name)
    folder.path.mkdir(parents=True)
    (folder.path / "ledger.db").touch()
    return folder


def a_driver_elsewhere(folder):
    """Let a real process drive the sweep; it is killed without a chance to tidy up."""
    return killed(DRIVE, "driving", folder.path.parent, folder.name)


# --- one driver -------------------------------------------------------------------------------------


def test_sweep_driven_by_another_process_refuses_a_second_driver_by_its_pid_until_it_is_killed(home):
    folder = planned(home, "mine")
    with a_driver_elsewhere(folder) as pid:
        named = f"process {pid} on {socket.gethostname()} since 20"
        assert folder.driver.startswith(named)
        with (
            pytest.raises(SweepBusyError, match=f"'mine' is being driven by {named}.*sweeper status mine"),
            folder.drive(),
        ):
            pass
    assert folder.driver is None, "a dead process drives nothing"
    assert json.loads((folder.path / "driver.json").read_text())["pid"] == pid, "its file is still there"
    with folder.drive():
        assert folder.driver.startswith(f"process {os.getpid()} ")


def test_sweep_driven_by_this_process_refuses_a_second_driver_and_keeps_the_first(home):
    folder = home.sweep("mine")
    with folder.drive() as lease:
        with pytest.raises(SweepBusyError, match=f"'mine' is being driven by process {os.getpid()} "), folder.drive():
            pass
        assert json.loads(Path(lease.path).read_text())["session"] == lease.session
        assert folder.driver.startswith(f"process {os.getpid()} ")
    assert folder.driver is None


def test_two_sweeps_of_one_home_are_driven_side_by_side(home):
    with home.sweep("one").drive() as first, home.sweep("two").drive() as second:
        assert first.session != second.session
        assert first.path != second.path


def test_every_driver_of_a_sweep_has_a_session_of_its_own(home):
    folder = planned(home, "mine")
    sessions = set()
    for _ in range(3):
        with folder.drive() as lease:
            sessions.add(lease.session)
            assert json.loads(Path(lease.path).read_text())["session"] == lease.session
    assert len(sessions) == 3


def test_driver_that_fails_lets_go_of_the_sweep(home):
    folder = planned(home, "mine")
    with pytest.raises(ZeroDivisionError), folder.drive():
        _ = 1 / 0
    assert folder.driver is None
    with folder.drive():
        pass


def test_asking_for_the_driver_all_the_time_keeps_no_driver_out(home):
    folder = planned(home, "mine")
    is_over, seen = threading.Event(), set()

    def ask():
        while not is_over.is_set():
            seen.add(folder.driver is None)

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    try:
        for _ in range(300):
            with folder.drive():
                pass
    finally:
        is_over.set()
        for thread in asking:
            thread.join()
    assert True in seen


@pytest.mark.parametrize("content", [b"", b'{"pid": 12', b"[1, 2]", b"null", b"\xff\xfe\x00", b'"word"'])
def test_torn_driver_file_is_tolerated(home, content):
    folder = planned(home, "mine")
    (folder.path / "driver.json").write_bytes(content)
    assert folder.driver is None
    with folder.drive() as lease:
        assert json.loads(Path(lease.path).read_text())["pid"] == os.getpid()
        Path(lease.path).write_bytes(content)
        assert folder.driver == "another process"
        with pytest.raises(SweepBusyError, match="driven by another process"), folder.drive():
            pass


def test_sweep_that_nobody_ever_drove_has_no_driver(home):
    assert home.sweep("mine").driver is None
    assert not home.root.exists(), "asking makes nothing"


def test_drive_that_ends_before_the_sweep_is_planned_leaves_no_trace(home):
    with pytest.raises(ZeroDivisionError), home.sweep("mine").drive():
        _ = 1 / 0
    assert list(home.root.iterdir()) == []


def test_drive_that_ends_before_the_sweep_is_planned_leaves_the_files_of_others(home):
    folder = home.sweep("mine")
    folder.path.mkdir(parents=True)
    (folder.path / "notes.txt").write_text("keep me")
    with folder.drive():
        pass
    assert [path.name for path in folder.path.iterdir()] == ["notes.txt"]


# --- which sweeps there are -------------------------------------------------------------------------


def test_unknown_sweep_is_refused_by_name_place_and_the_known_ones(home):
    for name in ("beta", "alpha"):
        planned(home, name)
    with pytest.raises(
        UnknownSweepError, match=rf"'gamma' in the home {home.root} \(sweeps there: alpha, beta\).*--home"
    ):
        home.known("gamma")
    assert home.known("alpha") == home.sweep("alpha")


def test_home_without_sweeps_knows_none(home):
    assert home.sweeps() == []
    with pytest.raises(UnknownSweepError, match=r"'gamma' .*\(sweeps there: none\).*sweeper run"):
        home.known("gamma")
    assert not home.root.exists(), "asking makes nothing"


def test_sweep_whose_ledger_is_gone_is_not_forgotten_nor_begun_anew(home):
    folder = planned(home, "alpha")
    folder.keep_tracking_uri(home.tracking_uri)
    (folder.path / "ledger.db").unlink()
    assert home.sweeps() == ["alpha"]
    said = r"the ledger .*alpha/ledger.db of sweep 'alpha' is damaged: it is missing\. Restore it from a copy"
    with pytest.raises(HomeError, match=said):
        home.known("alpha")
    before = sorted(folder.path.iterdir())
    with pytest.raises(HomeError, match=said), folder.drive():
        pass
    assert sorted(folder.path.iterdir()) == before


def test_folder_without_a_ledger_is_no_sweep(home):
    planned(home, "alpha")
    (home.root / "artifacts").mkdir()
    with home.sweep("begun").drive():
        assert home.sweeps() == ["alpha"]
        assert not home.sweep("begun").is_planned


# --- homes that cannot be used ----------------------------------------------------------------------


def test_home_below_a_plain_file_cannot_be_driven_in_and_is_named(tmp_path):
    (tmp_path / "plain").touch()
    with (
        pytest.raises(HomeError, match=rf"{tmp_path}/plain/home/mine cannot be written: Not a directory.*--home"),
        Home(tmp_path / "plain" / "home").sweep("mine").drive(),
    ):
        pass


def test_home_that_is_a_file_is_refused_by_its_path(tmp_path):
    (tmp_path / "plain").touch()
    with pytest.raises(HomeError, match=f"must be a folder, but got the file {tmp_path}/plain.*--home"):
        Home(tmp_path / "plain").sweeps()
    with pytest.raises(HomeError, match=f"file {tmp_path}/plain"):
        Home(tmp_path / "plain").known("mine")


def test_tracking_uri_that_cannot_be_written_names_the_folder(home):
    folder = planned(home, "mine")
    (folder.path / "tracking.txt").mkdir()
    with pytest.raises(HomeError, match=f"{folder.path} cannot be written: Is a directory"):
        folder.keep_tracking_uri("http://host:5000")


# --- the tracking URI -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "http://host:5000",
        "postgresql://host/db",
        "sqlite:////data/mlflow.db",
        "sqlite:////home/me@work/mlflow.db",
        "sqlite:////data/雪 and λ.db",
    ],
)
def test_tracking_uri_without_a_password_is_kept_for_later(home, uri):
    folder = planned(home, "mine")
    folder.keep_tracking_uri("http://before:1")
    folder.keep_tracking_uri(uri)
    assert folder.tracking_uri == uri
    assert {path.name for path in folder.path.iterdir()} == {"ledger.db", "tracking.txt"}


@given(password=PASSWORDS, user=st.sampled_from(["me", ""]))
@pytest.mark.parametrize(
    "form",
    [
        "http://{user}:{password}@host:5000",
        "postgresql://{user}:{password}@host/db",
        "postgresql+psycopg://{user}:a/{password}@host/db",
        "postgresql://host/db?user={user}&password={password}",
        "https://host/mlflow?TOKEN={password}",
    ],
)
def test_tracking_uri_with_a_password_is_never_kept(tmp_path_factory, form, user, password):
    folder = planned(Home(tmp_path_factory.mktemp("home")), "mine")
    folder.keep_tracking_uri("sqlite:////before.db")
    folder.keep_tracking_uri(form.format(user=user, password=password))
    kept = "".join(path.read_text() for path in folder.path.iterdir())
    assert password not in kept
    assert folder.tracking_uri == NOT_KEPT


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe"])
def test_tracking_file_that_says_nothing_is_none(home, content):
    folder = planned(home, "mine")
    assert folder.tracking_uri is None
    (folder.path / "tracking.txt").write_bytes(content)
    assert folder.tracking_uri is None


# --- names of files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("root", [None, "{}/elsewhere", "file://{}/elsewhere"])
def test_population_that_is_handed_out_again_has_the_next_holder_where_its_workers_read(tmp_path, root):
    folder = Home(tmp_path / "home", root and root.format(tmp_path)).sweep("mine")
    first, second = folder.hand_out("0123", "driver/1"), folder.hand_out("0123", "driver/2")
    assert first.path == second.path == f"{folder.files}/leases/0123.json"
    assert (first.session, second.session) == ("driver/1", "driver/2")
    assert json.loads(storage.read_bytes(second.path)) == {"session": "driver/2"}
    assert folder.hand_out("4567", "driver/3").path != first.path


def test_files_of_a_sweep_lie_in_its_folder_under_the_names_in_the_manual(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    home, folder = Home(Path("home")), Home(Path("home")).sweep("mine")
    assert folder.name == "mine"
    assert folder.path == tmp_path / "home" / "mine"
    assert folder.ledger_url == f"sqlite:///{tmp_path}/home/mine/ledger.db"
    assert folder.checkpoint("0123") == f"{tmp_path}/home/mine/checkpoints/0123.pt"
    assert folder.network("4567") == f"{tmp_path}/home/mine/networks/4567.safetensors"
    assert home.tracking_uri == f"sqlite:///{tmp_path}/home/mlflow.db"
    with folder.drive() as lease:
        assert lease.path == f"{tmp_path}/home/mine/driver.json"


def test_home_that_no_database_address_can_hold_is_refused(tmp_path):
    with pytest.raises(HomeError, match=re.escape(f"{tmp_path}/a\\udcffb' has '\\udcff' in its path")):
        Home(tmp_path / "a\udcffb")  # a byte that is not UTF-8


@pytest.mark.parametrize("name", ["artifacts", "mlflow.db", "mlflow.db-wal", "mlflow.db.new"])
def test_sweep_is_not_called_as_a_file_of_the_home_unless_it_was_planned_so(home, name):
    with pytest.raises(HomeError, match=rf"cannot be called '{name}'.*--name"), home.sweep(name).drive():
        raise AssertionError("driven")
    assert not home.root.exists()
    with planned(home, name).drive():
        assert home.sweeps() == [name]


@pytest.mark.parametrize("name", ["mine.csv.tmp", "notes.7.tmp.txt", "a.tmp", "x.tmp-wal"])
def test_files_of_a_user_beside_those_of_a_sweep_stay(home, name):
    folder = planned(home, "mine")
    (folder.path / name).write_text("mine")
    with folder.drive():
        pass
    assert (folder.path / name).read_text() == "mine"


def test_ledger_is_whole_before_anyone_can_see_it(tmp_path):
    folder = Home(tmp_path).sweep("mine")
    folder.path.mkdir()

    def create(url):
        assert not folder.is_planned
        Path(url.removeprefix("sqlite:///")).write_text("whole")

    folder.make_ledger(create)
    assert folder.is_planned
    assert [path.name for path in folder.path.iterdir()] == ["ledger.db"]


def test_ledger_that_cannot_be_made_leaves_nothing(tmp_path):
    folder = Home(tmp_path).sweep("mine")
    folder.path.mkdir()

    def create(url):
        Path(url.removeprefix("sqlite:///")).write_text("half")
        raise HomeError("the disk is full")

    with pytest.raises(HomeError, match=r"^the disk is full"):
        folder.make_ledger(create)
    assert list(folder.path.iterdir()) == []


def test_ledger_begins_anew_where_a_killed_process_left_half_of_one(tmp_path):
    folder = Home(tmp_path).sweep("mine")
    folder.path.mkdir()

    def killed(url):
        Path(url.removeprefix("sqlite:///")).write_text("half")
        raise SystemExit

    with mock.patch("pathlib.Path.unlink"), suppress(SystemExit):
        folder.make_ledger(killed)
    assert folder.leftovers()
    folder.make_ledger(lambda url: Path(url.removeprefix("sqlite:///")).open("x").close())
    with folder.drive():
        assert {path.name for path in folder.path.iterdir()} == {"ledger.db", "driver.json"}


@pytest.mark.parametrize("is_full", [True, False])
def test_note_that_cannot_be_written_leaves_the_former_one_and_nothing_beside_it(home, monkeypatch, is_full):
    folder = planned(home, "mine")
    folder.keep_tracking_uri("http://before:1")
    if is_full:
        monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    else:
        (folder.path / "tracking.txt").unlink()
        (folder.path / "tracking.txt").mkdir()
    with pytest.raises(HomeError, match=r"cannot be written: (No space left|Is a directory)"):
        folder.keep_tracking_uri("http://host:5000")
    assert folder.tracking_uri == ("http://before:1" if is_full else None)
    assert {path.name for path in folder.path.iterdir()} == {"ledger.db", "tracking.txt"}


@pytest.mark.parametrize("kind", ["checkpoint", "network"])
def test_files_of_workers_killed_while_writing_are_removed(tmp_path, kind):
    folder = planned(Home(tmp_path), "mine")
    whole = Path(getattr(folder, kind)("a"))
    torn = [whole.with_name(f"{whole.name}.{mark}.tmp") for mark in ("17", "0123456789abcdef" * 2)]
    torn[0].parent.mkdir()
    for path in (*torn, whole):
        path.touch()
    with folder.drive():
        assert list(torn[0].parent.iterdir()) == [whole]


def test_full_disk_is_refused_with_what_is_free_and_how_to_go_on(home, monkeypatch):
    folder = planned(home, "tiny")
    folder.require_room()
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=2**20))
    with pytest.raises(HomeError, match=rf"the disk of {folder.path} is full: 1\.0 MiB are free.*sweeper resume tiny"):
        folder.require_room()
