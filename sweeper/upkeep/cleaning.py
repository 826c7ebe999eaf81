"""Frees files that are no longer needed: checkpoints of finished sweeps, and caches.

A sweep that runs or has trials left keeps everything. A finished sweep keeps the checkpoints of populations with a
failed trial, because the trial may be tried again from there.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from sweeper import cache, storage
from sweeper.errors import HomeError, SweepBusyError, SweepError
from sweeper.ledger.home import Home, SweepFolder, disk_use
from sweeper.ledger.open import read_ledger
from sweeper.ledger.standing import standing_of
from sweeper.trial import State
from sweeper.upkeep.archives import CACHE as ARCHIVES

#: Least time that an unpacked archive stays after its last use, in seconds, because a process may still read it.
_IN_USE_S = 3600

#: Files of sweeper in its cache: MLflow's empty tables, pixels of images, unpacked archives.
_CACHED = re.compile(r"mlflow-[0-9a-f]+\.db|images/[^/]+\.pixels|archives/[0-9a-f]+(\.tmp)?")


@dataclass(frozen=True)
class Piece:
    """Something to free.

    Attributes:
        what: Description with its place.
        size: Size in bytes.
        sweep: The sweep that it belongs to; None for the cache.
        files: Locations of files.
        folders: Folders to remove as a whole.
    """

    what: str
    size: int
    sweep: SweepFolder | None = None
    files: Sequence[str] = ()
    folders: Sequence[Path] = ()


@dataclass(frozen=True)
class Cleaning:
    """A plan of what to free.

    Attributes:
        pieces: The things to free.
        kept: A sentence for each sweep that keeps something, with the reason.
    """

    pieces: Sequence[Piece]
    kept: Sequence[str] = field(default=())

    @property
    def size(self) -> int:
        """Size of all pieces in bytes."""
        return sum(piece.size for piece in self.pieces)


def cleaning_of(home: Home, name: str | None = None, *, outside: bool = False) -> Cleaning:
    """Find out what can be freed.

    Args:
        home: The home.
        name: Name of one sweep; None for all of the home, and the user's cache.
        outside: Whether to free checkpoints outside of the home too, which a copy of the home may still need.

    Raises:
        SweepError: If the home or the named sweep cannot be read.
    """
    pieces, kept = list[Piece](), list[str]()
    for one in home.sweeps() if name is None else [name]:
        try:
            folder = home.known(one)
            folder.require_own()
            reason, found = _of_sweep(folder, outside)
        except SweepError as error:
            if name is not None:
                raise
            reason, found = str(error), []
        pieces += found
        kept += [f"sweep {one}: {reason}"] if reason else []
    if name is None:
        pieces += _of_cache(time.time())
    return Cleaning([piece for piece in pieces if piece.size or piece.files or piece.folders], kept)


def _of_sweep(folder: SweepFolder, outside: bool) -> tuple[str, list[Piece]]:
    """Return why a sweep keeps something (empty if it does not), and the pieces that it does not need."""
    standing = standing_of(folder)
    if standing.state != "finished":
        return f"it is {standing.state}, and needs all that it has", []
    pieces = []
    scratch = folder.path / "placement"
    if scratch.is_dir():
        pieces.append(Piece(f"what Ray has left in {scratch}", disk_use(scratch), folder, folders=[scratch]))
    torn = folder.leftovers()
    if torn:
        size = sum(path.lstat().st_size for path in torn)
        pieces.append(Piece(f"torn files in {folder.path}", size, folder, [str(path) for path in torn]))
    needed = _needed(folder)
    reason = f"{len(needed)} populations with failed trials keep their checkpoints" if needed else ""
    where = storage.without_credentials(folder.files)
    is_inside = storage.is_local(folder.files) and folder.is_in_home(folder.files)
    try:
        files = _checkpoints(folder, needed)
    except OSError as error:
        raise HomeError(f"{where} cannot be read: {error.strerror or error}.") from error
    if files and not is_inside and not outside:
        return f"its {len(files)} checkpoints in {where} are outside of the home; add --outside to free them", pieces
    if files:
        told = f"checkpoints of sweep {folder.name}, which is finished, in {where}"
        pieces.append(Piece(told, sum(files.values()), folder, list(files)))
    return reason, pieces


def _needed(folder: SweepFolder) -> set[str]:
    """Return a finished sweep's populations with failed trials, which a user may want to try again."""
    with closing(read_ledger(folder)) as ledger:
        return {record.population for record in ledger.records() if record.state is State.FAILED}


def _checkpoints(folder: SweepFolder, needed: set[str]) -> Mapping[str, int]:
    """Return the locations and sizes of checkpoints of all other populations than the needed ones."""
    found = {}
    for path, size in storage.sizes_below(folder.files).items():
        above, _, name = path.rpartition("/")
        if above == "checkpoints" and name.endswith(".pt") and name.partition(".")[0] not in needed:
            found[storage.join(folder.files, above, name)] = size
    return found


def _of_cache(now_s: float) -> list[Piece]:
    root = cache.folder()
    if root is None or not root.is_dir():
        return []
    files, folders, size = list[str](), list[Path](), 0
    for path in [*root.glob("*"), *root.glob("*/*")]:
        if not _CACHED.fullmatch(path.relative_to(root).as_posix()):
            continue
        if path.parent.name == ARCHIVES and now_s - path.stat().st_mtime < _IN_USE_S:
            continue
        if path.is_dir():
            folders.append(path)
            size += disk_use(path)
        else:
            files.append(str(path))
            size += path.lstat().st_size
    if not files and not folders:
        return []
    what = f"the cache {root}: unpacked archives, pixels of images and empty tables, made again when they are missing"
    return [Piece(what, size, None, files, folders)]


def clean(cleaning: Cleaning) -> list[str]:
    """Free the pieces of a cleaning.

    Returns:
        A sentence for each piece that stays, because its sweep has begun to need it.

    Raises:
        HomeError: If a piece cannot be removed.
    """
    stays = []
    for piece in cleaning.pieces:
        try:
            if piece.sweep is None:
                _remove(piece)
            else:
                with piece.sweep.alone():
                    _remove(_still(piece, piece.sweep))
        except SweepBusyError as error:
            stays.append(f"{piece.what}: {error}")
        except OSError as error:
            if isinstance(error, HomeError):
                raise
            raise HomeError(f"{piece.what} cannot be removed: {error.strerror or error}.") from error
    return stays


def _still(piece: Piece, folder: SweepFolder) -> Piece:
    """Return the part of a piece that is still not needed: the sweep may have new trials or retried ones by now."""
    counts = standing_of(folder).counts  # no driver can run, because this process holds the lock
    if counts.waiting or counts.running:
        raise SweepBusyError(f"sweep {folder.name!r} is to go on by now.")
    needed = _needed(folder)
    names = [Path(storage.parted(location)[0]).name.partition(".")[0] for location in piece.files]
    files = [location for location, key in zip(piece.files, names, strict=True) if key not in needed]
    return Piece(piece.what, piece.size, folder, files, piece.folders)


def _remove(piece: Piece) -> None:
    for location in piece.files:
        try:
            storage.delete(location)
        except FileNotFoundError:
            continue
    for folder in piece.folders:
        shutil.rmtree(folder, ignore_errors=True)
