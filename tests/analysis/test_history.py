"""Hypervolume over time: that of the front after each trial, for any order and any number of replicates."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.analysis.fronts import compute_front
from sweeper.analysis.history import history_table
from sweeper.trial import Outcome, State
from tests.analysis.test_fronts import OBJECTIVES, REFERENCE, a_trial
from tests.contracts.recorder import a_failed_trial


def history(*trials):
    return history_table(trials, OBJECTIVES, REFERENCE)


def volume_of(trials):
    facts = {"sweep": "small", "task": "digits-10", "objectives": OBJECTIVES, "reference_point": REFERENCE}
    return compute_front(trials, **facts).hypervolume


@st.composite
def some_trials(draw):
    """Draw trials of few settings and seeds that end in any order; some of them fail."""
    names = draw(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 2)), max_size=10, unique=True))
    trials = []
    for number, (setting, seed) in enumerate(names):
        ended_ms = draw(st.integers(5, 12))  # ties are common
        facts = {"setting": setting, "seed": seed, "started_ms": draw(st.integers(0, 4)), "ended_ms": ended_ms}
        if draw(st.integers(0, 4)) == 0:
            trials.append(a_failed_trial(number, **facts))
        else:
            accuracy, time = draw(st.integers(0, 10)) / 10, float(draw(st.integers(0, 12)))
            trials.append(a_trial(number, accuracy=accuracy, time=time, **facts))
    return draw(st.permutations(trials))


@settings(deadline=None)
@given(some_trials())
def test_volume_after_each_trial_is_that_of_the_front_of_all_that_had_ended(trials):
    rows = history(*trials).to_pylist()
    assert [row["trial"] for row in rows] == list(range(1, len(trials) + 1))
    by_key = {trial.key: trial for trial in trials}
    ended = [by_key[row["key"]] for row in rows]
    assert [(trial.ended_ms, trial.number) for trial in ended] == sorted((t.ended_ms, t.number) for t in trials)
    for row in rows:
        assert row["hypervolume"] == pytest.approx(volume_of(ended[: row["trial"]]))
        assert row["elapsed_s"] == (row["ended_ms"] - min(trial.started_ms for trial in trials)) / 1000
    assert not rows or rows[-1]["hypervolume"] == pytest.approx(volume_of(trials))


def test_volume_falls_where_a_second_seed_does_worse():
    lucky = a_trial(0, setting="s", seed=0, accuracy=0.9, time=5.0, started_ms=1000, ended_ms=2500)
    worse = a_trial(1, setting="s", seed=1, accuracy=0.5, time=5.0, started_ms=1000, ended_ms=4000)
    table = history(worse, lucky)
    assert table["key"].to_pylist() == [lucky.key, worse.key]
    assert table["hypervolume"].to_pylist() == pytest.approx([0.9 * 5, 0.7 * 5])
    assert table["elapsed_s"].to_pylist() == [1.5, 3.0]


def test_trial_that_failed_has_a_row_and_changes_nothing_and_one_that_runs_has_none():
    good = a_trial(0, accuracy=0.5, time=5.0, started_ms=0, ended_ms=10)
    stopped = a_trial(1, state=State.PRUNED, outcome=Outcome.PRUNED, started_ms=0, ended_ms=20)
    runs = a_trial(2, state=State.RUNNING, outcome=None, started_ms=0)
    table = history(runs, stopped, a_failed_trial(3, started_ms=0, ended_ms=5), good)
    assert table["hypervolume"].to_pylist() == pytest.approx([0.0, 2.5, 2.5])


def test_setting_without_a_finite_objective_in_one_replicate_leaves_the_front():
    good = a_trial(0, setting="s", seed=0, started_ms=0, ended_ms=1)
    partial = a_trial(1, setting="s", seed=1, measurement={"accuracy": 0.5}, started_ms=0, ended_ms=2)
    table = history(good, partial)
    assert table["hypervolume"].to_pylist() == pytest.approx([0.5 * 8, 0.0])
    assert volume_of([good, partial]) == 0.0


def test_history_of_nothing_is_an_empty_table_with_its_types():
    table = history()
    assert table.num_rows == 0
    assert table.schema == history(a_trial(started_ms=0, ended_ms=1)).schema
    assert table.column_names == ["trial", "key", "ended_ms", "elapsed_s", "hypervolume"]


def test_trials_without_times_stand_last_by_number():
    table = history(a_trial(2), a_trial(1), a_trial(3, started_ms=0, ended_ms=7))
    assert table["key"].to_pylist() == [a_trial(n).key for n in (3, 1, 2)]
    assert table["elapsed_s"].to_pylist() == [0.007, None, None]
