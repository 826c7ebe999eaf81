"""A stored sweep in Python, from a real MLflow: its answers, and its messages when it has no answer."""

import inspect
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

import sweeper
from sweeper.analysis.fronts import compute_front
from sweeper.driver.sweep import Sweep
from sweeper.errors import HomeError, QueryError, TrackingError, UnknownSweepError
from sweeper.ledger.home import NOT_KEPT, Home
from sweeper.measurements import Goal, Objective
from sweeper.results.loaded_sweep import LoadedSweep, load
from sweeper.results.plots.catalogue import picture_of
from sweeper.results.report.page import report
from sweeper.tracking.mlflow.client import connect
from sweeper.tracking.mlflow.reader import MlflowReader
from tests.analysis.test_fronts import OBJECTIVES, REFERENCE
from tests.contracts.recorder import a_failed_trial, a_late_trial
from tests.support.stored import store
from tests.tracking.test_mlflow import parent_of

MACS = Objective("macs", Goal.MINIMIZE)
THREE = (*OBJECTIVES, MACS)
CORNER = {**REFERENCE, "macs": 100.0}


def replicated(task="digits-10", settings=6, seeds=3):
    """Return trials that end seed after seed, so that the means of settings change while other trials end."""
    trials = []
    for seed in range(seeds):
        for n in range(settings):
            measured = {
                "accuracy": 0.5 + 0.07 * n - 0.02 * seed,
                "time": 1.0 + n + 0.5 * seed * (n % 2),
                "macs": 7.0 * n,
            }
            trials.append(a_late_trial(len(trials), setting=f"s{n}", seed=seed, task=task, measurement=measured))
    return trials


TRIALS = [*replicated(), *replicated("digits-3", 1, 1), a_failed_trial(99, task="broken", started_ms=1, ended_ms=2)]


