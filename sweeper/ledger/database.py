"""The databases that ledgers are kept in: a SQLite file with one sweep, or a PostgreSQL database with many.

This module opens Optuna storages. On PostgreSQL a driver's storage has a single connection, which holds a server lock
on the sweep. So nothing is ever written over a connection without the lock, and the server releases the lock when the
connection ends, however it ends.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
from optuna.exceptions import StorageInternalError
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from sweeper.credentials import login_of, redacted
from sweeper.errors import HomeError, SweepBusyError
from sweeper.ledger.damage import read_only
from sweeper.ledger.home import WAY_OUT
from sweeper.ledger.optuna_tables import newest_tables
from sweeper.ledger.sqlite_studies import SQLITE_TIMEOUT_S
from sweeper.provenance import extra

#: Exceptions of a database, raised directly or wrapped by Optuna.
DATABASE_ERRORS = (SQLAlchemyError, StorageInternalError)

#: Names of the server's locks, which are hashed: one lock for making Optuna's tables, one per sweep.
_TABLES, _SWEEP = "sweeper tables", "sweeper sweep {}"

#: Options of a connection, in seconds and counts: a lost server is noticed within about a minute.
_CONNECTION: Mapping[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}

#: The same on the server's side, so that a lock does not outlive its driver's machine.
_KEEPALIVE = "set tcp_keepalives_idle = 30; set tcp_keepalives_interval = 10; set tcp_keepalives_count = 3"

_FORM = "postgresql://user@host/database"


def shared_url(url: str) -> str:
    """Return the URL of a database with ledgers, completed by the Python driver that opens it.

    Raises:
        HomeError: If `url` is not the URL of a PostgreSQL database.
    """
    problem, parsed = "", None
    try:
        parsed = make_url(re.sub("^postgres(ql)?://", "postgresql+psycopg://", url))
    except (ArgumentError, ValueError):  # a port that is no number
        problem = "this is no URL"
    else:
        if parsed.drivername != "postgresql+psycopg":
            problem = f"this names {parsed.drivername}"
        elif "@" in (parsed.host or "") or "@" in (parsed.database or ""):
            problem = "an @ within a password must be written %40"
    if problem or parsed is None:
        raise HomeError(
            f"--ledger takes the URL of a PostgreSQL database, {_FORM}, but got {redacted(url)}: {problem}. "
            "Leave it out to keep the ledger in the home, in SQLite."
        )
    return parsed.render_as_string(hide_password=False)


def without_password(url: str) -> str:
    """Return the URL of a database without its password, to be shown and kept."""
    if ":" in (login := login_of(url)):  # removed here because `make_url` would end a password at its first @ or /
        url = url.replace(f"://{login}@", f"://{login.partition(':')[0]}@", 1)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return redacted(url)
    # `URL.set` takes None for "as it is".
    return parsed._replace(password=None).difference_update_query(["password"]).render_as_string()


def open_database(url: str, sweep: str, holder: str = "", *, only_reads: bool = False) -> optuna.storages.RDBStorage:
    """Open the storage of a ledger, and make missing tables unless a file is only read.

    Args:
        url: URL of the storage.
        sweep: Name of the sweep.
        holder: Description of the driver that opens the storage; empty for readers.
        only_reads: Whether a file must never be written to.

    Raises:
        SweepBusyError: If another driver holds the sweep; names it.
        Exception: The errors that `opening` translates.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if not _is_shared(url):
        arguments: dict[str, Any] = {"connect_args": {"timeout": SQLITE_TIMEOUT_S}} if url.startswith("sqlite") else {}
        if only_reads and url.startswith("sqlite"):
            return _opened_to_read(url)
        if holder:
            arguments["pool_events"] = [(_write_ahead, "connect")]
        return _opened_file(url, arguments)
    arguments = {
        "connect_args": dict(_CONNECTION, application_name=f"sweeper {holder}".strip()[:63]),
        "pool_pre_ping": True,
    }
    with _alone(url):  # otherwise two processes could both find no tables and make them
        reader = optuna.storages.RDBStorage(url, engine_kwargs=arguments)
    if not holder:
        return reader
    reader.engine.dispose()

    def hold(connection: Any, _record: object) -> None:
        _hold(connection, sweep)

    arguments |= {"pool_size": 1, "max_overflow": 0, "pool_events": [(hold, "connect")]}
    return optuna.storages.RDBStorage(
        url, engine_kwargs=arguments, skip_compatibility_check=True, skip_table_creation=True
    )


def _opened_file(url: str, arguments: dict[str, Any]) -> optuna.storages.RDBStorage:
    """Open the storage of a file.

    At each opening Optuna loads every version of its tables to check those of the file, which takes ten times as long
    as the rest. Here Optuna does so only for a file whose tables have another version or none.
    """
    file = Path(make_url(url).database or "")
    if not file.exists() or not file.stat().st_size:
        return optuna.storages.RDBStorage(url, engine_kwargs=arguments, skip_compatibility_check=True)
    with suppress(StorageInternalError, AssertionError):  # the file has no tables, or no version of them
        storage = optuna.storages.RDBStorage(
            url, engine_kwargs=arguments, skip_compatibility_check=True, skip_table_creation=True
        )
        if storage.get_current_version() == (newest_tables() or storage.get_head_version()):
            return storage
        storage.engine.dispose()
    return optuna.storages.RDBStorage(url, engine_kwargs=arguments)


