"""Where Ray keeps the sessions that it starts here: nobody else can look into them. Loads nothing of Ray."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

#: What decides, the first that is set; without any it is the last.
_VARIABLES, _DEFAULT = ("RAY_TMPDIR", "TMPDIR"), "/tmp"

#: The longest path of a socket, in bytes: Linux has no room for more.
_LONGEST = 107

#: What folders of sessions are called, and the file in each that its process holds a lock on.
_PREFIX, _LOCK = "swr-", "driver"

#: Without that file a folder belongs to a process that is making it, unless it is as old as this.
_MAKING_S = 3600

#: What stands in the command line of each process of Ray that has not been given another title.
_RAYS = b"/ray/"

#: How long a folder is tried to be removed into which somebody writes.
_REMOVES_S = 5.0

#: What comes below that folder at most, in the session of a process.
_BELOW = f"/{_PREFIX}12345678/r/session_2026-01-01_00-00-00_000000_{{}}/sockets/plasma_store"


def ray_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder below which the sessions of a Ray are that is started here."""
    return Path(environment.get(_variable(environment), _DEFAULT))


@contextmanager
def own_folder(environment: Mapping[str, str]) -> Iterator[str]:
    """Make a folder for the sessions of a Ray of this process, and remove it again.

    Its name cannot be guessed, and nobody else can look into it: Ray itself lets everybody. What processes that were
    killed have left of theirs is removed as well.

    Args:
        environment: Variables that Ray reads.

    Raises:
        OSError: If none can be made.
    """
    base = ray_folder(environment)
    remove_left(base)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield str(folder / "r")  # Ray gives everybody all rights on this one
        finally:
            _remove(folder)


def remove_left(base: Path) -> None:
    """Remove the folders of sessions whose processes have ended without removing them, and what still runs there."""
    for folder in base.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, or just being removed
            if folder.stat().st_uid == os.getuid() and _is_left(folder):
                _end_processes(folder)
                _remove(folder)


def _end_processes(folder: Path) -> None:
    """End the daemons of a Ray whose driver was killed; they would notice that within a minute, and write meanwhile."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended since, or is another user's
            words = (entry / "cmdline").read_bytes()
            if os.fsencode(f"{folder}/") in words and _RAYS in words:  # not who only looks into its logs
                os.kill(int(entry.name), signal.SIGKILL)


def _remove(folder: Path) -> None:
    """Remove a folder of sessions, its lock last: who ends in between leaves one that is known to be left.

    It is tried for a while, since processes of its Ray that are just ending may write meanwhile.
    """
    until_s = time.monotonic() + _REMOVES_S
    while True:
        with suppress(OSError):
            for entry in folder.iterdir():
                if entry.name != _LOCK:
                    shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink()
            if [entry.name for entry in folder.iterdir()] in ([_LOCK], []):
                (folder / _LOCK).unlink(missing_ok=True)
                folder.rmdir()
        if not folder.exists():
            return
        with suppress(OSError):
            (folder / _LOCK).touch()
        if time.monotonic() > until_s:
            return
        time.sleep(0.05)


def _is_left(folder: Path) -> bool:
    try:
        with (folder / _LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: its process lives
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return time.time() - folder.stat().st_mtime > _MAKING_S
    return True


def socket_problem(environment: Mapping[str, str]) -> tuple[str, str] | None:
    """Return why Ray's sockets do not fit where it keeps its sessions, and the way out; None where they do.

    Args:
        environment: Variables that Ray reads.
    """
    name = _variable(environment)
    folder = environment.get(name, _DEFAULT)
    room = _LONGEST - len(_BELOW.format(os.getpid()))
    length = len(os.fsencode(os.path.abspath(folder)))
    if length <= room:
        return None
    return (
        f"Ray keeps its sockets below {folder}, the folder that {name} names, which is {length} bytes long: no more "
        f"than {room} fit, since a socket's path has at most {_LONGEST}",
        f"Name a shorter folder for it: export RAY_TMPDIR={_DEFAULT}, or another one on a disk of this machine.",
    )


def _variable(environment: Mapping[str, str]) -> str:
    return next((name for name in _VARIABLES if name in environment), _VARIABLES[0])