@pytest.fixture(scope="module")
def uri(empty_database, tmp_path_factory):
    """A database with a sweep of three tasks, one of them without a complete trial, another sweep, and empty ones."""
    folder = tmp_path_factory.mktemp("loaded")
    shutil.copy(empty_database, folder / "mlflow.db")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    store(uri, "small", TRIALS, THREE, CORNER, chosen=[["accuracy", "time"]])
    store(uri, "other", replicated(settings=3, seeds=1), THREE, CORNER)
    store(uri, "smaller corner", replicated(settings=3, seeds=1), THREE, {**CORNER, "macs": 50.0})
    store(uri, "two objectives", replicated(settings=3, seeds=1), OBJECTIVES, REFERENCE)
    store(uri, "empty", [], THREE, CORNER)
    store(uri, "all failed", [a_failed_trial(0, started_ms=1, ended_ms=2)], THREE, CORNER)
    store(uri, "one trial", [a_late_trial(0)], THREE, CORNER)
    equal = [a_late_trial(n, setting=f"s{n % 3}", seed=n // 3) for n in range(6)]
    store(uri, "all equal", equal, THREE, CORNER)
    return uri


@pytest.fixture
def sweep(uri):
    return load("small", uri)


def a_front_of(trials, objectives=THREE, task="digits-10"):
    return compute_front(trials, sweep="small", task=task, objectives=objectives, reference_point=CORNER)


# --- fronts ---------------------------------------------------------------------------------------------


def test_front_is_one_table_of_all_tasks_or_of_one(sweep):
    table = sweep.front()
    assert set(table["task"].to_pylist()) == {"digits-10", "digits-3"}
    assert table["key"].to_pylist() == [key for front in sweep.fronts() for key in front.table["key"].to_pylist()]
    assert sweep.front("digits-10").equals(a_front_of(TRIALS).table)
    assert sweep.front("broken").num_rows == 0


def test_front_over_chosen_objectives_is_read_where_it_is_stored_and_else_computed(sweep):
    (stored,) = sweep.fronts("digits-10", ["accuracy", "time"])
    (computed,) = sweep.fronts("digits-10", ["accuracy", "macs"])
    assert (stored.version, computed.version) == (1, 0)
    for names, front in ((OBJECTIVES, stored), ([OBJECTIVES[0], MACS], computed)):
        assert front.table.equals(a_front_of(TRIALS, names).table)
    chosen = sweep.front(objectives=["accuracy", "macs"])
    assert set(chosen["task"].to_pylist()) == {"digits-10", "digits-3"}


def test_front_reduced_by_conditions(sweep):
    assert min(sweep.front(where=["accuracy >= 0.6"])["accuracy"].to_pylist()) >= 0.6
    assert sweep.front(where=["accuracy > 2", "time < 3"]).num_rows == 0
    with pytest.raises(QueryError, match=r"'acuracy'.*mean 'accuracy'"):
        sweep.front(where=["acuracy > 0"])


def test_stored_front_is_read_without_the_table_of_trials(sweep, monkeypatch):
    monkeypatch.setattr(MlflowReader, "trials", None)
    assert sweep.front("digits-10").num_rows
    assert sweep.front().num_rows


# --- over time and over replicates ------------------------------------------------------------------------


@pytest.mark.parametrize("names", [[], ["accuracy", "time"], ["macs", "accuracy"]])
def test_history_ends_with_the_hypervolume_of_the_front(sweep, names):
    table = sweep.hypervolume_history("digits-10", objectives=names)
    assert table.num_rows == 18
    (front,) = sweep.fronts("digits-10", names)
    assert table["hypervolume"].to_pylist()[-1] == pytest.approx(front.hypervolume)
    assert table["elapsed_s"].to_pylist()[0] == 1000.0


def test_history_of_a_task_without_a_complete_trial_is_nought(sweep):
    assert sweep.hypervolume_history("broken")["hypervolume"].to_pylist() == [0.0]


def test_attainment_over_seeds_brackets_the_replicates(sweep):
    table = sweep.attainment("digits-10", ["accuracy", "time"])
    assert table.column_names == ["surface", "share", "attained_by", "replicates", "accuracy", "time"]
    assert list(dict.fromkeys(table["surface"].to_pylist())) == ["best", "median", "worst"]
    assert set(sweep.attainment("digits-10")["replicates"].to_pylist()) == {3}
    assert set(sweep.attainment("digits-10", shares={"all": 1})["attained_by"].to_pylist()) == {3}


def test_attainment_of_one_seed_is_refused(sweep):
    with pytest.raises(QueryError, match=r"at least two seeds, but got 1 \(seeds: 0\)"):
        sweep.attainment("digits-3")
    with pytest.raises(QueryError, match="two or three objectives, but got 1: time"):
        sweep.attainment("digits-10", ["time"])


# --- against another sweep --------------------------------------------------------------------------------


def test_indicators_against_another_sweep(sweep, uri):
    first, second = sweep.indicators("digits-10", load("other", uri)).to_pylist()
    assert (first["sweep"], second["sweep"]) == ("small", "other")
    assert first["hypervolume"] == pytest.approx(sweep.fronts("digits-10")[0].hypervolume)
    assert (first["reference_macs"], first["ideal_macs"], second["ideal_macs"]) == (100.0, 0.0, 0.0)
    (alone,) = sweep.indicators("digits-10").to_pylist()
    assert (alone["hypervolume"], alone["coverage"]) == (first["hypervolume"], None)


def test_sweeps_that_cannot_be_compared_are_refused_with_both_values(sweep, uri):
    with pytest.raises(
        QueryError, match=r"'small' has accuracy 0, time 10, macs 100, and sweep 'smaller corner' has .*macs 50"
    ):
        sweep.indicators("digits-10", load("smaller corner", uri))
    with pytest.raises(
        QueryError, match="minimize macs and sweep 'two objectives' has maximize accuracy, minimize time"
    ):
        sweep.indicators("digits-10", load("two objectives", uri))
    with pytest.raises(UnknownSweepError, match=r"'other' has no finished trial of task 'digits-3'.*digits-10"):
        sweep.indicators("digits-3", load("other", uri))
    some = sweep.indicators("digits-10", load("two objectives", uri), objectives=["time", "accuracy"])
    assert some.num_rows == 2
    given = sweep.indicators("digits-10", load("smaller corner", uri), reference_point=CORNER)
    assert set(given["reference_macs"].to_pylist()) == {100.0}


# --- questions that are refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask", ["front", "fronts", "trials", "points", "hypervolume_history", "attainment", "indicators"]
)
def test_unknown_task_is_refused_with_the_known_ones(sweep, ask):
    with pytest.raises(UnknownSweepError, match=r"'digits-1' \(it has: broken, digits-10, digits-3\)"):
        getattr(sweep, ask)("digits-1")


@pytest.mark.parametrize("ask", ["front", "fronts", "hypervolume_history", "attainment", "indicators"])
@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        (
            ["acc", "time"],
            r"'acc' is no objective of sweep 'small' \(its objectives: accuracy, time, macs\)\. Did you mean 'accuracy'",
        ),
        (["loss", "time"], "'loss' is no objective"),
        (["time", "time"], "'time' is named 2 times. Name it once"),
        ("time", r"objectives must be a list of texts, but got the text 'time'\. Write objectives=\['time'\]"),
    ],
)
def test_objectives_that_the_sweep_has_not_are_refused(sweep, ask, objectives, message):
    with pytest.raises(QueryError, match=message):
        getattr(sweep, ask)("digits-10", objectives=objectives)


