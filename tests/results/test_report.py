"""The report of a stored sweep: one file that says what MLflow holds, whatever texts MLflow holds."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import shutil
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sweeper import model
from sweeper.analysis.trials import aims
from sweeper.errors import QueryError
from sweeper.model import Window
from sweeper.results.loaded_sweep import LoadedSweep, load
from sweeper.results.report.data import NOT_DRAWN, NOT_STORED
from sweeper.results.report.page import report
from sweeper.tracking.mlflow.reader import MlflowReader
from sweeper.tracking.mlflow.recorder import MlflowRecorder
from sweeper.trial import Outcome, State
from tests.analysis.test_fronts import OBJECTIVES, REFERENCE, a_trial
from tests.cli.test_run import mistaken, place, sweeper  # noqa: F401  # fixtures
from tests.contracts.recorder import FACTS, a_failed_trial
from tests.model.populations import lattice_of
from tests.support.stored import store

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
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1)]
    replicates = [
        a_trial(2 * n + seed, key=f"{n}{seed}", setting=f"s{n}", seed=seed, accuracy=0.5 + n / 10, time=1.0 + n)
        for n, seed in pairs
    ]
    store(uri, "replicates", replicates, network=a_network)
    odd = [a_trial(0)]
    odd += [a_failed_trial(n, measurement={"loss": value}) for n, value in ((1, math.nan), (2, math.inf))]
    store(uri, "odd", odd)
    store(uri, "bounded", [a_trial()], reference_point={**REFERENCE, "time": 99})
    store(uri, "elsewhere", some_trials(2, "clothes-10"))
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
    parts = Parts(report(load(name, uri)))
    return parts, json.loads(parts.scripts[0])


@pytest.mark.slow
def test_report_holds_every_trial_and_every_front_with_its_reference_point(uri):
    parts, data = parsed(uri)
    sweep = load("first", uri)
    columns = {column["name"]: column["values"] for column in data["trials"]["columns"]}
    assert columns["key"] == sweep.trials()["key"].to_pylist()
    assert columns["accuracy"] == sweep.trials()["accuracy"].to_pylist()
    members = sorted(key for keys in sweep.front()["keys"].to_pylist() for key in keys)
    assert data["trials"]["members"] == members
    rows = [dict(attrs)["data-key"] for tag, attrs in parts.elements if tag == "tr" and "data-key" in attrs]
    assert sorted(rows) == members
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
    assert all(key in drawn for key in data["trials"]["members"])


def test_networks_of_the_front_are_drawings_without_words_of_users(uri):
    _, data = parsed(uri)
    assert sorted(data["networks"]) == data["trials"]["members"]
    for key, network in data["networks"].items():
        assert ElementTree.fromstring(network["svg"]).tag == "svg"
        assert key not in network["svg"]


def test_network_that_is_not_drawn_is_said_to_be_so_and_why(uri, monkeypatch):
    monkeypatch.setattr("sweeper.results.report.data.MOST_NETWORKS", 2)
    _, data = parsed(uri)
    count = 0
    for front in load("first", uri).fronts():
        drawn = ["svg" in data["networks"][key] for key in front.table["key"].to_pylist()]
        assert drawn[0], "something of each front is drawn"
        count += sum(drawn)
    assert 2 <= count < len(data["networks"])
    why = {network["missing"] for network in data["networks"].values() if "missing" in network}
    assert why == {NOT_DRAWN}
    _, data = parsed(uri, "single")
    assert [network["missing"] for network in data["networks"].values()] == [NOT_STORED]


def test_network_that_cannot_be_read_is_named_and_the_rest_is_reported(uri, monkeypatch):
    stored = LoadedSweep.network
    bad = load("first", uri).front()["key"].to_pylist()[0]
    monkeypatch.setattr(LoadedSweep, "network", lambda self, key: b"damaged" if key == bad else stored(self, key))
    _, data = parsed(uri)
    assert [key for key, network in data["networks"].items() if "svg" not in network] == [bad]
    assert f"the network of trial {bad}" in data["networks"][bad]["missing"]


def test_replicates_of_a_front_setting_are_on_the_front_with_their_mean_and_spread(uri):
    _, data = parsed(uri, "replicates")
    assert data["trials"]["members"] == ["00", "01", "10", "11"]
    assert sorted(key for key, network in data["networks"].items() if "svg" in network) == ["00", "10"]
    assert data["networks"]["11"]["missing"] == "A replicate of trial 10, which is drawn for all of them."
    row = load("replicates", uri).front().to_pylist()[0]
    point = data["points"][row["key"]]
    assert point["keys"] == row["keys"]
    assert point["means"]["accuracy"] == row["accuracy"]
    assert point["spreads"]["accuracy"] == row["accuracy_sd"]


def test_values_that_are_not_finite_are_no_values(uri):
    _, data = parsed(uri, "odd")
    columns = {column["name"]: column["values"] for column in data["trials"]["columns"]}
    assert columns["loss"] == [1.0, None, None]


def test_head_says_what_it_is_when_it_ran_with_what_and_where_it_was_read(uri):
    recorder = MlflowRecorder(uri)
    spec = json.dumps({"name": "told", "description": f"About {HOSTILE}", "fronts": [["time"]]})
    facts = {"version.torch": "2.0", "git.revision": "abc123", "home": "/home/me/sweeps"}
    recorder.open(replace(FACTS, name="told", spec_json=spec, facts=facts, aims=aims(OBJECTIVES, REFERENCE)))
    recorder.record(a_trial(0, sweep="told", started_ms=1_700_000_000_000, ended_ms=1_700_000_600_000))
    recorder.close("FINISHED")
    parts, _ = parsed(uri, "told")
    for words in (
        f"About {HOSTILE}",
        "2023-11-14 22:13 to 2023-11-14 22:23 UTC",
        "torch 2.0 at abc123",
        f"MLflow at {uri}",
        "The front of time alone, 1 network",
    ):
        assert words in parts.text
    assert "/home/me" not in parts.text, "a report is sent to others"


def test_only_the_scripts_of_the_page_may_run(uri):
    parts, _ = parsed(uri)
    (policy,) = [attrs["content"] for tag, attrs in parts.elements if tag == "meta" and "http-equiv" in attrs]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in parts.scripts[1:]]
    assert f"script-src 'sha256-{hashes[0]}' 'sha256-{hashes[1]}';" in policy
    assert "unsafe-eval" not in policy


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
    page = report(load("first", uri))
    parts = Parts(page)
    assert not any("src" in attrs for _, attrs in parts.elements)
    ids = {attrs["id"] for _, attrs in parts.elements if "id" in attrs}
    links = [attrs["href"] for _, attrs in parts.elements if "href" in attrs]
    assert len(links) >= 6
    assert {link.removeprefix("#") for link in links} <= ids, "within the page, and each leads somewhere"
    assert "default-src 'none'" in page
    assert FACTS.spec_text.strip() in parts.text
    assert "sweeper run first.yaml" in parts.text
    assert "abc123" in parts.text, "the revision that it was run with"


def test_same_sweep_gives_the_same_page(uri):
    assert report(load("first", uri)) == report(load("first", uri))


def test_sweeps_stand_beside_each_other_task_by_task(uri):
    first, other = load("first", uri), load("replicates", uri)
    page = report(first, others=[other])
    parts = Parts(page)
    data = json.loads(parts.scripts[0])
    text = page.partition('id="compared"')[2].partition("</section>")[0]
    assert "digits-10" in text
    assert "digits-03" not in text, "the other sweep has no such task"
    (front,), (theirs,) = first.fronts("digits-10"), other.fronts("digits-10")
    for one in (front, theirs):
        assert f"<td class=number>{one.hypervolume:.4g}</td>" in text
        assert f"<td class=number>{one.table.num_rows}</td>" in text
    figure = data["figures"]["digits-10/fronts-beside"]
    drawn = {
        trace["name"]: [key for (key,) in trace["customdata"]] for trace in figure["data"] if "customdata" in trace
    }
    assert drawn == {"first": front.table["key"].to_pylist(), "replicates": theirs.table["key"].to_pylist()}
    assert "What differs in their specs: 0 settings" in text, "these were stored with the same spec"


def test_what_differs_in_the_specs_of_two_sweeps_is_told(uri):
    for name, rate in (("slow", 0.1), ("fast", 0.5)):
        recorder = MlflowRecorder(uri)
        spec = json.dumps({"name": name, "training": {"epochs": 3, "rate": rate}, "task": {"data": "<digits>"}})
        recorder.open(replace(FACTS, name=name, spec_json=spec, aims=aims(OBJECTIVES, REFERENCE)))
        recorder.record(a_trial(0, sweep=name, started_ms=1000, ended_ms=2000))
        recorder.close("FINISHED")
    page = report(load("slow", uri), others=[load("fast", uri)])
    text = page.partition("What differs in their specs")[2].partition("</details>")[0]
    rows = re.findall(r'<th scope="row">(.+?)</th><td class=prose>(.+?)</td><td class=prose>(.+?)</td>', text)
    assert rows == [("training.rate", "0.1", "0.5")]


@pytest.mark.parametrize("name", ["single", "alike", "failed"])
def test_little_is_reported_as_it_is(uri, name):
    parts, data = parsed(uri, name)
    assert data["trials"]["rows"] == len(load(name, uri).records)
    if name == "failed":
        assert "No trial of this task is complete." in parts.text


def test_sweep_without_a_finished_trial_is_refused_with_what_to_do(uri):
    with pytest.raises(QueryError, match=r"'empty' has no finished trial yet.*`sweeper resume empty`"):
        report(load("empty", uri))


@pytest.mark.slow
def test_report_of_a_thousand_trials_stays_below_ten_megabytes(tmp_path, empty_database, monkeypatch):
    """Three tasks, and fronts of about a hundred networks each that fill their window."""
    lattice = lattice_of(Window((8, 8, 8), 6, (1, 8, 8), 10)).float()
    file = model.encode(lattice, {"step_dist": [1 / 6] * 6, "measurement": {"accuracy": 0.5}})
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    trials = [
        a_trial(n, key=f"{n:016d}", task=f"digits-{n % 3}", accuracy=(n * 37 % 1000) / 1000, time=time_of(n))
        for n in range(1000)
    ]
    # Writing the runs takes a minute, and the report does not read them: it reads the table of trials.
    monkeypatch.setattr(MlflowRecorder, "_write_run", lambda self, trial: None)
    sweep = store(uri, "many", trials, network=lambda key: file)
    page = report(sweep)
    data = json.loads(Parts(page).scripts[0])
    assert data["trials"]["rows"] == 1000
    drawn = [network for network in data["networks"].values() if "svg" in network]
    assert len(drawn) > 300
    assert len(page.encode()) < 10e6


def time_of(number):
    """Return a time that grows with accuracy; two thirds of the trials take longer than needed."""
    accuracy = (number * 37 % 1000) / 1000
    return 1 + 8 * accuracy**2 + number // 3 % 3


# --- the command ----------------------------------------------------------------------------------


def test_command_writes_the_file_and_stores_it_in_mlflow(uri, sweeper, place):  # noqa: F811
    said = sweeper("report", "single", "--tracking-uri", uri)
    assert said.code == 0, said.err
    assert re.match(r"single\.html is the report of sweep single \(\d\.\d MB\)", said.out)
    assert "report.html" in said.out
    assert (place / "single.html").read_bytes() == MlflowReader(uri, "single").artifact("report.html")


def test_command_leaves_mlflow_alone_when_told_so(uri, sweeper, place):  # noqa: F811
    said = sweeper("report", "alike", "--tracking-uri", uri, "--no-log", "-o", "some.html")
    assert said.code == 0, said.err
    assert (place / "some.html").is_file()
    assert MlflowReader(uri, "alike").artifact("report.html") is None


def test_file_is_kept_where_mlflow_does_not_take_it(uri, sweeper, place):  # noqa: F811
    folder = Path(uri.removeprefix("sqlite:///")).parent
    (parts,) = folder.glob("artifacts/failed/*/artifacts")
    (parts / "report.html").mkdir()
    said = sweeper("report", "failed", "--tracking-uri", uri)
    assert said.code == 2
    assert said.err.startswith("sweeper: failed.html is written, but not stored in MLflow")
    assert "--no-log" in said.err
    assert "Traceback" not in said.err
    assert "</html>" in (place / "failed.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("empty", [], ["'empty' has no finished trial yet", "`sweeper watch empty`"]),
        ("frist", [], ["no sweep 'frist'", "first"]),
        ("first", ["-o", "report.pdf"], ["report.pdf", "ends in .html"]),
        ("first", ["--compare", "first"], ["got 'first' twice"]),
        ("first", ["--compare", "single", "--compare", "single"], ["got 'single' twice"]),
        ("first", ["--compare", "empty"], ["'empty' has no finished trial yet", "nothing to compare with"]),
        ("first", ["--compare", "frist"], ["no sweep 'frist'"]),
        ("first", ["--compare", "bounded"], ["other objectives or reference points"]),
        ("first", ["--compare", "elsewhere"], ["have no task in common"]),
        ("../first", [], ["../first"]),
    ],
)
def test_wrong_report_is_refused_and_nothing_is_written(uri, mistaken, name, more, words):  # noqa: F811
    message = mistaken("report", name, "--tracking-uri", uri, *more)
    assert all(word in message for word in words), message


def test_unreachable_server_is_named(mistaken):  # noqa: F811
    assert "http://127.0.0.1:9" in mistaken("report", "first", "--tracking-uri", "http://127.0.0.1:9")
