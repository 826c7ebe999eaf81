"""A population trains as its members would alone, and an interrupted training ends as an uninterrupted one."""

from __future__ import annotations

import re
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from sweeper.model import (
    CheckpointError,
    Growth,
    Images,
    Network,
    Pressures,
    Task,
    TaskDefinition,
    Window,
    load_task,
    train,
)
from sweeper.model.checkpoint import load_state, save_state
from sweeper.model.degradations import Degradation
from sweeper.model.shard import Course
from sweeper.model.window import TIME_SELECTIONS
from tests.model.populations import training_settings
from tests.model.trainings import MEMBERS, UNEQUAL, assert_equal_states, start_for, weights_in, window_for

SHORT = training_settings()


class StoppedError(Exception):
    """Ends a training between two epochs, as an interruption would."""


@pytest.fixture(scope="module")
def task():
    return load_task(TaskDefinition(classes=(0, 1, 2), train_images=160, validation_images=60, test_images=60))


def states_of(task, members, settings=SHORT, state=None, stop_after=None, dtype=torch.float32, growth=None, **window):
    """Train and return the results and the state after each epoch."""
    states = []

    def keep(epoch):
        states.append(deepcopy(epoch.state()))
        if epoch.epoch == stop_after:
            raise StoppedError

    results, window = [], window.get("window") or window_for(task, **window)
    with suppress(StoppedError):
        results = train(task, window, members, settings, growth=growth, report=keep, state=state, dtype=dtype)
    return results, states


def assert_same_weights(state, member, alone_state, **tolerance):
    """Compare a member's living channels with those of the same network trained alone."""
    one, other = weights_in(state, member), weights_in(alone_state, 0)
    assert one.window == other.window
    for (name, weight), alone in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(weight, alone, **tolerance, msg=lambda m, name=name: f"{name}: {m}")


def decisions(extent):
    """Return an extent without the norms that decided it, which differ by rounding."""
    axes = [*extent["breadth"], extent["depth"], extent["time"]]
    kept = [{name: value for name, value in axis.items() if name != "norm"} for axis in axes]
    return kept, extent["channels"], extent["steps"], extent["opening"], extent["is_full"]


def assert_trains_as_alone(task, members, settings, **how):
    """Compare weights and measurements of every member after every epoch with those of the member alone."""
    together, states = states_of(task, members, settings, dtype=torch.float64, **how)
    for i, member in enumerate(members):
        alone, alone_states = states_of(task, [member], settings, dtype=torch.float64, **how)
        for number, (epoch, alone_epoch) in enumerate(zip(states, alone_states, strict=True)):
            assert decisions(epoch["extents"][i]) == decisions(alone_epoch["extents"][0]), (
                f"member {i}, epoch {number + 1}"
            )
            assert_same_weights(epoch, i, alone_epoch, rtol=1e-9, atol=1e-9)
        assert together[i].channels_per_layer == alone[0].channels_per_layer
        assert together[i].measurement == pytest.approx(alone[0].measurement, rel=1e-9)
    return states


@pytest.mark.parametrize("time_selection", TIME_SELECTIONS)
def test_last_point_of_a_curve_is_the_measurement_of_the_trained_network(task, time_selection):
    pressures = [(0.02, 0.0), (0.0, 0.02), (0.02, 0.02)]  # narrower, narrower and shallower, nothing left
    members = [Pressures(breadth, depth, 0.05, seed) for seed, (breadth, depth) in enumerate(pressures)]
    settings = training_settings(epochs=6, learning_rate=3e-2)  # channels die on the way
    results, _ = states_of(task, members, settings, dtype=torch.float64, time_selection=time_selection, steps=3)
    for result in results:
        last = {name: value for name, value in result.curve[-1].items() if name != "epoch"}
        assert last.keys() == {"accuracy", "loss", "breadth", "depth", "time", "channels"}
        assert last == pytest.approx({name: result.measurement[name] for name in last}, rel=1e-9)
    counts = {tuple(point[name] for name in ("breadth", "depth")) for result in results for point in result.curve}
    assert len(counts) > 4, "counts that hardly change say nothing"
    assert {depth for _, depth in counts} == {0, 1, 2}


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["elimination", "proximal", "backprop"])
@pytest.mark.parametrize("time_selection", TIME_SELECTIONS)
@pytest.mark.parametrize(("steps", "bottom_up"), [(1, "within"), (3, "within"), (3, "next")])
def test_member_of_a_population_trains_to_the_same_weights_as_alone(task, solver, time_selection, steps, bottom_up):
    """Use float64, where training has too little rounding to amplify, so that any other difference shows."""
    settings = training_settings(epochs=6, solver=solver, learning_rate=3e-2)  # channels die on the way
    window = window_for(task, time_selection, steps, bottom_up)
    states = assert_trains_as_alone(task, MEMBERS, settings, window=window)
    assert states[-1]["shards"][0]["lattice"]["readout_bias"].dtype == torch.float64


