"""A network's training ends once it has settled, whatever networks train beside it."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sweeper.model import Pressures, TaskDefinition, load_task, train
from sweeper.model.settling import LOSS_MOVES, STEPS_MOVE, WINDOW_UPDATES, History, Round
from sweeper.model.shard import RATE_FALLS
from tests.model.populations import training_settings
from tests.model.test_training import assert_same_weights, states_of
from tests.model.trainings import assert_equal_states, weights_in, window_for

still = st.builds(
    Round,
    st.integers(1, 300),
    st.floats(-LOSS_MOVES / 2, LOSS_MOVES / 2).map(lambda x: 1 + x),
    st.just(2.0),
    st.just((3, 2)),
)


def history_of(rounds):
    history = History()
    for each in rounds:
        history.add(each)
    return history


@given(st.lists(still, min_size=1, max_size=30))
def test_network_that_does_not_move_settles_after_two_windows_and_not_before(rounds):
    updates = sum(each.updates for each in rounds)
    history = history_of(rounds)
    assert not (history.is_settled and updates < 2 * WINDOW_UPDATES)
    assert history.is_settled or updates < 2 * (WINDOW_UPDATES + 300)  # each window has at most one round too many
    assert sum(each.updates for each in history.rounds) <= 2 * (WINDOW_UPDATES + 300)


@given(
    st.lists(still, min_size=1, max_size=10),
    st.sampled_from([{"loss": 1 - 4 * LOSS_MOVES}, {"steps": 2 + 2 * STEPS_MOVE}, {"counts": (3, 1)}]),
)
def test_network_of_which_anything_has_moved_has_not_settled(rounds, moved):
    calm = [Round(WINDOW_UPDATES, 1.0, 2.0, (3, 2))] * 2
    last = Round(**{**vars(calm[0]), **moved})
    assert history_of([*rounds, *calm]).is_settled
    assert not history_of([*rounds, *calm, last]).is_settled


@given(st.lists(still, max_size=10))
def test_history_is_read_as_it_was_written(rounds):
    history = history_of(rounds)
    assert History.from_state(history.to_state()) == history


# --- trainings
# ----------------------------------------------------------------------------------------------------------

#: A budget of 40 rounds with 5 updates each.
BUDGET = training_settings(epochs=40, learning_rate=1e-2, until="settled")

#: The first member soon dies and has nothing left to learn; the second keeps learning.
TWO = [Pressures(2.0, 2.0, 0.0, 0), Pressures(0.0, 0.0, 0.02, 1)]


@pytest.fixture(scope="module")
def task():
    return load_task(TaskDefinition(classes=3, train_images=160, test_images=60))


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("sweeper.model.settling.WINDOW_UPDATES", 20)


@pytest.mark.slow
def test_each_network_settles_by_itself_and_trains_as_alone(task, impatient):
    together, states = states_of(task, TWO, BUDGET, dtype=torch.float64)
    soon, late = states[-1]["ends"]
    assert soon < late == len(states)
    for member, end in enumerate((soon, late)):
        (alone,), alone_states = states_of(task, [TWO[member]], BUDGET, dtype=torch.float64)
        assert len(alone_states) == end  # alone, the training ends with its only network
        for state, alone_state in zip(states, alone_states, strict=False):
            assert_same_weights(state, member, alone_state, rtol=1e-9, atol=1e-9)
        assert together[member].measurement == pytest.approx(alone.measurement, rel=1e-9)
    # It settles at a constant learning rate, which then falls over the last fifth of its own training.
    settled = next(number for number, state in enumerate(states, start=1) if state["ends"][0] == soon)
    assert settled / soon == pytest.approx(RATE_FALLS, abs=0.1)
    ended, last = (weights_in(states[at], 0).state_dict() for at in (soon - 1, -1))
    assert_equal_states(ended, last)


def test_settled_network_says_what_it_used_and_its_curve_ends_there(task, impatient):
    soon, late = train(task, window_for(task), TWO, BUDGET)
    assert soon.measurement["updates"] < late.measurement["updates"] <= 200
    assert soon.curve[-1]["epoch"] == soon.measurement["epochs"]
    assert soon.measurement["updates"] == 5 * soon.measurement["epochs"]
    last = {name: value for name, value in soon.curve[-1].items() if name != "epoch"}
    assert last == pytest.approx({name: soon.measurement[name] for name in last}, rel=1e-5)


@pytest.mark.parametrize("stop_after", [6, 10, 14])
def test_training_that_went_on_ends_with_the_same_bits(task, impatient, stop_after):
    whole, whole_states = states_of(task, TWO, BUDGET)
    rest, rest_states = states_of(task, TWO, BUDGET, state=deepcopy(whole_states[stop_after - 1]))
    assert_equal_states(whole_states[-1], rest_states[-1])
    assert [r.measurement for r in rest] == [r.measurement for r in whole]


def test_member_that_is_stopped_leaves_one_that_has_ended_as_it_was(task, impatient):
    _, states = states_of(task, TWO, BUDGET, dtype=torch.float64)
    ended = next(state for number, state in enumerate(states, start=1) if state["ends"][0] == number)
    window = window_for(task)
    settings = {"state": deepcopy(ended), "dtype": torch.float64}
    (kept, stopped) = train(task, window, TWO, BUDGET, stopped=[1], **settings)
    assert (kept.network is None, stopped.network is None) == (False, True)
    whole = train(task, window, TWO, BUDGET, **settings)
    assert kept.measurement == pytest.approx(whole[0].measurement, rel=1e-9)
