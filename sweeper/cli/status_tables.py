"""Formats counts of sweeps for a terminal, as rich renderables. Loads nothing of fronts, and prints nothing itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from sweeper.ledger.counts import Counts
from sweeper.ledger.standing import Standing
from sweeper.trial import Outcome


def outcome_line(counts: Counts) -> str:
    """Return the numbers of trials by outcome or state, in one line."""
    ended = [f"{n} {kind.replace('_', ' ')}" for kind, n in counts.outcomes.items() if n]
    going = [f"{n} {word}" for n, word in ((counts.running, "running"), (counts.waiting, "waiting")) if n]
    repeats = f"; {counts.repeats} more proposals had been tried already" if counts.repeats else ""
    return f"{counts.planned} {'trial' if counts.planned == 1 else 'trials'}: " + ", ".join(ended + going) + repeats


def sweeps_table(standings: Sequence[Standing]) -> Table:
    """Return a row for each sweep, with its state and the counts of its trials. No name is cut or broken."""
    counted = [{title: getattr(one.counts, title) for title in _COUNTED} for one in standings]
    shown = [title for title in _COUNTED if title in _ALWAYS or any(row[title] for row in counted)]
    rows = [
        (one.name, one.state, *(str(row[title]) for title in shown))
        for one, row in zip(standings, counted, strict=True)
    ]
    titles = ("sweep", "state", *shown)
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    # A fixed width, so that rich cuts nothing; a narrower terminal breaks the lines.
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), width=sum(widths) + 2 * len(widths))
    for title in titles:
        table.add_column(title, justify="right" if title in shown else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))  # a name may look like markup
    return table


#: The counts of a sweep, and those that are shown even if they are 0 for all sweeps.
_COUNTED = ("planned", "complete", "pruned", "running", "waiting", "failed")
_ALWAYS = frozenset(("planned", "complete"))


def status_table(standing: Standing, home: str | None = "") -> Group:
    """Return the state of one sweep in a line, and the counts of its trials, with every kind of failure.

    Args:
        standing: The sweep's standing.
        home: The option that names its home in a command, see `options.option_of`; None if it cannot be driven.
    """
    counts = standing.counts
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("trials")
    table.add_column("", justify="right")
    for word in ("planned", "complete", "running", "waiting"):
        table.add_row(word, str(getattr(counts, word)))
    for kind, number in counts.outcomes.items():
        if kind != Outcome.COMPLETE:
            table.add_row(kind.replace("_", " "), str(number))
    if counts.repeats:
        table.add_row("proposed again", str(counts.repeats))
    return Group(_headline(standing, home), table)


def _headline(standing: Standing, home: str | None) -> Text:
    by = f", driven by {standing.driver}" if standing.driver else ""
    way_on = {
        "interrupted": f"; continue with `sweeper resume {standing.name}{home}`",
        "idle": f", no trial has begun; start it with `sweeper resume {standing.name}{home}`",
    }.get(standing.state if home is not None else "", "")
    return Text.assemble("sweep ", (standing.name, "bold"), f": {standing.state}{by}{way_on}")


def duration(seconds: float) -> str:
    """Return a time span in words, rounded."""
    if seconds < 59.5:
        return f"{max(seconds, 0):.0f} s"
    if seconds < 59.5 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 99.95 * 3600 else f"{seconds / 86400:.0f} days"


def size(count: int) -> str:
    """Return a number of bytes in words, rounded."""
    value, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "bytes" or value >= 9.95 else f"{value:.1f} {unit}"


def jobs_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the sweeps of a cluster, with a row for the newest job of each."""
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
