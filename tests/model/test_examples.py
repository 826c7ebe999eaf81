"""How long a network thinks about each image: counts, the soonest and latest answers, and their pictures."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import struct
import zlib
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sweeper.model import (
    Images,
    Pressures,
    Task,
    TaskDefinition,
    Window,
    evaluate,
    load_task,
    png_problem,
    thinking_entries,
    train,
)
from sweeper.model.counting import Evaluation
from sweeper.model.degradations import occlude_grey
from sweeper.model.examples import (
    MOST_PARTS,
    edges_of,
    most_bytes,
    png_of,
    thinking_of,
)
from sweeper.model.halting import halted
from sweeper.model.picture import LONGEST_SIDE
from tests.model.populations import lattice_of, training_settings, windows
from tests.model.trainings import MEMBERS, window_for

#: Members with no or weak pressures, so that steps depend on the image after a short training.
CHOOSING = [Pressures(0, 0, 0.02, 0), Pressures(1e-4, 1e-4, 0.02, 1)]
#: A training long enough for images to halt at different steps.
LONG = training_settings(learning_rate=2e-2, epochs=30)

quick = settings(max_examples=60, deadline=None)

DATA = next((up / "shared" / "data" for up in Path(__file__).parents if (up / "shared" / "data").is_dir()), None)


def seen_of(steps, choices, expected=None):
    """Return an evaluation in which only steps and answers are filled in."""
    nothing = dict.fromkeys((field.name for field in fields(Evaluation)), torch.zeros(len(steps), 1))
    choice = torch.tensor(choices, dtype=torch.int64).reshape(-1, 1)
    steps = torch.tensor(steps, dtype=torch.int64).reshape(-1, 1)
    expected = steps.double() if expected is None else torch.tensor(expected, dtype=torch.float64).reshape(-1, 1)
    return Evaluation(**{
        **nothing,
        "step": steps,
        "choice": choice,
        "is_right": choice == 0,
        "expected_steps": expected,
    })


@st.composite
def thoughts(draw):
    """Draw steps, expected ones too, with many ties, and answers 0 to 2 to images that are all labelled 0."""
    last = draw(st.integers(1, 70))
    few = draw(st.lists(st.floats(1, last), min_size=1, max_size=4))
    image = st.tuples(st.integers(1, last), st.integers(0, 2), st.sampled_from(few) | st.floats(1, last))
    return last, *zip(*draw(st.lists(image, min_size=1, max_size=40)), strict=True)


def thinking(last, steps, choices, expected=None):
    return thinking_of(seen_of(steps, choices, expected), torch.zeros(len(steps), dtype=torch.int64), last)


def soonest_and_latest(steps, members):
    """Choose images one by one: up to half, at most two, from the soonest; then of the rest from the latest."""
    left, chosen = sorted(members), {"fastest": [], "slowest": []}
    soonest = min(2, math.ceil(len(left) / 2))
    for kind, count, sign in (("fastest", soonest, 1), ("slowest", 2, -1)):
        while left and len(chosen[kind]) < count:
            best = left[0]
            for image in left:
                if (sign < 0 and steps[image] > steps[best]) or (sign > 0 and steps[image] < steps[best]):
                    best = image
            chosen[kind].append(best)
            left.remove(best)
    return chosen


# Counts


@given(st.integers(1, 5000))
def test_edges_ascend_evenly_around_the_steps_of_the_window_and_are_few(last):
    edges = edges_of(last)
    widths = {high - low for low, high in pairwise(edges)}
    assert len(widths) == 1
    (width,) = widths
    assert math.log2(width).is_integer()
    assert edges[0] == 0.5
    assert last < edges[-1] < last + 0.5 + width
    assert len(edges) - 1 <= MOST_PARTS
    assert width == 1 or last / (width / 2) > MOST_PARTS


def test_parts_of_usual_windows_are_single_steps():
    assert edges_of(1) == (0.5, 1.5)
    assert edges_of(3) == (0.5, 1.5, 2.5, 3.5)
    assert len(edges_of(60)) == 61
    assert edges_of(61)[:3] == (0.5, 2.5, 4.5)


@given(st.integers(1, 300), st.integers(1, 300))
def test_edges_of_a_longer_window_are_among_those_of_a_shorter_one(last, more):
    short, long = edges_of(last), edges_of(last + more)
    assert {edge for edge in long if edge <= short[-1]} <= set(short)


@quick
@given(thoughts())
def test_counts_are_those_of_every_image_taken_one_by_one(thought):
    last, steps, choices, _ = thought
    counts = thinking(*thought).steps
    assert sum(counts.right) + sum(counts.wrong) == len(steps)
    assert sum(counts.right) == choices.count(0)
    for which, found in ((True, counts.right), (False, counts.wrong)):
        expected, edges = [0] * (len(counts.edges) - 1), counts.edges
        for step, choice in zip(steps, choices, strict=True):
            if (choice == 0) is which:
                at = next(i for i in range(len(expected)) if edges[i] < step < edges[i + 1])
                expected[at] += 1
        assert list(found) == expected
    assert counts.edges == edges_of(last)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_network_whose_steps_are_not_finite_has_no_entry(broken):
    found = thinking(3, [1, 2, 2], [0, 1, 0], [1, broken, 2])
    assert (found.steps, found.examples) == (None, ())
    assert thinking_entries(found, Images(torch.zeros(3, 1, 4, 4), torch.zeros(3))) == {"examples": []}


# Examples


@quick
@given(thoughts())
def test_examples_are_the_soonest_and_the_latest_answers_and_none_twice(thought):
    _, steps, choices, expected_steps = thought
    found = thinking(*thought).examples
    if max(steps) == min(steps):
        assert found == ()
        return
    for is_right in (True, False):
        members = [image for image, choice in enumerate(choices) if (choice == 0) is is_right]
        expected = soonest_and_latest(list(zip(steps, expected_steps, strict=True)), members)
        for kind, chosen in expected.items():
            assert [e.image for e in found if (e.kind, e.is_right) == (kind, is_right)] == chosen
    assert len({example.image for example in found}) == len(found) == sum(min(4, n) for n in counts_of(choices))
    assert thinking(*thought).examples == found
    for example in found:
        assert (example.label, example.answer) == (0, choices[example.image])
        assert example.is_right is (example.answer == example.label)
        assert example.steps == steps[example.image]


def counts_of(choices):
    return choices.count(0), len(choices) - choices.count(0)


def test_of_equal_images_the_first_are_chosen():
    found = thinking(3, [3, 1, 1, 1, 3, 3, 2], [0] * 7).examples
    assert [(e.kind, e.image) for e in found] == [("fastest", 1), ("fastest", 2), ("slowest", 0), ("slowest", 4)]


def test_of_images_of_equal_steps_the_least_and_the_most_expected_are_chosen():
    found = thinking(3, [3, 1, 1, 1, 3, 3, 2], [0] * 7, [2.8, 1.4, 1.3, 1.2, 2.6, 2.9, 2]).examples
    assert [(e.kind, e.image) for e in found] == [("fastest", 3), ("fastest", 2), ("slowest", 5), ("slowest", 0)]


def test_single_image_is_the_fastest_and_of_two_one_is_each():
    found = thinking(3, [2, 1, 3], [1, 0, 0]).examples
    assert [(e.kind, e.is_right, e.image) for e in found] == [
        ("fastest", True, 1),
        ("slowest", True, 2),
        ("fastest", False, 0),
    ]


@quick
@given(windows(time_selection="fixed", min_layers=0))
def test_network_that_does_not_choose_by_the_image_has_counts_and_no_examples(window):
    lattice, images = lattice_of(window), images_of_window(window, 9)
    found = thinking_of(evaluate(lattice, images), images.labels, window.steps)
    assert found.examples == ()
    assert sum(found.steps.right) + sum(found.steps.wrong) == 9


@quick
@given(windows(time_selection="confidence", min_layers=0), st.integers(1, 12))
def test_what_is_said_of_a_network_is_what_it_does_image_by_image(window, count):
    lattice, images = lattice_of(window), images_of_window(window, count)
    found = thinking_of(evaluate(lattice, images, batch_size=5), images.labels, window.steps)
    assert sum(found.steps.right) + sum(found.steps.wrong) == count
    for example in found.examples:
        answer = halted(lattice, images.pixels[example.image][None])
        assert int(answer.log_probs[0].argmax()) == example.answer
        assert int(images.labels[example.image]) == example.label
        assert int(answer.steps) == example.steps


def images_of_window(window, count):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand((count, *window.image), generator=generator, dtype=torch.float64)
    return Images(pixels, torch.arange(count) % window.classes)


# Pictures


def picture(data):
    with Image.open(io.BytesIO(data)) as image:
        return image.mode, np.asarray(image)


@quick
@given(st.sampled_from([1, 3]), st.integers(1, LONGEST_SIDE), st.integers(1, LONGEST_SIDE), st.integers(0, 2**32 - 1))
def test_picture_of_a_small_image_has_its_pixels(channels, height, width, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (channels, height, width)).astype(np.float32) / np.float32(
        255
    )
    mode, found = picture(png_of(torch.from_numpy(pixels)))
    assert mode == ("L" if channels == 1 else "RGB")
    assert np.array_equal(found.reshape(height, width, channels).transpose(2, 0, 1), np.rint(pixels * 255))
    assert png_problem(png_of(torch.from_numpy(pixels))) == ""


@quick
@given(st.sampled_from([1, 3]), st.integers(1, 300), st.integers(LONGEST_SIDE + 1, 300), st.floats(0, 1, width=32))
def test_picture_of_a_large_image_is_small_of_its_shape_and_of_its_brightness(channels, height, width, brightness):
    _, found = picture(png_of(torch.full((channels, height, width), brightness)))
    assert max(found.shape[:2]) == LONGEST_SIDE
    factor = LONGEST_SIDE / max(height, width)
    assert found.shape[:2] == tuple(max(1, round(side * factor)) for side in (height, width))
    assert np.abs(found.astype(float) - 255 * brightness).max() <= 1


def test_large_picture_of_a_fine_pattern_is_its_mean_and_not_some_of_its_pixels():
    board = torch.zeros(1, 96, 96)
    board[0, ::2, ::2] = board[0, 1::2, 1::2] = 1
    _, found = picture(png_of(board))
    assert np.abs(found[4:-4, 4:-4].astype(float) - 127.5).max() < 8


def test_picture_of_noise_beyond_black_and_white_is_cut_off():
    _, found = picture(png_of(torch.tensor([[[-0.7, 0.0, 1.0, 1.9], [math.nan, math.inf, -math.inf, 0.5]]])))
    assert found.tolist() == [[0, 0, 255, 255], [0, 255, 0, 128]]


def test_picture_of_other_channels_is_their_mean():
    mode, found = picture(png_of(torch.tensor([[[0.0]], [[1.0]]])))
    assert (mode, found.tolist()) == ("L", [[128]])


def test_images_are_not_changed():
    pixels = torch.full((3, 4, 4), 1.5)
    png_of(pixels)
    assert torch.equal(pixels, torch.full((3, 4, 4), 1.5))


@quick
@given(st.sampled_from([1, 2, 3]), st.integers(1, 200), st.integers(1, 200), st.integers(2, 70))
def test_entries_of_noise_take_no_more_than_is_foretold(channels, height, width, last):
    pixels = torch.rand((9, channels, height, width), generator=torch.Generator().manual_seed(0))
    choices, steps = [0, 1] * 4 + [0], [1 + (last - 1) * (image % 3) // 2 for image in range(9)]
    entry = thinking_entries(thinking(last, steps, choices), Images(pixels, torch.zeros(9)))
    assert len(entry["examples"]) == 8
    assert len(json.dumps(entry)) <= most_bytes((channels, height, width))


# Untrusted pictures


def a_png(width=2, height=2, kind=0, pixels=None):
    """Write a PNG by hand: kind 0 is grey, 2 RGB, 3 a palette, 6 RGB with transparency."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    bytes_a_pixel = {0: 1, 2: 3, 3: 1, 6: 4}[kind]
    pixels = (b"\0" + b"\0" * width * bytes_a_pixel) * height if pixels is None else pixels
    palette = chunk(b"PLTE", b"\0\0\0") if kind == 3 else b""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + palette + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", [0, 2])
