"""Reaches MLflow: clients that are known to answer, searches, writes in batches, failures in one sentence.

The fluent API is never used, so there is no active run and no current experiment.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast
from urllib.parse import quote, urlsplit

from sweeper import cache, sqlite_uri
from sweeper.credentials import redacted
from sweeper.errors import SweepError, TrackingError
from sweeper.tracking.mlflow.places import location_in, root_beside
from sweeper.tracking.mlflow.private import credentials, engine_of, make_tables, schema_versions, tables_mark
from sweeper.tracking.mlflow.stored import SWEEP as SWEEP  # `as SWEEP` re-exports it beside the other tags
from sweeper.tracking.mlflow.stored import Artifacts, Stored
from sweeper.tracking.mlflow.tables import ArtifactFolder, StoredTables, bring_along
from sweeper.tracking.redaction import reason_of, refusal

if TYPE_CHECKING:
    # `as` re-exports these types for other modules.
    from mlflow import MlflowClient as MlflowClient
    from mlflow.entities import Experiment as Experiment
    from mlflow.entities import Run as Run
    from mlflow.store.entities import PagedList

    from sweeper.tracking.mlflow.server import StoredServer

#: Tags for finding runs and experiments.
KIND, TRIAL_KEY, FRONT = "sweeper.kind", "sweeper.trial_key", "sweeper.front"

_Found = TypeVar("_Found")

_ALL = 3  # the value of MLflow's ViewType.ALL, without importing MLflow

#: A server's address without its scheme, which browsers accept.
_BARE_SERVER = re.compile(r"[\w.-]+:\d+(/|$)")

#: Tables of MLflow that hold sweeps.
_TABLES = frozenset((
    "alembic_version",
    "experiment_tags",
    "experiments",
    "latest_metrics",
    "metrics",
    "params",
    "runs",
    "tags",
))

_METRICS_A_BATCH, _PARAMS_A_BATCH = 900, 100  # MLflow takes 1000 entities a batch, 100 of them params


def connect(tracking_uri: str, *, is_reading: bool = False, sweep: str = "NAME") -> MlflowClient:
    """Return a client for a tracking URI after checking that MLflow answers there.

    Args:
        tracking_uri: A server's `http(s)://` or a database's URI.
        is_reading: Whether to refuse a SQLite file that does not exist, instead of creating it.
        sweep: Name of the wanted sweep, for commands in messages.

    Raises:
        TrackingError: If the URI is of another kind, or nothing answers there.
    """
    scheme = _checked_scheme(tracking_uri)
    # Any Exception, because database drivers and SQLAlchemy raise their own kinds; sweeper's errors pass through.
    with translated(tracking_uri, "reach MLflow", Exception):
        if scheme.startswith("sqlite"):
            _check_sqlite(tracking_uri, is_reading, sweep)
        elif scheme not in ("http", "https"):
            _check_port(tracking_uri)
        client = _quiet_client(tracking_uri)
        if scheme.startswith("sqlite") and not is_reading:
            _write_ahead(client, tracking_uri)
        client.search_experiments(max_results=1)
    return client


def require_usable(tracking_uri: str) -> None:
    """Refuse a URI that cannot be written to, as far as that shows before MLflow is imported.

    Raises:
        TrackingError: If the URI is of another kind, or nothing listens there.
    """
    scheme = _checked_scheme(tracking_uri)
    with suppress(ValueError), translated(tracking_uri, "reach MLflow"):  # MLflow has words for values it cannot read
        if scheme.startswith("sqlite"):
            _sqlite_file(tracking_uri)
        elif scheme not in ("http", "https"):
            _check_port(tracking_uri)
        elif server := _server_of(tracking_uri):
            server.check()


def connect_reading(tracking_uri: str, sweep: str = "NAME") -> MlflowClient | Stored:
    """Return a reader of a tracking URI that is known to answer; without MLflow if possible, as its import is slow.

    Raises:
        TrackingError: As for `connect`.
    """
    scheme = _checked_scheme(tracking_uri)
    if scheme.startswith("sqlite"):
        with translated(tracking_uri, "reach MLflow", Exception):
            _check_sqlite(tracking_uri, is_reading=True, sweep=sweep)
        tables = StoredTables(_sqlite_file(tracking_uri), tracking_uri)
        with suppress(sqlite3.Error):  # MLflow will report the error
            if tables.is_known:
                return tables
    elif scheme in ("http", "https") and (answering := _answering(tracking_uri)):
        return answering
    return connect(tracking_uri, is_reading=True, sweep=sweep)


def _answering(tracking_uri: str) -> Stored | None:
    """Return a reader of a server that is known to answer; None if that needs MLflow, which also reports errors."""
    with suppress(OSError, ValueError):
        if found := _server_of(tracking_uri):
            found.check()
            return found
    return None


def _server_of(tracking_uri: str) -> StoredServer | None:
    """Return a reader of a server, which was not asked yet; None for a server that only MLflow can ask."""
    from sweeper.tracking.mlflow import server  # imported late: requests, which files do without

    _set_defaults()
    return server.StoredServer(tracking_uri) if server.is_known() else None


def _write_ahead(client: MlflowClient, uri: str) -> None:
    """Switch SQLite to write-ahead logging with few syncs: MLflow needs three transactions per run, each with syncs.

    A power failure may lose the last transactions, which are mirrored again from the ledger. Nothing changes if MLflow
    does not show its engine.
    """
    engine = engine_of(client)
    if engine is None:
        return

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA synchronous = NORMAL")

    from sqlalchemy import event  # imported late, because readers do not need it

    engine.dispose()
    with closing(sqlite3.connect(_sqlite_file(uri))) as database:
        database.execute("PRAGMA journal_mode = WAL")
    event.listen(engine, "connect", prepare)


def settle(client: MlflowClient, uri: str) -> None:
    """Merge SQLite's write-ahead log into its file, so that one file is left, unless somebody reads it just now."""
    engine = engine_of(client) if urlsplit(uri).scheme.startswith("sqlite") else None
    if engine is not None:
        engine.dispose()
        address = f"file:{quote(str(_sqlite_file(uri)))}?mode=rw"  # mode=rw does not recreate a removed file
        with suppress(sqlite3.Error), closing(sqlite3.connect(address, timeout=0, uri=True)) as database:
            database.execute("PRAGMA journal_mode = DELETE")


