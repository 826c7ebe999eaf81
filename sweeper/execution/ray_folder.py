"""Where Ray keeps the sessions that it starts here: nobody else can look into them. Loads nothing of Ray."""

from __future__ import annotations

import fcntl
import os
import shutil
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
            shutil.rmtree(folder, ignore_errors=True)


def remove_left(base: Path) -> None:
    """Remove the folders of sessions whose processes have ended without removing them."""
    for folder in base.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, or just being removed
            if folder.stat().st_uid == os.getuid() and _is_left(folder):
                shutil.rmtree(folder, ignore_errors=True)


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
