"""Images that settings name: from any place, kept in the user's cache, and loaded again after a change."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from sweeper import cache, storage
from sweeper.model import TaskError
from sweeper.spec import TaskSpec
from sweeper.training import forecast, inputs
from tests.model.test_sources import counts, folder_of_images, pictures, shards


def test_shards_in_a_real_object_store_are_read_with_their_sets(tmp_path, s3):
    for one_set, count, first in (("train", 2, 0), ("test", 1, 9000)):
        shards(tmp_path / "data", one_set, count, first=first)
    for path in sorted((tmp_path / "data").iterdir()):
        storage.write_bytes(storage.join(s3, "pets", "data", path.name), path.read_bytes())
    here, there = (inputs.load_task(TaskSpec(data=place)) for place in (str(tmp_path), storage.join(s3, "pets")))
    assert (there.fingerprint, counts(there), there.names) == (here.fingerprint, counts(here), here.names)
    pattern = TaskSpec(data=storage.join(s3, "pets", "data", "train-*.parquet").replace("%2A", "*"))
    assert sum(counts(inputs.load_task(pattern))) == 24
    with pytest.raises(TaskError, match="there is nothing") as refused:
        inputs.load_task(TaskSpec(data=storage.join(s3, "gone")))
    assert "\n" not in str(refused.value)


def test_large_images_are_kept_in_the_users_cache_and_small_ones_are_not(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / "cache"))
    for name, count in (("small", 30), ("large", 400)):
        path = tmp_path / f"{name}.npz"
        np.savez(path, images=pictures(count, 96), labels=np.arange(count) % 3)
        time_before = time.time() - 100
        os.utime(path, (time_before, time_before))
    monkeypatch.setattr("sweeper.model.tasks._SETTLED_S", -60.0)
    inputs.load_task(TaskSpec(data=str(tmp_path / "small.npz")))
    assert not (tmp_path / "cache" / inputs.IMAGES).exists()
    inputs.load_task(TaskSpec(data=str(tmp_path / "large.npz")))
    (kept,) = (tmp_path / "cache" / inputs.IMAGES).iterdir()
    assert 1 <= kept.stat().st_size / (400 * 3 * 96 * 96) < 1.05


def test_task_is_loaded_again_once_one_of_many_files_has_changed(tmp_path):
    folder_of_images(tmp_path)
    task = TaskSpec(data=str(tmp_path))
    first = inputs.load_task(task)
    assert inputs.load_task(task) is first
    (tmp_path / "cat" / "0.png").write_bytes((tmp_path / "dog" / "0.png").read_bytes())
    assert inputs.load_task(task).fingerprint != first.fingerprint
    (tmp_path / "cat" / "0.png").unlink()
    assert sum(counts(inputs.load_task(task))) == sum(counts(first)) - 1


def test_every_file_of_a_task_that_lies_here_is_known_with_its_size(tmp_path):
    from sweeper.spec import LatticeSetting

    folder_of_images(tmp_path / "pets", each=2)
    (tmp_path / "mine.py").write_text("")
    tasks = [TaskSpec(data=str(tmp_path / "pets")), TaskSpec(data=f"{tmp_path}/mine.py:images")]
    found = forecast.files([LatticeSetting(task=one) for one in tasks])
    every = [path for path in (*tmp_path.glob("pets/*/*"), tmp_path / "mine.py") if path.is_file()]
    assert found == {str(path): path.stat().st_size for path in every}
    assert forecast.files([LatticeSetting()]) == {}


def test_settings_become_what_the_model_takes():
    task = TaskSpec(data="/d/a.parquet", resize=[4, 5], crop=3, background="white", classes=["cat", 3])
    definition = inputs.definition_of(task)
    assert (definition.resize, definition.crop, definition.background) == ((4, 5), (3, 3), (255, 255, 255))
    assert definition.classes == (3, "cat")
    assert inputs.definition_of(TaskSpec(data="/d/a.parquet")).crop is None