def disconnect(client: MlflowClient | Stored, uri: str) -> None:
    """Close the connections of a reader: the driver can merge SQLite's log into the file only if nobody has it open."""
    if isinstance(client, Stored):
        client.close()
        return
    is_file = urlsplit(uri).scheme.startswith("sqlite")
    engine = engine_of(client) if is_file else None
    if engine is not None:
        engine.dispose()


def _checked_scheme(tracking_uri: str) -> str:
    if _BARE_SERVER.match(tracking_uri):
        address = redacted(f"http://{tracking_uri}")
        raise TrackingError(f"the tracking URI {tracking_uri!r} lacks http://. Name the server as {address}.")
    scheme = urlsplit(tracking_uri).scheme
    if scheme in ("", "file"):
        raise TrackingError(
            f"the tracking URI {redacted(tracking_uri)!r} names a folder, and MLflow stores no runs in "
            "folders any more. Use sqlite:////absolute/path/mlflow.db, or a server such as http://host:5000."
        )
    try:
        _ = urlsplit(tracking_uri).port
    except ValueError:  # the original message would show a part of the password
        raise TrackingError(
            f"the tracking URI {redacted(tracking_uri)} has no port where one is expected. In a password write / as "
            "%2F, @ as %40 and : as %3A, or set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead."
        ) from None
    return scheme


def _quiet_client(tracking_uri: str) -> MlflowClient:
    _set_defaults()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def _set_defaults() -> None:
    # Defaults for MLflow, which reads them when it is imported or used. A user's own values stay.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # A request is sent twice at most, so a server that hangs delays the driver's end by half a minute.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # A server with an object store would redirect readers there, and they may lack access to it.
    os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "false")
    # With a server, MLflow would print the address of each ended run, password included.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # our own message replaces its traceback


def login() -> tuple[str, str] | None:
    """Return user and password that MLflow would send to a server, from its variables or its credentials file."""
    _set_defaults()
    return credentials()


