"""Clocks that are set back by hours for a driver and its workers, without touching the machine's clock."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from sweeper.tracking.mlflow.reader import MlflowReader
from tests.faults.rig import HALF, descendants

pytestmark = [pytest.mark.slow, pytest.mark.rare]

HOUR_S = 3600


class Clock:
    """The wall clock of processes that are started with its environment variables."""

    def __init__(self, folder, compiler):
        self._shift, library = folder / "shift", folder / "shifted_clock.so"
        self.set_back(0)
        source = Path(__file__).with_name("shifted_clock.c")
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, timeout=60)
        self.variables = {"LD_PRELOAD": str(library), "SHIFTED_CLOCK": str(self._shift)}

    def set_back(self, seconds):
        with self._shift.open("r+b" if self._shift.exists() else "wb") as file:
            file.write((-seconds).to_bytes(8, sys.byteorder, signed=True))


@pytest.fixture
def clock(tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("a clock that can be set back is compiled here, and there is no C compiler")
    return Clock(tmp_path, compiler)


def test_clock_of_the_tests_can_be_set_back(clock, new_cli):
    code = "import datetime, time; print(time.time(), datetime.datetime.now().timestamp(), time.time_ns() / 1e9)"
    environment = new_cli(**clock.variables).environment
    for hours in (0, 1):
        clock.set_back(hours * HOUR_S)
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        for told in map(float, done.stdout.split()):
            assert told == pytest.approx(time.time() - hours * HOUR_S, abs=HOUR_S / 2)


def test_clock_set_back_in_the_middle_and_again_before_a_resume_changes_nothing(
    new_cli, clock, undisturbed, assert_undisturbed
):
    cli = new_cli(HALF, **clock.variables)
    driver = cli.start("run", "fragile.yaml", "--workers", "1")
    cli.wait_for_training(driver)
    clock.set_back(HOUR_S)
    cli.wait_for_outcome(driver, 2)
    started = descendants(driver.pid)
    cli.kill(driver)
    for pid in started:  # Ray's agents, whose clock is wrong as well, may not notice that the driver is dead
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    known = cli.finished()
    clock.set_back(2 * HOUR_S)
    assert "4 trials: 4 complete" in cli.end(cli.start("resume", "fragile", "--workers", "2"))
    records = cli.records()
    assert known.items() <= records.items()
    ended_ms = [record.ended_ms for record in records.values()]
    assert max(ended_ms) > min(ended_ms) + HOUR_S * 500, "the clock was not set back"
    assert any(record.ended_ms < record.started_ms for record in known.values()), "no trial met the change of the clock"
    assert_undisturbed(cli)
    for front in MlflowReader(cli.tracking_uri, "fragile").fronts():
        assert front.table.equals(undisturbed[1][front.task].table)
        assert front.hypervolume == undisturbed[1][front.task].hypervolume
    cli.audit()
