"""Full and read-only disks, and torn checkpoints, with real file systems and files."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.rig import HALF, eventually, workers
from tests.support.disks import small_disk

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", "24m") as folder:
        yield folder


def fill(path):
    """Write a file until the disk is full."""
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            return


@pytest.mark.rare
def test_disk_that_fills_in_the_middle_stops_the_sweep_and_loses_nothing(new_cli, disk, assert_undisturbed):
    cli = new_cli(HALF, home=disk / "sweeps")
    driver = cli.start("run", "fragile.yaml", "--workers", "2")
    cli.wait_for_training(driver)
    fill(disk / "filler")
    out, err = driver.communicate(timeout=300)
    assert driver.returncode == 2, out + err
    assert "No space left" in err or "is full" in err
    assert f"{cli.home}" in err
    assert "sweeper resume fragile" in err
    assert "Traceback" not in out + err
    known = cli.finished()
    (disk / "filler").unlink()
    said = cli.end(cli.start("resume", "fragile", "--workers", "2"))
    assert "4 trials: 4 complete" in said
    assert known.items() <= cli.records().items()
    assert_undisturbed(cli)
    cli.audit()


@pytest.mark.rare
def test_read_only_home_is_read_and_refused_in_one_sentence_where_it_must_be_written(new_cli, disk):
    cli = new_cli(HALF, home=disk / "sweeps")
    cli.end(cli.start("run", "fragile.yaml", "--workers", "2"))
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True, timeout=60)
    for words in (["run", "fragile.yaml"], ["resume", "fragile"], ["mirror", "fragile"]):
        code, out, err = cli.run(*words)
        assert (code, out) == (2, ""), words
        assert err.count("\n") == 1, err
        assert f"{cli.sweep.path} cannot be written: Read-only file system" in err
    assert cli.counts()["complete"] == 4
    code, out, err = cli.run("pareto", "fragile")
    assert (code, "digits-4" in out) == (0, True), err
    cli.audit()


@pytest.fixture
def interrupted(new_cli):
    """A sweep whose driver was killed in the middle of both populations, with two checkpoints each."""
    cli = new_cli(HALF)
    driver = cli.start("run", "fragile.yaml", "--workers", "2")
    eventually(lambda: len(cli.checkpoints()) == 4, driver)
    its = workers(driver.pid)
    cli.kill(driver)
    for pid in its:  # workers briefly outlive the driver, and would overwrite the test's files
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in its))
    assert cli.finished() == {}
    return cli


@pytest.mark.rare
def test_torn_and_garbage_checkpoints_are_said_and_the_other_ones_used(interrupted, assert_undisturbed):
    cli = interrupted
    times = cli.checkpoints()
    folder = Path(cli.sweep.files) / "checkpoints"
    one, two = sorted({name.removesuffix(".pt").removesuffix(".other") for name in times})
    files = {key: [folder / f"{key}.pt", folder / f"{key}.other.pt"] for key in (one, two)}
    newest = max(files[one], key=lambda path: times[path.name])
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    for path in files[two]:
        path.write_bytes(os.urandom(1000))
    said = cli.end(cli.start("resume", "fragile", "--workers", "2"))
    (first,) = [line for line in said.splitlines() if f"{newest} cannot be used" in line]
    assert f"population {one} goes on from its other checkpoint, of epoch" in first
    (second,) = [line for line in said.splitlines() if f"{files[two][0]} cannot be used" in line]
    assert f"{files[two][1]} cannot be used" in second
    assert f"population {two} starts anew" in second
    assert "4 trials: 4 complete" in said
    assert_undisturbed(cli)
    cli.audit()
