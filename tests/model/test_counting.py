"""Cutting dead channels, layers and steps changes no answer; the rest is counted."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.export import Dim, export
from torch.utils.flop_counter import FlopCounterMode

from sweeper.model import Images, Network, Window, cut, evaluate, load, measure, remove_dead, save
from sweeper.model.costs import group_norms, space_costs
from sweeper.model.counting import Evaluation, count_macs, count_parameters, living_channels, steps_by_confidence
from sweeper.model.halting import halted
from sweeper.model.window import TIME_SELECTIONS
from tests.model.populations import images_of, kill, lattice_of, partly_dead, stopping_after, windows

quick = settings(max_examples=40, deadline=None)


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
    # No layer sees the image above a layer without living channels, or if the image arrives after the last step.
    depth = next((l for l, layer in enumerate(alive) if not any(layer)), window.layers)
    depth = min(depth, window.steps) if window.bottom_up == "next" else depth
    assert cut(lattice).window.channels == tuple(sum(layer) for layer in alive[:depth])


def test_channel_without_a_path_from_the_image_is_removed_although_it_has_weights():
    lattice = lattice_of(Window((2, 1, 2), 3, (1, 6, 6), 3))
    kill(lattice, [(1, 0)])  # nothing passes the second layer
    assert group_norms(lattice)[2].min() > 0
    remove_dead(lattice)
    assert group_norms(lattice)[2].max() == 0
    assert cut(lattice).window.channels == (2,)


def test_channel_that_nothing_hears_is_removed_although_it_listens():
    lattice = lattice_of(Window((2,), 3, (1, 6, 6), 3))
    with torch.no_grad():
        lattice.readout[0][:, :, 1] = 0
    assert living_channels(lattice)[0].tolist() == [[True, True]]  # the other channel reads it
    with torch.no_grad():
        lattice.lateral[0][:, 0, 1] = 0
    assert living_channels(lattice)[0].tolist() == [[True, False]]
    images, before = images_of(lattice.window), lattice(images_of(lattice.window))
    remove_dead(lattice)
    assert group_norms(lattice)[0][0, 1] == 0
    torch.testing.assert_close(lattice(images).log_probs_BPK, before.log_probs_BPK)


def test_network_whose_every_channel_is_dead_still_answers_and_is_measured():
    window = Window((2, 2), 3, (1, 6, 6), 3)
    lattice = lattice_of(window).float()
    kill(lattice, [(l, c) for l in (0, 1) for c in (0, 1)])
    remove_dead(lattice)
    images = Images(torch.rand(7, 1, 6, 6), torch.tensor([0, 1, 2, 0, 1, 2, 0]))
    left = cut(lattice)
    measured = measure(left, evaluate(left, images))
    assert (measured["depth"], measured["breadth"], measured["channels"], measured["macs"]) == (0, 0, 0, 0)
    assert measured["accuracy"] in {3 / 7, 2 / 7}  # the share of the one class it always names


def macs_by_hooks(lattice, images):
    """Count the actual multiplications of every convolution by patching it; the readout's are added by formula."""
    counted = 0
    original = torch.nn.functional.conv2d

    def counting(state, weight, *args, **kwargs):
        nonlocal counted
        out = original(state, weight, *args, **kwargs)
        counted += out[0].numel() * weight[0].numel()
        return out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sweeper.model.recurrence.F.conv2d", counting)
        lattice(images[:1])
    features = sum(lattice.window.channels)
    reads = lattice.window.classes + lattice.window.reads_state
    return counted + lattice.window.steps * features * reads


@quick
@given(windows())
def test_counted_macs_agree_with_what_a_forward_pass_multiplies(window):
    lattice = lattice_of(window)
    assert count_macs(window, window.steps) == macs_by_hooks(lattice, images_of(window))


def macs_by_profiler(network, images):
    """Count convolutions and matrix products with torch's profiler; a multiply-accumulate is two operations."""
    with FlopCounterMode(display=False) as profiler, torch.no_grad():
        network(images[:1])
    return profiler.get_total_flops() / 2


