"""`sweeper ui` in its own process, with real MLflow, a real browser, and sweeps that run or have ended."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from urllib.request import urlopen

import psutil
import pytest

from sweeper.analysis.trials import aims
from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.spec import load_spec
from sweeper.tracking.live import LiveState, TaskState
from sweeper.tracking.mlflow.reader import MlflowReader
from sweeper.tracking.mlflow.recorder import MlflowRecorder
from tests.analysis.test_fronts import OBJECTIVES, REFERENCE, a_trial
from tests.cli.test_run import mistaken, place, sweeper, train_at_once  # noqa: F401  # fixtures
from tests.cli.test_watch import driven  # noqa: F401  # a fixture
from tests.contracts.recorder import FACTS
from tests.support.browser import browser, violations
from tests.support.servers import tracking

PATIENCE_S = 240

#: JavaScript that finds one folded part of the page.
FOLDED = "[...document.querySelectorAll('main details')].find((one) => one.textContent.startsWith('Versions, data'))"


@pytest.fixture(scope="module")
def home(tmp_path_factory, empty_database):
    """A home with a sweep that has ended."""
    home = tmp_path_factory.mktemp("shown") / "home"
    home.mkdir()
    shutil.copy(empty_database, home / "mlflow.db")
    Sweep("smoke", home).run(load_spec("smoke"), executor=InlineExecutor(), work=train_at_once)
    return home


class Shown:
    """A running `sweeper ui` and its output."""

    def __init__(self, process, output):
        self.process, self._output = process, output

    def said(self, pattern):
        """Wait until a line matches a pattern, and return the pattern's first group."""
        until = time.monotonic() + PATIENCE_S
        while not (found := re.search(pattern, text := self._output.read_text(), re.M)):
            assert self.process.poll() is None, text
            assert time.monotonic() < until, text
            time.sleep(0.05)
        return found[1]

    @property
    def page(self):
        return self.said(r"^sweep +(http://\S+)$")

    @property
    def mlflow(self):
        return self.said(r"^MLflow +(http://\S+)$")

    def state(self):
        return json.load(urlopen(f"{self.page}state", timeout=30))

    def tree(self):
        """Return the process and all its descendants."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def end(self, number):
        """Send a signal, and return the exit code after checking that all descendants have ended."""
        tree = self.tree()
        self.process.send_signal(number)
        code = self.process.wait(60)
        _, left = psutil.wait_procs(tree[1:], timeout=30)
        assert left == []
        return code


@pytest.fixture
def ui(tmp_path):
    """Starts the command in an empty folder; ends it at the end of the test."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    started = []

    def start(*words, **environment):
        output = tmp_path / f"said{len(started)}.txt"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "sweeper", "ui", *map(str, words)],
                cwd=folder,
                env={name: value for name, value in os.environ.items() if "MLFLOW" not in name} | environment,
                stdout=file,
                stderr=file,
            )
        started.append(Shown(process, output))
        return started[-1]

    yield start
    assert list(folder.iterdir()) == [], "nothing is left where it was started"
    for one in started:
        if one.process.poll() is None:
            one.end(signal.SIGTERM)


def content(home):
    return {
        path: path.read_bytes() for path in home.rglob("*") if path.is_file() and not path.name.startswith("mlflow.db")
    }


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_home_is_served_with_its_page_and_mlflow_and_every_end_leaves_no_process(home, ui, number, code):
    before = content(home)
    shown = ui("smoke", "--home", home, MLFLOW_HOST="0.0.0.0", MLFLOW_PORT="1")
    assert urlopen(shown.page, timeout=60).status == 200
    address = shown.mlflow
    run = MlflowReader(Home(home).tracking_uri, "smoke").facts()
    assert run
    root, _, page = address.partition("/#/")
    assert re.fullmatch(r"experiments/\d+/runs/[0-9a-f]{32}\?workflowType=machine_learning", page)
    run_id = page.split("/")[3].split("?")[0]
    found = json.load(urlopen(f"{root}/api/2.0/mlflow/runs/get?run_id={run_id}", timeout=60))
    assert found["run"]["info"]["run_name"] == "smoke"
    assert shown.state()["links"] == {"MLflow": address}
    addresses = [
        listening.laddr.ip
        for process in shown.tree()
        for listening in process.net_connections()
        if listening.status == psutil.CONN_LISTEN
    ]
    assert len(addresses) >= 2
    assert set(addresses) == {"127.0.0.1"}
    assert len(shown.tree()) >= 3
    assert shown.end(number) == code
    assert content(home) == before


@pytest.mark.slow
@pytest.mark.rare
def test_page_alone_ends_with_a_closed_terminal_and_starts_nothing(home, ui):
    shown = ui("smoke", "--home", home, "--no-mlflow")
    assert shown.state()["is_final"] is False, "till a page was made"
    assert urlopen(shown.page, timeout=60).status == 200
    assert shown.state()["is_final"] is True
    assert len(shown.tree()) == 1
    assert shown.end(signal.SIGHUP) == 129


