"""The page of a sweep that refreshes itself: its cost, its end, and its readers. The MLflow files are real."""

from __future__ import annotations

import http.client
import itertools
import json
import shutil
import socket
import threading
import time
from dataclasses import replace

import pytest

from sweeper.analysis.trials import aims
from sweeper.errors import QueryError, TrackingError
from sweeper.results.loaded_sweep import load
from sweeper.results.report.live import _LATE_LOOKS, PAGE_EVERY_S, PAGE_SHARE, LiveReport, ReadAtOnce
from sweeper.results.report.page import report
from sweeper.results.report.served import ReportServer
from sweeper.results.sweep_tables import SweepTables
from sweeper.tracking.live import LiveState, Stage, TaskState, View
from sweeper.tracking.mlflow.reader import MlflowReader
from sweeper.tracking.mlflow.recorder import MlflowRecorder
from tests.analysis.test_fronts import OBJECTIVES, REFERENCE
from tests.contracts.recorder import FACTS
from tests.driver.test_progress import Clock
from tests.results.test_report import HOSTILE, some_trials
from tests.support.stored import store


@pytest.fixture(scope="module")
def uri(tmp_path_factory, empty_database):
    """A database with a sweep, and a sweep that has no finished trial yet."""
    folder = tmp_path_factory.mktemp("live")
    shutil.copy(empty_database, folder / "mlflow.db")
    uri = f"sqlite:///{folder}/mlflow.db"
    store(uri, "first", some_trials(4))
    MlflowRecorder(uri).open(replace(FACTS, name="empty", aims=aims(OBJECTIVES, REFERENCE)))
    return uri


class Watched:
    """A sweep with real stored trials, whose driver's live state a test decides."""

    def __init__(self, uri, name="first"):
        self.clock, self.loads, self.looks, self.slow_s, self.trouble = Clock(), 0, 0, 0.0, None
        self.stage, self.ended, self._uri, self._name = Stage.RUNNING, 4, uri, name
        self.live = LiveReport(self._load, self._look, "/plotly.js", self.clock)

    def _load(self):
        self.loads += 1
        self.clock.now += self.slow_s
        return load(self._name, self._uri)

    def _look(self):
        self.looks += 1
        if self.trouble:
            raise self.trouble
        task = TaskState("digits-10", planned=9, complete=self.ended, running=1)
        return View(LiveState("first", (task,), stage=self.stage, seconds_left=5.0), resume="sweeper resume first")

    def later(self, seconds):
        self.clock.now += seconds
        return self.live.state()

    def settled(self):
        """Return the state after the page in the making is ready."""
        for thread in threading.enumerate():
            if thread.name == "live-report":
                thread.join()
        return self.later(1)


def test_page_is_made_when_it_is_asked_for_and_again_only_for_new_results(uri):
    watched = Watched(uri)
    assert (watched.later(0)["page"], watched.loads) == ("", 0)
    page = watched.live.page()
    assert f'content="{page.name}"'.encode() in page.content
    for _ in range(50):
        state = watched.later(60)
    assert (state["page"], state["is_final"], watched.loads) == (page.name, False, 1)
    watched.ended = 5
    watched.later(60)
    watched.settled()
    assert watched.loads == 2
    for _ in range(50):  # MLflow lacks the fifth trial, and is read again only a few times
        watched.later(60)
        watched.settled()
    assert watched.loads == 2 + _LATE_LOOKS
    assert watched.live.page().name == page.name, "the same content, so nobody reads it again"


def test_pages_take_a_small_share_of_the_time(uri):
    watched = Watched(uri)
    watched.slow_s = 3.0
    watched.live.page()
    made = []
    for second in range(600):
        watched.ended = 5 + second
        loads = watched.loads
        watched.later(1)
        for thread in threading.enumerate():
            if thread.name == "live-report":
                thread.join()
        made += [second] * (watched.loads - loads)
    assert len(made) == pytest.approx(600 / (3.0 / PAGE_SHARE), abs=2)
    assert min(b - a for a, b in itertools.pairwise(made)) >= PAGE_EVERY_S


def test_many_who_ask_look_once_a_second(uri):
    watched = Watched(uri)
    for _ in range(100):
        watched.live.state()
    assert watched.looks == 1
    watched.later(1)
    assert watched.looks == 2


def test_after_the_end_the_last_page_is_made_and_then_nothing_more(uri):
    watched = Watched(uri)
    running = watched.live.page()
    assert b'id="findings"' not in running.content, "verdicts would change while it runs"
    watched.stage = Stage.FINISHED
    assert not watched.later(1)["is_final"], "it is made at once, whatever the last one took"
    state = watched.settled()
    assert state["is_final"]
    assert state["page"] != running.name
    loads = watched.loads
    for _ in range(20):
        assert watched.later(3600)["is_final"]
    assert watched.loads == loads


