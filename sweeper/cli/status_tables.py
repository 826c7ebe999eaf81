"""How counted sweeps look in a terminal, as rich renderables, without what fronts need. Prints nothing itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from sweeper.ledger.counts import Counts
from sweeper.trial import Outcome


def outcome_line(counts: Counts) -> str:
    """Return how many trials ended in which way, in one line."""
    ended = [f"{n} {kind.replace('_', ' ')}" for kind, n in counts.outcomes.items() if n]
    going = [f"{n} {word}" for n, word in ((counts.running, "running"), (counts.waiting, "waiting")) if n]
    repeats = f"; {counts.repeats} more proposals had been tried already" if counts.repeats else ""
    return f"{counts.planned} {'trial' if counts.planned == 1 else 'trials'}: " + ", ".join(ended + going) + repeats


def sweeps_table(rows: Sequence[tuple[str, Counts, str | None]]) -> Table:
    """Return one row a sweep: where its trials stand, and who drives it."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("sweep", overflow="fold")
    for column in ("planned", "complete", "pruned", "running", "waiting", "failed"):
        table.add_column(column, justify="right")
    table.add_column("driven by")
    for name, counts, driver in rows:
        numbers = (counts.planned, counts.complete, counts.pruned, counts.running, counts.waiting, counts.failed)
        table.add_row(Text(name), *map(str, numbers), driver or "nobody")  # a folder may be named like markup
    return table


def status_table(name: str, counts: Counts, driver: str | None) -> Table:
    """Return where one sweep's trials stand, every kind of failure included."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"sweep {name}", overflow="fold")
    table.add_column("trials", justify="right")
    for word in ("planned", "complete", "running", "waiting"):
        table.add_row(word, str(getattr(counts, word)))
    for kind, number in counts.outcomes.items():
        if kind != Outcome.COMPLETE:
            table.add_row(kind.replace("_", " "), str(number))
    if counts.repeats:
        table.add_row("proposed again", str(counts.repeats))
    table.caption = f"driven by {driver or 'nobody'}"
    table.caption_justify = "left"
    return table


def duration(seconds: float) -> str:
    """Return a time span as people say it."""
    if seconds < 59.5:
        return f"{max(seconds, 0):.0f} s"
    if seconds < 59.5 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 99.95 * 3600 else f"{seconds / 86400:.0f} days"


def size(count: int) -> str:
    """Return a number of bytes as people say it."""
    value, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "bytes" or value >= 9.95 else f"{value:.1f} {unit}"


def jobs_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the sweeps of a cluster: a row for the newest job of each."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in ("sweep", "job", "status", "since", "trials"):
        table.add_column(title, no_wrap=title != "trials")
    for row in rows:
        begun = datetime.fromtimestamp(row["started_ms"] / 1000) if row["started_ms"] else None
        code = f", exit code {row['exit_code']}" if row["exit_code"] else ""
        trials = "not known here, or not yet: --tracking-uri names where MLflow is"
        if row["trials"]:
            counts = {title: row["trials"][title] for title in ("complete", "pruned", "failed", "running", "waiting")}
            counted = [f"{count} {title}" for title, count in counts.items() if count]
            trials = f"{row['trials']['planned']}: {', '.join(counted)}"
        table.add_row(
            row["name"], str(row["job"]), f"{row['status']}{code}", f"{begun:%m-%d %H:%M}" if begun else "", trials
        )
    return table
