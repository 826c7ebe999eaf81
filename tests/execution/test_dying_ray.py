"""The death of a Ray before its first job is reported, though Ray itself says nothing and hangs."""

from __future__ import annotations

import gc
import queue
import subprocess
import sys
import time

import pytest

from sweeper.errors import ClusterLostError
from sweeper.execution import ray_cluster, ray_private
from sweeper.execution.executors import RayExecutor
from sweeper.execution.lifeline import watching
from tests.contracts.executor import Source, a_job


@pytest.fixture
def dying(monkeypatch):
    """A function that simulates a Ray with a dead head, hanging in its start or not; returns a queue of reports."""
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    monkeypatch.setattr(ray_cluster, "watching", lambda dead, told, worst, _=0: watching(dead, told, worst, 0.1))
    monkeypatch.setattr(ray_private, "dead_daemons", lambda: [ray_private.HEAD])
    monkeypatch.setattr(ray_private, "head_to_come", lambda _: lambda: True)
    told = queue.Queue()

    def has(hangs):
        def start(*_, **__):
            if hangs:
                told.put(("it started after", told.get(timeout=60)))

        monkeypatch.setattr(ray_private, "start", start)
        return told

    return has


SAID = "Ray's gcs_server on this machine has died"


def test_head_that_dies_while_ray_starts_is_told_though_the_start_does_not_come_back(dying):
    told = dying(hangs=True)
    with ray_cluster.connected(None, 1, at_worst=told.put):
        assert told.get(timeout=60) == ("it started after", SAID)


def test_head_that_dies_before_anything_is_asked_of_it_is_told(dying):
    told = dying(hangs=False)
    with ray_cluster.connected(None, 1, at_worst=told.put):
        assert told.get(timeout=60) == SAID


def test_nothing_is_told_of_a_ray_that_is_left(dying):
    told = dying(hangs=False)
    with ray_cluster.connected(None, 1, at_worst=told.put):
        pass
    with pytest.raises(queue.Empty):
        told.get(timeout=1)


def test_run_on_a_ray_that_has_died_ends_before_it_is_asked_for_anything(dying, monkeypatch):
    dying(hangs=False)
    monkeypatch.setattr(ray_cluster.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray_cluster, "seen", lambda: pytest.fail("asked"))
    with pytest.raises(ClusterLostError, match=f"^{SAID}, so that nothing more can be trained"):
        RayExecutor(1).run(lambda *_: [], Source([a_job(1)]))


#: Code of a process that sleeps; its program is named like the head of a Ray, in a folder `ray`.
SLEEPS = "import time; time.sleep(600)"


def test_head_that_dies_while_ray_has_not_named_it_is_known_by_its_process(tmp_path):
    program = tmp_path / "ray" / "gcs_server"
    program.parent.mkdir()
    program.symlink_to(sys.executable)
    with subprocess.Popen([program, "-c", SLEEPS]) as other:
        has_died = ray_private.head_to_come({other.pid})
        with subprocess.Popen([program, "-c", SLEEPS]) as head:
            assert not has_died()
            other.kill()
            other.wait()
            assert not has_died(), "that one was there before"
            head.kill()
            until = time.monotonic() + 60
            while not has_died():  # the head is a zombie until its parent waits for it
                assert time.monotonic() < until
        assert has_died()


def test_python_collects_nothing_while_ray_shuts_down_and_goes_on_afterwards(dying, monkeypatch):
    """An actor that is collected during the shutdown calls Ray's core, which ends the process without a message."""
    collected = []
    monkeypatch.setattr(ray_cluster.ray, "shutdown", lambda: collected.append(gc.isenabled()))
    dying(hangs=False)
    with ray_cluster.connected(None, 1):
        assert gc.isenabled()
    assert (collected, gc.isenabled()) == ([False], True)
