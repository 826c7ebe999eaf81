"""Fixtures of the tests of faults, which start real drivers, workers and servers, and kill them."""

from __future__ import annotations

import shutil

import pytest

from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.ledger.ledger import Ledger
from sweeper.spec import load_spec
from sweeper.tracking.memory import MemoryRecorder
from tests.faults.rig import GRID, Cli


def pytest_addoption(parser):
    """Add the options that name files for the records that the documentation shows."""
    for what in ("damage", "input"):
        parser.addoption(
            f"--{what}-record", metavar="FILE", help=f"where tests/faults/test_{what}.py writes what it tried, as JSON"
        )


@pytest.fixture
def new_cli(tmp_path, empty_database):
    """Make a command line with its own sweep, and with an MLflow database ready, which saves seconds."""

    def make(spec=GRID, **options):
        cli = Cli(tmp_path, spec, **options)
        cli.home.mkdir(exist_ok=True)
        shutil.copy(empty_database, cli.home / "mlflow.db")
        return cli

    return make


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The records by key and the fronts by task of the grid, run to its end in this process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "fragile.yaml").write_text(GRID)
    recorder = MemoryRecorder()
    sweep = Sweep("fragile", folder / "sweeps")
    sweep.run(load_spec(folder / "fragile.yaml"), executor=InlineExecutor(), recorder=recorder)
    ledger = Ledger(Home(folder / "sweeps").sweep("fragile").ledger_url, "fragile")
    return {record.key: record for record in ledger.records()}, recorder.fronts


@pytest.fixture
def assert_undisturbed(undisturbed):
    """Compare a sweep's results with those of the undisturbed sweep."""

    def check(cli):
        records, expected = cli.records(), undisturbed[0]
        assert records.keys() <= expected.keys()
        for key, record in records.items():
            assert (record.state, record.measurement) == (expected[key].state, expected[key].measurement)
            assert list(record.curve) == list(expected[key].curve)

    return check
