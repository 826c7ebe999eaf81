"""Fronts as mathematics: slow implementations, closed forms, and changes that must not change a result."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sweeper.analysis.pareto import hypervolume, non_dominated
from sweeper.measurements import Goal

MIN, MAX = Goal.MINIMIZE, Goal.MAXIMIZE


def slow_non_dominated(values, goals):
    costs = [[-v if goal is MAX else v for v, goal in zip(row, goals, strict=True)] for row in values]

    def dominates(a, b):
        no_worse = all(x <= y for x, y in zip(a, b, strict=True))
        return no_worse and any(x < y for x, y in zip(a, b, strict=True))

    return [not any(dominates(other, row) for other in costs) for row in costs]


def slow_hypervolume(values, reference):
    """Count unit cells below an integer reference (minimised, integer values from 0)."""
    cells = np.stack(np.meshgrid(*[np.arange(r) for r in reference], indexing="ij"), -1)
    cells = cells.reshape(-1, len(reference))
    return float(sum(any((cell >= row).all() for row in np.asarray(values)) for cell in cells))


@st.composite
def small_problems(draw, max_points=12):
    M = draw(st.integers(1, 4))
    N = draw(st.integers(1, max_points))
    # A coarse grid, so that ties and duplicates are common.
    values_NM = draw(arrays(np.int64, (N, M), elements=st.integers(0, 5))).astype(float)
    goals = draw(st.lists(st.sampled_from([MIN, MAX]), min_size=M, max_size=M))
    return values_NM, goals


@given(small_problems())
def test_non_dominated_equals_the_slow_twin(problem):
    values_NM, goals = problem
    values_NM.setflags(write=False)
    assert non_dominated(values_NM, goals).tolist() == slow_non_dominated(values_NM, goals)


@given(small_problems(), st.randoms(use_true_random=False))
def test_non_dominated_of_permuted_points_is_permuted(problem, random):
    values_NM, goals = problem
    order = list(range(len(values_NM)))
    random.shuffle(order)
    expected_N = non_dominated(values_NM, goals)[order]
    assert non_dominated(values_NM[order], goals).tolist() == expected_N.tolist()


@settings(deadline=None)
@given(small_problems(max_points=6))
def test_hypervolume_equals_counted_cells(problem):
    values_NM, goals = problem
    values_NM.setflags(write=False)
    reference_M = np.array([4.0] * len(goals))
    sign_M = np.array([-1.0 if goal is MAX else 1.0 for goal in goals])
    exact = hypervolume(values_NM * sign_M, goals, reference_M * sign_M)
    assert exact == pytest.approx(slow_hypervolume(values_NM, [4] * len(goals)))


@given(small_problems(), st.randoms(use_true_random=False))
def test_hypervolume_is_unchanged_by_order_duplicates_and_dominated_points(problem, random):
    values_NM, goals = problem
    reference_M = [6.0 if goal is MIN else -1.0 for goal in goals]
    whole = hypervolume(values_NM, goals, reference_M)
    order = list(range(len(values_NM)))
    random.shuffle(order)
    assert hypervolume(values_NM[order], goals, reference_M) == pytest.approx(whole)
    assert hypervolume(np.vstack([values_NM, values_NM]), goals, reference_M) == pytest.approx(whole)
    front_NM = values_NM[non_dominated(values_NM, goals)]
    assert hypervolume(front_NM, goals, reference_M) == pytest.approx(whole)


@given(small_problems())
def test_hypervolume_never_falls_when_a_point_is_added(problem):
    values_NM, goals = problem
    reference_M = [6.0 if goal is MIN else -1.0 for goal in goals]
    volumes = [hypervolume(values_NM[:n], goals, reference_M) for n in range(len(values_NM) + 1)]
    assert volumes[0] == 0.0
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(volumes))


@pytest.mark.parametrize("n", [1, 2, 10, 100])
def test_hypervolume_of_a_staircase_has_its_closed_form(n):
    # Points (i, n - 1 - i) under the reference (n, n) cover 1 + 2 + ... + n unit cells.
    stairs_NM = np.array([[i, n - 1 - i] for i in range(n)], dtype=float)
    assert non_dominated(stairs_NM, [MIN, MIN]).all()
    assert hypervolume(stairs_NM, [MIN, MIN], [n, n]) == pytest.approx(n * (n + 1) / 2)


def test_hypervolume_of_one_point_is_its_box():
    values = [[0.75, 2.0, 3.0]]
    assert hypervolume(values, [MAX, MIN, MIN], [0.5, 4.0, 5.0]) == pytest.approx(0.25 * 2.0 * 2.0)


def test_hypervolume_of_one_objective_is_the_best_distance():
    assert hypervolume([[1.0], [2.0], [9.0]], [MIN], [5.0]) == pytest.approx(4.0)
    assert hypervolume([[1.0], [2.0]], [MAX], [0.5]) == pytest.approx(1.5)


def test_hypervolume_of_points_on_or_outside_the_reference_is_zero():
    outside = [[5.0, 1.0], [1.0, 5.0], [9.0, 0.0]]
    assert hypervolume(outside, [MIN, MIN], [5.0, 5.0]) == 0.0
    assert hypervolume([*outside, [4.0, 4.0]], [MIN, MIN], [5.0, 5.0]) == pytest.approx(1.0)


def test_empty_front_is_empty_and_has_no_volume():
    for empty in ([], np.zeros((0, 2))):
        assert non_dominated(empty, [MIN, MAX]).shape == (0,)
        assert hypervolume(empty, [MIN, MAX], [1.0, 0.0]) == 0.0


def test_equal_points_are_all_kept():
    values = [[1.0, 2.0], [1.0, 2.0], [2.0, 1.0], [1.0, 3.0]]
    assert non_dominated(values, [MIN, MIN]).tolist() == [True, True, True, False]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_value_is_refused_by_its_row(bad):
    values = [[1.0, 2.0], [3.0, bad]]
    with pytest.raises(ValueError, match=rf"row 1 holds \[3.0, {bad}\]"):
        non_dominated(values, [MIN, MIN])
    with pytest.raises(ValueError, match="row 1 holds"):
        hypervolume(values, [MIN, MIN], [9.0, 9.0])
    with pytest.raises(ValueError, match=rf"must be finite, but got \[{bad}, 9.0\]"):
        hypervolume([[1.0, 2.0]], [MIN, MIN], [bad, 9.0])


def test_shapes_that_do_not_fit_are_refused_with_both_sizes():
    with pytest.raises(ValueError, match=r"\(N, 2\).*have \(1, 3\)"):
        non_dominated([[1.0, 2.0, 3.0]], [MIN, MIN])
    with pytest.raises(ValueError, match=r"2 objectives, but has shape \(3,\)"):
        hypervolume([[1.0, 2.0]], [MIN, MIN], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="at least one objective"):
        non_dominated([[1.0]], [])
