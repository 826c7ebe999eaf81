"""Reads sweeps from MLflow alone. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sweeper.analysis.fronts import Front, front_key
from sweeper.analysis.trials import StoredTrials, read_aims
from sweeper.credentials import login_of, redacted
from sweeper.errors import DamagedError, QueryError, UnknownSweepError
from sweeper.rules import FACT, rules_in
from sweeper.spelling import did_you_mean, names_near
from sweeper.tracking.live import LiveState
from sweeper.tracking.mlflow.client import (
    FRONT,
    KIND,
    SWEEP,
    artifact_paths,
    connect,
    connect_reading,
    disconnect,
    downloaded,
    experiment_of,
    search_runs,
    sweep_experiments,
    translated,
)
from sweeper.tracking.mlflow.runs import (
    AIMS,
    CLOSED,
    IDENTITY,
    LIVE,
    SPECS,
    front_marks,
    network_path,
    of_file,
    refuse_other_file,
)
from sweeper.tracking.mlflow.stored import Stored
from sweeper.tracking.mlflow.tables import StoredTables
from sweeper.tracking.mlflow.trial_files import PARTS, read_parts
from sweeper.tracking.reader import require_task
from sweeper.tracking.recorder import StoredSweep

if TYPE_CHECKING:
    from sweeper.tracking.mlflow.client import Experiment, MlflowClient, Run


class MlflowReader:
    """Reads one sweep from MLflow; the sweep may have run on another machine.

    The reader writes nothing and creates no database, and asks MLflow only when a method is called. Every method raises
    `UnknownSweepError` if there is no such sweep, and `TrackingError` if MLflow cannot be reached.

    Args:
        tracking_uri: Address of MLflow, such as `sqlite:////home/me/mlflow.db` or `http://host:5000`.
        sweep: Name of the sweep.
    """

    def __init__(self, tracking_uri: str, sweep: str) -> None:
        self._uri, self._sweep = tracking_uri, sweep

    @property
    def sweep(self) -> str:
        """Name of the sweep."""
        return self._sweep

    @property
    def address(self) -> str:
        """Address of MLflow, without a password."""
        return redacted(self._uri)

    def facts(self) -> dict[str, str]:
        """Return short texts about the sweep, by name."""
        with self._reading("read the facts of") as (_, run):
            tags = run.data.tags if run else {}
            left_out = (AIMS, CLOSED, PARTS, LIVE, *SPECS.values())
            kept = {n: value for n, value in tags.items() if n not in left_out and not n.startswith(f"{FRONT}.")}
            return {n.removeprefix("sweeper."): value for n, value in kept.items() if n.startswith("sweeper.")}

    def fronts(self, task: str | None = None, objectives: Sequence[str] = ()) -> list[Front]:
        """Return the stored fronts; see `Reader.fronts`."""
        with self._reading("read the fronts of") as (client, run):
            marks = front_marks(run) if run else {}
            tasks = sorted(key for key in marks if "/" not in key)
            require_task(self._sweep, task, tasks)
            keys = [_stored_as(marks, one, objectives) for one in (tasks if task is None else [task])]
            if run is None or not all(key in marks for key in keys):
                return []
            return [download_front(client, run, key, marks[key]) for key in keys]

    def trials(self) -> StoredTrials:
        """Return all finished trials as one table; see `Reader.trials`."""
        with self._reading("read the trials of") as (client, run):
            aims = run.data.tags.get(AIMS) if run else None
            if run is None or aims is None:
                raise QueryError(
                    f"sweep '{self._sweep}' in {self.address} was mirrored by an older version of sweeper, which "
                    f"stored no table of its trials. Store it with `sweeper mirror {self._sweep}`."
                )
            return StoredTrials(self._sweep, read_parts(client, run), *read_aims(aims))

    def live(self) -> LiveState:
        """Return the sweep's last state; see `Reader.live`.

        A watcher asks again and again, so the connection is closed each time.
        """
        client = connect_reading(self._uri, self._sweep)
        try:
            with translated(self._uri, f"read how sweep '{self._sweep}' stands"):
                run = sweep_run(client, self._uri, self._sweep)
        finally:
            disconnect(client, self._uri)
        text = run.data.tags.get(LIVE) if run else None
        if run is None or text is None:
            raise QueryError(
                f"sweep '{self._sweep}' in {self.address} does not say how it stands: it has only just begun, or an "
                "older version of sweeper drives it. Try again, or have it written with "
                f"`sweeper mirror {self._sweep}`."
            )
        return _with_stored_volumes(LiveState.from_json(text), front_marks(run))

    @cached_property
    def _networks(self) -> MlflowNetworks:
        with self._reading("list the networks of") as (client, run):
            run_id = str(run.info.run_id) if run else ""
            return MlflowNetworks(client, run_id, artifact_paths(client, run_id, "networks") if run else set())

    def networks(self) -> MlflowNetworks:
        """Return the stored networks; see `Reader.networks`."""
        return self._networks

    def artifact(self, path: str) -> bytes | None:
        """Return a stored file of the sweep, such as `spec.yaml`; None if there is none."""
        with self._reading(f"read {path} of") as (client, run):
            folder = path.rpartition("/")[0]
            if run is None:
                return None
            if path not in artifact_paths(client, str(run.info.run_id), folder):
                if SPECS.get(path, "") in run.data.tags:  # its digest is there, so the file was too
                    raise DamagedError(
                        f"{path} of sweep '{self._sweep}' is not among its artifacts any more. Store it again with "
                        f"`sweeper mirror {self._sweep}`."
                    )
                return None
            data = downloaded(client, str(run.info.run_id), path)
            refuse_other_file(run.data.tags.get(SPECS.get(path, "")), data, path, self._sweep)
            return data

    @contextmanager
    def _reading(self, doing: str) -> Iterator[tuple[MlflowClient | Stored, Run | None]]:
        """Yield a client and the sweep's run; if MLflow fails, name the action in the error."""
        client = connect_reading(self._uri, self._sweep)
        with translated(self._uri, f"{doing} sweep '{self._sweep}'"):
            yield client, sweep_run(client, self._uri, self._sweep)


