"""Writes the descriptions of a sweep's run and experiment for MLflow's page, in Markdown."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from urllib.parse import quote

from sweeper import own_code
from sweeper.analysis import sheet
from sweeper.analysis.fronts import Front

#: The tag that MLflow's page shows as the description.
NOTE = "mlflow.note.content"

#: Most characters of a description: every MLflow store keeps 5000 in a tag, the current ones 8000.
_LONGEST = 4800

_MOST_ROWS = 12

#: Gap between the columns of a table, which the page shows without one.
_GAP = "&nbsp;&nbsp;"


def experiment_note(sweep: str) -> str:
    """Return the description of a sweep's experiment."""
    return (
        f"A sweep by **sweeper**: the run `{sweep}` holds its fronts, each run below it is one trial.\n\n"
        f"    sweeper pareto {sweep}\n    sweeper report {sweep}\n"
    )


def sweep_note(sweep: str, fronts: Sequence[Front], run_id: str, pictures: Collection[str]) -> str:
    """Return the description of a sweep's run: its fronts as tables and pictures, with as many rows as a tag holds.

    Args:
        sweep: Its name.
        fronts: The fronts over all objectives, one for each task.
        run_id: Id of the run that has the pictures as artifacts.
        pictures: Paths of the stored pictures.
    """
    for rows in (_MOST_ROWS, 5, 2, 0):
        shown = list(fronts)
        while shown:
            parts = [_front_note(front, run_id, rows, pictures) for front in shown]
            parts.insert(0, f"Sweep {_plain(sweep)}, {sheet.counted(len(fronts), 'task')}. sweeper renews this text.")
            if left := len(fronts) - len(shown):
                parts.append(f"And {sheet.counted(left, 'task')} more: `sweeper pareto {sweep}`")
            text = "\n\n".join([*parts, f"    sweeper pareto {sweep}\n    sweeper report {sweep}"]) + "\n"
            if len(text) <= _LONGEST:
                return text
            if rows:
                break  # drop rows before tasks
            shown.pop()
    return f"    sweeper pareto {sweep}\n"


def picture_path(front: Front) -> str:
    """Return the path of a stored front's picture among the artifacts of its sweep's run."""
    return f"fronts/{front.key}/v{front.version:04d}.png"


def _front_note(front: Front, run_id: str, most_rows: int, pictures: Collection[str]) -> str:
    noun = f"non-dominated {sheet.noun(front.own_units)}"
    title = f"### {_plain(front.task)}: {sheet.counted(front.table.num_rows, noun)}"
    corner = _plain(sheet.point_text(front.reference_point))
    facts = (
        f"Hypervolume {front.hypervolume:.4g} inside the reference point {corner}; {sheet.version_text(front.version)}."
    )
    if mixed := own_code.mixed(front.codes):
        facts += f" It has {mixed}."
    parts = [title, facts]
    if front.table.num_rows and most_rows:
        parts.append(_table(front, most_rows))
    if (path := picture_path(front)) in pictures:
        parts.append(f"![the front](get-artifact?path={quote(path)}&run_uuid={run_id})")
    return "\n\n".join(parts)


def _table(front: Front, most_rows: int) -> str:
    """Return rows of a front as a table: the best in the first objective."""
    shown = front.best(most_rows)
    left = front.table.num_rows - shown.table.num_rows
    fields = sheet.front_fields(shown)
    heads = [f"{f.head}{f' ({f.unit})' if f.unit else ''}" for f in fields]
    lines = [
        "| " + " | ".join(f"{_plain(head)}{_GAP}" for head in heads) + " |",
        "|" + "|".join("---:" if f.is_number else "---" for f in fields) + "|",
        *("| " + " | ".join(_plain(f.cells[index]) for f in fields) + " |" for index in range(shown.table.num_rows)),
    ]
    more = [f"\nand {left} more: `sweeper pareto {front.sweep} --task {front.task}`"] if left else []
    return "\n".join([*lines, *more])


def _plain(text: str) -> str:
    """Escape a text so that nothing in it is Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", text.replace("\n", " "))
