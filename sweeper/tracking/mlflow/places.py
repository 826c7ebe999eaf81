"""Finds the artifact files of a run beside its SQLite database, even if the database was moved.

MLflow stores absolute addresses, which lead to the place where the database was when the run was made. Artifacts beside
a database move and are copied with it. So they are looked for beside the database first, never beside its original.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

#: The folder of artifacts beside a SQLite file.
BESIDE = "artifacts"


def folder_of(uri: str) -> Path | None:
    """Return the local folder that an artifact URI means; None if it is not a folder of this machine."""
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
    """Return the new URI of an experiment's artifacts if its database was moved; None if nothing has to change.

    Nothing changes if the artifacts are there already, or never were beside the database.

    Args:
        noted: The URI that MLflow stores.
        sweep: Name of the sweep, from the experiment's tag; None for an experiment that is not sweeper's.
        database: The SQLite file.
    """
    folder = folder_of(noted)
    if folder is None or sweep is None or folder.parts[-2:-1] != (BESIDE,):
        return None
    here = database.absolute().parent / BESIDE / folder.name
    if folder.name != sweep and not here.is_dir():  # a renamed sweep keeps its folder
        return None
    return None if _is_same(folder, here) else here.as_uri()


def moved_artifacts(noted: str, run_id: str, sweep: str | None, database: Path) -> str | None:
    """Return the new URI of a run's artifacts if its database was moved; None if nothing has to change.

    Args:
        noted: The URI that MLflow stores.
        run_id: Id of the run.
        sweep: Name of the sweep, from the experiment's tag; None for an experiment that is not sweeper's.
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
    # An MLflow server that ran beside the database has folders of other names, but a run's id is unique.
    for first in range(1, folder.parts.index(run_id) + 1):
        here = beside.joinpath(*folder.parts[first:])
        if here.is_dir():
            return None if _is_same(folder, here) else here.as_uri()
    return None


def _is_same(one: Path, other: Path) -> bool:
    """Return whether two paths lead to the same folder, also through links; the folder need not exist yet."""
    return one == other or one.resolve() == other.resolve()
