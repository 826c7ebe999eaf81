"""Reads MLflow's SQLite file without importing MLflow, which takes longer than most questions.

It reads only what finds and shows a sweep: experiments, runs, their tags, and artifacts that are files. Tables of an
unknown version, and all other stores of runs, are left to MLflow itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from sweeper import storage
from sweeper.tracking.mlflow.places import folder_of, moved_artifacts, moved_location
from sweeper.tracking.mlflow.stored import (
    SWEEP,
    Artifacts,
    Stored,
    StoredExperiment,
    StoredRun,
    StoredRunData,
    StoredRunInfo,
)

#: Versions of MLflow's tables, oldest first, that this module can read: those of MLflow 3.10 to 3.17.
KNOWN_VERSIONS = frozenset((
    *("1b5f0d9ad7c1", "e1f2a3b4c5d6", "76601a5f987d", "c3d6457b6d8a", "a5b4c3d2e1f0", "ae8bbe7743c9", "7d34483879f0"),
    *("da6fb0208061", "89d3d66ed43f", "b7e4c1a90f23", "a8b9c0d1e2f3", "c1d2e3f4a5b6", "c3d9e7f1a2b4", "6f8d9c3b2a1e"),
    *("1971f2d9a75b", "17e22815139b", "b7e2c1a4d9f3", "75868b020152", "dc11669786a5"),
))

#: MLflow's name of the workspace of users who have none.
_WORKSPACE = "default"

_WAITS_S = 30  # longest wait for another writer


@dataclass(frozen=True)
class ArtifactFolder(Artifacts):
    """The artifacts of a run as files of this machine.

    Attributes:
        folder: The run's folder.
        base: A folder above it that must exist, else nothing is written; None if no folder must exist.
    """

    folder: Path
    base: Path | None = None

    def paths(self, folder: str) -> set[str]:
        """Return the paths of the artifacts in one folder of the run."""
        files = (self.folder / folder).iterdir() if (self.folder / folder).is_dir() else ()
        return {file.relative_to(self.folder).as_posix() for file in files if file.is_file()}

    def read(self, path: str) -> bytes:
        """Return the content of an artifact."""
        return (self.folder / path).read_bytes()

    def write(self, path: str, data: bytes) -> None:
        """Write an artifact, whole or not at all."""
        file = self.folder / path
        if self.base is not None:
            for folder in [*reversed(file.relative_to(self.base).parents)][1:]:
                (self.base / folder).mkdir(exist_ok=True)  # one by one, so that a removed home is not recreated
            storage.write_local(file, data)
        else:
            storage.write_bytes(str(file), data)


def artifact_folder(uri: str) -> ArtifactFolder | None:
    """Return the artifacts at a run's URI; None if they are not files of this machine."""
    folder = folder_of(uri)
    return ArtifactFolder(folder) if folder else None


def bring_along(file: Path) -> None:
    """Correct the places of artifacts in a database that was moved or copied.

    MLflow's own page needs the correct places; sweeper finds the artifacts anyway.

    Args:
        file: A database of MLflow.

    Raises:
        sqlite3.Error: If the database cannot be read or written.
    """
    with closing(sqlite3.connect(file, timeout=_WAITS_S)) as database:
        names = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not {"experiments", "experiment_tags", "runs"} <= names:
            return  # MLflow makes the tables, or reports the error
        found = database.execute(
            "SELECT e.experiment_id, e.artifact_location, t.value FROM experiments e "
            "JOIN experiment_tags t ON t.experiment_id = e.experiment_id WHERE t.key = ?",
            (SWEEP,),
        ).fetchall()
        changes = [
            (number, before, now)
            for number, before, sweep in found
            if (now := moved_location(str(before or ""), str(sweep), file))
        ]
        if not changes:
            return
        with database:  # all changes or none
            for number, before, now in changes:
                database.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (now, number))
                database.execute(
                    "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, length(?) + 1) "
                    "WHERE experiment_id = ? AND substr(artifact_uri, 1, length(?) + 1) = ? || '/'",
                    (now, before, number, before, before),
                )


