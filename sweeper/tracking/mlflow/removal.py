"""Removes a sweep from MLflow for good: its runs, its artifacts, its experiment.

A database forgets all of it. A server keeps deleted runs in its trash, which only its owner can empty, and a deleted
experiment keeps its name. So the experiment is renamed first, and the user is told what stays in the trash. Artifacts
go before the runs that tell where they are, so that an interrupted removal can be repeated.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper import sqlite_uri
from sweeper.credentials import redacted
from sweeper.tracking.mlflow.client import (
    KIND,
    SWEEP,
    connect,
    connect_reading,
    every_page,
    search_runs,
    settle,
    translated,
)
from sweeper.tracking.mlflow.places import folder_of
from sweeper.tracking.mlflow.private import artifact_store, forgetting
from sweeper.tracking.mlflow.runs import IDENTITY
from sweeper.tracking.mlflow.stored import Stored
from sweeper.tracking.mlflow.tables import StoredTables

if TYPE_CHECKING:
    from sweeper.tracking.mlflow.client import Experiment, MlflowClient, Run

_ACTIVE, _ALL = 1, 3  # values of MLflow's view types, without importing MLflow

#: Suffix of a sweep's name while its experiment moves to a server's trash.
_GONE = " (deleted)"


@dataclass(frozen=True)
class Holding:
    """The content of MLflow under the name of a sweep.

    Attributes:
        experiments: Ids of the experiments, also of deleted ones.
        runs: Number of runs that are not deleted.
        identities: Identities of the runs' sweeps; empty if none was fully opened.
        homes: Homes from which the runs were mirrored.
        size: Bytes of the artifacts; None if they are not files of this machine.
    """

    experiments: tuple[str, ...]
    runs: int
    identities: frozenset[str]
    homes: frozenset[str]
    size: int | None


def held(tracking_uri: str, sweep: str) -> Holding | None:
    """Return the content of MLflow under the name of a sweep; None if there is none.

    Raises:
        TrackingError: If MLflow cannot be reached.
    """
    file = sqlite_uri.file_of(tracking_uri)
    if file is not None and not file.exists():
        return None
    client = connect_reading(tracking_uri, sweep)
    with translated(tracking_uri, f"find sweep '{sweep}'", Exception):
        ids = [str(found.experiment_id) for found in _experiments(client, sweep)]
        if not ids:
            return None
        parents = search_runs(client, ids, **{KIND: "sweep"})
        count = len(parents) + len(search_runs(client, ids, **{KIND: "trial"}))
        tags = [run.data.tags for run in parents]
        return Holding(
            tuple(ids),
            count,
            frozenset(its[IDENTITY] for its in tags if its.get(IDENTITY)),
            frozenset(its["sweeper.home"] for its in tags if its.get("sweeper.home")),
            _size(client, parents),
        )


def _experiments(client: MlflowClient | Stored, sweep: str) -> list[Experiment]:
    """Return the experiments of a sweep, also deleted ones, and those left by an interrupted move to the trash."""
    if isinstance(client, Stored):
        found: list[Any] = [*client.experiments_of(sweep), *client.experiments_of(sweep + _GONE)]
    else:
        found = []
        for name in (sweep, sweep + _GONE):
            search = partial(client.search_experiments, _ALL, filter_string=f"tags.`{SWEEP}` = '{name}'")
            found += every_page(search)
    return [one for one in found if one.tags[SWEEP] == sweep or one.lifecycle_stage != "deleted"]


def _size(client: MlflowClient | Stored, runs: Iterable[Run]) -> int | None:
    if not isinstance(client, StoredTables):
        return None
    total = 0
    for run in runs:
        here = client.artifacts_of(run.info.run_id)
        if here is None:
            return None
        total += sum(path.lstat().st_size for path in here.folder.rglob("*") if path.is_file())
    return total


def remove(tracking_uri: str, sweep: str, experiments: Iterable[str]) -> list[str]:
    """Remove everything of a sweep from MLflow.

    Args:
        tracking_uri: Address of MLflow.
        sweep: Name of the sweep.
        experiments: Ids of its experiments, from `held`.

    Returns:
        A sentence about each thing that stays.

    Raises:
        TrackingError: If MLflow cannot be reached or refuses; the removal can be repeated.
    """
    client = connect(tracking_uri, sweep=sweep)
    stays: list[str] = []
    with translated(tracking_uri, f"remove sweep '{sweep}'", Exception):
        for number in experiments:
            stays += _removed(client, tracking_uri, sweep, number)
    settle(client, tracking_uri)
    return stays


def _removed(client: MlflowClient, uri: str, sweep: str, number: str) -> list[str]:
    forget = forgetting(client)
    search = partial(client.search_runs, [number], run_view_type=_ALL, max_results=1000)
    runs = list(every_page(search))
    is_server = forget is None
    kept = [
        place
        for run in runs
        # Runs of trials have no artifacts, and asking a server about each of them would take long.
        if not (is_server and run.data.tags.get(KIND) == "trial") and (place := _artifacts_that_stay(client, run))
    ]
    stays = [
        f"artifacts of the sweep stay at {redacted(place)}: they cannot be removed from this machine."
        for place in sorted(set(kept))
    ]
    experiment = client.get_experiment(number)
    if forget is None:
        _to_the_trash(client, experiment, sweep)
        return [
            *stays,
            f"{len(runs)} runs stay in the trash of MLflow at {redacted(uri)}, which only its owner can empty: "
            f"`mlflow gc --experiment-ids {number}` on its machine.",
        ]
    if experiment.lifecycle_stage != "deleted":
        client.delete_experiment(number)  # with all of its runs
    for run in runs:
        forget.run(str(run.info.run_id))
    forget.experiment(number)
    _remove_empty(folder_of(experiment.artifact_location))
    return stays


def _to_the_trash(client: MlflowClient, experiment: Experiment, sweep: str) -> None:
    """Rename an experiment and move it to a server's trash, where it would otherwise keep its name in use."""
    number = experiment.experiment_id
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(number)
    client.rename_experiment(number, f"{sweep}{_GONE} {number}")
    client.set_experiment_tag(number, SWEEP, sweep + _GONE)
    client.delete_experiment(number)