def _opened_to_read(url: str) -> optuna.storages.RDBStorage:
    """Open the storage of a file read-only; Optuna refuses tables of another version."""
    file = read_only(Path(make_url(url).database or ""))

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(file, uri=True, timeout=SQLITE_TIMEOUT_S, check_same_thread=False)

    storage = optuna.storages.RDBStorage(
        url, engine_kwargs={"creator": connect}, skip_compatibility_check=True, skip_table_creation=True
    )
    if storage.get_current_version() == (newest_tables() or storage.get_head_version()):
        return storage
    storage.engine.dispose()
    return optuna.storages.RDBStorage(url, engine_kwargs={"creator": connect}, skip_table_creation=True)


def _write_ahead(connection: Any, _record: object) -> None:
    """Switch SQLite to its write-ahead log: one sync for each transaction, and readers do not delay the driver."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def close_database(storage: optuna.storages.RDBStorage, holder: str) -> None:
    """Close a storage. A driver also removes the write-ahead log, unless somebody is reading the file."""
    storage.engine.dispose()
    if holder and storage.url.startswith("sqlite"):
        # `mode=rw` does not make a file that is gone.
        address = f"file:{quote(storage.engine.url.database or '')}?mode=rw"
        with suppress(sqlite3.Error), closing(sqlite3.connect(address, timeout=0, uri=True)) as file:
            file.execute("PRAGMA journal_mode = DELETE")


def driver_of(storage: optuna.storages.RDBStorage, sweep: str) -> str | None:
    """Return the description of the driver that holds a sweep of a shared database; None if nobody does."""
    if not _is_shared(storage.url):
        return None
    with storage.engine.connect() as connection:
        return _named(connection.execute(text(_HOLDER), {"lock": _lock_number(_SWEEP.format(sweep))}).all())


_HOLDER = """
select coalesce(activity.application_name, '') from pg_locks
left join pg_stat_activity activity using (pid)
where locktype = 'advisory' and pg_locks.granted and objsubid = 1
and database = (select oid from pg_database where datname = current_database())
and (classid::bigint << 32) + objid::bigint = :lock
"""


def _named(rows: Any) -> str | None:
    if not rows:
        return None
    return str(rows[0][0]).removeprefix("sweeper").strip() or "another process"  # a process that has just ended


def _hold(connection: Any, sweep: str) -> None:
    """Take the server's lock on a sweep over a new connection."""
    number = _lock_number(_SWEEP.format(sweep))
    with connection.cursor() as cursor:
        cursor.execute(_KEEPALIVE)
        (is_held,) = cursor.execute("select pg_try_advisory_lock(%s)", [number]).fetchone()
        rows = [] if is_held else cursor.execute(_HOLDER.replace(":lock", "%s"), [number]).fetchall()
    connection.commit()
    if not is_held:
        connection.close()
        raise SweepBusyError(
            f"sweep {sweep!r} is being driven by {_named(rows) or 'another process'}, in the same ledger. "
            f"Watch it with `sweeper status {sweep}`, or end that process first."
        )


@contextmanager
def _alone(url: str) -> Iterator[None]:
    """Hold the server's lock for making tables in a shared database, after waiting for it."""
    engine = create_engine(url, poolclass=NullPool, connect_args=dict(_CONNECTION))
    with engine.connect() as connection:
        connection.execute(text("set lock_timeout = '60s'"))
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _lock_number(_TABLES)})
        yield


def _lock_number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1  # the server's numbers are signed


def _is_shared(url: str) -> bool:
    return url.startswith("postgresql")


@contextmanager
def opening(url: str, sweep: str) -> Iterator[None]:
    """Turn failures to open a ledger into one sentence with a way out."""
    try:
        yield
    except SweepBusyError:
        raise
    except (*DATABASE_ERRORS, ImportError, RuntimeError, AssertionError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
        reason = redacted(first_line(cause), url)
        way_out = WAY_OUT
        if _is_shared(url):
            reason, way_out = _shared_problem(reason, error)
        elif isinstance(error, RuntimeError) and "upgrade" in reason:
            reason, way_out = _outdated(reason)
        raise HomeError(
            f"the ledger of sweep {sweep!r} cannot be opened: {reason} ({without_password(url)}). {way_out}"
        ) from error


def _shared_problem(reason: str, error: BaseException) -> tuple[str, str]:
    """Return the reason of a failure to open a shared database, and the way out."""
    told = reason.lower()
    if isinstance(error, ImportError):
        return "the PostgreSQL driver is not installed", f"Install it: pip install {extra('postgres')!r}"
    if isinstance(error, RuntimeError) and "optuna" in told:
        return _outdated(reason)
    if "password" in told or "authentication" in told or "pg_hba" in told or ("role" in told and "not exist" in told):
        return (
            reason,
            "Name the user with --ledger, and the password in PGPASSWORD or ~/.pgpass; SWEEPER_LEDGER takes both.",
        )
    if "database" in told and "does not exist" in told:
        return reason, "Make it with `createdb`, or name another one with --ledger."
    if "permission denied" in told:
        return reason, "Grant the user the right to make tables there, or name another database with --ledger."
    return reason, "Check that the server runs and that its address is right, or name another one with --ledger."


def _outdated(reason: str) -> tuple[str, str]:
    cause = reason.split(". ")[0].removesuffix(".")
    return cause, "Run `optuna storage upgrade --storage URL` on it, or use the version of optuna that made it."


def first_line(error: BaseException) -> str:
    """Return the first line of a database's error message, without the name of the exception."""
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return re.sub(r"^\([\w.]+\) ", "", line).rstrip(". ")
