"""A training step in compiled code has the losses and gradients of the one in torch, for every rule and window."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.model import Lattice, Pressures, TaskDefinition, Window, compiled, load_task, train
from sweeper.model.learning import learn
from sweeper.model.native.library import TORCH
from sweeper.model.window import TIME_SELECTIONS
from tests.model.populations import training_settings, windows
from tests.model.vectors import LANES, NEEDS_COMPILER


def case(window, population, count, *, follows=True, entry=1.0, seed=0):
    """Return a lattice of random weights in float32, images, labels, and a price of time for each network."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(shape, least=0.0, span=1.0):
        return least + span * torch.rand(shape, generator=generator)

    lattice = Lattice(window, range(population))
    with torch.no_grad():
        for parameter in lattice.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
        if follows:
            lattice.standardize_pooled()
        if lattice.pooled_mean is not None and lattice.pooled_var is not None:
            lattice.pooled_mean += drawn(lattice.pooled_mean.shape, 0.0, 0.3)
            lattice.pooled_var.copy_(drawn(lattice.pooled_var.shape, 0.05, 0.2))
        if window.steps > 1:
            lattice.entry[0, -1] = entry
    images = drawn((count, population, *window.image))
    labels_BP = torch.randint(window.classes, (count, population), generator=generator)
    return lattice, images, labels_BP, drawn(population, 0.0, 0.5)


def in_double(lattice, images, labels_BP, time_P, step_loss=0.2):
    """Return a copy in float64 with gradients from torch, and the observations of its training step."""
    exact = copy.deepcopy(lattice).double()
    return exact, learn(exact, images.double(), labels_BP, step_loss, time_P.double())


def assert_alike(found, lattice, expected, exact):
    """Compare the observations and gradients of two training steps, up to rounding relative to the largest entry."""
    for name in ("loss_P", "steps_P", "step_share_TP"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name).float(), atol=1e-5, rtol=1e-5)
    scale = float(expected.features_TBPF.abs().max()) + 1e-6
    torch.testing.assert_close(found.features_TBPF / scale, expected.features_TBPF.float() / scale, atol=1e-5, rtol=0)
    for (name, weight), reference in zip(lattice.named_parameters(), exact.parameters(), strict=True):
        assert (weight.grad is None) is (reference.grad is None), name
        if reference.grad is not None:
            scale = float(reference.grad.abs().max()) + 1e-2  # sums may cancel out
            torch.testing.assert_close(weight.grad / scale, reference.grad.float() / scale, atol=3e-4, rtol=0, msg=name)


@NEEDS_COMPILER
@given(
    st.sampled_from(LANES),
    windows(),
    st.sampled_from([2, 7, 8, 17]),
    st.integers(1, 3),
    st.sampled_from([1, 2, 17]),
    st.booleans(),
    st.sampled_from([1.0, 0.3, 0.0]),
    st.sampled_from([0.0, 0.2]),
)
@settings(deadline=None)
def test_compiled_step_learns_what_the_one_in_torch_does(
    codes, lanes, window, classes, population, count, follows, entry, step_loss
):
    given_case = case(replace(window, classes=classes), population, count, follows=follows, entry=entry)
    lattice, images, labels_BP, time_P = given_case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "library", codes.get)
        lattice.recurrence = f"lanes{lanes}"
        found = learn(lattice, images, labels_BP, step_loss, time_P)
    exact, expected = in_double(*given_case, step_loss)
    assert_alike(found, lattice, expected, exact)


@pytest.mark.parametrize("time_selection", TIME_SELECTIONS)
@pytest.mark.parametrize("follows", [False, True])
def test_step_of_this_processor_learns_what_the_one_in_torch_does(fast, time_selection, follows):
    window = Window((9, 6, 3), 5, (3, 8, 8), 10, halve=(3,), time_selection=time_selection, standardize="each")
    lattice, *rest = case(window, 3, 32, follows=follows)
    assert lattice.recurrence == fast
    found = learn(lattice, *rest[:2], 0.2, rest[2])
    exact, expected = in_double(lattice, *rest)
    assert_alike(found, lattice, expected, exact)


@pytest.mark.parametrize("time_selection", TIME_SELECTIONS)
def test_company_changes_no_bit(fast, time_selection):
    window = Window((5, 3), 3, (1, 8, 8), 4, time_selection=time_selection)
    lattice, images, labels_BP, time_P = case(window, 3, 20)
    together = learn(lattice, images, labels_BP, 0.2, time_P)
    for row in range(3):
        own = slice(row, row + 1)
        alone = case(window, 1, 1)[0]
        alone.load_state_dict({name: value[own] for name, value in lattice.state_dict().items()})
        found = learn(alone, images[:, own], labels_BP[:, own], 0.2, time_P[own])
        assert torch.equal(found.loss_P, together.loss_P[own])
        for (name, weight), other in zip(alone.named_parameters(), lattice.parameters(), strict=True):
            assert torch.equal(weight.grad[0], other.grad[row]), name


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("time_selection", TIME_SELECTIONS)
def test_what_is_not_finite_stays_so_and_disturbs_nobody(fast, value, time_selection):
    window = Window((5, 3), 3, (1, 8, 8), 4, time_selection=time_selection)
    lattice, images, labels_BP, time_P = case(window, 2, 5)
    healthy = learn(lattice, images, labels_BP, 0.2, time_P)
    slopes = [weight.grad[1].clone() for weight in lattice.parameters()]
    with torch.no_grad():
        lattice.readout_bias[0, 0] = value
    found = learn(lattice, images, labels_BP, 0.2, time_P)
    assert not torch.isfinite(found.loss_P[0])
    assert torch.equal(found.loss_P[1], healthy.loss_P[1])
    for weight, slope in zip(lattice.parameters(), slopes, strict=True):
        assert torch.equal(weight.grad[1], slope)


@pytest.mark.parametrize("label", [-1, 4, 2**40])
def test_label_that_is_no_class_is_refused_before_anything_is_written(fast, label):
    lattice, images, labels_BP, time_P = case(Window((5, 3), 3, (1, 8, 8), 4), 2, 5)
    labels_BP[3, 1] = label
    with pytest.raises(IndexError, match="none of the classes"):
        learn(lattice, images, labels_BP, 0.2, time_P)


def test_networks_without_layers_learn_what_classes_are_common(fast):
    lattice, images, labels_BP, time_P = case(Window((), 3, (1, 8, 8), 4), 2, 50)
    learn(lattice, images, labels_BP, 0.2, time_P)
    assert torch.all(lattice.readout_bias.grad.sum(1).abs() < 1e-6)
    assert torch.any(lattice.readout_bias.grad != 0)


@pytest.mark.parametrize("solver", ["elimination", "proximal", "backprop"])
def test_trainings_in_compiled_code_and_in_torch_learn_the_same(fast, solver, monkeypatch):
    """Train for ten steps only, since training amplifies rounding and longer trainings diverge."""
    task = load_task(TaskDefinition(train_images=160, validation_images=100, test_images=100, classes=5))
    window, members = Window((6, 4), 3, task.image, 5), [Pressures(1e-4, 1e-4, 1e-2, seed) for seed in (0, 1)]
    found = [train(task, window, members, training_settings(epochs=2, solver=solver))]
    monkeypatch.setattr("sweeper.model.lattice.usable", lambda: (TORCH,))
    found.append(train(task, window, members, training_settings(epochs=2, solver=solver)))
    for mine, other in zip(*found, strict=True):
        for name in ("training_loss", "expected_time"):
            assert mine.measurement[name] == pytest.approx(other.measurement[name], rel=1e-3), name