def _artifacts_that_stay(client: MlflowClient, run: Run) -> str:
    """Remove the artifacts of a run; return their place if they cannot be removed, else an empty text."""
    uri = str(run.info.artifact_uri)
    folder = _folder(client, run)
    if folder is not None:
        if str(run.info.run_id) not in folder.parts:  # never remove another folder
            return uri
        is_written = folder.exists()
        shutil.rmtree(folder, ignore_errors=True)
        if folder.parent.name == run.info.run_id:
            _remove_empty(folder.parent)
        # Without a folder here, a server has the artifacts elsewhere, but the run of a database may have none.
        is_elsewhere = not is_written and sqlite_uri.file_of(client.tracking_uri) is None
        return uri if folder.exists() or is_elsewhere else ""
    store = artifact_store(client, str(run.info.run_id), uri)
    if store is None:
        return uri
    try:
        store()
    except Exception as error:  # each kind of store has its own exceptions
        return "" if "404" in str(error) or "NOT_FOUND" in str(error) else uri
    return ""


def _folder(client: MlflowClient, run: Run) -> Path | None:
    file = sqlite_uri.file_of(client.tracking_uri)
    if file is not None:
        here = StoredTables(file.absolute(), client.tracking_uri).artifacts_of(run.info.run_id)
        return here.folder if here else None
    return folder_of(str(run.info.artifact_uri))


def _remove_empty(folder: Path | None) -> None:
    with suppress(OSError):  # a folder with other files stays
        if folder is not None:
            folder.rmdir()
