"""Ledgers that were damaged from outside: named, with the file or the row, and never answered from.

A file that is empty, cut short, overwritten or replaced, and attributes that hold something else than was written.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sweeper.errors import HomeError, SpecError

#: What a SQLite file begins with.
_HEAD = b"SQLite format 3\0"

#: Optuna's tables that hold what a ledger reads.
_TABLES = ("studies", "study_user_attributes", "trials", "trial_user_attributes", "trial_values", "version_info")

#: What is done with a ledger that cannot be read.
WAY_OUT = (
    "Restore it from a copy. What MLflow holds of the sweep can still be asked for with `sweeper pareto` and `sweeper "
    "trials`; a new sweep needs another --name."
)

#: What SQLite says of a file that was damaged.
_MALFORMED = ("malformed", "not a database", "no such table", "no such column")

#: Asks a ledger's database with SQL; gives no rows where it cannot be asked.
Ask = Callable[[str], Iterable[Sequence[Any]]]

#: What reading attributes that hold something else raises: Optuna's decoder, and whoever takes their parts.
_MISREAD = (ValueError, KeyError, TypeError, AttributeError, IndexError, SpecError)


def read_only(path: Path) -> str:
    """Return the URI that SQLite opens a file by without ever writing to it."""
    return f"file:{quote(str(path))}?mode=ro"


def refuse_damaged(path: Path, sweep: str) -> None:
    """Check that a file is a ledger, before anything is made in it.

    Raises:
        HomeError: If it is not, with what it is.
    """
    if problem := _problem_of(path):
        raise HomeError(f"the ledger {path} of sweep {sweep!r} is damaged: {problem}. {WAY_OUT}")


def _problem_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(len(_HEAD))
        if not head:
            return "it is empty"
        if head != _HEAD:
            return "it is no SQLite database"
        with closing(sqlite3.connect(read_only(path), uri=True, timeout=60)) as database:
            found = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except IsADirectoryError:
        return "a folder is in its place"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    except sqlite3.Error as error:
        return str(error)
    missing = [name for name in _TABLES if name not in found]
    return f"it lacks the tables {', '.join(missing)}" if missing else ""


def database_problem(sweep: str, what: str, cause: str) -> HomeError:
    """Return the error of a ledger whose database has refused.

    Args:
        sweep: Name of the sweep.
        what: What cannot be done: `read` or `written`.
        cause: What the database said.
    """
    way_out = (
        f"Trials without an outcome stay waiting. Free the disk or the lock on it, or start its server, then "
        f"`sweeper resume {sweep}`."
    )
    if any(word in cause for word in _MALFORMED):
        way_out = WAY_OUT
    return HomeError(f"the ledger of sweep {sweep!r} cannot be {what}: {cause}. {way_out}")


@contextmanager
def understood(sweep: str, where: str, ask: Ask | None = None) -> Iterator[None]:
    """Turn what reading an attribute raises that holds something else into one sentence.

    Args:
        sweep: Name of the sweep.
        where: What is read, in words, where the database does not tell more.
        ask: Searches the database for what is torn.

    Raises:
        HomeError: With the row and the attribute.
    """
    try:
        yield
    except _MISREAD as error:
        torn = _torn(ask) if ask is not None else ""
        said = torn or f"{where} holds something else than was written ({_said(error)})"
        raise HomeError(f"the ledger of sweep {sweep!r} is damaged: {said}. {WAY_OUT}") from error


def _said(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _torn(ask: Ask) -> str:
    """Return in words which attribute of Optuna's tables is no JSON; empty for none."""
    queries = (
        "SELECT study_name, '', key, value_json FROM study_user_attributes JOIN studies USING (study_id)",
        "SELECT study_name, number, key, value_json FROM trial_user_attributes "
        "JOIN trials USING (trial_id) JOIN studies USING (study_id)",
        "SELECT study_name, number, param_name, distribution_json FROM trial_params "
        "JOIN trials USING (trial_id) JOIN studies USING (study_id)",
    )
    for query in queries:
        for study, number, name, value in ask(query):
            try:
                json.loads(value)
            except (ValueError, TypeError):
                row = f"row {number} of {study}" if number != "" else str(study)
                return f"the attribute {name} of {row} is torn, no JSON"
    return ""
