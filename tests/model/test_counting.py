"""Cutting dead nodes changes no answer; what is left is counted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from model import Images, Window, cut, measure, remove_dead
from model.costs import group_norms, scale_channels, space_costs
from model.counting import count_macs, count_parameters, living_channels
from tests.model.populations import images_of, lattice_of, windows

quick = settings(max_examples=40, deadline=None)


def kill(lattice, dead):
    keep = [torch.ones_like(group) for group in group_norms(lattice)]
    for l, c in dead:
        keep[l][:, c] = 0
    scale_channels(lattice, [k.detach() for k in keep])


@st.composite
def partly_dead(draw):
    window = draw(windows())
    every = [(l, c) for l, channels in enumerate(window.channels) for c in range(channels)]
    return window, draw(st.lists(st.sampled_from(every), unique=True))


@quick
@given(partly_dead())
def test_cutting_dead_nodes_changes_no_answer(given_window):
    window, dead = given_window
    lattice, images = lattice_of(window, (0, 1)), images_of(window)
    kill(lattice, dead)
    remove_dead(lattice)
    answer = lattice(images)
    for member in (0, 1):
        left = cut(lattice, member)(images)
        torch.testing.assert_close(answer.log_probs_BPK[:, member], left.log_probs_BPK[:, 0])
        torch.testing.assert_close(answer.expected_steps_BP[:, member], left.expected_steps_BP[:, 0])


@quick
@given(partly_dead())
def test_cut_network_keeps_exactly_the_living_channels(given_window):
    window, dead = given_window
    lattice = lattice_of(window)
    kill(lattice, dead)
    remove_dead(lattice)
    alive = [[(l, c) not in dead for c in range(channels)] for l, channels in enumerate(window.channels)]
    # Above a layer without living channels nothing sees the image.
    depth = next((l for l, layer in enumerate(alive) if not any(layer)), window.layers)
    assert cut(lattice).window.channels == tuple(sum(layer) for layer in alive[:depth])


def test_channel_without_a_path_from_the_image_is_removed_although_it_has_weights():
    lattice = lattice_of(Window((2, 1, 2), 3, (1, 6, 6), 3))
    kill(lattice, [(1, 0)])  # nothing passes the second layer
    assert group_norms(lattice)[2].min() > 0
    remove_dead(lattice)
    assert group_norms(lattice)[2].max() == 0
    assert cut(lattice).window.channels == (2,)


def test_channel_without_a_path_to_the_readout_is_dead_under_adaptive_time_too():
    lattice = lattice_of(Window((2,), 3, (1, 6, 6), 3))
    with torch.no_grad():
        lattice.readout[0][:, :, 1] = 0
    assert living_channels(lattice)[0].tolist() == [[True, True]]  # the other channel still hears it
    with torch.no_grad():
        lattice.lateral[0][:, 0, 1] = 0
    assert living_channels(lattice)[0].tolist() == [[True, False]]


def test_network_whose_every_channel_is_dead_still_answers_and_is_measured():
    window = Window((2, 2), 3, (1, 6, 6), 3)
    lattice = lattice_of(window).float()
    kill(lattice, [(l, c) for l in (0, 1) for c in (0, 1)])
    remove_dead(lattice)
    images = Images(torch.rand(7, 1, 6, 6), torch.tensor([0, 1, 2, 0, 1, 2, 0]))
    measured = measure(cut(lattice), window, images)
    assert (measured["depth"], measured["breadth"], measured["channels"], measured["macs"]) == (0, 0, 0, 0)
    assert measured["accuracy"] in {3 / 7, 2 / 7}  # the share of the one class it always names


def macs_by_hooks(lattice, images):
    """Count what is really multiplied, by watching every convolution; the readout is added by hand."""
    counted = 0
    original = torch.nn.functional.conv2d

    def counting(state, weight, *args, **kwargs):
        nonlocal counted
        out = original(state, weight, *args, **kwargs)
        counted += out[0].numel() * weight[0].numel()
        return out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.lattice.F.conv2d", counting)
        lattice(images[:1])
    features = sum(lattice.window.channels)
    return counted + lattice.window.steps * features * lattice.window.classes


@quick
@given(windows())
def test_counted_macs_agree_with_what_a_forward_pass_multiplies(window):
    lattice = lattice_of(window)
    assert count_macs(window, window.steps) == macs_by_hooks(lattice, images_of(window))


def test_parameters_are_those_of_the_layers_written_out_as_modules():
    window = Window((3, 2), 4, (1, 8, 8), 5)
    modules = [nn.Conv2d(1, 3, 3), nn.Conv2d(3, 3, 3, bias=False), nn.Conv2d(2, 3, 3, bias=False)]
    modules += [nn.Conv2d(3, 2, 3), nn.Conv2d(2, 2, 3, bias=False), nn.Linear(5, 5)]
    hazard = 2  # bias, and weight of the sureness
    expected = sum(p.numel() for module in modules for p in module.parameters()) + hazard
    assert count_parameters(lattice_of(window)) == expected


def test_network_of_one_step_is_counted_without_weights_that_nothing_flows_through():
    window = Window((3, 2), 1, (1, 8, 8), 5, time_selection="fixed")
    modules = [nn.Conv2d(1, 3, 3), nn.Conv2d(3, 2, 3), nn.Linear(5, 5)]
    step_logit = 1
    expected = sum(p.numel() for module in modules for p in module.parameters()) + step_logit
    assert count_parameters(lattice_of(window)) == expected
    assert count_macs(window, 1) == 64 * 9 * (1 * 3 + 3 * 2) + 5 * 5


@quick
@given(windows())
def test_cut_network_that_stops_at_its_first_step_has_no_recurrent_weights_and_the_same_answers(window):
    window = replace(window, steps=window.steps + 1)
    lattice, images = lattice_of(window, (0, 1)), images_of(window)
    lattice.last_step[1] = 1
    remove_dead(lattice)
    left = cut(lattice, 1)
    assert (left.window.steps, len(left.lateral), len(left.top_down)) == (1, 0, 0)
    torch.testing.assert_close(lattice(images).log_probs_BPK[:, 1], left(images).log_probs_BPK[:, 0])
    assert len(cut(lattice, 0).lateral) == window.layers


@pytest.mark.parametrize("recurrent", ["lateral", "top_down"])
def test_channel_heard_through_recurrent_weights_only_is_dead_where_there_is_one_step(recurrent):
    lattice = lattice_of(Window((2, 1), 3, (1, 6, 6), 3), (0, 1))
    lattice.last_step[1] = 1
    at = {"lateral": (0, 1), "top_down": (1, 0)}[recurrent]  # the channel that nothing but this one kind hears
    with torch.no_grad():
        lattice.readout[at[0]][:, :, at[1]] = 0
        if recurrent == "lateral":
            lattice.bottom_up[1][:, :, 1] = 0
    assert [bool(alive) for alive in living_channels(lattice)[at[0]][:, at[1]]] == [True, False]


def test_cut_network_without_layers_costs_nothing_in_space():
    window = Window((2, 2), 1, (1, 6, 6), 3)
    lattice = lattice_of(window)
    kill(lattice, [(l, c) for l in (0, 1) for c in (0, 1)])
    remove_dead(lattice)
    assert [cost_P.tolist() for cost_P in space_costs(cut(lattice))] == [[0.0], [0.0]]


def test_window_limits_are_told_by_axis():
    window = Window((2, 2), 3, (1, 6, 6), 2, time_selection="fixed")
    images = Images(torch.rand(6, 1, 6, 6), torch.tensor([0, 1] * 3))
    lattice = lattice_of(window).float()
    with torch.no_grad():
        lattice.step_logits.copy_(torch.tensor([[9.0, 0, 0]]))
    walls = ("limited_breadth", "limited_depth", "limited_time")
    assert [measure(cut(lattice), window, images)[wall] for wall in walls] == [1, 1, 0]
    kill(lattice, [(0, 0), (1, 0), (1, 1)])
    remove_dead(lattice)
    with torch.no_grad():
        lattice.step_logits.copy_(torch.tensor([[0.0, 0, 9]]))
    assert [measure(cut(lattice), window, images)[wall] for wall in walls] == [0, 0, 1]
