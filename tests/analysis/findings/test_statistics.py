"""The statistics of findings, compared with known properties and with scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sweeper.analysis.findings.statistics import (
    bootstrapped,
    classical_scaling,
    fisher_mean,
    holm,
    jackknifed,
    kendall,
    partial_spearman,
    permanova,
    rises,
    share_beyond,
    shuffled_within,
    slope,
    spearman,
    spearman_brown,
    trend,
    weighted_ranks,
    within,
)

SEEDS = st.integers(0, 2**31)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, count=st.integers(5, 60), ties=st.booleans())
def test_correlation_is_scipys_and_any_rising_change_of_scale_leaves_it(seed, count, ties):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, count))
    if ties:
        x, y = x.round(), y.round()
    found = spearman(x, y)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert math.isnan(found)
        return
    assert found == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)
    assert spearman(np.exp(x), y * 3 + 1) == pytest.approx(found, abs=1e-9)
    assert spearman(-x, y) == pytest.approx(-found, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, count=st.integers(10, 80))
def test_partial_correlation_with_one_variable_is_the_textbooks_formula(seed, count):
    x, y, z = np.random.default_rng(seed).normal(size=(3, count))
    xy, xz, yz = (stats.spearmanr(a, b).statistic for a, b in ((x, y), (x, z), (y, z)))
    expected = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))
    assert partial_spearman(x, y, [z]) == pytest.approx(expected, abs=1e-9)


def test_partial_correlation_sees_through_a_common_cause():
    rng = np.random.default_rng(0)
    cause = rng.normal(size=2000)
    x, y = cause + 0.3 * rng.normal(size=(2, 2000))
    assert spearman(x, y) > 0.85
    assert abs(partial_spearman(x, y, [cause])) < 0.06


def test_correlation_with_nothing_left_is_none():
    x = np.arange(10.0)
    assert math.isnan(partial_spearman(x, x[::-1], [x]))
    assert math.isnan(spearman([1, 1, 1, 1], [1, 2, 3, 4]))
    assert math.isnan(partial_spearman([1, 2, 3], [3, 1, 2], [[1, 2, 3]]))


@settings(max_examples=40, deadline=None)
@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_lowers_a_p_keeps_their_order_and_is_bonferroni_for_the_smallest(p):
    given_p = {str(at): value for at, value in enumerate(p)}
    after = holm(given_p)
    assert after.keys() == given_p.keys()
    assert all(value <= after[name] <= 1 for name, value in given_p.items())
    ordered = sorted(given_p, key=lambda name: given_p[name])
    assert after[ordered[0]] == pytest.approx(min(1, len(p) * given_p[ordered[0]]))
    assert [after[name] for name in ordered] == sorted(after.values())


def test_holm_of_a_known_example():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx({
        "d": 0.02,
        "a": 0.03,
        "c": 0.06,
        "b": 0.06,
    })


@pytest.mark.parametrize("between", [0.0, 2.0])
def test_interval_over_groups_holds_the_truth_about_as_often_as_it_says(between):
    rng, held = np.random.default_rng(1), 0
    for _ in range(60):
        values = rng.normal(0, between, (20, 1)) + rng.normal(size=(20, 10))
        flat, groups = values.ravel(), np.arange(200).reshape(20, 10)
        found = bootstrapped(lambda rows, flat=flat: float(flat[rows].mean()), list(groups), rng, draws=200)
        held += found.low <= 0 <= found.high
    assert held >= 50, "networks of one seed are not independent: drawing them alone would hold it far less often"


def test_interval_needs_two_groups_and_draws_that_say_something():
    rng = np.random.default_rng(0)
    assert not bootstrapped(lambda rows: float(len(rows)), [[0, 1, 2]], rng).is_known
    assert bootstrapped(lambda rows: float(len(rows)), [[0], [1]], rng).value == 2
    assert not bootstrapped(lambda rows: math.nan, [[0], [1]], rng).is_known
    sparse = bootstrapped(lambda rows: 1.0 if set(rows) == {0, 1} else math.nan, [[0], [1]], rng)
    assert sparse.value == 1
    assert not sparse.is_known


def test_interval_by_leaving_out_is_students_for_a_mean():
    values = np.random.default_rng(3).normal(size=12)
    found = jackknifed(lambda rows: float(values[rows].mean()), [[row] for row in range(12)])
    error = values.std(ddof=1) / math.sqrt(12)
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, 11) * error)


def test_trend_is_found_along_the_ladder_and_not_against_it():
    rng = np.random.default_rng(0)
    rising = np.arange(5) + rng.normal(0, 0.5, (6, 5))
    assert trend(rising) < 0.001
    assert trend(rising[:, ::-1]) > 0.99
    assert trend(np.zeros((6, 5)) + rng.integers(0, 2, (6, 5))) > 0.001
    assert math.isnan(trend([[1, 2, 3]]))


def test_small_numbers_of_seeds_can_be_significant_only_so_far():
    assert rises([1, 2, 3, 4, 5]) == pytest.approx(1 / 32)
    assert rises([1.5, 2, 3, 4, 5, 6, 7, 8, 9, 10]) == pytest.approx(1 / 1024)
    assert rises([0, 0]) == 1
    assert rises([-1, -2, -3, -4, -5]) == 1


def test_slopes_and_orders_by_hand():
    assert slope([0, 1, 2, 3, 4], [1, 3, 5, 7, 1000]) == pytest.approx(2, abs=0.01), "one far out moves it little"
    assert slope([0, 1, 2], [1, 3, 5]) == 2
    assert math.isnan(slope([1, 1], [2, 3]))
    assert kendall([1, 2, 3], [10, 20, 30]) == 1
    assert kendall([1, 2, 3], [3, 2, 1]) == -1


def test_correlations_within_groups_see_through_differences_between_them():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(5), 200)
    x, y = rng.normal(size=(2, 1000)) + 10 * group
    assert spearman(x, y) > 0.9
    assert abs(within(x, y, group)) < 0.08
    assert within(x, x**3, group) > 0.99
    assert math.isnan(within(x[:9], y[:9], group[:9]))
    assert fisher_mean([0.5, 0.5, math.nan]) == pytest.approx(0.5)
    assert math.isnan(fisher_mean([]))


def test_p_value_counts_what_was_found_as_one_of_the_draws():
    assert share_beyond(5, np.zeros(999)) == 1 / 1000
    assert share_beyond(0, np.zeros(999)) == 1
    assert share_beyond(2, np.array([1.0, 2, 3])) == 3 / 4


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_division_of_variance_is_that_of_an_analysis_of_variance_on_a_line(seed):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(4), 6)
    values = rng.normal(size=24) + groups * rng.normal()
    split = permanova(np.abs(values[:, None] - values[None]), groups)
    mean = values.mean()
    between = sum(6 * (values[groups == g].mean() - mean) ** 2 for g in range(4))
    assert split.share == pytest.approx(between / ((values - mean) ** 2).sum())
    assert split.adjusted <= split.share


def test_groups_of_chance_have_no_share_left_when_it_is_adjusted():
    rng, found = np.random.default_rng(0), []
    for _ in range(40):
        points = rng.normal(size=(40, 3))
        distance = np.linalg.norm(points[:, None] - points[None], axis=2)
        found.append(permanova(distance, np.repeat(np.arange(20), 2)))
    assert np.mean([one.share for one in found]) > 0.4
    assert abs(np.mean([one.adjusted for one in found])) < 0.05
    assert math.isnan(permanova(np.zeros((4, 4)), [0, 0, 1, 1]).share)
    assert math.isnan(permanova(np.ones((3, 3)), [0, 1, 2]).share)


def test_values_are_exchanged_within_strata_alone():
    strata = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    values = np.arange(8)
    shuffled = shuffled_within(values, strata, np.random.default_rng(2))
    assert sorted(shuffled[strata == 0]) == [0, 2, 4, 6]
    assert not np.array_equal(shuffled, values)


def test_reliability_of_the_whole_is_higher_than_that_of_halves():
    assert spearman_brown(0.5) == pytest.approx(2 / 3)
    assert spearman_brown(-0.2) == 0
    assert math.isnan(spearman_brown(math.nan))


@given(
    values=st.lists(st.integers(-3, 3), min_size=1, max_size=12), seed=st.integers(0, 2**31), draws=st.integers(1, 4)
)
def test_weighted_ranks_are_those_of_values_that_stand_there_so_often(values, seed, draws):
    rng = np.random.default_rng(seed)
    weight = rng.integers(0, 4, (draws, len(values))).astype(float)
    found = weighted_ranks(values, weight)
    for row, times in zip(found, weight.astype(int), strict=True):
        repeated = stats.rankdata(np.repeat(values, times)) if times.any() else np.zeros(0)
        expected = repeated - repeated.mean() if len(repeated) else repeated
        assert np.repeat(row, times) == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(3, 12))
def test_points_on_a_plane_are_found_again_by_their_distances(seed, count):
    points = np.random.default_rng(seed).normal(size=(count, 2))
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    found, share = classical_scaling(distance)
    assert np.linalg.norm(found[:, None] - found[None], axis=2) == pytest.approx(distance, abs=1e-6)
    assert share == pytest.approx(1)
    assert found.sum(0) == pytest.approx([0, 0], abs=1e-8)


@pytest.mark.parametrize("distance", [np.zeros((4, 4)), np.ones((2, 2)), np.full((4, 4), math.nan)])
def test_what_has_no_distances_has_no_map(distance):
    points, share = classical_scaling(distance)
    assert len(points) == 0
    assert math.isnan(share)
