"""Attainment by replicates: surfaces over seeds, and questions that are refused."""

import math

import pytest

from sweeper.analysis.attainment import attainment_table
from sweeper.errors import QueryError
from sweeper.measurements import Goal, Objective
from tests.analysis.test_fronts import OBJECTIVES, a_trial
from tests.contracts.recorder import a_failed_trial

#: Accuracy and time of two settings, by seed.
FIGURES = {0: [(0.8, 2.0), (0.9, 4.0)], 1: [(0.7, 3.0), (0.9, 5.0)], 2: [(0.8, 3.0), (0.85, 3.5)]}


def replicated(figures=FIGURES):
    return [
        a_trial(number, setting=f"s{number}", seed=seed, accuracy=accuracy, time=time)
        for seed, points in figures.items()
        for number, (accuracy, time) in enumerate(points)
    ]


def surface(table, name):
    return [(row["accuracy"], row["time"]) for row in table.to_pylist() if row["surface"] == name]


def test_surfaces_over_three_seeds_are_those_of_one_two_and_all():
    table = attainment_table(replicated(), OBJECTIVES)
    assert table.column_names == ["surface", "share", "attained_by", "replicates", "accuracy", "time"]
    assert surface(table, "best") == [(0.8, 2.0), (0.85, 3.5), (0.9, 4.0)]
    assert surface(table, "median") == [(0.8, 3.0), (0.85, 4.0), (0.9, 5.0)]
    assert surface(table, "worst") == [(0.7, 3.0), (0.85, 5.0)]
    by = dict(zip(table["surface"].to_pylist(), table["attained_by"].to_pylist(), strict=True))
    assert by == {"best": 1, "median": 2, "worst": 3}
    assert set(table["replicates"].to_pylist()) == {3}
    assert list(dict.fromkeys(table["surface"].to_pylist())) == ["best", "median", "worst"]


def test_equal_replicates_attain_one_surface():
    table = attainment_table(replicated({0: FIGURES[0], 7: FIGURES[0]}), OBJECTIVES)
    assert surface(table, "best") == surface(table, "median") == surface(table, "worst") == FIGURES[0]


def test_shares_are_named_as_one_likes():
    table = attainment_table(replicated(), OBJECTIVES, {"two of three": 2 / 3})
    assert surface(table, "two of three") == surface(attainment_table(replicated(), OBJECTIVES), "median")
    assert set(table["attained_by"].to_pylist()) == {2}


def test_only_complete_trials_with_finite_objectives_count():
    left_out = [
        a_failed_trial(8, seed=3),
        a_trial(9, seed=0, measurement={"accuracy": 1.0, "time": math.nan}),
        a_trial(10, seed=4, measurement={"accuracy": 1.0}),
    ]
    assert attainment_table([*replicated(), *left_out], OBJECTIVES).equals(attainment_table(replicated(), OBJECTIVES))


def test_one_seed_is_no_replicate():
    with pytest.raises(QueryError, match=r"at least two seeds, but got 1 \(seeds: 7\).*replicates: 2"):
        attainment_table(replicated({7: FIGURES[0]}), OBJECTIVES)
    with pytest.raises(QueryError, match=r"at least two seeds, but got 0 \(seeds: none\)"):
        attainment_table([], OBJECTIVES)


@pytest.mark.parametrize("names", [["accuracy"], ["accuracy", "time", "depth", "macs"]])
def test_objectives_that_are_too_few_or_too_many_are_refused_by_name(names):
    objectives = [Objective(name, Goal.MINIMIZE) for name in names]
    with pytest.raises(QueryError, match=rf"two or three objectives, but got {len(names)}: {', '.join(names)}"):
        attainment_table(replicated(), objectives)


@pytest.mark.parametrize("share", [-0.5, 1.5, 50, math.nan])
def test_share_that_is_none_is_refused_by_name_and_value(share):
    with pytest.raises(QueryError, match=rf"surface 'half' must be from 0 to 1, but got {share}"):
        attainment_table(replicated(), OBJECTIVES, {"half": share})
