"""The file of `-o` is either whole or absent, and no other file is lost."""

from __future__ import annotations

import os
import re
import shlex
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.cli.options import option_of, write_aside
from sweeper.errors import QueryError


@given(st.binary(max_size=64), st.sampled_from(["a.csv", "a", ".a", "a.tmp", "ü" * 100, "a" * 218]))
def test_only_the_named_file_changes_whatever_else_is_in_its_folder(tmp_path_factory, data, name):
    folder = tmp_path_factory.mktemp("folder")
    others = {
        f"{name}{ending}": ending.encode() for ending in (".tmp", ".new", "~", ".1.tmp", f".{os.getpid()}.tmp", "s")
    }
    for other, content in others.items():
        (folder / other).write_bytes(content)
    write_aside(folder / name, data)
    write_aside(folder / name, data + b"again")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {**others, name: data + b"again"}


def test_write_that_fails_leaves_the_former_file_and_nothing_beside_it(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("former")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    message = f"cannot write {tmp_path / 'a.csv'}: No space left on device. Name another file with -o."
    with pytest.raises(QueryError, match=re.escape(message)):
        write_aside(tmp_path / "a.csv", b"another")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.csv", "former")]


def test_link_stays_one_and_what_it_leads_to_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.csv").symlink_to("there/a.csv")
    for data in (b"one", b"another"):
        write_aside(tmp_path / "link.csv", data)
        assert (tmp_path / "link.csv").is_symlink()
        assert [(path.name, path.read_bytes()) for path in (tmp_path / "there").iterdir()] == [("a.csv", data)]


def test_pipe_is_written_to_and_stays_one(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reading = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reading.start()
    write_aside(pipe, b"data")
    assert pipe.is_fifo()
    reading.join()
    assert read == [b"data"]


@given(st.text(min_size=1, max_size=20).filter(lambda text: "\0" not in text))
def test_home_in_a_command_to_type_is_the_home_whatever_its_name(name):
    words = shlex.split(f"sweeper resume mine{option_of(Path(name))}")
    assert words[3:] == ([] if Path(name) == Path("sweeps") else ["--home", str(Path(name))])
