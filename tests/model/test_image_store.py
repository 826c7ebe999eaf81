"""Kept pixels are read once, shared by processes, and remade after any change; failing to keep them does no harm."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from sweeper.model import TaskDefinition, TaskError, image_store, load_task, tasks
from sweeper.model.degradations import degrade_into, degraded
from sweeper.model.image_store import ImageStore
from tests.model.test_sources import pictures, table
from tests.model.test_sources import pq as parquet

OLD_S = 1_000


def write(path, count=60, first=0):
    """Write images with an old modification time."""
    parquet.write_table(table(pictures(count, first=first), [row % 3 for row in range(count)]), path)
    os.utime(path, (time.time() - OLD_S,) * 2)
    return str(path)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Return a folder that keeps sets of any size, from files of any age."""
    monkeypatch.setattr(ImageStore, "__init__", _of_any_size)
    monkeypatch.setattr(tasks, "_SETTLED_S", -60.0)  # a test's files are new
    return tmp_path / "cache" / "images"


def _of_any_size(self, folder=None, least_bytes=0):
    object.__setattr__(self, "folder", folder)
    object.__setattr__(self, "least_bytes", least_bytes)


def same(one, other):
    assert one.fingerprint == other.fingerprint
    assert (one.labels, one.names, one.notes, one.warnings) == (other.labels, other.names, other.notes, other.warnings)
    for name in ("train", "validation", "test"):
        here, there = getattr(one, name), getattr(other, name)
        assert torch.equal(here.pixels, there.pixels)
        assert torch.equal(here.labels, there.labels)
        assert here.levels == there.levels


HARD = {"degradation": "debris", "level": 0.4, "noise": 0.1}


@pytest.mark.parametrize("how", [{}, {"classes": 2, "train_images": 9}, HARD, {"resize": (4, 4)}])
def test_what_is_kept_is_what_is_read(tmp_path, kept, how):
    definition = TaskDefinition(data=write(tmp_path / "a.parquet"), **how)
    plain, first, again = load_task(definition), load_task(definition, kept), load_task(definition, kept)
    same(plain, first)
    same(plain, again)
    assert {path.suffix for path in kept.iterdir()} == {".pixels"}
    assert kept.stat().st_mode & 0o77 == 0, "others of the machine have no business with it"


def test_what_is_kept_is_not_decoded_again(tmp_path, kept, monkeypatch):
    definition = TaskDefinition(data=write(tmp_path / "a.parquet"))
    load_task(definition, kept)
    monkeypatch.setattr(tasks, "image_sets", None)
    load_task(definition, kept)
    with pytest.raises(TypeError):
        load_task(TaskDefinition(data=definition.data, resize=(3, 3)), kept)


def test_file_that_has_changed_is_read_anew_even_if_its_time_is_set_back(tmp_path, kept):
    path = tmp_path / "a.parquet"
    one = load_task(TaskDefinition(data=write(path)), kept)
    other = load_task(TaskDefinition(data=write(path, first=5)), kept)
    assert one.fingerprint != other.fingerprint
    same(other, load_task(TaskDefinition(data=str(path))))


def test_pixels_of_files_that_were_just_written_are_not_kept(tmp_path, kept, monkeypatch):
    monkeypatch.setattr(tasks, "_SETTLED_S", 2.0)
    definition = TaskDefinition(data=write(tmp_path / "a.parquet"))
    same(load_task(definition), load_task(definition, kept))
    assert not list(kept.glob("*.pixels"))


def test_small_sets_are_not_kept(tmp_path):
    load_task(TaskDefinition(data=write(tmp_path / "a.parquet")), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_functions_are_called_anew(tmp_path, kept):
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n\ndef f():\n    return np.zeros((40, 5, 5), np.uint8), [n % 2 for n in range(40)]\n"
    )
    load_task(TaskDefinition(data=f"{tmp_path / 'mine.py'}:f"), kept)
    assert not kept.exists()


@pytest.mark.parametrize("damage", ["empty", "cut", "tail", "json", "folder"])
def test_damaged_file_is_made_anew(tmp_path, kept, damage):
    definition = TaskDefinition(data=write(tmp_path / "a.parquet"))
    whole = load_task(definition, kept)
    (path,) = kept.glob("*.pixels")
    data = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes({"empty": b"", "cut": data[:-3], "tail": data[:-9] + b"x" * 9, "json": data[4096:]}[damage])
    same(whole, load_task(definition, kept))
    if damage != "folder":
        assert path.read_bytes() == data, "what is damaged is replaced"


@pytest.mark.parametrize("why", ["a file", "no rights", "no room"])
def test_where_nothing_can_be_kept_pixels_are_in_memory(tmp_path, kept, monkeypatch, why):
    definition = TaskDefinition(data=write(tmp_path / "a.parquet"))
    if why == "a file":
        kept.parent.write_text("")
    elif why == "no room":
        monkeypatch.setattr(image_store, "FREE_BYTES", 2**60)
    else:

        def refused(*_):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "posix_fallocate", refused)
    same(load_task(definition), load_task(definition, kept))
    assert not list(kept.glob("*.pixels*")) if kept.is_dir() else not kept.exists()