@pytest.mark.parametrize("solver", ["elimination", "proximal", "backprop"])
def test_feed_forward_member_of_a_population_trains_to_the_same_weights_as_alone(task, solver):
    settings = training_settings(solver=solver, learning_rate=3e-2)
    window = replace(window_for(task, bottom_up="next"), connections="feed_forward")
    assert_trains_as_alone(task, MEMBERS, settings, window=window)


@pytest.mark.parametrize("solver", ["elimination", "proximal", "backprop"])
def test_member_of_a_population_takes_the_same_first_epoch_as_alone_in_float32(task, solver):
    settings = training_settings(epochs=6, solver=solver)
    _, states = states_of(task, MEMBERS, settings, stop_after=1)
    for i, member in enumerate(MEMBERS):
        _, alone_states = states_of(task, [member], settings, stop_after=1)
        assert_same_weights(states[0], i, alone_states[0], rtol=1e-4, atol=1e-5)


#: Rounds that begin and end within passes over the images; a pass has five updates.
IN_ROUNDS = training_settings(epochs=None, updates=13, round_updates=4)


@pytest.mark.parametrize("settings", [SHORT, IN_ROUNDS], ids=["epochs", "updates"])
@pytest.mark.parametrize("stop_after", [1, 2])
def test_training_that_went_on_from_a_checkpoint_ends_with_the_same_weights(task, stop_after, settings):
    whole, whole_states = states_of(task, MEMBERS, settings)
    assert len(whole_states) == {3: 3, None: 4}[settings.epochs]
    saved = []

    def save_then_stop(epoch):
        saved.append(save_state(epoch.state()))
        if epoch.epoch == stop_after:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(task, window_for(task), MEMBERS, settings, report=save_then_stop)
    rest, rest_states = states_of(task, MEMBERS, settings, state=load_state(saved[-1]))
    assert len(rest_states) == len(whole_states) - stop_after
    assert_equal_states(whole_states[-1], rest_states[-1])
    assert [r.measurement for r in rest] == [r.measurement for r in whole]
    assert [r.curve for r in rest] == [r.curve for r in whole]


