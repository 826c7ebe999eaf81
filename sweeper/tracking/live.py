"""The state of a running sweep that its driver publishes: plain values, and text that fits a tag of MLflow."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from sweeper.errors import DamagedError, QueryError

#: Format number in every state; raise it when an older version of sweeper could misread a newer state. 2: early fronts.
LIVE_FORMAT = 2

#: Most bytes of a state as text: every MLflow store keeps 5000 characters in a tag.
LONGEST_TEXT = 4500

#: Most notes in a state, and most characters of each.
MOST_NOTES, LONGEST_NOTE = 3, 200

#: Least time between two states that a driver writes, and the usual longest time even if nothing happens, in seconds.
WRITTEN_EVERY_S, WRITTEN_AFTER_S = 5.0, 30.0

#: Age of a state after which its driver may be gone, in seconds: two states are missing by then.
STALE_AFTER_S = 90.0


class Stage(StrEnum):
    """Whether a driver runs the sweep; `interrupted`: it stopped before every trial had an outcome."""

    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class TaskState:
    """The state of a task's trials.

    Attributes:
        task: Label of the task.
        planned: Number of trials that the task will have.
        complete, pruned, failed: Numbers of trials that ended in these ways.
        running: Number of trials in training.
        cells: Cells of the grid that are searched in this task; 0 if nothing is searched.
        best_accuracy: The best accuracy measured so far, in any epoch.
        hypervolume: Hypervolume of the front over all objectives, when it was last computed.
        points: Number of networks on that front.
        is_early: Whether no network is complete yet, so that the front consists of networks still in training.
    """

    task: str
    planned: int
    complete: int = 0
    pruned: int = 0
    failed: int = 0
    running: int = 0
    cells: int = 0
    best_accuracy: float | None = None
    hypervolume: float | None = None
    points: int | None = None
    is_early: bool = False

    @property
    def ended(self) -> int:
        """Number of trials with an outcome."""
        return self.complete + self.pruned + self.failed

    @property
    def waiting(self) -> int:
        """Number of trials that have not begun, or wait to continue."""
        return self.planned - self.ended - self.running

    @property
    def line(self) -> str:
        """The numbers as the beginning of a line of progress; `tells_progress` finds it again."""
        return f"{self.ended}/{self.planned} trials done, {self.running} running, {self.failed} failed"


def tells_progress(log: str) -> bool:
    """Return whether a driver's log has a line of progress, which it writes once the trials are planned."""
    return re.search(r"(?m)^\d+/\d+ trials done, ", log) is not None


@dataclass(frozen=True)
class Note:
    """A message to the user, with its time in Unix milliseconds."""

    said_ms: int
    text: str


