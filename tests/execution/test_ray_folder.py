"""The folders of Ray's sessions are private, and removed even if their process was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeper.execution import ray_folder
from sweeper.execution.ray_folder import own_folder, remove_left

HOLDS = """
import os, sys, time
from sweeper.execution.ray_folder import own_folder
with own_folder({"RAY_TMPDIR": sys.argv[1]}) as folder:
    os.mkdir(folder)
    print(folder, flush=True)
    time.sleep(600)
"""


def test_folder_is_the_users_alone_and_goes_with_its_context(tmp_path):
    with own_folder({"RAY_TMPDIR": str(tmp_path)}) as folder:
        os.mkdir(folder)
        os.chmod(folder, 0o777)  # as Ray does
        (own,) = tmp_path.iterdir()
        assert (Path(folder).parent, own.stat().st_mode & 0o777) == (own, 0o700)
        with own_folder({"RAY_TMPDIR": str(tmp_path)}) as other:
            assert len(list(tmp_path.iterdir())) == 2
            assert other != folder
        assert list(tmp_path.iterdir()) == [own], "one that is used is left alone"
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_has_left_is_removed_and_what_another_uses_is_not(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        folder = Path(process.stdout.readline().strip())
        remove_left(tmp_path)
        assert folder.exists(), "its process lives"
        process.kill()
    remove_left(tmp_path)
    assert list(tmp_path.iterdir()) == []


WRITES = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
print("there", flush=True)
while True:
    (folder / "r" / "logs").mkdir(parents=True, exist_ok=True)
    (folder / "r" / "logs" / f"{time.time_ns()}").touch()
"""


def test_what_still_writes_into_the_folder_of_a_killed_process_is_ended_and_what_writes_elsewhere_is_not(tmp_path):
    folder, other = tmp_path / "swr-12345678", tmp_path / "swr"
    for one in (folder, other):
        one.mkdir()
    (folder / "driver").touch()
    words = [(f"{folder}/", "/x/ray/raylet"), (f"{other}/", "/x/ray/raylet"), (f"{other}/", f"{folder}/r/logs")]
    started = [subprocess.Popen([sys.executable, "-c", WRITES, *its], stdout=subprocess.PIPE) for its in words]
    try:
        assert [process.stdout.readline() for process in started] == [b"there\n"] * len(words)
        remove_left(tmp_path)
        assert list(tmp_path.iterdir()) == [other]
        assert started[0].wait(60) == -signal.SIGKILL
        assert [process.poll() for process in started[1:]] == [None, None], "of another Ray, and of none"
    finally:
        for process in started:
            process.kill()
            process.communicate()


def test_folder_that_cannot_be_emptied_is_still_known_to_be_left(tmp_path, monkeypatch):
    """The lock file goes last: a folder without one counts as just being made, and stays for an hour."""
    monkeypatch.setattr(ray_folder, "_end_processes", lambda _: None)
    monkeypatch.setattr(ray_folder.shutil, "rmtree", lambda *_, **__: None)
    folder = tmp_path / "swr-12345678"
    (folder / "r").mkdir(parents=True)
    (folder / "driver").touch()
    monkeypatch.setattr(ray_folder, "_REMOVES_S", 0)
    remove_left(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["driver", "r"]
    monkeypatch.undo()
    remove_left(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_just_being_made_stays_and_an_old_one_goes(tmp_path, monkeypatch):
    (tmp_path / "swr-12345678").mkdir()
    (tmp_path / "of-somebody-else").mkdir()
    remove_left(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    later_s = time.time() + 2 * ray_folder._MAKING_S
    monkeypatch.setattr(ray_folder.time, "time", lambda: later_s)
    remove_left(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["of-somebody-else"]


def test_folder_that_cannot_be_made_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), own_folder({"RAY_TMPDIR": str(tmp_path / "missing")}):
        pass
