"""Comparison of two fronts: known figures, figures that must agree, and fronts that cannot be compared."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.analysis.comparison import compare_fronts
from sweeper.analysis.fronts import compute_front
from sweeper.errors import QueryError
from sweeper.measurements import Goal, Objective
from tests.analysis.test_fronts import OBJECTIVES, REFERENCE, a_front, a_trial


def front_of(*figures, sweep="small", **changes):
    trials = [a_trial(n, accuracy=accuracy, time=time) for n, (accuracy, time) in enumerate(figures)]
    return replace(a_front(*trials), sweep=sweep, **changes)


FIGURES = st.lists(st.tuples(st.integers(0, 9).map(lambda n: n / 10), st.integers(1, 9).map(float)), min_size=1)


def test_indicators_of_two_known_fronts():
    ours, theirs = front_of((0.5, 2.0), (0.9, 6.0)), front_of((0.5, 4.0), (0.7, 5.0), sweep="other", version=3)
    first, second = compare_fronts(ours, theirs).to_pylist()
    assert (first["sweep"], first["task"], first["version"], first["points"]) == ("small", "digits-10", 0, 2)
    assert (second["sweep"], second["version"], second["points"]) == ("other", 3, 2)
    # Reference set: (0.5, 2), (0.7, 5), (0.9, 6); ranges 0.4 and 4.
    corners = {f"{kind}_{name}" for kind in ("reference", "ideal", "nadir") for name in ("accuracy", "time")}
    assert [first[name] for name in sorted(corners)] == [0.9, 2.0, 0.5, 6.0, 0.0, 10.0]
    assert {name: first[name] for name in corners} == {name: second[name] for name in corners}
    assert first["hypervolume"] == pytest.approx(0.5 * 8 + 0.4 * 4)
    assert second["hypervolume"] == pytest.approx(0.5 * 6 + 0.2 * 5)
    # Our (0.9, 6) misses (0.7, 5) by 1 of 4 in time. Their (0.7, 5) misses (0.9, 6) by 0.2 of 0.4 in accuracy,
    # and their (0.5, 4) misses (0.5, 2) by 2 of 4 in time.
    assert (first["additive_epsilon"], second["additive_epsilon"]) == pytest.approx((0.25, 0.5))
    assert (first["igd_plus"], second["igd_plus"]) == pytest.approx((0.25 / 3, (0.5 + 0.5) / 3))
    assert (first["coverage"], second["coverage"]) == (0.5, 0.0)


def test_front_alone_has_its_volume_and_its_corners():
    (row,) = compare_fronts(front_of((0.5, 2.0), (0.9, 6.0))).to_pylist()
    assert row["hypervolume"] == pytest.approx(5.6)
    assert (row["additive_epsilon"], row["igd_plus"], row["coverage"]) == (None, None, None)
    assert (row["ideal_time"], row["nadir_time"], row["reference_time"]) == (2.0, 6.0, 10.0)


@settings(deadline=None)
@given(FIGURES, FIGURES)
def test_comparison_the_other_way_round_has_its_rows_the_other_way_round(ours, theirs):
    table = compare_fronts(front_of(*ours), front_of(*theirs, sweep="other"))
    turned = compare_fronts(front_of(*theirs, sweep="other"), front_of(*ours))
    assert table.to_pylist() == turned.to_pylist()[::-1]
    for row in table.to_pylist():
        assert row["additive_epsilon"] >= 0, "the reference set holds the best of both"
        assert 0 <= row["coverage"] <= 1
    first, second = table.to_pylist()
    assert (first["igd_plus"] == 0) == (first["coverage"] == 1.0)
    if second["igd_plus"] == 0:
        assert first["hypervolume"] <= second["hypervolume"] + 1e-9


@settings(deadline=None)
@given(FIGURES, st.integers(1, 1000))
def test_units_change_neither_epsilon_nor_distance(figures, factor):
    def rescaled(front):
        table = front.table.set_column(
            front.table.column_names.index("time"), "time", [[t * factor for t in front.table["time"].to_pylist()]]
        )
        return replace(front, table=table, reference_point={**REFERENCE, "time": 10.0 * factor})

    ours, theirs = front_of(*figures), front_of((0.5, 5.0), (0.9, 8.0), sweep="other")
    table, changed = compare_fronts(ours, theirs), compare_fronts(rescaled(ours), rescaled(theirs))
    for name in ("additive_epsilon", "igd_plus", "coverage"):  # also if the joint front is one point
        assert changed[name].to_pylist() == pytest.approx(table[name].to_pylist())


def test_all_equal_points_and_one_point_compare():
    for ours in (front_of((0.5, 2.0)), front_of((0.5, 2.0), (0.5, 2.0), (0.5, 2.0))):
        first, second = compare_fronts(ours, front_of((0.5, 2.0), sweep="other")).to_pylist()
        for row in (first, second):
            assert (row["additive_epsilon"], row["igd_plus"], row["coverage"]) == (0.0, 0.0, 1.0)
            assert (row["ideal_time"], row["nadir_time"]) == (2.0, 2.0)


def test_order_of_objectives_is_no_difference():
    turned = compute_front(
        [a_trial(0, accuracy=0.9, time=6.0)],
        sweep="small",
        task="digits-10",
        objectives=OBJECTIVES[::-1],
        reference_point=REFERENCE,
    )
    first, second = compare_fronts(front_of((0.9, 6.0)), replace(turned, sweep="other")).to_pylist()
    assert first["hypervolume"] == second["hypervolume"]
    assert second["coverage"] == 1.0


def test_reference_point_that_is_given_bounds_both():
    ours, theirs = front_of((0.5, 2.0)), front_of((0.5, 4.0), sweep="other", reference_point={**REFERENCE, "time": 6.0})
    with pytest.raises(
        QueryError,
        match=r"'small' has accuracy 0, time 10, and sweep 'other' has accuracy 0, time 6\. .*reference_point=",
    ):
        compare_fronts(ours, theirs)
    table = compare_fronts(ours, theirs, {"time": 5.0, "accuracy": 0.1})
    assert table["hypervolume"].to_pylist() == pytest.approx([0.4 * 3, 0.4 * 1])
    assert table["reference_time"].to_pylist() == [5.0, 5.0]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, "got none"),
        ({"accuracy": 0.0}, "got accuracy 0"),
        ({"accuracy": 0.0, "time": float("inf")}, "got accuracy 0, time inf"),
        ({"accuracy": 0.0, "time": 1.0, "macs": 5.0}, "got accuracy 0, time 1, macs 5"),
    ],
)
def test_reference_point_that_does_not_fit_is_refused_by_its_values(given, shown):
    with pytest.raises(QueryError, match=f"finite value for each of accuracy, time, but {shown}"):
        compare_fronts(front_of((0.5, 2.0)), None, given)


def test_fronts_of_other_things_are_refused_with_both():
    ours = front_of((0.5, 2.0))
    with pytest.raises(QueryError, match=r"'digits-10' \(sweep 'small'\) and 'digits-3' \(sweep 'other'\)"):
        compare_fronts(ours, front_of((0.5, 2.0), sweep="other", task="digits-3"))
    macs = (OBJECTIVES[0], Objective("macs", Goal.MINIMIZE))
    with pytest.raises(
        QueryError,
        match="'small' has maximize accuracy, minimize time and sweep 'other' has maximize accuracy, minimize macs",
    ):
        compare_fronts(ours, front_of((0.5, 2.0), sweep="other", objectives=macs))
    with pytest.raises(QueryError, match="task 'digits-10' of sweep 'other' has no point"):
        compare_fronts(ours, front_of(sweep="other"))
    with pytest.raises(QueryError, match="task 'digits-10' of sweep 'small' has no point"):
        compare_fronts(front_of())