@quick
@given(windows().filter(lambda window: sum(window.channels) > 1), st.integers(1, 4))
def test_counted_macs_agree_with_a_profiler_for_every_number_of_steps(window, steps):
    # With one channel in all, torch computes the readout element by element, which the profiler does not count.
    window = replace(window, steps=max(steps, window.steps))
    at_work = replace(window, steps=steps)
    expected_steps = steps if steps > 1 else 0  # seen by the profiler too, but no part of the answer
    profiled = macs_by_profiler(Network(lattice_of(at_work)), images_of(window)) - expected_steps
    assert count_macs(at_work, steps) == profiled
    if window.reads_state == at_work.reads_state:  # with a single step there is no hazard to read
        assert count_macs(window, steps) == profiled


#: Windows as in sweeps; counts must agree with their exported programs within 1 %.
EXPORTED = [
    Window((8, 8, 8), 6, (1, 8, 8), 10, halve=(2,)),
    Window((7, 5, 2), 6, (1, 8, 8), 10, time_selection="fixed"),
    Window((16, 12), 1, (1, 28, 28), 10, halve=(1, 2)),
    Window((6,), 4, (3, 16, 16), 3, kernel=5),
    Window((8, 8, 8), 4, (1, 8, 8), 10, halve=(2,), bottom_up="next", connections="feed_forward"),
]


@pytest.mark.slow
@pytest.mark.parametrize("window", EXPORTED, ids=lambda window: f"{window.channels}x{window.steps}")
def test_counted_macs_and_parameters_agree_with_the_exported_program(tmp_path, window):
    save(lattice_of(window), {}, tmp_path / "a.safetensors")
    network, images = load(tmp_path / "a.safetensors"), images_of(window).float()
    program = export(network, (images,), dynamic_shapes={"images": {0: Dim("batch")}})
    assert count_macs(window, window.steps) == pytest.approx(macs_by_profiler(program.module(), images), rel=0.01)
    exported = sum(program.state_dict[name].numel() for name in program.graph_signature.parameters)
    assert count_parameters(network.lattice) == exported


def halting_lattice(window, spread):
    """Return three networks with random weights, whose last step is open, half open, and absent."""
    lattice = lattice_of(window, (0, 1, 2))
    with torch.no_grad():
        for name, parameter in lattice.named_parameters():
            if name.startswith(("hazard", "step_logits", "readout")):
                parameter.mul_(spread)  # so that images halt at different steps
    lattice.entry[1, -1] = 0.5 if window.is_recurrent else 1.0
    stopping_after(lattice, 2, max(1, window.steps - 1))
    return lattice


@quick
@given(windows(min_layers=0), st.integers(0, 4), st.sampled_from([0.5, 2.0, 5.0]))
def test_what_is_reported_is_what_a_network_does_and_multiplies_that_really_stops(window, more, spread):
    """Compare P = 3 evaluated over all steps with each network alone, whose images leave when they halt."""
    window = replace(window, steps=window.steps + more)
    lattice, pixels = halting_lattice(window, spread), images_of(window, 12)
    remove_dead(lattice)  # layers that the image does not reach
    images = Images(pixels, torch.arange(12) % window.classes)
    seen = evaluate(lattice, images, batch_size=5)
    for member in range(3):
        left = cut(lattice, member)
        with FlopCounterMode(display=False) as profiler:
            answer = halted(left, pixels)
        assert torch.equal(answer.steps, seen.step[:, member])
        assert torch.equal(answer.log_probs.argmax(1), seen.choice[:, member])
        confidence = answer.log_probs.amax(1).exp()
        torch.testing.assert_close(confidence, seen.confidence[:, member])
        right = answer.log_probs.gather(1, images.labels[:, None])[:, 0]
        torch.testing.assert_close(right, seen.log_likelihood[:, member])
        measured = measure(left, evaluate(left, images))
        assert measured["time"] == pytest.approx(float(answer.steps.double().mean()))
        assert measured["accuracy"] == pytest.approx(
            float((answer.log_probs.argmax(1) == images.labels).double().mean())
        )
        assert measured["loss"] == pytest.approx(-float(right.mean()))
        # A multiply-accumulate is two operations. The profiler sees every convolution and readout, but not a hazard
        # over a single channel, which is no matrix product.
        unseen = measured["time"] if left.window.reads_state and sum(left.window.channels) == 1 else 0
        assert measured["macs"] == pytest.approx(profiler.get_total_flops() / 2 / 12 + unseen)


