"""Opens the ledger of a sweep: the file in its folder, or its part of a database that several homes share.

In a shared database a sweep is known by its name and an identity, which the home that planned it has noted. So two
homes that choose the same name never mix. A home that is told to resume a sweep it does not know adopts the sweep.
"""

from __future__ import annotations

from sweeper.errors import HomeError, UnknownSweepError
from sweeper.ledger.damage import refuse_damaged
from sweeper.ledger.home import SweepFolder
from sweeper.ledger.reading import LedgerReader
from sweeper.ledger.sqlite_studies import SqliteStudies

# Optuna and SQLAlchemy are imported inside functions, because a ledger file is read without them.


def read_ledger(folder: SweepFolder) -> LedgerReader:
    """Open the ledger of a planned sweep for reading.

    Raises:
        HomeError: If the ledger cannot be opened, or belongs to another sweep.
        UnknownSweepError: If a shared ledger has no such sweep.
    """
    return _read_shared(folder) if folder.has_shared_ledger else _read_file(folder)


def _read_file(folder: SweepFolder) -> LedgerReader:
    path = folder.path / "ledger.db"
    refuse_damaged(path, folder.name)
    found = SqliteStudies(path, folder.name)
    if found.are_known:
        return LedgerReader(folder.name, found)
    found.close()

    from sweeper.ledger.studies import Studies

    return LedgerReader(folder.name, Studies(folder.ledger_url, folder.name, only_reads=True))


def _read_shared(folder: SweepFolder) -> LedgerReader:
    from sweeper.ledger.database import shared_url, without_password
    from sweeper.ledger.studies import Studies

    ledger = LedgerReader(folder.name, Studies(shared_url(folder.ledger_url), folder.name, only_reads=True))
    refuse_stranger(folder, ledger)
    if not ledger.identity:
        raise UnknownSweepError(
            f"there is no sweep {folder.name!r} in the ledger {without_password(folder.ledger_url)}. "
            "Name the right database with --ledger, or start it with `sweeper run`."
        )
    return ledger


def refuse_stranger(folder: SweepFolder, ledger: LedgerReader) -> None:
    """Check that the sweep in the ledger is the one that this home has planned or adopted.

    Raises:
        HomeError: If it is another sweep of the same name.
    """
    from sweeper.ledger.database import without_password

    ours = folder.shared_ledger.get("identity")
    if ours and ledger.identity and ledger.identity != ours:
        raise HomeError(
            f"sweep {folder.name!r} in the ledger {without_password(folder.ledger_url)} is another one, planned from "
            f"{ledger.facts.get('home', 'another home')}, than the one in {folder.path}. Name its own database with "
            "--ledger, or start a new sweep with --name."
        )
