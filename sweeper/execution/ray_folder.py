"""The folder of the Ray sessions started here, which no other user can look into. Does not import Ray."""

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

#: Variables that name the folder, of which the first that is set counts, and the default without any.
_VARIABLES, _DEFAULT = ("RAY_TMPDIR", "TMPDIR"), "/tmp"

#: Longest path of a socket on Linux, in bytes.
_LONGEST = 107

#: Prefix of the folders of sessions, and the file in each that its process locks.
_PREFIX, _LOCK = "swr-", "driver"

#: Age from which a folder without that file is left over, in seconds; before, some process may still be making it.
_MAKING_S = 3600

#: Part of the command line of each process of Ray that has no other title.
_RAYS = b"/ray/"

#: Longest time for repeated attempts to remove a folder that processes still write into, in seconds.
_REMOVES_S = 5.0

#: Longest path of a socket below that folder, with a place for the process id.
_BELOW = f"/{_PREFIX}12345678/r/session_2026-01-01_00-00-00_000000_{{}}/sockets/plasma_store"


def ray_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder below which a Ray started here keeps its sessions."""
    return Path(environment.get(_variable(environment), _DEFAULT))


@contextmanager
def own_folder(environment: Mapping[str, str]) -> Iterator[str]:
    """Make a folder for the sessions of this process's Ray, and remove it again.

    Its name cannot be guessed, and no other user can look into it; Ray's own default lets everybody. Folders left by
    killed processes are removed as well.

    Args:
        environment: Variables that Ray reads.

    Raises:
        OSError: If the folder cannot be made.
    """
    base = ray_folder(environment)
    remove_left(base)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield str(folder / "r")  # Ray gives all users all rights on this subfolder
        finally:
            _remove(folder)


def remove_left(base: Path) -> None:
    """Remove session folders that dead processes have left, and end the daemons that still run there."""
    for folder in base.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # the folder is another user's, or is just being removed
            if folder.stat().st_uid == os.getuid() and _is_left(folder):
                _end_processes(folder)
                _remove(folder)


def _end_processes(folder: Path) -> None:
    """End the daemons of a Ray whose driver was killed, which would otherwise write for up to another minute."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # the process has ended since, or is another user's
            words = (entry / "cmdline").read_bytes()
            if os.fsencode(f"{folder}/") in words and _RAYS in words:  # not a process that only reads Ray's logs
                os.kill(int(entry.name), signal.SIGKILL)


def _remove(folder: Path) -> None:
    """Remove a folder of sessions, its lock file last, so that an interrupted removal is recognised later.

    The removal is repeated for a while, because ending processes of Ray may still write into the folder.
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
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError if its process lives
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return time.time() - folder.stat().st_mtime > _MAKING_S
    return True


def socket_problem(environment: Mapping[str, str]) -> tuple[str, str] | None:
    """Return why the paths of Ray's sockets are too long, and the way out; None if they are not.

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
