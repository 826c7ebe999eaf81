"""Reads everything that MLflow holds of one sweep, and compares it with the ledger's records. Writes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sweeper.analysis.fronts import Front
from sweeper.errors import QueryError, TrackingError
from sweeper.tracking.mlflow.client import (
    FRONT,
    KIND,
    TRIAL_KEY,
    artifact_paths,
    connect,
    downloaded,
    experiment_of,
    search_runs,
    translated,
)
from sweeper.tracking.mlflow.reader import download_front
from sweeper.tracking.mlflow.runs import (
    AIMS,
    COMMITTED,
    IDENTITY,
    SPECS,
    STATUSES,
    damaged_tag,
    readable_marks,
    time_of,
    trial_metrics,
    trial_params,
    trial_tags,
)
from sweeper.tracking.mlflow.trial_files import PARTS, read_parts
from sweeper.trial import TrialRecord

if TYPE_CHECKING:
    from sweeper.tracking.mlflow.client import MlflowClient, Run


@dataclass(frozen=True)
class Mirror:
    """The content of MLflow for one sweep.

    Attributes:
        statuses: Statuses of the runs of the sweep itself; there should be one.
        identity: Distinguishes this sweep from another of the same name.
        home: The home it was mirrored from.
        runs: Runs by trial key; there should be one of each.
        marks: Content of each front's commit mark, by the front's key.
        fronts: The stored front, or why it cannot be read, by the front's key.
        members: Keys of the trials whose runs are tagged as being on a task's front, by task.
        in_table: Attempt of each trial in the table of trials, by key; empty if the table cannot be read.
        aims: Objectives and reference point, as `sweeper.analysis.trials.aims` writes them; None if the sweep was
            mirrored by a version that stored no table of trials.
        files: Digests of the files of networks and probes, by path; empty for a file that cannot be read.
        damaged: Files of the spec that are not as they were written.
    """

    statuses: Sequence[str] = ()
    identity: str = ""
    home: str = ""
    runs: Mapping[str, Sequence[Run]] = field(default_factory=dict)
    marks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    fronts: Mapping[str, Front | str] = field(default_factory=dict)
    members: Mapping[str, set[str]] = field(default_factory=dict)
    in_table: Mapping[str, int] = field(default_factory=dict)
    aims: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    damaged: Sequence[str] = ()

    @property
    def committed(self) -> dict[str, Run]:
        """The run of each trial that carries the commit mark, by trial key."""
        found = {key: [run for run in runs if run.info.status in COMMITTED] for key, runs in self.runs.items()}
        return {key: runs[0] for key, runs in found.items() if runs}


def read_mirror(tracking_uri: str, sweep: str) -> Mirror:
    """Read all runs and fronts of a sweep; empty if MLflow has none.

    Raises:
        TrackingError: If MLflow cannot be reached, or the experiment is not sweeper's.
    """
    client = connect(tracking_uri, is_reading=True, sweep=sweep)
    with translated(tracking_uri, f"read sweep '{sweep}'"):
        found = experiment_of(client, tracking_uri, sweep)
        if found is None:
            return Mirror()
        experiment = str(found.experiment_id)
        parents = search_runs(client, [experiment], **{KIND: "sweep"})
        runs: dict[str, list[Run]] = {}
        members: dict[str, set[str]] = {}
        for run in search_runs(client, [experiment], **{KIND: "trial"}):
            key, task = run.data.tags.get(TRIAL_KEY, ""), run.data.tags.get(FRONT)
            runs.setdefault(key, []).append(run)
            if task is not None:
                members.setdefault(task, set()).add(key)
        if not parents:
            return Mirror(runs=runs, members=members)
        tags, (marks, torn) = parents[0].data.tags, readable_marks(parents[0])
        return Mirror(
            statuses=[run.info.status for run in parents],
            identity=tags.get(IDENTITY, ""),
            home=tags.get("sweeper.home", "unknown"),
            runs=runs,
            marks=marks,
            fronts={
                **{key: _front(client, parents[0], key, mark) for key, mark in marks.items()},
                **{key: damaged_tag(parents[0], f"{FRONT}.{key}") for key in torn},
            },
            members=members,
            in_table=_in_table(client, parents[0]),
            aims=tags.get(AIMS, "") if PARTS in tags else None,
            files=_files(client, parents[0]),
            damaged=_damaged(client, parents[0]),
        )


def _damaged(client: MlflowClient, parent: Run) -> list[str]:
    """Return the files of the spec that cannot be read or whose digests differ from the tags."""
    found = []
    for path, tag in SPECS.items():
        if (noted := parent.data.tags.get(tag)) is None:  # written by an earlier version
            continue
        try:
            if hashlib.sha256(downloaded(client, parent.info.run_id, path)).hexdigest() != noted:
                found.append(path)
        except TrackingError:
            found.append(path)
    return found


def _files(client: MlflowClient, parent: Run) -> dict[str, str]:
    """Return the digests of the files of networks and probes, by path; empty for a file that cannot be read."""
    found = {}
    run_id = str(parent.info.run_id)
    for path in sorted({path for folder in ("networks", "probes") for path in artifact_paths(client, run_id, folder)}):
        try:
            found[path] = hashlib.sha256(downloaded(client, run_id, path)).hexdigest()
        except TrackingError:
            found[path] = ""
    return found


def _in_table(client: MlflowClient, parent: Run) -> dict[str, int]:
    try:
        table = read_parts(client, parent)
    except (QueryError, TrackingError):
        return {}
    return dict(zip(table["key"].to_pylist(), table["attempt"].to_pylist(), strict=True))


def _front(client: MlflowClient, run: Run, key: str, mark: Mapping[str, Any]) -> Front | str:
    try:
        return download_front(client, run, key, mark)
    except (QueryError, TrackingError) as error:
        return str(error)


def differences(run: Run, trial: TrialRecord) -> list[str]:
    """Return the names of the values in which a committed run differs from the ledger, sorted."""
    wrong = []
    if run.info.status != STATUSES[trial.state]:
        wrong.append("status")
    if run.info.end_time != trial.ended_ms:
        wrong.append("end time")
    latest: dict[str, tuple[int, float]] = {}
    for name, value, step, _ in trial_metrics(trial):
        latest[name] = max(latest.get(name, (-1, value)), (step, value))
    metrics = {name: value for name, (_, value) in latest.items()}
    wrong += _other("metric", metrics, run.data.metrics)
    wrong += _other("param", trial_params(trial), run.data.params)
    tags = {name: value for name, value in run.data.tags.items() if name.startswith("sweeper.")}
    wrong += _other("tag", trial_tags(trial), {name: tags[name] for name in tags.keys() & trial_tags(trial).keys()})
    if time_of(trial) and run.info.start_time != (trial.started_ms or run.info.start_time):
        wrong.append("start time")
    return sorted(wrong)


def _other(kind: str, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    names = sorted(wanted.keys() | found.keys())
    return [f"{kind} {name}" for name in names if wanted.get(name) != found.get(name)]