@pytest.mark.parametrize("ask", ["front", "trials", "points"])
def test_conditions_in_one_text_are_refused_with_what_is_meant(sweep, ask):
    with pytest.raises(QueryError, match=r"where must be a list of texts, but got the text 'time < 3'"):
        getattr(sweep, ask)(where="time < 3")


def test_unknown_sweep_is_refused_by_whatever_is_asked(uri):
    for ask in ("front", "trials", "points"):
        with pytest.raises(UnknownSweepError, match=r"no sweep 'smal'.*small"):
            getattr(load("smal", uri), ask)()


# --- sweeps with nothing to show ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["empty", "all failed"])
def test_sweep_without_a_complete_trial_has_empty_tables_with_all_columns(uri, sweep, name):
    loaded = load(name, uri)
    for table, full in ((loaded.front(), sweep.front()), (loaded.points(), sweep.points())):
        assert table.num_rows == 0
        assert set(table.column_names) == set(full.column_names) - {"time_pressure"}
    assert loaded.front(where=["time_pressure > 0"]).num_rows == 0, "no axis is known yet"
    assert loaded.trials().num_rows == (name == "all failed")
    assert loaded.tasks == (("digits-10",) if name == "all failed" else ())


def test_questions_about_a_task_of_an_empty_sweep_are_answered_in_words(uri):
    for ask in ("front", "hypervolume_history", "attainment", "indicators"):
        with pytest.raises(
            UnknownSweepError, match=r"'empty' has no finished trial of task 'digits-10' \(it has: none\)"
        ):
            getattr(load("empty", uri), ask)("digits-10")
    with pytest.raises(QueryError, match="task 'digits-10' of sweep 'all failed' has no point"):
        load("all failed", uri).indicators("digits-10")


def test_one_trial_is_a_front(uri):
    loaded = load("one trial", uri)
    assert loaded.front().num_rows == 1
    (row,) = loaded.hypervolume_history("digits-10").to_pylist()
    assert row["hypervolume"] == pytest.approx(loaded.fronts()[0].hypervolume)
    (alone,) = loaded.indicators("digits-10").to_pylist()
    assert alone["ideal_time"] == alone["nadir_time"]


def test_equal_points_are_all_on_the_front_and_attain_alike(uri):
    loaded = load("all equal", uri)
    assert loaded.front().num_rows == 3
    assert loaded.attainment("digits-10").num_rows == 3, "one corner a surface"
    assert len(set(loaded.hypervolume_history("digits-10")["hypervolume"].to_pylist())) == 1
    for row in loaded.indicators("digits-10", loaded).to_pylist():
        assert (row["additive_epsilon"], row["igd_plus"], row["coverage"]) == (0.0, 0.0, 1.0)


def test_sweep_of_an_older_version_shows_its_stored_fronts(uri, tmp_path):
    file = Path(uri.removeprefix("sqlite:///"))
    shutil.copy(file, tmp_path / "mlflow.db")
    shutil.copytree(file.parent / "artifacts", tmp_path / "artifacts")
    older = f"sqlite:///{tmp_path / 'mlflow.db'}"
    connect(older).delete_tag(parent_of(older).info.run_id, "sweeper.aims")
    loaded = load("small", older)
    assert loaded.front().num_rows
    with pytest.raises(QueryError, match="older version"):
        loaded.hypervolume_history("digits-10")


