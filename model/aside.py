"""Writes a file under a temporary name and renames it, so that readers never meet half a file."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder, and rename the file written there once it is on the disk.

    No reader ever meets half a file, and a crash leaves the former one. If writing raises, the temporary file is
    removed.
    """
    # A unique name, so that no other process's file is overwritten. It is cut because names have at most 255 bytes.
    beginning = os.fsencode(path.name)[:180].decode(errors="ignore")
    aside = path.with_name(f"{beginning}.{uuid.uuid4().hex}.tmp")
    try:
        yield aside
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        with suppress(OSError):  # an error while writing must not be hidden by one from cleaning up
            aside.unlink(missing_ok=True)


@contextmanager
def written_aside(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its name when it is complete, see `replaced`; its folder must exist."""
    with replaced(path) as aside, aside.open("wb") as file:
        yield file