def test_images_that_halted_are_computed_no_further():
    window = Window((2,), 6, (1, 5, 6), 3)
    lattice = halting_lattice(window, 5.0)
    answer = halted(cut(lattice), images_of(window, 40))
    assert len(answer.steps.unique()) > 1  # otherwise the test proves nothing
    mean = Network(cut(lattice)).halting(images_of(window, 40)).steps.double().mean()
    assert 1 < mean < 6


@pytest.mark.parametrize("time_selection", TIME_SELECTIONS)
def test_figures_of_mixture_last_step_and_halting_are_told_apart(time_selection):
    window = Window((3,), 4, (1, 5, 6), 3, time_selection=time_selection)
    lattice, pixels = halting_lattice(window, 5.0), images_of(window, 50)
    images = Images(pixels, torch.arange(50) % 3)
    left = cut(lattice)
    with torch.no_grad():
        measured, answer = measure(left, evaluate(left, images)), left(pixels)
    steps = torch.arange(1, 5, dtype=torch.float64)
    labels = images.labels
    share = lambda choice: pytest.approx(float((choice == labels).double().mean()))  # noqa: E731  # a word for it
    assert measured["mixture_accuracy"] == share(answer.log_probs_BPK[:, 0].argmax(1))
    assert measured["last_accuracy"] == share(answer.logits_TBPK[-1, :, 0].argmax(1))
    mixture = (answer.step_dist_TBP[:, :, 0, None] * answer.logits_TBPK[:, :, 0].softmax(-1)).sum(0)
    assert measured["mixture_loss"] == pytest.approx(-float(mixture[torch.arange(50), labels].log().mean()))
    expected = float((steps[:, None] * answer.step_dist_TBP[:, :, 0]).sum(0).mean())
    assert measured["expected_time"] == pytest.approx(expected)
    halting = (answer.step_dist_TBP[:, :, 0].cumsum(0) < 0.5).sum(0) + 1
    assert measured["time"] == pytest.approx(float(halting.double().mean()))
    by = int(measured["time_p95"])
    assert int((halting <= by).sum()) >= 0.95 * 50 > int((halting < by).sum())
    assert measured["accuracy"] == share(answer.logits_TBPK[halting - 1, torch.arange(50), 0].argmax(1))


@quick
@given(windows(), st.lists(st.floats(0.01, 1), min_size=1, max_size=6))
def test_macs_at_the_expected_time_are_the_expected_macs(window, weights):
    window = replace(window, steps=len(weights))
    shares = [weight / sum(weights) for weight in weights]
    expected_steps = sum(step * share for step, share in enumerate(shares, start=1))
    expected_macs = sum(count_macs(window, step) * share for step, share in enumerate(shares, start=1))
    assert count_macs(window, expected_steps) == pytest.approx(expected_macs)


def test_parameters_are_those_of_the_layers_written_out_as_modules():
    window = Window((3, 2), 4, (1, 8, 8), 5)
    modules = [nn.Conv2d(1, 3, 3), nn.Conv2d(3, 3, 3, bias=False), nn.Conv2d(2, 3, 3, bias=False)]
    modules += [nn.Conv2d(3, 2, 3), nn.Conv2d(2, 2, 3, bias=False), nn.Linear(5, 5)]
    hazard = 2  # its bias, and the weight of how sure the readout is
    expected = sum(p.numel() for module in modules for p in module.parameters()) + hazard
    assert count_parameters(lattice_of(window)) == expected


