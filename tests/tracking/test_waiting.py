"""Reading waits for a tracking server that is being started, and for nothing else."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from sweeper.errors import TrackingError
from sweeper.tracking.mlflow.client import connect
from sweeper.tracking.mlflow.waiting import is_starting, wait_for_server


@pytest.fixture
def port():
    """A port of the loopback at which nothing listens."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]  # bound, so that no process takes it, but not listening


class Clock:
    """A clock that moves only when somebody pauses."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def pause(self, seconds):
        self.now += seconds


def test_server_that_comes_is_waited_for_and_said_once():
    said, clock = [], Clock()
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))

        def pause(seconds):
            clock.pause(seconds)
            if clock.now > 5:
                server.listen()

        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert wait_for_server(uri, 60, lambda: said.append(1), clock=clock, pause=pause)
    assert said == [1]
    assert 5 < clock.now < 7


def test_server_that_never_comes_is_given_up_after_so_long(port):
    clock = Clock()
    assert not wait_for_server(f"http://127.0.0.1:{port}", 60, lambda: None, clock=clock, pause=clock.pause)
    assert 60 <= clock.now < 61


def test_who_has_enough_of_waiting_waits_no_more(port):
    clock = Clock()
    stops = lambda: clock.now > 3  # noqa: E731
    assert not wait_for_server(f"http://127.0.0.1:{port}", 60, lambda: None, stops, clock, clock.pause)
    assert clock.now < 4


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:////tmp/mlflow.db",
        "postgresql://127.0.0.1:1/x",
        "http://no-such-machine.invalid:5000",
        "http://127.0.0.1:nonsense",
        "http://",
        "",
    ],
)
def test_what_is_no_server_that_is_starting_is_not_waited_for(uri):
    assert not is_starting(uri)
    assert wait_for_server(uri, 60, lambda: pytest.fail("there is nothing to wait for"))


def test_server_that_is_not_there_is_said_without_what_passed_it_on(port):
    with pytest.raises(TrackingError) as refused:
        connect(f"http://127.0.0.1:{port}")
    assert f"at http://127.0.0.1:{port}: nothing listens there (connection refused). Check that" in str(refused.value)
    assert "Pool" not in str(refused.value)
    with pytest.raises(TrackingError, match=r"invalid:5000: the name of the machine is not known\. Check"):
        connect("http://no-such-machine.invalid:5000")


def test_server_that_does_not_answer_is_said_so(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert not is_starting(uri)
        with pytest.raises(TrackingError, match=rf"{uri}: it did not answer in time\. Check"):
            connect(uri)
