"""Deletes a sweep: from MLflow, from a shared ledger, its files in a storage, and its folder, in this order.

The folder says where the other parts are. So it goes last, and an interrupted deletion can be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

from sweeper import sqlite_uri, storage
from sweeper.credentials import redacted
from sweeper.errors import SweepBusyError, SweepError, TrackingError
from sweeper.ledger.home import Home, SweepFolder, disk_use, this_driver
from sweeper.ledger.open import read_ledger
from sweeper.ledger.standing import Standing, standing_of
from sweeper.tracking.mlflow.removal import Holding, held, remove

_COMMAND = "delete"


@dataclass(frozen=True)
class Part:
    """One part of a sweep.

    Attributes:
        what: Description with its place.
        size: Size in bytes; None if unknown.
        is_outside: Whether it lies outside of the home, where a copy of the home would use it too.
    """

    what: str
    size: int | None = None
    is_outside: bool = False


@dataclass(frozen=True)
class Removal:
    """A plan of a deletion.

    Attributes:
        folder: Folder of the sweep.
        tracking_uri: Its tracking URI; empty if MLflow is left alone.
        experiments: Ids of its experiments in MLflow to remove.
        parts: The parts to remove.
        stays: A sentence for each part that stays.
        done, planned: Numbers of ended and of all trials; None if the ledger cannot be read.
        here_only: Whether everything outside of the home stays.
    """

    folder: SweepFolder
    tracking_uri: str
    experiments: Sequence[str]
    parts: Sequence[Part]
    stays: Sequence[str]
    done: int | None
    planned: int | None
    here_only: bool


def removal_of(home: Home, name: str, tracking_uri: str | None = None, *, here_only: bool = False) -> Removal:
    """Find all parts of a sweep, even of one with a damaged ledger, or of one that is half deleted.

    Args:
        home: The sweep's home.
        name: Name of the sweep.
        tracking_uri: Its tracking URI; None for the one that its home knows.
        here_only: Whether to leave everything outside of the home.

    Raises:
        UnknownSweepError: If the home has no such sweep.
        SweepBusyError: If a driver runs the sweep.
        HomeError: If another operation on the sweep, such as a renaming, was interrupted.
        TrackingError: If MLflow cannot be reached.
    """
    folder = home.sweep(name)
    folder.require_own()
    is_begun = str(folder.upkeep.get("command", "")).startswith(_COMMAND)
    if not is_begun and not folder.has_lost_ledger:
        home.known(name)
    standing = _standing(folder)
    folder = with_noted_files(folder)
    if driver := (standing.driver if standing else folder.driver):
        raise SweepBusyError(
            f"sweep {name!r} is being driven by {driver}, so it is not deleted. End that process first, with Ctrl-C or "
            "`kill`."
        )
    parts, stays = _files(folder), list[str]()
    if folder.has_shared_ledger:
        parts.append(Part(f"its part of the ledger {redacted(folder.ledger_url)}", None, True))
    uri, is_outside = _tracking(home, folder, tracking_uri, here_only)
    holding = held(uri, name) if uri else None
    experiments: tuple[str, ...] = ()
    if holding is not None:
        noted = folder.upkeep.get("experiments") if is_begun else None
        reason = "" if noted is not None else not_its_own(holding, folder, standing, uri)
        experiments = holding.experiments if noted is None else tuple(set(noted) & set(holding.experiments))
        if reason:
            experiments = ()
            stays.append(f"the experiment {name!r} of MLflow at {redacted(uri)}: {reason}")
        elif experiments:
            parts.append(Part(f"its {holding.runs} runs in MLflow at {redacted(uri)}", holding.size, is_outside))
    if here_only:
        stays += [f"{part.what}: outside of the home" for part in parts if part.is_outside]
        stays += [] if uri else ["what MLflow has of it: outside of the home"]
        parts = [part for part in parts if not part.is_outside]
    counts = standing.counts if standing else None
    done = sum(counts.outcomes.values()) if counts else None
    return Removal(folder, uri, experiments, parts, stays, done, counts.planned if counts else None, here_only)


def _standing(folder: SweepFolder) -> Standing | None:
    try:
        return standing_of(folder)
    except SweepError:  # the ledger is damaged, or an interrupted deletion has already removed it from a shared one
        return None


def with_noted_files(folder: SweepFolder) -> SweepFolder:
    """Return the folder, with the storage noted in a shared ledger if this home does not know the storage."""
    if not folder.has_shared_ledger:
        return folder
    from sweeper.ledger.drive import with_files_of  # imported late, because it loads Optuna

    try:
        with closing(read_ledger(folder)) as ledger:
            return with_files_of(folder, ledger)
    except SweepError:
        return folder


def _files(folder: SweepFolder) -> list[Part]:
    found = [Part(f"its folder {folder.path}", disk_use(folder.path))]
    if folder.has_files_elsewhere:
        where = storage.without_credentials(folder.files)
        is_local = storage.is_local(folder.files)
        size = disk_use(folder.files) if is_local else None
        is_outside = not is_local or not folder.is_in_home(folder.files)
        found.append(Part(f"its checkpoints and networks in {where}", size, is_outside))
    return found


def _tracking(home: Home, folder: SweepFolder, named: str | None, here_only: bool) -> tuple[str, bool]:
    """Return the tracking URI to ask, empty for none, and whether it is outside of the home."""
    try:
        uri = home.tracking_uri_of(folder.name, named)
    except TrackingError:  # its address has a password, which the home does not keep
        if not here_only:
            raise
        return "", True
    file = sqlite_uri.file_of(uri)
    is_outside = file is None or not folder.is_in_home(str(file))
    return ("" if here_only and is_outside else uri), is_outside


def not_its_own(holding: Holding, folder: SweepFolder, standing: Standing | None, tracking_uri: str) -> str:
    """Return why MLflow's content under the name of a sweep may belong to another; empty if it is the sweep's own."""
    identity = standing.identity if standing else folder.shared_ledger.get("identity", "")
    if identity:
        if not holding.identities or identity in holding.identities:
            return ""
        return f"it is that of another sweep of this name, from the home {', '.join(sorted(holding.homes))}"
    file = sqlite_uri.file_of(tracking_uri)
    is_inside = file is not None and folder.is_in_home(str(file))
    if is_inside or holding.homes == {str(folder.path.parent)}:
        return ""
    return "the ledger, which is damaged, does not say whether it is that of this sweep"


def delete(removal: Removal) -> list[str]:
    """Delete the parts of a removal.

    Returns:
        A sentence for each part that stays.

    Raises:
        SweepBusyError: If a driver runs the sweep by now.
        HomeError, TrackingError: If a part cannot be removed; the deletion can be repeated.
    """
    folder, stays = removal.folder, list(removal.stays)
    with ExitStack() as stack:
        stack.enter_context(folder.alone())
        ledger = None
        if folder.has_shared_ledger and not removal.here_only:
            # Imported late, because a ledger in a file does not need these modules.
            from sweeper.ledger.database import shared_url
            from sweeper.ledger.ledger import Ledger
            from sweeper.ledger.open import refuse_stranger

            ledger = Ledger(shared_url(folder.ledger_url), folder.name, this_driver())  # locks out all others
            stack.callback(ledger.close)
            refuse_stranger(folder, ledger)
        folder.begin_upkeep(f"{_COMMAND} {folder.name}", experiments=list(removal.experiments))
        if removal.experiments:
            stays += remove(removal.tracking_uri, folder.name, removal.experiments)
        if ledger is not None:
            ledger.delete()
        is_storage_kept = removal.here_only and any(part.is_outside for part in _files(folder))
        stays += [f"{location}: no file of a sweep" for location in folder.delete_files(here_only=is_storage_kept)]
    return stays
