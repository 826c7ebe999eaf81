"""Files that several machines share: on local paths, or anywhere that `pyarrow.fs` reaches.

A location is a path, or a URI such as `s3://bucket/folder?region=eu-west-1`. The options after `?` say how to reach the
file system and stay at the end of the locations below. A reader never sees a partial file: local files are written
under another name and renamed, objects appear when their upload is complete, and on other file systems files are
written under another name and moved. Every failure is an `OSError` whose `strerror` is one line.
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
from sweeper.model.aside import replaced as replaced  # the only way in which all rooms write local files
from sweeper.model.aside import written_aside

if TYPE_CHECKING:  # pyarrow.fs starts the clients of object stores, which local paths do not need
    from pyarrow.fs import FileSystem

#: File systems on which a file appears as a whole, at the end of its upload.
_OBJECT_STORES = frozenset({"s3", "gcs", "abfs"})

#: Longest retries of Google's storage, in seconds, and most characters of a reason that are shown.
_PATIENCE_S, _LONGEST_REASON = 30, 300

#: Matches names of a URI's secret parameters.
_SECRET = re.compile(r"(?i)pass|token|secret|key|sig|credential")


def rooted(location: str) -> str:
    """Return a folder's location in a form that is valid from everywhere: an absolute path, or a URI.

    Raises:
        HomeError: If the location is neither a path nor such a URI.
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
    """Return whether a location, as `rooted` returns it, is a path."""
    return "://" not in location


def join(root: str, *names: str) -> str:
    """Return the location of a file below a folder."""
    if is_local(root):
        return str(Path(root, *names))
    parts = urlsplit(root)
    path = "/".join([parts.path.rstrip("/"), *(quote(name) for name in names)])
    return urlunsplit(parts._replace(path=path))


def parted(location: str) -> tuple[str, str]:
    """Return a location without its options, and the options from `?` on, which only a URI may have."""
    if is_local(location):
        return location, ""
    path, mark, reached = location.partition("?")
    return path, f"{mark}{reached}"


def without_credentials(location: str) -> str:
    """Return a location without passwords and secret parameters, to be shown and kept."""
    if "://" not in location:
        return location
    login = login_of(location)
    if ":" in login:  # a key without its secret would override the environment's; Azure's key is only a name
        user = f"{login.partition(':')[0]}@" if location.startswith("abfs") else ""
        location = location.replace(f"://{login}@", f"://{user}", 1)
    parts = urlsplit(location)
    shown = [(name, value) for name, value in parse_qsl(parts.query) if not _SECRET.search(name)]
    return urlunsplit(parts._replace(query=urlencode(shown, safe="/:"), fragment=""))


def read_bytes(location: str) -> bytes | None:
    """Return the content of a file, or None if there is no file.

    Raises:
        OSError: If the file cannot be read.
    """
    try:
        if is_local(location):
            return Path(location).read_bytes()
        with reached(location) as (system, path), system.open_input_stream(path) as file:
            return bytes(file.read())
    except FileNotFoundError:
        return None


def write_bytes(location: str, data: bytes) -> None:
    """Write a file, so that no reader ever sees a partial one; missing folders are made.

    Raises:
        OSError: If the file cannot be written.
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
            file.write(data)  # in one call, because closing the stream after a failure would complete a partial upload
        if not is_whole_at_once:
            system.move(target, path)


def write_local(path: Path, data: bytes) -> None:
    """Write a file in an existing folder of this machine, so that no reader ever sees a partial one.

    Raises:
        OSError: If the file cannot be written; then the former file stays, without a temporary one beside it.
    """
    with written_aside(path) as file:
        file.write(data)


def sizes_below(folder: str) -> dict[str, int]:
    """Return the sizes of the files below a folder in bytes, by relative paths; links are not followed.

    Raises:
        OSError: If the folder cannot be read; a missing folder has no files.
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
    """Return the location of a folder under another name in the same parent folder."""
    path, reached_so = parted(folder)
    return f"{path.rstrip('/').rpartition('/')[0]}/{name}{reached_so}"


def move_folder(folder: str, target: str) -> None:
    """Move all files of a folder to another folder of the same storage; a repeated call completes an interrupted one.

    Raises:
        OSError: If a file cannot be moved.
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
        OSError: If the file cannot be removed, or does not exist.
    """
    if is_local(location):
        Path(location).unlink()
        return
    with reached(location) as (system, path):
        system.delete_file(path)


def check(folder: str) -> None:
    """Check before training that a folder can be used, by writing, reading and removing a small file.

    Raises:
        HomeError: If the folder cannot be used; gives the reason.
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
    """Yield the file system of a URI and the path on it; turn exceptions into an `OSError` of one line."""
    import pyarrow as pa
    from pyarrow.fs import FileSystem

    try:
        yield FileSystem.from_uri(_impatient(uri))
    except FileNotFoundError:
        raise
    except (OSError, ImportError, pa.ArrowException) as error:
        number = getattr(error, "errno", None) or errno.EIO
        raise OSError(number, _first_line(error, uri)) from None  # the cause may contain credentials


def _impatient(uri: str) -> str:
    """Return a URI whose file system gives up in time: by default Google's retries for 15 minutes, S3's for seconds."""
    parts = urlsplit(uri)
    if parts.scheme not in {"gs", "gcs"} or "retry_limit_seconds" in parts.query:
        return uri
    return urlunsplit(parts._replace(query=f"{parts.query}&retry_limit_seconds={_PATIENCE_S}".lstrip("&")))


def _first_line(error: BaseException, uri: str) -> str:
    """Return the first line of an error's message, without secrets of the URI."""
    line = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(". ")
    line = redacted(line, uri)
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…"