@pytest.mark.parametrize(
    "ask",
    [
        lambda s: s.front(),
        lambda s: s.front("broken"),
        lambda s: s.trials(),
        lambda s: s.points(),
        lambda s: s.hypervolume_history("digits-10"),
        lambda s: s.attainment("digits-10"),
        lambda s: s.indicators("digits-10"),
        lambda s: s.indicators("digits-10", s),
    ],
)
def test_every_table_becomes_a_data_frame(sweep, ask):
    table = ask(sweep)
    assert isinstance(table, pa.Table)
    frame = table.to_pandas()
    assert list(frame.columns) == table.column_names
    assert len(frame) == table.num_rows


# --- by name --------------------------------------------------------------------------------------------------


def test_sweep_is_loaded_by_name_and_address(uri):
    loaded = sweeper.load_sweep("small", uri)
    assert isinstance(loaded, LoadedSweep)
    assert loaded.front("digits-10").equals(load("small", uri).front("digits-10"))


def test_signature_is_known_to_type_checkers():
    assert list(inspect.signature(sweeper.load_sweep).parameters) == ["name", "tracking_uri", "home"]
    assert inspect.get_annotations(sweeper.load_sweep)["return"] == "LoadedSweep"
    assert (Path(sweeper.__file__).parent / "py.typed").is_file()


def test_address_is_the_one_named_or_the_last_or_the_homes_as_for_a_sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    home = Home(Path("homes"))
    for name, named in [("never", None), ("never", "sqlite:///other.db"), ("never", "http://host:5000/")]:
        expected = Sweep(name, "homes", named).tracking_uri
        assert sweeper.load_sweep(name, named, "homes").address == expected
    assert sweeper.load_sweep("never", home="homes").address == f"sqlite:///{tmp_path}/homes/mlflow.db"
    assert sweeper.load_sweep("never").address == f"sqlite:///{tmp_path}/sweeps/mlflow.db"
    assert not Path("homes").exists(), "nothing is written"
    home.sweep("kept").path.mkdir(parents=True)
    home.sweep("kept").keep_tracking_uri("http://127.0.0.1:5555")
    assert sweeper.load_sweep("kept", home="homes").address == "http://127.0.0.1:5555"


def test_address_that_was_not_kept_is_asked_for(tmp_path):
    folder = Home(tmp_path).sweep("secret")
    folder.path.mkdir()
    folder.keep_tracking_uri("https://me:pass@host")
    assert folder.tracking_uri == NOT_KEPT
    with pytest.raises(
        TrackingError, match=r"'secret' was mirrored to an address with a password.*in Python with tracking_uri"
    ):
        sweeper.load_sweep("secret", home=tmp_path)


def test_home_that_cannot_hold_a_database_is_refused():
    with pytest.raises(HomeError, match="which database addresses cannot hold"):
        sweeper.load_sweep("small", home=os.fsdecode(b"caf\xe9"))


def test_missing_database_is_said_when_it_is_asked(tmp_path):
    with pytest.raises(TrackingError, match="no MLflow database at"):
        sweeper.load_sweep("small", home=tmp_path).front()
    assert list(tmp_path.iterdir()) == []


def test_pictures_and_the_report_are_the_command_lines(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    figure = sweep.plot("front-time", task="digits-10")
    assert figure.to_json() == picture_of(sweep, "digits-10", "front-time").figure.to_json()
    file = sweep.report()
    assert file == Path("small.html")
    assert file.read_text("utf-8") == report(sweep)
    assert sweep.report(tmp_path / "other.htm").read_bytes() == file.read_bytes()


def test_picture_that_is_not_clear_is_refused(sweep):
    with pytest.raises(
        QueryError, match=r"3 tasks: broken, digits-10, digits-3\. Choose one with --task, in Python with task="
    ):
        sweep.plot("front-time")
    with pytest.raises(UnknownSweepError, match="no finished trial of task 'digits-11'"):
        sweep.plot("front-time", task="digits-11")
    with pytest.raises(QueryError, match=r"there is no picture 'fornt-time'.*front-time"):
        sweep.plot("fornt-time", task="digits-10")
    with pytest.raises(QueryError, match="but got the picture front-time"):
        sweep.plot("front-time", task="digits-10", key="abcdef")
    with pytest.raises(QueryError, match=r"ends in \.html, but got small\.pdf"):
        sweep.report("small.pdf")
