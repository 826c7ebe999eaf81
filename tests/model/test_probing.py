"""Probes and lesions: what networks do with intact and degraded images, and without some of their parts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.model import Lattice, Network, TaskDefinition, Window, load_task
from sweeper.model.complexity import complexity
from sweeper.model.counting import evaluate
from sweeper.model.errors import LesionError
from sweeper.model.lesions import layers_without, lesioned, named_parts
from sweeper.model.probing import look, pictures, probed, without
from sweeper.model.tasks import Images

RULES = ("fixed", "confidence", "state")


def network_of(seed, channels=(3, 2), steps=3, rule="confidence"):
    """Return a network with random weights, including those of time selection."""
    window = Window(channels, steps, (1, 8, 8), 4, time_selection=rule)
    lattice = Lattice(window, [seed])
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in lattice.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return lattice


def pixels_of(seed, count=7):
    return torch.rand((count, 1, 8, 8), generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), rule=st.sampled_from(RULES), steps=st.integers(1, 4), layers=st.integers(0, 3))
def test_look_says_what_evaluation_and_halting_say(seed, rule, steps, layers):
    network, pixels = network_of(seed, (2,) * layers, steps, rule), pixels_of(seed)
    seen = look(network, pixels, batch_size=3)
    known = evaluate(network, Images(pixels, torch.zeros(len(pixels), dtype=torch.int64)))
    assert np.array_equal(seen["answer"], known.choice[:, 0].numpy())
    assert np.array_equal(seen["steps"], known.step[:, 0].numpy())
    assert np.allclose(seen["confidence"], known.confidence[:, 0].numpy(), atol=1e-5)
    assert np.allclose(seen["expected_steps"], known.expected_steps[:, 0].numpy(), atol=1e-5)
    halted = Network(network).halting(pixels)
    assert np.array_equal(seen["steps"], halted.steps.numpy())
    # The uncertainty of a step is a share of its maximum, which a uniform readout reaches.
    assert (seen["uncertainty"] >= 0).all()
    assert (seen["uncertainty"] <= steps + 1e-9).all()
    assert (seen["first_confidence"] >= 0.25 - 1e-6).all()
    probabilities_NTK = Network(network)(pixels).logits.double().softmax(-1)
    assert np.allclose(seen["first_confidence"], probabilities_NTK[:, 0].amax(-1).detach().numpy(), atol=1e-5)
    assert np.allclose(seen["last_confidence"], probabilities_NTK[:, -1].amax(-1).detach().numpy(), atol=1e-5)


def test_network_that_says_nothing_is_as_uncertain_as_can_be():
    network = network_of(0, (2,), steps=4)
    with torch.no_grad():
        for weight in (*network.readout, network.readout_bias):
            weight.zero_()
    seen = look(network, pixels_of(0))
    assert np.allclose(seen["uncertainty"], 4)
    assert np.allclose(seen["first_confidence"], 0.25)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), rule=st.sampled_from(RULES), steps=st.integers(2, 4))
def test_lesion_takes_out_its_part_and_nothing_else(seed, rule, steps):
    network, pixels = network_of(seed, (3, 2, 2), steps, rule), pixels_of(seed)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for parts in (["lateral"], ["top-down"], ["lateral", "top-down"]):
        left = lesioned(network, parts)
        for name, tensor in left.state_dict().items():
            is_out = name.split(".")[0].replace("_", "-") in parts
            assert torch.equal(tensor, torch.zeros_like(tensor) if is_out else before[name]), name
    # Layers above a removed one never see the image, so the answers do not depend on it.
    deaf = lesioned(network, ["layer:1"])
    assert torch.equal(deaf(pixels).logits_TBPK, deaf(pixels_of(seed + 1)).logits_TBPK)
    last = lesioned(network, ["deepest"])
    assert torch.equal(last(pixels).logits_TBPK, lesioned(network, ["layer:3"])(pixels).logits_TBPK)
    assert not last.readout[2].any()
    assert torch.equal(last.bottom_up[1], network.bottom_up[1])
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_deepest_layer_taken_out_leaves_what_a_shallower_network_says():
    network = network_of(3, (3, 2), steps=3)
    shallow = network_of(3, (3,), steps=3)
    with torch.no_grad():
        for name, tensor in shallow.state_dict().items():
            tensor.copy_(network.state_dict()[name])
    pixels = pixels_of(3)
    assert torch.allclose(lesioned(network, ["deepest"])(pixels).logits_TBPK, shallow(pixels).logits_TBPK, atol=1e-6)


def test_parts_that_a_network_lacks_are_not_missed_and_unknown_ones_are_refused():
    network, pixels = network_of(1, (2,), steps=1, rule="fixed"), pixels_of(1)
    for part in ("lateral", "top-down", "layer:9"):
        assert torch.equal(lesioned(network, [part])(pixels).logits_TBPK, network(pixels).logits_TBPK)
    assert lesioned(network_of(1, ()), ["deepest"]).window.layers == 0
    assert layers_without(["layer:1", "deepest", "layer:7", "lateral"], 3) == [1, 3]
    for part in ("laterals", "layer", "layer:", "layer:x", "3"):
        with pytest.raises(LesionError, match="layer:N"):
            lesioned(network, [part])


def test_means_without_a_part_are_those_of_its_images():
    network, pixels = network_of(5), pixels_of(5, 40)
    images = Images(pixels, torch.arange(40) % 4)
    seen = look(lesioned(network, ["top-down"]), pixels)
    found = without(network, images, ["top-down"])
    assert found["accuracy"] == np.mean(seen["answer"] == images.labels.numpy())
    assert found["time"] == pytest.approx(seen["steps"].mean())
    assert found["confidence"] == pytest.approx(seen["confidence"].mean(), rel=1e-6)


def test_pictures_are_described_by_hand():
    flat, half = np.full((1, 1, 4, 4), 0.5, np.float32), np.zeros((1, 1, 4, 4), np.float32)
    half[..., 2:] = 1
    seen = pictures(np.concatenate([flat, half]))
    assert seen["brightness"].tolist() == [0.5, 0.5]
    assert seen["edges"].tolist() == [0, 4 / 24], "4 of 12 + 12 pairs of neighbours"
    assert pictures(np.ones((2, 3, 1, 1), np.float32))["edges"].tolist() == [0, 0]


def test_probes_say_of_whole_images_alone_what_the_pictures_are():
    task = load_task(TaskDefinition(classes=(1, 4), test_images=30))
    network = Lattice(Window((2,), 2, task.image, 2), [0])
    rows = probed(network, task, [("contrast", 0.5)]).to_pylist()
    by_kind = {kind: [row for row in rows if row["probe"] == kind] for kind in ("whole", "contrast")}
    assert [row["brightness"] for row in by_kind["whole"]] == pytest.approx(task.test.pixels.mean((1, 2, 3)).tolist())
    assert all(row["edges"] is None and row["brightness"] is None for row in by_kind["contrast"])
    assert all(0 < row["edges"] < 1 for row in by_kind["whole"])
    assert all(math.isfinite(row["uncertainty"]) for row in rows)


def test_few_images_are_shown_under_probes_and_are_the_same_for_all():
    task = load_task(TaskDefinition(classes=(1, 4), test_images=40))
    network = Lattice(Window((2,), 2, task.image, 2), [0])
    rows = probed(network, task, [("contrast", 0.5), ("noise", 0.1), ("contrast", 0.9)], 12).to_pylist()
    shown = {}
    for row in rows:
        shown.setdefault((row["probe"], row["level"]), []).append(row["image"])
    whole = shown.pop(("whole", 0.0))
    assert whole == list(range(40))
    first = shown["contrast", 0.5]
    assert len(first) == 12
    assert first == sorted(first) != list(range(12))
    assert set(map(tuple, shown.values())) == {tuple(first)}
    labels = {row["image"]: row["label"] for row in rows if row["probe"] == "whole"}
    assert all(labels[row["image"]] == row["label"] for row in rows)
    every = probed(network, task, [("contrast", 0.5)]).to_pylist()
    assert [row["image"] for row in every if row["probe"] == "contrast"] == whole


def test_complexity_orders_tasks_as_anybody_would():
    easy, hard, noisy = (
        complexity(load_task(TaskDefinition(**asked, train_images=400)))
        for asked in ({"classes": (0, 1)}, {}, {"noise": 0.6})
    )
    assert easy["regression"] < hard["regression"] < noisy["regression"] < 0.9
    assert easy["neighbour"] < hard["neighbour"] < noisy["neighbour"] < 0.9
    again = complexity(load_task(TaskDefinition(noise=0.6, train_images=400)))
    assert again == noisy


@pytest.mark.parametrize("parts", ["lateral", "top_down,lateral", "deepest", " layer:1 , top-down"])
def test_network_without_parts_is_the_lesioned_one_and_says_so(parts):
    network, pixels = Network(network_of(3), {"key": "k"}).eval(), pixels_of(3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    left, named = network.without(parts), named_parts(parts, 2)
    assert torch.equal(left(pixels).logits, Network(lesioned(network.lattice, named))(pixels).logits)
    assert left.description == {"key": "k", "lesion": ",".join(named)}
    assert (network.description, left.training) == ({"key": "k"}, False)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_parts_taken_out_one_after_the_other_are_taken_out_at_once():
    network, pixels = Network(network_of(3)), pixels_of(3)
    one, other = network.without("top-down").without("lateral"), network.without("lateral,top-down")
    assert one.description == other.description == {"lesion": "lateral,top-down"}
    assert torch.equal(one(pixels).logits, other(pixels).logits)


@pytest.mark.parametrize(
    ("parts", "depth", "said"),
    [
        ("layer:3", 2, "no layer:3 that could be taken out: it has layer:1 to layer:2"),
        ("lateral,layer:12", 1, "no layer:12 that could be taken out: it has layer:1 alone"),
        ("layer:1", 0, "no layer:1 that could be taken out: no layer is left of it"),
        ("layer:0", 2, "no layer:0"),
        ("laterals", 2, "got 'laterals'"),
        ("", 2, "got ''"),
        ("lateral,", 2, "got ''"),
    ],
)
def test_part_that_is_not_there_is_refused_with_those_that_are(parts, depth, said):
    with pytest.raises(LesionError, match=said):
        named_parts(parts, depth)
    with pytest.raises(LesionError):
        Network(network_of(0, (2,) * depth)).without(parts)
