"""Finds the parts of a sweep outside of its home, which stay in place when the home is moved or copied."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit

from sweeper import sqlite_uri, storage
from sweeper.checks.finding import Finding, fine
from sweeper.credentials import redacted
from sweeper.errors import SweepError
from sweeper.ledger.home import Home, SweepFolder
from sweeper.tracking.mlflow.places import folder_of
from sweeper.tracking.mlflow.reader import artifact_place


def parts_outside(folder: SweepFolder, tracking_uri: str) -> list[str]:
    """Return descriptions of the parts of a sweep outside of its home; empty if all parts are inside.

    Args:
        folder: Folder of a planned sweep.
        tracking_uri: Its tracking URI.
    """
    found = []
    if folder.has_shared_ledger:
        found.append(f"the ledger, in {redacted(folder.ledger_url)}")
    if not storage.is_local(folder.files) or not folder.is_in_home(folder.files):
        found.append(f"checkpoints and networks, in {storage.without_credentials(folder.files)}")
    file = sqlite_uri.file_of(tracking_uri)
    if file is None or not folder.is_in_home(str(file)):
        found.append(f"what MLflow holds, at {redacted(tracking_uri)}")
    if urlsplit(tracking_uri).scheme in ("http", "https"):
        return found  # a server decides where its artifacts are
    with suppress(SweepError):  # other checks report an unreadable MLflow
        place = artifact_place(tracking_uri, folder.name)
        here = folder_of(place) if place else None
        is_here = here is not None and (
            folder.is_in_home(str(here)) or (file is not None and here.is_relative_to(file.absolute().parent))
        )
        if place and not is_here:
            found.append(f"the artifacts of its run in MLflow, in {here or redacted(place)}")
    return found


def outside(home: Home) -> Finding:
    """Report the parts of sweeps that would stay in place if this home were moved."""
    said = []
    names = home.sweeps()
    for name in names:
        try:
            parts = parts_outside(home.sweep(name), home.tracking_uri_of(name))
        except SweepError as error:  # the home does not keep an address with a password
            parts = [str(error)]
        said += [f"{name}: {'; '.join(parts)}"] if parts else []
    if said:
        return fine("outside of the home", f"stays where it is when the home is moved: {' | '.join(said)}")
    return fine("outside of the home", f"nothing: all of its {len(names)} sweeps is in it" if names else "nothing")
