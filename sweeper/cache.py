"""The user's cache of files that take long to make and are always the same; they may be deleted at any time."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from sweeper.storage import write_local

#: Variable that names the cache's folder. The default is `sweeper` in `XDG_CACHE_HOME`, or in `.cache` in the user's
#: home.
FOLDER = "SWEEPER_CACHE"


def folder() -> Path | None:
    """Return the folder of the cache, which may not exist yet; None if this user has no home."""
    if named := os.environ.get(FOLDER):
        return Path(named)
    root = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(root) if os.path.isabs(root) else Path.home() / ".cache") / "sweeper"
    except RuntimeError:
        return None


def fetch(name: str, to: Path) -> bool:
    """Copy a kept file; return whether it exists."""
    root = folder()
    if root is None:
        return False
    try:
        shutil.copyfile(root / name, to)
    except OSError:
        to.unlink(missing_ok=True)
        return False
    return True


def keep(name: str, file: Path) -> None:
    """Keep a copy of a file, whole or not at all; if writing fails, the file is simply made again next time."""
    root = folder()
    if root is None:
        return
    with suppress(OSError):
        root.mkdir(parents=True, exist_ok=True)
        write_local(root / name, file.read_bytes())