def test_updates_train_as_so_many_epochs_do_however_they_are_divided(task):
    """The images come in the same order, and the learning rate falls at the same updates."""
    epochs, states = states_of(task, MEMBERS)
    for round_updates, is_equal in ((5, True), (4, False)):
        settings = training_settings(epochs=None, updates=15, round_updates=round_updates)
        updates, other_states = states_of(task, MEMBERS, settings)
        if is_equal:
            assert_equal_states(states[-1], other_states[-1])
        assert [r.measurement["updates"] for r in updates] == [r.measurement["updates"] for r in epochs] == [15] * 3
        losses = [[r.measurement["loss"] for r in results] for results in (updates, epochs)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_trial_records_what_it_used(task):
    for result in train(task, window_for(task), MEMBERS, IN_ROUNDS):
        assert (result.measurement["updates"], result.measurement["epochs"]) == (13, 2.6)
    for result in train(task, window_for(task), MEMBERS, IN_ROUNDS, until=2):
        assert (result.measurement["updates"], result.measurement["epochs"]) == (8, 1.6)


def test_member_of_a_population_with_updates_trains_as_alone(task):
    assert_trains_as_alone(task, MEMBERS, replace(IN_ROUNDS, learning_rate=3e-2))


def test_training_twice_gives_the_same_measurements(task):
    one, other = (train(task, window_for(task), MEMBERS, SHORT) for _ in range(2))
    assert [r.measurement for r in one] == [r.measurement for r in other]


@pytest.mark.parametrize("time_selection", TIME_SELECTIONS)
def test_step_distribution_of_a_result_is_that_of_the_steps_taken_and_has_the_measured_time(task, time_selection):
    for result in train(task, window_for(task, time_selection), MEMBERS, SHORT):
        taken = Network(result.network).halting(task.validation.pixels).steps
        assert result.step_dist == pytest.approx([
            float((taken == step).float().mean()) for step in range(1, result.network.window.steps + 1)
        ])
        steps = range(1, result.network.window.steps + 1)
        expected = sum(step * share for step, share in zip(steps, result.step_dist, strict=True))
        assert expected == pytest.approx(result.measurement["time"], abs=1e-5)


@pytest.mark.parametrize("steps", [1, 3])
def test_pressure_leaves_exact_zeros_and_the_reported_channels_are_what_is_left(task, steps):
    settings = training_settings(epochs=6, learning_rate=3e-2)
    result, states = states_of(task, [Pressures(1.0, 0.0, 0.05, 0)], settings, steps=steps)
    channels = result[0].channels_per_layer
    assert sum(channels) < 7
    (shard,) = states[-1]["shards"]
    alive = (
        shard["lattice"]["bottom_up.0"][0].flatten(1).ne(0).any(1).sum().item() if shard["window"]["channels"] else 0
    )
    assert alive == (channels[0] if channels else 0)


@pytest.mark.parametrize("steps", [1, 3])
def test_member_that_becomes_not_finite_is_told_apart_and_disturbs_no_other(task, steps):
    broken = Pressures(float("nan"), 0.0, 0.05, 5)
    how = {"steps": steps, "dtype": torch.float64}
    with_it, states = states_of(task, [MEMBERS[0], broken, MEMBERS[1]], **how)
    without, states_without = states_of(task, [MEMBERS[0], MEMBERS[0], MEMBERS[1]], **how)
    assert with_it[1].network is None
    assert "epoch 1" in with_it[1].reason
    assert with_it[1].curve == []
    for i in (0, 2):
        assert with_it[i].measurement == pytest.approx(without[i].measurement, rel=1e-9)
        one, other = weights_in(states[-1], i), weights_in(states_without[-1], i)
        for weight, same in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(weight, same, rtol=1e-9, atol=1e-9)


def test_population_of_which_nothing_is_finite_stops_early(task):
    seen = []
    train(task, window_for(task), [Pressures(0, 0, float("inf"), 0)], SHORT, report=lambda epoch: seen.append(epoch))
    assert [epoch.epoch for epoch in seen] == [1]
    assert seen[0].values == [{}]


def test_curve_is_bounded_however_many_epochs_there_are(task):
    parts = ((task.train, 8), (task.validation, 4), (task.test, 4))
    few = Task(*(Images(part.pixels[:count], part.labels[:count]) for part, count in parts), 3, "")
    result = train(few, Window((1,), 1, task.image, 3), [MEMBERS[0]], training_settings(epochs=120, batch_size=8))
    epochs = [point["epoch"] for point in result[0].curve]
    assert len(epochs) <= 50
    assert epochs[-1] == 120


# Degradations


@pytest.fixture(scope="module")
def hard(task):
    return replace(task, degradations=(Degradation("debris", 0.3), Degradation("noise", 0.1)))


def test_degraded_images_are_drawn_anew_in_each_step_and_alike_whoever_trains_beside(task, hard):
    index_BP = torch.arange(8)[:, None].repeat(1, 2)
    twins = [Pressures(0, 0, 0, 3), Pressures(0.1, 0, 0, 3), Pressures(0, 0, 0, 4)]
    course = Course(twins, SHORT, hard.train, hard.degradations)
    shown = course.pixels([0, 2], index_BP, update=5)
    assert shown.shape == (8, 2, *task.image)
    assert torch.equal(shown[:, 0], course.pixels([1], index_BP[:, :1], update=5)[:, 0]), "the seed decides"
    assert not torch.equal(shown[:, 0], shown[:, 1])
    assert not torch.equal(shown, course.pixels([0, 2], index_BP, update=6))
    assert torch.equal(Course(twins, SHORT, task.train).pixels([0, 2], index_BP, update=5)[:, 0], task.train.pixels[:8])


def test_member_that_sees_degraded_images_trains_to_the_same_weights_as_alone(hard):
    assert_trains_as_alone(hard, MEMBERS, training_settings(epochs=3, learning_rate=3e-2))


def test_training_on_degraded_images_that_went_on_ends_to_the_last_bit_as_one_that_never_paused(hard):
    _, whole = states_of(hard, MEMBERS)
    saved = []
    train(hard, window_for(hard), MEMBERS, SHORT, report=lambda e: saved.append(save_state(e.state())), until=1)
    _, rest = states_of(hard, MEMBERS, state=load_state(saved[-1]))
    assert_equal_states(whole[-1], rest[-1])
    _, clean = states_of(replace(hard, degradations=()), MEMBERS)
    with pytest.raises(AssertionError):
        assert_equal_states(whole[-1], clean[-1])


# Windows that grow and shrink


GROWING = training_settings(epochs=20, learning_rate=2e-2)


def sizes_in(states):
    """Return each member's size after each epoch: channels, steps, and whether a step opens or closes."""
    return [[(e["channels"], e["steps"], e["opening"]) for e in state["extents"]] for state in states]


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["elimination", "proximal", "backprop"])
@pytest.mark.parametrize(
    ("time_selection", "bottom_up"), [*((kind, "within") for kind in TIME_SELECTIONS), ("confidence", "next")]
)
def test_member_whose_window_changes_beside_others_trains_to_the_same_weights_as_alone(
    task, hasty, solver, time_selection, bottom_up
):
    settings = training_settings(epochs=20, learning_rate=2e-2, solver=solver)
    how = {"window": start_for(task, time_selection, bottom_up=bottom_up), "growth": Growth(10**7)}
    states = assert_trains_as_alone(task, UNEQUAL, settings, **how)
    sizes = sizes_in(states)
    assert len({str(size) for size in sizes[-1]}) > 1  # otherwise all members had one size
    assert len(sizes[-1][0][0]) > 1
    assert {opening for epoch in sizes for _, _, opening in epoch} == {-1, 0, 1}
    if bottom_up == "next":
        assert all(len(channels) <= steps for epoch in sizes for channels, steps, _ in epoch)
    if solver == "proximal":
        assert len({str([shard["members"] for shard in state["shards"]]) for state in states}) > 1  # regrouped


