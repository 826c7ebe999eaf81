"""Elimination: when channels fade, which ones, which network comes back, and what is reported."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sweeper.model import Lattice, Pressures, TaskDefinition, Window, load_task, train
from sweeper.model import shard as shard_module
from sweeper.model.costs import counted_costs
from sweeper.model.elimination import (
    BEGINS,
    ENDS,
    FADES,
    REMAINS,
    STAGES,
    Schedule,
    chosen,
    expected_loss,
    fading_count,
    lot,
    may_lose,
    outgoing,
    prices,
    silent,
    weakest,
)
from sweeper.model.population import TrainingPopulation
from sweeper.model.shard import Course
from tests.model.populations import training_settings
from tests.model.trainings import window_for

SETTINGS = training_settings(epochs=40, solver="elimination", learning_rate=2e-2)
WINDOW = (4, 3)


@pytest.fixture(scope="module")
def task():
    return load_task(TaskDefinition(classes=3, train_images=160, validation_images=60, test_images=60))


# When


@given(st.integers(1, 3000), st.integers(1, 60))
def test_stages_lie_in_their_share_of_the_training_and_are_no_more_than_there_are_looks(updates, every):
    looks = [*range(every, updates, every), updates]
    schedule = Schedule.of(looks, updates)
    assert list(schedule.decisions) == sorted(set(schedule.decisions))
    assert set(schedule.decisions) <= set(looks)
    assert all(BEGINS * updates <= now <= ENDS * updates for now in schedule.decisions)
    assert len(schedule.decisions) != 1
    assert len(schedule.decisions) <= STAGES + 1
    within = [now for now in looks if BEGINS * updates <= now <= ENDS * updates]
    if len(within) > 1:
        assert (schedule.decisions[0], schedule.decisions[-1]) == (within[0], within[-1])


@given(st.integers(50, 3000), st.integers(1, 30))
def test_what_fades_falls_by_equal_parts_to_nothing_early_in_every_stage(updates, every):
    schedule = Schedule.of([*range(every, updates, every), updates], updates)
    for begin, end in zip(schedule.decisions, schedule.decisions[1:], strict=False):
        left = [1.0]
        for update in range(begin, end):
            left.append(left[-1] * schedule.fade(update))
        steps = max(1, round(FADES * (end - begin)))
        assert left == pytest.approx([max(0, 1 - i / steps) for i in range(end - begin + 1)], abs=1e-12)
        assert left[steps:] == [0] * (end - begin + 1 - steps)
        assert steps <= max(1, (end - begin) / 2), "nothing is left of the stage to recover in"


@given(st.floats(0.01, 3), st.lists(st.floats(0, 5), min_size=2, max_size=9))
def test_expected_loss_keeps_the_order_of_losses_and_leaves_one_by_chance_as_it_is(chance, losses):
    loss_P = torch.tensor(sorted(losses), dtype=torch.float64)
    expected_P = expected_loss(loss_P, chance)
    assert torch.all(expected_P.diff() >= 0)
    assert torch.all(expected_P <= loss_P)
    assert torch.all(expected_P >= REMAINS * loss_P)
    above_P = loss_P >= chance
    assert torch.equal(expected_P[above_P], loss_P[above_P])


@given(st.integers(1, 300), st.integers(1, STAGES))
def test_few_channels_are_left_after_all_stages(channels, stages):
    left = channels
    for stage in range(stages):
        if left:
            fading = fading_count(left, stages - stage)
            assert 1 <= fading <= left
            left -= fading
    assert left <= max(1, round(channels * 0.1), channels - stages)
    assert channels < 3 or left < channels


# Which


def test_layer_whose_weakest_channel_is_worth_least_for_its_price_is_chosen():
    worth_LP = torch.tensor([[0.3, 0.1, math.inf], [0.2, 0.1, 0.5]])
    price_LP = torch.tensor([[0.1, 0.1, 0.0], [0.1, 0.2, 0.1]])
    assert chosen(worth_LP, price_LP).tolist() == [1, 1, 1]


@given(st.integers(1, 300))
def test_lot_is_a_part_of_a_layer_of_several_channels(channels):
    assert 1 <= lot(channels) <= max(1, channels // 2)


def test_channels_that_fade_together_are_as_many_as_are_due_and_the_weakest_of_their_layers(
    task,
):
    window = replace(window_for(task), channels=(4,) * 5, halve=())
    members = [Pressures(price, price, 0.02, seed) for price in (0.02, 0.3) for seed in range(3)]
    course = Course(members, SETTINGS, task.train)
    shard = TrainingPopulation(course, window, None, torch.zeros(0)).shards[0]
    order = weakest(shard.lattice)
    for stages in (14, 6, 3):
        fading = shard.next_to_fade(torch.tensor([True] * 5 + [False]), course.sample(60), stages)
        counts = torch.stack([its.sum(1) for its in fading])
        assert counts.sum(0).tolist() == [fading_count(20, stages)] * 5 + [0]
        for l, its in enumerate(fading):
            for row, count in enumerate(counts[l].tolist()):
                assert sorted(its[row].nonzero().flatten().tolist()) == sorted(order[l][row, :count].tolist())


def test_channel_that_carries_all_stays_though_the_others_of_its_layer_are_worth_nothing(task):
    window = replace(window_for(task), channels=(4,) * 5, halve=())
    course = Course([Pressures(0, 0, 0.02, seed) for seed in range(2)], SETTINGS, task.train)
    population = TrainingPopulation(course, window, None, torch.zeros(0))
    while not population.is_done:
        population.run_epoch()
    (shard,) = population.shards
    with torch.no_grad():
        for weight in outgoing(shard.lattice, 0):
            weight[:, :, :3] *= 1e-6
        for weight in (shard.lattice.bottom_up[0], shard.lattice.bias[0]):
            weight[:, :3] *= 1e-6
        shard.breadth_P += 0.02
        shard.depth_P -= 0.015  # what lies deep costs little here, so that the first layer is the first choice
        fading = shard.next_to_fade(torch.tensor([True, True]), course.sample(100), 14)
    assert fading_count(20, 14) == 4, "as many as the layer has"
    assert fading[0].any(1).all(), "worth nothing, and looked at first"
    assert not fading[0][:, 3].any()


living_layers = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=4
).map(lambda counts: [torch.arange(5)[None] < torch.tensor(its)[:, None] for its in counts])  # fmt: skip


@given(living_layers, st.tuples(st.floats(0, 3), st.floats(0, 3)), st.tuples(st.floats(0, 3), st.floats(0, 3)))
def test_price_is_what_the_counted_costs_fall_by_without_the_last_channel_of_a_layer(living, breadth, depth):
    breadth_P, depth_P = torch.tensor(breadth, dtype=torch.float64), torch.tensor(depth, dtype=torch.float64)

    def total(sets):
        breadth_cost_P, depth_cost_P = counted_costs(sets, breadth_P)
        return breadth_P * breadth_cost_P + depth_P * depth_cost_P

    for l, price_P in enumerate(prices(living, breadth_P, depth_P)):
        some_P = living[l].any(1)
        fewer_PC = living[l] & (torch.arange(5) < living[l].sum(1, keepdim=True) - 1)
        saved_P = total(living) - total([*living[:l], fewer_PC, *living[l + 1 :]])
        torch.testing.assert_close(saved_P[some_P], price_P[some_P])


@given(living_layers)
def test_a_layer_keeps_its_last_channel_as_long_as_a_layer_above_has_any(living):
    counts = torch.stack([alive_PC.sum(1) for alive_PC in living])
    may = torch.stack(may_lose(living))
    for row in range(2):
        its = counts[:, row].tolist()
        for l, count in enumerate(its):
            stays = count == 0 or (count == 1 and l + 1 < len(its) and its[l + 1] > 0)
            assert bool(may[l, row]) is not stays
        depth = its.index(0) if 0 in its else len(its)
        assert depth == 0 or may[depth - 1, row], "the highest layer may always lose one"


@pytest.mark.parametrize("channels", [(1, 3, 3), (8, 8, 2), (9, 2, 16)])
def test_no_stage_cuts_off_a_layer_though_the_lowest_one_is_always_worth_least(task, channels, monkeypatch):
    monkeypatch.setattr(shard_module, "chosen", lambda worth_LP, price_LP: worth_LP.isfinite().int().argmax(0))
    window = replace(window_for(task), channels=channels, halve=())
    course = Course([Pressures(2.0, 9.0, 0.02, seed) for seed in range(3)], SETTINGS, task.train)
    shard = TrainingPopulation(course, window, None, torch.zeros(0)).shards[0]
    for stages in range(14, 0, -1):
        fading = shard.next_to_fade(torch.tensor([True] * 3), course.sample(60), stages)
        left = [(~its).sum(1).tolist() for its in fading]
        due = sum(channels) - fading_count(sum(channels), stages)
        for first, second, third in zip(*left, strict=True):
            assert first + second + third == due
            assert first == max(1, channels[0] - (sum(channels) - due)), "the first layer, down to its last channel"
            assert second or not third


def test_silence_is_that_of_a_lattice_without_the_channel_and_ends_with_nothing_changed():
    lattice = Lattice(Window((3, 2), 3, (1, 5, 5), 3), [0, 1]).double()
    images = torch.rand(4, 1, 5, 5, dtype=torch.float64)
    before, state = lattice(images).logits_TBPK, {k: v.clone() for k, v in lattice.state_dict().items()}
    silent_PC = torch.tensor([[True, False, False], [False, False, False]])
    with silent(lattice, 0, silent_PC):
        within = lattice(images).logits_TBPK
    assert not torch.equal(within[:, :, 0], before[:, :, 0])
    torch.testing.assert_close(within[:, :, 1], before[:, :, 1])
    assert all(torch.equal(value, state[name]) for name, value in lattice.state_dict().items())
    with torch.no_grad():
        lattice.bottom_up[0][0, 0] = 0  # the channel is silent
        lattice.lateral[0][0, 0] = 0
        lattice.top_down[0][0, 0] = 0
        lattice.bias[0][0, 0] = 0
    torch.testing.assert_close(lattice(images).logits_TBPK[:, :, 0], within[:, :, 0])


def test_weakest_channels_come_first_and_those_that_are_gone_last():
    lattice = Lattice(Window((3,), 2, (1, 4, 4), 2), [0])
    with torch.no_grad():
        for c, scale in enumerate((2.0, 0.0, 0.5)):
            for weight in (lattice.bottom_up[0], lattice.lateral[0]):
                weight[0, c] *= scale
            lattice.lateral[0][0, :, c] *= scale
            lattice.readout[0][0, :, c] *= scale
    assert weakest(lattice)[0].tolist() == [[2, 0, 1]]


# What comes back


def judged(task, members, monkeypatch, settings=SETTINGS, channels=WINDOW):
    """Train, and return the results and the objective and channels of each member at the end of each stage."""
    seen = {member: [] for member in range(len(members))}
    judge = TrainingPopulation._judge

    def noting(self, shard, member, view):
        if not self.paths[member].is_over:
            counts = tuple(len(channels) for channels in shard.held().get(member, []))
            seen[member].append((view.objective, counts))
        return judge(self, shard, member, view)

    monkeypatch.setattr(TrainingPopulation, "_judge", noting)
    return train(task, replace(window_for(task), channels=channels, halve=()), members, settings), seen


def test_network_with_the_lowest_objective_comes_back(task, monkeypatch):
    members = [Pressures(b, b / 2, 0.02, seed) for b in (1e-4, 0.02, 0.3) for seed in (0, 1)]
    results, seen = judged(task, members, monkeypatch)
    empty = (1 + SETTINGS.step_loss) * math.log(3) + 0.02
    kept = [min([*seen[member], (empty, ())], key=lambda view: view[0])[1] for member in range(len(members))]
    assert [tuple(result.channels_per_layer) for result in results] == kept
    assert len(set(kept)) > 2
    assert any(view[0] > min(seen[member])[0] for member in seen for view in seen[member][-1:]), "none came back"


def test_network_that_always_cost_more_than_an_answer_by_chance_ends_empty_without_having_been_so(task, monkeypatch):
    members = [Pressures(1e-3, 2.0, 0.02, 0), Pressures(1e-3, 1e-3, 0.02, 0), Pressures(0.5, 0, 0.02, 1)]
    settings = replace(SETTINGS, epochs=12)  # too few stages for eight channels
    results, seen = judged(task, members, monkeypatch, settings, channels=(8, 8))
    empty = 1.2 * math.log(3) + 0.02
    assert [min(objective for objective, _ in seen[member]) > empty for member in range(3)] == [True, False, True]
    assert all(sum(counts) for member in (0, 2) for _, counts in seen[member])
    for number in (0, 2):
        assert results[number].channels_per_layer == []
        assert results[number].measurement["objective"] == pytest.approx(empty, rel=0.02)
    assert sum(results[1].channels_per_layer)


def test_higher_pressure_never_keeps_more(task, monkeypatch):
    members = [Pressures(pressure, pressure / 2, 0.02, 3) for pressure in (0, 1e-3, 1e-2, 0.1, 1.0)]
    results, _ = judged(task, members, monkeypatch)
    prices_of = [sum(c * (c + 1) / 2 for c in result.channels_per_layer) for result in results]
    assert prices_of == sorted(prices_of, reverse=True)
    assert prices_of[0] == 10 + 6
    assert prices_of[-1] < prices_of[0]


def test_network_that_pays_nothing_for_channels_trains_as_if_none_could_be_eliminated(task):
    window = window_for(task)
    (free,) = train(task, window, [Pressures(0, 0, 0.02, 0)], SETTINGS)
    (other,) = train(task, window, [Pressures(0, 0, 0.02, 0)], replace(SETTINGS, solver="proximal"))
    for one, same in zip(free.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(one, same)


def test_training_with_too_few_looks_eliminates_nothing(task):
    settings = replace(SETTINGS, epochs=1)
    (result,) = train(task, window_for(task), [Pressures(1.0, 1.0, 0.02, 0)], settings)
    assert result.channels_per_layer == [4, 3]


# What is reported


@pytest.mark.parametrize("solver", ["elimination", "proximal", "backprop"])
def test_objective_is_the_loss_and_the_costs_times_their_pressures(task, solver):
    members = [Pressures(0.01, 0.02, 0.3, 0), Pressures(0, 0, 0, 1)]
    for member, result in zip(members, train(task, window_for(task), members, replace(SETTINGS, solver=solver)), strict=True):  # fmt: skip
        found = result.measurement
        assert found["objective"] == pytest.approx(
            found["training_loss"]
            + member.breadth * found["cost_breadth"]
            + member.depth * found["cost_depth"]
            + member.time * found["cost_time"]
        )
        if solver == "elimination":
            counts = result.channels_per_layer
            assert found["cost_breadth"] == sum(c * (c + 1) / 2 for c in counts)
            assert found["cost_depth"] == sum(layer * c for layer, c in enumerate(counts, start=1))


def test_loss_of_an_objective_is_what_training_minimises_over_the_training_images(task):
    settings = training_settings(epochs=4, solver="elimination")
    (result,) = train(task, window_for(task), [Pressures(0, 0, 0.02, 0)], settings)
    answer = result.network(task.train.pixels)
    labels = task.train.labels
    mixture = -answer.log_probs_BPK[:, 0].gather(1, labels[:, None]).mean()
    every_step = -answer.logits_TBPK[:, :, 0].log_softmax(-1).gather(2, labels[None, :, None].expand(3, -1, 1)).mean()
    assert result.measurement["training_loss"] == pytest.approx(
        float(mixture + settings.step_loss * every_step), rel=1e-5
    )
    assert result.measurement["cost_time"] == pytest.approx(float(answer.expected_steps_BP.mean()), rel=1e-5)
