"""Indicators as mathematics: slow implementations, closed forms, and changes that must not change a result."""

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sweeper.analysis.indicators import (
    additive_epsilon,
    attainment_surface,
    coverage,
    hypervolume_history,
    ideal_point,
    igd_plus,
    nadir_point,
    normalised,
    whole_replicates,
)
from sweeper.analysis.pareto import hypervolume
from sweeper.measurements import Goal
from tests.analysis.test_pareto import slow_non_dominated

MIN, MAX = Goal.MINIMIZE, Goal.MAXIMIZE


# --- slow, obvious implementations: everything is a loss, and nothing is an array ---------------------


def losses(values, goals):
    return [[-v if goal is MAX else v for v, goal in zip(row, goals, strict=True)] for row in values]


def weakly_dominates(a, b):
    return all(x <= y for x, y in zip(a, b, strict=True))


def slow_additive_epsilon(values, reference, goals):
    points, targets = losses(values, goals), losses(reference, goals)
    return max(min(max(x - y for x, y in zip(a, r, strict=True)) for a in points) for r in targets)


def slow_igd_plus(values, reference, goals):
    points, targets = losses(values, goals), losses(reference, goals)
    nearest = [min(math.hypot(*(max(x - y, 0) for x, y in zip(a, r, strict=True))) for a in points) for r in targets]
    return sum(nearest) / len(nearest)


def slow_coverage(a, b, goals):
    ours, theirs = losses(a, goals), losses(b, goals)
    return sum(any(weakly_dominates(x, y) for x in ours) for y in theirs) / len(theirs)


def slow_attainment(fronts, goals, wanted):
    """Return the surface: the undominated joins of one point from each of `wanted` replicates."""
    joins = set()
    for chosen in combinations([losses(front, goals) for front in fronts], wanted):
        corners = {tuple([-math.inf] * len(goals))}
        for front in chosen:
            corners = {tuple(map(max, corner, point)) for corner in corners for point in front}
        joins |= corners
    best = [a for a in joins if not any(b != a and weakly_dominates(b, a) for b in joins)]
    return sorted([0.0 - v if goal is MAX else v for v, goal in zip(row, goals, strict=True)] for row in best)


def slow_history(values, goals, reference, names):
    now, volumes = {}, []
    for name, value in zip(names, values, strict=True):
        now[name] = value
        volumes.append(hypervolume(list(now.values()), goals, reference))
    return volumes


@st.composite
def several_sets(draw, sets=2, least=1, objectives=(1, 4), most=8):
    """Draw sets of points over the same goals, on a coarse grid, so that ties and duplicates are common."""
    M = draw(st.integers(*objectives))
    goals = draw(st.lists(st.sampled_from([MIN, MAX]), min_size=M, max_size=M))
    found = []
    for _ in range(sets):
        N = draw(st.integers(least, most))
        values_NM = draw(arrays(np.int64, (N, M), elements=st.integers(0, 4))).astype(float)
        values_NM.setflags(write=False)  # a function that writes to its argument fails
        found.append(values_NM)
    return found, goals


def reference_for(goals):
    return [4.0 if goal is MIN else 0.0 for goal in goals]  # some points are on the reference, none is beyond it


# --- distances and coverage ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fast", "slow"), [(additive_epsilon, slow_additive_epsilon), (igd_plus, slow_igd_plus), (coverage, slow_coverage)]
)
@given(several_sets())
def test_indicator_equals_its_slow_twin(fast, slow, problem):
    (a_NM, b_KM), goals = problem
    assert fast(a_NM, b_KM, goals) == pytest.approx(slow(a_NM, b_KM, goals))


@given(several_sets(), st.randoms(use_true_random=False))
def test_indicators_are_unchanged_by_the_order_of_points_and_by_points_given_twice(problem, random):
    (a_NM, b_KM), goals = problem
    rows = [*range(len(a_NM)), *range(len(a_NM))]
    random.shuffle(rows)
    columns = random.sample(range(len(b_KM)), len(b_KM))
    for indicator in (additive_epsilon, igd_plus, coverage):
        changed = indicator(a_NM[rows], b_KM[columns], goals)
        assert changed == pytest.approx(indicator(a_NM, b_KM, goals))
    twice_KM = np.vstack([b_KM, b_KM])
    for indicator in (additive_epsilon, igd_plus, coverage):  # doubling a whole set changes no weight
        assert indicator(a_NM, twice_KM, goals) == pytest.approx(indicator(a_NM, b_KM, goals))


