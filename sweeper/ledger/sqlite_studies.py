"""Reads Optuna's tables in a SQLite file without Optuna, so that readers of a sweep do not wait for its import.

Optuna itself reads a file with tables of another version. `tests/ledger/test_sqlite_studies.py` compares the results
of this module with Optuna's.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweeper.ledger.damage import database_problem, read_only, understood
from sweeper.ledger.rows import STATES, require_shape

#: The version of Optuna's tables that this module reads and `optuna_tables` writes.
KNOWN_TABLES = "v3.2.0.a"

#: Longest wait of a reader or writer for the SQLite file while another process writes, in seconds.
SQLITE_TIMEOUT_S = 60

#: Values that are not finite, by Optuna's marks for them.
_NOT_FINITE = {"INF_POS": float("inf"), "INF_NEG": float("-inf")}


@dataclass(frozen=True)
class SqliteState:
    """The state of a stored trial, as Optuna has it."""

    name: str


@dataclass(frozen=True)
class SqliteTrial:
    """A stored trial; see `rows.StoredTrial`."""

    number: int
    state: SqliteState
    values: Sequence[float] | None
    datetime_start: datetime | None
    datetime_complete: datetime | None
    user_attrs: Mapping[str, Any]


class SqliteStudies:
    """The studies of one sweep in a SQLite file, for reading.

    Args:
        path: The file.
        sweep: Name of the sweep.

    Raises:
        HomeError: If the file cannot be read.
    """

    #: A file does not know who drives it.
    driver = None

    def __init__(self, path: Path, sweep: str) -> None:
        self.sweep = sweep
        with self._reading("what is noted of its tasks"):
            self._database = sqlite3.connect(
                read_only(path), uri=True, timeout=SQLITE_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            rows = self._database.execute("SELECT study_id, study_name FROM studies ORDER BY study_id").fetchall()
            known = {str(name): int(number) for number, name in rows}
        of_sweep = f"{sweep}/"
        self._ids = {name.removeprefix(of_sweep): i for name, i in known.items() if name.startswith(of_sweep)}

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def are_known(self) -> bool:
        """Whether the file's tables have the version that this class reads."""
        with self._reading("the version of its tables"):
            (found,) = self._database.execute(
                "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'"
            ).fetchone()
            return bool(found) and self._database.execute("SELECT version_num FROM alembic_version").fetchall() == [
                (KNOWN_TABLES,)
            ]

    @property
    def tasks(self) -> list[str]:
        """Labels of the tasks that have a study, in the order in which the studies were made."""
        return list(self._ids)

    def noted(self, task: str) -> Mapping[str, Any]:
        """Return the notes on a task's study."""
        query = "SELECT key, value_json FROM study_user_attributes WHERE study_id = ?"
        with self._reading(f"what is noted of task {task!r}"):
            return {name: json.loads(text) for name, text in self._database.execute(query, (self._ids[task],))}

    def trials(self, task: str) -> list[SqliteTrial]:
        """Return the rows of a task that the ledger wrote, in order."""
        found = [trial for trial in self.all_trials(task) if trial.user_attrs.keys() & {"plan", "claim", "ended"}]
        for trial in found:
            with understood(self.sweep, f"row {trial.number} of task {task!r}"):
                require_shape(trial)
        return found

    def all_trials(self, task: str) -> list[SqliteTrial]:
        """Return every row of a task at one moment, including rows that the ledger did not write."""
        here = (self._ids[task],)
        with self._reading(f"a row of task {task!r}"):
            self._database.execute("BEGIN")
            try:
                rows = self._database.execute(_TRIALS, here).fetchall()
                attributes = _by_trial(self._database.execute(_ATTRIBUTES, here))
                values = _by_trial(self._database.execute(_VALUES, here))
            finally:
                self._database.execute("ROLLBACK")
            return [
                SqliteTrial(
                    number,
                    _state(number, state),
                    [_value(*its) for its in values[trial_id]] if trial_id in values else None,
                    _time(started),
                    _time(ended),
                    {name: json.loads(text) for name, text in attributes.get(trial_id, ())},
                )
                for trial_id, number, state, started, ended in rows
            ]

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        try:
            with understood(self.sweep, what, self._ask):
                yield
        except sqlite3.Error as error:
            raise database_problem(self.sweep, "read", str(error)) from error

    def _ask(self, query: str) -> Sequence[Sequence[Any]]:
        try:
            return self._database.execute(query).fetchall()
        except sqlite3.Error:
            return ()


_TRIALS = """
SELECT trial_id, number, state, datetime_start, datetime_complete FROM trials WHERE study_id = ? ORDER BY trial_id
"""

_ATTRIBUTES = """
SELECT trial_id, key, value_json FROM trial_user_attributes JOIN trials USING (trial_id) WHERE study_id = ?
"""

_VALUES = """
SELECT trial_id, value, value_type FROM trial_values JOIN trials USING (trial_id) WHERE study_id = ? ORDER BY objective
"""


def _by_trial(rows: Iterable[Sequence[Any]]) -> dict[int, list[Sequence[Any]]]:
    found: dict[int, list[Sequence[Any]]] = {}
    for trial_id, *rest in rows:
        found.setdefault(trial_id, []).append(rest)
    return found


def _state(number: int, name: str) -> SqliteState:
    if name not in STATES:
        raise ValueError(f"the state of row {number} is {name!r}")
    return SqliteState(name)


def _value(value: float | None, kind: str) -> float:
    return _NOT_FINITE[kind] if kind in _NOT_FINITE else float(value)  # type: ignore[arg-type]  # None if damaged


def _time(text: str | None) -> datetime | None:
    """Return a stored time; Optuna keeps times in UTC, without a time zone."""
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)