def test_png_that_another_program_wrote_is_fine(kind):
    assert png_problem(a_png(kind=kind)) == ""
    assert png_problem(a_png(LONGEST_SIDE, 1, kind)) == ""


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no readable PNG"),
        (b"<svg onload='alert(1)'/>", "no readable PNG"),
        (b"GIF89a" + b"\0" * 40, "no readable PNG"),
        (a_png()[:40], "no readable PNG"),
        (a_png(pixels=b"\0"), "no readable PNG"),
        (a_png(49, 1), "49 × 1 pixels of kind L"),
        (a_png(1, 10**4), "1 × 10000 pixels"),
        (a_png(12_000, 12_000, pixels=b""), "readable PNG|12000 × 12000"),
        (a_png(2**31 - 1, 2**31 - 1, pixels=b""), "no readable PNG"),
        (a_png(kind=3), "of kind P"),
        (a_png(kind=6), "of kind RGBA"),
    ],
)
def test_picture_that_is_none_is_refused_with_the_reason(data, said):
    assert re.search(said, png_problem(data))
    assert "\n" not in png_problem(data)


def test_picture_of_another_format_is_refused():
    file = io.BytesIO()
    Image.new("L", (4, 4)).save(file, "JPEG")
    assert "no readable PNG" in png_problem(file.getvalue())


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_changed_bytes_of_a_picture_are_refused_or_read_and_raise_nothing(data):
    whole = bytearray(png_of(torch.rand((3, 9, 9), generator=torch.Generator().manual_seed(0))))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(png_problem(bytes(whole[: data.draw(st.integers(0, len(whole)))])), str)