def _with_stored_volumes(state: LiveState, marks: Mapping[str, Mapping[str, Any]]) -> LiveState:
    """Return a state in which stored fronts provide the hypervolumes that the driver has not computed."""
    rows = [
        replace(row, hypervolume=float(mark["hypervolume"]), points=int(mark["points"]))
        if row.points is None and row.ended and (mark := marks.get(row.task))
        else row
        for row in state.tasks
    ]
    return replace(state, tasks=tuple(rows))


class MlflowNetworks:
    """The networks of a sweep in MLflow, listed once and read over one connection."""

    def __init__(self, client: MlflowClient | Stored, run_id: str, paths: set[str]) -> None:
        self._client, self._run_id, self._paths = client, run_id, paths

    @property
    def keys(self) -> list[str]:
        """Sorted keys of the trials whose networks are stored: those that are or were on a front."""
        names = {path: path.rpartition("/")[2].removesuffix(".safetensors") for path in self._paths}
        return sorted(key for path, key in names.items() if path == network_path(key))

    def read(self, key: str) -> bytes | None:
        """Return the file of the network of a trial; None if none is stored.

        Raises:
            TrackingError: If the file cannot be read.
        """
        path = network_path(key)
        return downloaded(self._client, self._run_id, path) if path in self._paths else None


def artifact_place(tracking_uri: str, sweep: str) -> str:
    """Return the URI of the folder with a sweep's artifacts; empty if the sweep has no run.

    Raises:
        UnknownSweepError: If there is no such sweep.
        TrackingError: If MLflow cannot be reached.
    """
    client = connect_reading(tracking_uri, sweep)
    with translated(tracking_uri, f"find the artifacts of sweep '{sweep}'"):
        run = sweep_run(client, tracking_uri, sweep)
        if run is None:
            return ""
        if isinstance(client, StoredTables):
            return client.artifact_uri(run.info.run_id)
        return str(connect(tracking_uri, is_reading=True).get_run(run.info.run_id).info.artifact_uri)