def _sqlite_file(uri: str) -> Path:
    file = sqlite_uri.file_of(uri)
    if file is None:
        raise TrackingError(
            f"the tracking URI {uri!r} names no file, so its runs would be lost at the end of this process. "
            "Use sqlite:////absolute/path/mlflow.db."
        )
    return file.absolute()


def _check_sqlite(uri: str, is_reading: bool, sweep: str = "NAME") -> None:
    """Check a SQLite file early: MLflow would create it when reading, or retry for minutes when writing."""
    file = _sqlite_file(uri)
    if not is_reading:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(file.parent):
            if not file.exists() or not file.stat().st_size:
                _make_tables(uri)
        if file.is_file():
            _refuse_damaged(file, sweep)
        bring_along(file)
        return
    if not file.is_file():
        raise TrackingError(
            f"there is no MLflow database at {file}. Where the sweep has run, `sweeper mirror {sweep}` writes it again "
            "from the ledger; else run a sweep first, or name another one."
        )
    _refuse_damaged(file, sweep)


def _refuse_damaged(file: Path, sweep: str) -> None:
    """Refuse a file that lacks tables of MLflow: MLflow would create them empty, even when it only reads."""
    problem, found = "", set[str]()
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as database:
            found = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.DatabaseError as error:
        if not any(word in str(error) for word in ("malformed", "not a database")):
            raise
        problem = str(error)
    if missing := sorted(_TABLES - found):
        if not problem and missing == sorted(_TABLES):
            raise TrackingError(f"the file {file} is no MLflow database. Name the one a sweep was run with.")
        problem = problem or f"it lacks the tables {', '.join(missing)}"
    if problem:
        raise TrackingError(
            f"the MLflow database {file} is damaged: {problem}. Move it away, and `sweeper mirror {sweep}` writes a "
            "new one from the ledger."
        )


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder while making files in it, if the file system has locks."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _make_tables(uri: str) -> None:
    """Make a file with MLflow's tables under another name, and move it into place when it is done.

    Making tables takes MLflow seconds, and a file that a kill leaves half made can never be opened again. A copy of the
    file is cached for the next database.
    """
    target = _sqlite_file(uri)
    file = target.with_name(f"{target.name}.new")
    aside = sqlite_uri.uri_of(file)
    for torn in (file, file.with_name(f"{file.name}-journal")):
        torn.unlink(missing_ok=True)
    version = tables_mark()
    kept = f"mlflow-{version}.db"
    if not (version and cache.fetch(kept, file) and _is_whole(file)):
        file.unlink(missing_ok=True)
        _set_defaults()
        if not make_tables(aside):
            return
        if version:
            cache.keep(kept, file)
    file.replace(target)


def _is_whole(file: Path) -> bool:
    """Return whether a file is a sound, empty database of MLflow."""
    address = f"file:{quote(str(file))}?mode=ro&immutable=1"  # nobody else has it open, so no lock files are needed
    with suppress(sqlite3.Error), closing(sqlite3.connect(address, uri=True)) as database:
        names = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        is_sound = database.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        return (
            is_sound
            and {"experiments", "runs", "alembic_version"} <= names
            and not database.execute("SELECT 1 FROM experiments").fetchall()
        )
    return False


def schema_problem(uri: str) -> str:
    """Compare the tables of a tracking database with those of the installed MLflow; writes nothing.

    Returns:
        A description of the difference; empty if there is none.

    Raises:
        TrackingError: If the database cannot be reached, the URI is of another kind, or MLflow does not tell versions.
    """
    _checked_scheme(uri)
    with translated(uri, "reach MLflow", Exception):
        if uri.startswith("sqlite"):
            _check_sqlite(uri, is_reading=True)
        else:
            _check_port(uri)
        _set_defaults()
        found, wanted = schema_versions(uri)
    if found in (None, wanted):
        return ""
    return f"the tables of {redacted(uri)} are of another version of MLflow ({found}, but {wanted} is needed)"


def _check_port(uri: str) -> None:
    """Try a database server's port once, because MLflow would try for 100 s."""
    address = urlsplit(uri)
    usual = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}.get(address.scheme.split("+")[0])
    port = address.port or usual
    if address.hostname and port:
        socket.create_connection((address.hostname, port), timeout=10).close()


