"""Files that several machines share: on local paths, or anywhere that `pyarrow.fs` reaches.

A location is a path, or a URI such as `s3://bucket/folder?region=eu-west-1`: what follows `?` says how a file system is
reached and stays at the end when a file is named below. A reader never meets half a file: local ones are written aside
and renamed, objects appear when their upload is complete, and other file systems write aside and move. What goes wrong
is an `OSError` whose `strerror` is one line.
"""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from sweeper.credentials import login_of, redacted
from sweeper.errors import HomeError
from sweeper.model.aside import replaced as replaced  # the one way in which local files are written, for all rooms
from sweeper.model.aside import written_aside

if TYPE_CHECKING:  # pyarrow.fs starts the clients of object stores: whoever stays on local paths does without
    from pyarrow.fs import FileSystem

#: File systems on which a file appears as a whole, at the end of its upload.
_OBJECT_STORES = frozenset({"s3", "gcs", "abfs"})

#: How long Google's storage is tried, and how much of a reason is shown.
_PATIENCE_S, _LONGEST_REASON = 30, 300

#: Parameters of a URI that are nobody's business.
_SECRET = re.compile(r"(?i)pass|token|secret|key|sig|credential")


def rooted(location: str) -> str:
    """Return a folder as it is named from everywhere: an absolute path, or a URI.

    Raises:
        HomeError: If it is neither.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", location)
    if not scheme:
        return str(Path(location).absolute())
    parts = urlsplit(location)
    is_file = parts.scheme == "file"
    if not re.match(r"[^:]+://", location) or (is_file and (parts.netloc not in {"", "localhost"} or parts.query)):
        form = "file:///absolute/path" if is_file else f"{scheme[1]}://…"
        raise HomeError(
            f"--storage takes a folder or a URI of the form {form}, but got {without_credentials(location)}. "
            "Write it so; for a folder that has a colon in its name, begin with ./"
        )
    return str(Path(unquote(parts.path)).absolute()) if is_file else location


def is_local(location: str) -> bool:
    """Whether a location, as `rooted` returns it, is a path."""
    return "://" not in location


def join(root: str, *names: str) -> str:
    """Return the location of a file below a folder."""
    if is_local(root):
        return str(Path(root, *names))
    parts = urlsplit(root)
    path = "/".join([parts.path.rstrip("/"), *(quote(name) for name in names)])
    return urlunsplit(parts._replace(path=path))


def parted(location: str) -> tuple[str, str]:
    """Return the path of a location, and of a URI what says how it is reached, from its `?` on."""
    if is_local(location):
        return location, ""
    path, mark, reached = location.partition("?")
    return path, f"{mark}{reached}"


def without_credentials(location: str) -> str:
    """Return a location without passwords and secret parameters: to be shown and kept."""
    if "://" not in location:
        return location
    login = login_of(location)
    if ":" in login:  # a key without its secret would take the place of what the environment holds; Azure's is a name
        user = f"{login.partition(':')[0]}@" if location.startswith("abfs") else ""
        location = location.replace(f"://{login}@", f"://{user}", 1)
    parts = urlsplit(location)
    shown = [(name, value) for name, value in parse_qsl(parts.query) if not _SECRET.search(name)]
    return urlunsplit(parts._replace(query=urlencode(shown, safe="/:"), fragment=""))


def read_bytes(location: str) -> bytes | None:
    """Return what a file holds, or None where there is none.

    Raises:
        OSError: If it cannot be read.
    """
    try:
        if is_local(location):
            return Path(location).read_bytes()
        with reached(location) as (system, path), system.open_input_stream(path) as file:
            return bytes(file.read())
    except FileNotFoundError:
        return None


def write_bytes(location: str, data: bytes) -> None:
    """Write a file, so that no reader ever meets half of it; folders are made where they are missing.

    Raises:
        OSError: If it cannot be written.
    """
    if is_local(location):
        Path(location).parent.mkdir(parents=True, exist_ok=True)
        write_local(Path(location), data)
        return
    with reached(location) as (system, path):
        is_whole_at_once = system.type_name in _OBJECT_STORES
        target = path if is_whole_at_once else f"{path}.{uuid.uuid4().hex}.tmp"
        if not is_whole_at_once:
            system.create_dir(path.rpartition("/")[0], recursive=True)
        with system.open_output_stream(target) as file:
            file.write(data)  # in one piece: closing a stream would complete the upload of half a file
        if not is_whole_at_once:
            system.move(target, path)


def write_local(path: Path, data: bytes) -> None:
    """Write a file in a folder of this machine that is there, so that no reader ever meets half of it.

    Raises:
        OSError: If it cannot be written; the former file stays, and nothing beside it.
    """
    with written_aside(path) as file:
        file.write(data)


def sizes_below(folder: str) -> dict[str, int]:
    """Return the files below a folder and their sizes, by paths as they are seen from it; links are not followed.

    Raises:
        OSError: If it cannot be read; a folder that is not there has no files.
    """
    if is_local(folder):
        root = Path(folder)
        files = [Path(above, name) for above, _, names in os.walk(root) for name in names]
        return {file.relative_to(root).as_posix(): file.lstat().st_size for file in files}
    with reached(folder) as (system, path):
        from pyarrow.fs import FileSelector, FileType

        found = system.get_file_info(FileSelector(path, allow_not_found=True, recursive=True))
        base = path.rstrip("/") + "/"
        return {one.path.removeprefix(base): one.size for one in found if one.type == FileType.File}


def renamed(folder: str, name: str) -> str:
    """Return the location of a folder under another name, beside where it is."""
    path, reached_so = parted(folder)
    return f"{path.rstrip('/').rpartition('/')[0]}/{name}{reached_so}"


def move_folder(folder: str, target: str) -> None:
    """Move all files of a folder to another one of the same storage; what was interrupted can be done again.

    Raises:
        OSError: If one cannot be moved.
    """
    if is_local(folder) and not Path(target).exists():
        if Path(folder).exists():
            Path(folder).rename(target)
        return
    for name in sizes_below(folder):
        source, moved = join(folder, *name.split("/")), join(target, *name.split("/"))
        if is_local(folder):
            Path(moved).parent.mkdir(parents=True, exist_ok=True)
            Path(source).replace(moved)
            continue
        with reached(source) as (system, path), reached(moved) as (_, new_path):
            if system.type_name not in _OBJECT_STORES:
                system.create_dir(new_path.rpartition("/")[0], recursive=True)
            system.move(path, new_path)


def delete(location: str) -> None:
    """Remove a file.

    Raises:
        OSError: If it cannot be removed, or there is none.
    """
    if is_local(location):
        Path(location).unlink()
        return
    with reached(location) as (system, path):
        system.delete_file(path)


def check(folder: str) -> None:
    """Write, read and remove a small file, so that a folder that cannot be used is known before training starts.

    Raises:
        HomeError: With the reason.
    """
    probe = join(folder, f"probe-{uuid.uuid4().hex}")
    try:
        write_bytes(probe, b"probe")
        if read_bytes(probe) != b"probe":
            raise OSError(errno.EIO, "what was written is not what is read")
        delete(probe)
    except OSError as error:
        raise HomeError(
            f"the storage {without_credentials(folder)} cannot be used: {error.strerror or error}. Name a folder that "
            "exists with --storage, with its credentials in the environment, or leave it out to keep files in the home."
        ) from error


@contextmanager
def reached(uri: str) -> Iterator[tuple[FileSystem, str]]:
    """Give the file system of a URI and the path on it; turn what it raises into an `OSError` of one line."""
    import pyarrow as pa
    from pyarrow.fs import FileSystem

    try:
        yield FileSystem.from_uri(_impatient(uri))
    except FileNotFoundError:
        raise
    except (OSError, ImportError, pa.ArrowException) as error:
        number = getattr(error, "errno", None) or errno.EIO
        raise OSError(number, _first_line(error, uri)) from None  # the cause may hold credentials


def _impatient(uri: str) -> str:
    """Return a URI whose file system gives up in time: Google's tries for 15 minutes by default, S3 for seconds."""
    parts = urlsplit(uri)
    if parts.scheme not in {"gs", "gcs"} or "retry_limit_seconds" in parts.query:
        return uri
    return urlunsplit(parts._replace(query=f"{parts.query}&retry_limit_seconds={_PATIENCE_S}".lstrip("&")))


def _first_line(error: BaseException, uri: str) -> str:
    """Return what an error says, without what must not be shown of the URI."""
    line = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(". ")
    line = redacted(line, uri)
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…"
