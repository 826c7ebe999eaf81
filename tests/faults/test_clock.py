"""Clocks that are set back by hours, in the driver and in its workers, without touching the machine's own."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sweeper.record import read_front
from tests.faults.rig import GRID, ROOT

pytestmark = pytest.mark.slow

HOUR_S = 3600


def test_clock_set_back_in_the_middle_and_again_before_a_resume_changes_nothing(
    new_cli, tmp_path, undisturbed, assert_undisturbed
):
    shift = tmp_path / "shift"
    where = os.pathsep.join([str(Path(__file__).with_name("shifted_clock")), str(ROOT)])
    cli = new_cli(GRID, SHIFTED_CLOCK=str(shift), PYTHONPATH=where)
    driver = cli.start("run", "fragile.yaml", "--workers", "1")
    cli.wait_for_outcome(driver)
    shift.write_text(str(-HOUR_S))
    cli.wait_for_outcome(driver)
    cli.kill(driver)
    known = cli.finished()
    shift.write_text(str(-2 * HOUR_S))
    cli.end(cli.start("resume", "fragile", "--workers", "2"))
    records = cli.records()
    assert known.items() <= records.items()
    ends = [record.ended_ms / 1000 for record in records.values()]
    assert min(ends) < time.time() - HOUR_S, "the clock was not set back"
    assert max(ends) > min(ends) + HOUR_S
    backwards = [record for record in records.values() if record.ended_ms < record.started_ms]
    assert backwards, "no trial met the change of the clock"
    assert_undisturbed(cli)
    for front in read_front(cli.tracking_uri, "fragile"):
        assert front.table.equals(undisturbed[1][front.task].table)
        assert front.hypervolume == undisturbed[1][front.task].hypervolume
    cli.audit()


def test_shifted_clock_shifts(tmp_path, new_cli):
    shift = tmp_path / "shift"
    shift.write_text("-3600")
    cli = new_cli(GRID, SHIFTED_CLOCK=str(shift), PYTHONPATH=str(Path(__file__).with_name("shifted_clock")))
    import subprocess
    import sys

    code = "import datetime, time; print(time.time(), datetime.datetime.now().timestamp(), time.time_ns() / 1e9)"
    done = subprocess.run([sys.executable, "-c", code], env=cli.environment, capture_output=True, text=True, check=True)
    assert all(float(value) < time.time() - 3500 for value in done.stdout.split())
