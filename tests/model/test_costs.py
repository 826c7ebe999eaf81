"""The properties that costs must have for any valid input."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.model import Window
from sweeper.model.costs import Prices, group_norms, scale_channels, space_costs, time_cost
from tests.model.populations import embedded, images_of, lattice_of, windows

quick = settings(max_examples=25, deadline=None)


def costs_of(lattice, images):
    return *space_costs(lattice), time_cost(lattice(images))


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@quick
@given(windows(), st.integers(0, 2), st.integers(0, 2), st.integers(0, 2))
def test_window_enlarged_by_dead_nodes_changes_neither_answers_nor_costs(window, channels, layers, steps):
    lattice, images = lattice_of(window, (0, 1)), images_of(window)
    larger = replace(
        window,
        channels=tuple(c + channels for c in window.channels) + (2,) * layers,
        steps=window.steps + steps,
    )
    same = embedded(lattice, larger)
    assert_same([lattice(images).log_probs_BPK], [same(images).log_probs_BPK])
    assert_same(costs_of(lattice, images), costs_of(same, images))


@quick
@given(windows(), st.randoms(use_true_random=False))
def test_renumbered_channels_change_neither_answers_nor_costs(window, random):
    lattice, images = lattice_of(window, (0, 1)), images_of(window)
    rows = [random.sample(range(c), c) for c in window.channels]
    renumbered = embedded(lattice, window, rows)
    assert_same([lattice(images).log_probs_BPK], [renumbered(images).log_probs_BPK])
    assert_same(costs_of(lattice, images), costs_of(renumbered, images))


def rescaled(lattice, layer, channel, factor):
    """Multiply the incoming weights of a channel by a factor, and divide the outgoing ones by it."""
    same = embedded(lattice, lattice.window)
    l, c = layer, channel
    with torch.no_grad():
        if lattice.window.has_recurrent_weights:
            own = same.lateral[l][:, c, c].clone()
            same.lateral[l][:, c] *= factor
            same.lateral[l][:, :, c] /= factor
            same.lateral[l][:, c, c] = own
            if l:
                same.top_down[l - 1][:, :, c] /= factor
            if l + 1 < lattice.window.layers:
                same.top_down[l][:, c] *= factor
        same.bottom_up[l][:, c] *= factor
        same.bias[l][:, c] *= factor
        same.readout[l][:, :, c] /= factor
        if lattice.window.reads_state:
            same.hazard[l][:, :, c] /= factor
        if l + 1 < lattice.window.layers:
            same.bottom_up[l + 1][:, :, c] /= factor
    return same


@pytest.mark.slow
@quick
@given(windows(), st.data())
def test_costs_minimised_over_a_channels_scale_do_not_depend_on_where_it_started(window, data):
    lattice, images = lattice_of(window), images_of(window)
    layer = data.draw(st.integers(0, window.layers - 1))
    channel = data.draw(st.integers(0, window.channels[layer] - 1))
    start = data.draw(st.sampled_from([1 / 64, 1 / 8, 8.0, 64.0]))
    moved = rescaled(lattice, layer, channel, start)
    assert_same([lattice(images).log_probs_BPK], [moved(images).log_probs_BPK])

    def least(network):
        scales = [2.0 ** (step / 4) for step in range(-48, 49, 2)]
        costs = [sum(space_costs(rescaled(network, layer, channel, scale))).item() for scale in scales]
        return min(costs), costs[0], costs[-1]

    (one, low, high), (other, *_) = least(lattice), least(moved)
    assert one == pytest.approx(other, rel=1e-6)
    # If only incoming weights counted, the least cost would lie at an end of the range, without any loss of function.
    assert one < min(low, high)


@quick
@given(windows(), st.data())
def test_another_living_channel_or_layer_never_costs_less(window, data):
    lattice = lattice_of(window)
    layer = data.draw(st.integers(0, window.layers - 1))
    channel = data.draw(st.integers(0, window.channels[layer] - 1))
    breadth, depth = space_costs(lattice)
    keep = [torch.ones_like(group) for group in group_norms(lattice)]
    keep[layer][0, channel] = 0
    scale_channels(lattice, keep)
    breadth_without, depth_without = space_costs(lattice)
    assert breadth_without < breadth
    assert depth_without < depth
    keep = [torch.ones_like(group) for group in keep]
    keep[-1][:] = 0
    scale_channels(lattice, keep)
    assert space_costs(lattice)[1] <= depth_without


@quick
@given(windows(time_selection="fixed"))
def test_probability_moved_to_a_later_step_costs_more_time(window):
    window = replace(window, steps=window.steps + 1)
    lattice, images = lattice_of(window), images_of(window)
    before = time_cost(lattice(images))
    with torch.no_grad():
        lattice.step_logits[0, -1] += 1
    assert time_cost(lattice(images)) > before


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(windows())
def test_gradients_of_the_costs_agree_with_finite_differences(window):
    lattice, images = lattice_of(window), images_of(window)
    if hasattr(lattice, "hazard_sureness"):
        lattice.hazard_sureness.data.zero_()  # no gradient flows through the sureness, by design
    values = [parameter.detach().clone().requires_grad_() for parameter in lattice.parameters()]
    names = [name for name, _ in lattice.named_parameters()]

    def costs(*given):
        state = dict(zip(names, given, strict=True))
        with torch.nn.utils.stateless._reparametrize_module(lattice, state):
            return torch.stack(costs_of(lattice, images))

    assert torch.autograd.gradcheck(costs, values, atol=1e-5, rtol=1e-4)


def test_gradient_of_a_dead_channel_is_zero_and_finite():
    window = Window((3, 2), 3, (1, 5, 5), 3)
    lattice = lattice_of(window)
    keep = [torch.ones(1, c, dtype=torch.float64) for c in window.channels]
    keep[0][0, 1] = 0
    scale_channels(lattice, keep)
    space_costs(lattice)[0].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in lattice.parameters() if p.grad is not None)
    assert torch.all(lattice.bottom_up[0].grad[0, 1] == 0)


@quick
@given(windows(min_layers=0), st.integers(1, 3))
def test_costs_are_one_number_for_each_network_whether_or_not_it_has_layers(window, population):
    lattice = lattice_of(window, range(population))
    for cost_P in space_costs(lattice):
        assert (cost_P.shape, cost_P.dtype) == ((population,), torch.float64)
        assert torch.equal(cost_P > 0, torch.full((population,), window.layers > 0))


@quick
@given(
    st.integers(1, 4).flatmap(lambda c: st.lists(st.lists(st.floats(0, 9), min_size=c, max_size=c), min_size=1)),
    st.integers(1, 9),
    st.floats(0, 2),
    st.floats(0, 2),
)
def test_slope_of_the_costs_is_what_both_solvers_push_with(groups, layer, breadth_pressure, depth_pressure):
    """The loss of one solver and the threshold of the other are the same prices; ranks and layers count from 1."""
    group_PC = torch.tensor(groups, dtype=torch.float64, requires_grad=True)
    pressures = [torch.full(group_PC.shape[:1], value).double() for value in (breadth_pressure, depth_pressure)]
    prices = Prices.of(group_PC, layer)
    breadth_P, depth_P = prices.costs(group_PC)
    (pressures[0] * breadth_P + pressures[1] * depth_P).sum().backward()
    assert torch.equal(group_PC.grad, prices.under(*pressures))
    for row, norms in enumerate(groups):
        ranks = [rank for rank, _ in enumerate(norms, start=1)]
        assert breadth_P[row].item() == pytest.approx(
            sum(k * g for k, g in zip(ranks, sorted(norms)[::-1], strict=True))
        )
        assert depth_P[row].item() == pytest.approx(layer * sum(norms))
