"""Reading sweeps back from MLflow alone. Nothing is written."""

from __future__ import annotations

import difflib
import re
import shlex
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sweeper.errors import TrackingError, UnknownSweepError
from sweeper.mlflow_runs import front_marks
from sweeper.mlflow_store import (
    KIND,
    checked_experiment,
    connect,
    redacted,
    search_runs,
    sweep_experiments,
    translated,
)
from sweeper.recorder import StoredSweep
from sweeper.table import Front

if TYPE_CHECKING:
    from sweeper.mlflow_store import Experiment, MlflowClient


def read_front(tracking_uri: str, sweep: str, task: str | None = None) -> list[Front]:
    """Return the stored fronts of a sweep, from MLflow alone.

    Args:
        tracking_uri: Where MLflow is. Nothing is written, and no database is created.
        sweep: Name of the sweep.
        task: Label of one task cell; None for all, sorted by label.

    Raises:
        UnknownSweepError: If there is no such sweep, or no front of that task.
        TrackingError: If MLflow cannot be reached, or an artifact cannot be read.
        QueryError: If a stored front is damaged or of a newer format.
    """
    client = connect(tracking_uri, is_reading=True)
    with translated(tracking_uri, f"read the fronts of sweep '{sweep}'"):
        experiment = _known_experiment(client, tracking_uri, sweep)
        parents = search_runs(client, [experiment.experiment_id], **{KIND: "sweep"})
        marks = front_marks(parents[0]) if parents else {}
        if task is not None and task not in marks:
            raise UnknownSweepError(
                f"sweep '{sweep}' has no front of task '{task}' (it has: {_nearest(task, marks)}). "
                "Name one of these, or wait until a trial of that task is complete."
            )
        wanted = sorted(marks) if task is None else [task]
        return [download_front(client, parents[0].info.run_id, marks[name]["path"]) for name in wanted]


def read_sweeps(tracking_uri: str) -> list[StoredSweep]:
    """Return the sweeps that MLflow holds, by name.

    Raises:
        TrackingError: If MLflow cannot be reached.
    """
    client = connect(tracking_uri, is_reading=True)
    with translated(tracking_uri, "list the sweeps"):
        names = {found.experiment_id: found.name for found in sweep_experiments(client)}
        if not names:
            return []
        parents = search_runs(client, list(names), **{KIND: "sweep"})
        sweeps = [
            StoredSweep(
                name=names[run.info.experiment_id],
                status=run.info.status,
                experiment_id=run.info.experiment_id,
                points={task: int(mark["points"]) for task, mark in front_marks(run).items()},
            )
            for run in parents
        ]
        return sorted(sweeps, key=lambda stored: stored.name)


def page_hint(tracking_uri: str, sweep: str) -> tuple[str | None, str]:
    """Return how to see a sweep's runs: a command to start first, None for a server, and the address.

    Raises:
        UnknownSweepError: If MLflow holds no such sweep.
        TrackingError: If MLflow cannot be reached.
    """
    client = connect(tracking_uri, is_reading=True)
    with translated(tracking_uri, f"find sweep '{sweep}'"):
        page = f"#/experiments/{_known_experiment(client, tracking_uri, sweep).experiment_id}/runs"
    if urlsplit(tracking_uri).scheme in ("http", "https"):
        return None, f"{re.sub('://[^/]*@', '://', tracking_uri).rstrip('/')}/{page}"
    command = (
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow server --host 127.0.0.1 --port 5000 --workers 1 "
        f"--backend-store-uri {shlex.quote(redacted(tracking_uri))}"
    )
    return command, f"http://127.0.0.1:5000/{page}"


def download_front(client: MlflowClient, run_id: str, path: str) -> Front:
    """Return a front from the artifacts of its sweep's run.

    Raises:
        TrackingError: If the artifact cannot be read.
        QueryError: If it is damaged or of a newer format.
    """
    with tempfile.TemporaryDirectory() as scratch:
        try:
            data = Path(client.download_artifacts(run_id, path, scratch)).read_bytes()
        except Exception as error:  # each artifact store raises its own; the way out is the same
            raise TrackingError(
                f"the artifact {path} of run {run_id} cannot be read ({redacted(str(error))}). "
                "Read it where the artifacts are, or store it again with `sweeper mirror`."
            ) from None
        return Front.from_parquet_bytes(data)


def _known_experiment(client: MlflowClient, uri: str, sweep: str) -> Experiment:
    found = client.get_experiment_by_name(sweep)
    if found is None:
        known = [experiment.name for experiment in sweep_experiments(client)]
        raise UnknownSweepError(
            f"there is no sweep '{sweep}' in {redacted(uri)} (known: {_nearest(sweep, known)}). "
            "Name one of these, or another tracking URI."
        )
    return checked_experiment(found, sweep, uri)


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.4)
    shown = [*near, *(other for other in names if other not in near)][:10]
    return ", ".join(shown) + (f" and {len(names) - 10} more" if len(names) > 10 else "") or "none"
