"""Step distributions, the recurrence, and the gradients of the time selection."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.model import Lattice, Window, WindowError
from sweeper.model.time_selection import halting_step
from sweeper.model.window import TIME_SELECTIONS
from tests.model.populations import entries, images_of, lattice_of, stopping_after, windows

quick = settings(max_examples=25, deadline=None)


@quick
@given(windows(min_layers=0))
def test_step_distribution_sums_to_one_and_expected_steps_lie_in_the_window(window):
    answer = lattice_of(window, (0, 1))(images_of(window))
    torch.testing.assert_close(answer.step_dist_TBP.sum(0), torch.ones(3, 2, dtype=torch.float64))
    assert torch.all(answer.step_dist_TBP >= 0)
    assert torch.all((answer.expected_steps_BP >= 1 - 1e-9) & (answer.expected_steps_BP <= window.steps + 1e-9))
    torch.testing.assert_close(answer.log_probs_BPK.exp().sum(-1), torch.ones(3, 2, dtype=torch.float64))


@quick
@given(windows())
def test_network_of_a_population_answers_as_it_would_alone(window):
    images = images_of(window)
    together = lattice_of(window, (0, 1, 2))(images)
    alone = lattice_of(window, (1,))(images)
    torch.testing.assert_close(together.logits_TBPK[:, :, 1], alone.logits_TBPK[:, :, 0])
    torch.testing.assert_close(together.step_dist_TBP[:, :, 1], alone.step_dist_TBP[:, :, 0])


def standardized(lattice, image):
    """Return (B, C, H, W) with pixels of mean 0 and standard deviation 1: of the training images, or of each image."""
    if lattice.window.standardize == "images":
        return (image - lattice.pixel_mean[0, :, None, None]) / lattice.pixel_std[0, :, None, None]
    if lattice.window.standardize == "each":
        deviation = image - image.mean((1, 2, 3), keepdim=True)
        return deviation / deviation.square().mean((1, 2, 3), keepdim=True).sqrt()
    return image


def plain_logits(lattice, image):
    """Return z[t] of a single network, (T, B, K), computed one connection at a time with torch's autograd."""
    window, pad = lattice.window, lattice.window.kernel // 2
    L = window.layers
    h = {(0, t): standardized(lattice, image) for t in range(window.steps + 1)}
    h |= {(l, 0): image.new_zeros(len(image), c, *window.side(l)) for l, c in enumerate(window.channels, start=1)}
    logits = []
    for t in range(1, window.steps + 1):
        for l in range(1, L + 1):
            stride = 2 if l in window.halve else 1
            below = h[l - 1, t - 1 if window.bottom_up == "next" else t]
            drive = F.conv2d(below, lattice.bottom_up[l - 1][0], lattice.bias[l - 1][0], stride, pad)
            if window.has_recurrent_weights:
                drive = drive + F.conv2d(h[l, t - 1], lattice.lateral[l - 1][0], padding=pad)
                if l < L:
                    top_down = F.conv2d(h[l + 1, t - 1], lattice.top_down[l - 1][0], padding=pad)
                    drive = drive + F.interpolate(top_down, size=drive.shape[-2:], mode="nearest")
            h[l, t] = F.relu(drive)
        pooled = (h[l, t].mean((2, 3)) @ lattice.readout[l - 1][0].T for l in range(1, L + 1))
        logits.append(lattice.readout_bias[0] + sum(pooled))
    return torch.stack(logits)


@quick
@given(windows())
def test_lattice_obeys_its_equations_written_out_one_connection_at_a_time(window):
    lattice, image = lattice_of(window), images_of(window)
    torch.testing.assert_close(lattice(image).logits_TBPK[:, :, 0], plain_logits(lattice, image))


