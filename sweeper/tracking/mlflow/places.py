"""Where the artifacts of a run are as files: beside the SQLite file that the run is in, wherever that was moved to.

MLflow keeps whole addresses, which lead to where a database was when a run was made. What lies beside a database moves
and is copied with it, so it is looked for there first, and never where a copy was taken from.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

#: The folder of artifacts beside a SQLite file.
BESIDE = "artifacts"


def folder_of(uri: str) -> Path | None:
    """Return the folder that an artifact URI means; None where it is none of this machine."""
    address = urlsplit(uri)
    if address.scheme == "":
        return Path(uri) if uri else None
    is_here = address.scheme == "file" and address.netloc in ("", "localhost")
    return Path(url2pathname(address.path)) if is_here else None


def root_beside(database: Path) -> str:
    """Return the URI of the folder of artifacts beside a SQLite file."""
    return (database.absolute().parent / BESIDE).as_uri()


def location_in(root: str, sweep: str) -> str:
    """Return the URI of a sweep's artifacts below a root."""
    return f"{root.rstrip('/')}/{quote(sweep)}"


def moved_location(noted: str, sweep: str | None, database: Path) -> str | None:
    """Return where an experiment's artifacts belong beside its database; None where they were elsewhere, or are there.

    Args:
        noted: What MLflow keeps.
        sweep: Name of the sweep, from the experiment's tag; None for a stranger's experiment.
        database: The SQLite file.
    """
    folder = folder_of(noted)
    if folder is None or sweep is None or folder.parts[-2:-1] != (BESIDE,):
        return None
    here = database.absolute().parent / BESIDE / folder.name
    if folder.name != sweep and not here.is_dir():  # a sweep that was renamed has its artifacts where they were
        return None
    return None if _is_same(folder, here) else here.as_uri()


def moved_artifacts(noted: str, run_id: str, sweep: str | None, database: Path) -> str | None:
    """Return where a run's artifacts belong beside its database; None where they were elsewhere, or are there.

    Args:
        noted: What MLflow keeps.
        run_id: Of the run.
        sweep: Name of the sweep, from the experiment's tag; None for a stranger's experiment.
        database: The SQLite file.
    """
    folder = folder_of(noted)
    if folder is None:
        return None
    beside = database.absolute().parent
    if sweep is not None and folder.parts[-4:] == (BESIDE, sweep, run_id, folder.name):
        here = beside / BESIDE / sweep / run_id / folder.name
        return None if _is_same(folder, here) else here.as_uri()
    if run_id not in folder.parts:
        return None
    # A server of MLflow that ran beside the database has folders of other names; a run's own name is nobody else's.
    for first in range(1, folder.parts.index(run_id) + 1):
        here = beside.joinpath(*folder.parts[first:])
        if here.is_dir():
            return None if _is_same(folder, here) else here.as_uri()
    return None


def _is_same(one: Path, other: Path) -> bool:
    """Return whether two paths mean the same folder, by whichever links; one need not be there yet."""
    return one == other or one.resolve() == other.resolve()