@given(several_sets(sets=3))
def test_more_points_are_never_worse(problem):
    (a_NM, more_NM, b_KM), goals = problem
    both_NM = np.vstack([a_NM, more_NM])
    assert additive_epsilon(both_NM, b_KM, goals) <= additive_epsilon(a_NM, b_KM, goals)
    assert igd_plus(both_NM, b_KM, goals) <= igd_plus(a_NM, b_KM, goals) + 1e-12
    assert coverage(both_NM, b_KM, goals) >= coverage(a_NM, b_KM, goals)


@given(several_sets())
def test_all_indicators_agree_on_what_weakly_dominates_all(problem):
    (a_NM, b_KM), goals = problem
    covers = coverage(a_NM, b_KM, goals) == 1.0
    assert (additive_epsilon(a_NM, b_KM, goals) <= 0) == covers
    assert (igd_plus(a_NM, b_KM, goals) == 0) == covers
    assert coverage(a_NM, a_NM, goals) == 1.0


@given(several_sets())
def test_indicators_of_mirrored_objectives_are_those_of_losses(problem):
    (a_NM, b_KM), goals = problem
    sign_M = np.where([goal is MAX for goal in goals], -1.0, 1.0)
    for indicator in (additive_epsilon, igd_plus, coverage):
        assert indicator(a_NM, b_KM, goals) == pytest.approx(
            indicator(a_NM * sign_M, b_KM * sign_M, [MIN] * len(goals))
        )


@pytest.mark.parametrize("n", [1, 2, 5, 50])
def test_staircase_moved_by_one_has_its_closed_form(n):
    stairs_NM = np.array([[i, n - i] for i in range(n)], dtype=float)
    assert additive_epsilon(stairs_NM + 1.0, stairs_NM, [MIN, MIN]) == pytest.approx(1.0)
    assert additive_epsilon(stairs_NM, stairs_NM + 1.0, [MIN, MIN]) == pytest.approx(-1.0)
    # A step's moved copy is 1 away in both objectives, a neighbour 2 in one: the copy is nearest, at √2.
    assert igd_plus(stairs_NM + 1.0, stairs_NM, [MIN, MIN]) == pytest.approx(math.sqrt(2))
    assert coverage(stairs_NM + 1.0, stairs_NM, [MIN, MIN]) == 0.0
    assert coverage(stairs_NM, stairs_NM + 1.0, [MIN, MIN]) == 1.0


def test_coverage_is_no_complement():
    a, b = [[1.0, 5.0], [2.0, 2.0]], [[5.0, 1.0], [3.0, 3.0]]
    assert (coverage(a, b, [MIN, MIN]), coverage(b, a, [MIN, MIN])) == (0.5, 0.0)
    assert coverage([], b, [MIN, MIN]) == 0.0


# --- ideal, nadir, scale --------------------------------------------------------------------------------


@given(several_sets(sets=1))
def test_ideal_and_nadir_are_best_and_worst_over_the_front(problem):
    (values_NM,), goals = problem
    kept = slow_non_dominated(values_NM, goals)
    front = [row for row, is_kept in zip(losses(values_NM, goals), kept, strict=True) if is_kept]
    sign_M = np.where([goal is MAX for goal in goals], -1.0, 1.0)
    assert (ideal_point(values_NM, goals) * sign_M).tolist() == [min(column) for column in zip(*front, strict=True)]
    assert (nadir_point(values_NM, goals) * sign_M).tolist() == [max(column) for column in zip(*front, strict=True)]


