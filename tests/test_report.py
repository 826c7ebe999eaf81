"""The report of a stored sweep: one file that says what MLflow holds, whatever strings are in it."""

from __future__ import annotations

import base64
import json
import re
import shutil
import zlib
from dataclasses import replace
from html.parser import HTMLParser

import pytest

import model
from model import Window
from sweeper.errors import QueryError
from sweeper.loaded import LoadedSweep
from sweeper.record import MlflowRecorder, read_artifact
from sweeper.report import report
from sweeper.trials import aims
from sweeper.vocabulary import Outcome, State
from tests.contracts.recorder import FACTS, a_failed_trial
from tests.model.populations import lattice_of
from tests.stored import store
from tests.test_cli import mistaken, place, sweeper  # noqa: F401  # fixtures
from tests.test_table import OBJECTIVES, REFERENCE, a_trial

HOSTILE = "</script><img src=x onerror=alert(1)> & \"quoted\" 'so' λ"


def a_network(key):
    """Return the file of a small network."""
    lattice = lattice_of(Window((3, 2), 2, (1, 8, 8), 10)).float()
    return model.encode(lattice, {"key": key, "step_dist": [0.25, 0.75], "measurement": {"accuracy": 0.5}})


def some_trials(count=6, task="digits-10"):
    return [
        a_trial(n, key=f"{task[-2:]}{n:014d}", task=task, accuracy=0.5 + 0.4 * (n * 7 % count) / count, time=1.0 + n)
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def uri(tmp_path_factory, empty_database):
    """A database with a sweep of two tasks, in which trials have failed for hostile reasons."""
    folder = tmp_path_factory.mktemp("reported")
    shutil.copy(empty_database, folder / "mlflow.db")
    uri = f"sqlite:///{folder}/mlflow.db"
    failed = [
        a_failed_trial(20, key="bad0", outcome=Outcome.FAILED, reason=f"Traceback:\n  File x\nValueError: {HOSTILE}"),
        a_failed_trial(21, key="bad1", axes={"data": "odd\u2028</script>"}),
        a_failed_trial(22, key="bad2"),
    ]
    pruned = a_trial(23, key="cut0", state=State.PRUNED, outcome=Outcome.PRUNED, reason="others did better")
    store(uri, "first", [*some_trials(), *some_trials(4, "digits-03"), *failed, pruned], network=a_network)
    store(uri, "failed", [a_failed_trial(1)])
    store(uri, "single", [a_trial()])
    store(uri, "alike", [a_trial(n, setting=f"s{n}") for n in range(4)])
    empty = MlflowRecorder(uri)
    empty.open(replace(FACTS, name="empty", aims=aims(OBJECTIVES, REFERENCE)))
    return uri


class Parts(HTMLParser):
    """The elements of a page, and the text of each script."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.scripts, self.text, self._in = [], [], "", ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._in = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._in = ""

    def handle_data(self, data):
        if self._in == "script":
            self.scripts[-1] += data
        elif self._in != "style":
            self.text += data


def parsed(uri, name="first"):
    parts = Parts(report(LoadedSweep(name, uri)))
    return parts, json.loads(parts.scripts[0])


def test_report_holds_every_trial_and_every_front_with_its_reference_point(uri):
    parts, data = parsed(uri)
    sweep = LoadedSweep("first", uri)
    columns = {column["name"]: column["values"] for column in data["trials"]["columns"]}
    assert columns["key"] == sweep.trials()["key"].to_pylist()
    assert columns["accuracy"] == sweep.trials()["accuracy"].to_pylist()
    assert data["front"] == sorted(sweep.front()["key"].to_pylist())
    rows = [dict(attrs)["data-key"] for tag, attrs in parts.elements if tag == "tr" and "data-key" in attrs]
    assert sorted(rows) == data["front"]
    for front in sweep.fronts():
        assert front.task in parts.text
        assert f"{front.hypervolume:.4g}" in parts.text
    assert "accuracy 0, time 10" in parts.text
    assert "14 finished trials of 2 tasks" in parts.text


def test_every_figure_of_the_page_has_its_data_and_points_have_keys(uri):
    parts, data = parsed(uri)
    wanted = [attrs["data-figure"] for tag, attrs in parts.elements if attrs.get("class") == "plot"]
    assert wanted
    assert sorted(wanted) == sorted(data["figures"])
    drawn = json.dumps(data["figures"])
    assert all(key in drawn for key in data["front"])


def test_networks_of_the_front_unpack_to_drawings(uri):
    _, data = parsed(uri)
    assert sorted(data["networks"]) == data["front"]
    svg = zlib.decompress(base64.b64decode(data["networks"][data["front"][0]])).decode()
    assert svg.startswith("<?xml")
    assert "</svg>" in svg


def test_failures_are_counted_with_their_reasons(uri):
    parts, _ = parsed(uri)
    assert "out of memory: 2" in parts.text
    assert "2 × too large" in parts.text
    assert "1 × ValueError: </script><img" in parts.text, "as text"
    assert "pruned" in parts.text


def test_hostile_words_are_text_and_nothing_else(uri):
    parts, data = parsed(uri)
    assert len(parts.scripts) == 3
    assert [attrs for tag, attrs in parts.elements if tag == "img"] == []
    assert not any(name.startswith("on") for _, attrs in parts.elements for name in attrs)
    columns = {column["name"]: column["values"] for column in data["trials"]["columns"]}
    assert f"ValueError: {HOSTILE}" in columns["reason"]
    assert "odd\u2028</script>" in columns["data"]
    assert "\u2028" not in parts.scripts[0]


def test_report_needs_nothing_from_elsewhere_and_says_how_to_repeat_it(uri):
    page = report(LoadedSweep("first", uri))
    parts = Parts(page)
    assert not any({"src", "href"} & attrs.keys() for _, attrs in parts.elements)
    assert "default-src 'none'" in page
    assert FACTS.spec_text.strip() in parts.text
    assert "sweeper run first.yaml" in parts.text
    assert "abc123" in parts.text, "the revision that it was run with"


def test_same_sweep_gives_the_same_page(uri):
    assert report(LoadedSweep("first", uri)) == report(LoadedSweep("first", uri))


@pytest.mark.parametrize("name", ["single", "alike", "failed"])
def test_little_is_reported_as_it_is(uri, name):
    parts, data = parsed(uri, name)
    assert data["trials"]["rows"] == len(LoadedSweep(name, uri).records)
    if name == "failed":
        assert "No trial of this task is complete." in parts.text


def test_sweep_without_a_finished_trial_is_refused_with_what_to_do(uri):
    with pytest.raises(QueryError, match=r"'empty' has no finished trial yet.*`sweeper resume empty`"):
        report(LoadedSweep("empty", uri))


def test_report_of_a_thousand_trials_stays_below_ten_megabytes(tmp_path, empty_database, monkeypatch):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    trials = [
        a_trial(n, key=f"{n:016d}", accuracy=(n * 37 % 1000) / 1000, time=5 + (n * 91 % 1000) / 200)
        for n in range(1000)
    ]
    # The runs themselves take a minute and are not read: the table of trials is.
    monkeypatch.setattr(MlflowRecorder, "_write_run", lambda self, trial: None)
    sweep = store(uri, "many", trials, network=a_network)
    assert len(sweep.records) == 1000
    assert len(report(sweep).encode()) < 10e6


# --- the command ----------------------------------------------------------------------------------


def test_command_writes_the_file_and_stores_it_in_mlflow(uri, sweeper, place):  # noqa: F811
    said = sweeper("report", "single", "--tracking-uri", uri)
    assert said.code == 0, said.err
    assert re.match(r"single\.html is the report of sweep single \(\d\.\d MB\)", said.out)
    assert "report.html" in said.out
    assert (place / "single.html").read_bytes() == read_artifact(uri, "single", "report.html")


def test_command_leaves_mlflow_alone_when_told_so(uri, sweeper, place):  # noqa: F811
    said = sweeper("report", "alike", "--tracking-uri", uri, "--no-log", "-o", "some.html")
    assert said.code == 0, said.err
    assert (place / "some.html").is_file()
    assert read_artifact(uri, "alike", "report.html") is None


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("empty", [], ["'empty' has no finished trial yet", "`sweeper watch empty`"]),
        ("frist", [], ["no sweep 'frist'", "first"]),
        ("first", ["-o", "report.pdf"], ["report.pdf", "ends in .html"]),
        ("../first", [], ["../first"]),
    ],
)
def test_wrong_report_is_refused_and_nothing_is_written(uri, mistaken, name, more, words):  # noqa: F811
    message = mistaken("report", name, "--tracking-uri", uri, *more)
    assert all(word in message for word in words), message


def test_unreachable_server_is_named(mistaken):  # noqa: F811
    assert "http://127.0.0.1:9" in mistaken("report", "first", "--tracking-uri", "http://127.0.0.1:9")