def artifact_location(uri: str, artifact_root: str | None, name: str) -> str | None:
    """Return the URI of a sweep's artifacts; None if a server decides it.

    Raises:
        TrackingError: If neither the database nor the caller says where artifacts go.
    """
    scheme = urlsplit(uri).scheme
    if scheme in ("http", "https"):
        return None
    if artifact_root is None and scheme.startswith("sqlite"):
        artifact_root = root_beside(_sqlite_file(uri))
    if artifact_root is None:
        raise TrackingError(
            f"the database {redacted(uri)} does not say where artifacts go. "
            "Give an artifact root, or use an MLflow server, which has its own."
        )
    return location_in(artifact_root, name)


@contextmanager
def translated(uri: str, doing: str, *kinds: type[Exception], leaves_out: bool = False) -> Iterator[None]:
    """Turn MLflow's failures, or the given kinds of exception, into one sentence.

    Args:
        uri: Address of MLflow.
        doing: The action, as it follows "could not".
        kinds: Kinds of exceptions to turn; by default those of MLflow and its database.
        leaves_out: Whether the command continues after the failure, so that MLflow lacks something of the ledger.
    """
    try:
        yield
    except SweepError:
        raise
    except Exception as error:
        if not isinstance(error, kinds or _kinds()):
            raise
        if refused := refusal(uri, doing, error):
            raise TrackingError(refused) from None
        reason = redacted(reason_of(error), uri)
        way_out = (
            "what is missing is mirrored again by `sweeper mirror`" if leaves_out else "then give the command again"
        )
        message = (
            f"could not {doing} at {redacted(uri)}: {reason[:400]}. Check that MLflow answers there "
            f"and that the URI is right; {way_out}."
        )
        # A chained cause would print the credentials that the message hides.
        raise TrackingError(message) from (error if redacted(uri) == uri else None)


def _kinds() -> tuple[type[Exception], ...]:
    """Return the exceptions of MLflow and its tables; if MLflow was not imported, it cannot have raised any."""
    raised = getattr(sys.modules.get("mlflow.exceptions"), "MlflowException", OSError)
    return (raised, OSError, sqlite3.Error)


# --- searching and writing -----------------------------------------------------------------------


def search_runs(client: MlflowClient | Stored, experiment_ids: list[str], **tags: str) -> list[Run]:
    """Return all runs that carry the tags, the oldest first."""
    if isinstance(client, Stored):
        return cast("list[Run]", client.runs(experiment_ids, tags))  # has the attributes of a Run that are read
    condition = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    order = ["attributes.start_time"]
    search = partial(client.search_runs, experiment_ids, condition, max_results=1000, order_by=order)
    return list(every_page(search))


def sweep_experiments(client: MlflowClient | Stored) -> Iterator[Experiment]:
    """Yield the experiments of sweeps, page by page."""
    if isinstance(client, Stored):
        return (cast("Experiment", found) for found in client.experiments() if SWEEP in found.tags)
    return (found for found in every_page(client.search_experiments) if SWEEP in found.tags)


