"""The folders of Ray's sessions: private, and removed, also those of processes that were killed."""

from __future__ import annotations

import os
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
