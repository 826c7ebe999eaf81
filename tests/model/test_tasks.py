"""Real images are selected and degraded; every wrong file is refused with its name and the problem."""

from __future__ import annotations

import io
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from sweeper.model import TaskDefinition, TaskError, image_files, load_task


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def write_images(path: Path, images, labels, column="image"):
    values = [{"bytes": image, "path": None} for image in images]
    pq.write_table(pa.table({column: values, "label": labels}), path)
    return str(path)


@pytest.fixture
def grey(tmp_path):
    rng = np.random.default_rng(0)
    images = [png(rng.integers(0, 256, (6, 5), dtype=np.uint8)) for _ in range(40)]
    return write_images(tmp_path / "grey.parquet", images, [i % 4 for i in range(40)])


def count(task):
    return len(task.train) + len(task.validation) + len(task.test)


def test_digits_are_the_real_ones():
    task = load_task(TaskDefinition())
    assert (count(task), task.image, task.classes) == (1797, (1, 8, 8), 10)
    assert (task.train.pixels.min(), task.train.pixels.max()) == (0, 1)


@pytest.mark.parametrize("missing", [PackageNotFoundError, FileNotFoundError, None])
def test_digits_are_those_that_scikit_learn_loads_wherever_it_keeps_them(missing, monkeypatch):
    if missing:
        monkeypatch.setattr(image_files, "distribution", Mock(side_effect=missing))
    digits, theirs = image_files.digits(), load_digits()
    assert np.array_equal(digits.pixels(np.arange(1797))[:, 0], (theirs.images / 16).astype(np.float32))
    assert np.array_equal(digits.labels, theirs.target)


def test_same_definition_gives_the_same_pixels_and_another_one_another_fingerprint():
    hard = TaskDefinition(classes=3, occlusion=0.2, noise=0.1)
    assert torch.equal(load_task(hard).train.pixels, load_task(hard).train.pixels)
    prints = {load_task(d).fingerprint for d in (hard, TaskDefinition(classes=3), TaskDefinition(classes=4))}
    assert len(prints) == 3


@pytest.mark.parametrize("column", ["image", "img"])
def test_parquet_images_of_either_column_name_are_read(tmp_path, column):
    colour = [png(np.full((4, 4, 3), 10 * i, dtype=np.uint8)) for i in range(16)]
    path = write_images(tmp_path / "a.parquet", colour, [i % 2 for i in range(16)], column)
    task = load_task(TaskDefinition(data=path, train_images=6))
    assert (task.image, len(task.train), task.classes) == ((3, 4, 4), 6, 2)


def test_held_out_file_is_used_for_testing(grey, tmp_path):
    images = [png(np.full((6, 5), 255, dtype=np.uint8))] * 8
    test = write_images(tmp_path / "test.parquet", images, [0, 1, 2, 3] * 2)
    task = load_task(TaskDefinition(data=grey, test=test))
    assert (len(task.train) + len(task.validation), len(task.test), task.test.pixels.min()) == (40, 8, 255)


@pytest.mark.parametrize(
    ("images", "labels", "told"),
    [
        ([b"no image"] * 8, [0, 1] * 4, r"row \d of .*bad\.parquet is no readable image"),
        (
            [png(np.zeros((4, 4), np.uint8)), png(np.zeros((5, 5), np.uint8))] * 8,
            [0, 1, 1, 0] * 4,
            r"\(1, 4, 4\), \(1, 5, 5\)",
        ),
        ([png(np.zeros((4, 4), np.uint8))], [0.5], "label.*double"),
        ([], [], "no images"),
        ([png(np.zeros((4, 4), np.uint8))] * 8, [3] * 8, r"at least 2 classes.*labels \[3\]"),
        ([None] * 8, [0, 1] * 4, "row .*NoneType"),
    ],
)
def test_wrong_parquet_file_is_refused_with_the_reason(tmp_path, images, labels, told):
    path = write_images(tmp_path / "bad.parquet", images, labels)
    with pytest.raises(TaskError, match=told):
        load_task(TaskDefinition(data=path))


def test_labels_that_are_null_are_refused_with_their_number_and_the_first_row(tmp_path):
    images = [png(np.zeros((4, 4), np.uint8))] * 8
    path = write_images(tmp_path / "null.parquet", images, [0, 1, None, 0, 1, None, 0, 1])
    with pytest.raises(TaskError, match=r"2 of 8 labels of .*null\.parquet are null, the first in row 2"):
        load_task(TaskDefinition(data=path, classes=2))