def every_page(search: Callable[..., PagedList[_Found]]) -> Iterator[_Found]:
    """Yield all results of a search, page by page."""
    token = None
    while True:
        page = search(page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def experiment_of(client: MlflowClient | Stored, uri: str, sweep: str) -> Experiment | None:
    """Return the experiment of a sweep, even if it was renamed; None if there is none and its name is free.

    Raises:
        TrackingError: If the experiment is deleted, or another experiment has its name.
    """
    if isinstance(client, Stored):
        tagged = cast("list[Experiment]", client.experiments_of(sweep))  # has the attributes that are read
    else:
        condition = f"tags.`{SWEEP}` = '{sweep}'"
        tagged = list(every_page(partial(client.search_experiments, _ALL, filter_string=condition)))
    there = [found for found in tagged if found.lifecycle_stage != "deleted"]
    if there:  # prefer one of the sweep's name: earlier versions made a second one if the first was renamed
        return min(there, key=lambda found: (found.name != sweep, len(found.experiment_id), found.experiment_id))
    if tagged:
        raise TrackingError(_deleted(tagged[0], uri))
    called_so = client.get_experiment_by_name(sweep)
    if called_so is None:
        return None
    its = called_so.tags.get(SWEEP)
    if its == sweep and called_so.lifecycle_stage != "deleted":  # it was created after the search
        return cast("Experiment", called_so)
    whose = f"is that of sweep '{its}'" if its else "was not made by sweeper"
    raise TrackingError(
        f"the MLflow experiment '{sweep}' in {redacted(uri)} {whose}. "
        "Give the sweep another name, or rename that experiment."
    )


def _deleted(found: Experiment, uri: str) -> str:
    return (
        f"the MLflow experiment '{found.name}' in {redacted(uri)} is deleted, which keeps its name. Bring it "
        f"back with `mlflow experiments restore --experiment-id {found.experiment_id}`, or end it for "
        f"good with `mlflow gc --experiment-ids {found.experiment_id}`."
    )


def downloaded(client: MlflowClient | Stored, run_id: str, path: str) -> bytes:
    """Return the content of an artifact.

    Raises:
        TrackingError: If the artifact cannot be read.
    """
    with tempfile.TemporaryDirectory() as scratch:
        try:
            here = _artifacts(client, run_id)
            if here is not None:
                return here.read(path)
            return Path(_mlflow_of(client).download_artifacts(run_id, path, scratch)).read_bytes()
        except Exception as error:  # each artifact store has its own exceptions
            if refused := refusal(client.tracking_uri, f"read the artifact {path} of run {run_id}", error):
                raise TrackingError(refused) from None
            raise TrackingError(
                f"the artifact {path} of run {run_id} cannot be read ({redacted(str(error), client.tracking_uri)}). "
                "Read it where the artifacts are, or store it again with `sweeper mirror`."
            ) from None


def _artifacts(client: MlflowClient | Stored, run_id: str) -> Artifacts | None:
    """Return a run's artifacts if they can be read without MLflow; for a SQLite file also given MLflow's client."""
    if isinstance(client, Stored):
        return client.artifacts_of(run_id)
    if sqlite_uri.file_of(client.tracking_uri) is None:
        return None
    file = _sqlite_file(client.tracking_uri)
    if not file.is_file():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(file))  # MLflow would create folders
    tables = StoredTables(file, client.tracking_uri)
    with suppress(sqlite3.Error):  # tables of an unknown version: MLflow finds the artifacts
        return tables.artifacts_of(run_id)
    return None


def _mlflow_of(client: MlflowClient | Stored) -> MlflowClient:
    return connect(client.tracking_uri, is_reading=True) if isinstance(client, Stored) else client


def artifact_paths(client: MlflowClient | Stored, run_id: str, folder: str) -> set[str]:
    """Return the paths of the artifacts in one folder of a run."""
    here = _artifacts(client, run_id)
    if here is not None:
        return here.paths(folder)
    client = _mlflow_of(client)
    return {str(found.path) for found in client.list_artifacts(run_id, folder or None) if not found.is_dir}


def upload(client: MlflowClient, run_id: str, path: str, data: bytes) -> None:
    """Write an artifact; readers may find half of it until a tag commits it."""
    if isinstance(here := _artifacts(client, run_id), ArtifactFolder):
        here.write(path, data)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder, _, name = path.rpartition("/")
        file = Path(scratch, name)
        file.write_bytes(data)
        client.log_artifact(run_id, str(file), folder or None)


def write_batches(
    client: MlflowClient,
    run_id: str,
    metrics: Sequence[tuple[str, float, int, int]] = (),
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write metrics (name, value, step, Unix milliseconds), params and tags in few batches."""
    from mlflow.entities import Metric, Param, RunTag

    points = [Metric(name, value, ms, step) for name, value, step, ms in metrics]
    pairs = [Param(name, value) for name, value in (params or {}).items()]
    labels = [RunTag(name, value) for name, value in (tags or {}).items()]
    # Explicitly synchronous: with a user's MLFLOW_ENABLE_ASYNC_LOGGING, the commit mark could overtake the data.
    for start in range(0, len(labels), _PARAMS_A_BATCH):
        client.log_batch(run_id, tags=labels[start : start + _PARAMS_A_BATCH], synchronous=True)
    while points or pairs:
        client.log_batch(run_id, points[:_METRICS_A_BATCH], pairs[:_PARAMS_A_BATCH], synchronous=True)
        points, pairs = points[_METRICS_A_BATCH:], pairs[_PARAMS_A_BATCH:]