@pytest.mark.parametrize("time_selection", TIME_SELECTIONS)
def test_network_of_one_step_is_counted_without_weights_that_change_nothing(time_selection):
    window = Window((3, 2), 1, (1, 8, 8), 5, time_selection=time_selection)
    modules = [nn.Conv2d(1, 3, 3), nn.Conv2d(3, 2, 3), nn.Linear(5, 5)]  # nothing recurrent, and no step to choose
    assert count_parameters(lattice_of(window)) == sum(p.numel() for module in modules for p in module.parameters())
    assert count_macs(window, 1) == 64 * 9 * (1 * 3 + 3 * 2) + 5 * 5


@quick
@given(windows())
def test_cut_network_that_stops_at_its_first_step_has_no_recurrent_weights_and_the_same_answers(window):
    window = replace(window, steps=window.steps + 1)
    lattice, images = lattice_of(window, (0, 1)), images_of(window)
    stopping_after(lattice, 1, 1)
    remove_dead(lattice)
    left = cut(lattice, 1)
    assert (left.window.steps, len(left.lateral), len(left.top_down)) == (1, 0, 0)
    torch.testing.assert_close(lattice(images).log_probs_BPK[:, 1], left(images).log_probs_BPK[:, 0])
    reached = min(window.layers, window.steps) if window.bottom_up == "next" else window.layers
    assert len(cut(lattice, 0).lateral) == (reached if window.has_recurrent_weights else 0)


@quick
@given(windows())
def test_every_counted_weight_moves_what_is_said(window):
    window = replace(window, kernel=1)  # a larger kernel's rim meets nothing but padding on an image of one pixel
    lattice = lattice_of(window)
    remove_dead(lattice)
    lattice = cut(lattice)
    with torch.no_grad():
        for name, parameter in lattice.named_parameters():
            if not name.startswith("hazard"):
                parameter.abs_().mul_(0.2)  # every relu is open, and nothing saturates
    answer = lattice(images_of(window))
    said = answer.log_probs_BPK.square().sum() + answer.expected_steps_BP.square().sum()
    gradients = torch.autograd.grad(said, list(lattice.parameters()), allow_unused=True)
    unmoved = [
        name
        for (name, parameter), gradient in zip(lattice.named_parameters(), gradients, strict=True)
        if gradient is None or bool((gradient == 0).any())
    ]
    assert unmoved == []


@pytest.mark.parametrize("recurrent", ["lateral", "top_down"])
def test_channel_heard_through_recurrent_weights_only_is_dead_where_there_is_one_step(recurrent):
    lattice = lattice_of(Window((2, 1), 3, (1, 6, 6), 3), (0, 1))
    stopping_after(lattice, 1, 1)
    at = {"lateral": (0, 1), "top_down": (1, 0)}[recurrent]  # a channel read through this kind of weights only
    with torch.no_grad():
        lattice.readout[at[0]][:, :, at[1]] = 0
        if recurrent == "lateral":
            lattice.bottom_up[1][:, :, 1] = 0
    assert [bool(alive) for alive in living_channels(lattice)[at[0]][:, at[1]]] == [True, False]


@quick
@given(windows())
def test_answer_of_one_step_is_certain_of_its_step(window):
    window = replace(window, steps=1)
    answer = lattice_of(window, (0, 1))(images_of(window))
    assert answer.step_dist_TBP.tolist() == [[[1, 1]] * 3]
    torch.testing.assert_close(answer.log_probs_BPK, answer.logits_TBPK[0].log_softmax(-1))


def test_cut_network_without_layers_costs_nothing_in_space():
    window = Window((2, 2), 1, (1, 6, 6), 3)
    lattice = lattice_of(window)
    kill(lattice, [(l, c) for l in (0, 1) for c in (0, 1)])
    remove_dead(lattice)
    assert [cost_P.tolist() for cost_P in space_costs(cut(lattice))] == [[0.0], [0.0]]


