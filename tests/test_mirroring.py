"""The mirror's thread: a recorder that is slow or away holds up nobody, and loses nothing."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from sweeper import mirroring
from sweeper.errors import TrackingError
from sweeper.mirroring import FRONT_EVERY_S, FRONT_SHARE, Mirroring
from sweeper.record import MemoryRecorder
from sweeper.table import compute_fronts
from sweeper.vocabulary import Goal, Objective
from tests.test_record import a_late_trial

OBJECTIVES = [Objective("accuracy", Goal.MAXIMIZE)]


def a_trial(number):
    return replace(a_late_trial(number), number=number)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


class Bench:
    """A mirror, its recorder, and the trials that were told."""

    def __init__(self, recorder=None):
        self.recorder, self.clock, self.told = recorder or MemoryRecorder(), Clock(), []
        self.front_takes_s, self.fronts = 0.0, 0
        self.mirror = Mirroring(self.recorder, self.front, clock=self.clock)

    def front(self, task):
        self.fronts += 1
        self.clock.now_s += self.front_takes_s
        sweep = self.told[0].sweep if self.told else ""
        return compute_fronts(self.told, sweep, task, OBJECTIVES, {"accuracy": 0.0})

    def tell(self, number):
        self.told.append(a_trial(number))
        self.mirror.put([self.told[-1]], self.told[-1].task)

    @property
    def keys(self):
        return {trial.key for trial in self.told}


def test_everything_put_is_mirrored_when_it_is_finished():
    bench = Bench()
    for number in range(50):
        bench.tell(number)
    bench.mirror.finish()
    assert {stored.key for stored in bench.recorder.trials()} == bench.keys == bench.mirror.done
    assert "mirroring" not in {thread.name for thread in threading.enumerate()}


class Gated(MemoryRecorder):
    """A recorder that waits until it may go on."""

    def __init__(self):
        super().__init__()
        self.gate, self.reached = threading.Event(), threading.Event()

    def record(self, trial):
        self.reached.set()
        assert self.gate.wait(60)
        super().record(trial)


def test_slow_recorder_holds_up_nobody_until_so_many_wait():
    bench = Bench(Gated())
    for number in range(mirroring.MOST_WAITING):
        bench.tell(number)
    assert bench.recorder.reached.wait(60)
    assert bench.mirror.done == set()
    bench.recorder.gate.set()
    for number in range(100, 100 + 3 * mirroring.MOST_WAITING):
        bench.tell(number)
    bench.mirror.finish()
    assert bench.mirror.done == bench.keys


def test_stopping_leaves_what_waits_and_ends_the_thread():
    bench = Bench(Gated())
    for number in range(8):
        bench.tell(number)
    assert bench.recorder.reached.wait(60)
    threading.Timer(0.05, bench.recorder.gate.set).start()
    bench.mirror.stop()
    assert len(bench.mirror.done) < 8
    assert "mirroring" not in {thread.name for thread in threading.enumerate()}
    bench.mirror.stop()


class Away(MemoryRecorder):
    """A tracking server that answers again after a while."""

    is_away = True

    def record(self, trial):
        if self.is_away:
            raise TrackingError("it is away")
        super().record(trial)


def test_server_that_is_away_is_said_and_caught_up_later():
    bench = Bench(Away())
    for number in range(5):
        bench.tell(number)
    bench.mirror.finish()
    assert (bench.mirror.problem, bench.mirror.done) == ("it is away", set())
    assert not bench.mirror.catch_up(bench.told, [bench.told[0].task])
    bench.recorder.is_away = False
    assert bench.mirror.catch_up(bench.told, [bench.told[0].task])
    assert bench.mirror.close("FINISHED")
    assert bench.mirror.done == bench.keys
    assert bench.mirror.problem == ""


class Broken(MemoryRecorder):
    def record(self, trial):
        raise ValueError("a fault of our own")


def test_fault_of_our_own_ends_the_run_and_is_not_swallowed():
    bench = Bench(Broken())

    def go_on():
        for number in range(3 * mirroring.MOST_WAITING):  # also where nobody takes from a full queue any more
            bench.tell(number)
        bench.mirror.finish()

    with pytest.raises(ValueError, match="a fault of our own"):
        go_on()
    bench.mirror.stop()


def test_front_is_stored_at_once_then_now_and_then_and_at_the_end():
    bench = Bench()

    def tell_and_wait(number):
        bench.tell(number)
        bench.mirror.finish()  # the next one begins a thread anew
        return bench.fronts

    assert tell_and_wait(0) == 1
    assert [tell_and_wait(number) for number in (1, 2, 3)] == [1, 1, 1]
    bench.clock.now_s += FRONT_EVERY_S
    bench.front_takes_s = 10.0
    assert tell_and_wait(4) == 2
    bench.clock.now_s += 10.0 / FRONT_SHARE - 11
    assert tell_and_wait(5) == 2, "computing takes its share of the time and no more"
    bench.clock.now_s += 1
    assert tell_and_wait(6) == 3
    assert tell_and_wait(7) == 3
    task = bench.told[0].task
    assert bench.mirror.catch_up([], [task])
    assert bench.recorder.fronts()[0].same_content(bench.front(task)[0])
