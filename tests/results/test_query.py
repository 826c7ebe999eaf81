"""Queries of MLflow: fronts filtered by conditions, and all fronts in one table."""

import shutil
from dataclasses import replace

import pytest

from sweeper.errors import QueryError, UnknownSweepError
from sweeper.results.query import as_table, pareto
from sweeper.tracking.mlflow.recorder import MlflowRecorder
from tests.analysis.test_fronts import a_front
from tests.contracts.recorder import FACTS, a_late_trial


def two_points(**axes):
    first, second = axes.pop("values", (1, 2))
    return a_front(
        a_late_trial(0, accuracy=0.5, time=1.0, axes={"time_pressure": first}),
        a_late_trial(1, accuracy=0.9, time=5.0, axes={"time_pressure": second}),
    )


@pytest.fixture(scope="module")
def uri(tmp_path_factory, empty_database):
    """A database with one sweep of three tasks, one of them without a complete trial."""
    file = shutil.copy(empty_database, tmp_path_factory.mktemp("query") / "mlflow.db")
    uri = f"sqlite:///{file}"
    recorder = MlflowRecorder(uri)
    recorder.open(FACTS)
    recorder.record_front(two_points())
    recorder.record_front(replace(two_points(values=(0.5, 3)), task="fashion-10"))
    recorder.record_front(replace(a_front(), task="nothing-yet"))
    return uri


def test_pareto_without_conditions_is_every_stored_front_by_task(uri):
    fronts = pareto(uri, "small")
    assert [(front.task, front.table.num_rows) for front in fronts] == [
        ("digits-10", 2),
        ("fashion-10", 2),
        ("nothing-yet", 0),
    ]
    assert fronts[0].same_content(two_points())


def test_pareto_keeps_the_points_that_meet_all_conditions_and_the_whole_fronts_volume(uri):
    (front,) = pareto(uri, "small", task="digits-10", where=["accuracy >= 0.6", "time < 9"])
    assert front.table["accuracy"].to_pylist() == [0.9]
    assert front.hypervolume == pytest.approx(two_points().hypervolume)


def test_pareto_with_a_condition_on_an_axis_tolerates_a_front_without_points(uri):
    fronts = pareto(uri, "small", where=["time_pressure < 1"])
    assert [front.table.num_rows for front in fronts] == [0, 1, 0]


def test_pareto_of_unknown_things_is_refused_by_name(uri):
    with pytest.raises(UnknownSweepError, match=r"'smal'.*known: small"):
        pareto(uri, "smal")
    with pytest.raises(UnknownSweepError, match=r"'digits-1'.*digits-10"):
        pareto(uri, "small", task="digits-1")
    with pytest.raises(QueryError, match=r"'acuracy'.*mean 'accuracy'"):
        pareto(uri, "small", where=["acuracy > 0"])


def test_as_table_joins_fronts_and_unites_their_types(uri):
    table = as_table(pareto(uri, "small"))
    assert table.num_rows == 4
    assert table["time_pressure"].to_pylist() == [1.0, 2.0, 0.5, 3.0]


def test_as_table_turns_numbers_to_words_where_another_front_holds_words():
    table = as_table([two_points(), replace(two_points(values=(3, "adaptive")), task="other")])
    assert table["time_pressure"].to_pylist() == ["1", "2", "3", "adaptive"]


def test_as_table_of_no_front_is_empty():
    assert as_table([]).num_rows == 0


def test_as_table_fills_columns_that_one_front_lacks_with_null():
    other = a_front(a_late_trial(0, axes={"breadth_pressure": 0.5}))
    table = as_table([two_points(), other])
    assert table["time_pressure"].to_pylist() == [1, 2, None]
    assert table["breadth_pressure"].to_pylist() == [None, None, 0.5]
