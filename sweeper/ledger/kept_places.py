"""Where the things of a sweep are, as its folder notes it, so that its home may be moved, copied and mounted elsewhere.

What lies in the home is noted as it is seen from there, by a relative path; what lies outside by its whole path or URI.
Homes of earlier versions noted whole paths alone: those that led into the home are told from the others here.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from sweeper import sqlite_uri, storage
from sweeper.archived import MARKER

#: The file of a home's own tracking database.
TRACKING_FILE = "mlflow.db"

#: The folder beside it, in which MLflow's artifacts are.
ARTIFACTS = "artifacts"

#: The files that make a folder a planned sweep.
LEDGERS = ("ledger.db", "ledger.json")


def is_reserved(name: str) -> bool:
    """Return whether a home keeps files of its own under a name, or SQLite does beside them."""
    return name in (ARTIFACTS, MARKER) or name.startswith(TRACKING_FILE)


def tracking_as_noted(uri: str, folder: Path) -> str:
    """Return how a tracking URI is noted in the folder of a sweep."""
    file = _plain_file(uri)
    within = file and _within(file.absolute(), folder.parent)
    return sqlite_uri.uri_of(within) if within else uri


def tracking_as_meant(noted: str, folder: Path) -> str:
    """Return the tracking URI that is meant by a note in the folder of a sweep."""
    file = _plain_file(noted)
    if file is None:
        return noted
    found = _in_home(file, folder)
    if found is None:
        own = folder.parent / TRACKING_FILE
        is_ours = file.name == TRACKING_FILE and (
            # Beside it is a sweep of this name: that is the home which this one is a copy of.
            any((file.parent / folder.name / name).is_file() for name in LEDGERS)
            or (own.is_file() and (not file.is_file() or _planned_in(folder) is None))
        )
        found = own if is_ours else file
    return sqlite_uri.uri_of(found)


def storage_as_noted(location: str, folder: Path) -> str:
    """Return how the folder or URI of a storage is noted in the folder of a sweep."""
    within = _within(Path(location), folder.parent) if storage.is_local(location) else None
    return str(within) if within else location


def storage_as_meant(noted: str, folder: Path) -> str:
    """Return the folder or URI of the storage that is meant by a note in the folder of a sweep."""
    if not storage.is_local(noted):
        return noted
    return str(_in_home(Path(noted), folder) or noted)


def is_in_home(path: Path, folder: Path) -> bool:
    """Return whether a path lies in the home of a sweep's folder."""
    return _within(path.absolute(), folder.parent) is not None


def _plain_file(uri: str) -> Path | None:
    """Return the SQLite file of a URI that says nothing else; None for others."""
    return None if "?" in uri else sqlite_uri.file_of(uri)


def _in_home(noted: Path, folder: Path) -> Path | None:
    """Return where a noted path is in the home of a sweep; None if it is elsewhere."""
    home = folder.parent
    if not noted.is_absolute():
        return home / noted
    within = _within(noted, home)
    if within is None and (planned := _planned_in(folder)) and not _is_same(planned, home):
        within = _within(noted, planned)
    return home / within if within else None


def _within(path: Path, home: Path) -> Path | None:
    """Return a path as it is seen from a home, also where links lead there; None if it is not in it."""
    for one, root in ((path, home), (path.resolve(), home.resolve())):
        if one.is_relative_to(root):
            return one.relative_to(root)
    return None


def _is_same(one: Path, other: Path) -> bool:
    return one == other or one.resolve() == other.resolve()


def _planned_in(folder: Path) -> Path | None:
    """Return the home in which a sweep was planned, as its ledger says; None where that is not in the folder."""
    address = f"file:{quote(str(folder / 'ledger.db'))}?mode=ro"
    with suppress(sqlite3.Error, ValueError, LookupError, TypeError):
        with closing(sqlite3.connect(address, uri=True)) as database:
            rows = database.execute("SELECT value_json FROM study_user_attributes WHERE key = 'revisions'").fetchall()
        planned: Sequence[str] = [json.loads(text)[0]["facts"]["home"] for (text,) in rows]
        return Path(planned[0])
    return None
