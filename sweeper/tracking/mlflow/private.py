"""Uses of MLflow beyond its documented interface, each in one function, which has a fallback if the name is missing.

`tests/tracking/test_mlflow_private.py` checks that every name exists in the tested MLflow, and removes each of them.
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

#: Versions of MLflow with which the tests pass: the bounds in `pyproject.toml`.
TESTED = ">=3.10,<3.18"


def engine_of(client: Any) -> Engine | None:
    """Return a client's database engine; None if it has none, or MLflow does not show it.

    Without the engine, MLflow writes SQLite in its own, slower way, and the file stays open until the process ends.
    """
    from sqlalchemy import Engine  # imported late, because readers do not need it

    tracking = getattr(client, "_tracking_client", None)
    engine = getattr(getattr(tracking, "store", None), "engine", None)
    return engine if isinstance(engine, Engine) else None


@dataclass(frozen=True)
class Forgetting:
    """Functions that remove rows of a database for good, as `mlflow gc` does.

    Attributes:
        run: Removes a run by its id.
        experiment: Removes by its id an experiment that is deleted and has no run left.
    """

    run: Callable[[str], object]
    experiment: Callable[[str], object]


def forgetting(client: Any) -> Forgetting | None:
    """Return functions that remove rows of a client's database; None for a server, or if MLflow does not show them.

    Without them rows go to the trash, which `mlflow gc` empties.
    """
    store = getattr(getattr(client, "_tracking_client", None), "store", None)
    run, experiment = (getattr(store, f"_hard_delete_{what}", None) for what in ("run", "experiment"))
    return Forgetting(run, experiment) if callable(run) and callable(experiment) else None


def artifact_store(client: Any, run_id: str, uri: str) -> Callable[[], object] | None:
    """Return a function that removes all artifacts of a run; None if MLflow has none, in which case they stay."""
    try:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        found = get_artifact_repository(uri, tracking_uri=client.tracking_uri)
        removing = found.delete_artifacts
    except (ImportError, AttributeError, TypeError):
        return None
    return cast("Callable[[], object]", removing)


def make_tables(uri: str) -> bool:
    """Make MLflow's tables in an empty database; return False if this MLflow can make them only at first use.

    Raises:
        Exception: Any error of the database.
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
    """Return a hash that identifies the tables this MLflow makes; versions with other tables have another hash.

    Empty if the hash cannot be computed without importing MLflow.
    """
    found = find_spec("mlflow")
    if found is None or found.origin is None:
        return ""
    steps = Path(found.origin).parent / "store" / "db_migrations" / "versions"
    files = sorted((file.name, file.stat().st_size) for file in steps.glob("*.py"))
    told = f"{version('mlflow')} {files}"
    return hashlib.sha256(told.encode()).hexdigest()[:16] if files else ""


def schema_versions(uri: str) -> tuple[str | None, str | None]:
    """Return the version of a database's tables (None if it has none), and the version that MLflow needs.

    Raises:
        TrackingError: If this MLflow does not tell versions.
        Exception: Any error of the database.
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
    """Return user and password that MLflow would send to a server, from its variables or its credentials file."""
    try:
        from mlflow.utils.credentials import read_mlflow_creds

        found = read_mlflow_creds()
        known = found.username, found.password
    except (ImportError, AttributeError):
        return documented_credentials()
    user, password = known
    return (user, password) if user and password else None


def documented_credentials() -> tuple[str, str] | None:
    """Read user and password as MLflow's manual says: from two variables, or from a file in the user's home."""
    names, in_file = ("mlflow_tracking_username", "mlflow_tracking_password"), dict[str, str]()
    file = configparser.ConfigParser()
    with suppress(OSError, RuntimeError, configparser.Error):  # no home, or no such file
        file.read(Path.home() / ".mlflow" / "credentials")
        in_file = dict(file["mlflow"]) if file.has_section("mlflow") else {}
    user, password = (os.environ.get(name.upper()) or in_file.get(name) for name in names)
    return (user, password) if user and password else None
