"""A ledger that another process has locked, with a real SQLite lock."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, contextmanager

import pytest

from tests.faults.rig import HALF, eventually

pytestmark = [pytest.mark.slow, pytest.mark.rare]


@contextmanager
def locked(cli):
    """Lock the ledger's file so that nobody else can read or write it."""
    with closing(sqlite3.connect(cli.sweep.path / "ledger.db", timeout=60, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield
        database.execute("ROLLBACK")


def test_ledger_locked_by_a_foreign_process_is_waited_for(new_cli, assert_undisturbed):
    cli = new_cli(HALF)
    driver = cli.start("run", "fragile.yaml", "--workers", "2")
    cli.wait_for_training(driver)
    with locked(cli):  # until a population has ended; its outcomes cannot be written meanwhile
        networks = cli.sweep.path / "networks"
        eventually(lambda: len(list(networks.glob("*.safetensors"))) >= 2, driver)
        time.sleep(2)
    assert "4 trials: 4 complete" in cli.end(driver)
    assert_undisturbed(cli)
    cli.audit()