def test_nothing_is_left_of_what_fails(tmp_path, kept):
    rows = table(pictures(700), [row % 3 for row in range(700)]).to_pylist()
    rows[-1]["image"]["bytes"] = b"broken"  # after allocation, and after most images are read
    path = tmp_path / "a.parquet"
    parquet.write_table(parquet_table(rows), path)
    with pytest.raises(TaskError, match="row 699"):
        load_task(TaskDefinition(data=str(path)), kept)
    assert list(kept.iterdir()) == []


def parquet_table(rows):
    import pyarrow as pa

    return pa.Table.from_pylist(rows)


def _read(data, folder, answers):
    """Load a task in another process."""
    ImageStore.__init__ = _of_any_size
    tasks._SETTLED_S = -60.0
    calls = []
    built = tasks._built
    tasks._built = lambda *how: calls.append(1) or time.sleep(0.3) or built(*how)
    task = load_task(TaskDefinition(data=data), Path(folder))
    answers.put((task.fingerprint, len(calls), list(kept_by(os.getpid()))))


def kept_by(process):
    """Yield the kept files that a process has mapped."""
    for line in Path(f"/proc/{process}/maps").read_text().splitlines():
        if line.endswith(".pixels"):
            yield line.split()[-1]


def test_several_processes_make_one_file(tmp_path, kept):
    data = write(tmp_path / "a.parquet")
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    workers = [context.Process(target=_read, args=(data, str(kept), answers)) for _ in range(4)]
    for worker in workers:
        worker.start()
    found = [answers.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(60)
    assert len({fingerprint for fingerprint, *_ in found}) == 1
    assert len({path for *_, mapped in found for path in mapped}) == 1, "all map the same file"
    assert all(mapped for *_, mapped in found)
    assert len(list(kept.glob("*.pixels"))) == 1
    assert {path.suffix for path in kept.iterdir()} == {".pixels"}


def test_pixels_stay_readable_when_their_file_is_deleted(tmp_path, kept):
    definition = TaskDefinition(data=write(tmp_path / "a.parquet"))
    task = load_task(definition, kept)
    for path in kept.iterdir():
        path.unlink()
    same(task, load_task(definition))


def test_writing_to_pixels_changes_no_file(tmp_path, kept):
    definition = TaskDefinition(data=write(tmp_path / "a.parquet"))
    load_task(definition, kept).train.pixels.zero_()
    same(load_task(definition, kept), load_task(definition))


def test_what_nobody_has_used_for_long_is_removed_and_what_is_used_stays(tmp_path, kept):
    one, other, new = (TaskDefinition(data=write(tmp_path / f"{name}.parquet", first=ord(name))) for name in "abc")
    load_task(one, kept)
    (first,) = kept.glob("*.pixels")
    load_task(other, kept)
    (second,) = set(kept.glob("*.pixels")) - {first}
    killed = kept / "x.pixels.1.tmp"
    killed.write_bytes(b"")
    for path in (first, second, killed):
        os.utime(path, (time.time() - (image_store.UNUSED_DAYS + 1) * 86_400,) * 2)
    load_task(other, kept)  # used, so it stays
    load_task(new, kept)
    assert not first.exists()
    assert not killed.exists()
    assert second.exists()


def test_what_is_used_least_gives_way_where_a_disk_is_full(tmp_path, kept, monkeypatch):
    one, other = (TaskDefinition(data=write(tmp_path / f"{name}.parquet", first=ord(name))) for name in "ab")
    load_task(one, kept)
    (first,) = kept.glob("*.pixels")
    seen = os.statvfs

    class Full:
        f_frsize = 1

        def __init__(self, folder):
            self.f_bavail = 0 if first.exists() else seen(folder).f_bavail * seen(folder).f_frsize

    monkeypatch.setattr(os, "statvfs", Full)
    load_task(other, kept)
    assert not first.exists()
    assert len(list(kept.glob("*.pixels"))) == 1


def test_degrading_in_place_draws_what_degrading_as_a_whole_does():
    hard = TaskDefinition(occlusion=0.2, noise=0.1, degradation="clutter", level=0.5).degradations
    pixels = pictures(2300, 4, channels=1).transpose(0, 3, 1, 2)
    whole = degraded(pixels / np.float32(255), hard, np.random.default_rng(3))
    out = np.empty(pixels.shape, np.float32)
    degrade_into(out, pixels, hard, np.random.default_rng(3))
    assert np.array_equal(whole, out)


def test_image_that_is_in_colour_after_grey_ones_is_kept_as_well(tmp_path, kept):
    rows = table(pictures(60), [row % 3 for row in range(60)]).to_pylist()
    grey = table(np.repeat(pictures(30, channels=1), 1, 3)[..., 0], [row % 3 for row in range(30)], None).to_pylist()
    path = tmp_path / "a.parquet"
    parquet.write_table(parquet_table(grey + rows), path)
    definition = TaskDefinition(data=str(path))
    same(load_task(definition), load_task(definition, kept))
    assert len(list(kept.iterdir())) == 1


def test_facts_of_a_kept_file_are_json(tmp_path, kept):
    load_task(TaskDefinition(data=write(tmp_path / "a.parquet")), kept)
    (path,) = kept.glob("*.pixels")
    data = path.read_bytes()
    length = int.from_bytes(data[-16:-8], "little")
    said = json.loads(data[-16 - length : -16])
    assert said["facts"]["names"] == ["airplane", "cat", "dog"]
    assert all(place["offset"] % 4096 == 0 for place in said["arrays"].values())
