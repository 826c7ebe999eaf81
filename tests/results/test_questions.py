"""Questions about all settings of a sweep, each compared with a slow and obvious implementation."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.errors import QueryError, UnknownSweepError
from sweeper.measurements import MEASUREMENTS, Goal, Objective
from sweeper.results.differences import answered
from sweeper.results.objectives import front_objectives
from sweeper.results.questions import Best, as_table, best, dominated, known_trial, nothing_complete, spreads
from sweeper.trial import Outcome, State
from tests.analysis.test_fronts import OBJECTIVES, a_trial
from tests.contracts.recorder import a_failed_trial
from tests.support.stored import in_memory

#: Few values, so that ties occur.
ACCURACIES = st.sampled_from([0.25, 0.5, 0.75, 1.0])
TIMES = st.sampled_from([1.0, 2.0, 3.0])
MACS = st.sampled_from([None, 5.0, 6.0, 8.0])


@st.composite
def trials(draw, most=7):
    """Return complete trials, one or two replicates for each setting."""
    found = []
    for number in range(draw(st.integers(1, most))):
        for seed in range(draw(st.integers(1, 2))):
            macs = draw(MACS)
            measured = {"accuracy": draw(ACCURACIES), "time": draw(TIMES), **({} if macs is None else {"macs": macs})}
            key = f"{number}{seed}-key-of-trial"
            found.append(a_trial(number, setting=f"s{number}", seed=seed, key=key, measurement=measured))
    return found


def means(trials):
    """Return the settings' keys and means, computed the slow way; None unless every replicate has a value."""
    settings = {}
    for trial in trials:
        settings.setdefault(trial.setting_key, []).append(trial)
    return [
        {
            "key": group[0].key,
            **{
                name: statistics.fmean(t.measurement[name] for t in group)
                if all(name in t.measurement for t in group)
                else None
                for name in ("accuracy", "time", "macs")
            },
        }
        for group in settings.values()
    ]


def dominates(one, other):
    no_worse = one["accuracy"] >= other["accuracy"] and one["time"] <= other["time"]
    return no_worse and (one["accuracy"] > other["accuracy"] or one["time"] < other["time"])


# --- the best that meets a condition --------------------------------------------------------------


@given(trials(), ACCURACIES, st.sampled_from(["time", "macs"]), st.sampled_from(Goal))
def test_best_is_every_setting_that_no_other_one_undercuts_and_the_next_value_is_the_gap(trials, least, name, goal):
    sweep, (front,) = in_memory(trials)
    answer = best(sweep, front, Best(f"accuracy >= {least}", name, goal))
    sign = 1 if goal is Goal.MINIMIZE else -1
    able = [one for one in means(trials) if one["accuracy"] >= least and one[name] is not None]
    assert answer.is_found == bool(able)
    rows = answer.points.to_pylist()
    if not able:
        assert rows == []
        return
    winner = min(sign * one[name] for one in able)
    rest = [sign * one[name] for one in able if sign * one[name] > winner]
    roles = {row["key"]: row["role"] for row in rows}
    expected = {one["key"]: "best" for one in able if sign * one[name] == winner}
    expected |= {one["key"]: "next" for one in able if rest and sign * one[name] == min(rest)}
    assert roles == expected
    assert answer.facts["best"] == sign * winner
    assert answer.facts["gap"] == (pytest.approx(min(rest) - winner) if rest else None)
    assert [row["role"] for row in rows] == sorted(row["role"] for row in rows)


@given(trials(), ACCURACIES)
def test_best_says_which_settings_are_on_the_front(trials, least):
    sweep, (front,) = in_memory(trials)
    points = means(trials)
    answer = best(sweep, front, Best(f"accuracy >= {least}", "time", Goal.MINIMIZE))
    by_key = {one["key"]: one for one in points}
    for row in answer.points.to_pylist():
        own = by_key[row["key"]]
        assert row["on_front"] == (not any(dominates(other, own) for other in points))


@given(trials(), st.floats(1.01, 2))
def test_nearest_is_the_largest_value_where_none_reaches_the_condition(trials, least):
    sweep, (front,) = in_memory(trials)
    answer = best(sweep, front, Best(f"accuracy >= {least}", "time", Goal.MINIMIZE))
    most = max(one["accuracy"] for one in means(trials))
    (near,) = answer.facts["nearest"]
    assert (near["name"], near["nearest"]) == ("accuracy", most)
    assert near["keys"] == [one["key"] for one in means(trials) if one["accuracy"] == most]
    assert f"the nearest accuracy is {most:.3f}, of {near['keys'][0]}" in answer.says


