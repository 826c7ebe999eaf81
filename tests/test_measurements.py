"""A new measurement is one entry: sweeps stored without it give null, and sweeps of a later version can be read."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pyarrow as pa
import pytest

from sweeper.analysis.formats import encode
from sweeper.analysis.fronts import Front, compute_front
from sweeper.analysis.points import points_table
from sweeper.analysis.sheet import fields, number
from sweeper.analysis.trials import from_parquet_bytes, joined, records_of, to_parquet_bytes, trials_table
from sweeper.checks.audit import audit
from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.measurements import MEASUREMENTS, WALLS, Goal, Measurement, Objective, Wall
from sweeper.model.counting import measure
from sweeper.results import query, questions
from sweeper.results.loaded_sweep import load
from sweeper.results.plots.catalogue import pictures_of
from sweeper.results.report.page import report
from sweeper.spec import load_spec
from sweeper.training.network_file import describe
from sweeper.training.train import train_population
from tests.analysis.test_fronts import OBJECTIVES, REFERENCE, a_trial

ENERGY = Measurement("energy", "J", "joules an image takes", digits=4)
LIMITED = Wall("limited_energy", "whether the battery bounded the network")


@pytest.fixture
def one_more(monkeypatch):
    """A function that adds one measurement and one wall, each as one entry."""

    def add():
        monkeypatch.setitem(MEASUREMENTS, "energy", ENERGY)
        monkeypatch.setitem(WALLS, "limited_energy", LIMITED)

    return add


def some_trials():
    walls = dict.fromkeys(WALLS, 0.0)
    trials = [a_trial(number, setting=f"s{number}", accuracy=0.5 + number / 10, time=1.0 + number) for number in (0, 1)]
    return [replace(one, measurement={**one.measurement, **walls}) for one in trials]


def a_front(trials, objectives=OBJECTIVES, reference_point=REFERENCE):
    return compute_front(
        trials, sweep="small", task="digits-10", objectives=objectives, reference_point=reference_point
    )


# --- tables -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [*MEASUREMENTS, *WALLS])
def test_stored_tables_without_a_measurement_have_it_as_null_where_it_belongs(lost):
    trials, front = trials_table(some_trials()), a_front(some_trials())
    stored = from_parquet_bytes(to_parquet_bytes(trials.drop_columns([lost])))
    assert (stored.column_names, stored.schema.field(lost)) == (trials.column_names, trials.schema.field(lost))
    assert stored[lost].null_count == trials.num_rows
    assert all(lost not in record.measurement for record in records_of(stored, "small"))
    read = Front.from_parquet_bytes(replace(front, table=front.table.drop_columns([lost])).to_parquet_bytes())
    assert read.table.schema == front.table.schema
    assert read.table[lost].null_count == front.table.num_rows


def test_front_stored_without_a_measurement_says_the_same_as_the_one_computed_now(one_more):
    trials = some_trials()
    stored = a_front(trials).to_parquet_bytes()
    one_more()
    assert Front.from_parquet_bytes(stored).same_content(a_front(trials))
    measured = [replace(one, measurement={**one.measurement, "energy": 2.0}) for one in trials]
    assert not Front.from_parquet_bytes(stored).same_content(a_front(measured))


def test_front_of_a_version_that_took_walls_it_had_not_measured_for_untouched_says_the_same():
    trials = [replace(one, measurement={"accuracy": 0.5, "time": 1.0}) for one in some_trials()]
    front = a_front(trials)
    table = front.table
    for wall in WALLS:
        table = table.set_column(table.column_names.index(wall), wall, pa.array([False] * table.num_rows))
    assert front.same_content(replace(front, table=table))
    assert replace(front, table=table).same_content(front)


def test_what_a_later_version_measured_is_kept_and_changes_nothing(one_more, monkeypatch):
    later = [
        replace(one, measurement={**one.measurement, "energy": 2.0, "limited_energy": 1.0}) for one in some_trials()
    ]
    with monkeypatch.context() as only_then:
        only_then.setitem(MEASUREMENTS, "energy", ENERGY)
        only_then.setitem(WALLS, "limited_energy", LIMITED)
        front, trials = a_front(later).to_parquet_bytes(), to_parquet_bytes(trials_table(later))
    read = Front.from_parquet_bytes(front)
    assert read.same_content(a_front(later))
    assert read.table["energy"].to_pylist() == [2.0, 2.0]
    table = joined([from_parquet_bytes(trials), trials_table([a_trial(9)])])
    assert table["energy"].to_pylist() == [2.0, 2.0, None]
    assert [record.measurement.get("energy") for record in records_of(table, "small")] == [2.0, 2.0, None]
    for format in ("json", "csv", "parquet"):
        assert b"energy" in encode(table, format)
    (field,) = fields(table.to_pylist(), ["energy"])
    assert (field.title, field.unit, field.cells, field.is_number) == ("energy", "", ("2", "2", "-"), True)


def test_front_over_an_objective_of_a_later_version_is_still_read_and_computed():
    objectives = (Objective("accuracy", Goal.MAXIMIZE), Objective("energy", Goal.MINIMIZE))
    later = [
        replace(one, measurement={**one.measurement, "energy": 3.0 - place}) for place, one in enumerate(some_trials())
    ]
    front = a_front(later, objectives, {"accuracy": 0, "energy": 9})
    assert front.table["energy"].to_pylist() == [2.0]
    assert Front.from_parquet_bytes(front.to_parquet_bytes()).same_content(front)


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_measurement_is_rounded_to_its_own_digits(name):
    digits = MEASUREMENTS[name].digits
    assert number(name, 1.0, 0.5) == f"1{'.' * (digits > 0)}{'0' * digits} ±{0.5:.{digits}f}"


def test_what_a_new_measurement_says_of_itself_is_taken_from_its_entry(one_more):
    one_more()
    (field,) = fields([{"energy": 0.25, "energy_sd": 0.125, "limited_energy": True}], ["energy"])
    assert (field.unit, field.cells) == ("J", ("0.2500 ±0.1250",))
    (wall,) = fields([{"limited_energy": True}], ["wall"])
    assert wall.cells == ("e",)
    table = points_table([a_trial(measurement={"energy": 1.5, "limited_energy": 1.0})], [])
    assert (table["energy"].to_pylist(), table["limited_energy"].to_pylist()) == ([1.5], [True])


# --- sweeps -----------------------------------------------------------------------------------------


def read_everywhere(home):
    """Read a stored sweep in every way, and return it."""
    uri = Home(home).tracking_uri
    sweep = load("smoke", uri)
    fronts = [front for front in query.pareto(uri, "smoke") if front.table.num_rows]
    assert fronts
    query.exported(fronts)
    for front in fronts:
        query.front_sheet(front)
        questions.spreads(sweep, front)
    assert query.trial_sheets(sweep, sweep.trials())
    assert set(sweep.points().column_names) <= set(sweep.front().column_names)
    pictures = [picture for task in sweep.tasks for picture in pictures_of(sweep, task)]
    assert pictures
    assert "All trials" in report(sweep)
    return sweep


@pytest.mark.slow
def test_sweep_stored_without_a_measurement_is_read_audited_mirrored_and_resumed(
    tmp_path, empty_database, one_more, monkeypatch
):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    ended = []

    def work(job, report):
        ended.extend(train_population(job, report))
        return ended[-len(job.wanted_keys) :]

    sweep = Sweep("smoke", tmp_path)
    sweep.run(load_spec("smoke"), executor=InlineExecutor(), work=work, should_stop=lambda: bool(ended))
    folder, uri = Home(tmp_path).sweep("smoke"), Home(tmp_path).tracking_uri

    one_more()
    versions = [front.version for front in query.pareto(uri, "smoke")]
    loaded = read_everywhere(tmp_path)
    for table in (loaded.trials(), loaded.points(), loaded.front()):
        assert table["energy"].null_count == table["limited_energy"].null_count == table.num_rows > 0
    assert query.as_table(query.pareto(uri, "smoke", where=["energy > 0"])).num_rows == 0
    (front, *_) = (front for front in query.pareto(uri, "smoke") if front.table.num_rows)
    assert not questions.best(loaded, front, questions.Best("accuracy >= 0", "energy", Goal.MINIMIZE)).is_found
    assert [promise.said for promise in audit(folder, uri) if promise.holds is not True] == []
    sweep.mirror()
    assert [front.version for front in query.pareto(uri, "smoke")] == versions, "nothing has changed"
    assert all("energy" not in describe(path).measurement for path in (folder.path / "networks").iterdir())

    monkeypatch.setattr("sweeper.model.population.measure", lambda *given: {**measure(*given), "energy": 2.0})
    assert sweep.resume(executor=InlineExecutor()).is_finished
    energies = read_everywhere(tmp_path).trials()["energy"].to_pylist()
    assert set(energies) == {None, 2.0}
    assert [promise.said for promise in audit(folder, uri) if promise.holds is not True] == []

    monkeypatch.delitem(MEASUREMENTS, "energy")
    monkeypatch.delitem(WALLS, "limited_energy")
    known = read_everywhere(tmp_path)
    assert known.trials()["energy"].to_pylist() == energies
    assert [promise.said for promise in audit(folder, uri) if promise.holds is not True] == []
