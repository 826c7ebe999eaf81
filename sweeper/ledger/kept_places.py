"""How a sweep's folder notes places, so that its home may be moved, copied and mounted elsewhere.

A place in the home is noted by its path relative to the home, any other place by its absolute path or URI. Earlier
versions noted only absolute paths; this module recognises which of those lead into the home.
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

#: The folder of MLflow's artifacts, beside the tracking database.
ARTIFACTS = "artifacts"

#: The files of which a planned sweep's folder has one.
LEDGERS = ("ledger.db", "ledger.json")


def is_reserved(name: str) -> bool:
    """Return whether the home itself, or SQLite beside its database, keeps files under this name."""
    return name in (ARTIFACTS, MARKER) or name.startswith(TRACKING_FILE)


def tracking_as_noted(uri: str, folder: Path) -> str:
    """Return how a tracking URI is noted in the folder of a sweep."""
    file = _plain_file(uri)
    within = file and _within(file.absolute(), folder.parent)
    return sqlite_uri.uri_of(within) if within else uri


def tracking_as_meant(noted: str, folder: Path) -> str:
    """Return the tracking URI that a note in the folder of a sweep means."""
    file = _plain_file(noted)
    if file is None:
        return noted
    found = _in_home(file, folder)
    if found is None:
        own = folder.parent / TRACKING_FILE
        is_ours = file.name == TRACKING_FILE and (
            # A sweep of this name lies beside the file, so this home is a copy of that one.
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
    """Return the folder or URI of the storage that a note in the folder of a sweep means."""
    if not storage.is_local(noted):
        return noted
    return str(_in_home(Path(noted), folder) or noted)


def is_in_home(path: Path, folder: Path) -> bool:
    """Return whether a path lies in the home of a sweep's folder."""
    return _within(path.absolute(), folder.parent) is not None


def _plain_file(uri: str) -> Path | None:
    """Return the SQLite file of a URI without a query; None for other URIs."""
    return None if "?" in uri else sqlite_uri.file_of(uri)


def _in_home(noted: Path, folder: Path) -> Path | None:
    """Return the present place of a noted path in the home of a sweep; None if the path is outside of the home."""
    home = folder.parent
    if not noted.is_absolute():
        return home / noted
    within = _within(noted, home)
    if within is None and (planned := _planned_in(folder)) and not _is_same(planned, home):
        within = _within(noted, planned)
    return home / within if within else None


def _within(path: Path, home: Path) -> Path | None:
    """Return a path relative to a home, following links if necessary; None if it is not in the home."""
    for one, root in ((path, home), (path.resolve(), home.resolve())):
        if one.is_relative_to(root):
            return one.relative_to(root)
    return None


def _is_same(one: Path, other: Path) -> bool:
    return one == other or one.resolve() == other.resolve()


def _planned_in(folder: Path) -> Path | None:
    """Return the home in which a sweep was planned, by its ledger; None if the ledger is not in the folder."""
    address = f"file:{quote(str(folder / 'ledger.db'))}?mode=ro"
    with suppress(sqlite3.Error, ValueError, LookupError, TypeError):
        with closing(sqlite3.connect(address, uri=True)) as database:
            rows = database.execute("SELECT value_json FROM study_user_attributes WHERE key = 'revisions'").fetchall()
        planned: Sequence[str] = [json.loads(text)[0]["facts"]["home"] for (text,) in rows]
        return Path(planned[0])
    return None