@given(several_sets(sets=1))
def test_normalised_front_lies_between_nought_and_one_and_keeps_its_order(problem):
    (values_NM,), goals = problem
    front_NM = values_NM[slow_non_dominated(values_NM, goals)]
    ideal_M, nadir_M = ideal_point(values_NM, goals), nadir_point(values_NM, goals)
    scaled_NM = normalised(front_NM, goals, ideal_M, nadir_M)
    assert scaled_NM.min() >= 0
    assert scaled_NM.max() <= 1
    assert scaled_NM.min(axis=0).tolist() == [0.0] * len(goals)
    assert normalised([ideal_M], goals, ideal_M, nadir_M).tolist() == [[0.0] * len(goals)]
    ranges = [1.0 if best != worst else 0.0 for best, worst in zip(ideal_M, nadir_M, strict=True)]
    assert normalised([nadir_M], goals, ideal_M, nadir_M).tolist() == [ranges]
    everything_NM = normalised(values_NM, goals, ideal_M, nadir_M)
    assert slow_non_dominated(everything_NM, [MIN] * len(goals)) == slow_non_dominated(values_NM, goals)


# --- hypervolume over time ------------------------------------------------------------------------------


@settings(deadline=None)
@given(several_sets(sets=1, most=20))
def test_history_is_the_hypervolume_of_each_beginning_and_never_falls(problem):
    (values_NM,), goals = problem
    reference_M = reference_for(goals)
    history_N = hypervolume_history(values_NM, goals, reference_M)
    assert history_N == pytest.approx(slow_history(values_NM, goals, reference_M, range(len(values_NM))))
    assert all(later >= earlier for earlier, later in pairwise(history_N))


@settings(deadline=None)
@given(several_sets(sets=1, most=20), st.data())
def test_history_of_named_points_is_the_hypervolume_of_their_latest_values(problem, data):
    (values_NM,), goals = problem
    N = len(values_NM)
    names = data.draw(st.lists(st.integers(0, 4), min_size=N, max_size=N))
    reference_M = reference_for(goals)
    history_N = hypervolume_history(values_NM, goals, reference_M, names=names)
    assert history_N == pytest.approx(slow_history(values_NM, goals, reference_M, names))


@pytest.mark.parametrize("M", [1, 2, 3, 4])
@pytest.mark.parametrize("is_front", [True, False])
def test_history_of_many_points_ends_with_their_hypervolume(M, is_front):
    rng = np.random.default_rng(M)
    # On the simplex no point dominates another, so all of them enter the front, and clipping has work to do.
    values_NM = rng.dirichlet(np.ones(M + 1), 600)[:, :M] if not is_front else rng.dirichlet(np.ones(M), 600)
    for names in (None, rng.integers(0, 200, 600).tolist()):
        history_N = hypervolume_history(values_NM, [MIN] * M, [1.1] * M, names=names)
        at = [0, 1, 63, 64, 65, 66, 300, 599]
        slow = [slow_history(values_NM[: n + 1], [MIN] * M, [1.1] * M, names[: n + 1])[-1] if names
                else hypervolume(values_NM[: n + 1], [MIN] * M, [1.1] * M) for n in at]  # fmt: skip
        assert history_N[at] == pytest.approx(slow, rel=1e-10)


def test_history_asks_for_a_volume_only_where_a_point_enters_the_front(monkeypatch):
    import sweeper.analysis.indicators as room

    rng = np.random.default_rng(0)
    points_NM = rng.random((10_000, 2))
    asked = []
    volume_of = room.moocore.hypervolume
    monkeypatch.setattr(
        room.moocore, "hypervolume", lambda boxes, **how: asked.append(len(boxes)) or volume_of(boxes, **how)
    )
    hypervolume_history(points_NM, [MIN, MIN], [1.0, 1.0])
    # About ln(10,000)² / 2 = 42 of so many random points ever enter a front of two objectives.
    assert len(asked) < 200
    assert max(asked) < 20


def test_history_of_a_staircase_adds_its_steps():
    stairs = [[2.0, 0.0], [1.0, 1.0], [0.0, 2.0], [2.0, 2.0], [0.0, 0.0]]
    assert hypervolume_history(stairs, [MIN, MIN], [3.0, 3.0]).tolist() == [3.0, 5.0, 6.0, 6.0, 9.0]
    gains = [[-x, y] for x, y in stairs]
    assert hypervolume_history(gains, [MAX, MIN], [-3.0, 3.0]).tolist() == [3.0, 5.0, 6.0, 6.0, 9.0]


