"""The training, validation and test sets are disjoint, and the test images are used once and decide nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.model import Images, Pressures, TaskDefinition, TaskError, TrainingSettings, load_task, train
from sweeper.model.tasks import TEST_SHARE, VALIDATION_SHARE
from tests.model.test_tasks import png, write_images
from tests.model.trainings import window_for

#: Names of a task's sets.
SETS = ("train", "validation", "test")


def numbered(path, labels, first=0):
    """Write images that all differ: two pixels encode the number of the image."""
    images = []
    for number in range(first, first + len(labels)):
        pixels = np.full((4, 4), 7, np.uint8)
        pixels[0, :2] = divmod(number, 256)
        images.append(png(pixels))
    return write_images(path, images, labels)


def images_of(task):
    return {name: [one.numpy().tobytes() for one in getattr(task, name).pixels] for name in SETS}


limits = st.none() | st.integers(1, 40)


@settings(max_examples=25)
@given(
    counts=st.lists(st.integers(4, 30), min_size=2, max_size=4),
    limits=st.tuples(limits, limits, limits),
    has_validation=st.booleans(),
    has_test=st.booleans(),
)
def test_three_sets_of_files_are_disjoint_and_leave_nothing_out(
    tmp_path_factory, counts, limits, has_validation, has_test
):
    folder = tmp_path_factory.mktemp("sets")
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    named = {
        name: numbered(folder / f"{name}.parquet", labels, 1000 * (1 + at)) if is_there else None
        for at, (name, is_there) in enumerate((("validation", has_validation), ("test", has_test)))
    }
    whole = TaskDefinition(data=numbered(folder / "data.parquet", labels), **named)
    images = images_of(load_task(whole))
    every = [image for name in SETS for image in images[name]]
    assert len(set(every)) == len(every) == len(labels) * (1 + has_validation + has_test)
    limited = replace(whole, **dict(zip(("train_images", "validation_images", "test_images"), limits, strict=True)))
    for name, limit, few in zip(SETS, limits, images_of(load_task(limited)).values(), strict=True):
        assert set(few) <= set(images[name])
        assert len(few) == min(len(images[name]), limit or len(images[name]))


def test_digits_are_divided_by_class_and_always_alike():
    task = load_task(TaskDefinition())
    counts = {name: getattr(task, name).labels.bincount() for name in SETS}
    whole = sum(counts.values())
    assert int(whole.sum()) == 1797
    torch.testing.assert_close(counts["test"] / whole, torch.full((10,), TEST_SHARE), atol=0.005, rtol=0)
    left = whole - counts["test"]
    torch.testing.assert_close(counts["validation"] / left, torch.full((10,), VALIDATION_SHARE), atol=0.005, rtol=0)
    assert images_of(load_task(TaskDefinition())) == images_of(task)


def test_test_images_do_not_depend_on_how_validation_is_done(tmp_path):
    labels = [0, 1] * 20
    data = numbered(tmp_path / "data.parquet", labels)
    validation = numbered(tmp_path / "validation.parquet", labels, 1000)
    one, other = (load_task(TaskDefinition(data=data, validation=file)) for file in (None, validation))
    assert torch.equal(one.test.pixels, other.test.pixels)
    assert len(other.train) == len(one.train) + len(one.validation)


def test_fingerprint_tells_each_of_the_three_sets():
    limits = ("train_images", "validation_images", "test_images")
    prints = {load_task(TaskDefinition(**{limit: 50})).fingerprint for limit in limits}
    assert len(prints | {load_task(TaskDefinition()).fingerprint}) == 4


def test_one_file_for_two_sets_is_refused(tmp_path):
    data, other = (numbered(tmp_path / f"{name}.parquet", [0, 1] * 8) for name in "ab")
    with pytest.raises(TaskError, match=r"different files.*b\.parquet.*b\.parquet"):
        load_task(TaskDefinition(data=data, validation=other, test=other))


def test_class_that_validation_lacks_is_refused_with_the_file(tmp_path):
    data = numbered(tmp_path / "data.parquet", [0, 1, 2] * 8)
    validation = numbered(tmp_path / "few.parquet", [0, 1] * 8, 1000)
    with pytest.raises(TaskError, match=r"validation images of .*few\.parquet hold none of class 2"):
        load_task(TaskDefinition(data=data, validation=validation))


@pytest.fixture(scope="module")
def task():
    return load_task(TaskDefinition(classes=3, train_images=120, validation_images=60, test_images=60))


def trained(task, epochs=2, **how):
    settings = TrainingSettings(epochs=epochs, batch_size=32, learning_rate=1e-2, solver="proximal", step_loss=0.2)
    seen = []
    (result,) = train(task, window_for(task), [Pressures(0, 0, 0.05, 0)], settings, report=seen.append, **how)
    return result, seen


def is_of_test(name):
    return name.startswith("test_")


def test_other_test_labels_change_what_is_reported_of_test_and_nothing_else(task):
    shuffled = replace(task, test=Images(task.test.pixels, task.test.labels.roll(1)))
    (one, seen), (other, seen_too) = trained(task), trained(shuffled)
    assert [epoch.values for epoch in seen] == [epoch.values for epoch in seen_too]
    assert one.curve == other.curve
    decided, decided_too = (
        {name: value for name, value in result.measurement.items() if not is_of_test(name)} for result in (one, other)
    )
    assert decided == decided_too
    for weight, weight_too in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(weight, weight_too)
    assert one.measurement["test_loss"] != other.measurement["test_loss"]
    assert one.measurement["test_time"] == other.measurement["test_time"]


def test_accuracy_is_that_of_validation_and_test_accuracy_that_of_test(task):
    same = replace(task, test=task.validation)
    result, _ = trained(same)
    measured = result.measurement
    for name in ("accuracy", "loss", "time"):
        assert measured[f"test_{name}"] == measured[name]
    p = measured["test_accuracy"]
    assert measured["test_accuracy_se"] == pytest.approx(math.sqrt(p * (1 - p) / len(same.test)))


def test_network_that_only_pauses_is_not_measured_on_the_test_images(task):
    paused, _ = trained(task, epochs=3, until=2)
    assert not any(map(is_of_test, paused.measurement))
    assert paused.thinking.steps is None
    whole, _ = trained(task, epochs=3)
    assert {name for name in whole.measurement if is_of_test(name)} == {
        "test_accuracy",
        "test_accuracy_se",
        "test_loss",
        "test_time",
    }
