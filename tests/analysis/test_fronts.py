"""Points, stored fronts and conditions."""

import io
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.analysis.conditions import where
from sweeper.analysis.formats import encode
from sweeper.analysis.fronts import Front, compute_front
from sweeper.analysis.points import axis_column, points_table
from sweeper.errors import QueryError
from sweeper.measurements import MEASUREMENTS, WALLS, Goal, Objective
from sweeper.trial import Outcome, State, TrialRecord

ACCURACY = Objective("accuracy", Goal.MAXIMIZE)
TIME = Objective("time", Goal.MINIMIZE)
OBJECTIVES = (ACCURACY, TIME)
REFERENCE = {"accuracy": 0.0, "time": 10.0}


def a_trial(number=0, *, accuracy=0.5, time=2.0, seed=0, setting=None, task="digits-10", **changes):
    """Return a complete trial; `setting` groups replicates, by default each trial is its own."""
    setting = f"s{number}" if setting is None else setting
    facts = {
        "key": f"k-{task}-{setting}-{seed}",
        "sweep": "small",
        "task": task,
        "number": number,
        "state": State.COMPLETE,
        "setting": {"time_pressure": 0.1 * number, "seed": seed},
        "axes": {"time_pressure": 0.1 * number},
        "setting_key": setting,
        "seed": seed,
        "population": "p0",
        "outcome": Outcome.COMPLETE,
        "measurement": dict.fromkeys(MEASUREMENTS, 1.0) | {"accuracy": accuracy, "time": time},
        "details": {"channels_per_layer": [4, 2]},
    }
    return TrialRecord(**(facts | changes))


def a_front(*trials, version=0):
    return compute_front(
        trials,
        sweep="small",
        task="digits-10",
        objectives=OBJECTIVES,
        reference_point=REFERENCE,
        version=version,
    )


@pytest.mark.parametrize("objectives", [(ACCURACY, TIME), (TIME, ACCURACY)])
@given(values=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 9)), max_size=6), rows=st.integers(1, 7))
def test_best_rows_are_better_in_the_first_objective_than_those_left_out(objectives, values, rows):
    trials = [a_trial(i, accuracy=accuracy, time=time) for i, (accuracy, time) in enumerate(values)]
    front = compute_front(trials, sweep="small", task="digits-10", objectives=objectives, reference_point=REFERENCE)
    first, better = objectives[0].name, {Goal.MAXIMIZE: max, Goal.MINIMIZE: min}[objectives[0].goal]
    every, kept = (part.table["key"].to_pylist() for part in (front, front.best(rows)))
    assert len(kept) == min(rows, len(every))
    assert kept == [key for key in every if key in kept]
    value = dict(zip(every, front.table[first].to_pylist(), strict=True))
    for key in kept:
        assert all(better(value[key], value[other]) == value[key] for other in set(every) - set(kept))


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=6))
def test_example_of_a_condition_is_met_by_the_front(values):
    front = a_front(*(a_trial(n, accuracy=a, time=t) for n, (a, t) in enumerate(values)))
    assert where(front.table, [front.example_condition()]).num_rows >= 1


def test_example_of_a_condition_is_short():
    front = a_front(a_trial(accuracy=0.91782, time=2.0449))
    assert front.example_condition() == "accuracy >= 0.917 and time <= 2.05"
    assert a_front().example_condition() == ""


# --- points -----------------------------------------------------------------------------------------


def test_replicates_of_one_setting_are_one_point_with_its_spread():
    trials = [
        a_trial(3, setting="s", seed=7, accuracy=0.9, time=4.0),
        a_trial(1, setting="s", seed=2, accuracy=0.7, time=2.0, details={"channels_per_layer": [8]}),
    ]
    table = points_table(trials, OBJECTIVES)
    (row,) = table.to_pylist()
    assert row["key"] == "k-digits-10-s-2", "the lowest seed names the point"
    assert row["keys"] == ["k-digits-10-s-2", "k-digits-10-s-7"]
    assert row["replicates"] == 2
    assert row["accuracy"] == pytest.approx(0.8)
    assert row["accuracy_sd"] == pytest.approx(math.sqrt(0.02))
    assert row["time"] == pytest.approx(3.0)
    assert row["channels_per_layer"] == [8]


def test_one_replicate_has_no_standard_deviation():
    (row,) = points_table([a_trial()], OBJECTIVES).to_pylist()
    assert row["accuracy_sd"] is None
    assert row["replicates"] == 1


