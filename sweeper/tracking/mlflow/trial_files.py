"""All finished trials of a sweep among the artifacts of its run in MLflow, as Parquet files.

Searching MLflow for ten thousand runs takes it a minute; these files take milliseconds. Trials are only ever added, so
a file is written once and never changed; small ones are taken together as new ones come, so that there are few. A tag
on the run lists the files that count, and is its commit mark: a reader sees all of a state, or all of the former one.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from sweeper.analysis.trials import from_parquet_bytes, joined, to_parquet_bytes, trials_table
from sweeper.errors import QueryError, TrackingError
from sweeper.tracking.mlflow.client import downloaded, upload
from sweeper.trial import TrialRecord

if TYPE_CHECKING:
    from sweeper.tracking.mlflow.client import MlflowClient, Run

#: The tag that lists the files.
PARTS = "sweeper.trials"


class TrialParts:
    """Writes the trials of one sweep; what its run holds already is read first.

    Attributes:
        keys: Trials that are written, or wait to be.
    """

    def __init__(self, client: MlflowClient, run: Run) -> None:
        self._client, self._run_id = client, str(run.info.run_id)
        self._written, self._parts = _marked(run)
        self._waiting: list[TrialRecord] = []
        self.keys: set[str] = set()
        try:
            for path, _ in self._parts:
                self.keys.update(_part(client, self._run_id, path)["key"].to_pylist())
        except (QueryError, TrackingError):  # lost, damaged or of another version: all trials are written anew
            self._parts, self.keys = [], set()

    def add(self, trial: TrialRecord) -> None:
        """Have a finished trial written the next time, unless it is already."""
        if trial.key not in self.keys:
            self.keys.add(trial.key)
            self._waiting.append(replace(trial, curve=()))

    def write(self) -> None:
        """Write what waits. Where that fails it goes on waiting."""
        if not self._waiting:
            return
        tables, kept = [trials_table(self._waiting)], list(self._parts)
        rows = len(self._waiting)
        with suppress(QueryError):  # a damaged one stays as it is, and is found when it is read
            while kept and kept[-1][1] <= 2 * rows:
                tables.append(_part(self._client, self._run_id, kept[-1][0]))
                rows += kept.pop()[1]
        path = f"trials/{self._written + 1:05d}.parquet"
        upload(self._client, self._run_id, path, to_parquet_bytes(joined(tables)))
        written, parts = self._written + 1, [*kept, (path, rows)]
        self._client.set_tag(self._run_id, PARTS, json.dumps({"written": written, "parts": parts}), synchronous=True)
        self._written, self._parts, self._waiting = written, parts, []


def read_parts(client: MlflowClient, run: Run) -> pa.Table:
    """Return the finished trials that a sweep's run holds, in one table; an empty one where none is.

    Raises:
        TrackingError: If an artifact cannot be read.
        QueryError: If one is damaged or of a newer format.
    """
    _, parts = _marked(run)
    return joined([_part(client, str(run.info.run_id), path) for path, _ in parts] or [trials_table([])])


def _marked(run: Run) -> tuple[int, list[tuple[str, int]]]:
    """Return how many files were ever written, and path and rows of those that count."""
    text = run.data.tags.get(PARTS)
    if text is None:
        return 0, []
    mark = json.loads(text)
    return int(mark["written"]), [(str(path), int(rows)) for path, rows in mark["parts"]]


def _part(client: MlflowClient, run_id: str, path: str) -> pa.Table:
    return from_parquet_bytes(downloaded(client, run_id, path))
