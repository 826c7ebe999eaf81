"""Recognises ledgers that were damaged from outside, and names the file or row instead of answering from it.

Damage is a file that is empty, cut short, overwritten or replaced, or an attribute that holds something else than was
written.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sweeper.errors import HomeError, SpecError, UnknownSweepError
from sweeper.ledger.home import WAY_OUT

#: First bytes of a SQLite file.
_HEAD = b"SQLite format 3\0"

#: Optuna's tables that a ledger reads.
_TABLES = ("studies", "study_user_attributes", "trials", "trial_user_attributes", "trial_values", "version_info")

#: Tables whose rows each belong to a row of another table, that table, and the column that links them.
_OWNED = (
    ("trials", "studies", "study_id"),
    ("study_user_attributes", "studies", "study_id"),
    ("trial_user_attributes", "trials", "trial_id"),
    ("trial_values", "trials", "trial_id"),
)

#: Words in SQLite's error messages about a damaged file.
_MALFORMED = ("malformed", "not a database", "no such table", "no such column")

#: Queries a ledger's database with SQL; returns no rows if the query fails.
Ask = Callable[[str], Iterable[Sequence[Any]]]

#: Exceptions of reading a damaged attribute, from Optuna's decoder and from code that takes the attribute apart.
_MISREAD = (ValueError, LookupError, TypeError, AttributeError, SpecError)


def read_only(path: Path) -> str:
    """Return the URI by which SQLite opens a file without ever writing to it."""
    return f"file:{quote(str(path))}?mode=ro"


def refuse_damaged(path: Path, sweep: str) -> None:
    """Check that a file is the ledger of a sweep, before anything is written into it.

    Raises:
        HomeError: If it is not; says what it is.
    """
    if problem := _problem_of(path, sweep):
        raise HomeError(f"the ledger {path} of sweep {sweep!r} is damaged: {problem}. {WAY_OUT}")


def _problem_of(path: Path, sweep: str) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(len(_HEAD))
        if not head:
            return "it is empty"
        if head != _HEAD:
            return "it is no SQLite database"
        with closing(sqlite3.connect(read_only(path), uri=True, timeout=60)) as database:
            found = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if missing := [name for name in _TABLES if name not in found]:
                return f"it lacks the tables {', '.join(missing)}"
            return _what_is_not_its_own(database, sweep)
    except FileNotFoundError:
        return "it is missing"
    except IsADirectoryError:
        return "a folder is in its place"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    except sqlite3.Error as error:
        return str(error)


def _what_is_not_its_own(database: sqlite3.Connection, sweep: str) -> str:
    """Return evidence that a ledger belongs to another sweep or that rows were removed; empty if there is none."""
    studies = [str(name) for (name,) in database.execute("SELECT study_name FROM studies ORDER BY study_id")]
    if studies and not any(name.startswith(f"{sweep}/") for name in studies):
        return f"it is that of sweep {studies[0].partition('/')[0]!r}, perhaps a copy, whose folder must keep its name"
    for table, owners, owner in _OWNED:
        query = f"SELECT count(*) FROM {table} WHERE {owner} NOT IN (SELECT {owner} FROM {owners})"
        if count := database.execute(query).fetchone()[0]:
            return f"{count} rows of its table {table} belong to nothing in its table {owners}"
    return ""


def database_problem(sweep: str, what: str, cause: str) -> HomeError:
    """Return the error for a ledger whose database has refused a query.

    Args:
        sweep: Name of the sweep.
        what: Refused operation: `read` or `written`.
        cause: Message of the database.
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
    """Turn exceptions of reading a damaged attribute into one sentence.

    Args:
        sweep: Name of the sweep.
        where: Description of what is read, used if `ask` finds no torn attribute.
        ask: Queries the database to find a torn attribute.

    Raises:
        HomeError: If the attribute is damaged; names the row and the attribute.
    """
    try:
        yield
    except UnknownSweepError:
        raise  # an UnknownSweepError is a LookupError as well, and already says what is wrong
    except _MISREAD as error:
        torn = _torn(ask) if ask is not None else ""
        said = torn or f"{where} holds something else than was written ({_said(error)})"
        raise HomeError(f"the ledger of sweep {sweep!r} is damaged: {said}. {WAY_OUT}") from error


def _said(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _torn(ask: Ask) -> str:
    """Return a description of the first attribute in Optuna's tables that is not JSON; empty if there is none."""
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