def three(**changes):
    return [
        a_trial(0, accuracy=0.5, time=1.0, **changes),
        a_trial(1, accuracy=0.9, time=5.0, **changes),
        a_trial(2, accuracy=0.95, time=9.0, **changes),
    ]


def test_nearest_of_several_conditions_is_looked_for_among_what_meets_the_rest():
    sweep, (front,) = in_memory(three())
    answer = best(sweep, front, Best("accuracy >= 0.9 and time <= 2", "macs", Goal.MINIMIZE))
    assert [(near["name"], near["given"], near["nearest"]) for near in answer.facts["nearest"]] == [
        ("accuracy", "time <= 2", 0.5),
        ("time", "accuracy >= 0.9", 5.0),
    ]
    assert "the nearest time with accuracy >= 0.9 is 5.00, of k-digits-10-s1-0" in answer.says


def test_best_of_all_equal_settings_is_all_of_them_without_a_next():
    sweep, (front,) = in_memory([a_trial(number) for number in range(4)])
    answer = best(sweep, front, Best("accuracy > 0", "time", Goal.MINIMIZE))
    assert answer.points["role"].to_pylist() == ["best"] * 4
    assert (answer.facts["next"], answer.facts["gap"]) == (None, None)
    assert "by 4 settings alike" in answer.says
    assert "next" not in answer.says


def test_best_takes_an_axis_and_further_conditions():
    sweep, (front,) = in_memory(three())
    answer = best(sweep, front, Best("accuracy > 0.6", "time_pressure", Goal.MAXIMIZE), ["time < 9"])
    assert [(row["key"], row["role"]) for row in answer.points.to_pylist()] == [("k-digits-10-s1-0", "best")]


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (Best("accuracy > 0", "tme", Goal.MINIMIZE), "no column 'tme', named by --minimize. Did you mean 'time'"),
        (Best("acuracy > 0", "time", Goal.MINIMIZE), "no column 'acuracy'.*Did you mean 'accuracy'"),
        (Best("accuracy", "time", Goal.MINIMIZE), "cannot read the condition 'accuracy'"),
        (Best("accuracy > 0", "key", Goal.MAXIMIZE), "--maximize key asks for the best of words"),
        (Best("accuracy > 0", "limited_time", Goal.MAXIMIZE), "--maximize limited_time asks for the best of words"),
    ],
)
def test_wish_that_names_no_number_is_refused(wish, message):
    sweep, (front,) = in_memory(three())
    with pytest.raises(QueryError, match=message):
        best(sweep, front, wish)


# --- dominance ------------------------------------------------------------------------------------


@given(trials(), st.data(), st.booleans())
def test_dominated_settings_are_those_that_plain_comparison_finds(trials, data, is_by):
    sweep, (front,) = in_memory(trials)
    asked = data.draw(st.sampled_from(trials))
    points = means(trials)
    keys = {trial.key: next(t.key for t in trials if t.setting_key == trial.setting_key) for trial in trials}
    (own,) = (one for one in points if one["key"] == keys[asked.key])
    answer = dominated(sweep, front, known_trial(sweep, asked.key), is_by=is_by, conditions=())
    expected = {one["key"] for one in points if (dominates(own, one) if is_by else dominates(one, own))}
    first, *others = answer.points.to_pylist()
    assert (first["key"], first["role"]) == (own["key"], "asked")
    assert {row["key"] for row in others} == expected
    assert {row["role"] for row in others} <= {"dominated" if is_by else "dominating"}
    assert (answer.facts["count"], answer.facts["others"]) == (len(expected), len(points) - 1)
    assert first["on_front"] == (not any(dominates(one, own) for one in points))


def test_dominated_settings_keep_to_the_conditions():
    sweep, (front,) = in_memory([a_trial(0, accuracy=0.9, time=1.0), *three()[1:], a_trial(3, accuracy=0.1, time=9.0)])
    record = known_trial(sweep, "k-digits-10-s0")
    answer = dominated(sweep, front, record, is_by=True, conditions=["time > 5"])
    assert answer.points["key"].to_pylist() == ["k-digits-10-s0-0", "k-digits-10-s3-0"]
    assert "dominates 1 of 3 other settings that meet time > 5" in answer.says


