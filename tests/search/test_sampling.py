"""The choice of the next settings by Optuna's real samplers, from views of the known trials."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.search.sampling import MOST_REPEATS, Known, Question, propose
from sweeper.spec import LatticeSweep, Sampler
from sweeper.trial import State

RANGES = {
    "breadth_pressure": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-2},
    "channels": {"min": 2, "max": 9},
    "time_selection": {"distribution": "categorical", "values": ["confidence", "fixed"]},
}
MEASURED = ("accuracy", "time", "depth")


def a_spec(parameters=RANGES, objectives=("accuracy", "time"), trials=40, **search):
    goals = {name: "maximize" if name == "accuracy" else "minimize" for name in objectives}
    return LatticeSweep.model_validate({
        "name": "s",
        "parameters": parameters,
        "search": {"trials": trials, **search},
        "objectives": [{"name": name, "goal": goal} for name, goal in goals.items()],
        "reference_point": dict.fromkeys(goals, 0.0),
    })


def measured(values):
    """Return a smooth trade-off: accuracy costs time, and both have a best pressure."""
    x = math.log10(values.get("breadth_pressure", 1e-3))
    return {"accuracy": 1 - (x + 4) ** 2 / 9, "time": 1 + (x + 2) ** 2 + values.get("channels", 0) / 9, "depth": 1.0}


def search(spec, trials, batch=3):
    """Search in batches, with a new question for each batch, as in a resumed sweep."""
    known = []
    while len(known) < trials:
        found = propose(Question(spec, "cell", list(known)), min(batch, trials - len(known)))
        known += [Known(p.values, State.COMPLETE, measured(p.values), p.to_note()) for p in found]
    return known


@pytest.mark.parametrize("sampler", [name for name in Sampler if name is not Sampler.GP])
def test_every_sampler_proposes_settings_within_the_ranges_none_of_them_twice(sampler):
    known = search(a_spec(sampler=sampler), 40)
    values = [tuple(one.values.values()) for one in known]
    assert len(set(values)) == 40
    for pressure, channels, selection in values:
        assert 1e-5 <= pressure <= 1e-2
        assert isinstance(channels, int)
        assert 2 <= channels <= 9
        assert selection in {"confidence", "fixed"}


def test_gaussian_process_proposes_too():
    known = search(a_spec(sampler="gp"), 14, batch=7)
    assert len({tuple(one.values.values()) for one in known}) == 14


@settings(max_examples=15, deadline=None)
@given(sampler=st.sampled_from([s for s in Sampler if s is not Sampler.GP]), count=st.integers(0, 30))
def test_answer_depends_on_the_question_alone(sampler, count):
    spec = a_spec(sampler=sampler)
    known = search(spec, count, batch=5)
    question = Question(spec, "cell", known)
    assert propose(question, 3) == propose(question, 3)


def test_questions_of_other_cells_seeds_and_numbers_have_other_answers():
    spec = a_spec(sampler="random")
    other_seed = spec.model_copy(update={"seed": 5})
    questions = [
        Question(spec, "cell", []),
        Question(spec, "other", []),
        Question(other_seed, "cell", []),
        Question(spec, "cell", search(spec, 1)),
        Question(spec, "cell", [], repeats=2),
    ]
    answers = [propose(question, 1)[0].values["breadth_pressure"] for question in questions]
    assert len(set(answers)) == len(answers)


def test_what_is_being_tried_is_not_proposed_again():
    parameters = {"channels": {"min": 1, "max": 4}}
    spec = a_spec(parameters, trials=4)
    running = [Known({"channels": n}, State.RUNNING) for n in (1, 3)]
    assert {proposal.values["channels"] for proposal in propose(Question(spec, "cell", running), 2)} == {2, 4}


@given(st.permutations(range(1, 13)), st.integers(0, 11))
@settings(max_examples=25, deadline=None)
def test_space_with_an_end_is_searched_to_its_end(order, count):
    spec = a_spec({"channels": {"min": 1, "max": 12}}, trials=12)
    states = [State.COMPLETE, State.FAILED, State.PRUNED, State.RUNNING]
    known = [
        Known({"channels": n}, states[n % 4], {"accuracy": 1 / n, "time": float(n)} if n % 4 == 0 else {})
        for n in order[:count]
    ]
    found = propose(Question(spec, "cell", known), 12 - count)
    assert sorted([one.values["channels"] for one in (*known, *found)]) == list(range(1, 13))


def test_repeated_proposals_are_counted():
    spec = a_spec({"channels": {"min": 1, "max": 6}}, trials=6, sampler="random")
    repeats = [one.note.get("repeats", 0) for one in search(spec, 6, batch=1)]
    assert repeats[0] == 0
    assert 0 < sum(repeats) <= 5 * MOST_REPEATS


def test_sequence_of_qmc_goes_on_over_questions():
    spec = a_spec({"time_pressure": {"min": 0.0, "max": 1.0}}, sampler="qmc", trials=64)
    numbers = [one.values["time_pressure"] for one in search(spec, 33, batch=4)[1:]]
    # The first 32 points of a Sobol sequence fall into 32 different equal parts; random points leave a third empty.
    assert len({int(number * 32) for number in numbers}) == 32


def test_generations_of_nsga2_go_on_over_questions():
    known = search(a_spec(sampler="nsga2", trials=64), 40, batch=4)
    generations = [value for one in known for name, value in one.note["trial"].items() if "generation" in name]
    assert generations == sorted(generations)
    assert max(generations) >= 3


PRESSURES = {
    "breadth_pressure": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-2},
    "time_pressure": {"min": 0.0, "max": 1.0},
}
CORNERS = {(1e-5, 0.0), (1e-5, 1.0), (1e-2, 0.0), (1e-2, 1.0)}


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
@pytest.mark.parametrize("batch", [1, 3, 6])
def test_search_for_a_front_over_pressures_begins_with_the_corners_each_once(sampler, batch):
    values = [tuple(one.values.values()) for one in search(a_spec(PRESSURES, sampler=sampler, trials=12), 6, batch)]
    assert set(values[:4]) == CORNERS
    assert not CORNERS.intersection(values[4:])


def test_ends_of_a_list_of_values_are_all_of_them():
    parameters = {"breadth_pressure": {"distribution": "categorical", "values": [1e-4, 1e-3, 1e-2]}}
    mixed = {**parameters, "time_pressure": PRESSURES["time_pressure"]}
    values = [tuple(one.values.values()) for one in search(a_spec(mixed, trials=18), 6)]
    assert set(values) == {(breadth, time) for breadth in (1e-4, 1e-3, 1e-2) for time in (0.0, 1.0)}


@pytest.mark.parametrize(
    ("parameters", "wanted"),
    [
        (PRESSURES, {"trials": 11}),  # four corners are more than a third of the trials
        (PRESSURES, {"maximize": "accuracy"}),
        (PRESSURES, {"sampler": "random"}),
        (PRESSURES, {"sampler": "qmc"}),
        (PRESSURES, {"sampler": "nsga2"}),
        ({**PRESSURES, "channels": {"min": 2, "max": 9}}, {}),
    ],
)
def test_corners_are_not_begun_with_where_they_cost_too_much_or_end_no_front(parameters, wanted):
    corners = {values[:2] for values in (tuple(one.values.values()) for one in search(a_spec(parameters, **wanted), 6))}
    assert not CORNERS.intersection(corners)


def best(known, name):
    return [one.measurement[name] for one in known[-12:]]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_search_for_one_measurement_beats_random(sampler):
    spec, chance = (a_spec(sampler=name, trials=60, maximize="accuracy") for name in (sampler, "random"))
    assert np.median(best(search(spec, 60), "accuracy")) > np.median(best(search(chance, 60), "accuracy"))


def fastest_that_meets(sampler, seed, **more):
    spec = a_spec(trials=60, sampler=sampler, **more).model_copy(update={"seed": seed})
    measurements = [one.measurement for one in search(spec, 60, batch=1)]
    return min(m["time"] for m in measurements if m["accuracy"] >= 0.95)


@pytest.mark.slow
def test_constrained_search_ends_among_settings_that_meet_the_condition_and_beats_random():
    wanted = {"minimize": "time", "subject_to": "accuracy >= 0.95"}
    known, unbound = search(a_spec(trials=60, **wanted), 60), search(a_spec(trials=60, minimize="time"), 60)
    assert np.median(best(known, "accuracy")) > 0.9 > np.median(best(unbound, "accuracy"))
    found, by_chance = (
        np.mean([fastest_that_meets(sampler, seed, **wanted) for seed in range(8)]) for sampler in ("tpe", "random")
    )
    assert found < by_chance


def test_scalarised_search_finds_both_ends_of_the_front():
    known = search(a_spec(trials=60, scalarize="chebyshev", objectives=("accuracy", "time")), 60)
    assert max(one.measurement["accuracy"] for one in known) > 0.99
    assert min(one.measurement["time"] for one in known) < 1.35


def test_sampler_learns_from_another_sweep():
    spec = a_spec(trials=60, maximize="accuracy")
    warm = search(spec, 40)
    (cold,), (told,) = (propose(Question(spec, "c", [], warm=known), 1) for known in ([], warm))
    assert cold.values != told.values
    assert measured(told.values)["accuracy"] > 0.8


@pytest.mark.parametrize("state", [State.FAILED, State.PRUNED, State.COMPLETE])
def test_settings_without_values_upset_no_sampler(state):
    for sampler in ("tpe", "nsga2", "nsga3", "qmc", "random"):
        spec = a_spec(sampler=sampler)
        known = [Known(one.values, state, {}, one.note) for one in search(spec, 15)]
        assert len(propose(Question(spec, "cell", known), 2)) == 2