def test_points_hold_every_measurement_and_wall_with_its_type():
    measured = {"accuracy": 0.5, "time": 2.0, "loss": math.nan, "limited_depth": 1.0, "limited_time": 0.0}
    table = points_table([a_trial(measurement=measured)], OBJECTIVES)
    assert set(MEASUREMENTS) | set(WALLS) <= set(table.column_names)
    (row,) = table.to_pylist()
    assert row["loss"] is None, "a value that is not finite is no value"
    assert row["depth"] is None
    assert (row["limited_depth"], row["limited_time"], row["limited_memory"]) == (True, False, None)
    assert table.schema.field("loss").type == pa.float64()
    assert table.schema.field("keys").type == pa.list_(pa.string())
    assert table.schema.field("channels_per_layer").type == pa.list_(pa.int64())


def test_wall_touched_by_one_replicate_marks_the_point():
    base = {"accuracy": 0.5, "time": 2.0}
    trials = [a_trial(setting="s", seed=s, measurement=base | {"limited_time": float(s)}) for s in (0, 1)]
    assert points_table(trials, OBJECTIVES)["limited_time"].to_pylist() == [True]


def test_mean_over_some_of_the_replicates_is_null():
    trials = [
        a_trial(setting="s", seed=0, measurement={"accuracy": 0.5, "time": 2.0, "macs": 5.0}),
        a_trial(setting="s", seed=1, measurement={"accuracy": 0.5, "time": 2.0}),
    ]
    assert points_table(trials, OBJECTIVES)["macs"].to_pylist() == [None]


def test_points_are_sorted_by_task_then_number_whatever_the_input_order():
    trials = [a_trial(2), a_trial(10), a_trial(1, task="a"), a_trial(0)]
    table = points_table(trials, OBJECTIVES)
    assert table["key"].to_pylist() == [
        "k-a-s1-0",
        "k-digits-10-s0-0",
        "k-digits-10-s2-0",
        "k-digits-10-s10-0",
    ]
    assert points_table(trials[::-1], OBJECTIVES).equals(table)


def test_trials_that_are_not_complete_are_no_points():
    failed = a_trial(1, state=State.FAILED, outcome=Outcome.NOT_FINITE)
    assert points_table([failed, a_trial(2, state=State.RUNNING)], OBJECTIVES).num_rows == 0


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ((1, 2), pa.int64()),
        ((1, 0.5), pa.float64()),
        ((True, False), pa.bool_()),
        (("relu", "tanh"), pa.string()),
        ((3, "adaptive"), pa.string()),
    ],
)
def test_axis_column_has_the_type_of_its_values(values, kind):
    trials = [a_trial(n, axes={"an.axis": value}) for n, value in enumerate(values)]
    assert points_table(trials, OBJECTIVES).schema.field("an.axis").type == kind


def test_axis_named_like_a_measurement_keeps_out_of_its_way():
    (row,) = points_table([a_trial(axes={"depth": 3})], OBJECTIVES).to_pylist()
    assert (row["depth"], row["setting.depth"]) == (1.0, 3)
    assert axis_column("time_pressure") == "time_pressure"


# --- fronts -----------------------------------------------------------------------------------------


def test_front_keeps_the_points_nothing_dominates_from_small_and_wrong_to_large_and_right():
    front = a_front(
        a_trial(0, accuracy=0.9, time=5.0),
        a_trial(1, accuracy=0.5, time=1.0),
        a_trial(2, accuracy=0.4, time=2.0),
        a_trial(3, accuracy=0.99, time=1.0, task="other"),
        a_trial(4, accuracy=0.99, time=1.0, sweep="other"),
    )
    assert front.table["accuracy"].to_pylist() == [0.5, 0.9]
    assert front.hypervolume == pytest.approx(0.5 * 9.0 + 0.4 * 5.0)


def test_front_is_the_same_whatever_the_order_of_trials():
    trials = [a_trial(n, accuracy=0.1 * n, time=float(n // 2)) for n in range(9)]
    assert a_front(*trials).same_content(a_front(*trials[::-1]))


def test_front_of_no_complete_trial_is_empty():
    front = a_front(a_trial(state=State.FAILED, outcome=Outcome.LOST))
    assert (front.table.num_rows, front.hypervolume) == (0, 0.0)
    assert Front.from_parquet_bytes(front.to_parquet_bytes()).same_content(front)


def test_front_of_means_is_not_the_front_of_single_trials():
    lucky = [a_trial(0, setting="s", seed=0, accuracy=0.9), a_trial(1, setting="s", seed=1, accuracy=0.1)]
    front = a_front(*lucky, a_trial(2, accuracy=0.6))
    assert front.table["key"].to_pylist() == ["k-digits-10-s2-0"]


def test_front_without_a_reference_value_is_refused_by_name():
    with pytest.raises(ValueError, match=r"no value for time .it has: accuracy"):
        compute_front([], sweep="s", task="t", objectives=OBJECTIVES, reference_point={"accuracy": 0})


trial_lists = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0, 20), st.integers(0, 3)), max_size=8, unique_by=lambda t: t[2]
)