@quick
@given(windows())
def test_backward_pass_gives_the_slopes_of_the_equations_written_out(window):
    lattice, image = lattice_of(window), images_of(window).requires_grad_()
    weighed = torch.linspace(-1, 2, window.steps * 3 * window.classes, dtype=torch.float64)
    wanted = [*lattice.parameters(), image]
    found, right = (
        torch.autograd.grad(logits.flatten() @ weighed, wanted, allow_unused=True)
        for logits in (lattice(image).logits_TBPK[:, :, 0], plain_logits(lattice, image))
    )
    assert [one is None for one in found] == [other is None for other in right]
    for one, other in zip(found, right, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


@quick
@given(windows())
def test_backward_pass_agrees_with_finite_differences(window):
    """Compare along a random direction of all weights; states must not be near the kink of a relu."""
    lattice, image = lattice_of(window), images_of(window)
    weights = [w for w in lattice.parameters() if w.numel()]
    generator = torch.Generator().manual_seed(2)
    directions = [torch.randn(w.shape, generator=generator, dtype=w.dtype) for w in weights]
    with torch.no_grad():
        for bias in lattice.bias:
            bias.abs_().add_(1)
        for weight in (*lattice.bottom_up, *lattice.lateral, *lattice.top_down):
            weight.mul_(0.1)

    def value():
        return lattice(image).logits_TBPK.square().sum()

    slopes = torch.autograd.grad(value(), weights, allow_unused=True)
    slope = sum(float((g * d).sum()) for g, d in zip(slopes, directions, strict=True) if g is not None)
    values = []
    for step in (1e-6, -2e-6):
        with torch.no_grad():
            for weight, direction in zip(weights, directions, strict=True):
                weight.add_(direction, alpha=step)
            values.append(float(value()))
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(slope, rel=1e-5, abs=1e-6)


@quick
@given(windows())
def test_layer_says_the_same_of_every_image_until_the_step_at_which_one_reaches_it(window):
    lattice, image = lattice_of(window), images_of(window, 2)
    with torch.no_grad():
        for weight in (*lattice.bottom_up, *lattice.lateral, *lattice.top_down, *lattice.bias):
            weight.abs_()  # so that input to a layer always shows
        for readout in lattice.readout:
            readout.zero_()
    for l, readout in enumerate(lattice.readout):
        with torch.no_grad():
            readout.fill_(1)
            said_TBK = lattice(image).logits_TBPK[:, :, 0]
            readout.zero_()
        differs = [not torch.allclose(one, other, rtol=1e-12, atol=0) for one, other in said_TBK]
        first = l + 1 if window.bottom_up == "next" else 1
        assert differs == [t >= first for t in range(1, window.steps + 1)]


def test_layer_that_no_image_has_reached_says_what_its_bias_does():
    window = Window((1, 1), 2, (1, 4, 4), 2, time_selection="fixed", bottom_up="next")
    lattice = lattice_of(window)
    with torch.no_grad():
        lattice.readout_bias.zero_()
        lattice.readout[0].zero_()
        lattice.readout[1].fill_(1)
        lattice.bias[1].fill_(0.7)
    assert lattice(images_of(window)).logits_TBPK[0].flatten().tolist() == pytest.approx([0.7] * 6)


@quick
@given(windows())
def test_every_weight_of_the_lattice_takes_part_in_its_answer(window):
    lattice = lattice_of(window)
    assert (len(lattice.lateral) > 0) == window.has_recurrent_weights
    answer = lattice(images_of(window))
    (answer.log_probs_BPK[..., 0].sum() + answer.logits_TBPK.sum()).backward()
    assert [name for name, weight in lattice.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize("time_selection", TIME_SELECTIONS)
@pytest.mark.parametrize("good_step", [0, 1, 2])
def test_moving_the_good_step_moves_the_gradient_of_the_time_selection(time_selection, good_step):
    """A loss that reduced the steps before weighing them would give the same gradient whichever step is right."""
    window = Window((), 3, (1, 4, 4), 2, time_selection=time_selection)
    lattice = Lattice(window, [0]).double()
    # A lattice without layers answers the same at each step, so the good step is put in by hand.
    answer = lattice(images_of(window))
    is_good_T = torch.arange(3) == good_step
    logits_TBPK = answer.logits_TBPK + torch.where(is_good_T, 4.0, -4.0)[:, None, None, None] * torch.tensor([1.0, 0])
    dist_TBP = answer.step_dist_TBP.detach().requires_grad_()
    mixed = replace(answer, logits_TBPK=logits_TBPK.detach(), step_dist_TBP=dist_TBP)
    (-mixed.log_probs_BPK[..., 0].mean()).backward()
    slope_T = dist_TBP.grad.mean((1, 2))
    assert slope_T.argmin() == good_step  # the loss falls fastest towards the good step
    others = [t for t in range(3) if t != good_step]
    torch.testing.assert_close(slope_T[others[0]], slope_T[others[1]])


def test_gradient_reaches_the_weights_of_the_time_selection():
    for time_selection, name in (("fixed", "step_logits"), ("confidence", "hazard_bias"), ("state", "hazard")):
        window = Window((2,), 3, (1, 4, 4), 2, time_selection=time_selection)
        lattice = lattice_of(window)
        lattice(images_of(window)).log_probs_BPK[..., 0].mean().backward()
        weight = getattr(lattice, name)
        assert (weight[0] if name == "hazard" else weight).grad.abs().sum() > 0


def test_last_step_of_each_network_takes_what_is_left_and_nothing_comes_after():
    for time_selection in TIME_SELECTIONS:
        window = Window((2,), 5, (1, 4, 4), 2, time_selection=time_selection)
        lattice = lattice_of(window, (0, 1))
        stopping_after(lattice, 0, 2)
        assert lattice.last_step.tolist() == [2, 5]
        dist_TBP = lattice(images_of(window)).step_dist_TBP
        assert torch.all(dist_TBP[2:, :, 0] == 0)
        torch.testing.assert_close(dist_TBP[:2, :, 0].sum(0), torch.ones(3, dtype=torch.float64))
        assert torch.all(dist_TBP[4, :, 1] > 0)


@st.composite
def partly_open(draw):
    window = draw(windows(min_layers=0))
    return window, [draw(entries(window.steps)) for _ in range(2)]


def with_entries(window, profiles):
    lattice = lattice_of(window, range(len(profiles)))
    lattice.entry.copy_(torch.tensor(profiles))
    return lattice


@quick
@given(partly_open())
def test_step_distribution_sums_to_one_however_far_the_steps_are_open(given_profiles):
    window, profiles = given_profiles
    lattice = with_entries(window, profiles)
    answer = lattice(images_of(window))
    torch.testing.assert_close(answer.step_dist_TBP.sum(0), torch.ones(3, 2, dtype=torch.float64))
    assert torch.all(answer.step_dist_TBP >= 0)
    assert torch.equal(answer.step_dist_TBP > 0, (lattice.entry.T > 0)[:, None, :].expand_as(answer.step_dist_TBP))
    last_B2 = torch.tensor([sum(share > 0 for share in profile) for profile in profiles]).expand(3, 2)
    assert torch.equal(lattice.last_step, last_B2[0])
    assert torch.all(answer.expected_steps_BP <= last_B2 + 1e-9)
    assert torch.isfinite(answer.log_probs_BPK).all()


@quick
@given(partly_open())
def test_slopes_are_finite_however_far_the_steps_are_open(given_profiles):
    window, profiles = given_profiles
    lattice = with_entries(window, profiles)
    answer = lattice(images_of(window))
    (answer.log_probs_BPK[..., 0].sum() + answer.expected_steps_BP.sum()).backward()
    assert all(torch.isfinite(weight.grad).all() for weight in lattice.parameters() if weight.grad is not None)


def opened_by(window, entry):
    """Return answers of networks whose last step is open by `entry`."""
    lattice = lattice_of(window, (0, 1))
    lattice.entry[:, -1] = entry
    return lattice(images_of(window))


@quick
@given(windows(min_layers=0).filter(lambda window: window.is_recurrent), st.floats(0.01, 0.99))
def test_step_that_opens_leads_from_not_there_to_a_step_of_its_own(window, entry):
    shut, ajar, wide = (opened_by(window, share) for share in (0.0, entry, 1.0))
    plain = lattice_of(window, (0, 1))(images_of(window))
    assert torch.equal(wide.step_dist_TBP, plain.step_dist_TBP)
    assert torch.all(shut.step_dist_TBP[-1] == 0)
    assert torch.all(
        (shut.step_dist_TBP[-1] < ajar.step_dist_TBP[-1]) & (ajar.step_dist_TBP[-1] < wide.step_dist_TBP[-1])
    )
    low = torch.minimum(shut.step_dist_TBP, wide.step_dist_TBP) - 1e-12
    high = torch.maximum(shut.step_dist_TBP, wide.step_dist_TBP) + 1e-12
    assert torch.all((low <= ajar.step_dist_TBP) & (ajar.step_dist_TBP <= high))
    low, high = shut.expected_steps_BP - 1e-12, wide.expected_steps_BP + 1e-12
    assert torch.all((low <= ajar.expected_steps_BP) & (ajar.expected_steps_BP <= high))


@quick
@given(windows("confidence", min_layers=0).filter(lambda window: window.is_recurrent), st.floats(0, 1))
def test_step_that_opens_takes_its_share_from_the_step_before_alone(window, entry):
    shut, ajar, wide = (opened_by(window, share).step_dist_TBP for share in (0.0, entry, 1.0))
    torch.testing.assert_close(ajar, (1 - entry) * shut + entry * wide, rtol=0, atol=1e-6)  # entries are float32
    torch.testing.assert_close(ajar[:-2], wide[:-2])


def test_network_halts_when_the_cumulated_probability_reaches_the_level():
    dist_TBP = torch.tensor([[0.2, 0.6], [0.2, 0.1], [0.6, 0.3]])[..., None]
    assert halting_step(dist_TBP).flatten().tolist() == [3, 1]
    assert halting_step(dist_TBP, level=1.0).flatten().tolist() == [3, 3]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"channels": (4, 0)}, r"channels=\(4, 0\)"),
        ({"steps": 0}, "steps=0"),
        ({"classes": 1}, "classes=1"),
        ({"kernel": 2}, "kernel=2"),
        ({"time_selection": "never"}, "'never'"),
        ({"bottom_up": "later"}, "bottom_up='later'"),
        ({"image": (1, 1, 1), "channels": (1, 1), "halve": (2,)}, "layer 2 cannot halve an image of 1×1"),
    ],
)
def test_impossible_window_is_refused_with_its_value(change, told):
    values = {"channels": (4,), "steps": 2, "image": (1, 8, 8), "classes": 2} | change
    with pytest.raises(WindowError, match=told):
        Window(**values)


def test_images_of_another_size_are_refused_with_both_sizes():
    lattice = Lattice(Window((2,), 2, (1, 8, 8), 2), [0])
    with pytest.raises(WindowError, match=r"\(1, 8, 8\).*got \(3, 8, 8\)"):
        lattice(torch.zeros(2, 3, 8, 8))
