"""Stores all finished trials of a sweep as Parquet files among the artifacts of its run in MLflow.

Searching MLflow for ten thousand runs takes a minute, reading these files milliseconds. A file is written once and
never changed. A new file takes over the trials of small files, so that there are few files. It also takes over a file
with a former attempt of one of its trials, without that attempt. A tag on the run lists the files that count. The tag
is the commit mark: a reader sees all of a state, or all of the former one.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from sweeper.analysis.trials import from_parquet_bytes, joined, to_parquet_bytes, trials_table
from sweeper.errors import DamagedError, QueryError, TrackingError
from sweeper.tracking.mlflow.client import artifact_paths, downloaded, upload
from sweeper.tracking.mlflow.runs import damaged_tag, front_marks, noted_trials, of_file, refuse_other_file
from sweeper.tracking.mlflow.stored import SWEEP, Stored
from sweeper.trial import TrialRecord

if TYPE_CHECKING:
    from sweeper.tracking.mlflow.client import MlflowClient, Run

#: The tag that lists the files.
PARTS = "sweeper.trials"


class TrialParts:
    """Writes the trials of one sweep, after reading those that its run holds already.

    Attributes:
        attempts: Attempt of each trial that is written or waits to be, by key.
    """

    def __init__(self, client: MlflowClient, run: Run) -> None:
        self._client, self._run_id = client, str(run.info.run_id)
        self._digests: dict[str, str] = {}
        try:
            self._written, self._parts, self._digests = _marked(run)
        except TrackingError:  # the tag is damaged: all trials are written anew, beside the existing files
            paths = artifact_paths(client, self._run_id, "trials")
            numbers = [path.removeprefix("trials/").removesuffix(".parquet") for path in paths]
            self._written, self._parts = max((int(n) for n in numbers if n.isdecimal()), default=0), []
        self._waiting: list[TrialRecord] = []
        self.attempts: dict[str, int] = {}
        self._paths: dict[str, str] = {}  # trial key -> path of the file with the trial
        try:
            for path, _ in self._parts:
                table = self._read(path)
                keys = table["key"].to_pylist()
                self.attempts.update(zip(keys, table["attempt"].to_pylist(), strict=True))
                self._paths.update(dict.fromkeys(keys, path))
        except (QueryError, TrackingError):  # a file is unreadable or of another version: all trials are written anew
            self._parts, self.attempts, self._paths = [], {}, {}

    def add(self, trial: TrialRecord) -> None:
        """Queue a finished trial for writing, unless this attempt or a later one is already written or queued."""
        if self.attempts.get(trial.key, -1) < trial.attempt:
            self.attempts[trial.key] = trial.attempt
            self._waiting = [other for other in self._waiting if other.key != trial.key]
            self._waiting.append(replace(trial, curve=()))

    def write(self) -> None:
        """Write the queued trials; they stay queued if that fails."""
        if not self._waiting:
            return
        table, kept = self._with_small_ones(trials_table(self._waiting))
        path, data = f"trials/{self._written + 1:05d}.parquet", to_parquet_bytes(table)
        upload(self._client, self._run_id, path, data)
        written, parts = self._written + 1, [*kept, (path, table.num_rows)]
        digests = {**self._digests, path: hashlib.sha256(data).hexdigest()}
        digests = {one: digests[one] for one, _ in parts if one in digests}
        mark = json.dumps({"written": written, "parts": parts, "sha256": digests})
        self._client.set_tag(self._run_id, PARTS, mark, synchronous=True)
        self._written, self._parts, self._digests, self._waiting = written, parts, digests, []
        self._paths.update(dict.fromkeys(table["key"].to_pylist(), path))

    def _with_small_ones(self, new: pa.Table) -> tuple[pa.Table, list[tuple[str, int]]]:
        """Return new trials together with those of the last small files, and the files that stay as they are.

        A file is small if it has at most twice as many rows as collected so far. A file with a former attempt of a new
        trial is included too, without that attempt.
        """
        keys = new["key"].to_pylist()
        former = {self._paths[key] for key in keys if key in self._paths}
        tables, kept, rows, is_small = [new], list[tuple[str, int]](), new.num_rows, True
        for path, count in reversed(self._parts):
            is_small = is_small and count <= 2 * rows
            taken = None
            if is_small or path in former:
                with suppress(QueryError):  # a damaged file stays, and is reported when it is read
                    taken = self._read(path)
            if taken is None:
                kept.insert(0, (path, count))
                is_small = False
                continue
            tables.append(taken.filter(pc.invert(pc.is_in(taken["key"], pa.array(keys, pa.string())))))
            rows += count
        return joined(tables), kept

    def _read(self, path: str) -> pa.Table:
        return _part(self._client, self._run_id, path, self._digests.get(path), "NAME")


def read_parts(client: MlflowClient | Stored, run: Run) -> pa.Table:
    """Return the finished trials that a sweep's run holds, in one table, which may be empty.

    Raises:
        TrackingError: If a file or the tag that lists the files cannot be read.
        QueryError: If a file is damaged or of a newer format.
    """
    if PARTS not in run.data.tags and any(mark["points"] for mark in front_marks(run).values()):
        raise TrackingError(damaged_tag(run, PARTS))
    _, parts, digests = _marked(run)
    sweep = run.data.tags.get(SWEEP, "NAME")
    tables = [_part(client, str(run.info.run_id), path, digests.get(path), sweep, rows) for path, rows in parts]
    table = joined(tables or [trials_table([])])
    if table.num_rows < noted_trials(run):
        raise TrackingError(damaged_tag(run, PARTS))
    return table


def _marked(run: Run) -> tuple[int, list[tuple[str, int]], dict[str, str]]:
    """Return how many files were ever written, path and rows of those that count, and their digests by path.

    Raises:
        TrackingError: If the tag is damaged.
    """
    text = run.data.tags.get(PARTS)
    if text is None:
        return 0, [], {}
    try:
        mark = json.loads(text)
        parts = [(str(path), int(rows)) for path, rows in mark["parts"]]
        return int(mark["written"]), parts, {str(path): str(one) for path, one in mark.get("sha256", {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise TrackingError(damaged_tag(run, PARTS)) from None


def _part(
    client: MlflowClient | Stored, run_id: str, path: str, digest: str | None, sweep: str, rows: int | None = None
) -> pa.Table:
    data = downloaded(client, run_id, path)
    with of_file(path, sweep):
        table = from_parquet_bytes(data)  # before the digest, because "newer format" tells a user more
    refuse_other_file(digest, data, path, sweep)
    if rows not in (None, table.num_rows):
        raise DamagedError(
            f"{path} of sweep '{sweep}' holds {table.num_rows} trials, and {rows} were written. Store them again with "
            f"`sweeper mirror {sweep}`."
        )
    return table