def test_history_falls_where_a_name_gets_worse_and_what_it_hid_shows_again():
    values = [[0.0, 0.0], [1.0, 1.0], [5.0, 5.0], [2.0, 0.0]]
    assert hypervolume_history(values, [MIN, MIN], [3.0, 3.0], names=["a", "b", "a", "a"]).tolist() == [9, 9, 4, 5]


def test_history_of_a_huge_volume_that_goes_leaves_the_small_one_exactly():
    values = [[-1e9, -1e9], [2.9, 2.9], [2.0, 2.0], [9.0, 9.0]]
    volumes = hypervolume_history(values, [MIN, MIN], [3.0, 3.0], names=["a", "b", "a", "a"])
    assert volumes.tolist() == pytest.approx([(1e9 + 3) ** 2, (1e9 + 3) ** 2, 1.0, 0.01], rel=1e-12)


# --- attainment -----------------------------------------------------------------------------------------


@st.composite
def replicates(draw):
    R = draw(st.integers(1, 5))
    fronts, goals = draw(several_sets(sets=R, least=0, objectives=(2, 3), most=4))
    return fronts, goals, draw(st.integers(1, R))


@settings(deadline=None)
@given(replicates())
def test_attainment_surface_equals_the_slow_twin(problem):
    fronts, goals, wanted = problem
    surface_KM = attainment_surface(fronts, goals, wanted / len(fronts))
    assert surface_KM.shape[1] == len(goals)
    assert surface_KM.tolist() == slow_attainment(fronts, goals, wanted)


@settings(deadline=None)
@given(replicates())
def test_every_corner_of_a_surface_is_attained_by_as_many_as_it_says(problem):
    fronts, goals, wanted = problem
    for point in attainment_surface(fronts, goals, wanted / len(fronts)):
        assert sum(coverage(front, [point], goals) for front in fronts) >= wanted


@settings(deadline=None)
@given(replicates(), st.randoms(use_true_random=False))
def test_attainment_is_unchanged_by_the_order_of_replicates_and_points_given_twice(problem, random):
    fronts, goals, wanted = problem
    share = wanted / len(fronts)
    changed = [np.vstack([front, front])[::-1] for front in random.sample(fronts, len(fronts))]
    assert attainment_surface(changed, goals, share).tolist() == attainment_surface(fronts, goals, share).tolist()