def test_page_is_of_one_moment_though_its_driver_writes_meanwhile(uri, empty_database, tmp_path):
    """The driver writes a front and its trials between two reads: the page shows the old front or the whole new one."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    own = f"sqlite:///{tmp_path}/mlflow.db"
    store(own, "first", some_trials(3))

    class Meanwhile(MlflowReader):
        def fronts(self, *which):
            found = super().fronts(*which)
            store(own, "first", some_trials(9))
            return found

    sweep = SweepTables(ReadAtOnce(Meanwhile(own, "first")))
    page = report(sweep)
    (front,) = sweep.fronts()
    assert set(front.table["key"].to_pylist()) <= {record.key for record in sweep.records}
    assert (len(sweep.records), front.version) == (9, 1)
    assert f"The front, {front.table.num_rows} networks" in page
    assert sweep.fronts("digits-10") == [front]


def test_what_cannot_be_read_is_said_and_what_was_read_stands(uri):
    watched = Watched(uri)
    page = watched.live.page()
    watched.trouble = TrackingError("no answer.")
    state = watched.later(10)
    assert (state["trouble"], state["page"], state["ended"]) == ("no answer.", page.name, 4)
    watched.trouble = None
    assert watched.later(10)["trouble"] == ""


def test_sweep_whose_driver_does_not_say_how_it_stands_has_a_page_that_is_final(uri):
    watched = Watched(uri)
    watched.trouble = QueryError("an older version")
    assert b"digits-10" in watched.live.page().content
    state = watched.later(10)
    assert (state["stage"], state["is_final"], state["trouble"]) == ("unknown", True, "")


def test_sweep_without_a_finished_trial_has_a_page_that_waits(uri):
    watched = Watched(uri, "empty")
    watched.ended = 0
    page = watched.live.page().content.decode()
    assert "No trial has finished yet" in page
    assert "plotly" not in page
    watched = Watched(uri, "empty")
    watched.trouble = QueryError("its driver has not said anything yet")
    assert b"No trial" in watched.live.page().content
    assert not watched.later(10)["is_final"], "it has only just begun"


# --- the server -------------------------------------------------------------------------------------


@pytest.fixture
def served(uri):
    watched = Watched(uri)
    server = ReportServer()
    watched.live = LiveReport(watched._load, watched._look, server.script)
    try:
        with server.answering(watched.live):
            yield server
    finally:
        server.close()


def asked(server, path="/", method="GET", **headers):
    port = int(server.address.rsplit(":", 1)[1].strip("/"))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        connection.close()


def test_page_its_script_and_its_state_are_served_and_nothing_else(served):
    status, page, headers = asked(served)
    assert (status, headers["Cache-Control"], headers["X-Frame-Options"]) == (200, "no-store", "DENY")
    assert f'<script src="{served.script}"></script>'.encode() in page
    assert len(page) < 1e6, "what draws is read once, not with each page"
    assert b"connect-src 'self'" in page
    status, script, headers = asked(served, served.script)
    assert (status, "immutable" in headers["Cache-Control"]) == (200, True)
    assert len(script) > 1e6
    assert json.loads(asked(served, "/state")[1])["ended"] == 4
    assert asked(served, "/", "HEAD")[:2] == (200, b"")
    for path in (
        "/mlflow.db",
        "/../mlflow.db",
        "//etc/passwd",
        "/%2e%2e/mlflow.db",
        "/state/",
        "/index.html",
        "/plotly.js",
    ):
        assert asked(served, path)[0] == 404, path
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        assert asked(served, "/", method)[0] == 501, method


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:8000", "127.0.0.1:9", "[::1]:80", "LOCALHOST"])
def test_page_is_served_under_names_of_this_machine_whatever_the_port(served, host):
    assert asked(served, "/state", Host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost@evil", "me@localhost", "", "127.0.0.2"],
)
def test_page_is_refused_under_any_other_name(served, host):
    for path in ("/", "/state", served.script):
        status, said, headers = asked(served, path, Host=host)
        assert (status, b"digits" in said, headers["Content-Type"]) == (421, False, "text/plain; charset=utf-8")


def test_request_without_a_name_or_with_two_is_refused(served):
    port = int(served.address.rsplit(":", 1)[1].strip("/"))
    for lines in ("", "Host: localhost\r\nHost: evil.example\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(f"GET /state HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 421 ")


def test_server_listens_on_the_loopback_alone_and_lets_go_of_its_port(uri):
    server = ReportServer()
    try:
        assert server._server.socket.getsockname()[0] == "127.0.0.1"
        port = server._server.server_port
        with pytest.raises(QueryError, match=rf"^port {port} of 127\.0\.0\.1 cannot be had: somebody listens there"):
            ReportServer(port)
    finally:
        server.close()
    ReportServer(port).close()


@pytest.mark.slow
def test_connection_that_breaks_or_says_nothing_keeps_nobody_waiting(served, capfd):
    port = int(served.address.rsplit(":", 1)[1].strip("/"))
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    begun = time.monotonic()
    assert asked(served, "/state")[0] == 200
    assert time.monotonic() - begun < 5
    for one in silent:
        one.close()
    assert capfd.readouterr() == ("", "")


def test_hostile_words_are_text_in_the_live_page_too(uri, tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    own = f"sqlite:///{tmp_path}/mlflow.db"
    trials = [replace(one, axes={"data": f"<!-- name -->{HOSTILE}{n}"}) for n, one in enumerate(some_trials(3))]
    store(own, "first", trials)
    page = Watched(own).live.page().content.decode()
    assert "<img src=x" not in page
    assert page.count('<meta name="page"') == 1
