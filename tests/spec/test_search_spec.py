"""Specs that search: how ranges are written, what is refused, and how a spec may grow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.errors import SpecError
from sweeper.measurements import Bound
from sweeper.spec import (
    Distribution,
    LatticeSweep,
    Sampler,
    differences,
    load_spec,
    refused_differences,
    spec_from_json,
)
from sweeper.spec.parameters import Parameter

GOOD = """task: {data: digits}
parameters:
  classes: {values: [10, 3]}
  breadth_pressure: {distribution: log_uniform_values, min: 1e-5, max: 1e-2}
  channels: {distribution: int_uniform, min: 2, max: 8}
search: {trials: 20}
early_stopping: {min_epochs: 3}
objectives: [{name: accuracy, goal: maximize}, {name: time, goal: minimize}]
reference_point: {accuracy: 0, time: 7}
"""


def load(folder, text=GOOD):
    (folder / "found.yaml").write_text(text)
    return load_spec(folder / "found.yaml").spec


def changed(old, new):
    assert old in GOOD
    return GOOD.replace(old, new)


def test_ranges_are_searched_and_values_make_the_grid(tmp_path):
    spec = load(tmp_path)
    assert spec.axes == {"classes": (10, 3)}
    assert list(spec.searched) == ["breadth_pressure", "channels"]
    assert spec.planned == 2 * 20
    assert [cell.task.classes for cell in spec.cells()] == [10, 3]
    assert len({spec.cell_of(cell) for cell in spec.cells()}) == 2
    corners = {(c.task.classes, c.breadth_pressure, c.lattice.channels) for c in spec.corners()}
    assert corners == {(k, b, c) for k in (10, 3) for b in (1e-5, 1e-2) for c in (2, 8)}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("channels: {min: 2, max: 8}", (Distribution.INT_UNIFORM, 2, 8)),
        ("channels: {distribution: log_uniform_values, min: 2, max: 8}", (Distribution.LOG_UNIFORM, 2, 8)),
        ("time_pressure: {min: 0, max: 1}", (Distribution.UNIFORM, 0.0, 1.0)),
        ("time_pressure: {min: 1e-3, max: 1, distribution: uniform}", (Distribution.UNIFORM, 1e-3, 1.0)),
    ],
)
def test_range_without_distribution_is_uniform_over_what_its_parameter_takes(tmp_path, written, expected):
    spec = load(tmp_path, changed("channels: {distribution: int_uniform, min: 2, max: 8}", written))
    given = list(spec.searched.values())[-1]
    assert (given.distribution, given.min, given.max) == expected
    assert [type(end) for end in (given.min, given.max)] == [type(end) for end in expected[1:]]


def test_space_with_an_end_knows_its_size(tmp_path):
    text = changed(
        "breadth_pressure: {distribution: log_uniform_values, min: 1e-5, max: 1e-2}",
        "time_selection: {distribution: categorical, values: [confidence, fixed]}",
    ).replace("trials: 20", "trials: 14")
    assert load(tmp_path, text).search_size == 7 * 2
    assert load(tmp_path).search_size is None
    with pytest.raises(SpecError, match=r"at most the number of settings .* 14, but got trials=15"):
        load(tmp_path, text.replace("trials: 14", "trials: 15"))


def test_conditions_are_read_and_written(tmp_path):
    spec = load(tmp_path, changed("{trials: 20}", "{trials: 20, minimize: time, subject_to: accuracy >= 0.95}"))
    assert spec.search.subject_to == (Bound("accuracy", True, 0.95),)
    two = load(tmp_path, changed("{trials: 20}", "{trials: 20, subject_to: [accuracy>=.9, 'macs <= 5e4']}"))
    assert [str(bound) for bound in two.search.subject_to] == ["accuracy >= 0.9", "macs <= 50000"]
    for one in (spec, two):
        assert spec_from_json(one.to_json()) == one


@given(
    sampler=st.sampled_from(Sampler),
    trials=st.integers(1, 60),
    replicates=st.integers(1, 3),
    low=st.floats(1e-6, 1e-3),
    factor=st.floats(1.5, 100),
)
def test_search_written_and_read_back_is_the_same(sampler, trials, replicates, low, factor):
    spec = LatticeSweep.model_validate({
        "name": "s",
        "parameters": {"depth_pressure": {"min": low, "max": low * factor}, "layers": {"min": 1, "max": 9}},
        "search": {"trials": trials, "sampler": sampler},
        "replicates": replicates,
        "objectives": [{"name": "accuracy", "goal": "maximize"}],
        "reference_point": {"accuracy": 0},
    })
    again = spec_from_json(spec.to_json())
    assert (again, again.identity()) == (spec, spec.identity())
    assert [again.cell_of(cell) for cell in again.cells()] == [spec.cell_of(cell) for cell in spec.cells()]
    values = {"depth_pressure": low, "layers": 3}
    setting = spec.proposed(spec.cells()[0], values)
    assert spec.axes_of(setting) == values
    assert setting.key == again.proposed(again.cells()[0], values).key


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("search: {trials: 20}\n", "", ["search is required because breadth_pressure has a range", "trials: 50"]),
        ("trials: 20", "trials: 0", ["trials=0", "line 6, search.trials"]),
        ("trials: 20", "trials: 60000", ["100000 trials", "trials=60000", "line 6, search.trials"]),
        ("trials: 20", "sampler: tpe", ["trials is required", "line 6, search.trials"]),
        ("trials: 20", "trials: 20, sampler: tpa", ["sampler=tpa", "nsga3"]),
        ("trials: 20", "trials: 61, sampler: gp", ["at most 60 trials", "Use tpe"]),
        ("trials: 20", "trials: 20, minimise: time", ["'minimise'", "Did you mean 'minimize'?"]),
        ("trials: 20", "trials: 20, minimize: tim", ["minimize=tim", "Did you mean 'time'?"]),
        ("trials: 20", "trials: 20, minimize: time, scalarize: chebyshev", ["minimize and scalarize"]),
        ("trials: 20", "trials: 20, subject_to: accuracy > 0.9", ['"accuracy > 0.9"', "subject_to[0]"]),
        ("trials: 20", "trials: 20, subject_to: [accurcy >= 0.9]", ["Did you mean 'accuracy'?"]),
        ("min: 1e-5", "min: 0", ["min=0", "above 0", "line 4, parameters.breadth_pressure.min"]),
        ("min: 1e-5", "min: 1", ["min must be below", '"max": 0.01']),
        ("min: 1e-5", "min: low", ["min=low", "must be a number"]),
        ("min: 1e-5", "min: .nan", ["min must be below"]),
        ("max: 1e-2", "max: .inf", ["breadth_pressure=Infinity", "finite", "parameters.breadth_pressure.max"]),
        ("min: 2, max: 8", "max: 8", ["min and max", '"max": 8', "line 5, parameters.channels"]),
        ("min: 2, max: 8", "values: [2, 8]", ["int_uniform goes with min and max"]),
        ("min: 2, max: 8", "min: 2, max: 8.5", ["max=8.5", "whole number"]),
        ("min: 2, max: 8", "min: 0, max: 8", ["channels=0", "line 5, parameters.channels.min"]),
        ("min: 2, max: 8", "min: 2, max: 8000", ["channels=8000", "line 5, parameters.channels.max"]),
        ("int_uniform", "uniform", ["whole numbers", "Use int_uniform"]),
        ("int_uniform, min: 2, max: 8", "categorical, values: [2, 2]", ["list each value once"]),
        ("int_uniform, min: 2, max: 8", "categorical, values: []", ["must not be empty"]),
        ("int_uniform, min: 2, max: 8", "categorical, min: 2, max: 8", ["categorical goes with values"]),
        ("{values: [10, 3]}", "{min: 3, max: 10}", ["classes must not be searched", "own front"]),
        ("min_epochs", "min_epoch", ["'min_epoch'", "Did you mean 'min_epochs'?", "line 7, early_stopping.min_epoch"]),
        ("min_epochs: 3", "min_epochs: 3, factor: 1", ["factor=1", "at least 2"]),
    ],
)
def test_wrong_search_is_refused_with_rule_value_place_and_way_out(tmp_path, old, new, words):
    with pytest.raises(SpecError) as error:
        load(tmp_path, changed(old, new))
    assert all(word in str(error.value) for word in [*words, "found.yaml, line "]), str(error.value)


def test_search_of_nothing_is_refused(tmp_path):
    text = "\n".join(line for line in GOOD.splitlines() if "min: 1e-5" not in line and "int_uniform" not in line)
    with pytest.raises(SpecError, match="search must have a parameter with a range"):
        load(tmp_path, text)


# --- growth -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "grows"),
    [
        ("[10, 3]", "[10, 5, 3]", True),
        ("[10, 3]", "[3, 10]", True),
        ("[10, 3]", "[10, 5]", False),
        ("trials: 20", "trials: 21", True),
        ("trials: 20", "trials: 19", False),
        ("max: 8", "max: 9", True),
        ("max: 8", "max: 7", False),
        ("min: 2", "min: 1", True),
        ("min: 2", "min: 3", False),
        ("early_stopping: {min_epochs: 3}", "early_stopping: {min_epochs: 4}", False),
        ("early_stopping: {min_epochs: 3}\n", "", False),
        ("time: 7}", "time: 7}\nreplicates: 2", True),
        ("time: 7}", "time: 7}\nseed: 1", False),
        ("time: 7}", "time: 8}", False),
        ("time: 7}", "time: 7}\nfronts: []", True),
        ("time: 7}", "time: 7}\nplacement: {retries: {lost: 9}, time_limit_s: 60}", True),
        ("time: 7}", "time: 7}\ndescription: other words", True),
    ],
)
def test_spec_may_grow_and_nothing_else(tmp_path, old, new, grows):
    planned, given = load(tmp_path), load(tmp_path, changed(old, new))
    refused = refused_differences(planned, given)
    assert (not refused) is grows
    assert set(refused) <= set(differences(planned, given))
    assert refused_differences(given, given) == []


@given(st.lists(st.integers(2, 10), unique=True, min_size=1), st.lists(st.integers(2, 10), unique=True, min_size=1))
def test_growth_of_values_is_that_of_sets(old, new):
    specs = [
        LatticeSweep.model_validate({
            "name": "s",
            "parameters": {"classes": {"values": values}},
            "objectives": [{"name": "accuracy", "goal": "maximize"}],
            "reference_point": {"accuracy": 0},
        })
        for values in (old, new)
    ]
    assert (refused_differences(*specs) == []) is (set(old) <= set(new))


@pytest.mark.parametrize(
    ("old", "new", "grows"),
    [
        ([], [["accuracy", "time"]], True),
        ([["accuracy", "time"]], [["accuracy", "depth"], ["accuracy", "time"]], True),
        ([["accuracy", "time"]], [["time", "accuracy"]], False),
        ([["accuracy", "time"]], [], False),
    ],
)
def test_more_fronts_are_growth_and_fewer_are_not(old, new, grows):
    names = ("accuracy", "depth", "time")
    specs = [
        LatticeSweep.model_validate({
            "name": "s",
            "objectives": [{"name": name, "goal": "minimize"} for name in names],
            "reference_point": dict.fromkeys(names, 1),
            "fronts": fronts,
        })
        for fronts in (old, new)
    ]
    assert (not refused_differences(*specs)) is grows


NUMBERS = st.floats(1e-6, 1e3)
SEARCHED = st.one_of(
    st.builds(
        lambda ends: Parameter(distribution="uniform", min=min(ends), max=max(ends)), st.tuples(NUMBERS, NUMBERS)
    ),
    st.builds(
        lambda ends: Parameter(distribution="log_uniform_values", min=min(ends), max=max(ends)),
        st.tuples(NUMBERS, NUMBERS),
    ),
    st.builds(
        lambda low, more: Parameter(distribution="int_uniform", min=low, max=low + more),
        st.integers(1, 9),
        st.integers(0, 9),
    ),
    st.builds(lambda values: Parameter(values=tuple(values)), st.lists(st.integers(), min_size=1)),
)


@given(SEARCHED, st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_value_at_a_share_is_one_that_is_searched_and_rises_with_it(parameter, one, other):
    low, high = (parameter.at(share) for share in sorted((one, other)))
    assert parameter.holds(low)
    assert parameter.holds(high)
    if parameter.values is None:
        assert low <= high


def test_logarithmic_range_is_halved_at_its_geometric_middle():
    assert Parameter(distribution="log_uniform_values", min=1e-4, max=1.0).at(0.5) == pytest.approx(1e-2)