@pytest.mark.parametrize(
    ("time_selection", "steps"),
    [("fixed", 2), ("confidence", 3), ("state", 3), ("fixed", 3)],
)
@pytest.mark.slow
def test_member_whose_steps_close_beside_one_that_keeps_them_trains_to_the_same_weights_as_alone(
    task, hasty, time_selection, steps
):
    """In a window that others keep open, the weights of closed steps must have no effect."""
    members = [Pressures(0.001, 0, 20, 2), Pressures(0.001, 0, 0, 0)]
    settings = training_settings(epochs=20, learning_rate=4e-2)
    states = assert_trains_as_alone(task, members, settings, window=window_for(task, time_selection, steps))
    assert states[-1]["extents"][0]["steps"] == 1
    assert states[-1]["extents"][1]["steps"] == steps


@pytest.mark.slow
def test_window_without_pressures_grows_to_the_memory_limit_and_says_once_that_it_is_full(task, hasty):
    limit, told, largest = 400_000, [], []

    def keep(epoch):
        told.append(epoch.full)
        for extent, shard in zip(epoch.state()["extents"], epoch.state()["shards"], strict=True):
            window = Window(**shard["window"])
            assert (list(window.channels), window.steps) == (extent["channels"], extent["steps"])
            largest.append(window.training_bytes(GROWING.batch_size))

    start = start_for(task)
    result = train(task, start, [Pressures(0, 0, 0, 0)], GROWING, growth=Growth(limit), report=keep)[0]
    assert start.training_bytes(GROWING.batch_size) < largest[-1] <= limit
    assert max(largest) <= limit
    assert [list(full) for full in told if full] == [[0]]
    (words,) = (full[0] for full in told if full)
    assert re.fullmatch(r"\d+( \+ \d+)* channels × \d+ steps", words)
    assert result.measurement["limited_memory"] == 1
    assert max(result.measurement[f"limited_{axis}"] for axis in ("breadth", "depth", "time")) == 1
    generous = train(task, start, [Pressures(0, 0, 0, 0)], GROWING, growth=Growth(10**9))[0]
    assert generous.measurement["limited_memory"] == 0
    assert generous.measurement["channels"] > result.measurement["channels"]


def test_strong_pressures_leave_a_small_window_that_limits_nothing(task, hasty):
    members = [Pressures(0.05, 0.05, 0.5, 0)]
    (result,), states = states_of(task, members, GROWING, window=start_for(task), growth=Growth(10**9))
    assert {name: value for name, value in result.measurement.items() if name.startswith("limited")} == {
        "limited_breadth": 0,
        "limited_depth": 0,
        "limited_time": 0,
        "limited_memory": 0,
    }
    assert sum(states[-1]["extents"][0]["channels"]) <= 6
    assert result.channels_per_layer == states[-1]["extents"][0]["channels"]


def test_nothing_grows_without_leave_to_grow(task, hasty):
    _, states = states_of(task, [Pressures(0, 0, 0, 0)], GROWING, window=start_for(task))
    assert {str(sizes) for sizes in sizes_in(states)} == {str([([2], 2, 0)])}


