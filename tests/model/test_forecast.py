"""Forecasts of work: less under higher prices, more for more images, and close to the actual work."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.model import Images, Pressures, TaskDefinition, Window, load_task, train
from sweeper.model.forecast import ANSWERED, expected_work, seconds_of_work
from sweeper.model.native.library import usable
from sweeper.model.shard import Course, Shard
from sweeper.model.work import work
from tests.model.populations import training_settings

WINDOW = Window((6, 6), 3, (1, 4, 4), 5)
IMAGES = Images(torch.rand(64, 1, 4, 4), torch.arange(64) % 5)
PRESSURES = st.sampled_from([0.0, 1e-4, 1e-3, 1e-2, 0.1, 1.0])


def course(*members, **changes):
    how = training_settings(**({"epochs": 40, "batch_size": 16, "solver": "elimination"} | changes))
    return Course([Pressures(breadth, depth, 0.1, seed) for seed, (breadth, depth) in enumerate(members)], how, IMAGES)


def expected(run, validation=0, tested=0):
    return expected_work(run, WINDOW, validation, tested)


@given(st.lists(st.tuples(PRESSURES, PRESSURES), min_size=1, max_size=4), st.integers(0, 3))
@settings(deadline=None, max_examples=40)
def test_higher_prices_are_never_more_work(members, which):
    of_members = expected(course(*members))
    which %= len(members)
    for axis in range(2):
        dearer = [list(member) for member in members]
        dearer[which][axis] = 10 * dearer[which][axis] + 1e-3
        assert expected(course(*dearer)) <= of_members * (1 + 1e-9)


@pytest.mark.parametrize("solver", ["elimination", "proximal", "backprop"])
def test_networks_that_nothing_takes_apart_stay_as_they_begin(solver):
    run = course((0.0, 0.0), (0.0, 0.0), solver=solver)
    sizes = ([WINDOW.channels] * 2, [WINDOW.steps] * 2)
    images = run.updates * run.batch_size
    judged = expected(run) / work(WINDOW, *sizes, run.batch_size, usable()[0]) - images
    assert 0 <= judged < 20_000  # the images that stages are judged by


@given(st.integers(0, 500), st.integers(0, 500))
@settings(deadline=None, max_examples=30)
def test_more_images_are_more_work(validation, tested):
    run = course((1e-2, 0.0))
    least = expected(run, validation, tested)
    assert expected(run, validation + 10, tested) > least
    assert expected(run, validation, tested + 10) > least
    assert expected(replace(run, settings=replace(run.settings, epochs=41)), validation, tested) > least


def test_work_is_about_what_a_training_on_digits_does(monkeypatch):
    """Test the assumption about the number of remaining channels on real images."""
    task = load_task(TaskDefinition(classes=10))
    window = Window((8, 8, 8), 3, task.image, 10, standardize="images")
    members = [Pressures(breadth, 0.0, 0.05, 0) for breadth in (1e-3, 1e-2, 0.1)]
    how = training_settings(
        epochs=None, updates=500, round_updates=25, batch_size=32, learning_rate=4e-3, solver="elimination"
    )
    done, advance, seen_on = [], Shard.advance, Shard.seen_on

    def noted(shard, first, last):
        done.append(shard.work * (last - first) * shard.course.batch_size)
        advance(shard, first, last)

    def answered(shard, images, **how):
        done.append(shard.work * ANSWERED * len(images))
        return seen_on(shard, images, **how)

    monkeypatch.setattr(Shard, "advance", noted)
    monkeypatch.setattr(Shard, "seen_on", answered)
    train(task, window, members, how)
    foretold = expected_work(Course(members, how, task.train), window, 0, 0)
    assert foretold == pytest.approx(sum(done), rel=0.4)
    assert foretold < 0.8 * expected_work(Course([Pressures(0.0, 0.0, 0.05, 0)] * 3, how, task.train), window, 0, 0), (
        "not all networks stay large"
    )


def test_speed_is_measured_without_a_trace():
    run = course((1e-2, 0.0), (0.0, 0.0), epochs=1)
    generator = torch.get_rng_state()
    for at_once in (1, 2):
        assert seconds_of_work(run, WINDOW, at_once) > 0
    assert torch.equal(torch.get_rng_state(), generator)
