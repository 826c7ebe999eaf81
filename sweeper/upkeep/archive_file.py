"""Writes archives as reproducible ZIP files with a list of their content, and checks them when reading.

archive.json               the format, the sweep, and size and digest of every other file; the last entry
report.html                the report, for readers without sweeper
fronts/TASK.csv            the fronts, for the same readers
sweeps/archived.json, sweeps/NAME/…    a home with this one sweep, see `sweeper.tracking.archived.reader`

Archives may come from strangers. So no file is unpacked whose name is unknown in archives, that is a link, or that is
larger than the list says, and all files together may not be larger than is plausible for the archive's size.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sweeper import storage
from sweeper.archived import MARKER
from sweeper.errors import HomeError, QueryError
from sweeper.spec import check_name

#: Format number in every archive; raise it when an older version of sweeper could misread a newer archive.
FORMAT = 1

_LIST = "archive.json"

#: The folder of an archive that is a home.
HOME = "sweeps"

#: Files that the folder of the sweep may have.
_OF_A_SWEEP = re.compile(
    r"ledger\.db|archived\.json|networks/[\w.-]+\.safetensors|probes/[\w.-]+\.parquet"
    r"|mirror/(facts\.json|live\.json|trials\.parquet|spec\.yaml|spec_resolved\.json|fronts/\d+\.parquet)",
    re.ASCII,
)

#: Further files of an archive, for people.
_FOR_PEOPLE = re.compile(r"report\.html|fronts/[\w.,=+@-]+\.csv", re.ASCII)

#: Most bytes of a list; most unpacked bytes at any compression; and largest compression ratio of larger archives. Real
#: ledgers and networks compress at most tenfold.
_LONGEST_LIST, _SMALL, _TIGHTEST = 2**26, 2**26, 100

_CHUNK = 2**20


@dataclass(frozen=True)
class Listed:
    """The list in an archive.

    Attributes:
        sweep: Name of the sweep.
        identity: Distinguishes the sweep from another of the same name.
        files: Size and digest of each file, by path.
    """

    sweep: str
    identity: str
    files: Mapping[str, tuple[int, str]]


def write(output: Path, sweep: str, identity: str, files: Iterable[tuple[str, bytes | Path]]) -> int:
    """Write an archive, whole or not at all; the same files give the same bytes.

    Args:
        output: The file.
        sweep: Name of the sweep.
        identity: Distinguishes the sweep from another of the same name.
        files: For each file its path in the archive, and its content or a file with it.

    Returns:
        The archive's size in bytes.

    Raises:
        QueryError: If the archive cannot be written.
    """
    if output.is_dir() or (output.exists() and not output.is_file()):
        raise QueryError(f"cannot write {output}: it is no file. Name a file with -o.")
    try:
        with storage.replaced(Path(os.path.realpath(output))) as aside, zipfile.ZipFile(aside, "w") as packed:
            # The list is written last, because it needs all digests; readers find it by its name.
            listed = {path: _added(packed, path, content) for path, content in files}
            facts = {
                "format": FORMAT,
                "sweep": sweep,
                "identity": identity,
                "files": {path: {"size": size, "sha256": digest} for path, (size, digest) in sorted(listed.items())},
            }
            _added(packed, _LIST, json.dumps(facts, indent=1).encode())
        return output.stat().st_size
    except OSError as error:
        raise QueryError(f"cannot write {output}: {error.strerror or error}. Name another file with -o.") from error


def _added(packed: zipfile.ZipFile, path: str, content: bytes | Path) -> tuple[int, str]:
    entry = zipfile.ZipInfo(path)  # dated 1980, the default, so that bytes are reproducible
    entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o100644 << 16
    digest, size = hashlib.sha256(), 0
    entry.file_size = content.stat().st_size if isinstance(content, Path) else len(content)
    with packed.open(entry, "w") as target:
        if isinstance(content, bytes):
            target.write(content)
            return len(content), hashlib.sha256(content).hexdigest()
        with content.open("rb") as source:
            while chunk := source.read(_CHUNK):
                target.write(chunk)
                digest.update(chunk)
                size += len(chunk)
    return size, digest.hexdigest()


def read_list(file: Path) -> Listed:
    """Return the list of an archive.

    Raises:
        HomeError: If the file is not an archive, is damaged, or holds unknown files.
    """
    with _Reading(file) as reading:
        return reading.listed


def unpack(file: Path, folder: Path) -> Listed:
    """Unpack an archive into a new folder, whole or not at all.

    Args:
        file: The archive.
        folder: The new folder, which must not exist; the folder above it must.

    Raises:
        HomeError: If the file is not an archive, is damaged, or holds unknown files; then nothing is left behind.
    """
    with _Reading(file) as reading:
        try:
            folder.mkdir(mode=0o700)
            reading.require_room(folder)
            for path in reading.listed.files:
                reading.extract(path, folder)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError) and not isinstance(error, HomeError):
                raise HomeError(
                    f"the archive {file} cannot be unpacked into {folder.parent}: {error.strerror or error}. Free some "
                    "room there, or name another folder."
                ) from error
            raise
        return reading.listed


class _Reading:
    """An open archive, whose list was read and compared with its entries."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> _Reading:
        try:
            self._source: IO[bytes] = self._file.open("rb")
        except OSError as error:
            raise HomeError(f"the archive {self._file} cannot be read: {error.strerror}.") from error
        try:
            self._packed = zipfile.ZipFile(self._source)
            self.listed = self._checked()
        except BaseException as error:
            self._source.close()
            if isinstance(error, HomeError):
                raise
            if isinstance(error, _MISREAD):
                raise self._refused("it is no archive of a sweep, or was cut short") from error
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._packed.close()
        self._source.close()

    def _refused(self, reason: str) -> HomeError:
        return HomeError(f"the archive {self._file} is not read: {reason}. Ask whoever made it for another copy.")

    def _checked(self) -> Listed:
        entries = self._packed.infolist()
        names = [entry.filename for entry in entries]
        if len(set(names)) != len(names):
            raise self._refused("two of its files have one name")
        for entry in entries:
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG) or entry.is_dir():
                raise self._refused(f"its entry {entry.filename[:80]!r} is a link or a folder, and no file")
            if entry.flag_bits & 1:
                raise self._refused("it is encrypted")
        if self._packed.getinfo(_LIST).file_size > _LONGEST_LIST:
            raise self._refused("its list is too long")
        listed = self._understood(json.loads(self._content(_LIST)))
        if {*listed.files, _LIST} != set(names):
            raise self._refused("it holds other files than its list says")
        own = f"{HOME}/{listed.sweep}/"
        for path, (size, _) in listed.files.items():
            is_known = path == f"{HOME}/{MARKER}" or (
                _OF_A_SWEEP.fullmatch(path.removeprefix(own)) if path.startswith(own) else _FOR_PEOPLE.fullmatch(path)
            )
            if not is_known:
                raise self._refused(f"a sweep has no file {path[:80]!r}")
            if self._packed.getinfo(path).file_size != size:
                raise self._refused(f"{path} is not as long as its list says")
        for path in (f"{HOME}/{MARKER}", *(own + name for name in ("ledger.db", MARKER, "mirror/facts.json"))):
            if path not in listed.files:
                raise self._refused(f"it lacks {path}")
        total = sum(size for size, _ in listed.files.values())
        if total > max(_SMALL, _TIGHTEST * os.fstat(self._source.fileno()).st_size):
            raise self._refused(f"it would unpack to {total} bytes, more than a sweep of its size has")
        return listed

    def _understood(self, facts: Any) -> Listed:
        if facts["format"] > FORMAT:
            raise HomeError(
                f"the archive {self._file} has format {facts['format']}, but this sweeper reads formats up to "
                f"{FORMAT}. Update sweeper."
            )
        check_name(facts["sweep"])
        files = {str(path): (int(one["size"]), str(one["sha256"])) for path, one in facts["files"].items()}
        return Listed(facts["sweep"], str(facts["identity"]), files)

    def _content(self, path: str) -> bytes:
        size = self._packed.getinfo(path).file_size
        with self._packed.open(path) as source:
            data = source.read(size + 1)
        if len(data) != size:
            raise self._refused(f"{path} is not as long as it says")
        return data

    def require_room(self, folder: Path) -> None:
        """Check that a folder's disk has room for the whole archive."""
        total, free = sum(size for size, _ in self.listed.files.values()), shutil.disk_usage(folder).free
        if total > free:
            raise HomeError(
                f"the disk of {folder.parent} has no room for the archive {self._file}: {total} bytes are needed, and "
                f"{free} are free. Free some, or name another folder."
            )

    def extract(self, path: str, folder: Path) -> None:
        """Write one file of the archive below a folder."""
        size, digest = self.listed.files[path]
        target = folder.joinpath(*path.split("/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        found, left = hashlib.sha256(), size
        try:
            with self._packed.open(path) as source, target.open("xb") as file:
                while left and (chunk := source.read(min(_CHUNK, left))):
                    file.write(chunk)
                    found.update(chunk)
                    left -= len(chunk)
        except _DAMAGED as error:
            raise self._refused(f"{path} is damaged") from error
        if left or found.hexdigest() != digest:
            raise self._refused(f"{path} is not what was written")


#: Exceptions from reading a damaged entry, and those from a malformed list as well.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
_MISREAD = (*_DAMAGED, ValueError, LookupError, TypeError, AttributeError, OverflowError)