class StoredTables(Stored):
    """The runs in one SQLite file, which is never written, and is open only while a method reads.

    Every method raises `sqlite3.Error` if the file cannot be read.

    Args:
        file: A database of MLflow.
        tracking_uri: Its tracking URI.
    """

    def __init__(self, file: Path, tracking_uri: str) -> None:
        self._file, self.tracking_uri = file, tracking_uri

    @property
    def is_known(self) -> bool:
        """Whether this module can read the tables' version."""
        with self._open() as database:
            found = {version for (version,) in database.execute("SELECT version_num FROM alembic_version")}
            return bool(found) and found <= KNOWN_VERSIONS

    def get_experiment_by_name(self, name: str) -> StoredExperiment | None:
        """Return an experiment, even a deleted one; None if there is none of that name."""
        return next(iter(self._experiments("e.name = ?", (name,))), None)

    def experiments(self) -> list[StoredExperiment]:
        """Return the experiments that are not deleted."""
        return self._experiments("e.lifecycle_stage = 'active'", ())

    def experiments_of(self, sweep: str) -> list[StoredExperiment]:
        """Return the experiments that carry the tag of a sweep, also deleted ones."""
        tagged = "SELECT experiment_id FROM experiment_tags WHERE key = ? AND value = ?"
        return self._experiments(f"e.experiment_id IN ({tagged})", (SWEEP, sweep))

    def _experiments(self, condition: str, given: Sequence[str]) -> list[StoredExperiment]:
        with self._open() as database:
            rows = database.execute(
                "SELECT e.experiment_id, e.name, e.lifecycle_stage FROM experiments e "
                f"WHERE {condition} AND e.workspace = ? ORDER BY e.last_update_time DESC, e.experiment_id",
                (*given, _WORKSPACE),
            ).fetchall()
            return [
                StoredExperiment(
                    str(number), name, stage, self._tags(database, "experiment_tags", "experiment_id", number)
                )
                for number, name, stage in rows
            ]

    def runs(self, experiment_ids: Sequence[str], tags: Mapping[str, str]) -> list[StoredRun]:
        """Return the runs of experiments that are not deleted and carry all of the tags, oldest first."""
        having = " AND ".join(
            ["EXISTS (SELECT 1 FROM tags t WHERE t.run_uuid = r.run_uuid AND t.key = ? AND t.value = ?)"] * len(tags)
        )
        places = ", ".join("?" * len(experiment_ids))
        with self._open() as database:
            rows = database.execute(
                "SELECT r.run_uuid, r.experiment_id, r.status FROM runs r WHERE r.lifecycle_stage = 'active' "
                f"AND r.experiment_id IN ({places}) AND {having or '1'} ORDER BY r.start_time, r.run_uuid",
                (*map(int, experiment_ids), *(text for pair in tags.items() for text in pair)),
            ).fetchall()
            return [
                StoredRun(
                    StoredRunInfo(run_id, str(experiment), status),
                    StoredRunData(self._tags(database, "tags", "run_uuid", run_id)),
                )
                for run_id, experiment, status in rows
            ]

    def artifacts_of(self, run_id: str) -> ArtifactFolder | None:
        """Return a run's artifacts; None if they are not files of this machine."""
        found, beside = artifact_folder(self.artifact_uri(run_id)), self._file.absolute().parent
        return replace(found, base=beside) if found and found.folder.is_relative_to(beside) else found

    def artifact_uri(self, run_id: str) -> str:
        """Return the URI of a run's artifacts, also if they moved with this file; empty if there is no such run."""
        with self._open() as database:
            found = database.execute(
                "SELECT r.artifact_uri, t.value FROM runs r LEFT JOIN experiment_tags t "
                "ON t.experiment_id = r.experiment_id AND t.key = ? WHERE r.run_uuid = ?",
                (SWEEP, run_id),
            ).fetchone()
        if found is None:
            return ""
        noted, sweep = str(found[0] or ""), found[1]
        return moved_artifacts(noted, run_id, sweep, self._file) or noted

    @staticmethod
    def _tags(database: sqlite3.Connection, table: str, column: str, owner: str | int) -> dict[str, str]:
        rows = database.execute(f"SELECT key, value FROM {table} WHERE {column} = ?", (owner,))
        return {str(key): str(value) for key, value in rows}

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        # Not read-only, because only a connection that may write can clean up the write-ahead log when it closes last.
        address = f"file:{quote(str(self._file))}?mode=rw"
        with closing(sqlite3.connect(address, uri=True, timeout=_WAITS_S)) as database:
            database.execute("PRAGMA query_only = 1")
            yield database
