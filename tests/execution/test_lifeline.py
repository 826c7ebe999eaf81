"""When a Ray's processes die, the run is told; if it does not end then, the whole process is ended."""

from __future__ import annotations

import socket
import threading
import time

from sweeper.execution import executors
from sweeper.execution.lifeline import watching

PATIENCE_S = 60


def test_who_works_is_told_once_and_nothing_is_ended_where_that_is_enough():
    told, ended = [], []
    heard = threading.Event()

    def on_death(reason):
        told.append(reason)
        heard.set()

    with watching(lambda: "the daemon has died", on_death, ended.append, grace_s=PATIENCE_S):
        assert heard.wait(PATIENCE_S)
    time.sleep(0.1)
    assert (told, ended) == (["the daemon has died"], [])


def test_process_is_ended_where_who_works_does_not_end():
    ended = threading.Event()
    reasons = []

    def at_worst(reason):
        reasons.append(reason)
        ended.set()

    with watching(lambda: "the daemon has died", lambda _: None, at_worst, grace_s=0.1):
        assert ended.wait(PATIENCE_S)
    assert reasons == ["the daemon has died"]


def test_nothing_happens_while_all_of_it_lives():
    asked, told = threading.Event(), []

    def dead():
        asked.set()
        return ""

    with watching(dead, told.append, told.append, grace_s=0):
        assert asked.wait(PATIENCE_S)
    assert told == []


def test_head_of_a_cluster_is_lost_once_it_has_not_listened_for_long(monkeypatch):
    monkeypatch.setattr(executors, "HEAD_EVERY_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        lost = executors.head_of(address, patience_s=0.05)
        assert lost() == ""
    limit = time.monotonic() + PATIENCE_S
    while not (said := lost()):
        assert time.monotonic() < limit
    assert said.startswith(f"the head of the Ray cluster at {address} has not listened for ")
