"""Networks standardise pixels themselves, so that callers pass pixels from 0 to 1."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load as tensors_of
from safetensors.torch import save as safetensors_bytes

from sweeper.model import (
    Growth,
    Lattice,
    Pressures,
    TaskDefinition,
    Window,
    WindowError,
    decode,
    encode,
    load_task,
    train,
)
from sweeper.model.lattice import LEAST_STD
from sweeper.model.saved_network import ENTRY, digest
from tests.model.populations import images_of, lattice_of, training_settings, windows

WINDOW = Window((3, 2), 3, (3, 6, 7), 4, halve=(2,))


def over(standardize, window=WINDOW):
    return replace(window, standardize=standardize)


def same_weights(lattice, window):
    """Return a lattice over another window, with the same weights."""
    other = Lattice(window, [0] * lattice.population).double()
    other.load_state_dict(dict(lattice.named_parameters()), strict=False)
    return other


@given(windows(), st.integers(0, 3))
def test_statistics_of_images_are_taken_off_by_channel(window, seed):
    lattice, pixels = lattice_of(over("images", window), (0, 1)), images_of(window, 6, seed)
    lattice.set_pixel_statistics(pixels)
    std, mean = torch.std_mean(pixels, (0, 2, 3), correction=0, keepdim=True)
    plain = same_weights(lattice, over("none", window))
    torch.testing.assert_close(lattice(pixels).logits_TBPK, plain((pixels - mean) / std).logits_TBPK)


@given(windows(), st.integers(0, 3), st.floats(0.1, 1), st.floats(0, 0.5))
def test_contrast_and_brightness_say_nothing_where_each_image_is_standardized(window, seed, factor, offset):
    lattice, pixels = lattice_of(over("each", window), (0, 1)), images_of(window, 3, seed)
    one, other = lattice(pixels), lattice(factor * pixels + offset)
    torch.testing.assert_close(one.logits_TBPK, other.logits_TBPK)
    torch.testing.assert_close(one.step_dist_TBP, other.step_dist_TBP)
    plain = same_weights(lattice, over("none", window))
    assert not torch.allclose(plain(pixels).logits_TBPK, plain(0.1 * pixels).logits_TBPK)


def test_blank_images_and_dead_channels_of_pixels_give_finite_answers():
    blank = torch.full((2, 3, 6, 7), 0.3, dtype=torch.float64)
    for kind in ("images", "each"):
        lattice = lattice_of(over(kind))
        lattice.set_pixel_statistics(blank)
        assert torch.isfinite(lattice(blank).logits_TBPK).all()
    nearly = blank + LEAST_STD / 100 * torch.rand(2, 3, 6, 7)
    torch.testing.assert_close(lattice(nearly).logits_TBPK, lattice(blank).logits_TBPK, atol=0.1, rtol=0.1)


def test_unknown_kind_is_refused():
    with pytest.raises(WindowError, match="images, each or none, but got 'batch'"):
        over("batch")


@pytest.mark.parametrize("growth", [None, Growth(400_000)], ids=["fixed window", "growing window"])
def test_trained_network_carries_the_statistics_of_its_training_images(growth):
    task = load_task(TaskDefinition(classes=3, train_images=120, validation_images=60, test_images=60))
    window = Window((2, 2), 2, task.image, 3, standardize="images")
    members = [Pressures(0, 0, 0.05, 0), Pressures(0.5, 0, 0.05, 1)]
    pixels = task.train.pixels.double()
    for result in train(task, window, members, training_settings(), growth=growth):
        network = decode(encode(result.network, {}), "it")
        assert network.lattice.pixel_mean.tolist() == [[pytest.approx(float(pixels.mean()))]]
        assert network.lattice.pixel_std.tolist() == [[pytest.approx(float(pixels.std(correction=0)))]]
        right = network(task.validation.pixels).log_probs.argmax(1) == task.validation.labels
        assert float(right.double().mean()) == pytest.approx(result.measurement["mixture_accuracy"])


def test_file_of_a_version_that_standardized_nothing_answers_as_before():

    lattice = lattice_of(over("none")).float()
    data = encode(lattice, {})
    size = int.from_bytes(data[:8], "little")
    content = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][ENTRY])
    del content["sha256"], content["window"]["standardize"], content["window"]["bottom_up"]
    assert "connections" not in content["window"]
    content["format"] = 1
    tensors = tensors_of(data)
    old = safetensors_bytes(
        tensors,
        {
            ENTRY: json.dumps({
                **content,
                "sha256": digest(content, {name: tensor.numpy() for name, tensor in tensors.items()}),
            })
        },
    )
    network, pixels = decode(old, "it"), images_of(WINDOW).float()
    assert network.window == over("none")
    torch.testing.assert_close(network(pixels).logits, lattice(pixels).logits_TBPK[:, :, 0].transpose(0, 1))
