"""Formats a running sweep: as a table for a terminal, or as a line for everything else. Prints nothing itself."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeper.cli.status_tables import duration
from sweeper.tracking.live import LiveState, Stage, TaskState, View

#: Lines of a table besides its rows: its head and the empty lines around it.
_HEAD_LINES = 4

#: Most tasks that a line describes.
_TASKS_IN_A_LINE = 4

#: Largest width of the progress bar, in columns of the terminal.
_WIDEST_BAR = 60

#: Least width of the column of task names, in columns of the terminal.
_NARROWEST_NAME = 8


def live_table(view: View, width: int = 80, height: int | None = None) -> RenderableType:
    """Return a view as a table with a row for each task; if there is no room for all, less active ones are folded.

    Args:
        view: The view.
        width: Columns of the terminal.
        height: Lines of the terminal; None for no limit.
    """
    above = [headline(view.state), Text(" · ".join(_facts(view)))]
    bar = [] if view.state.is_ended else [_bar(view.state, width)]
    below = [Text(f"note, {_ago(view.state, note.said_ms)}: {note.text}", "dim") for note in view.state.notes[-1:]]
    if warning := _warning(view):
        below.append(Text(warning, "" if view.state.stage is Stage.FINISHED else "yellow"))
    state = view.state
    if height is not None:
        taken = sum(len(textwrap.wrap(text.plain, width, break_on_hyphens=False)) for text in (*above, *below))
        state = _fitting(state, width, height - taken - len(bar) - _HEAD_LINES)
    return Group(above[0], *bar, *above[1:], _table(state, width), *below)


def live_line(view: View) -> str:
    """Return a view as a line without colours."""
    state = view.state.at_most(_TASKS_IN_A_LINE)
    more = [f"and {_tasks(state.folded)} more, {state.rest.ended}/{state.rest.planned}"] if state.folded else []
    parts = [state.total.line, *_facts(view), *(_said_of(row) for row in state.tasks), *more]
    warning = _warning(view)
    return " · ".join([*parts, *([warning] if warning else [])])


def _bar(state: LiveState, width: int) -> RenderableType:
    """Return a progress bar of the work; trials in training count in part."""
    bar = ProgressBar(total=max(state.total.planned, 1), completed=state.work, width=min(width, _WIDEST_BAR))
    return Padding(bar, 0)  # without Padding a bar does not end its line


def headline(state: LiveState) -> Text:
    """Return name and progress of a sweep."""
    total = state.total
    text = Text.assemble((state.sweep, "bold"), f"  {total.line}", overflow="fold")
    if total.failed:
        text.highlight_regex(r"\d+ failed", "red")
    if 0 < state.work < total.planned:
        text.append(f" · {100 * state.work / total.planned:.0f} % of the work")
    return text


def _facts(view: View) -> list[str]:
    """Return time left, pace, busy workers and driving time; for a sweep that has ended the driving time alone."""
    state = view.state
    took = duration((state.written_ms - state.since_ms) / 1000)
    if state.is_ended:
        return [f"driven for {took}"]
    facts = ["starting" if state.trials_per_minute is None else "time left is not known yet"]
    if state.seconds_left is not None:
        facts = [f"{duration(state.seconds_left)} left"]
    if state.trials_per_minute is not None:
        facts.append(_pace(state.trials_per_minute))
    if state.workers or state.busy:
        facts.append(f"{state.busy} of {state.workers} workers busy" if state.workers else f"{state.busy} workers busy")
    return [*facts, f"driven for {took}"]


def _pace(per_minute: float) -> str:
    if 0 < per_minute < 1:
        return f"{60 * per_minute:.1f} trials an hour"
    return f"{per_minute:.{1 if per_minute < 100 else 0}f} trials a minute"


def _said_of(row: TaskState) -> str:
    front = ""
    if row.points is not None:
        where = "would be on the front now" if row.is_early else "on the front"
        front = f", {row.points} {where}, hypervolume {_number(row.hypervolume, '.4g')}"
    best = f", best {row.best_accuracy:.3f}" if row.best_accuracy is not None else ""
    return f"{row.task} {row.ended}/{row.planned}{best}{front}"


def _warning(view: View) -> str:
    """Return a sentence on trouble with MLflow, a silent driver, or the sweep's end; empty if there is none."""
    state, ago = view.state, duration(view.age_s)
    if view.trouble:
        return f"nothing heard for {ago}, trying again: {view.trouble}"
    if view.is_stale:
        return f"last heard of {ago} ago: its driver may be gone; continue with `{view.resume}`"
    if state.stage is Stage.FINISHED:
        return f"finished {ago} ago"
    if state.stage is Stage.INTERRUPTED:
        return f"interrupted {ago} ago; continue with `{view.resume}`"
    return ""