def test_rows_with_a_label_that_was_not_asked_for_are_left_out(tmp_path):
    images = [png(np.full((4, 4), i, np.uint8)) for i in range(24)]
    path = write_images(tmp_path / "more.parquet", images, [-1, 0, 1, 2] * 6)
    task = load_task(TaskDefinition(data=path, classes=(0, 2)))
    assert task.labels == (0, 2)
    assert {*task.train.labels.tolist(), *task.validation.labels.tolist(), *task.test.labels.tolist()} == {0, 1}
    assert count(task) == 12
    with pytest.raises(TaskError, match=r"not be negative.*labels \[-1, 0, 1, 2\]"):
        load_task(TaskDefinition(data=path))
    with pytest.raises(TaskError, match=r"\[0, 7\] names the label 7"):
        load_task(TaskDefinition(data=path, classes=(0, 7)))


@pytest.mark.slow
@given(st.integers(2, 10), st.integers(0, 2**31 - 1))
def test_number_of_classes_draws_a_set_that_is_the_same_for_a_seed(number, seed):
    task = load_task(TaskDefinition(classes=number, class_seed=seed, train_images=60))
    assert len(set(task.labels)) == number == task.classes
    assert task.labels == tuple(sorted(task.labels))
    assert load_task(TaskDefinition(classes=number, class_seed=seed, train_images=60)).fingerprint == task.fingerprint


def test_sets_of_classes_are_drawn_anew_by_seed_and_number_and_all_of_them_are_all():
    drawn = {seed: load_task(TaskDefinition(classes=3, class_seed=seed)).labels for seed in range(8)}
    assert len(set(drawn.values())) > 4
    pairs = [
        (load_task(TaskDefinition(classes=n)).labels, load_task(TaskDefinition(classes=n + 1)).labels)
        for n in range(2, 9)
    ]
    assert any(not set(few) <= set(more) for few, more in pairs), "sets must not be nested"
    every = load_task(TaskDefinition(classes=10, class_seed=5))
    assert every.labels == tuple(range(10))
    assert every.fingerprint == load_task(TaskDefinition()).fingerprint


def test_labels_that_are_listed_are_the_classes_in_ascending_order():
    task, whole = load_task(TaskDefinition(classes=(8, 3, 5))), load_task(TaskDefinition())
    assert task.labels == (3, 5, 8)
    for part, every in zip(
        (task.train, task.validation, task.test), (whole.train, whole.validation, whole.test), strict=True
    ):
        mine = torch.isin(every.labels, torch.tensor([3, 5, 8]))
        assert torch.equal(part.pixels, every.pixels[mine])
        assert torch.equal(torch.tensor([3, 5, 8])[part.labels], every.labels[mine])


def test_labels_may_begin_anywhere_and_have_gaps(tmp_path):
    images = [png(np.full((4, 4), i, np.uint8)) for i in range(24)]
    path = write_images(tmp_path / "gaps.parquet", images, [1, 5, 9] * 8)
    task = load_task(TaskDefinition(data=path))
    assert (task.labels, task.classes, set(task.train.labels.tolist())) == ((1, 5, 9), 3, {0, 1, 2})


def test_degradations_spare_the_training_images_which_get_theirs_while_training():
    plain, hard = (load_task(TaskDefinition(classes=3, **how)) for how in ({}, {"degradation": "debris", "level": 0.5}))
    assert torch.equal(plain.train.pixels, hard.train.pixels)
    assert [(one.kind, one.level) for one in hard.degradations] == [("debris", 0.5)]
    for name in ("validation", "test"):
        one, other = getattr(plain, name).pixels, getattr(hard, name).pixels
        assert float((one != other).any(1).float().mean()) > 0.2
    assert hard.fingerprint != plain.fingerprint == load_task(TaskDefinition(classes=3, degradation="blur")).fingerprint


def test_file_that_is_no_parquet_or_lacks_a_column_is_refused(tmp_path):
    path = tmp_path / "x.parquet"
    path.write_bytes(b"no parquet")
    with pytest.raises(TaskError, match=r"x\.parquet"):
        load_task(TaskDefinition(data=str(path)))
    pq.write_table(pa.table({"pictures of cats": [1], "label": [0]}), path)
    with pytest.raises(TaskError, match=r"has pictures of cats, label.*task\.image_column"):
        load_task(TaskDefinition(data=str(path)))


def test_more_classes_than_the_data_hold_are_refused(grey):
    with pytest.raises(TaskError, match=r"classes=7.*\[0, 1, 2, 3\]"):
        load_task(TaskDefinition(data=grey, classes=7))


SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder with real image files is not beside this checkout")
@pytest.mark.parametrize(
    ("name", "image", "mean"),
    [("mnist", (1, 28, 28), 0.1307), ("fashion_mnist", (1, 28, 28), 0.2860), ("cifar10", (3, 32, 32), 0.4734)],
)
def test_real_image_files_are_read(name, image, mean):
    definition = TaskDefinition(data=str(SHARED / f"{name}_test.parquet"), train_images=3000)
    task = load_task(definition)
    assert (task.image, task.classes, len(task.train)) == (image, 10, 3000)
    assert len(task.test) == pytest.approx(2500, abs=5)
    assert float(task.train.shown().mean()) == pytest.approx(mean, abs=0.01)