# Real data


def assert_true_of(result, task: Task):
    """Compare the description of a trained network with its answers to the test images, one by one."""
    network, entry = result.network, thinking_entries(result.thinking, task.test)
    answer = halted(network, task.test.shown())
    steps, right = answer.steps.tolist(), (answer.log_probs.argmax(1) == task.test.labels).tolist()
    assert sum(entry["steps"]["right"]) == sum(right) == round(result.measurement["test_accuracy"] * len(task.test))
    assert sum(entry["steps"]["wrong"]) == len(right) - sum(right)
    counts = zip(entry["steps"]["right"], entry["steps"]["wrong"], strict=True)
    assert [sum(both) for both in counts] == [steps.count(step) for step in range(1, network.window.steps + 1)]
    for is_right in (True, False):
        members = [image for image, its in enumerate(right) if its is is_right]
        chosen = soonest_and_latest(steps, members if max(steps) > min(steps) else [])
        for kind, its in chosen.items():
            found = [e for e in entry["examples"] if (e["kind"], e["is_right"]) == (kind, is_right)]
            assert [e["steps"] for e in found] == [steps[image] for image in its]
    for example in entry["examples"]:
        pixels = task.test.shown()[example["image"]]
        assert example["steps"] == steps[example["image"]]
        assert (example["answer"] == example["label"]) is example["is_right"] is right[example["image"]]
        _, found = picture(base64.b64decode(example["png"]))
        shown = (pixels.clamp(0, 1) * 255).round().numpy().transpose(1, 2, 0)
        assert np.array_equal(found.reshape(shown.shape), shown)
    return entry


