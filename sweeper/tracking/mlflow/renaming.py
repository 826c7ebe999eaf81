"""Renames a sweep in MLflow; experiment and runs keep their ids, and every value stays.

The tags for finding a sweep change last, so that an interrupted renaming is found under the former name and repeated.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from sweeper import sqlite_uri
from sweeper.credentials import redacted
from sweeper.errors import QueryError, TrackingError
from sweeper.tracking.live import LiveState
from sweeper.tracking.mlflow.client import (
    KIND,
    SWEEP,
    connect,
    connect_reading,
    downloaded,
    every_page,
    experiment_of,
    search_runs,
    settle,
    translated,
    upload,
)
from sweeper.tracking.mlflow.notes import NOTE, experiment_note
from sweeper.tracking.mlflow.reader import download_front
from sweeper.tracking.mlflow.runs import LIVE, SPECS, front_mark, readable_marks

if TYPE_CHECKING:
    from sweeper.tracking.mlflow.client import Experiment, MlflowClient, Run

_RESOLVED = "spec_resolved.json"


def refuse_taken(tracking_uri: str, name: str) -> None:
    """Refuse a name that a sweep or any experiment in MLflow has, even a deleted one.

    Raises:
        TrackingError: If the name is taken, or MLflow cannot be reached.
    """
    file = sqlite_uri.file_of(tracking_uri)
    if file is not None and not file.exists():
        return
    client = connect_reading(tracking_uri, name)
    with translated(tracking_uri, f"look for a sweep '{name}'", Exception):
        if experiment_of(client, tracking_uri, name) is not None:
            raise TrackingError(
                f"MLflow at {redacted(tracking_uri)} has a sweep '{name}' already. Choose another name."
            )


def rename(tracking_uri: str, sweep: str, name: str, experiments: Iterable[str]) -> None:
    """Rename a sweep.

    Args:
        tracking_uri: Address of MLflow.
        sweep: Its name.
        name: Its new name, which nothing in MLflow has.
        experiments: Ids of the sweep's experiments; deleted ones are skipped.

    Raises:
        TrackingError: If MLflow cannot be reached or refuses; the renaming can be repeated.
    """
    client = connect(tracking_uri, sweep=sweep)
    with translated(tracking_uri, f"rename sweep '{sweep}'", Exception):
        for number in experiments:
            if client.get_experiment(number).lifecycle_stage == "deleted":
                continue  # deleted experiments cannot be changed
            for run in search_runs(client, [number], **{KIND: "sweep"}):
                _rename_sweep_run(client, run, sweep, name)
            # All runs are found before one is changed, because a change would shift the pages of the search.
            for run in list(every_page(partial(client.search_runs, [number], f"tags.`{SWEEP}` = '{sweep}'"))):
                client.set_tag(run.info.run_id, SWEEP, name, synchronous=True)
            _rename_experiment(client, client.get_experiment(number), sweep, name)
    settle(client, tracking_uri)


def _rename_sweep_run(client: MlflowClient, run: Run, sweep: str, name: str) -> None:
    number, tags = str(run.info.run_id), run.data.tags
    if tags.get(SWEEP) == sweep:
        for key, mark in readable_marks(run)[0].items():
            _rename_front(client, run, key, mark, name)
    with suppress(TrackingError):  # `sweeper mirror` writes an unreadable file anew
        data = _renamed(downloaded(client, number, _RESOLVED), name)
        upload(client, number, _RESOLVED, data)
        client.set_tag(number, SPECS[_RESOLVED], hashlib.sha256(data).hexdigest(), synchronous=True)
    with suppress(QueryError):
        if text := tags.get(LIVE):
            state = replace(LiveState.from_json(text), sweep=name)
            client.set_tag(number, LIVE, state.to_json(), synchronous=True)
    if run.info.run_name == sweep:  # a user's own name stays
        client.update_run(number, name=name)


def _rename_front(client: MlflowClient, run: Run, key: str, mark: Any, name: str) -> None:
    """Replace a stored front by one with the new name; a damaged front is left to `sweeper mirror`."""
    with suppress(QueryError, TrackingError):
        front = replace(download_front(client, run, key, mark), sweep=name)
        path, data = str(mark["path"]), front.to_parquet_bytes()
        upload(client, str(run.info.run_id), path, data)
        client.set_tag(run.info.run_id, *front_mark(front, path, data), synchronous=True)


def _renamed(spec: bytes, name: str) -> bytes:
    try:
        return json.dumps({**json.loads(spec), "name": name}).encode()
    except (ValueError, TypeError):
        return spec


def _rename_experiment(client: MlflowClient, experiment: Experiment, sweep: str, name: str) -> None:
    number = experiment.experiment_id
    if experiment.name == sweep:
        client.rename_experiment(number, name)
    if experiment.tags.get(NOTE) == experiment_note(sweep):  # a user's own words stay
        client.set_experiment_tag(number, NOTE, experiment_note(name))
    client.set_experiment_tag(number, SWEEP, name)
