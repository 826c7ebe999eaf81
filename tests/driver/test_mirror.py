"""The mirror's thread: a slow or unreachable recorder delays nobody and loses nothing."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from sweeper.analysis.fronts import compute_fronts
from sweeper.driver import mirror
from sweeper.driver.mirror import FRONT_EVERY_S, FRONT_SHARE, Mirroring
from sweeper.errors import TrackingError
from sweeper.measurements import Goal, Objective
from sweeper.tracking.live import WRITTEN_AFTER_S, WRITTEN_EVERY_S, LiveState, Stage
from sweeper.tracking.memory import MemoryRecorder
from tests.contracts.recorder import a_late_trial

OBJECTIVES = [Objective("accuracy", Goal.MAXIMIZE)]


def a_trial(number):
    return replace(a_late_trial(number), number=number)


class Clock:
    """A clock that moves only when a test moves it."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


class Bench:
    """A mirror, its recorder, and the trials that the mirror was told."""

    def __init__(self, recorder=None):
        self.recorder, self.clock, self.told = recorder or MemoryRecorder(), Clock(), []
        self.front_takes_s, self.fronts = 0.0, 0
        self.mirror = Mirroring(self.recorder, self.front, self.live, self.clock)

    def front(self, task):
        self.fronts += 1
        self.clock.now_s += self.front_takes_s
        sweep = self.told[0].sweep if self.told else ""
        return compute_fronts(self.told, sweep, task, OBJECTIVES, {"accuracy": 0.0})

    def live(self):
        return LiveState("small", work=float(len(self.told)), written_ms=int(1000 * self.clock()))

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
    assert bench.recorder.trials.keys() == bench.keys == bench.mirror.done
    assert "mirroring" not in {thread.name for thread in threading.enumerate()}


class Gated(MemoryRecorder):
    """A recorder that waits until its gate is opened."""

    def __init__(self):
        super().__init__()
        self.gate, self.reached = threading.Event(), threading.Event()

    def record(self, trial):
        self.reached.set()
        assert self.gate.wait(60)
        super().record(trial)


def test_slow_recorder_holds_up_nobody_and_what_it_has_no_room_for_is_caught_up_at_the_end():
    bench = Bench(Gated())
    bench.tell(0)
    assert bench.recorder.reached.wait(60)
    for number in range(1, 2 * mirror.MOST_WAITING):  # the recorder writes nothing meanwhile
        bench.tell(number)
    assert bench.mirror.done == set()
    assert bench.mirror.left_out == mirror.MOST_WAITING - 1
    bench.recorder.gate.set()
    bench.mirror.finish()
    assert len(bench.mirror.done) == mirror.MOST_WAITING + 1
    left = [trial for trial in bench.told if trial.key not in bench.mirror.done]
    assert bench.mirror.catch_up(left, [bench.told[0].task])
    assert bench.mirror.done == bench.keys


def test_slow_recorder_of_a_sweep_that_is_stopped_writes_a_little_more():
    bench = Bench(Gated())
    bench.tell(0)
    assert bench.recorder.reached.wait(60)
    for number in range(1, 3 * mirror.MOST_AT_STOP):
        bench.tell(number)
    bench.mirror.hasten()
    assert bench.mirror.left_out == 2 * mirror.MOST_AT_STOP - 1
    bench.recorder.gate.set()
    bench.mirror.finish()
    assert len(bench.mirror.done) == mirror.MOST_AT_STOP + 1


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
    ended = LiveState("small", stage=Stage.FINISHED)
    assert bench.mirror.close("FINISHED", ended)
    assert (bench.recorder.status, bench.recorder.live()) == ("FINISHED", ended)
    assert bench.mirror.done == bench.keys
    assert bench.mirror.problem == ""


class Broken(MemoryRecorder):
    def record(self, trial):
        raise ValueError("a fault of our own")


def test_fault_of_our_own_ends_the_run_and_is_not_swallowed():
    bench = Bench(Broken())

    def go_on():
        for number in range(3 * mirror.MOST_WAITING):  # more than the queue holds, after its reader has ended
            bench.tell(number)
        bench.mirror.finish()

    with pytest.raises(ValueError, match="a fault of our own"):
        go_on()
    bench.mirror.stop()


def test_front_is_stored_at_once_then_now_and_then_and_at_the_end():
    bench = Bench()

    def tell_and_wait(number):
        bench.tell(number)
        bench.mirror.finish()  # the next outcome starts a new thread
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
    assert bench.recorder.fronts[task].same_content(bench.front(task)[0])


# --- live state ---------------------------------------------------------------------------------------


class Told(MemoryRecorder):
    """A recorder that keeps every live state, lets a test wait for them, and may be slow or fail."""

    clock, takes_s, fails = None, 0.0, 0

    def __init__(self):
        super().__init__()
        self.states, self._news = [], threading.Condition()

    def record_live(self, state):
        with self._news:
            self.states.append(state)
            self._news.notify_all()
        if self.clock:
            self.clock.now_s += self.takes_s
        if self.fails:
            self.fails -= 1
            raise TrackingError("it is away")
        super().record_live(state)

    def wait_for(self, number):
        with self._news:
            assert self._news.wait_for(lambda: len(self.states) >= number, 60)


def test_how_the_sweep_stands_is_said_before_anything_has_ended():
    bench = Bench(Told())
    bench.mirror.begin()
    bench.recorder.wait_for(1)
    bench.mirror.stop()
    assert (bench.recorder.live(), bench.recorder.trials) == (bench.live(), {})


def test_driver_speaks_now_and_then_also_while_nothing_ends(monkeypatch):
    monkeypatch.setattr(mirror, "WRITTEN_EVERY_S", 0.01)  # the thread's own wait, by the real clock
    bench = Bench(Told())
    bench.mirror.begin()
    for number in (1, 2, 3):
        bench.recorder.wait_for(number)
        bench.clock.now_s += WRITTEN_EVERY_S
    bench.mirror.stop()
    assert [state.written_ms for state in bench.recorder.states[:3]] == [0, 5000, 10_000]


def said_after_each(bench, pauses_s):
    """Tell an outcome after each pause, and return how many live states were written after each outcome."""
    said = []
    for number, pause_s in enumerate(pauses_s):
        bench.clock.now_s += pause_s
        bench.tell(number)
        bench.mirror.finish()  # the next outcome starts a new thread
        said.append(len(bench.recorder.states))
    return said


def test_how_the_sweep_stands_is_said_at_most_every_few_seconds_however_much_ends():
    bench = Bench(Told())
    assert said_after_each(bench, [0, 0, 1, 0, WRITTEN_EVERY_S - 1, 1]) == [1, 1, 1, 1, 2, 2]


def test_slow_server_is_told_less_often_but_never_so_seldom_that_the_driver_seems_gone():
    bench = Bench(Told())
    bench.recorder.clock, bench.recorder.takes_s = bench.clock, 1.0
    assert said_after_each(bench, [0, 1 / FRONT_SHARE - 1, 1]) == [1, 1, 2]
    bench.recorder.takes_s = 100.0
    assert said_after_each(bench, [1000, WRITTEN_AFTER_S - 1, 1]) == [3, 3, 4]


def test_server_that_takes_no_state_still_takes_every_outcome_and_no_problem_is_said():
    bench = Bench(Told())
    bench.recorder.fails = 1
    assert said_after_each(bench, [0, WRITTEN_EVERY_S, mirror.RETRY_EVERY_S]) == [1, 1, 2]
    assert (bench.mirror.done, bench.mirror.problem) == (bench.keys, "")
    assert bench.recorder.live() is not None