@dataclass(frozen=True)
class LiveState:
    """The state of a sweep.

    Attributes:
        sweep: Its name.
        tasks: Its tasks in the order of the spec; of very many only the most active ones.
        folded: Number of tasks that are not in `tasks`.
        rest: Sums over those tasks.
        stage: Whether a driver runs it.
        work: Trials done; a running trial counts by the share of its epochs that is done.
        trials_per_minute: Pace over the last minutes, counted like `work`; None before there is anything to count.
        seconds_left: Estimate at the mean pace since the driver's start; None before there is a pace.
        busy: Number of populations in training, each on one worker.
        workers: Number of populations that can be trained at a time; 0 if unknown.
        since_ms: Start of its driver, Unix milliseconds.
        written_ms: Time at which the driver wrote this state, Unix milliseconds.
        notes: The last few notes, newest last.
    """

    sweep: str
    tasks: tuple[TaskState, ...] = ()
    folded: int = 0
    rest: TaskState = field(default_factory=lambda: TaskState("", 0))
    stage: Stage = Stage.RUNNING
    work: float = 0.0
    trials_per_minute: float | None = None
    seconds_left: float | None = None
    busy: int = 0
    workers: int = 0
    since_ms: int = 0
    written_ms: int = 0
    notes: tuple[Note, ...] = ()

    @property
    def total(self) -> TaskState:
        """Sums over all tasks."""
        return together([*self.tasks, self.rest])

    @property
    def is_ended(self) -> bool:
        """Whether its driver said that it stopped."""
        return self.stage is not Stage.RUNNING

    def at_most(self, tasks: int) -> LiveState:
        """Return the state with at most so many tasks, the most active ones; the others are only summed."""
        if len(self.tasks) <= tasks:
            return self
        kept = set(sorted(range(len(self.tasks)), key=lambda at: (*_activity(self.tasks[at]), at))[: max(tasks, 0)])
        left_out = [row for at, row in enumerate(self.tasks) if at not in kept]
        return replace(
            self,
            tasks=tuple(row for at, row in enumerate(self.tasks) if at in kept),
            folded=self.folded + len(left_out),
            rest=together([self.rest, *left_out]),
        )

    def to_json(self) -> str:
        """Return the state as text of at most `LONGEST_TEXT` bytes; if there are too many tasks, some are folded."""
        state = self
        while True:
            text = state._text()
            length = len(text.encode())
            if length <= LONGEST_TEXT:
                return text
            if state.tasks:
                kept = len(state.tasks)
                state = state.at_most(min(kept - 1, kept * LONGEST_TEXT // length))
            elif state.notes:
                state = replace(state, notes=state.notes[1:])
            else:
                raise ValueError(f"the name of a sweep must be short, but got one of {len(self.sweep)} characters")

    def _text(self) -> str:
        values = {
            "format": LIVE_FORMAT,
            **{name: value for name, value in vars(self).items() if name not in ("tasks", "rest", "notes")},
            "columns": _COLUMNS,
            "tasks": [astuple(row) for row in self.tasks],
            "rest": astuple(self.rest),
            "notes": [astuple(note) for note in self.notes],
        }
        return json.dumps(values, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> LiveState:
        """Return the state that `to_json` wrote.

        Raises:
            QueryError: If the text is something else, or of a newer format.
        """
        try:
            values = json.loads(text)
            if (stored := int(values.pop("format"))) > LIVE_FORMAT:
                raise QueryError(
                    f"how the sweep stands is written in format {stored}, and this version of sweeper reads up to "
                    f"{LIVE_FORMAT}. Watch it with the version that drives it."
                )
            columns = values.pop("columns")
            rows = [TaskState(**dict(zip(columns, row, strict=True))) for row in (*values["tasks"], values["rest"])]
            notes = tuple(Note(*note) for note in values["notes"])
            stage = Stage(values["stage"])
            return cls(**{**values, "tasks": tuple(rows[:-1]), "rest": rows[-1], "notes": notes, "stage": stage})
        except QueryError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DamagedError(
                f"how the sweep stands cannot be read: {error!r} in {text[:80]!r}. Have it written again with "
                "`sweeper mirror`."
            ) from error

    def to_values(self) -> dict[str, Any]:
        """Return the state for programs: every value by name."""
        rows = [{**asdict(row), "waiting": row.waiting} for row in (*self.tasks, self.rest, self.total)]
        for row in rows[-2:]:
            del row["task"]
        return {**asdict(self), "tasks": rows[:-2], "rest": rows[-2], "total": rows[-1]}


@dataclass(frozen=True)
class View:
    """A state as a watcher sees it, who may be on another machine.

    Attributes:
        state: The last state that was read.
        age_s: Its age in seconds.
        trouble: Why no newer state can be read; empty if it can.
        resume: The command that continues the sweep.
    """

    state: LiveState
    age_s: float = 0.0
    trouble: str = ""
    resume: str = ""

    @property
    def is_stale(self) -> bool:
        """Whether the driver has been silent for so long that it may be gone without having said so."""
        return not self.state.is_ended and not self.trouble and self.age_s > STALE_AFTER_S

    def to_values(self) -> dict[str, Any]:
        """Return the view for programs."""
        seen = {"last_heard_s": round(self.age_s, 1), "is_stale": self.is_stale, "trouble": self.trouble}
        return {**self.state.to_values(), **seen}


_COLUMNS = tuple(column.name for column in fields(TaskState))


def together(rows: Iterable[TaskState]) -> TaskState:
    """Return sums over tasks, without hypervolumes, which cannot be added across tasks."""
    rows = list(rows)
    counted = ("planned", "complete", "pruned", "failed", "running", "cells")
    sums = {name: sum(getattr(row, name) for row in rows) for name in counted}
    best = max((row.best_accuracy for row in rows if row.best_accuracy is not None), default=None)
    return TaskState("", **sums, best_accuracy=best)


def _activity(row: TaskState) -> tuple[int, int]:
    """Return a key that sorts tasks by activity: first those in training, then begun, waiting, and ended ones."""
    begun = 2 if row.waiting <= 0 else 0 if row.ended else 1
    return -row.running, begun


def finite(value: float | None) -> float | None:
    """Return a finite number, or else None."""
    return value if value is not None and math.isfinite(value) else None


def plain(text: str) -> str:
    """Return a text in one line, without terminal control sequences."""
    text = re.sub(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?)?", "", text)
    text = text.encode("utf-8", "replace").decode()
    return " ".join("".join(" " if c.isspace() else c for c in text if c.isspace() or c.isprintable()).split())


def shortened_note(text: str) -> str:
    """Return a text in one line, shortened to the length of a note."""
    text = plain(text)
    return text if len(text) <= LONGEST_NOTE else f"{text[: LONGEST_NOTE - 1]}…"
