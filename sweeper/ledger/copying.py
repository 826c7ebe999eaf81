"""Copies the ledger of a sweep, as it stands at one moment, from a file or a shared database into a new file."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from sweeper import sqlite_uri
from sweeper.errors import HomeError
from sweeper.ledger.damage import read_only, refuse_damaged
from sweeper.ledger.home import SweepFolder


def copy_ledger(folder: SweepFolder, file: Path) -> None:
    """Copy the ledger of a sweep; the same rows always give the same bytes.

    Args:
        folder: Folder of the sweep.
        file: File to write, which must not exist yet.

    Raises:
        HomeError: If the ledger cannot be read, or the file cannot be written.
    """
    if folder.has_shared_ledger:
        whole = file.with_name(f"{file.name}.whole")
        try:
            _copy_studies(folder, whole)
            _compact(whole, file, folder.name)
        finally:
            with suppress(OSError):
                whole.unlink()
        return
    refuse_damaged(folder.path / "ledger.db", folder.name)
    _compact(folder.path / "ledger.db", file, folder.name)


def _compact(source: Path, file: Path, sweep: str) -> None:
    """Copy a database into one file, without the space of deleted rows and without a write-ahead log beside it."""
    try:
        with closing(sqlite3.connect(read_only(source), uri=True, timeout=60)) as database:
            database.execute("VACUUM INTO ?", (str(file),))
    except sqlite3.Error as error:
        raise HomeError(
            f"the ledger {source} of sweep {sweep!r} cannot be copied to {file.parent}: {error}."
        ) from error


def _copy_studies(folder: SweepFolder, file: Path) -> None:
    import optuna  # imported late, as all below: copying a ledger file does not need it

    from sweeper.ledger.database import open_database, opening, shared_url
    from sweeper.ledger.studies import create_ledger

    create_ledger(url := sqlite_uri.uri_of(file))
    shared = shared_url(folder.ledger_url)
    with opening(shared, folder.name):
        source, target = open_database(shared, folder.name), open_database(url, folder.name)
        for study in optuna.get_all_study_names(source):
            if study.startswith(f"{folder.name}/"):
                optuna.copy_study(from_study_name=study, from_storage=source, to_storage=target)
        for storage in (source, target):
            storage.engine.dispose()