@pytest.mark.parametrize("time_selection", TIME_SELECTIONS)
@pytest.mark.slow
def test_training_interrupted_while_windows_grow_ends_with_equal_weights_and_measurements(
    task, hasty, tmp_path, time_selection
):
    members, window = UNEQUAL[:3], start_for(task, time_selection)
    whole, whole_states = states_of(task, members, GROWING, window=window, growth=Growth(500_000))
    sizes = sizes_in(whole_states)
    # Interrupt while a step opens, just after a window has grown, and near the end.
    is_opening = [any(opening for _, _, opening in epoch) for epoch in sizes]
    has_grown = [one != other for one, other in pairwise(sizes)]
    for stop_after in {is_opening.index(True) + 1, has_grown.index(True) + 2, len(sizes) - 2}:
        saved = []

        def save_then_stop(epoch, saved=saved, stop_after=stop_after):
            saved.append(save_state(epoch.state()))
            if epoch.epoch == stop_after:
                raise StoppedError

        with pytest.raises(StoppedError):
            train(task, window, members, GROWING, growth=Growth(500_000), report=save_then_stop)
        how = {"window": window, "growth": Growth(500_000)}
        rest, rest_states = states_of(task, members, GROWING, load_state(saved[-1]), **how)
        assert_equal_states(whole_states[-1], rest_states[-1])
        assert [r.measurement for r in rest] == [r.measurement for r in whole]
        assert [r.step_dist for r in rest] == [r.step_dist for r in whole]


def test_torn_or_foreign_checkpoint_is_refused(task):
    for content in (b"", b"torn", b"garbage", b"()r\x80]", b"PK\x03\x04 half a zip file"):
        with pytest.raises(CheckpointError, match="torn or is no training state"):
            load_state(content)
    _, states = states_of(task, MEMBERS, stop_after=1)
    with pytest.raises(CheckpointError, match="3 members"):
        train(task, window_for(task), MEMBERS[:2], SHORT, state=states[0])


@pytest.mark.parametrize(
    "change", [{"halve": ()}, {"kernel": 1}, {"time_selection": "fixed"}, {"bottom_up": "next"}, {"image": (1, 9, 9)}]
)
def test_checkpoint_of_another_kind_of_window_is_refused(task, change):
    _, states = states_of(task, MEMBERS, stop_after=1)
    with pytest.raises(CheckpointError, match="another window"):
        train(task, replace(window_for(task), **change), MEMBERS, SHORT, state=states[0])


def test_checkpoint_from_before_bottom_up_was_a_choice_goes_on_within_the_step(task):
    whole, states = states_of(task, MEMBERS)
    for window in (states[0]["window"], *(shard["window"] for shard in states[0]["shards"])):
        del window["bottom_up"]
    rest, rest_states = states_of(task, MEMBERS, state=states[0])
    assert_equal_states(states[-1], rest_states[-1])
    assert [r.measurement for r in rest] == [r.measurement for r in whole]


def test_checkpoint_from_before_connections_were_a_choice_goes_on_with_all(task):
    whole, states = states_of(task, MEMBERS)
    for window in (states[0]["window"], *(shard["window"] for shard in states[0]["shards"])):
        del window["connections"]
    rest, rest_states = states_of(task, MEMBERS, state=states[0])
    assert_equal_states(states[-1], rest_states[-1])
    assert [r.measurement for r in rest] == [r.measurement for r in whole]


def test_checkpoint_of_feed_forward_networks_is_no_other_window_s_and_goes_on(task):
    window = window_for(task, bottom_up="next")
    feed_forward = replace(window, connections="feed_forward")
    whole, states = states_of(task, MEMBERS, window=feed_forward)
    with pytest.raises(CheckpointError, match="another window"):
        train(task, window, MEMBERS, SHORT, state=states[0])
    rest, rest_states = states_of(task, MEMBERS, state=load_state(save_state(states[0])), window=feed_forward)
    assert_equal_states(states[-1], rest_states[-1])
    assert [r.measurement for r in rest] == [r.measurement for r in whole]


def test_layers_beyond_the_steps_that_lead_to_them_are_gone_at_the_first_look(task):
    window = window_for(task, steps=1, bottom_up="next")
    (result,), states = states_of(task, [Pressures(0, 0, 0, 0)], window=window)
    assert [state["extents"][0]["channels"] for state in states] == [[4]] * SHORT.epochs
    assert result.channels_per_layer == [4]
    assert result.measurement["limited_depth"] == 0


def test_curves_of_a_state_do_not_grow_when_training_goes_on_from_it(task):
    _, states = states_of(task, MEMBERS, stop_after=1)
    states_of(task, MEMBERS, state=states[0])
    assert [len(curve) for curve in states[0]["curves"]] == [1, 1, 1]


def test_checkpoint_that_would_run_code_is_refused():
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    with pytest.raises(CheckpointError):
        load_state(save_state({"epoch": Evil()}))