@pytest.mark.slow
@pytest.mark.rare
def test_mlflow_that_cannot_start_is_said_and_the_page_is_served_on(home, ui, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "mlflow.py").write_text("raise SystemExit('no such thing')")
    shown = ui("smoke", "--home", home, PYTHONPATH=f"{broken}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    assert shown.said(r"^sweeper: (MLflow has ended: no such thing\. The page of the sweep is served on\.)$")
    assert urlopen(shown.page, timeout=60).status == 200
    assert shown.end(signal.SIGINT) == 130


@pytest.mark.slow
@pytest.mark.rare
def test_server_has_its_own_page_named_and_is_not_served_again(ui, tmp_path):
    with tracking(tmp_path / "served") as server:
        Sweep("smoke", tmp_path / "home", server.uri).run(
            load_spec("smoke"), executor=InlineExecutor(), work=train_at_once
        )
        shown = ui("smoke", "--tracking-uri", server.uri)
        assert shown.mlflow.startswith(f"{server.uri}/#/experiments/")
        assert b"smoke" in urlopen(shown.page, timeout=60).read()
        assert len(shown.tree()) == 1
        assert shown.end(signal.SIGTERM) == 143


@pytest.mark.slow
@pytest.mark.rare
def test_sweep_that_has_only_just_begun_is_waited_for_while_it_is_driven(ui, tmp_path, empty_database):
    home = tmp_path / "begun"
    home.mkdir()
    shutil.copy(empty_database, home / "mlflow.db")
    folder = Home(home).sweep("small")
    folder.path.mkdir()
    with folder.drive():
        shown = ui("small", "--home", home, "--no-mlflow")
        given_up = ui("small", "--home", home, "--no-mlflow")
        for one in (shown, given_up):
            one.said("^(sweep small has only just begun; waiting until it is in MLflow)$")
        assert given_up.end(signal.SIGINT) == 130
        recorder = MlflowRecorder(Home(home).tracking_uri)
        recorder.open(replace(FACTS, aims=aims(OBJECTIVES, REFERENCE)))
        with opened(shown.page) as page:
            until(page, "document.body.textContent.includes('No trial has finished yet')")
            assert violations(page) == []
            recorder.record(a_trial(1, sweep="small", started_ms=1, ended_ms=2))
            recorder.record_live(
                LiveState("small", (TaskState("digits-10", 2, 1),), written_ms=time.time_ns() // 10**6)
            )
            recorder.close("FINISHED")
            until(page, "document.querySelectorAll('#table tbody tr').length === 1")
            assert page.wrong == []
    with pytest.raises(AssertionError, match="there is no sweep 'smal'"):
        ui("smal", "--home", home).said("never")


@contextmanager
def opened(address):
    with browser() as started:
        page = started.new_page()
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        page.wrong = []
        page.on("console", lambda message: page.wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.goto(address)
        yield page


def until(page, claim):
    end = time.monotonic() + 120
    while time.monotonic() < end:
        with suppress(Exception):  # the page may be reloading
            if page.evaluate(claim):
                return
        page.wait_for_timeout(100)
    raise AssertionError(f"never true: {claim}")


@pytest.mark.slow
def test_page_follows_a_running_sweep_keeps_what_was_done_to_it_and_asks_no_more_after_its_end(
    ui,
    driven,  # noqa: F811
):
    """MLflow serves the same file meanwhile, and the sweep ends as without a viewer."""
    shown = ui("smoke", "--home", driven.home)
    assert shown.mlflow
    with opened(shown.page) as page:
        until(page, "document.getElementById('live-stage').textContent === 'Running'")
        until(page, "document.querySelectorAll('#table tbody tr').length > 0")
        rows = page.locator("#table tbody tr").count()
        own = page.evaluate("document.querySelector('meta[name=page]').content")
        page.fill("#condition", "accuracy > 0.1")
        page.click("#theme")
        page.click("#summary-title")
        page.evaluate(f"{FOLDED}.open = true; window.scrollTo(0, 200)")
        driven.end()
        until(page, f"document.querySelector('meta[name=page]').content !== '{own}'")
        until(page, "document.getElementById('live-stage').textContent === 'Finished'")
        until(page, f"document.querySelectorAll('#table tbody tr').length > {rows}")
        assert page.input_value("#condition") == "accuracy > 0.1"
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert page.evaluate(f"{FOLDED}.open")
        assert abs(page.evaluate("window.scrollY") - 200) < 60, "what is above may be a line higher"
        until(page, "document.getElementById('live-pause').hidden")
        page.asked.clear()
        page.wait_for_timeout(6000)
        assert page.asked == [], "nothing comes any more, so nobody is asked"
        assert page.wrong == []
    assert shown.end(signal.SIGINT) == 130
    assert driven.summary.counts.complete == driven.summary.counts.planned
    assert len(MlflowReader(driven.uri, "smoke").trials().records) == driven.summary.counts.planned


@pytest.mark.slow
@pytest.mark.rare
def test_reader_can_have_the_page_left_as_it_is(home, ui):
    shown = ui("smoke", "--home", home, "--no-mlflow")
    with opened(shown.page) as page:
        until(page, "document.getElementById('live-stage').textContent === 'Finished'")
        assert violations(page) == []
        shown.end(signal.SIGTERM)
        assert page.locator("h1").inner_text() == "smoke"
        assert page.wrong == []


# --- mistakes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "no sweep 'nowhere'"),
        (["smoke", "--tracking-uri", "http://127.0.0.1:9"], "http://127.0.0.1:9"),
    ],
)
def test_what_cannot_be_shown_is_refused(mistaken, home, words, said):  # noqa: F811
    assert said in mistaken("ui", *words, "--home", home)


@pytest.mark.parametrize("option", ["--port", "--mlflow-port"])
@pytest.mark.parametrize("port", ["0", "65536", "many", "-1"])
def test_what_is_no_port_is_refused(sweeper, home, option, port):  # noqa: F811
    said = sweeper("ui", "smoke", "--home", home, f"{option}={port}")
    assert said.code == 2
    assert f"a port is a whole number from 1 to 65535, but got {port}." in said.err


@pytest.mark.parametrize("option", ["--port", "--mlflow-port"])
def test_port_that_somebody_has_is_one_sentence(mistaken, home, option):  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = mistaken("ui", "smoke", "--home", home, option, port)
    assert message == (
        f"sweeper: port {port} of 127.0.0.1 cannot be had: somebody listens there already. Name another one, or leave "
        "the option out for any free one.\n"
    )
