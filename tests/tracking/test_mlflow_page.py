"""MLflow's own page of a sweep: its words, pictures and order, in tags and in a real browser."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.analysis.fronts import compute_front
from sweeper.tracking.mlflow.client import connect
from sweeper.tracking.mlflow.front_image import draw_front
from sweeper.tracking.mlflow.notes import NOTE, experiment_note, picture_path, sweep_note
from sweeper.tracking.mlflow.reader import MlflowReader, download_front, page_of_run
from sweeper.tracking.mlflow.recorder import MlflowRecorder
from tests.analysis.test_fronts import OBJECTIVES, REFERENCE, a_front, a_trial
from tests.analysis.test_trials import FULL_FACTS
from tests.support.browser import browser
from tests.support.stored import store
from tests.tracking.test_mlflow import parent_of, server  # noqa: F401  # a fixture


def some_trials(count=4, task="digits-10"):
    return [a_trial(n, task=task, accuracy=0.5 + 0.4 * n / count, time=1.0 + n) for n in range(count)]


def a_front_of(task, count=4, version=1):
    facts = {"sweep": "small", "objectives": OBJECTIVES, "reference_point": REFERENCE}
    return compute_front(some_trials(count, task), task=task, version=version, **facts)


def test_note_says_front_reference_point_version_and_how_to_ask_further():
    front = a_front_of("digits-10", version=3)
    note = sweep_note("small", [front], "RUN", [picture_path(front)])
    assert note.startswith("Sweep small, 1 task.")
    assert "### digits-10: 4 non-dominated networks" in note
    assert "reference point accuracy 0, time 10; front version 3" in note
    assert "accuracy ↑ (share)" in note
    assert "0.800" in note, "the best one"
    assert "](get-artifact?path=fronts/digits-10/v0003.png&run_uuid=RUN)" in note
    assert "sweeper pareto small" in note


@pytest.mark.slow
@given(
    st.lists(st.text("abcdefg-.0123456789", min_size=1, max_size=90), min_size=1, max_size=40, unique=True),
    st.integers(1, 40),
)
def test_note_fits_a_tag_and_names_every_task_or_says_how_many_more(tasks, count):
    fronts = [a_front_of(task, count) for task in tasks]
    note = sweep_note("small", fronts, "f" * 32, [picture_path(front) for front in fronts])
    assert len(note) <= 4800
    shown = note.count("### ")
    assert shown >= 1
    assert (f"And {len(tasks) - shown} more" in note.replace(" tasks", "").replace(" task", "")) is (shown < len(tasks))


def test_long_front_is_shortened_to_the_best_and_says_so():
    note = sweep_note("small", [a_front_of("digits-10", 40)], "RUN", [])
    assert "and 28 more: `sweeper pareto small --task digits-10`" in note
    assert "0.890" in note


def test_words_of_a_note_are_no_markup():
    front = replace(a_front_of("digits-10"), task="<b>|`*x*`")
    note = sweep_note("small", [front], "RUN", [])
    assert "<b>" not in note.replace("\\<", "")
    assert r"\<b\>\|\`\*x\*\`" in note


def test_picture_of_a_front_is_a_small_png_and_the_same_each_time():
    picture = draw_front(a_front_of("digits-10", 40))
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 40_000
    assert picture == draw_front(a_front_of("digits-10", 40))


@pytest.mark.parametrize("trials", [[a_trial()], [a_trial(n, setting=f"s{n}") for n in range(3)]])
def test_front_of_one_point_or_of_equal_ones_is_drawn(trials):
    assert draw_front(a_front(*trials)).startswith(b"\x89PNG")


@pytest.fixture
def uri(empty_database, tmp_path):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def test_description_has_all_tasks_also_when_one_is_told_again_by_another_driver(uri):
    store(uri, "small", [*some_trials(), *some_trials(3, "digits-3")])
    note = parent_of(uri).data.tags[NOTE]
    assert "### digits-10: 4" in note
    assert "### digits-3: 3" in note
    again = MlflowRecorder(uri)
    again.open(FULL_FACTS)
    again.record_front(a_front_of("digits-3", 2))
    note = parent_of(uri).data.tags[NOTE]
    assert "### digits-10: 4" in note
    assert "### digits-3: 2" in note
    assert connect(uri).get_experiment_by_name("small").tags[NOTE] == experiment_note("small")


def test_picture_is_there_for_every_front_that_the_description_shows(uri, tmp_path):
    store(uri, "small", some_trials())
    (front,) = MlflowReader(uri, "small").fronts()
    found = list(tmp_path.glob(f"artifacts/small/*/artifacts/{picture_path(front)}"))
    assert [file.read_bytes() for file in found] == [draw_front(front)]


def test_front_that_cannot_be_drawn_is_stored_all_the_same(uri, monkeypatch):
    def fail(_):
        raise RuntimeError("no fonts")

    monkeypatch.setattr("sweeper.tracking.mlflow.front_image.draw_front", fail)
    store(uri, "small", some_trials())
    assert [front.version for front in MlflowReader(uri, "small").fronts()] == [1]
    assert "get-artifact" not in parent_of(uri).data.tags[NOTE], "no picture that is not there"


@pytest.mark.slow
def test_fronts_of_other_tasks_are_read_once_for_the_description(uri, monkeypatch):
    tasks = [f"digits-{n}" for n in range(2, 10)]
    trials = [trial for task in tasks for trial in some_trials(2, task)]
    store(uri, "small", trials)
    read = []

    def counted(client, run, key, mark):
        read.append(key)
        return download_front(client, run, key, mark)

    monkeypatch.setattr("sweeper.tracking.mlflow.recorder.download_front", counted)
    store(uri, "small", trials)
    assert len(read) == len(tasks)


def test_experiment_of_an_earlier_version_is_described_and_a_users_words_stay(uri):
    store(uri, "small", some_trials())
    client = connect(uri)
    experiment = client.get_experiment_by_name("small").experiment_id
    client.set_experiment_tag(experiment, NOTE, "my own words")
    store(uri, "small", some_trials())
    assert client.get_experiment_by_name("small").tags[NOTE] == "my own words"
    client.delete_experiment_tag(experiment, NOTE)
    store(uri, "small", some_trials())
    assert client.get_experiment_by_name("small").tags[NOTE] == experiment_note("small")


@pytest.mark.slow
def test_real_page_shows_description_and_picture_and_folds_trials_below_their_sweep(server):  # noqa: F811
    store(server, "small", some_trials())
    with browser() as running:
        page = running.new_page(viewport={"width": 1500, "height": 1400})
        page.goto(page_of_run(server, "small"))
        page.get_by_text("4 non-dominated networks").wait_for()
        assert page.get_by_role("columnheader", name="accuracy ↑ (share)").count() == 1
        picture = page.locator("img[src*='get-artifact']")
        picture.wait_for(state="attached")
        page.wait_for_function("() => document.querySelector(\"img[src*='get-artifact']\").naturalWidth > 100")
        nested = running.new_page(viewport={"width": 1500, "height": 900})
        nested.goto(f"{server}/#/experiments/1/runs")
        nested.get_by_text("A sweep by").wait_for()
        nested.locator(".ag-row").first.wait_for()
        assert nested.locator(".ag-row a", has_text="small").count() == 1
        assert nested.locator(".ag-row a", has_text="digits-10").count() == 0, "trials are folded below their sweep"
