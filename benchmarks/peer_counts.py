"""Counts for peers.py: overheads and losses, from the log of the trained function and the records of a system.

A trial is identified by its two arguments, which differ between trials. So a trial that a system runs again under
another number is the same trial here.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Program in which this system runs a function for one epoch before it plans.
REHEARSAL = "own_probe.py"

Trial = tuple[float, float]


@dataclass(frozen=True)
class Said:
    """One line of the log.

    Attributes:
        event: `begin` or `end` of an epoch, or `done` when the last one was reported.
        epoch: From 0.
        program: Name of the process's program.
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
    """A trial in a system's records at the end: its state is `complete`, `failed`, or a word for neither."""

    trial: Trial | None
    state: str


@dataclass(frozen=True)
class Losses:
    """Losses by an interruption.

    Attributes:
        asked: Requested trials.
        complete: Trials that are complete at the end, each counted once.
        finished_before: Trials that were done before the kill.
        lost: Those of them that are not complete at the end.
        done_again: Trials that were done more than once.
        epochs_again: Epochs that were computed again although they had ended.
        epochs_left: Epochs that had ended, of trials that were never done.
        cut: Epochs that began and never ended: those that ran at the kill.
        unfinished: Trials that the system records as neither complete nor failed at the end.
        rehearsed: Epochs of this system's trial calls before planning; not part of any other number.
        wrong: Trials whose loss differs from that of an undisturbed training.
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
    """Time of a system beside its trainings, in seconds; names with `cpu` are processor time, the others wall time.

    Attributes:
        start, start_cpu: Time until the first epoch begins.
        trial: Time of a worker between epochs, per trial, without a training's waits for a processor.
        trial_cpu: Time between the first epoch and the last trial's end, without the training, per trial.
        end, end_cpu: Time from the last trial's end until all processes are gone.
        wall, cpu: Total time without the training, per trial.
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
    """Read the log, without a last line that a kill has cut off."""
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
    """Read a system's records."""
    return [Known(None if row["x"] is None else (row["x"], row["y"]), row["state"]) for row in rows]


def losses(
    log: Sequence[Said], records: Sequence[Known], asked: int, killed_at: float, right: Mapping[Trial, float]
) -> Losses:
    """Count the losses by a kill.

    Args:
        log: Lines of the function, before the kill and after it.
        records: The system's records at the end.
        asked: Requested trials.
        killed_at: Time of the kill.
        right: Loss of each trial in an undisturbed training.
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
    """Return the time of a system beside the trainings of an undisturbed run.

    Args:
        log: Lines of the function.
        curve: Processor seconds of all its processes together, by time.
        cpu: Processor seconds of all its processes at the end.
        started, ended: Times at which its first process began, and its last one was gone.
        workers: Number of trainings at a time.
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
    """Return a curve's value at a time, linearly interpolated."""
    place = bisect_left(curve, when, key=lambda point: point[0])
    if place == 0:
        return curve[0][1] if curve else 0.0
    if place == len(curve):
        return curve[-1][1]
    (before, low), (after, high) = curve[place - 1], curve[place]
    return low + (high - low) * (when - before) / (after - before)
