"""The cache between runs: a file is whole or absent, is found by its name, and a failing cache stops nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sweeper import cache


@pytest.fixture(params=["named", "xdg", "home"])
def root(request, tmp_path, monkeypatch):
    """The cache's folder, set in each possible way."""
    monkeypatch.delenv(cache.FOLDER, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if request.param == "named":
        monkeypatch.setenv(cache.FOLDER, str(tmp_path / "own"))
        return tmp_path / "own"
    if request.param == "xdg":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        return tmp_path / "xdg" / "sweeper"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/not/taken")
    return tmp_path / ".cache" / "sweeper"


def test_what_is_kept_is_fetched_by_its_name_alone(root, tmp_path):
    file, to = tmp_path / "made", tmp_path / "to"
    file.write_bytes(b"long work")
    assert not cache.fetch("a", to)
    assert not to.exists()
    cache.keep("a", file)
    assert cache.fetch("a", to)
    assert to.read_bytes() == b"long work"
    assert not cache.fetch("b", tmp_path / "other")
    assert os.listdir(root) == ["a"]


def test_folder_that_cannot_be_written_stops_nobody(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / "file" / "below"))
    cache.keep("a", tmp_path / "file")
    assert not cache.fetch("a", tmp_path / "to")


def test_user_without_a_home_keeps_nothing(tmp_path, monkeypatch):
    for name in (cache.FOLDER, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    (tmp_path / "made").write_text("")
    cache.keep("a", tmp_path / "made")
    assert not cache.fetch("a", tmp_path / "to")


def test_file_that_cannot_be_kept_whole_leaves_what_was_there(root, tmp_path, monkeypatch):
    file, to = tmp_path / "made", tmp_path / "to"
    file.write_bytes(b"first")
    cache.keep("a", file)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.replace", full)
        cache.keep("a", file)
    assert cache.fetch("a", to)
    assert os.listdir(root) == ["a"]
