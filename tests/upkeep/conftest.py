"""Fixtures: a home with two really trained sweeps, and the command line."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from sweeper.cli import run as cli
from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.spec import load_spec
from sweeper.training.train import train_population
from tests.support.swept import SILENT


def trained(folder, name, home, recorder=None, **places):
    """Run a tiny sweep in this process; sweeps of every name have the same trials."""
    file = Path(folder, "silent.yaml")
    file.write_text(SILENT)
    sweep = Sweep(name, home, **places)
    sweep.run(load_spec(file, name=name), executor=InlineExecutor(), work=train_population, recorder=recorder)
    return Home(Path(home))


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty working folder, and an environment without the user's own settings."""
    for name in ("SWEEPER_HOME", "SWEEPER_STORAGE", "SWEEPER_LEDGER", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def finished(tmp_path_factory, empty_database):
    """A home with the sweeps `first` and `second`, which have the same trials; tests must not change it."""
    folder = tmp_path_factory.mktemp("finished")
    home = folder / "home"
    home.mkdir()
    shutil.copy(empty_database, home / "mlflow.db")
    for name in ("first", "second"):
        trained(folder, name, home)
    return home


@pytest.fixture
def home(finished, tmp_path):
    """A copy of that home, which a test may change."""
    shutil.copytree(finished, tmp_path / "home")
    return Home(tmp_path / "home")


@pytest.fixture
def sweeper(monkeypatch, capsys):
    """The command line in this process; returns exit code, output and error output."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["sweeper", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(ended.value.code or 0), said.out, said.err

    return call


def files_below(folder):
    """Return every file below a folder and its bytes, except notes of the last driver and SQLite's `-shm` files."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    paths = [path for path in paths if path.name != "driver.json" and not path.name.endswith(".db-shm")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
