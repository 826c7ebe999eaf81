"""What is used of MLflow beside its documented interface: each behind one function, which knows what to do without.

`tests/tracking/test_mlflow_private.py` says that every name is there in the MLflow that the tests are made with, and
takes each of them away.
"""

from __future__ import annotations

import configparser
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sweeper.errors import TrackingError

if TYPE_CHECKING:
    from sqlalchemy import Engine

#: Versions of MLflow that the tests pass with: the bounds of `pyproject.toml`.
TESTED = ">=3.10,<3.18"


def engine_of(client: Any) -> Engine | None:
    """Return the connections of a client to a database; None where it has none, or MLflow does not show them.

    Without them SQLite is written as MLflow does by itself, more slowly, and its file is let go at the process's end.
    """
    from sqlalchemy import Engine  # imported late: readers do without

    tracking = getattr(client, "_tracking_client", None)
    engine = getattr(getattr(tracking, "store", None), "engine", None)
    return engine if isinstance(engine, Engine) else None


@dataclass(frozen=True)
class Forgetting:
    """What removes rows of a database for good, as `mlflow gc` does.

    Attributes:
        run: Takes the id of a run.
        experiment: Takes the id of an experiment that is deleted and has no run left.
    """

    run: Callable[[str], object]
    experiment: Callable[[str], object]


def forgetting(client: Any) -> Forgetting | None:
    """Return what removes rows of a client's database for good; None for a server, or where MLflow does not show it.

    Without it they go to the trash, which `mlflow gc` empties.
    """
    store = getattr(getattr(client, "_tracking_client", None), "store", None)
    run, experiment = (getattr(store, f"_hard_delete_{what}", None) for what in ("run", "experiment"))
    return Forgetting(run, experiment) if callable(run) and callable(experiment) else None


def artifact_store(client: Any, run_id: str, uri: str) -> Callable[[], object] | None:
    """Return what removes all artifacts of a run; None where MLflow does not show it: then they stay."""
    try:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        found = get_artifact_repository(uri, tracking_uri=client.tracking_uri)
        removing = found.delete_artifacts
    except (ImportError, AttributeError, TypeError):
        return None
    return cast("Callable[[], object]", removing)


def make_tables(uri: str) -> bool:
    """Make MLflow's tables in an empty database; returns whether that can be done: else MLflow makes them at first use.

    Raises:
        Exception: What the database raises.
    """
    try:
        from mlflow.store.db import utils

        tables: Any = utils  # no types here
        create, initialize = tables.create_sqlalchemy_engine, tables._initialize_tables
    except (ImportError, AttributeError):
        return False
    engine = create(uri)
    initialize(engine)
    engine.dispose()
    return True


def tables_mark() -> str:
    """Return a name for the tables that this MLflow makes, which another one has where it makes others.

    Empty where that cannot be told without importing MLflow.
    """
    found = find_spec("mlflow")
    if found is None or found.origin is None:
        return ""
    steps = Path(found.origin).parent / "store" / "db_migrations" / "versions"
    files = sorted((file.name, file.stat().st_size) for file in steps.glob("*.py"))
    told = f"{version('mlflow')} {files}"
    return hashlib.sha256(told.encode()).hexdigest()[:16] if files else ""


def schema_versions(uri: str) -> tuple[str | None, str | None]:
    """Return the version of a database's tables, None where it has none, and the one that MLflow needs.

    Raises:
        TrackingError: If this MLflow does not say.
        Exception: What the database raises.
    """
    try:
        from mlflow.store.db import utils

        tables: Any = utils  # no types here
        create, found, wanted = (
            tables.create_sqlalchemy_engine,
            tables._get_schema_version,
            tables._get_latest_schema_revision,
        )
    except (ImportError, AttributeError) as error:
        raise TrackingError(
            f"MLflow {version('mlflow')} does not tell which tables it needs ({error}), so those of a database are not "
            f"looked at: it might change them. Use a version that sweeper was tested with: pip install 'mlflow{TESTED}'"
        ) from error
    engine = create(uri)
    try:
        return found(engine), wanted()
    finally:
        engine.dispose()


def credentials() -> tuple[str, str] | None:
    """Return the user and password that MLflow would send to a server, from its variables or its own file."""
    try:
        from mlflow.utils.credentials import read_mlflow_creds

        found = read_mlflow_creds()
        known = found.username, found.password
    except (ImportError, AttributeError):
        return documented_credentials()
    user, password = known
    return (user, password) if user and password else None


def documented_credentials() -> tuple[str, str] | None:
    """Read what MLflow's manual says that it reads: two variables, or two entries of a file in the user's home."""
    names, in_file = ("mlflow_tracking_username", "mlflow_tracking_password"), dict[str, str]()
    file = configparser.ConfigParser()
    with suppress(OSError, RuntimeError, configparser.Error):  # no home, or no such file
        file.read(Path.home() / ".mlflow" / "credentials")
        in_file = dict(file["mlflow"]) if file.has_section("mlflow") else {}
    user, password = (os.environ.get(name.upper()) or in_file.get(name) for name in names)
    return (user, password) if user and password else None