def test_trial_without_a_value_in_an_objective_is_not_compared():
    trial = a_trial(0, measurement={"accuracy": 0.5})
    sweep, (front,) = in_memory([trial, *three()[1:]])
    with pytest.raises(QueryError, match=r"trial k-digits-10-s0-0 has no finite time"):
        dominated(sweep, front, known_trial(sweep, trial.key), is_by=True, conditions=())


def test_key_is_found_by_six_characters_and_refused_with_what_it_fits():
    sweep, _ = in_memory([*three(), a_failed_trial(9, key="failed-key-9")])
    assert known_trial(sweep, "k-digits-10-s1").number == 1
    with pytest.raises(QueryError, match=r"at least 6 characters of its key, but got 'k-dig'"):
        known_trial(sweep, "k-dig")
    with pytest.raises(QueryError, match=r"'k-digits-10-s' fits 3 trials of sweep 'small': k-digits-10-s0-0, k-"):
        known_trial(sweep, "k-digits-10-s")
    with pytest.raises(UnknownSweepError, match=r"no finished trial of sweep 'small' .* begins with 'ffffff'"):
        known_trial(sweep, "ffffff")
    with pytest.raises(QueryError, match=r"trial failed-key-9 of sweep 'small' is failed, not complete"):
        known_trial(sweep, "failed")


# --- spreads --------------------------------------------------------------------------------------


@given(trials())
def test_spreads_are_means_and_sample_deviations_over_the_replicates_of_each_front_setting(trials):
    sweep, (front,) = in_memory(trials)
    answer = spreads(sweep, front)
    assert answer.points["key"].to_pylist() == front.table["key"].to_pylist()
    for row in answer.points.to_pylist():
        own = [trial for trial in trials if trial.key in row["keys"]]
        assert row["replicates"] == len(own)
        assert row["seeds"] == [trial.seed for trial in own]
        for name in ("accuracy", "time"):
            values = [trial.measurement[name] for trial in own]
            assert row[name] == pytest.approx(statistics.fmean(values))
            assert row[f"{name}_sd"] == (pytest.approx(statistics.stdev(values)) if len(values) > 1 else None)


def test_spreads_of_a_front_over_some_objectives_hold_all_objectives():
    objectives = (*OBJECTIVES, Objective("macs", Goal.MINIMIZE))
    trials = [a_trial(n, setting=f"s{n // 2}", seed=n % 2, accuracy=0.1 * n) for n in range(6)]
    sweep, _ = in_memory(trials, objectives=objectives, reference_point={"accuracy": 0, "time": 9, "macs": 9})
    _, (chosen,) = in_memory(trials)
    (row,) = spreads(sweep, chosen).points.to_pylist()
    assert row["macs_sd"] == 0.0
    assert row["accuracy_sd"] == pytest.approx(statistics.stdev([0.4, 0.5]))


def test_nothing_complete_is_said_with_how_many_ended_otherwise():
    sweep, (front,) = in_memory([a_failed_trial(n) for n in range(3)])
    for ask in (lambda: best(sweep, front, Best("accuracy > 0", "time", Goal.MINIMIZE)), lambda: spreads(sweep, front)):
        with pytest.raises(QueryError, match=r"'small', task 'digits-10', is complete: all 3 finished trials ended in"):
            ask()
    assert "none has finished" in nothing_complete(in_memory([])[0], "digits-10")


# --- two sweeps -----------------------------------------------------------------------------------


def covered(points, by):
    return [one for one in points if any(o["accuracy"] >= one["accuracy"] and o["time"] <= one["time"] for o in by)]


@given(trials(), trials())
def test_comparison_is_what_plain_comparison_finds_and_turns_round(first, second):
    own, (mine,) = in_memory(first, "own")
    other, (theirs,) = in_memory(second, "other")
    there, back = answered(own, other, mine, theirs), answered(other, own, theirs, mine)
    assert there.facts["hypervolume_difference"] == -back.facts["hypervolume_difference"]
    assert there.facts["hypervolume_difference"] == mine.hypervolume - theirs.hypervolume
    assert (there.facts["gained"], there.facts["lost"]) == (back.facts["lost"], back.facts["gained"])
    assert (there.facts["coverage"], there.facts["coverage_by_other"]) == (
        back.facts["coverage_by_other"],
        back.facts["coverage"],
    )
    for name in ("additive_epsilon", "igd_plus"):
        assert there.facts[name] == back.facts[f"{name}_of_other"] >= 0
    fronts = [front.table.to_pylist() for front in (mine, theirs)]
    assert there.facts["coverage"] == pytest.approx(len(covered(fronts[1], fronts[0])) / len(fronts[1]))
    settings = [{row["key"][0] for row in front} for front in fronts]  # the number of the setting begins each key
    rows = there.points.to_pylist()
    assert {row["key"][0] for row in rows if row["role"] == "gained"} == settings[0] - settings[1]
    assert {row["key"][0] for row in rows if row["role"] == "lost"} == settings[1] - settings[0]
    assert {row["sweep"] for row in rows if row["role"] == "gained"} <= {"own"}
    assert {row["sweep"] for row in rows if row["role"] == "lost"} <= {"other"}
    tried = {trial.setting_key[1:] for trial in second}
    for row in rows:
        if row["role"] == "gained":
            assert row["why"] == ("not on the front of other" if row["key"][0] in tried else "not in other")


