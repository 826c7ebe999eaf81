"""A population is divided into lattices of networks of similar size, so that as little work as possible is wasted."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.model import Images, Window
from sweeper.model.growth import Extent
from sweeper.model.native.library import TORCH
from sweeper.model.shard import Course, divide, segments
from sweeper.model.work import work
from tests.model.populations import training_settings

quick = settings(max_examples=100, deadline=None)

WINDOW = Window((4, 3), 2, (1, 8, 8), 5, halve=(2,))

SIZES = st.tuples(st.lists(st.integers(1, 40), max_size=3), st.integers(1, 8))

#: Implementations of the recurrence; all compiled code has the same rates.
RECURRENCES = st.sampled_from([TORCH, "avx2"])


def extents_of(sizes):
    return [Extent(list(channels), steps) for channels, steps in sizes]


def work_of(part, batch_size, recurrence="avx2"):
    return work(WINDOW, [e.channels for e in part], [e.steps for e in part], batch_size, recurrence)


@quick
@given(st.lists(SIZES, min_size=1, max_size=8), st.sampled_from([1, 32, 500]), RECURRENCES)
def test_every_member_is_in_one_part_and_the_work_is_never_above_one_lattice_or_one_each(sizes, batch_size, recurrence):
    extents = extents_of(sizes)
    parts, least = divide(WINDOW, extents, batch_size, recurrence)
    assert sorted(member for part in parts for member in part) == list(range(len(extents)))
    assert parts == sorted(sorted(part) for part in parts)
    assert least == pytest.approx(sum(work_of([extents[m] for m in part], batch_size, recurrence) for part in parts))
    assert least <= work_of(extents, batch_size, recurrence) * (1 + 1e-9)
    assert least <= sum(work_of([extent], batch_size, recurrence) for extent in extents) * (1 + 1e-9)


@quick
@given(
    st.lists(SIZES.filter(lambda size: size[0]), min_size=1, max_size=4),
    st.data(),
    st.sampled_from([1, 32, 500]),
    RECURRENCES,
)
def test_networks_of_one_size_stay_together(kinds, data, batch_size, recurrence):
    sizes = data.draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=9))
    parts, _ = divide(WINDOW, extents_of(sizes), batch_size, recurrence)
    for size in kinds:
        homes = [number for number, part in enumerate(parts) if any(sizes[m] == size for m in part)]
        assert len(homes) <= 1


@quick
@given(st.lists(SIZES, min_size=1, max_size=5), st.sampled_from([32, 500]))
def test_no_other_cuts_between_members_in_order_of_size_are_less_work(sizes, batch_size):
    """Compare the dynamic programming with all possible cuts."""
    extents = extents_of(sizes)
    _, least = divide(WINDOW, extents, batch_size, "avx2")
    order = sorted(extents, key=lambda e: (e.steps * sum(e.channels), e.channels, e.steps))
    for cuts in product([False, True], repeat=len(order) - 1):
        parts = [[order[0]]]
        for extent, is_cut in zip(order[1:], cuts, strict=True):
            parts = [*parts, [extent]] if is_cut else [*parts[:-1], [*parts[-1], extent]]
        assert least <= sum(work_of(part, batch_size) for part in parts) * (1 + 1e-9)


def test_networks_of_one_size_stay_together_although_another_size_is_as_large():
    sizes = [([60, 60], 2), ([30], 8)] * 4  # both are 240 channels in all steps
    assert divide(WINDOW, extents_of(sizes), 32, "avx2")[0] == [[0, 2, 4, 6], [1, 3, 5, 7]]


@quick
@given(st.lists(SIZES, min_size=1, max_size=4), RECURRENCES, st.data())
def test_more_of_anything_is_more_work(sizes, recurrence, data):
    extents = extents_of(sizes)
    least = work_of(extents, 32, recurrence)
    more = extents_of(sizes)
    one = data.draw(st.sampled_from(more))
    if data.draw(st.booleans()) or not one.channels:
        one.steps += 1
    else:
        one.channels[data.draw(st.integers(0, len(one.channels) - 1))] += 1
    assert work_of(more, 32, recurrence) >= least
    assert work_of([*extents, extents[0]], 32, recurrence) >= least


def test_small_networks_are_kept_apart_from_a_much_larger_one():
    parts, _ = divide(WINDOW, extents_of([([2], 1), ([100, 100, 100], 8), ([2], 1)]), 500, "avx2")
    assert parts == [[0, 2], [1]]


def test_networks_of_about_one_size_share_a_lattice():
    parts, _ = divide(WINDOW, extents_of([([4, 4], 3), ([4, 3], 3), ([3, 4], 2)]), 32, "avx2")
    assert parts == [[0, 1, 2]]


@quick
@given(st.integers(0, 500), st.integers(1, 200), st.integers(1, 40))
def test_round_is_divided_into_about_equal_parts_without_a_gap(begin, steps, every):
    parts = segments(begin, begin + steps, every)
    assert [step for first, last in parts for step in range(first, last)] == list(range(begin, begin + steps))
    lengths = [last - first for first, last in parts]
    assert max(lengths) <= every
    assert max(lengths) - min(lengths) <= 1


@quick
@given(st.integers(1, 50), st.integers(1, 60), st.integers(1, 300), st.integers(1, 100))
def test_rounds_hold_every_update_once(batch_size, images, updates, round_updates):
    some = Images(torch.zeros(images, 1, 2, 2), torch.zeros(images, dtype=torch.int64))
    given = training_settings(batch_size=batch_size, epochs=None, updates=updates, round_updates=round_updates)
    course = Course([], given, some)
    ends = [course.begin(number) for number in range(course.rounds + 1)]
    assert ends == sorted(set(ends))
    assert (ends[0], ends[-1]) == (0, updates)
    assert course.passes(updates) == pytest.approx(updates / course.updates_per_pass)
    by_epochs = Course([], training_settings(batch_size=batch_size, epochs=updates), some)
    assert by_epochs.rounds == updates == by_epochs.passes(by_epochs.updates)
    assert by_epochs.begin(updates) == by_epochs.updates
