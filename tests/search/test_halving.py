"""Which settings go on from a rung."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.measurements import Bound, Goal, Objective
from sweeper.search.halving import goes_on
from sweeper.search.rungs import Rungs
from sweeper.spec import LatticeSweep
from sweeper.trial import State, TrialRecord

OBJECTIVES = (Objective("accuracy", Goal.MAXIMIZE), Objective("time", Goal.MINIMIZE))
POINTS = st.builds(lambda a, t: {"accuracy": a / 8, "time": float(t)}, st.integers(0, 8), st.integers(1, 8))


def dominates(one, other):
    better = (one["accuracy"] >= other["accuracy"], one["time"] <= other["time"])
    return all(better) and one != other


@given(POINTS, st.lists(POINTS, max_size=20), st.integers(2, 5))
def test_what_nothing_dominates_always_goes_on(newcomer, others, factor):
    if not any(dominates(other, newcomer) for other in others):
        assert goes_on(newcomer, others, OBJECTIVES, (), factor)


@given(st.lists(POINTS, min_size=1, max_size=20), st.integers(2, 5))
def test_at_least_one_in_factor_goes_on_and_whoever_is_better_than_one_who_does(points, factor):
    going = [goes_on(p, points[:n] + points[n + 1 :], OBJECTIVES, (), factor) for n, p in enumerate(points)]
    assert sum(going) >= math.ceil(len(points) / factor)
    for point, goes in zip(points, going, strict=True):
        if goes:
            assert all(its for other, its in zip(points, going, strict=True) if dominates(other, point))


@given(POINTS, st.lists(POINTS, max_size=12), st.integers(2, 5))
def test_order_of_the_others_decides_nothing(newcomer, others, factor):
    ways = {goes_on(newcomer, list(order), OBJECTIVES, (), factor) for order in (others, others[::-1])}
    assert len(ways) == 1


def test_worst_of_a_chain_is_stopped():
    chain = [{"accuracy": n / 10, "time": 10.0 - n} for n in range(9)]
    going = [goes_on(p, [o for o in chain if o is not p], OBJECTIVES, (), 3) for p in chain]
    assert going == [False] * 6 + [True] * 3


def test_who_meets_the_condition_comes_before_who_does_not():
    bound = Bound("accuracy", is_least=True, value=0.5)
    fast, right = {"accuracy": 0.4, "time": 1.0}, {"accuracy": 0.6, "time": 5.0}
    assert goes_on(right, [fast] * 3, OBJECTIVES[1:], (bound,), 4)
    assert not goes_on(fast, [right, *[fast] * 2], OBJECTIVES[1:], (bound,), 4)


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_measurement_that_lacks_an_objective_does_not_go_on(value):
    broken = {"accuracy": 0.5, **({} if value is None else {"time": value})}
    assert not goes_on(broken, [], OBJECTIVES, (), 2)
    assert goes_on({"accuracy": 0.1, "time": 3.0}, [broken] * 5, OBJECTIVES, (), 2)


def a_spec(**more):
    return LatticeSweep.model_validate({
        "name": "s",
        "parameters": {"classes": {"values": [3, 2]}, "time_pressure": {"min": 0.0, "max": 1.0}},
        "training": {"epochs": 30},
        "search": {"trials": 9},
        "early_stopping": {"min_epochs": 3, "factor": 3},
        "replicates": 2,
        "objectives": [{"name": "accuracy", "goal": "maximize"}],
        "reference_point": {"accuracy": 0},
        **more,
    })


def record(key, accuracy, setting="", classes=3, state=State.RUNNING, epoch=3):
    spec = a_spec()
    flat = spec.cells()[0].flat()
    rungs = {} if accuracy is None else {epoch: {"accuracy": accuracy}}
    return TrialRecord(
        key, "s", "t", 0, state, flat, {"classes": classes, "time_pressure": 0.5}, setting or key, 0, "p", rungs=rungs
    )


def test_rungs_are_factor_apart_and_before_the_end():
    rule = a_spec().early_stopping
    assert [rule.rungs(epochs) for epochs in (30, 27, 4, 3, 1)] == [(3, 9, 27), (3, 9), (3,), (), ()]


def test_population_pauses_at_the_first_rung_that_one_of_its_members_has_not_passed():
    rungs = Rungs(a_spec())
    fresh, passed = record("a", None), record("b", 0.5)
    assert rungs.next_rung([fresh]) == 3
    assert rungs.next_rung([passed]) == 9
    assert rungs.next_rung([fresh, passed]) == 3
    assert rungs.next_rung([passed, replace(fresh, state=State.PRUNED)]) == 9
    assert rungs.next_rung([replace(passed, rungs={3: {}, 9: {}, 27: {}})]) is None
    assert Rungs(a_spec(early_stopping=None)).next_rung([fresh]) is None


def test_replicates_are_judged_together_and_cells_apart():
    rungs = Rungs(a_spec())
    good = [record("a1", 0.1, "a"), record("a2", 0.9, "a")]
    bad = [record("b1", 0.4, "b"), record("b2", 0.4, "b")]
    elsewhere = [record("c1", 0.01, "c", classes=2), record("c2", 0.01, "c", classes=2)]
    everyone = [*good, *bad, *elsewhere, record("d1", 0.3, "d")]
    assert rungs.going_on([*good, *bad], 3, everyone) == {"a1", "a2"}
    assert rungs.going_on(elsewhere, 3, everyone) == {"c1", "c2"}


def test_replicate_that_comes_later_follows_the_ones_before():
    rungs = Rungs(a_spec())
    best = record("best", 0.99)
    stopped = replace(record("a1", 0.1, "a"), state=State.PRUNED)
    late = record("a2", 1.0, "a")
    assert rungs.going_on([late], 3, [best, stopped, late]) == set()
    went_on = record("b1", 0.1, "b")
    late = record("b2", 0.0, "b")
    assert rungs.going_on([late], 3, [best, went_on, late]) == {"b2"}
    stopped_later = replace(went_on, state=State.PRUNED, rungs={3: {"accuracy": 0.1}, 9: {"accuracy": 0.1}})
    assert rungs.going_on([late], 3, [best, stopped_later, late]) == {"b2"}
