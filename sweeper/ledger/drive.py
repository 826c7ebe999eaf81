"""How the driver of a sweep opens its ledger: for writing, and as the only writer."""

from __future__ import annotations

from dataclasses import replace

from sweeper.errors import HomeError
from sweeper.ledger.damage import refuse_damaged
from sweeper.ledger.database import shared_url, without_password
from sweeper.ledger.home import SweepFolder
from sweeper.ledger.kept_places import storage_as_meant
from sweeper.ledger.ledger import Ledger
from sweeper.ledger.open import refuse_stranger
from sweeper.ledger.reading import LedgerReader


def drive_ledger(folder: SweepFolder, holder: str, takes_on: bool) -> Ledger | None:
    """Open the ledger of a sweep as its driver; return None if there is no file yet.

    Args:
        folder: The sweep's folder, locked by this driver.
        holder: Description of this driver.
        takes_on: Whether to continue a sweep that another home has planned in a shared ledger.

    Raises:
        HomeError: If the ledger cannot be opened, or belongs to another sweep.
        SweepBusyError: If another driver works on this sweep.
    """
    if not folder.has_shared_ledger:
        if folder.named_ledger:
            raise HomeError(
                f"the ledger of sweep {folder.name!r} is {folder.path / 'ledger.db'} and stays there, but got --ledger "
                f"{without_password(folder.named_ledger)}. Leave --ledger and SWEEPER_LEDGER out, or start a new sweep "
                "with --name."
            )
        if not folder.is_planned:
            return None
        refuse_damaged(folder.path / "ledger.db", folder.name)
        return Ledger(folder.ledger_url, folder.name, holder)
    ledger = Ledger(shared_url(folder.ledger_url), folder.name, holder)
    try:
        refuse_stranger(folder, ledger)
        if ledger.identity and not folder.shared_ledger and not takes_on:
            raise HomeError(
                f"there is a sweep {folder.name!r} in the ledger {without_password(folder.ledger_url)} already, "
                f"planned from {ledger.facts.get('home', 'another home')}. Choose another --name, or go on with that "
                f"one here: `sweeper resume {folder.name}` with the same --ledger."
            )
    except BaseException:
        ledger.close()
        raise
    return ledger


def keep_shared_ledger(folder: SweepFolder, identity: str) -> None:
    """Note in the sweep's folder which sweep of a shared ledger it is; the password is not kept."""
    if folder.has_shared_ledger:
        folder.keep_shared_ledger(without_password(shared_url(folder.ledger_url)), identity)


def with_files_of(folder: SweepFolder, ledger: LedgerReader | None) -> SweepFolder:
    """Return the folder; if this home knows no storage for it, with the storage that the sweep was planned with."""
    known = ledger.facts.get("storage") if ledger else None
    if not known or folder.has_files_elsewhere:
        return folder
    return replace(folder, storage=storage_as_meant(known, folder.path))
