"""Images kept as bytes are shown exactly as numpy divides them, and take a quarter of the memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sweeper.model import Images, Pressures, TaskDefinition, TrainingSettings, load_task, train
from sweeper.model.degradations import Degradation
from sweeper.model.images import as_floats, as_shown, levels_of
from sweeper.model.shard import Course
from tests.model.test_tasks import SHARED
from tests.model.trainings import window_for

BYTES = np.arange(256, dtype=np.uint8)
FLOATS = BYTES.astype(np.float32) / np.float32(255)


def test_every_byte_is_shown_as_numpy_divides_it():
    assert torch.equal(as_shown(torch.from_numpy(BYTES)), torch.from_numpy(FLOATS))
    assert torch.equal(as_shown(torch.from_numpy(BYTES), torch.float64), torch.from_numpy(FLOATS).double())
    assert np.array_equal(as_floats(BYTES), FLOATS)
    assert as_shown(torch.from_numpy(FLOATS)).data_ptr() == torch.from_numpy(FLOATS).data_ptr(), (
        "floats are as they are"
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch can use no GPU here")
def test_every_byte_is_shown_alike_on_a_gpu():
    assert torch.equal(as_shown(torch.from_numpy(BYTES).cuda()).cpu(), torch.from_numpy(FLOATS))


@given(st.integers(1, 40), st.integers(1, 3), st.integers(0, 2**16))
def test_statistics_of_bytes_are_those_of_the_floats_they_are_shown_as(count, channels, seed):
    pixels = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, channels, 3, 5), dtype=np.uint8))
    labels = torch.zeros(count, dtype=torch.int64)
    kept, shown = Images(pixels, labels), Images(as_shown(pixels), labels)
    for one, other in zip(kept.statistics, shown.statistics, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-13, atol=1e-15)
        torch.testing.assert_close(one.float(), other.float(), rtol=2**-23, atol=0)  # a tie may be rounded otherwise
    assert kept.brightness == pytest.approx(shown.brightness)


@pytest.mark.parametrize("value", [0, 77, 255])
def test_channel_of_one_value_has_no_deviation_at_all(value):
    _, std_C = Images(torch.full((7, 2, 3, 3), value, dtype=torch.uint8), torch.zeros(7)).statistics
    assert std_C.tolist() == [0, 0]


def test_levels_are_counted_in_blocks_as_in_one():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 2, 900, 700), dtype=np.uint8)
    assert levels_of(pixels) == tuple(tuple(np.bincount(pixels[:, c].ravel(), minlength=256)) for c in (0, 1))


def in_floats(task):
    """Return a task whose images are kept as floats, as in earlier versions."""
    parts = {name: Images(getattr(task, name).shown(), getattr(task, name).labels) for name in SETS}
    return replace(task, **parts)


SETS = ("train", "validation", "test")


@pytest.fixture(scope="module", params=[(), (Degradation("debris", 0.3), Degradation("noise", 0.05))])
def task(request, tmp_path_factory):
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("bytes") / "a.npz"
    labels = np.arange(240) % 3
    images = rng.integers(0, 120, (240, 6, 5), dtype=np.uint8) + (labels * 60).astype(np.uint8)[:, None, None]
    np.savez(path, images=images, labels=labels)
    return replace(load_task(TaskDefinition(data=str(path))), degradations=request.param)


SETTINGS = TrainingSettings(epochs=2, batch_size=32, learning_rate=1e-2, solver="elimination", step_loss=0.2)


def test_training_on_bytes_is_training_on_floats_to_the_last_bit(task):
    def trained(of):
        seen = []
        results = train(of, window_for(of), [Pressures(1e-3, 0, 0.01, 3)], SETTINGS, report=seen.append)
        return results[0], [epoch.values for epoch in seen]

    (one, seen), (other, seen_too) = trained(task), trained(in_floats(task))
    assert task.train.are_bytes
    assert not in_floats(task).train.are_bytes
    assert (one.measurement, one.curve, seen) == (other.measurement, other.curve, seen_too)
    for weight, weight_too in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(weight, weight_too)


def test_judged_images_of_bytes_are_those_of_floats(task):
    one, other = (
        Course([Pressures(0, 0, 0, 0)], SETTINGS, of.train, of.degradations) for of in (task, in_floats(task))
    )
    assert torch.equal(one.sample(50).shown(), other.sample(50).shown())


def test_images_that_are_measured_after_each_epoch_are_some_and_the_last_measurement_is_of_all(task):
    few = replace(SETTINGS, epoch_images=20)
    seen, reached = {}, {}
    for name, settings in (("all", SETTINGS), ("few", few), ("more", replace(SETTINGS, epoch_images=10**6))):
        epochs = []
        (result,) = train(task, window_for(task), [Pressures(0, 0, 0, 0)], settings, report=epochs.append)
        seen[name], reached[name] = [epoch.values[0]["loss"] for epoch in epochs], result.measurement
    assert seen["all"] == seen["more"] != seen["few"]
    assert reached["all"] == reached["few"] == reached["more"]
    assert len(seen["few"]) == 2


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder with real image files is not beside this checkout")
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_hash_of_files_of_before_is_what_it_was(name):
    task = load_task(TaskDefinition(data=str(SHARED / f"{name}_test.parquet")))
    assert task.fingerprint == PINNED[name]
    std, known = torch.std_mean(task.train.shown().double(), (0, 2, 3), correction=0)
    assert torch.equal(task.train.statistics[0].float(), known.float())
    assert torch.equal(task.train.statistics[1].float(), std.float())


#: Fingerprints of these files by the version before pixels were kept as bytes.
PINNED = {"mnist": "bddb14db2fe8823d", "cifar10": "edcdf74b275d0e23"}