def test_comparison_with_an_empty_front_has_no_coverage_of_it():
    own, (mine,) = in_memory(three(), "own")
    other, (theirs,) = in_memory([a_failed_trial(0, setting="s0")], "other")
    answer = answered(own, other, mine, theirs)
    assert (answer.facts["coverage"], answer.facts["coverage_by_other"]) == (None, 0.0)
    assert answer.facts["hypervolume_difference"] == mine.hypervolume > 0
    assert answer.points["why"].to_pylist() == ["not complete in other", "not in other", "not in other"]


def test_setting_with_other_seeds_is_the_same_setting():
    own, (mine,) = in_memory([a_trial(0, setting="s", seed=0)], "own")
    other, (theirs,) = in_memory([a_trial(0, setting="s", seed=7)], "other")
    facts = answered(own, other, mine, theirs).facts
    assert (facts["gained"], facts["lost"], facts["kept"]) == (0, 0, 1)


# --- what every answer carries --------------------------------------------------------------------


@pytest.mark.slow
@given(trials())
def test_every_answer_carries_sweep_version_and_reference_point_in_rows_json_and_words(trials):
    sweep, (front,) = in_memory(trials)
    other, (theirs,) = in_memory(trials[:1], "other")
    record = known_trial(sweep, trials[0].key)
    answers = [
        best(sweep, front, Best("accuracy > 0", "time", Goal.MINIMIZE)),
        dominated(sweep, front, record, is_by=True, conditions=()),
        dominated(sweep, front, record, is_by=False, conditions=()),
        spreads(sweep, front),
        answered(sweep, other, front, theirs),
    ]
    for answer in answers:
        found = answer.as_json()
        assert (found["sweep"], found["task"], found["front_version"]) == ("small", "digits-10", 0)
        assert found["reference_point"] == {"accuracy": 0.0, "time": 10.0}
        assert found["objectives"] == {"accuracy": "maximize", "time": "minimize"}
        for row in as_table([answer]).to_pylist():
            assert row["reference_point"] == {"accuracy": 0.0, "time": 10.0}
            assert (row["sweep"] in ("small", "other"), row["front_version"]) == (True, 0)
        sheet = answer.as_sheet()
        assert sheet.headline.startswith("Sweep small, task digits-10: ")
        assert sheet.notes == ("Front computed from the trials, not stored · reference point: accuracy 0, time 10",)


def test_objectives_that_are_none_of_the_sweeps_are_refused_by_name():
    known = [Objective(name, Goal.MINIMIZE) for name in ("accuracy", "time", "macs")]
    assert front_objectives(known, ["macs", "time"], "small") == ("macs", "time")
    assert front_objectives(known, ["macs", "time", "accuracy"], "small") == front_objectives(known, [], "small") == ()
    for names, message in (
        (
            ["tim", "macs"],
            r"'tim' is no objective of sweep 'small' \(its objectives: accuracy, time, macs\). Did you.*'time'",
        ),
        (["zzz", "macs"], r"'zzz' is no objective.*Name some of these"),
        (["time", "time"], r"'time' is named 2 times"),
        (["time"], r"two objectives or more, but got only 'time'.*--at"),
    ):
        with pytest.raises(QueryError, match=message):
            front_objectives(known, names, "small")


def test_states_that_are_not_complete_are_no_settings():
    pruned = a_trial(
        7,
        accuracy=1.0,
        time=0.5,
        state=State.PRUNED,
        outcome=Outcome.PRUNED,
        measurement=dict.fromkeys(MEASUREMENTS, 0.0),
    )
    sweep, (front,) = in_memory([*three(), pruned])
    answer = best(sweep, front, Best("accuracy >= 0", "time", Goal.MINIMIZE))
    assert pruned.key not in answer.points["key"].to_pylist()
