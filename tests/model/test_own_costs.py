"""A user's own costs: each network minimises them for itself, and functions that cannot be costs are refused."""

from __future__ import annotations

import copy
import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sweeper.model import Lattice, OwnCost, Pressures, TaskDefinition, load_task, train
from sweeper.model.errors import CostError
from sweeper.model.learning import learn
from sweeper.model.native.library import TORCH
from sweeper.model.own_costs import price, reads_channels, try_cost
from sweeper.model.window import TIME_SELECTIONS
from tests.model.populations import training_settings
from tests.model.trainings import assert_equal_states, window_for

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "my_costs.py"


def from_file(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


COSTS = [OwnCost(name, getattr(from_file(EXAMPLES), name)) for name in ("wiring", "energy", "habit")]


@pytest.fixture(scope="module")
def task():
    return load_task(TaskDefinition("digits", classes=3, train_images=120, validation_images=60, test_images=60))


def members(*owns, breadth=0.0):
    return [Pressures(breadth, 0.0, 0.02, seed, own) for seed, own in enumerate(owns)]


def lattice_of(task, time_selection="confidence", **options):
    lattice = Lattice(replace(window_for(task, time_selection), **options), [0, 1])
    lattice.standardize_pooled()
    images = task.train.shown(slice(0, 12))[:, None].expand(-1, 2, -1, -1, -1).contiguous()
    return lattice, images, task.train.labels[:12, None].expand(-1, 2)


@pytest.mark.parametrize("time_selection", TIME_SELECTIONS)
def test_slopes_are_those_of_the_loss_and_the_price_whatever_the_recurrence_runs_in(task, time_selection):
    pressure_CP = torch.tensor([[1e-3, 0.0], [0.2, 0.1], [0.0, 0.3]])
    time_P = torch.tensor([0.1, 0.2])
    lattice, images, labels_BP = lattice_of(task, time_selection)

    def slopes(own):
        seen = learn(lattice, images, labels_BP, 0.2, time_P, own)
        return seen, [weight.grad.clone() for weight in lattice.parameters()]

    def priced(*given):
        return price(COSTS, pressure_CP, *given)

    plain, without = slopes(None)
    both, with_price = slopes(priced)
    lattice.recurrence = TORCH
    in_torch, of_torch = slopes(priced)
    answer = lattice(images)
    price_P = priced(lattice, answer)
    of_price = torch.autograd.grad(price_P.sum(), list(lattice.parameters()), allow_unused=True)
    torch.testing.assert_close(both.loss_P, plain.loss_P + price_P.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both.loss_P, in_torch.loss_P, rtol=1e-4, atol=1e-5)
    for one, two, three, more in zip(with_price, of_torch, without, of_price, strict=True):
        scale = float(two.abs().max()) + 1e-2
        torch.testing.assert_close(one / scale, two / scale, rtol=0, atol=3e-4)
        torch.testing.assert_close(one / scale, (three + (0 if more is None else more)) / scale, rtol=0, atol=3e-4)
    assert any(more is not None and bool(more.any()) for more in of_price)


def test_cost_that_nobody_pays_changes_no_bit_and_is_measured(task):
    settings, states = training_settings(epochs=4), [[], []]
    given = [(Pressures(1e-3, 0, 0.02, 0),), members((0.0,) * 3, breadth=1e-3)]
    results = [
        train(task, window_for(task), list(its), settings, costs=costs, report=lambda e, s=s: s.append(e.state()))[0]
        for its, costs, s in zip(given, ((), COSTS), states, strict=True)
    ]
    assert_equal_states(states[0][-1], states[1][-1])
    added = {"cost_wiring", "cost_energy", "cost_habit"}
    assert results[1].measurement.keys() - results[0].measurement.keys() == added
    assert {n: v for n, v in results[1].measurement.items() if n not in added} == results[0].measurement


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("solver", ["elimination", "proximal", "backprop"])
def test_pressure_makes_its_cost_smaller(task, number, solver):
    strong = (3e-3, 0.05, 3.0)[number]
    owns = [tuple(pressure * (index == number) for index in range(3)) for pressure in (0.0, strong)]
    free, pressed = train(
        task,
        window_for(task, steps=4),
        [Pressures(0.0, 0.0, 0.0, 0, own) for own in owns],
        training_settings(epochs=12, solver=solver, learning_rate=2e-2),
        costs=COSTS,
    )
    name = f"cost_{COSTS[number].name}"
    assert pressed.measurement[name] < 0.8 * free.measurement[name]
    parts = pressed.measurement
    assert parts["objective"] == pytest.approx(parts["training_loss"] + strong * parts[name], rel=1e-5)


@pytest.mark.parametrize("solver", ["elimination", "proximal"])
def test_member_of_a_population_trains_as_alone_in_float64(task, solver):
    settings = training_settings(epochs=12, solver=solver, learning_rate=2e-2)
    together = members((3e-3, 0.0, 0.0), (0.0, 0.05, 0.3), (0.0, 0.0, 0.0), breadth=1e-3)

    def trained(its):
        return train(task, window_for(task), its, settings, costs=COSTS, dtype=torch.float64)

    for member, of_many in zip(together, trained(together), strict=True):
        (alone,) = trained([member])
        assert of_many.measurement == pytest.approx(alone.measurement, rel=1e-9)
        for one, other in zip(of_many.network.parameters(), alone.network.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


def test_training_that_paused_ends_as_one_that_did_not(task):
    settings = training_settings(epochs=12, solver="elimination", learning_rate=2e-2)
    given = {"costs": COSTS, "settings": settings, "members": members((1e-3, 0.01, 0.1), (0.0, 0.0, 0.0))}
    kept = []
    whole = train(task, window_for(task), **given, report=lambda epoch: kept.append(copy.deepcopy(epoch.state())))
    again = train(task, window_for(task), **given, state=kept[6])
    assert [one.measurement for one in again] == [one.measurement for one in whole]


def test_cost_of_channels_takes_channels_out_and_one_of_steps_takes_none(task):
    assert [reads_channels(cost, window_for(task)) for cost in COSTS] == [True, True, False]
    free, wired, steps = train(
        task,
        window_for(task),
        members((0, 0, 0), (3e-4, 0, 0), (0, 0, 1.0)),
        training_settings(epochs=40, solver="elimination", learning_rate=2e-2),
        costs=COSTS,
    )
    assert wired.measurement["channels"] < free.measurement["channels"] == steps.measurement["channels"] == 7


def test_what_is_measured_is_the_cost_of_the_network_that_is_left(task):
    (result,) = train(task, window_for(task), members((1e-3, 0.0, 0.0)), training_settings(epochs=3), costs=COSTS)
    cost_P = COSTS[0](result.network, result.network(task.train.shown(slice(0, 5))))
    assert result.measurement["cost_wiring"] == pytest.approx(float(cost_P[0].detach()), rel=1e-5)


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: cost.name)
@pytest.mark.parametrize("time_selection", TIME_SELECTIONS)
@pytest.mark.parametrize("steps", [1, 3])
def test_examples_hold_to_what_costs_must(task, cost, time_selection, steps):
    window = window_for(task, time_selection, steps)
    try_cost(cost, window, task.train)
    try_cost(cost, replace(window, bottom_up="next"), task.train)


def norms(lattice, answer):
    return [one.weight.square().flatten(1).sum(1) for one in lattice.connections() if one.name != "bias"]


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (
            lambda lattice, answer: 5,
            "must return a tensor of shape (2,), a number for each network, but returned int 5",
        ),
        (lambda lattice, answer: sum(norms(lattice, answer)).sum(), "returned shape () of torch.float32"),
        (lambda lattice, answer: answer.expected_steps_BP, "returned shape (16, 2) of torch.float32"),
        (lambda lattice, answer: answer.features_TBPF.sum((0, 1, 3)) * math.inf, "must be finite, but is inf and inf"),
        (lambda lattice, answer: sum(norms(lattice, answer)).detach(), "has no gradient"),
        (lambda lattice, answer: torch.full((2,), 3.0), "has no gradient"),
        (lambda lattice, answer: sum(norms(lattice, answer)).flip(0), "mixes networks that are trained side by side"),
        (lambda lattice, answer: answer.features_TBPF.mean((0, 1, 3)), "is of more than the network"),
        (lambda lattice, answer: lattice.readout[0][:, :, 0].abs().sum(1), "is of more than the network"),
        (
            lambda lattice, answer: sum(norm.sqrt() for norm in norms(lattice, answer)),
            "infinite or NaN for networks with channels that are not there",
        ),
        (
            lambda lattice, answer: torch.stack(norms(lattice, answer)).sum(0) / (lattice.window.layers > 0),
            "raised RuntimeError: stack expects a non-empty TensorList for networks without a layer (test_own_costs.py",
        ),
        (lambda lattice, answer: lattice.weight, "raised AttributeError: 'Lattice' object has no attribute 'weight'"),
    ],
)
def test_function_that_cannot_be_a_cost_is_refused_in_a_sentence(task, function, says):
    with pytest.raises(CostError) as refused:
        try_cost(OwnCost("mine", function), window_for(task), task.train)
    assert says in str(refused.value)
    assert str(refused.value).startswith("cost 'mine' ")