#: Measurements that never fall when a network grows.
RESOURCES = (
    "breadth",
    "depth",
    "time",
    "expected_time",
    "channels",
    "parameters",
    "macs",
    "cost_breadth",
    "cost_depth",
)


def resources_of(lattice):
    """Return a network's resources, in the order of `RESOURCES`."""
    remove_dead(lattice)
    left = cut(lattice)
    pixels = images_of(lattice.window, count=4)
    measured = measure(left, evaluate(left, Images(pixels, torch.zeros(len(pixels), dtype=torch.int64))))
    costs = dict(zip(("cost_breadth", "cost_depth"), (float(cost) for cost in space_costs(left)), strict=True))
    return [{**measured, **costs}[name] for name in RESOURCES]


def assert_no_less(more, less):
    fallen = [name for name, a, b in zip(RESOURCES, more, less, strict=True) if a < b * (1 - 1e-12)]
    assert fallen == []


def with_steps_of_their_own(window):
    """Return a network whose steps do not depend on its answers, which every additional channel would change."""
    lattice = lattice_of(window)
    if lattice.is_adaptive:
        for weight in lattice.hazard if window.reads_state else [lattice.hazard_sureness]:
            weight.data.zero_()
    return lattice


@quick
@given(partly_dead(), st.data())
def test_another_living_channel_lowers_no_resource(given_window, data):
    window, dead = given_window
    fewer, more = with_steps_of_their_own(window), with_steps_of_their_own(window)
    every = [(l, c) for l, channels in enumerate(window.channels) for c in range(channels)]
    kill(more, dead)
    kill(fewer, [*dead, data.draw(st.sampled_from(every))])
    assert_no_less(resources_of(more), resources_of(fewer))


@quick
@given(windows(min_layers=2, max_layers=4).filter(lambda window: window.reaches(window.layers, window.steps)))
def test_another_living_layer_lowers_no_resource(window):
    deeper, shallower = with_steps_of_their_own(window), with_steps_of_their_own(window)
    kill(shallower, [(window.layers - 1, c) for c in range(window.channels[-1])])
    more, less = resources_of(deeper), resources_of(shallower)
    assert_no_less(more, less)
    assert more[RESOURCES.index("depth")] == less[RESOURCES.index("depth")] + 1


@quick
@given(windows())
def test_another_step_lowers_no_resource(window):
    window = replace(window, steps=window.steps + 1)
    longer, shorter = lattice_of(window), lattice_of(window)
    stopping_after(shorter, 0, window.steps - 1)
    more, less = resources_of(longer), resources_of(shorter)
    assert_no_less(more, less)
    # All images may halt before the added step; only the expected step must change.
    assert more[RESOURCES.index("expected_time")] > less[RESOURCES.index("expected_time")]


def test_breadth_is_the_width_of_the_widest_layer():
    left = lattice_of(Window((5, 2, 3), 2, (1, 6, 6), 3))
    measured = measure(left, evaluate(left, Images(images_of(left.window), torch.zeros(3, dtype=torch.int64))))
    assert (measured["breadth"], measured["depth"], measured["channels"]) == (5, 3, 10)


NEXT = Window((2, 2, 2), 4, (1, 6, 6), 3, bottom_up="next")


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_layer_that_the_image_does_not_reach_in_the_steps_is_dead(steps):
    lattice = lattice_of(NEXT, (0, 1))
    stopping_after(lattice, 1, steps)
    layers = [[bool(alive_PC[member].all()) for alive_PC in living_channels(lattice)] for member in (0, 1)]
    assert layers == [[True] * 3, [layer <= steps for layer in (1, 2, 3)]]
    assert living_channels(lattice)[2][1].any() == (steps >= 3)


