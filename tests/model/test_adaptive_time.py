"""Adaptive time adapts: occluded images take more steps than intact ones, though no training image was occluded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sweeper.model import Images, Pressures, TaskDefinition, Window, evaluate, load_task, train
from sweeper.model.degradations import occlude_grey
from sweeper.model.time_selection import adaptive_step_dist, sureness
from tests.model.populations import training_settings


def expected_steps(logits_TBPK, weight):
    entry_TP = torch.ones(len(logits_TBPK), 1)
    dist_TBP = adaptive_step_dist(weight * sureness(logits_TBPK) - 1, entry_TP)
    return (torch.arange(1.0, len(dist_TBP) + 1)[:, None, None] * dist_TBP).sum(0).flatten()


def test_surer_readout_stops_earlier_and_without_a_weight_it_makes_no_difference():
    logits_TBPK = torch.zeros(6, 5, 1, 3)
    logits_TBPK[..., 0] = torch.arange(5.0)[:, None]
    assert torch.all(expected_steps(logits_TBPK, 1.0).diff() < 0)
    torch.testing.assert_close(expected_steps(logits_TBPK, 0.0).diff(), torch.zeros(4), atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def task():
    return load_task(TaskDefinition())


@pytest.fixture(scope="module")
def hidden(task):
    """Return every test image with a square at five places, which hides a tenth of it."""
    rng, places = np.random.default_rng(0), 5
    pixels = np.concatenate([occlude_grey(task.test.pixels.numpy(), 0.1, rng) for _ in range(places)])
    return Images(torch.from_numpy(pixels), task.test.labels.repeat(places))


def trained(task, breadth, seeds, epochs):
    window = Window((8, 8), 6, task.image, task.classes)
    members = [Pressures(breadth, 0.0, 0.1, seed) for seed in seeds]
    return [one.network for one in train(task, window, members, training_settings(epochs=epochs, batch_size=32))]


def rises(networks, whole, hidden):
    """Return how many more steps each network takes for hidden images."""
    steps = [[float(evaluate(one, images).expected_steps.mean()) for images in (whole, hidden)] for one in networks]
    return [after - before for before, after in steps]


@pytest.mark.slow
def test_hidden_images_take_more_steps_in_every_seed_unless_the_hazard_is_blind(task, hidden, monkeypatch):
    networks = trained(task, 1e-5, (0, 1), epochs=15)
    assert min(rises(networks, task.test, hidden)) > 0.04  # 0.11 to 0.19 in four seeds
    assert min(float(evaluate(one, task.test).expected_steps.std()) for one in networks) > 0.15  # 0.27 to 0.35
    monkeypatch.setattr("sweeper.model.lattice.sureness", lambda logits_TBPK: torch.zeros_like(logits_TBPK[..., 0]))
    assert rises(networks, task.test, hidden) == pytest.approx([0.0, 0.0], abs=1e-4)


@pytest.mark.slow
def test_hidden_images_take_more_steps_in_networks_squeezed_in_space_too(task, hidden):
    networks = trained(task, 5e-4, (0, 2), epochs=20)
    assert max(sum(one.window.channels) for one in networks) < 14  # 11 and 12 of 16; 11 to 15 in six seeds
    assert min(rises(networks, task.test, hidden)) > 0  # 0.012 and 0.044