@settings(deadline=None)
@given(replicates())
def test_a_larger_share_attains_no_more(problem):
    fronts, goals, _ = problem
    surfaces = [attainment_surface(fronts, goals, share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    for better_KM, worse_KM in pairwise(surfaces):
        assert len(worse_KM) == 0 or coverage(better_KM, worse_KM, goals) == 1.0


def test_attainment_of_crossing_staircases_is_known():
    fronts = [[[1.0, 3.0], [3.0, 1.0]], [[2.0, 2.0]], [[4.0, 4.0], [9.0, 9.0]]]
    for share, corners in [(0.0, [[1, 3], [2, 2], [3, 1]]), (0.5, [[2, 3], [3, 2]]), (1.0, [[4, 4]])]:
        assert attainment_surface(fronts, [MIN, MIN], share).tolist() == corners
        gains = [[[-x, y] for x, y in front] for front in fronts]
        assert attainment_surface(gains, [MAX, MIN], share).tolist() == sorted([-x, y] for x, y in corners)


@pytest.mark.parametrize("replicates", range(1, 60))
def test_every_whole_number_of_replicates_is_meant_by_its_share(replicates):
    diagonal = [[[float(n), float(n)]] for n in range(replicates)]
    for wanted in range(1, replicates + 1):
        assert whole_replicates(wanted / replicates, replicates) == wanted
        assert attainment_surface(diagonal, [MIN, MIN], wanted / replicates).tolist() == [[wanted - 1.0] * 2]
    assert whole_replicates(0.0, replicates) == 1


def test_replicate_without_points_attains_nothing():
    fronts = [[[1.0, 1.0]], [], np.empty((0, 2))]
    assert attainment_surface(fronts, [MIN, MIN], 1 / 3).tolist() == [[1.0, 1.0]]
    assert attainment_surface(fronts, [MIN, MIN], 0.5).shape == (0, 2)
    assert attainment_surface([[], []], [MIN, MAX, MIN], 0.5).shape == (0, 3)


# --- hostile inputs -------------------------------------------------------------------------------------

TWO = [MIN, MAX]
GOOD = [[1.0, 2.0]]
CALLS = {
    "additive_epsilon": lambda bad: additive_epsilon(bad, GOOD, TWO),
    "additive_epsilon, reference": lambda bad: additive_epsilon(GOOD, bad, TWO),
    "igd_plus": lambda bad: igd_plus(bad, GOOD, TWO),
    "igd_plus, reference": lambda bad: igd_plus(GOOD, bad, TWO),
    "coverage": lambda bad: coverage(bad, GOOD, TWO),
    "coverage, second": lambda bad: coverage(GOOD, bad, TWO),
    "ideal_point": lambda bad: ideal_point(bad, TWO),
    "nadir_point": lambda bad: nadir_point(bad, TWO),
    "normalised": lambda bad: normalised(bad, TWO, [0.0, 1.0], [1.0, 0.0]),
    "attainment_surface": lambda bad: attainment_surface([GOOD, bad], TWO, 0.5),
    "hypervolume_history": lambda bad: hypervolume_history(bad, TWO, [9.0, 0.0]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_value_that_is_not_finite_is_refused_by_its_row(call, bad):
    with pytest.raises(ValueError, match=rf"row 1 holds \[3.0, {bad}\]"):
        call([[1.0, 2.0], [3.0, bad]])


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize(("shape", "bad"), [((1, 3), [[1.0, 2.0, 3.0]]), ((2,), [1.0, 2.0])])
def test_wrong_shape_is_refused_with_both(call, shape, bad):
    with pytest.raises(
        ValueError, match=rf"\(N, 2\).*have {shape}".replace("(2,)", r"\(2,\)").replace("(1, 3)", r"\(1, 3\)")
    ):
        call(bad)


@pytest.mark.parametrize("name", ["additive_epsilon", "igd_plus", "coverage, second", "ideal_point", "nadir_point"])
def test_nothing_to_measure_is_refused_in_words(name):
    with pytest.raises(ValueError, match="must hold at least one point, but got none"):
        CALLS[name]([])


def test_nothing_is_a_history_and_a_scale_of_nothing():
    assert hypervolume_history([], TWO, [9.0, 0.0]).shape == (0,)
    assert normalised([], TWO, [0.0, 1.0], [1.0, 0.0]).shape == (0, 2)


def test_corners_that_do_not_fit_are_refused_by_name():
    with pytest.raises(
        ValueError, match=r"the reference point needs one value for each of 2 objectives, but has shape \(3,\)"
    ):
        hypervolume_history(GOOD, TWO, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"the reference point must be finite, but got \[nan, 0.0\]"):
        hypervolume_history(GOOD, TWO, [math.nan, 0.0])
    with pytest.raises(ValueError, match=r"the nadir point must be finite, but got \[inf, 0.0\]"):
        normalised(GOOD, TWO, [1.0, 0.0], [math.inf, 0.0])
    with pytest.raises(ValueError, match="1 points have 2 names"):
        hypervolume_history(GOOD, TWO, [9.0, 0.0], names=["a", "b"])


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan, 50])
def test_share_that_is_none_is_refused_by_its_value(share):
    with pytest.raises(ValueError, match=f"from 0 to 1, but got {share}"):
        attainment_surface([GOOD, GOOD], TWO, share)


def test_attainment_of_what_it_is_not_defined_for_is_refused():
    with pytest.raises(ValueError, match="two or three objectives, but got 1"):
        attainment_surface([[[1.0]]], [MIN], 0.5)
    with pytest.raises(ValueError, match="two or three objectives, but got 4"):
        attainment_surface([[[1.0] * 4]], [MIN] * 4, 0.5)
    with pytest.raises(ValueError, match="at least one replicate, but got none"):
        attainment_surface([], TWO, 0.5)
