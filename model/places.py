"""Locations of image files, read in one way: folders of this machine, or URIs that `pyarrow.fs` reaches."""

from __future__ import annotations

import fnmatch
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa

from sweeper.model.errors import TaskError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

#: Returns the file system of a URI and the path on it. Raises only `OSError`, with a message of one line.
Reach = Callable[[str], AbstractContextManager[tuple["FileSystem", str]]]

#: Most files below a folder; a folder with more is probably a home or a disk that was named by mistake.
MOST_FILES = 5_000_000

#: Characters that make a path a pattern.
_WILD = "*?["


@dataclass(frozen=True)
class File:
    """A file that may be read.

    Attributes:
        path: A path, or a URI.
        size: Size in bytes.
        changed: A text that differs after each change of the file.
        changed_s: Time of the last change, in seconds since 1970.
        reach: How a URI is reached; None for a path.
    """

    path: str
    size: int
    changed: str
    changed_s: float
    reach: Reach | None = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.partition("?")[0].rpartition("/")[2]

    def __str__(self) -> str:
        return self.path

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Open the file for random access.

        Raises:
            OSError: If it cannot be read.
        """
        if self.reach is None:
            with open(self.path, "rb") as file:
                yield file
        else:
            with self.reach(self.path) as (system, path), system.open_input_file(path) as file:
                yield file

    @contextmanager
    def mapped(self) -> Iterator[Any]:
        """Open the file for Arrow; a local file is memory-mapped, so that only used parts are read."""
        if self.reach is None:
            with pa.memory_map(self.path) as file:
                yield file
        else:
            with self.open() as file:
                yield file

    def read(self, most: int | None = None) -> bytes:
        """Return the file's content.

        Args:
            most: Most bytes to read; None reads all.

        Raises:
            OSError: If the file cannot be read.
        """
        with self.open() as file:
            return bytes(file.read(self.size + 1 if most is None else most))


def is_uri(location: str) -> bool:
    """Whether a location is a URI."""
    return "://" in location


def is_pattern(location: str) -> bool:
    """Whether a location is a pattern of file names."""
    return not is_uri(location) and any(one in location for one in _WILD) and not os.path.lexists(location)


@dataclass(frozen=True)
class Folder:
    """A location and its files.

    Attributes:
        location: The location as it was given.
        files: All files below a folder, by their relative path; for a file or a pattern, that file or the matches.
        is_folder: Whether the location is a folder.
    """

    location: str
    files: dict[str, File]
    is_folder: bool

    def below(self, name: str) -> Folder:
        """Return a folder inside this one."""
        inside = {path[len(name) + 1 :]: file for path, file in self.files.items() if path.startswith(f"{name}/")}
        return Folder(f"{self.location.rstrip('/')}/{name}", inside, True)

    @property
    def folders(self) -> list[str]:
        """The names of the folders in this one, ascending."""
        return sorted({path.partition("/")[0] for path in self.files if "/" in path})


def looked_up(location: str, reach: Reach | None) -> Folder:
    """Return the files of a location.

    Raises:
        TaskError: If a file does not exist, no file matches, or files cannot be listed.
    """
    try:
        if is_uri(location):
            return _remote(location, reach)
        if is_pattern(location):
            return _matching(location)
        if os.path.isdir(location):
            found = {os.path.relpath(path, location): _local(path) for path in _walk(location)}
            return Folder(location, dict(sorted(found.items())), True)
        return Folder(location, {os.path.basename(location): _local(location)}, False)
    except OSError as error:
        raise TaskError(f"cannot read images from {location}: {error.strerror or error}") from error


def _local(path: str) -> File:
    seen = os.stat(path)
    return File(
        path, seen.st_size, f"{seen.st_mtime_ns}.{seen.st_ctime_ns}.{seen.st_ino}", max(seen.st_mtime, seen.st_ctime)
    )


def _walk(folder: str) -> Iterator[str]:
    """Yield the files below a folder except hidden ones; links to folders are not followed."""
    count = 0
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if not name.startswith("."):
                count += 1
                if count > MOST_FILES:
                    raise TaskError(f"{folder} holds more than {MOST_FILES:,} files. Name the folder of the images.")
                path = os.path.join(root, name)
                if os.path.isfile(path):
                    yield path


def _matching(pattern: str) -> Folder:
    """Return the files that match a pattern; `*` does not match `/`."""
    root = pattern
    while is_pattern(root):
        root = os.path.dirname(root)
    depth = pattern.count("/")
    found = {}
    for path in _matches(root, pattern[len(root.rstrip("/")) + 1 :].split("/")):
        if path.count("/") == depth and os.path.isfile(path):
            found[os.path.relpath(path, root)] = _local(path)
    if not found:
        raise TaskError(f"no file matches {pattern}. Correct the pattern.")
    return Folder(pattern, dict(sorted(found.items())), False)


def _matches(root: str, parts: Sequence[str]) -> Iterator[str]:
    with os.scandir(root) as entries:
        names = sorted(entry.name for entry in entries if fnmatch.fnmatchcase(entry.name, parts[0]))
    for name in names:
        path = os.path.join(root, name)
        if len(parts) == 1:
            yield path
        elif os.path.isdir(path):
            yield from _matches(path, parts[1:])


def _remote(uri: str, reach: Reach | None) -> Folder:
    from pyarrow.fs import FileSelector, FileType

    if reach is None:
        raise TaskError(f"images at {uri} cannot be reached from here")
    path, mark, how = uri.partition("?")
    is_wild = any(one in path for one in _WILD)
    with reach(uri) as (system, root):
        whole = root
        while any(one in root for one in _WILD):
            root = root.rpartition("/")[0]
        (info,) = system.get_file_info([root])
        if info.type is FileType.NotFound:
            raise TaskError(f"cannot read images from {path}: there is nothing")
        infos = [info] if info.is_file else system.get_file_info(FileSelector(root, recursive=True))
        found = {}
        for one in infos:
            if not one.is_file or (is_wild and not _is_like(one.path, whole)):
                continue
            below = one.path[len(root) :].lstrip("/") or one.base_name
            if any(part.startswith(".") for part in below.split("/")):
                continue
            top = path[: len(path) - len(whole) + len(root)] if is_wild else path
            named = path if info.is_file else f"{top.rstrip('/')}/{below}"
            found[below] = File(f"{named}{mark}{how}", one.size, str(one.mtime_ns), (one.mtime_ns or 0) / 1e9, reach)
    if not found:
        raise TaskError(f"cannot read images from {path}: " + ("no file matches" if is_wild else "the folder is empty"))
    return Folder(uri, dict(sorted(found.items())), not info.is_file and not is_wild)


def _is_like(path: str, pattern: str) -> bool:
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def as_stream(data: bytes) -> IO[bytes]:
    """Return bytes as a file object."""
    return io.BytesIO(data)
