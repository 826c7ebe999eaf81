"""Where Ray keeps the sessions that it starts here, and whether its sockets fit there. Loads nothing of Ray."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

#: What decides, the first that is set; without any it is the last.
_VARIABLES, _DEFAULT = ("RAY_TMPDIR", "TMPDIR"), "/tmp"

#: The longest path of a socket, in bytes: Linux has no room for more.
_LONGEST = 107

#: What comes below that folder at most, in the session of a process.
_BELOW = "/ray/session_2026-01-01_00-00-00_000000_{}/sockets/plasma_store"


def ray_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder below which Ray keeps its sessions."""
    return Path(environment.get(_variable(environment), _DEFAULT), "ray")


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
