"""The rules by which a window grows and shrinks, without any network."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.model import Growth, Window
from sweeper.model.growth import (
    CLOSING_BEGINS,
    DEAD_SHARE,
    GROWTH_ENDS,
    LOOK_EVERY,
    PATIENCE,
    START_CHANNELS,
    WANTED_SHARE,
    Axis,
    Extent,
    Look,
    grow,
    shrink,
    walls,
)

quick = settings(max_examples=100, deadline=None)

WINDOW = Window((4, 3), 2, (1, 8, 8), 5, halve=(2,))
BATCH = 32
UNLIMITED = Growth(10**15)


def test_last_step_closes_when_all_halt_as_soon_as_the_bound_of_the_hazard_lets_them():
    for share, opening in ((0.0474 * 1.04, -1), (0.0474 * 1.06, 0)):
        extent = Extent([3], 2)
        shrink(extent, replace(look(extent, last_share=share), least_share=0.0474))
        assert extent.opening == opening


def look(extent, now=PATIENCE, *, kept=None, used=None, norm=1.0, last_share=0.0, last_entry=1.0, done=0.5):
    kept = list(extent.channels) if kept is None else kept
    norms = [norm] * len(kept)
    return Look(kept, list(kept) if used is None else used, norms, norms, last_share, last_entry, now, done)


def looked(extent, seen, growth=UNLIMITED, window=WINDOW):
    shrink(extent, seen)
    grow(extent, seen, window, BATCH, growth)


def due_at(extent, now):
    """Make all offers due at step `now`."""
    for axis in (*extent.breadth, extent.depth, extent.time):
        axis.due = now


NOT_DUE = 10**9


def test_nothing_grows_before_it_is_due():
    extent = Extent.of(WINDOW)
    looked(extent, look(extent, PATIENCE - 1, last_share=1.0))
    assert (extent.channels, extent.steps, extent.opening) == ([4, 3], 2, 0)


def test_layer_that_is_all_in_use_is_offered_half_as_many_channels_again():
    extent = Extent.of(WINDOW)
    extent.depth.due = NOT_DUE
    looked(extent, look(extent))
    assert extent.channels == [6, 5]
    assert [axis.due for axis in extent.breadth] == [2 * PATIENCE] * 2
    assert all(axis.is_hungry for axis in extent.breadth)


@pytest.mark.parametrize(("kept", "used"), [([3, 3], [3, 3]), ([4, 3], [3, 3])])
def test_layer_in_which_something_has_died_is_offered_nothing(kept, used):
    extent = Extent.of(WINDOW)
    extent.depth.due = NOT_DUE
    extent.breadth[0].is_hungry = True
    looked(extent, look(extent, kept=kept, used=used))
    assert extent.channels == [kept[0], 5]
    assert not extent.breadth[0].is_hungry


def test_layer_is_laid_on_top_and_waits_for_its_turn():
    extent = Extent.of(WINDOW)
    for axis in extent.breadth:
        axis.due = NOT_DUE
    looked(extent, look(extent))
    assert extent.channels == [4, 3, START_CHANNELS]
    assert extent.breadth[2].due == 2 * PATIENCE
    looked(extent, look(extent, PATIENCE + LOOK_EVERY))
    assert extent.channels == [4, 3, START_CHANNELS]


NEXT = replace(WINDOW, bottom_up="next")


@pytest.mark.parametrize(
    ("steps", "opening", "is_offered"), [(2, 0, False), (3, 0, True), (3, 1, True), (3, -1, False)]
)
def test_layer_is_laid_on_top_only_where_the_image_reaches_it_in_steps_that_stay(steps, opening, is_offered):
    extent = replace(Extent.of(NEXT), steps=steps, opening=opening)
    extent.depth.is_hungry = True
    due_at(extent, PATIENCE)
    for axis in extent.breadth:
        axis.due = NOT_DUE
    looked(extent, look(extent, last_share=WANTED_SHARE / 2, last_entry=0.5), window=NEXT)
    assert extent.channels == [4, 3, *([START_CHANNELS] if is_offered else [])]
    assert extent.depth.is_hungry == is_offered  # otherwise the steps limit it


def test_layer_that_waited_for_a_step_is_laid_on_top_once_it_opens():
    extent = Extent.of(NEXT)
    looked(extent, look(extent, last_share=1.0), window=NEXT)
    assert (len(extent.channels), extent.steps) == (2, 3)
    looked(extent, look(extent, PATIENCE + LOOK_EVERY, last_entry=0.5), window=NEXT)
    assert (len(extent.channels), extent.steps) == (3, 3)


def test_network_without_layers_is_offered_none():
    extent = Extent.of(WINDOW)
    looked(extent, look(extent, kept=[]))
    assert (extent.channels, extent.breadth) == ([], [])


def test_no_layer_is_laid_on_one_of_which_nothing_counts_as_alive():
    """With plain gradients weights only come near zero: a layer may count as dead without being zero."""
    extent = Extent.of(WINDOW)
    extent.depth.is_hungry = True
    looked(extent, look(extent, used=[4, 0]))
    assert (extent.channels, extent.depth.is_hungry) == ([6, 3], False)


def test_layer_that_dies_leaves_with_its_axis():
    extent = Extent.of(WINDOW)
    due_at(extent, NOT_DUE)
    looked(extent, look(extent, 300, kept=[4]))
    assert (extent.channels, len(extent.breadth)) == ([4], 1)
    assert (extent.depth.due, extent.depth.is_hungry) == (300 + PATIENCE, False)  # the layer was no offer


@pytest.mark.parametrize(("share", "opens"), [(WANTED_SHARE * 1.01, True), (WANTED_SHARE * 0.99, False)])
def test_step_opens_when_the_last_one_is_wanted(share, opens):
    extent = Extent.of(WINDOW)
    looked(extent, look(extent, last_share=share))
    assert (extent.steps, extent.opening) == ((3, 1) if opens else (2, 0))
    assert extent.time.is_hungry is opens


def test_no_step_opens_while_another_one_opens_or_closes():
    for opening in (1, -1):
        extent = Extent.of(WINDOW)
        extent.opening = opening
        looked(extent, look(extent, last_share=1.0, last_entry=0.5))
        assert (extent.steps, extent.opening) == (2, opening)


def test_step_that_has_opened_is_in_use():
    extent = Extent.of(WINDOW)
    extent.opening = 1
    shrink(extent, look(extent, last_entry=0.98, last_share=1.0))
    assert extent.opening == 1
    shrink(extent, look(extent, last_entry=1.0, last_share=1.0))
    assert (extent.steps, extent.opening) == (2, 0)


@pytest.mark.parametrize(
    ("share", "done", "steps", "closes"),
    [
        (DEAD_SHARE * 0.99, CLOSING_BEGINS, 2, True),
        (DEAD_SHARE * 1.01, CLOSING_BEGINS, 2, False),
        (0.0, CLOSING_BEGINS - 0.01, 2, False),
        (0.0, 1.0, 1, False),
    ],
)
def test_step_closes_when_it_keeps_almost_nothing_but_neither_early_nor_the_first(share, done, steps, closes):
    extent = Extent.of(WINDOW)
    extent.steps = steps
    shrink(extent, look(extent, last_share=share, done=done))
    assert (extent.steps, extent.opening) == (steps, -1 if closes else 0)


def test_step_leaves_when_it_has_closed():
    extent = Extent.of(WINDOW)
    extent.opening = -1
    shrink(extent, look(extent, last_entry=0.02))
    assert (extent.steps, extent.opening) == (2, -1)
    shrink(extent, look(extent, 400, last_entry=0.0, last_share=1.0))
    assert (extent.steps, extent.opening) == (1, 0)
    assert (extent.time.due, extent.time.is_hungry) == (400 + PATIENCE, False)


@pytest.mark.parametrize("done", [GROWTH_ENDS, 1.0])
def test_nothing_grows_at_the_end_of_the_training(done):
    extent = Extent.of(WINDOW)
    looked(extent, look(extent, 10**6, last_share=1.0, done=done), Growth(0))
    assert (extent.channels, extent.steps, extent.opening, extent.is_full) == ([4, 3], 2, 0, False)
    looked(extent, look(extent, 10**6, last_share=1.0, done=GROWTH_ENDS - 1e-9))
    assert (extent.channels, extent.steps) == ([6, 5, START_CHANNELS], 3)


@pytest.mark.parametrize("axis", ["breadth", "depth", "time"])
def test_window_settles_where_every_offer_is_refused(axis):
    """The distance between offers doubles: about log n offers in n looks."""
    extent = Extent.of(WINDOW)
    due_at(extent, NOT_DUE)
    its = {"breadth": extent.breadth[0], "depth": extent.depth, "time": extent.time}[axis]
    its.due, offers = PATIENCE, []
    for now in range(LOOK_EVERY, 200 * PATIENCE, LOOK_EVERY):
        before = (extent.channels, extent.steps)
        has_closed = extent.steps == 3
        seen = look(extent, now, kept=[4, 3], used=[4, 3], last_share=1.0, last_entry=0.0 if has_closed else 1.0)
        if has_closed:
            extent.opening = -1
        looked(extent, seen)
        if sum(extent.channels) + extent.steps > sum(before[0]) + before[1]:
            offers.append(now)
    # Each offer is refused at the next look, when the wait begins.
    waits = [b - a for a, b in pairwise(offers)]
    assert waits == [LOOK_EVERY + PATIENCE * 2**n for n in range(1, len(offers))]
    assert len(offers) == 7


def test_offer_that_is_taken_is_followed_at_the_first_patience_again():
    axis = Axis()
    axis.was_taken(100)
    axis.was_refused(150)
    axis.was_taken(350)
    axis.was_refused(400)
    assert (axis.patience, axis.due, axis.is_hungry) == (4 * PATIENCE, 400 + 4 * PATIENCE, False)
    axis.was_taken(800)  # offered again; the next call shows whether it was taken
    assert (axis.patience, axis.due, axis.is_hungry) == (4 * PATIENCE, 800 + 4 * PATIENCE, True)
    axis.was_taken(1200)
    assert (axis.patience, axis.due) == (PATIENCE, 1200 + PATIENCE)


def test_offer_whose_parts_die_one_after_another_is_refused_once():
    axis = Axis()
    axis.was_taken(100)
    for now in (150, 175, 200):
        axis.was_refused(now)
    assert (axis.patience, axis.due) == (2 * PATIENCE, 200 + 2 * PATIENCE)


@st.composite
def histories(draw):
    """Draw observations at consecutive looks: shares of living channels and layers, and of the last step."""
    unit = st.sampled_from([0.0, 0.3, 0.9]) | st.just(1.0)
    return draw(st.lists(st.tuples(unit, unit, unit, st.floats(0, 1)), min_size=1, max_size=40))


@quick
@given(histories(), st.integers(0, 3_000_000))
def test_no_history_leads_beyond_the_memory_and_a_window_is_full_just_when_it_was_kept_from_growing(history, memory):
    limit = max(memory, WINDOW.training_bytes(BATCH))  # the initial window is always allowed
    extent, free = Extent.of(WINDOW), Extent.of(WINDOW)
    differs = False
    for number, (broad, deep, share, entry) in enumerate(history, start=1):
        layers = round(deep * len(extent.channels))
        kept = [round(broad * c) for c in extent.channels[:layers]]
        kept = kept[: next((l for l, c in enumerate(kept) if not c), layers)]
        done = number / len(history)
        for one, growth in ((extent, Growth(limit)), (free, UNLIMITED)):
            if not differs:
                looked(
                    one, look(one, number * PATIENCE, kept=kept, last_share=share, last_entry=entry, done=done), growth
                )
        assert len(extent.breadth) == len(extent.channels)
        assert all(c >= 1 for c in extent.channels)
        assert extent.steps >= 1
        window = WINDOW.resized(tuple(extent.channels), extent.steps)
        assert window.training_bytes(BATCH) <= limit
        now_differs = (extent.channels, extent.steps) != (free.channels, free.steps)
        differs = differs or now_differs
        assert extent.is_full == differs
        if differs:
            break
    assert not free.is_full


def test_window_that_was_once_full_is_known_as_such_although_something_smaller_fits():
    extent = Extent.of(WINDOW)
    limit = WINDOW.resized((4, 3), 3).training_bytes(BATCH)
    wider, deeper = (WINDOW.resized(channels, 2) for channels in ((6, 3), (4, 3, START_CHANNELS)))
    assert min(wider.training_bytes(BATCH), deeper.training_bytes(BATCH)) > WINDOW.training_bytes(BATCH)
    for now, growth in ((PATIENCE, Growth(0)), (3 * PATIENCE, Growth(limit)), (5 * PATIENCE, UNLIMITED)):
        looked(extent, look(extent, now, last_share=1.0), growth)
        assert extent.is_full


@quick
@given(histories())
def test_extent_that_was_written_and_read_goes_on_as_it_was(history):
    extent = Extent.of(WINDOW)
    for number, (broad, _, share, entry) in enumerate(history, start=1):
        kept = [max(1, round(broad * c)) for c in extent.channels]
        looked(extent, look(extent, number * PATIENCE, kept=kept, last_share=share, last_entry=entry), Growth(10**6))
        read = Extent.from_state(json.loads(json.dumps(extent.to_state())))
        assert read == extent
    read.breadth[0].was_refused(1)
    assert read != extent  # nothing is shared


# Memory


@quick
@given(st.lists(st.integers(1, 9), max_size=4), st.integers(1, 6), st.data())
def test_larger_window_takes_more_memory(channels, steps, data):
    window = WINDOW.resized(tuple(channels), steps)
    larger = list(channels)
    way = data.draw(st.sampled_from(["wider", "deeper", *(["longer"] if channels else [])]))
    if way == "wider" and larger:
        larger[data.draw(st.integers(0, len(larger) - 1))] += 1
    elif way != "longer":
        larger.append(1)
    longer = WINDOW.resized(tuple(larger), steps + (way == "longer"))
    assert longer.training_bytes(BATCH) > window.training_bytes(BATCH)
    if channels:
        assert window.training_bytes(BATCH + 1) > window.training_bytes(BATCH)


# Walls


def limits(extent, channels, share, grows):
    found = walls(extent, WINDOW, channels, share, grows)
    assert list(found) == ["limited_breadth", "limited_depth", "limited_time", "limited_memory"]
    assert all(type(value) is float for value in found.values())
    assert found["limited_memory"] == extent.is_full
    return tuple(found.values())[:3]


@pytest.mark.parametrize(
    ("channels", "share", "limited"),
    [
        ((4, 3), 1.0, (1, 1, 1)),
        ((4, 2), 0.0, (1, 1, 0)),
        ((3, 3), 0.0, (1, 1, 0)),
        ((3, 2), WANTED_SHARE * 0.99, (0, 1, 0)),
        ((4,), 0.0, (1, 0, 0)),
        ((3,), WANTED_SHARE * 1.01, (0, 0, 1)),
        ((), 0.0, (0, 0, 0)),
    ],
)
def test_fixed_window_limits_where_it_is_filled(channels, share, limited):
    assert limits(Extent.of(WINDOW), channels, share, grows=False) == limited


def test_fixed_window_whose_last_step_has_closed_does_not_limit_time():
    extent = Extent.of(WINDOW)
    extent.steps = 1
    assert limits(extent, (3,), 1.0, grows=False) == (0, 0, 0)


def test_growing_window_limits_where_the_last_offer_was_taken():
    extent = Extent.of(WINDOW)
    assert limits(extent, (4, 3), 1.0, grows=True) == (0, 0, 0)  # the initial window is no limit
    looked(extent, look(extent, last_share=1.0))
    assert limits(extent, extent.channels, 1.0, grows=True) == (1, 1, 1)
    kept = [c - 1 for c in extent.channels[:2]]
    looked(extent, look(extent, 2 * PATIENCE, kept=kept, last_share=0.01, last_entry=1.0))
    assert limits(extent, kept, 0.01, grows=True) == (0, 0, 0)


def test_layer_whose_weakest_channel_weakens_is_offered_nothing_until_it_holds():
    extent = Extent.of(WINDOW)
    before, layers = list(extent.channels), len(extent.channels)
    looked(extent, look(extent, now=PATIENCE - 1, norm=1.0))
    looked(extent, look(extent, now=PATIENCE, norm=0.9))
    assert extent.channels == before
    assert not any(axis.is_hungry for axis in (*extent.breadth, extent.depth))
    due = extent.breadth[0].due
    assert due > PATIENCE
    looked(extent, look(extent, now=due, norm=0.9))
    assert extent.channels[0] > before[0]
    assert len(extent.channels) == layers + 1