def _ago(state: LiveState, said_ms: int) -> str:
    return f"{duration((state.written_ms - said_ms) / 1000)} before"


def _tasks(number: int) -> str:
    return f"{number} {'task' if number == 1 else 'tasks'}"


# --- the table ------------------------------------------------------------------------------------

#: Title and text of every column but the first, and whether the column is left out if it is empty in all rows.
_COLUMNS: Sequence[tuple[str, Callable[[TaskState], str], bool]] = (
    ("done", lambda row: f"{row.ended}/{row.planned}", False),
    ("running", lambda row: _count(row.running), False),
    ("pruned", lambda row: _count(row.pruned), True),
    ("failed", lambda row: _count(row.failed), True),
    ("best", lambda row: _number(row.best_accuracy, ".3f"), False),
    ("hypervolume", lambda row: _early(row) + _number(row.hypervolume, ".4g"), False),
    ("front", lambda row: "" if row.points is None else f"{_early(row)}{row.points}", False),
)


def _early(row: TaskState) -> str:
    """Return a mark for a front of networks that are still in training, else nothing."""
    return "~" if row.is_early else ""


def _rows(state: LiveState) -> list[TaskState]:
    return [*state.tasks, state.rest] if state.folded else list(state.tasks)


def _shown(rows: Sequence[TaskState]) -> dict[str, list[str]]:
    """Return the texts of every column but the first, by title."""
    columns = {title: [text(row) for row in rows] for title, text, _ in _COLUMNS}
    return {title: columns[title] for title, _, may_lack in _COLUMNS if any(columns[title]) or not may_lack}


def _names(state: LiveState, rows: Sequence[TaskState], room: int) -> list[str]:
    """Return the whole names of tasks, wrapped to a number of characters."""
    names = [f"{row.task} ({row.cells} cells)" if row.cells > 1 else row.task for row in state.tasks]
    if state.folded:
        names.append(f"and {_tasks(state.folded)} more")
    return ["\n".join(textwrap.wrap(name, room)) for name in names[: len(rows)]]


def _room(columns: Mapping[str, Sequence[str]], width: int) -> int:
    """Return how many columns of the terminal are left for names."""
    taken = sum(max(map(len, [title, *texts])) for title, texts in columns.items())
    return max(width - taken - 2 * len(columns) - 2, _NARROWEST_NAME)  # two between columns, one at each edge


def _table(state: LiveState, width: int) -> Table:
    rows = _rows(state)
    columns = _shown(rows)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("task", no_wrap=True)
    for title in columns:
        table.add_column(title, justify="right", no_wrap=True)
    for cells in zip(_names(state, rows, _room(columns, width)), *columns.values(), strict=True):
        table.add_row(*map(Text, cells))
    return table


def _fitting(state: LiveState, width: int, lines: int) -> LiveState:
    """Return a state with as many tasks as fit into some lines; long names take several lines."""
    # The sum over folded tasks is at least as wide as each count, so the widths are safe with and without folding.
    room = _room(_shown([*state.tasks, state.at_most(0).rest]), width)
    fitting = state if len(state.tasks) <= lines else state.at_most(max(lines - 1, 1))
    while len(fitting.tasks) > 1:
        names = _names(fitting, _rows(fitting), room)
        if sum(name.count("\n") + 1 for name in names) <= lines:
            break
        fitting = fitting.at_most(len(fitting.tasks) - 1)
    return fitting


def _count(number: int) -> str:
    return str(number) if number else ""


def _number(value: float | None, format: str) -> str:
    return "" if value is None else f"{value:{format}}"