def test_channel_whose_word_would_come_after_the_last_step_is_dead():
    lattice = lattice_of(NEXT)
    with torch.no_grad():
        for readout in lattice.readout[1:]:
            readout[:] = 0  # what layers 2 and 3 see comes back to layer 1 at steps 3 and 5
    assert [alive_PC.all() for alive_PC in living_channels(lattice)] == [True, True, False]
    stopping_after(lattice, 0, 2)
    assert [alive_PC.all() for alive_PC in living_channels(lattice)] == [True, False, False]


@quick
@given(windows("confidence").map(lambda window: replace(window, standardize="none")), st.data())
def test_living_channels_are_those_that_let_the_image_through_to_the_answer(window, data):
    """With positive weights and states, a channel is on a path exactly if removing it changes the answer."""
    lattice = lattice_of(window)
    with torch.no_grad():
        for weight in (*lattice.bottom_up, *lattice.lateral, *lattice.top_down, *lattice.readout):
            kept = data.draw(st.lists(st.booleans(), min_size=(n := weight[0].shape[:2].numel()), max_size=n))
            mask = torch.tensor(kept, dtype=weight.dtype).view(1, *weight.shape[1:3], *[1] * (weight.dim() - 3))
            weight.abs_().mul_(mask)
        for bias in lattice.bias:
            bias.abs_()
    living = living_channels(lattice)
    for l, c in ((l, c) for l, channels in enumerate(window.channels) for c in range(channels)):
        assert bool(living[l][0, c]) == lets_through(lattice, l, c)


def lets_through(lattice, layer, channel):
    """Tell whether a channel passes the image on: without it, a change of the image changes the answer less."""
    images = images_of(lattice.window)

    def moved(network):
        answers = [network(image).logits_TBPK.sum(-1) for image in (images, images + 1)]
        return answers[1] - answers[0]

    without = lattice_of(lattice.window)
    without.load_state_dict(lattice.state_dict())
    kill(without, [(layer, channel)])
    return not torch.allclose(moved(lattice), moved(without), rtol=1e-12, atol=0)


def seen_with(steps, sureness):
    """Return an evaluation of one network in which only these are filled in."""
    nothing = dict.fromkeys((field.name for field in fields(Evaluation)), torch.zeros(len(steps), 1))
    filled = {"expected_steps": steps, "sureness": sureness}
    return Evaluation(**nothing | {name: torch.tensor(v).double()[:, None] for name, v in filled.items()})


few = st.lists(st.tuples(st.integers(1, 4), st.integers(-3, 3)), min_size=2, max_size=30)


@given(few)
def test_share_of_steps_that_confidence_explains_is_the_squared_rank_correlation(pairs):
    steps, sureness = zip(*pairs, strict=True)
    found = steps_by_confidence(seen_with(steps, sureness))
    if len(set(steps)) == 1 or len(set(sureness)) == 1:
        assert found is None
    else:
        ranks = [[sum(v < w for v in of) + (of.count(w) + 1) / 2 for w in of] for of in (steps, sureness)]
        assert found == pytest.approx(np.corrcoef(ranks)[0, 1] ** 2, abs=1e-9)
        assert -1e-9 <= found <= 1 + 1e-9


def test_steps_that_follow_confidence_are_explained_whole_and_others_not_at_all():
    sure = [0.5, 1.0, 2.0, 4.0]
    assert steps_by_confidence(seen_with([4.0, 3.0, 2.5, 1.0], sure)) == pytest.approx(1)
    assert steps_by_confidence(seen_with([1.0, 2.0, 2.0, 1.0], sure)) == pytest.approx(0)
    assert steps_by_confidence(seen_with([2.0, 2.0 + 1e-6, 2.0, 2.0], sure)) is None


@pytest.mark.parametrize("time_selection", TIME_SELECTIONS)
def test_only_networks_whose_steps_depend_on_the_image_say_what_confidence_explains(time_selection):
    window = Window((3,), 4, (1, 5, 6), 3, time_selection=time_selection)
    images = Images(images_of(window, 50), torch.arange(50) % 3)
    left = cut(halting_lattice(window, 5.0))
    assert ("steps_by_confidence" in measure(left, evaluate(left, images))) is (time_selection != "fixed")
