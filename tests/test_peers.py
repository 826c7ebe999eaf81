"""benchmarks/peers.py counts right: losses and overheads from a log, and processor time of whole process trees."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.peer_counts import REHEARSAL, Known, Losses, Said, at, known, losses, overheads, said

ROOT = Path(__file__).parent.parent

A, B, C, D = ((number / 10, number / 20) for number in (1, 2, 3, 4))


def line(at, event, trial, epoch=-1, program="worker", loss=0.5):
    row = {"at": at, "event": event, "x": trial[0], "y": trial[1], "epoch": epoch, "loss": loss}
    return json.dumps({**row, "pid": 1, "program": program}) + "\n"


def epochs(trial, start, count=2, first=0, program="worker", done=True):
    """Yield the log lines of a training: an epoch takes a second, and a tenth of a second passes between epochs."""
    for epoch in range(first, count):
        yield line(start, "begin", trial, epoch, program)
        yield line(start + 1, "end", trial, epoch, program)
        start += 1.1
    if done:
        yield line(start, "done", trial)


def count(lines, states, asked=3, killed_at=10.0, right=0.5):
    records = [Known(trial, state) for trial, state in states]
    log = said(lines)
    return losses(log, records, asked, killed_at, {one.trial: right for one in log})


UNHARMED = Losses(
    asked=3,
    complete=3,
    finished_before=2,
    lost=0,
    done_again=0,
    epochs_again=0,
    epochs_left=0,
    cut=0,
    unfinished=0,
    rehearsed=0,
    wrong=0,
)
ALL = [(A, "complete"), (B, "complete"), (C, "complete")]


def test_resumed_without_loss_counts_nothing():
    lines = [*epochs(A, 0), *epochs(B, 3), *epochs(C, 8.5, 1, done=False), *epochs(C, 20, first=1)]
    assert count(lines, ALL) == UNHARMED


def test_epoch_that_the_kill_cuts_is_told_from_one_that_is_computed_again():
    begun = [*epochs(A, 0), *epochs(B, 3)]
    cut = [*begun, line(9.5, "begin", C, 0), *epochs(C, 20)]
    assert count(cut, ALL) == replace(UNHARMED, cut=1)
    again = [*begun, *epochs(C, 8, 1, done=False), *epochs(C, 20)]
    assert count(again, ALL) == replace(UNHARMED, epochs_again=1)


def test_finished_trial_that_is_forgotten_is_lost_and_one_that_runs_again_is_not():
    lines = [*epochs(A, 0), *epochs(B, 3), *epochs(C, 20), *epochs(D, 23)]
    assert count(lines, [(A, "complete"), (C, "complete"), (D, "complete")]) == replace(UNHARMED, lost=1)
    assert count(lines, [(A, "failed"), *ALL[1:]]) == replace(UNHARMED, complete=2, lost=1)
    again = [*epochs(A, 0), *epochs(B, 3), *epochs(A, 20), *epochs(C, 23)]
    assert count(again, ALL) == replace(UNHARMED, done_again=1, epochs_again=2)


def test_same_trial_under_another_number_counts_once():
    lines = [*epochs(A, 0), *epochs(B, 3), *epochs(A, 20)]
    states = [(A, "complete"), (B, "complete"), (A, "complete")]
    assert count(lines, states) == replace(UNHARMED, complete=2, done_again=1, epochs_again=2)


@pytest.mark.parametrize("state", ["running", "stopped", "waiting", "in_progress"])
def test_whatever_is_neither_complete_nor_failed_is_left_for_ever(state):
    lines = [*epochs(A, 0), *epochs(B, 3), *epochs(D, 8.5, 1, done=False), *epochs(C, 20)]
    assert count(lines, [*ALL, (D, state)]) == replace(UNHARMED, unfinished=1, epochs_left=1)
    assert count(lines, [*ALL, (D, "failed")]) == replace(UNHARMED, epochs_left=1)
    assert count(lines, [*ALL, (None, state)]) == replace(UNHARMED, unfinished=1, epochs_left=1)


def test_first_calls_are_counted_apart():
    rehearsed = [
        *epochs(A, 0, 1, program=REHEARSAL, done=False),
        *epochs(A, 11, 1, program=REHEARSAL, done=False),
    ]
    lines = [*rehearsed, *epochs(A, 1), *epochs(B, 4), *epochs(C, 20)]
    assert count(lines, ALL) == replace(UNHARMED, rehearsed=2)


def test_other_loss_than_that_of_an_undisturbed_training_is_wrong():
    lines = [*epochs(A, 0), *epochs(B, 3), *epochs(C, 20), line(23, "done", C, loss=0.4)]
    assert count(lines, ALL) == replace(UNHARMED, wrong=1, done_again=1)


def test_line_that_a_kill_has_cut_is_left_out():
    whole = [*epochs(A, 0), *epochs(B, 3)]
    assert said([*whole, whole[-1][:30]]) == said(whole)
    assert said(whole)[0] == Said(0, "begin", A, 0, 0.5, 1, "worker")
    assert known([{"x": A[0], "y": A[1], "state": "failed"}, {"x": None, "y": None, "state": "running"}]) == [
        Known(A, "failed"),
        Known(None, "running"),
    ]


def test_overheads_are_what_is_left_of_the_time_without_the_trainings():
    # Each of two workers trains two trials of two epochs: 1 s an epoch, 0.1 s a report, 0.3 s from trial to trial.
    lines = [*epochs(A, 105), *epochs(B, 107.5), *epochs(C, 105), *epochs(D, 107.5)]
    rehearsed = epochs(A, 101, 1, program=REHEARSAL, done=False)
    curve = [(100, 0.0), (105, 4.0), (109.7, 12.8), (111, 13.0)]
    found = overheads(said([*rehearsed, *lines]), curve, 13.2, 100, 111, 2, 1.0)
    assert (found.start, found.end) == (pytest.approx(5), pytest.approx(1.3))
    assert found.trial == pytest.approx((2 * 4.7 - 8) / 4)
    assert found.start_cpu == pytest.approx(4)
    assert found.trial_cpu == pytest.approx((8.8 - 8) / 4)
    assert found.end_cpu == pytest.approx(0.4)
    assert found.wall == pytest.approx((11 - 4) / 4)
    assert found.cpu == pytest.approx((13.2 - 8) / 4)
    parts = found.start_cpu + found.trial_cpu * 4 + found.end_cpu
    assert parts == pytest.approx(found.cpu * 4), "all of it is in one of the parts"


def test_curve_is_read_between_its_points():
    curve = [(1, 10.0), (2, 20.0), (4, 20.0), (5, 24.0)]
    assert [at(curve, when) for when in (0, 1, 1.5, 3, 4.25, 9)] == [10, 10, 15, 20, 21, 24]


#: Code of a process tree whose processor time is easily missed: a child that its parent waits for, a child whose end
#: its parent ignores, and a daemon whose parents have ended. Each is busy for a different time.
TREE = """
import os, signal, sys, time
def busy(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until: pass
def child(seconds):
    pid = os.fork()
    if pid == 0:
        busy(seconds)
        os._exit(0)
    return pid
os.waitpid(child(0.2), 0)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: time.sleep(0.3); busy(0.4)
    os._exit(0)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
child(0.8)
try: os.wait()
except ChildProcessError: pass
"""

WATCH = """
import os, sys, pathlib, tempfile
from peer_watch import Watched
with tempfile.TemporaryDirectory() as folder:
    here = pathlib.Path(folder)
    watched = Watched([sys.executable, "-I", "-S", "-c", sys.argv[1]], here, os.environ, here / "output")
    assert watched.wait(60) == 0, (here / "output").read_text()
    print(watched.cpu, watched.curve[-1][1])
"""


@pytest.mark.slow
def test_processor_time_of_a_tree_has_its_daemons_and_those_that_nobody_waits_for():
    if sys.platform != "linux":
        pytest.skip("the benchmark is for Linux")
    command = [sys.executable, "-c", WATCH, TREE]
    done = subprocess.run(command, cwd=ROOT / "benchmarks", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    cpu, seen = map(float, done.stdout.split())
    assert 1.4 - 0.12 < cpu < 1.4 + 0.3, "of the one that nobody waits for, the last tenth of a second may be missing"
    assert seen <= cpu + 0.1