@settings(deadline=None, max_examples=30)
@given(trial_lists, st.integers(0, 9999))
def test_front_survives_being_stored_and_read(values, version):
    trials = [a_trial(n, accuracy=a, time=t) for n, (a, t, _) in enumerate(values)]
    front = a_front(*trials, version=version)
    again = Front.from_parquet_bytes(front.to_parquet_bytes())
    assert again.same_content(front)
    assert (again.version, again.hypervolume) == (version, front.hypervolume)
    assert again.table.schema.equals(front.table.schema)


def test_same_content_ignores_the_version_and_sees_every_other_change():
    front = a_front(a_trial(0), a_trial(1, accuracy=0.9, time=5.0))
    assert front.same_content(a_front(a_trial(0), a_trial(1, accuracy=0.9, time=5.0), version=9))
    assert not front.same_content(a_front(a_trial(0), a_trial(1, accuracy=0.91, time=5.0)))
    assert not front.same_content(a_front(a_trial(0)))


def stored_with_facts(**facts):
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({"sweeper": json.dumps(facts)}), sink)
    return sink.getvalue()


def test_damaged_front_is_refused():
    data = a_front(a_trial()).to_parquet_bytes()
    for damaged in (
        b"",
        b"not parquet",
        data[: len(data) // 2],
        data[:-1],
        encode(pa.table({"a": [1]}), "parquet"),
    ):
        with pytest.raises(QueryError, match=rf"^{len(damaged)} bytes are no front.*sweeper mirror"):
            Front.from_parquet_bytes(damaged)
    with pytest.raises(QueryError, match=r"incomplete.*sweep"):
        Front.from_parquet_bytes(stored_with_facts(format=1))


def test_front_of_a_newer_format_is_refused_with_the_way_out():
    with pytest.raises(QueryError, match=r"format 99.*up to 1.*Update sweeper"):
        Front.from_parquet_bytes(stored_with_facts(format=99))


# --- conditions -------------------------------------------------------------------------------------

ROWS = pa.table({
    "accuracy": [0.5, 0.9, 0.95, None],
    "depth": [1, 2, 3, 4],
    "task": ["a-1", "a-1", "10", "c"],
    "lattice.steps": [1.0, 2.0, 3.0, 4.0],
    "limited_depth": [True, False, False, True],
    "keys": [["x"], ["y"], [], ["z"]],
})


@pytest.mark.parametrize(
    ("conditions", "depths"),
    [
        ([], [1, 2, 3, 4]),
        (["accuracy >= 0.9"], [2, 3]),
        (["accuracy>=.9"], [2, 3]),
        (["  accuracy>9e-1 "], [3]),
        (["accuracy != 0.9"], [1, 3]),
        (["depth < 2.5"], [1, 2]),
        (["depth = 2"], [2]),
        (["depth == +2.0"], [2]),
        (["depth > -1", "depth <= 3", "accuracy < 0.95"], [1, 2]),
        (["task = a-1"], [1, 2]),
        (["task != a-1"], [3, 4]),
        (['task = "10"'], [3]),
        (["task='c'"], [4]),
        (["limited_depth = false"], [2, 3]),
        (["limited_depth != 0"], [1, 4]),
        (["lattice.steps >= 3"], [3, 4]),
        (["depth > 99"], []),
    ],
)
def test_where_keeps_the_rows_that_meet_all_conditions(conditions, depths):
    assert where(ROWS, conditions)["depth"].to_pylist() == depths


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("acuracy > 1", "no column 'acuracy'.*mean 'accuracy'"),
        ("zzz > 1", "no column 'zzz'.*Known: accuracy, depth, task"),
        ("accuracy", "cannot read the condition 'accuracy'.*accuracy >= 0.95"),
        ("accuracy >", "cannot read the condition 'accuracy >'"),
        ("accuracy => 0.9", "cannot read the condition 'accuracy => 0.9'"),
        ("", "cannot read the condition ''"),
        (
            "accuracy >= 0.9 and",
            "cannot read the condition 'accuracy >= 0.9 and': expected the name of a column at its end",
        ),
        ("accuracy > high", "compares a number with 'high'"),
        ("accuracy > nan", "compares a number with 'nan'"),
        ("task = 10", 'the number 10. Put it in quotes, as in = "10"'),
        ("task > a", "no order"),
        ("limited_depth = maybe", "compares yes or no with 'maybe'"),
        ("limited_depth > 0", "no order"),
        ("keys = x", "asks about a list"),
    ],
)
def test_where_refuses_what_it_cannot_mean(condition, message):
    with pytest.raises(QueryError, match=message):
        where(ROWS, [condition])
