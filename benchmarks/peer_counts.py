"""What peers.py counts: overheads and losses, from the log that the trained function writes, and what a system knows.

A trial is told by its two arguments, which no two trials share by chance: so one that a system runs again
under another number is the same trial here.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: The process in which this system calls a function for one epoch before it plans.
REHEARSAL = "own_probe.py"

Trial = tuple[float, float]


@dataclass(frozen=True)
class Said:
    """One line of the log.

    Attributes:
        event: `begin` or `end` of an epoch, or `done` when the last one was reported.
        epoch: From 0.
        program: Name of the program of the process.
    """

    at: float
    event: str
    trial: Trial
    epoch: int
    loss: float
    pid: int
    program: str


@dataclass(frozen=True)
class Known:
    """A trial as a system knows it at the end: its state is `complete`, `failed`, or a word for being neither."""

    trial: Trial | None
    state: str


@dataclass(frozen=True)
class Losses:
    """What an interruption has cost.

    Attributes:
        asked: Trials asked for.
        complete: Trials that are complete at the end, each counted once.
        finished_before: Trials that were done before the kill.
        lost: Of them, those that are not complete at the end.
        done_again: Trials that were done more than once.
        epochs_again: Epochs that were computed again, though they had ended.
        epochs_left: Epochs that had ended, of trials that never were done.
        cut: Epochs that began and never ended: those that ran at the kill.
        unfinished: Trials known at the end as neither complete nor failed, for ever.
        rehearsed: Epochs that this system's first calls took; in no other number.
        wrong: Trials whose loss is not that of an undisturbed training.
    """

    asked: int
    complete: int
    finished_before: int
    lost: int
    done_again: int
    epochs_again: int
    epochs_left: int
    cut: int
    unfinished: int
    rehearsed: int
    wrong: int


@dataclass(frozen=True)
class Overheads:
    """What a system takes beside its trainings, in seconds.

    Attributes:
        start, start_cpu: Until the first epoch begins.
        trial: A worker between epochs, for each trial: its own time, not that of a training that waits for a processor.
        trial_cpu: Of processors between the first epoch and the last trial's end, without the training, for each trial.
        end, end_cpu: From the last trial's end until all is over.
        wall, cpu: All of it, for each trial, the training not included.
    """

    start: float
    start_cpu: float
    trial: float
    trial_cpu: float
    end: float
    end_cpu: float
    wall: float
    cpu: float


def said(lines: Iterable[str]) -> list[Said]:
    """Read the log; a last line that a kill has cut is left out."""
    found = []
    for line in lines:
        if line.endswith("\n"):
            row = json.loads(line)
            trial = (row["x"], row["y"])
            found.append(
                Said(row["at"], row["event"], trial, row["epoch"], row["loss"], row["pid"], row.get("program", ""))
            )
    return found


def known(rows: Iterable[Mapping[str, Any]]) -> list[Known]:
    """Read what a system knows."""
    return [Known(None if row["x"] is None else (row["x"], row["y"]), row["state"]) for row in rows]


def losses(
    log: Sequence[Said], records: Sequence[Known], asked: int, killed_at: float, right: Mapping[Trial, float]
) -> Losses:
    """Count what a kill has cost.

    Args:
        log: All that the function said, before the kill and after it.
        records: What the system knows at the end.
        asked: Trials that were asked for.
        killed_at: When.
        right: The loss of each trial if nothing disturbs it.
    """
    rehearsed = [one for one in log if one.program == REHEARSAL]
    log = [one for one in log if one.program != REHEARSAL]
    begun = Counter((one.trial, one.epoch) for one in log if one.event == "begin")
    ended = Counter((one.trial, one.epoch) for one in log if one.event == "end")
    done = Counter(one.trial for one in log if one.event == "done")
    complete = {one.trial for one in records if one.state == "complete"}
    before = {one.trial for one in log if one.event == "done" and one.at <= killed_at}
    wrong = {
        one.trial for one in log if one.event == "done" and abs(one.loss - right[one.trial]) > 1e-9 * right[one.trial]
    }
    return Losses(
        asked=asked,
        complete=len(complete),
        finished_before=len(before),
        lost=len(before - complete),
        done_again=sum(times > 1 for times in done.values()),
        epochs_again=sum(times - 1 for times in ended.values()),
        epochs_left=sum(trial not in done for trial, _ in ended),
        cut=(begun - ended).total(),
        unfinished=sum(one.state not in ("complete", "failed") for one in records),
        rehearsed=sum(one.event == "end" for one in rehearsed),
        wrong=len(wrong),
    )


def overheads(
    log: Sequence[Said],
    curve: Sequence[tuple[float, float]],
    cpu: float,
    started: float,
    ended: float,
    workers: int,
    epoch_s: float,
) -> Overheads:
    """Tell what a system took beside the trainings of an undisturbed run.

    Args:
        log: What the function said.
        curve: Processor seconds of all its processes together, by time.
        cpu: Processor seconds of all its processes in the end.
        started, ended: When its first process began, and when the last one was gone.
        workers: Trainings at a time.
        epoch_s: Processor seconds of the training in an epoch.
    """
    log = [one for one in log if one.program != REHEARSAL]
    trials = len({one.trial for one in log if one.event == "done"})
    begins: dict[tuple[Trial, int], float] = {}
    inside = 0.0
    for one in log:
        if one.event == "begin":
            begins[one.trial, one.epoch] = one.at
        elif one.event == "end":
            inside += one.at - begins[one.trial, one.epoch]
    first, last = min(one.at for one in log), max(one.at for one in log)
    trained = epoch_s * sum(one.event == "end" for one in log)
    start_cpu, last_cpu = at(curve, first), at(curve, last)
    return Overheads(
        start=first - started,
        start_cpu=start_cpu,
        trial=((last - first) * workers - inside) / trials,
        trial_cpu=(last_cpu - start_cpu - trained) / trials,
        end=ended - last,
        end_cpu=cpu - last_cpu,
        wall=(ended - started - inside / workers) / trials,
        cpu=(cpu - trained) / trials,
    )


def at(curve: Sequence[tuple[float, float]], when: float) -> float:
    """Return a curve's value at a time, between its points by a straight line."""
    place = bisect_left(curve, when, key=lambda point: point[0])
    if place == 0:
        return curve[0][1] if curve else 0.0
    if place == len(curve):
        return curve[-1][1]
    (before, low), (after, high) = curve[place - 1], curve[place]
    return low + (high - low) * (when - before) / (after - before)
