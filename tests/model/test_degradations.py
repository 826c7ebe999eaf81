"""Degradations: level 0 is the image itself, shares are met, and levels of one seed are comparable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sweeper.model.degradations import KINDS, Degradation, background, degraded, own_kind, try_own
from sweeper.model.errors import TaskError
from sweeper.model.tasks import TaskDefinition, load_task
from sweeper.spec.choices import DegradationKind

SHARES = [kind for kind, one in KINDS.items() if one.most is not None]

images = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.sampled_from([1, 3]), st.integers(4, 12), st.integers(4, 12)),
    elements=st.floats(0, 1, width=32),
)
kinds, levels, seeds = st.sampled_from(list(KINDS)), st.floats(0, 1), st.integers(0, 2**31 - 1)


def applied(kind, level, pixels, seed=0):
    pixels.setflags(write=False)
    return Degradation(kind, level)(pixels, np.random.default_rng(seed))


def photos(count=5, channels=1, side=12, seed=0):
    return np.random.default_rng(seed).random((count, channels, side, side), dtype=np.float32)


def strokes(count=5, side=12):
    """Bright strokes on black, far from the border."""
    pixels = np.zeros((count, 1, side, side), np.float32)
    for number, image in enumerate(pixels):
        image[0, 3:9, 4 + number % 3] = 0.9
    return pixels


def test_words_of_a_spec_are_the_kinds_there_are_with_the_same_limits():
    assert {str(kind): kind.most for kind in DegradationKind} == {kind: one.most for kind, one in KINDS.items()}


@given(kinds, images, seeds)
def test_level_zero_changes_nothing(kind, pixels, seed):
    np.testing.assert_array_equal(applied(kind, 0.0, pixels, seed), pixels)


@given(kinds, levels, images, seeds)
def test_shape_and_type_are_kept_and_a_seed_gives_the_same_pixels(kind, level, pixels, seed):
    one, other = (applied(kind, level, pixels, seed) for _ in range(2))
    assert (one.shape, one.dtype) == (pixels.shape, np.float32)
    np.testing.assert_array_equal(one, other)
    if kind != "noise":
        assert one.min() >= -1e-5
        assert one.max() <= 1 + 1e-5


@given(st.sampled_from(["occlude_grey", "occlude_black", "occlude_beside"]), levels, st.integers(4, 12), seeds)
def test_squares_hide_the_stated_share_and_change_nothing_else(kind, level, side, seed):
    pixels = np.full((3, 2, side, side), 0.25, np.float32)
    hidden = applied(kind, level, pixels, seed) != 0.25
    counts = hidden.sum((2, 3))
    assert len(set(counts.flatten().tolist())) == 1
    assert abs(counts[0, 0] / side**2 - level) <= 1 / side + 1e-9


@given(levels, st.integers(2, 6), st.integers(4, 12), seeds)
def test_debris_hides_the_stated_share_by_what_other_images_hold(level, count, side, seed):
    pixels = np.linspace(0.1, 0.9, count, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, side, side), "f4")
    found = applied("debris", level, pixels, seed)
    assert ((found != pixels).sum((1, 2, 3)) == round(level * side * side)).all()
    assert set(found.flatten().tolist()) <= set(pixels.flatten().tolist())


@given(st.sampled_from(["debris", "noise"]), st.floats(0.05, 0.5), st.floats(0.5, 1), seeds)
def test_higher_level_of_a_seed_changes_the_same_pixels_and_more(kind, low, high, seed):
    pixels = photos()
    few, many = (applied(kind, level, pixels, seed) for level in (low, high))
    changed_few, changed_many = few != pixels, many != pixels
    assert (changed_few <= changed_many).all()
    if kind == "noise":
        np.testing.assert_allclose((few - pixels) / low, (many - pixels) / high, atol=1e-5)
    else:
        np.testing.assert_array_equal(few[changed_few], many[changed_few])


@given(st.floats(0.02, 0.2), seeds)
def test_control_adds_a_square_that_hides_nothing_where_there_is_room(level, seed):
    pixels = strokes()
    found = applied("occlude_beside", level, pixels, seed)
    assert (found[pixels > 0] == pixels[pixels > 0]).all()
    assert ((found == 0.5).sum((1, 2, 3)) == round(12 * level**0.5) ** 2).all()


@given(seeds)
def test_control_hides_no_more_than_any_other_place(seed):
    pixels = photos(seed=seed)
    shown = np.abs(pixels - background(pixels)).sum(1)
    found = applied("occlude_beside", 0.25, pixels, seed) != pixels
    hidden = (shown * found[:, 0]).sum((1, 2))
    for top in range(7):
        for left in range(7):
            assert (hidden <= shown[:, top : top + 6, left : left + 6].sum((1, 2)) + 1e-4).all()


@given(levels, seeds)
def test_clutter_leaves_the_image_in_front(level, seed):
    pixels = strokes()
    found = applied("clutter", level, pixels, seed)
    assert (found >= pixels).all()
    assert found.max() <= 0.9 + 1e-6


@given(st.floats(0.1, 50), images)
def test_blur_keeps_the_mean_and_never_widens_the_range(level, pixels):
    found = applied("blur", level, pixels)
    np.testing.assert_allclose(found.mean((2, 3)), pixels.mean((2, 3)), atol=1e-4)
    assert (found.max((2, 3)) <= pixels.max((2, 3)) + 1e-5).all()


@given(levels, images)
def test_contrast_keeps_the_mean_and_scales_the_spread(level, pixels):
    found = applied("contrast", level, pixels)
    np.testing.assert_allclose(found.mean((1, 2, 3)), pixels.mean((1, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(found.std((1, 2, 3)), (1 - level) * pixels.std((1, 2, 3)), atol=1e-5)


@given(levels, seeds)
def test_phases_alone_are_scrambled(level, seed):
    pixels = 0.5 + 0.02 * (photos(seed=seed) - 0.5)  # so weak that no pixel leaves the range
    found = applied("phase_scramble", level, pixels, seed)
    one, other = (np.abs(np.fft.fft2(pixels)) for pixels in (found, pixels))
    np.testing.assert_allclose(one, other, atol=1e-3)
    np.testing.assert_allclose(found.mean((2, 3)), pixels.mean((2, 3)), atol=1e-4)


def test_blank_shows_nothing_but_the_background():
    assert (applied("blank", 1.0, strokes()) == 0).all()
    np.testing.assert_allclose(applied("blank", 0.5, strokes()), strokes() / 2)


def test_more_images_than_one_block_are_degraded_each():
    pixels = np.zeros((2100, 1, 4, 4), np.float32)
    found = applied("occlude_grey", 0.25, pixels)
    assert ((found == 0.5).sum((1, 2, 3)) == 4).all()
    assert applied("noise", 1.0, pixels[:0]).shape == (0, 1, 4, 4)


def test_several_degradations_come_one_after_the_other():
    pixels = strokes()
    asked = [Degradation("blank", 1.0), Degradation("noise", 0.1)]
    found = degraded(pixels, asked, np.random.default_rng(0))
    assert found.std() == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(
    ("kind", "level", "told"),
    [("fog", 0.5, "no degradation 'fog'"), ("blur", -1.0, "at least 0.*level=-1"), ("debris", 1.5, "from 0 to 1.*1.5")],
)
def test_wrong_kind_or_level_is_refused(kind, level, told):
    with pytest.raises(TaskError, match=told):
        Degradation(kind, level)


# A user's own degradations


def brighter(pixels, level, rng):
    pixels += level * rng.random((len(pixels), 1, 1, 1))
    return pixels.astype(np.float64)


def test_degradation_of_ones_own_is_drawn_from_the_generator_and_leaves_its_input_alone():
    pixels = np.random.default_rng(1).random((5, 1, 4, 4), dtype=np.float32)
    before, one = pixels.copy(), Degradation("brighter", 2.0, own_kind("brighter", brighter))
    drawn, again = (one(pixels, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(drawn, again)
    assert drawn.dtype == np.float32
    assert (drawn > pixels).all()
    try_own("brighter", own_kind("brighter", brighter), pixels, 2.0)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (
            lambda pixels, level, rng: pixels[:, 0],
            r"must return pixels of shape \(5, 1, 4, 4\), but returned shape \(5, 4,",
        ),
        (lambda pixels, level, rng: None, r"must return pixels of shape .*, but returned shape \(\) of object"),
        (lambda pixels, level, rng: pixels / 0, "must return finite pixels"),
        (lambda pixels, level, rng: pixels + np.random.rand(), "draws from something else than the generator"),
        (lambda pixels, level, rng: 1 / 0, r"raised ZeroDivisionError: division by zero \(test_degradations.py, line"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*encountered in divide:RuntimeWarning")
def test_function_that_is_no_degradation_is_refused_in_a_sentence(function, says):
    pixels = np.random.default_rng(1).random((5, 1, 4, 4), dtype=np.float32)
    with pytest.raises(TaskError, match=f"^degradation 'mine' {says}"):
        try_own("mine", own_kind("mine", function), pixels, 1.0)


def test_task_is_degraded_by_a_function_of_ones_own():
    own = own_kind("brighter", brighter)
    plain = load_task(TaskDefinition("digits", train_images=20))
    task = load_task(TaskDefinition("digits", train_images=20, degradation="brighter", level=0.5, own_degradation=own))
    assert task.fingerprint != plain.fingerprint
    assert float(task.validation.shown().mean()) > float(plain.validation.shown().mean()) + 0.1
    assert [one.kind for one in task.degradations] == ["brighter"]
