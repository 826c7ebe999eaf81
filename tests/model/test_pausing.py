"""A training that pauses ends as one that never did, and members that are stopped leave the others as they are."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise

import pytest
import torch

from sweeper.model import CheckpointError, End, Growth, Pressures, TaskDefinition, load_task, train
from sweeper.model.adam import Adam
from sweeper.model.growth import Extent
from sweeper.model.shard import divide
from tests.model.populations import training_settings
from tests.model.trainings import MEMBERS, UNEQUAL, assert_equal_states, start_for, weights_in, window_for

#: A member whose loss is not finite from the first step on.
BROKEN = Pressures(0, 0, float("inf"), 5)


@pytest.fixture(scope="module")
def task():
    hard = {"occlusion": 0.1, "degradation": "debris", "level": 0.1, "noise": 0.05}
    return load_task(TaskDefinition(classes=(0, 1, 2), train_images=160, validation_images=60, test_images=60, **hard))


def kind(task, solver, grows, bottom_up="within"):
    """Return members, settings and window of a training with a fixed window, or with one that grows."""
    # Long enough for channels to die. Under elimination, windows grow in the first fifth of the training only.
    epochs = (20 if solver == "elimination" else 10) if grows else 6
    settings = training_settings(epochs=epochs, solver=solver, learning_rate=3e-2)
    if grows:
        return UNEQUAL, settings, {"window": start_for(task, bottom_up=bottom_up), "growth": Growth(400_000)}
    return MEMBERS, settings, {"window": window_for(task, bottom_up=bottom_up)}


def trained(task, members, settings, window, keep=deepcopy, **how):
    """Train and return the results and the state after each epoch."""
    states = []
    results = train(task, window, members, settings, report=lambda epoch: states.append(keep(epoch.state())), **how)
    return results, states


def facts_of(results):
    """Return the parts of results that can be compared with ==."""
    return [(r.measurement, r.channels_per_layer, r.curve, r.reason, r.step_dist, r.end) for r in results]


def members_in(state):
    return sorted(member for shard in state["shards"] for member in shard["members"])


def channels_in(states):
    return [[extent["channels"] for extent in state["extents"]] for state in states]


kinds = pytest.mark.parametrize("grows", [False, True], ids=["fixed window", "growing window"])
solvers = pytest.mark.parametrize("solver", ["elimination", "proximal", "backprop"])


# Pausing


@pytest.mark.slow
@solvers
@kinds
@pytest.mark.parametrize("bottom_up", ["within", "next"])
def test_training_paused_twice_ends_to_the_last_bit_as_one_that_was_never_paused(task, hasty, solver, grows, bottom_up):
    members, settings, how = kind(task, solver, grows, bottom_up)
    whole, whole_states = trained(task, members, settings, **how)
    state = None
    for until in (2, 5, settings.epochs):
        # The state is not copied: measuring after it was reported must not change it.
        results, states = trained(task, members, settings, keep=lambda s: s, state=state, until=until, **how)
        state = states[-1]
        assert_equal_states(state, whole_states[until - 1])
        assert [result.end for result in results] == [End.TRAINED] * len(members)
        assert [[point["epoch"] for point in result.curve] for result in results] == [
            list(range(1, until + 1)) for _ in members
        ]
    assert facts_of(results) == facts_of(whole)
    for one, other in zip(results, whole, strict=True):
        assert_equal_states(dict(one.network.state_dict()), dict(other.network.state_dict()))
    assert grows == any(sum(b) > sum(a) for one, other in pairwise(channels_in(whole_states)) for a, b in zip(one, other, strict=True))  # fmt: skip


@solvers
def test_paused_member_is_measured_in_full_and_has_its_network(task, solver):
    members, settings, how = kind(task, solver, grows=False)
    whole, _ = trained(task, members, settings, **how)
    paused, _ = trained(task, members, settings, until=2, **how)
    for end, early in zip(whole, paused, strict=True):
        # The test images are used once, at the end.
        decided = {name for name in end.measurement if not name.startswith("test_")}
        sometimes = {"steps_by_confidence"}  # where steps differ between images
        assert early.measurement.keys() - sometimes == decided - sometimes
        assert list(early.network.window.channels) == early.channels_per_layer
        if solver == "proximal":  # channels that are dead only by a threshold still count in an epoch's values
            assert early.measurement["accuracy"] == early.curve[-1]["accuracy"]


@solvers
def test_state_that_is_at_the_pause_is_measured_again_and_not_reported(task, solver):
    members, settings, how = kind(task, solver, grows=False)
    paused, states = trained(task, members, settings, until=2, **how)
    again, reported = trained(task, members, settings, state=states[-1], until=2, **how)
    assert reported == []
    assert facts_of(again) == facts_of(paused)


def test_state_beyond_the_pause_is_measured_where_it_is(task):
    members, settings, how = kind(task, "proximal", grows=False)
    paused, states = trained(task, members, settings, until=3, **how)
    again, reported = trained(task, members, settings, state=states[-1], until=2, **how)
    assert reported == []
    assert facts_of(again) == facts_of(paused)


def test_pause_at_or_behind_the_end_is_the_end(task):
    settings = training_settings(epochs=2)
    ends = [facts_of(train(task, window_for(task), MEMBERS, settings, until=until)) for until in (None, 2, 7)]
    assert ends[0] == ends[1] == ends[2]


def test_learning_rate_before_a_pause_is_that_of_the_whole_training(task, monkeypatch):
    """The rate falls in the last fifth of all epochs, wherever training pauses."""
    rates, step = [], Adam.step

    def noted(optimizer: Adam) -> None:
        rates.append(optimizer.learning_rate)
        step(optimizer)

    monkeypatch.setattr(Adam, "step", noted)
    trained(task, MEMBERS, training_settings(), window_for(task), until=1)
    assert set(rates) == {training_settings().learning_rate}
    before = len(rates)
    trained(task, MEMBERS, training_settings(), window_for(task))
    assert rates[:before] == rates[before : 2 * before]
    assert min(rates) < 0.5 * training_settings().learning_rate


def test_population_of_which_nothing_is_finite_is_not_trained_on_after_a_pause(task):
    members = [BROKEN]
    results, states = trained(task, members, training_settings(), window_for(task), until=2)
    assert len(states) == 1
    again, reported = trained(task, members, training_settings(), window_for(task), state=states[0])
    assert reported == []
    assert results[0].end is End.NOT_FINITE
    assert facts_of(again) == facts_of(results)


# Stopping


@pytest.mark.slow
@solvers
@kinds
@pytest.mark.parametrize("when", ["early", "just grown"])
def test_members_that_are_left_train_as_if_none_had_been_stopped(task, hasty, solver, grows, when):
    """Use float64, where training has too little rounding to amplify, so that any other difference shows."""
    members, settings, how = kind(task, solver, grows)
    how["dtype"] = torch.float64
    whole, whole_states = trained(task, members, settings, **how)
    # Channels on offer have no path to the answer yet, and must not be taken for dead.
    grown = [n for n, (a, b) in enumerate(pairwise(channels_in(whole_states)), start=2) if any(sum(y) > sum(x) for x, y in zip(a, b, strict=True))]  # fmt: skip
    at = grown[0] if grows and when == "just grown" else 2 if when == "early" else 4
    stopped = {1, len(members) - 1}
    left = sorted(set(range(len(members))) - stopped)
    rest, states = trained(task, members, settings, state=whole_states[at - 1], stopped=stopped, **how)
    assert [members_in(state) for state in states] == [left] * (settings.epochs - at)
    for state, expected in zip(states, whole_states[at:], strict=True):
        for member in left:
            one, other = weights_in(state, member), weights_in(expected, member)
            assert one.window == other.window
            for weight, same in zip(one.parameters(), other.parameters(), strict=True):
                torch.testing.assert_close(weight, same, rtol=1e-9, atol=1e-9)
    for member in left:
        assert rest[member].measurement == pytest.approx(whole[member].measurement, rel=1e-9)
        assert rest[member].end is End.TRAINED
    for member in stopped:
        assert (rest[member].network, rest[member].measurement) == (None, {})
        assert (rest[member].end, rest[member].reason) == (End.STOPPED, "stopped early")
        assert rest[member].curve == whole[member].curve[:at]


@solvers
@kinds
def test_training_resumed_after_members_were_stopped_ends_to_the_last_bit_as_one_that_went_on(
    task, hasty, solver, grows
):
    members, settings, how = kind(task, solver, grows)
    _, before = trained(task, members, settings, until=2, **how)
    whole, whole_states = trained(task, members, settings, state=before[-1], stopped=[1], **how)
    for n in (0, 2):
        rest, states = trained(task, members, settings, state=whole_states[n], stopped=[1], **how)
        assert_equal_states(states[-1], whole_states[-1])
        assert facts_of(rest) == facts_of(whole)
    fewer, states = trained(task, members, settings, state=whole_states[0], stopped=[1, 2], **how)  # the next rung
    assert {n for state in states for n in members_in(state)} == set(range(len(members))) - {1, 2}
    assert [r.end for r in fewer].count(End.STOPPED) == 2


def test_what_is_left_of_a_population_trains_as_one_network_alone_would(task):
    members, settings, how = kind(task, "proximal", grows=False)
    how["dtype"] = torch.float64
    _, before = trained(task, members, settings, until=2, **how)
    together, _ = trained(task, members, settings, state=before[-1], stopped=[0, 2], **how)
    alone, _ = trained(task, [members[1]], settings, **how)
    assert together[1].measurement == pytest.approx(alone[0].measurement, rel=1e-9)


def test_less_is_computed_after_members_were_stopped(task):
    members, settings, how = kind(task, "proximal", grows=False)
    _, before = trained(task, members, settings, until=2, **how)
    _, states = trained(task, members, settings, state=before[-1], stopped=[0], **how)
    for state in states:
        for shard in state["shards"]:
            assert len(shard["lattice"]["readout_bias"]) == len(shard["members"])
            moved = shard["optimizer"]["state"]
            assert all(len(moments["exp_avg"]) == len(shard["members"]) for moments in moved.values())
    assert members_in(states[0]) == [1, 2]


def test_population_whose_every_member_is_stopped_trains_nothing_and_can_be_asked_again(task):
    members, settings, how = kind(task, "proximal", grows=False)
    _, before = trained(task, members, settings, until=2, **how)
    results, reported = trained(task, members, settings, state=before[-1], stopped=range(3), **how)
    assert reported == []
    assert [result.end for result in results] == [End.STOPPED] * 3
    assert [len(result.curve) for result in results] == [2, 2, 2]


def test_member_stopped_before_the_first_step_leaves_the_others_as_they_are(task):
    """This happens if the checkpoint of a population with stopped members is lost."""
    members, settings, how = kind(task, "proximal", grows=False)
    how["dtype"] = torch.float64
    whole, _ = trained(task, members, settings, **how)
    rest, _ = trained(task, members, settings, stopped=[0], **how)
    assert (rest[0].end, rest[0].curve) == (End.STOPPED, [])
    for one, other in zip(rest[1:], whole[1:], strict=True):
        assert one.measurement == pytest.approx(other.measurement, rel=1e-9)


@kinds
def test_stopped_member_that_was_not_finite_still_says_so(task, hasty, grows):
    members, settings, how = kind(task, "proximal", grows)
    members = [members[0], BROKEN, members[1]]
    how["dtype"] = torch.float64
    whole, whole_states = trained(task, members, settings, **how)
    rest, states = trained(task, members, settings, state=whole_states[1], stopped=[1], **how)
    assert rest[1].end is End.NOT_FINITE
    assert facts_of(rest)[1] == facts_of(whole)[1]
    assert members_in(states[0]) == [0, 2]
    for member in (0, 2):
        assert rest[member].measurement == pytest.approx(whole[member].measurement, rel=1e-9)


def test_member_that_becomes_not_finite_after_others_were_stopped_is_told_apart(task):
    members = [MEMBERS[0], BROKEN, MEMBERS[1]]
    results, states = trained(task, members, training_settings(), window_for(task), stopped=[0, 2])
    assert [result.end for result in results] == [End.STOPPED, End.NOT_FINITE, End.STOPPED]
    assert len(states) == 1


def test_state_that_lacks_a_member_that_is_to_be_trained_is_refused(task):
    members, settings, how = kind(task, "proximal", grows=False)
    _, states = trained(task, members, settings, stopped=[0, 1], until=1, **how)
    with pytest.raises(CheckpointError, match=r"members 0 had been stopped, but they are to be trained"):
        trained(task, members, settings, state=states[-1], stopped=[1], **how)


def test_division_of_some_members_is_that_of_a_population_of_them_alone(task):
    extents = [Extent(list(channels), steps) for channels, steps in [([9, 9], 5), ([2], 1), ([9, 8], 5), ([2], 2)]]
    window, here = window_for(task), [0, 2, 3]
    parts, least = divide(window, extents, 32, "avx2", here)
    alone, least_alone = divide(window, [extents[m] for m in here], 32, "avx2")
    assert (parts, least) == ([[here[i] for i in part] for part in alone], least_alone)


# Interruption


@pytest.mark.parametrize("asked", [1, 2, 5])
def test_training_that_is_over_ends_where_it_is_with_values_and_curve(task, monkeypatch, asked):
    monkeypatch.setattr("sweeper.model.shard.LOOK_EVERY", 2)  # three segments in an epoch
    questions, members = [], [*MEMBERS, BROKEN]

    def is_over():
        questions.append(None)
        return len(questions) >= asked

    results, states = trained(task, members, training_settings(), window_for(task), stopped=[2], is_over=is_over)
    epoch = (asked - 1) // 3 + 1
    assert len(questions) == asked
    assert len(states) == epoch - 1
    for result in results[:2]:
        assert (result.network, result.end) == (None, End.INTERRUPTED)
        assert result.reason == f"interrupted in epoch {epoch} of 3"
        assert result.measurement.keys() == {"loss", "accuracy", "time", "breadth", "depth", "channels"}
        assert len(result.curve) == epoch - 1
    assert (results[2].end, results[2].measurement) == (End.STOPPED, {})
    if asked > 1:
        assert (results[3].end, results[3].measurement) == (End.NOT_FINITE, {})


def test_training_that_has_reached_its_pause_is_not_interrupted(task):
    _, states = trained(task, MEMBERS, training_settings(), window_for(task), until=1)
    again, _ = trained(
        task, MEMBERS, training_settings(), window_for(task), state=states[0], until=1, is_over=lambda: True
    )
    assert [result.end for result in again] == [End.TRAINED] * 3
