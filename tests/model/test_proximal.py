"""The proximal step solves its problem, down to exactly zero, and for each network and channel on its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.model import Window
from sweeper.model.adam import Adam
from sweeper.model.costs import group_norms
from sweeper.model.proximal import proximal_step
from tests.model.populations import adam_of, embedded, images_of, lattice_of, train_steps, windows

quick = settings(max_examples=25, deadline=None)

RATE = 0.1

PRESSURES = st.floats(0, 5)


def squares_of(window, seeds=(0,)):
    """Return a lattice whose weights serve as √v of Adam, different for each network and weight."""
    return lattice_of(window, [seed + 50 for seed in seeds])


def stepped(lattice, breadth, depth, squares):
    """Make the step, with one pressure for each network, and return the dead channels."""
    optimizer = adam_of(lattice, RATE, squares)
    pressures = (torch.tensor(pressure, dtype=torch.float64) for pressure in (breadth, depth))
    return proximal_step(lattice, *pressures, optimizer)


def metric_of(squares):
    """Return d = √v̂ + ε of every weight by name, after the three steps that `adam_of` sets."""
    correction = 1 - 0.999**3
    return {name: (s.detach().square() / correction).sqrt() + 1e-8 for name, s in squares.named_parameters()}


def set_apart(lattice):
    """Set all weights between different channels to zero, so that no two groups share a weight."""
    with torch.no_grad():
        for l in range(lattice.window.layers):
            if lattice.window.has_recurrent_weights:
                c = lattice.window.channels[l]
                lattice.lateral[l].mul_(torch.eye(c, dtype=torch.float64)[:, :, None, None])
            if l:
                lattice.bottom_up[l].zero_()
            if lattice.window.has_recurrent_weights and l + 1 < lattice.window.layers:
                lattice.top_down[l].zero_()


def group_of(values, l, c):
    """Return the weights of an isolated channel: from the image, from itself, and to the answer."""
    found = [values[f"bottom_up.{l}"][0, c].flatten()] if l == 0 else []
    if f"lateral.{l}" in values:
        found.append(values[f"lateral.{l}"][0, c, c].flatten())
    found += [values[f"{name}.{l}"][0, :, c] for name in ("readout", "hazard") if f"{name}.{l}" in values]
    return torch.cat(found).detach().numpy()


def minimiser(d, w, threshold):
    """Return argmin ½ Σ d (w' − w)² + τ ‖w'‖ by 200 halvings of an interval, in plain numpy."""
    if np.linalg.norm(d * w) <= threshold:
        return np.zeros_like(w)
    low, high = 0.0, np.linalg.norm(w)
    for _ in range(200):
        middle = (low + high) / 2
        is_below = np.sum((d * w / (d * middle + threshold)) ** 2) > 1
        low, high = (middle, high) if is_below else (low, middle)
    return w * d / (d + threshold / high)


def objective(new, d, w, threshold):
    return 0.5 * np.sum(d * (new - w) ** 2) + threshold * np.linalg.norm(new)


@quick
@given(windows(), PRESSURES, PRESSURES)
def test_step_of_channels_set_apart_solves_its_problem(window, breadth, depth):
    lattice, squares = lattice_of(window), squares_of(window)
    set_apart(lattice)
    before = {name: weight.detach().clone() for name, weight in lattice.named_parameters()}
    groups, d = group_norms(lattice), metric_of(squares)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sweeper.model.proximal.NEWTON_STEPS", 12)  # until convergence: the default suffices for float32
        dead = stepped(lattice, [breadth], [depth], squares)
    after = dict(lattice.named_parameters())
    generator = np.random.default_rng(0)
    for l, group_PC in enumerate(groups):
        rank = {c: k for k, c in enumerate(sorted(range(group_PC.shape[1]), key=lambda c: -group_PC[0, c]), start=1)}
        for c, k in rank.items():
            its_d, its_w, new = (group_of(values, l, c) for values in (d, before, after))
            threshold = RATE * (breadth * k + depth * (l + 1))
            np.testing.assert_allclose(new, minimiser(its_d, its_w, threshold), rtol=0, atol=1e-9)
            assert dead[l][0, c] == (np.linalg.norm(its_d * its_w) <= threshold) == (not new.any())
            least = objective(new, its_d, its_w, threshold)
            for scale in (1e-3, 1e-1, 1.0):
                elsewhere = new + scale * generator.normal(size=new.shape)
                assert objective(elsewhere, its_d, its_w, threshold) >= least - 1e-12
            shrunk = np.linalg.norm(new) / np.linalg.norm(its_w)
            bias, was = after[f"bias.{l}"][0, c].item(), before[f"bias.{l}"][0, c].item()
            assert bias == pytest.approx(was * shrunk, abs=1e-7)


def test_channel_dies_at_the_stated_threshold_and_not_before():
    window = Window((1,), 2, (1, 4, 4), 2, time_selection="fixed")
    squares = squares_of(window)
    d, w = (group_of(values, 0, 0) for values in (metric_of(squares), dict(lattice_of(window).named_parameters())))
    deadly = np.linalg.norm(d * w) / RATE
    for pressure, is_dead in ((deadly * (1 - 1e-9), False), (deadly * (1 + 1e-9), True)):
        for breadth, depth in ((pressure, 0.0), (0.0, pressure), (pressure / 2, pressure / 2)):  # k = 1, l = 1
            lattice = lattice_of(window)
            assert stepped(lattice, [breadth], [depth], squares)[0].tolist() == [[is_dead]]
            every = [lattice.bottom_up[0], lattice.lateral[0], lattice.readout[0], lattice.bias[0]]
            assert all(bool((weight == 0).all()) == is_dead for weight in every)


def test_equal_second_moments_scale_a_channel_as_a_whole():
    """With one d for all weights the problem is the well-known one: the group is scaled by 1 − τ / (d · g)."""
    window = Window((1,), 2, (1, 4, 4), 2, time_selection="fixed")
    lattice, squares = lattice_of(window), squares_of(window)
    with torch.no_grad():
        for square in squares.parameters():
            square.fill_(0.5)
    d = metric_of(squares)["bias.0"].item()
    group, weight = group_norms(lattice)[0].item(), lattice.bottom_up[0].detach().clone()
    stepped(lattice, [0.3], [0.2], squares)
    factor = 1 - RATE * (0.3 * 1 + 0.2 * 1) / (d * group)
    torch.testing.assert_close(lattice.bottom_up[0].detach(), weight * factor, rtol=1e-9, atol=0)


def test_second_layer_and_second_rank_feel_the_pressure_twice():
    window = Window((2, 1), 1, (1, 4, 4), 2)
    for breadth, depth, twice in ((0.4, 0.0, (0, 1)), (0.0, 0.4, (1, 0))):
        lattice, squares = lattice_of(window), squares_of(window)
        set_apart(lattice)
        with torch.no_grad():
            lattice.readout[0][:, :, 1] *= 0.01  # the second channel of the first layer is the weaker one
            lattice.bottom_up[0][:, 1] *= 0.01
        before = dict(embedded(lattice, window).named_parameters())
        l, c = twice
        d, w = (group_of(values, l, c) for values in (metric_of(squares), before))
        stepped(lattice, [breadth], [depth], squares)
        new = group_of(dict(lattice.named_parameters()), l, c)
        np.testing.assert_allclose(new, minimiser(d, w, RATE * 2 * 0.4), atol=1e-10)


@quick
@given(windows(), PRESSURES, PRESSURES)
def test_no_pressure_changes_nothing_whatever_the_pressure_beside_it(window, breadth, depth):
    lattice, before = lattice_of(window, (0, 1)), lattice_of(window, (0, 1))
    dead = stepped(lattice, [0.0, breadth], [0.0, depth], squares_of(window, (0, 1)))
    assert not any(bool(died[0].any()) for died in dead)
    for now, was in zip(lattice.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(now[0], was[0], rtol=1e-12, atol=0)


@quick
@given(windows(), st.floats(0.01, 5), st.floats(0, 5))
def test_pressure_shrinks_every_weight_of_every_channel_and_turns_none_around(window, breadth, depth):
    lattice, before = lattice_of(window), lattice_of(window)
    dead = stepped(lattice, [breadth], [depth], squares_of(window))
    for (name, now), was in zip(lattice.named_parameters(), before.parameters(), strict=True):
        of_channels = name.split(".")[0] in {"bottom_up", "lateral", "top_down", "readout", "hazard", "bias"}
        assert torch.all(now.abs() < was.abs()) if of_channels else torch.equal(now, was)
        assert torch.all(now * was >= 0)
    for died, norm in zip(dead, group_norms(lattice), strict=True):
        assert torch.all(norm[died] == 0)


@quick
@given(windows(), st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), PRESSURES, PRESSURES)
def test_dead_channels_layers_and_steps_beside_change_no_step(window, channels, layers, steps, breadth, depth):
    larger = replace(
        window,
        channels=tuple(c + channels for c in window.channels) + (2,) * layers,
        steps=window.steps + steps,
    )
    lattice, squares = lattice_of(window), squares_of(window)
    padded, padded_squares = embedded(lattice, larger), embedded(squares, larger)
    dead = stepped(lattice, [breadth], [depth], squares)
    dead_padded = stepped(padded, [breadth], [depth], padded_squares)
    assert_same(embedded(lattice, larger), padded)
    for one, other in zip(dead, dead_padded, strict=False):
        assert one.tolist() == other[:, : one.shape[1]].tolist()
        assert other[:, one.shape[1] :].all()


@quick
@given(windows(), st.randoms(use_true_random=False), PRESSURES, PRESSURES)
def test_renumbered_channels_take_the_renumbered_step(window, random, breadth, depth):
    lattice, squares = lattice_of(window), squares_of(window)
    rows = [random.sample(range(c), c) for c in window.channels]
    renumbered, its_squares = embedded(lattice, window, rows), embedded(squares, window, rows)
    stepped(lattice, [breadth], [depth], squares)
    stepped(renumbered, [breadth], [depth], its_squares)
    assert_same(embedded(lattice, window, rows), renumbered)


@quick
@given(windows(), PRESSURES, PRESSURES)
def test_member_takes_the_step_that_it_takes_alone(window, breadth, depth):
    together, alone = lattice_of(window, (0, 1)), lattice_of(window, (1,))
    stepped(together, [depth, breadth], [breadth, depth], squares_of(window, (0, 1)))
    stepped(alone, [breadth], [depth], squares_of(window, (1,)))
    for one, other in zip(together.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(one[1], other[0], rtol=1e-12, atol=1e-12)


def assert_same(one, other):
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_weight_between_two_channels_is_shrunk_by_both():
    window = Window((1, 1), 1, (1, 4, 4), 2)
    lattice, squares = lattice_of(window), squares_of(window)
    with torch.no_grad():
        for square in squares.parameters():
            square.fill_(0.5)
    d = metric_of(squares)["bias.0"].item()
    first, second = (group.item() for group in group_norms(lattice))
    between = lattice.bottom_up[1].detach().clone()
    stepped(lattice, [0.3], [0.0], squares)
    both = (1 - 0.03 / (d * first)) * (1 - 0.03 / (d * second))
    torch.testing.assert_close(lattice.bottom_up[1].detach(), between * both, rtol=1e-9, atol=0)


@quick
@given(st.integers(0, 10**6), st.floats(0.01, 0.99))
def test_second_moments_of_many_magnitudes_leave_the_new_norm_within_a_thousandth_of_the_old_one(seed, share):
    """Newton's few steps suit values of d of similar size; they are still accurate enough for others."""
    window = Window((1,), 2, (1, 4, 4), 2, time_selection="fixed")
    lattice, squares = lattice_of(window, (seed,)), squares_of(window, (seed,))
    with torch.no_grad():
        for square in squares.parameters():
            square.copy_(10 ** (-3 + square))
    before, its = embedded(lattice, window), metric_of(squares)
    d, w = (group_of(values, 0, 0) for values in (its, dict(before.named_parameters())))
    threshold = share * np.linalg.norm(d * w)
    stepped(lattice, [threshold / RATE], [0.0], squares)
    new = group_of(dict(lattice.named_parameters()), 0, 0)
    right = np.linalg.norm(minimiser(d, w, threshold))
    assert abs(np.linalg.norm(new) - right) <= 1e-3 * np.linalg.norm(w)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_step_after_real_ones_of_adam_is_finite_where_weights_have_no_gradient(dtype):
    """Second moments that span many orders of magnitude, and channels that are dead already."""
    window = Window((3, 2), 3, (1, 6, 6), 3)
    lattice = lattice_of(window).to(dtype)
    images = images_of(window).to(dtype)
    images[..., 3:] = 0
    optimizer = adam_of(lattice)
    for pressure in (0.0, 0.01, 0.1, 0.0, 100.0):
        train_steps(lattice, optimizer, images, 3)
        dead = proximal_step(lattice, torch.tensor([pressure]).to(dtype), torch.zeros(1).to(dtype), optimizer)
        assert all(torch.isfinite(weight).all() for weight in lattice.parameters())
    assert all(bool(died.all()) for died in dead)
    assert all(bool((norm == 0).all()) for norm in group_norms(lattice))


@pytest.mark.parametrize(("rate", "steps", "scale"), [(1e-2, 2000, 0.1), (3e-2, 1000, 1.0), (3e-2, 1000, 10.0)])
def test_pressure_is_weighed_against_the_loss_whatever_the_learning_rate_and_the_number_of_steps(rate, steps, scale):
    """One channel, loss ½ scale ‖w − a‖² + λ ‖w‖: its minimum is a · (1 − λ / (scale ‖a‖)), known in closed form."""
    lattice = lattice_of(Window((1,), 1, (1, 4, 4), 2, kernel=1))
    wanted = {c.name: torch.full_like(c.weight, 0.5) for c in lattice.connections() if c.name != "bias"}
    length = float(torch.cat([w.flatten() for w in wanted.values()]).norm())
    pressure = torch.tensor([0.4 * scale * length], dtype=torch.float64)
    optimizer = Adam(list(lattice.parameters()), rate)
    for step in range(steps):
        optimizer.learning_rate = rate * (1 - step / steps)
        lattice.zero_grad()
        kept = {c.name: c.weight for c in lattice.connections() if c.name in wanted}
        sum(0.5 * scale * (kept[name] - w).square().sum() for name, w in wanted.items()).backward()
        lattice.bias[0].grad = torch.zeros_like(lattice.bias[0])
        optimizer.step()
        proximal_step(lattice, pressure, torch.zeros_like(pressure), optimizer)
    for name, w in wanted.items():
        torch.testing.assert_close(kept[name].detach(), 0.6 * w, rtol=0.02, atol=1e-3)