@pytest.fixture(scope="module")
def noisy():
    return load_task(TaskDefinition(occlusion=0.1, noise=0.3, train_images=300, test_images=120))


def test_trained_digits_are_described_as_they_are_answered(noisy):
    results = train(noisy, window_for(noisy, steps=6), CHOOSING, LONG)
    assert [len(assert_true_of(result, noisy)["examples"]) for result in results] == [8, 8]


@pytest.mark.slow
def test_training_twice_describes_the_same_images(noisy):
    one, other = (train(noisy, window_for(noisy, steps=6), CHOOSING, LONG) for _ in range(2))
    assert [r.thinking for r in one] == [r.thinking for r in other]
    assert any(result.thinking.examples for result in one)


def test_fixed_times_are_counted_without_examples(noisy):
    for result in train(noisy, window_for(noisy, "fixed"), MEMBERS, training_settings(epochs=1)):
        assert assert_true_of(result, noisy)["examples"] == []


def test_example_shows_the_noise_and_the_square_that_the_network_saw(noisy):
    plain = load_task(TaskDefinition(train_images=300, test_images=120))
    (result,) = train(noisy, window_for(noisy, steps=6), CHOOSING[:1], LONG)
    assert result.thinking.examples
    for example in thinking_entries(result.thinking, noisy.test)["examples"]:
        _, found = picture(base64.b64decode(example["png"]))
        clean = (plain.test.pixels[example["image"]][0] * 255).round().numpy()
        assert np.abs(found - clean).mean() > 10
    hidden = occlude_grey(plain.test.pixels.numpy(), 0.1, np.random.default_rng(0))
    _, square = picture(png_of(torch.from_numpy(hidden[0])))
    assert (square == 128).any()


@pytest.mark.skipif(DATA is None, reason="there is no folder shared/data beside the checkout")
@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist"])
def test_images_of_a_file_are_described_as_they_are_answered(name):
    train_file, test_file = (str(DATA / f"{name}_{part}.parquet") for part in ("train", "test"))
    task = load_task(TaskDefinition(train_file, test=test_file, classes=3, train_images=150, test_images=600))
    window = Window((3,), 6, task.image, task.classes, halve=(1,))
    for result in train(task, window, CHOOSING, LONG):
        entry = assert_true_of(result, task)
        halted = [right + wrong for right, wrong in zip(entry["steps"]["right"], entry["steps"]["wrong"], strict=True)]
        assert bool(entry["examples"]) == (sum(map(bool, halted)) > 1)
        modes = {picture(base64.b64decode(example["png"]))[0] for example in entry["examples"]}
        assert modes <= {"L" if name == "fashion_mnist" else "RGB"}
