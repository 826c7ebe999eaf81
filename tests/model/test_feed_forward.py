"""A lattice without lateral and top-down weights: a feed-forward network with early exits."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sweeper.model import (
    Growth,
    Images,
    Lattice,
    TaskDefinition,
    Window,
    WindowError,
    cut,
    evaluate,
    load_task,
    measure,
    remove_dead,
    train,
)
from sweeper.model.costs import time_cost
from sweeper.model.counting import count_macs, count_parameters, living_channels
from sweeper.model.halting import halted
from sweeper.model.learning import learn, task_loss
from sweeper.model.native.library import TORCH, usable
from sweeper.model.window import FEED_FORWARD, TIME_SELECTIONS
from tests.model.populations import graph_of, images_of, lattice_of, training_settings, windows
from tests.model.trainings import MEMBERS, start_for, window_for

quick = settings(max_examples=25, deadline=None)

#: The implementations on this machine: torch, and code compiled for its processor.
CODES = usable()

feed_forward_windows = windows().map(lambda w: replace(w, bottom_up="next", connections=FEED_FORWARD))


@pytest.fixture(scope="module")
def task():
    return load_task(TaskDefinition(classes=(0, 1, 2), train_images=160, validation_images=60, test_images=60))


def of_all_kinds(window):
    """Return the same window with lateral and top-down weights."""
    return replace(window, connections="all")


def with_zeros(lattice):
    """Return the same networks in a lattice that has lateral and top-down weights, all of them zero."""
    whole = Lattice(of_all_kinds(lattice.window), range(lattice.population)).to(lattice.readout_bias)
    its = {**whole.state_dict(), **lattice.state_dict()}
    zeros = {name: torch.zeros_like(value) for name, value in its.items() if name.startswith(("lateral", "top_down"))}
    whole.load_state_dict({**its, **zeros})
    whole.recurrence = lattice.recurrence
    return whole


# The computation


@quick
@given(feed_forward_windows)
def test_each_layer_is_that_of_a_plain_feed_forward_network_from_its_step_on(window):
    lattice, images = lattice_of(window), images_of(window)
    features = lattice(images).features_TBPF[:, :, 0].split(list(window.channels), -1)
    state = lattice.standardized(images[:, None])[:, 0]
    for l in range(window.layers):
        stride = 2 if l + 1 in window.halve else 1
        state = F.conv2d(state, lattice.bottom_up[l][0], lattice.bias[l][0], stride, window.kernel // 2).relu()
        for t in range(l, window.steps):  # the image reaches layer l + 1 at step l + 1, and its state stays
            torch.testing.assert_close(features[l][t], state.mean((2, 3)))


@quick
@given(feed_forward_windows, st.data())
def test_what_a_step_says_of_an_image_depends_on_as_many_layers_alone(window, data):
    """The layers above have the same state for every image, so they shift all answers alike."""
    step = data.draw(st.integers(1, window.steps))
    lattice, images = lattice_of(window), images_of(window, 2)

    def difference():
        one, other = lattice(images).logits_TBPK[step - 1, :, 0]
        return one - other

    before = difference()
    with torch.no_grad():
        for l in range(step, window.layers):
            for weight in (lattice.bottom_up[l], lattice.bias[l], lattice.readout[l]):
                weight.add_(torch.rand_like(weight))
    torch.testing.assert_close(difference(), before)


@pytest.mark.parametrize("code", CODES)
@settings(max_examples=15, deadline=None)
@given(feed_forward_windows, st.integers(1, 2), st.booleans())
def test_it_answers_and_learns_as_a_lattice_whose_recurrent_weights_are_zero(code, window, population, is_pooled):
    lattice = lattice_of(window, range(population)).float()
    lattice.recurrence = code
    if is_pooled:
        lattice.standardize_pooled()
    whole = with_zeros(lattice)
    if is_pooled:
        whole.standardize_pooled()
    generator = torch.Generator().manual_seed(1)
    images = torch.rand((9, population, *window.image), generator=generator)
    labels = torch.randint(window.classes, (9, population), generator=generator)
    price = torch.full((population,), 0.1)
    one, other = (learn(its, images, labels, 0.2, price) for its in (lattice, whole))
    exactly = {"rtol": 0, "atol": 0} if code != TORCH else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(one.features_TBPF, other.features_TBPF, **exactly)
    torch.testing.assert_close(one.loss_P, other.loss_P, **exactly)
    slopes = {name: weight.grad for name, weight in whole.named_parameters()}
    for name, weight in lattice.named_parameters():
        torch.testing.assert_close(weight.grad, slopes[name], **exactly, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("code", CODES)
def test_loss_of_a_training_step_is_that_of_its_answer(code):
    window = Window((3, 2), 3, (1, 6, 6), 3, bottom_up="next", connections=FEED_FORWARD)
    lattice = lattice_of(window, (0, 1)).float()
    lattice.recurrence = code
    images, labels = images_of(window, 6).float(), torch.arange(12).view(6, 2) % 3
    price = torch.tensor([0.1, 0.2])
    learned, answer = learn(lattice, images, labels, 0.2, price), lattice(images)
    expected = task_loss(lattice, answer, labels, 0.2) + price * time_cost(answer)
    torch.testing.assert_close(learned.loss_P, expected.detach())


def test_halting_at_a_step_uses_as_many_layers():
    """An image that halts at step 1 is answered by the first layer alone, apart from the biases of the others."""
    window = Window((3, 2, 2), 3, (1, 6, 6), 3, bottom_up="next", connections=FEED_FORWARD)
    lattice, images = lattice_of(window), images_of(window, 20)
    with torch.no_grad():
        for bias in lattice.bias[1:]:
            bias.copy_(-bias.abs())  # silences layers that the image has not reached
        lattice.hazard_bias.fill_(20.0)
    answer = halted(lattice, images)
    assert answer.steps.tolist() == [1] * 20
    first = lattice_of(replace(window, channels=(3,), steps=1))
    with torch.no_grad():
        for name in ("bottom_up", "bias", "readout"):
            getattr(first, name)[0].copy_(getattr(lattice, name)[0])
        first.readout_bias.copy_(lattice.readout_bias)
        log_probs = first(images).log_probs_BPK[:, 0]
    torch.testing.assert_close(answer.log_probs, log_probs)


# The cut network


def test_layer_deeper_than_the_steps_is_dead():
    window = Window((2, 2, 2), 2, (1, 6, 6), 3, bottom_up="next", connections=FEED_FORWARD)
    lattice = lattice_of(window)
    assert [bool(alive.all()) for alive in living_channels(lattice)] == [True, True, False]
    assert not living_channels(lattice)[2].any()
    remove_dead(lattice)
    assert cut(lattice).window == replace(window, channels=(2, 2))


def test_channel_that_no_layer_above_and_no_readout_hears_is_dead():
    window = Window((2, 1), 3, (1, 6, 6), 3, bottom_up="next", connections=FEED_FORWARD)
    lattice = lattice_of(window)
    with torch.no_grad():
        lattice.readout[0].zero_()
        lattice.bottom_up[1][:, :, 1] = 0  # with lateral weights, the other channel might read it
    assert living_channels(lattice)[0].tolist() == [[True, False]]


def test_parameters_and_macs_are_those_of_the_layers_written_out():
    window = Window((3, 2), 4, (1, 8, 8), 5, halve=(2,), bottom_up="next", connections=FEED_FORWARD)
    modules = [nn.Conv2d(1, 3, 3), nn.Conv2d(3, 2, 3), nn.Linear(5, 5)]
    hazard = 2  # its bias, and the weight of how sure the readout is
    lattice = lattice_of(window)
    assert count_parameters(lattice) == sum(p.numel() for m in modules for p in m.parameters()) + hazard
    first, second, readout = 64 * 9 * 1 * 3, 16 * 9 * 3 * 2, 5 * 5
    assert [count_macs(window, t) for t in (1, 2, 4)] == [
        first + readout,
        first + second + 2 * readout,
        first + 3 * second + 4 * readout,
    ]
    graph = graph_of(lattice, [0.25] * 4)
    assert (graph.lateral, graph.top_down, graph.parameters) == ((), (), count_parameters(lattice))
    images = Images(images_of(window, 6), torch.arange(6) % 5)
    assert measure(lattice, evaluate(lattice, images))["parameters"] == count_parameters(lattice)


# Training


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("solver", ["elimination", "proximal", "backprop"])
@pytest.mark.parametrize("time_selection", TIME_SELECTIONS)
def test_training_gives_it_no_recurrent_weight(task, monkeypatch, solver, code, time_selection):
    """The same networks with zero recurrent weights answer alike after any training."""
    monkeypatch.setattr("sweeper.model.lattice.usable", lambda: (code,))
    window = replace(window_for(task, time_selection, bottom_up="next"), connections=FEED_FORWARD)
    states = []
    results = train(
        task,
        window,
        MEMBERS,
        training_settings(solver=solver, learning_rate=3e-2),
        report=lambda epoch: states.append(epoch.state()),
    )
    assert states[-1]["recurrences"] == [code]
    shards = [shard for state in states for shard in state["shards"]]
    assert {shard["window"]["connections"] for shard in shards} == {FEED_FORWARD}
    learned = {name.split(".")[0] for shard in shards for name in shard["lattice"]}
    assert learned >= {"bottom_up", "readout"}
    assert not learned & {"lateral", "top_down"}
    for result in results:
        network, pixels = result.network, task.validation.pixels
        whole = with_zeros(network)
        torch.testing.assert_close(whole(pixels).log_probs_BPK, network(pixels).log_probs_BPK)
        assert result.measurement["parameters"] == count_parameters(network)


def test_windows_grow_as_those_with_all_connections_do(task):
    window = replace(start_for(task, bottom_up="next"), connections=FEED_FORWARD)
    (result,) = train(task, window, MEMBERS[:1], training_settings(epochs=4), growth=Growth(10**7))
    assert result.network.window.connections == FEED_FORWARD


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_initial_weights_have_the_variance_of_what_converges(layer):
    window = Window((40, 40, 40), 3, (3, 8, 8), 3, bottom_up="next", connections=FEED_FORWARD)
    weight = Lattice(window, [0]).bottom_up[layer]
    fan_in = 9 * (3 if layer == 0 else 40)
    assert float(weight.detach().std()) == pytest.approx(math.sqrt(2 / fan_in), rel=0.1)


# Refusals


def test_feed_forward_within_the_step_is_refused():
    with pytest.raises(WindowError, match=r"connections='feed_forward' goes with .*'next', but got bottom_up='within'"):
        Window((2,), 3, (1, 6, 6), 3, connections=FEED_FORWARD)


def test_unknown_connections_are_refused():
    with pytest.raises(WindowError, match="connections='lateral'"):
        Window((2,), 3, (1, 6, 6), 3, bottom_up="next", connections="lateral")