def read_sweeps(tracking_uri: str) -> list[StoredSweep]:
    """Return the sweeps that MLflow holds, sorted by name.

    Raises:
        TrackingError: If MLflow cannot be reached.
    """
    client = connect_reading(tracking_uri)
    with translated(tracking_uri, "list the sweeps"):
        names = {found.experiment_id: found.tags[SWEEP] for found in sweep_experiments(client)}
        if not names:
            return []
        parents = search_runs(client, list(names), **{KIND: "sweep"})
        sweeps = [
            StoredSweep(
                name=names[run.info.experiment_id],
                status=run.info.status,
                experiment_id=run.info.experiment_id,
                points={task: int(mark["points"]) for task, mark in front_marks(run).items() if "/" not in task},
                live=_stands(run),
                rules=rules_in({FACT: run.data.tags.get(f"sweeper.{FACT}", "")}),
                identity=run.data.tags.get(IDENTITY, ""),
            )
            for run in parents
        ]
        return sorted(sweeps, key=lambda stored: stored.name)


def _stands(run: Run) -> LiveState | None:
    with suppress(QueryError):  # a state of another version, or a damaged one, is left out
        return LiveState.from_json(run.data.tags[LIVE]) if LIVE in run.data.tags else None
    return None


def page_of_run(tracking_uri: str, sweep: str) -> str:
    """Return the page of a sweep's own run: for a server its whole address, for a database the part after an address.

    A sweep that has only just begun has no run yet; for it, return the page of its experiment.

    Raises:
        UnknownSweepError: If MLflow holds no such sweep.
        TrackingError: If MLflow cannot be reached.
    """
    client = connect_reading(tracking_uri, sweep)
    with translated(tracking_uri, f"find sweep '{sweep}'"):
        experiment = _known_experiment(client, tracking_uri, sweep).experiment_id
        run = sweep_run(client, tracking_uri, sweep)
    page = f"#/experiments/{experiment}/runs{f'/{run.info.run_id}' if run else ''}?workflowType=machine_learning"
    is_server = urlsplit(tracking_uri).scheme in ("http", "https")
    return f"{tracking_uri.replace(f'://{login_of(tracking_uri)}@', '://').rstrip('/')}/{page}" if is_server else page


def download_front(client: MlflowClient | Stored, run: Run, key: str, mark: Mapping[str, Any]) -> Front:
    """Return a front from the artifacts of its sweep's run.

    Args:
        client: The client to read with.
        run: The sweep's run.
        key: Key that the front is stored under.
        mark: Its commit mark, as `front_marks` returns it.

    Raises:
        TrackingError: If the artifact cannot be read.
        QueryError: If it is damaged, of a newer format, or another front than the mark says.
    """
    path, sweep = str(mark["path"]), run.data.tags.get(SWEEP, "NAME")
    data = downloaded(client, str(run.info.run_id), path)
    with of_file(path, sweep):
        front = Front.from_parquet_bytes(data)  # before the digest, because "newer format" tells a user more
    refuse_other_file(mark.get("sha256"), data, path, sweep)
    found = (front.sweep, front.key, front.version, front.table.num_rows)
    if found != (sweep, key, mark["version"], mark["points"]):
        raise DamagedError(
            f"{path} of sweep '{sweep}' is another front than its mark says: version {front.version} of "
            f"{front.key} of sweep '{front.sweep}', {front.table.num_rows} points. Store it again with "
            f"`sweeper mirror {sweep}`."
        )
    return front


def _stored_as(keys: Iterable[str], task: str, objectives: Sequence[str]) -> str:
    """Return the key of the stored front over some objectives, in whichever order the spec names them."""
    own = front_key(task, objectives)
    same = [key for key in keys if key.split("/")[0] == task and sorted(key.split("/")[1:]) == sorted(objectives)]
    return own if own in same or not same else same[0]


def sweep_run(client: MlflowClient | Stored, uri: str, sweep: str) -> Run | None:
    """Return the run of a sweep itself; None if the sweep was never fully opened."""
    experiment = _known_experiment(client, uri, sweep)
    return next(iter(search_runs(client, [experiment.experiment_id], **{KIND: "sweep"})), None)


def _known_experiment(client: MlflowClient | Stored, uri: str, sweep: str) -> Experiment:
    found = experiment_of(client, uri, sweep)
    if found is None:
        known = [experiment.tags[SWEEP] for experiment in sweep_experiments(client)]
        raise UnknownSweepError(
            f"there is no sweep '{sweep}' in {redacted(uri)} (known: {names_near(sweep, known)}). "
            + did_you_mean(
                sweep, known, "Name one of these, or another tracking URI." if known else "Name another tracking URI."
            )
        )
    return found
