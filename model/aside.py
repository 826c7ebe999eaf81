"""Files that others read are written aside and renamed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a temporary name in the same folder, and rename what was made there at the end, when it is on the disk.

    No reader ever meets half a file, and a crash leaves the former one. Where making it raises, nothing is left of it.
    """
    # A name that nobody else has: what is there already is somebody's. The beginning alone, as names end at 255 bytes.
    beginning = os.fsencode(path.name)[:180].decode(errors="ignore")
    aside = path.with_name(f"{beginning}.{uuid.uuid4().hex}.tmp")
    try:
        yield aside
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        with suppress(OSError):  # what kept it from being made is the error that counts
            aside.unlink(missing_ok=True)


@contextmanager
def written_aside(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write, as `replaced` does; its folder must be there."""
    with replaced(path) as aside, aside.open("wb") as file:
        yield file
