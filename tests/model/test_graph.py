"""A graph holds exactly the living parts of a network; its strengths are norms of kernels."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.model import Lattice, Window, WindowError, cut, remove_dead
from sweeper.model.costs import group_norms, scale_channels
from sweeper.model.counting import count_parameters
from tests.model.populations import graph_of, lattice_of, windows

quick = settings(max_examples=40, deadline=None)


def even(window):
    return [1 / window.steps] * window.steps


def norm(kernel):
    """Return the L2 norm, computed one number at a time."""
    return math.sqrt(sum(x * x for x in kernel.flatten().tolist()))


@quick
@given(windows())
def test_strengths_are_the_norms_of_the_kernels(window):
    network = lattice_of(window)
    graph = graph_of(network, even(window))
    for strengths, weights in [
        (graph.bottom_up, network.bottom_up),
        (graph.lateral, network.lateral),
        (graph.top_down, network.top_down),
    ]:
        assert len(strengths) == len(weights)
        for of_layer, weight in zip(strengths, weights, strict=True):
            for target, row in enumerate(of_layer):
                assert row == pytest.approx([norm(weight[0, target, source]) for source in range(len(row))])
    for of_layer, weight in zip(graph.readout, network.readout, strict=True):
        assert of_layer == pytest.approx([norm(weight[0, :, c]) for c in range(len(of_layer))])


@quick
@given(windows(time_selection="fixed"))
def test_strengths_add_up_to_the_group_norms(window):
    """Conversely, all weights that touch a channel make up its group."""
    network = lattice_of(window)
    graph = graph_of(network, even(window))
    for l, groups in enumerate(group_norms(network)):
        for c, group in enumerate(groups[0].tolist()):
            touching = [*graph.bottom_up[l][c], graph.readout[l][c]]
            if l + 1 < window.layers:
                touching += [row[c] for row in graph.bottom_up[l + 1]]
            if window.has_recurrent_weights:
                touching += [*graph.lateral[l][c], *(row[c] for i, row in enumerate(graph.lateral[l]) if i != c)]
                touching += [row[c] for row in graph.top_down[l - 1]] if l else []
                touching += [*graph.top_down[l][c]] if l + 1 < window.layers else []
            assert group == pytest.approx(math.hypot(*touching))


@quick
@given(windows(), st.randoms(use_true_random=False))
def test_permuting_channels_permutes_strengths(window, random):
    network = lattice_of(window)
    orders = [random.sample(range(c), c) for c in window.channels]
    permuted = lattice_of(window)
    with torch.no_grad():
        for l, order in enumerate(orders):
            below = orders[l - 1] if l else list(range(window.image[0]))
            permuted.bottom_up[l].copy_(network.bottom_up[l][:, order][:, :, below])
            permuted.readout[l].copy_(network.readout[l][:, :, order])
            if window.has_recurrent_weights:
                permuted.lateral[l].copy_(network.lateral[l][:, order][:, :, order])
            if window.has_recurrent_weights and l + 1 < window.layers:
                permuted.top_down[l].copy_(network.top_down[l][:, order][:, :, orders[l + 1]])
    before, after = graph_of(network, even(window)), graph_of(permuted, even(window))
    for l, order in enumerate(orders):
        below = orders[l - 1] if l else list(range(window.image[0]))
        assert after.bottom_up[l] == tuple(tuple(before.bottom_up[l][i][j] for j in below) for i in order)
        assert after.readout[l] == tuple(before.readout[l][i] for i in order)
        if window.has_recurrent_weights:
            assert after.lateral[l] == tuple(tuple(before.lateral[l][i][j] for j in order) for i in order)
        if window.has_recurrent_weights and l + 1 < window.layers:
            assert after.top_down[l] == tuple(tuple(before.top_down[l][i][j] for j in orders[l + 1]) for i in order)


@quick
@given(windows(), st.data())
def test_nothing_dead_appears(window, data):
    lattice = lattice_of(window)
    kill = [data.draw(st.lists(st.integers(0, c - 1), unique=True)) for c in window.channels]
    keep = [torch.ones_like(group) for group in group_norms(lattice)]
    for l, dead in enumerate(kill):
        keep[l][:, dead] = 0
    scale_channels(lattice, [k.detach() for k in keep])
    remove_dead(lattice)
    network = cut(lattice)
    graph = graph_of(network, even(window))
    assert graph.channels == network.window.channels
    assert graph.parameters == count_parameters(network)
    below = (window.image[0], *graph.channels)
    assert [(len(s), len(s[0])) for s in graph.bottom_up] == list(zip(graph.channels, below, strict=False))
    assert all(len(of_layer) == c for of_layer, c in zip(graph.readout, graph.channels, strict=True))
    for l, c in enumerate(graph.channels):
        for i in range(c):  # something arrives at every channel that appears
            arriving = [*graph.bottom_up[l][i]]
            if window.has_recurrent_weights:
                arriving += [*graph.lateral[l][i], *(graph.top_down[l][i] if l + 1 < len(graph.channels) else ())]
            assert any(arriving)


def test_graph_is_plain_numbers():
    window = Window((2, 3), 2, (1, 4, 4), 3, halve=(2,))
    graph = graph_of(lattice_of(window), [0.25, 0.75])

    def leaves(value):
        return [leaf for part in value for leaf in leaves(part)] if isinstance(value, tuple) else [value]

    assert {type(leaf) for value in vars(graph).values() for leaf in leaves(value)} == {int, float}
    assert graph.sides == ((4, 4), (2, 2))
    assert graph.step_dist == (0.25, 0.75)
    assert hash(graph) == hash(replace(graph))


def test_network_without_layers_has_a_graph():
    graph = graph_of(Lattice(Window((), 3, (1, 4, 4), 2), [0]), [0.5, 0.25, 0.25])
    assert (graph.channels, graph.bottom_up, graph.lateral, graph.readout) == ((), (), (), ())


def test_network_of_one_step_has_no_recurrent_strengths():
    graph = graph_of(lattice_of(Window((2, 2), 1, (1, 4, 4), 2)), [1.0])
    assert (graph.lateral, graph.top_down) == ((), ())
    assert len(graph.bottom_up) == 2


@pytest.mark.parametrize(
    ("seeds", "step_dist", "named"),
    [
        ((0, 1), [0.5, 0.5], "population of 2"),
        ((0,), [1.0], "window of 2 steps .* but got 1"),
        ((0,), [0.5, 0.6], r"\[0.5, 0.6\]"),
        ((0,), [1.5, -0.5], r"\[1.5, -0.5\]"),
        ((0,), [math.nan, 1.0], r"\[nan, 1.0\]"),
    ],
)
def test_graph_of_what_is_not_one_network_is_refused(seeds, step_dist, named):
    network = lattice_of(Window((2,), 2, (1, 4, 4), 2), seeds)
    with pytest.raises(WindowError, match=named):
        graph_of(network, step_dist)
