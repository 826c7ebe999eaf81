"""A home that disappears while a sweep runs in it: the sweep stops at its next write and does not recreate files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading

import pytest

from sweeper.driver.mirror import Mirroring
from sweeper.driver.sweep import Sweep
from sweeper.errors import HomeError
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.spec import load_spec
from sweeper.training.train import train_population
from tests.support.disks import small_disk

#: Most time for a driver to end, in seconds; no test asserts how long it took.
PATIENCE_S = 600

#: Code of a driver behind the real command line, which prints a line and waits when it hears of an epoch.
DRIVER = """
import sys
from sweeper.cli.run import main
from sweeper.driver.driver import Driver

heard = Driver.on_progress

def on_progress(self, job, progress):
    heard(self, job, progress)
    if progress.epoch == 1:
        print("begun", flush=True)
        sys.stdin.readline()

Driver.on_progress = on_progress
sys.argv[0] = "sweeper"
main()
"""


@pytest.fixture
def home(tmp_path, empty_database):
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    return folder


def deleted(home):
    home.rename(home.with_name("rubbish"))  # in one step: deleting a folder may fail while others write into it
    shutil.rmtree(home.with_name("rubbish"))


def moved(home):
    home.rename(home.with_name("elsewhere"))


def replaced_by_another(home):
    home.rename(home.with_name("elsewhere"))
    home.mkdir()
    shutil.copy(home.with_name("elsewhere") / "mlflow.db", home / "mlflow.db")
    (home / "smoke").mkdir()
    (home / "smoke" / "driver.json").write_text('{"session": "of another one"}')


def content(folder):
    return {p.relative_to(folder): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def holding(lock, call):
    def locked(*words):
        with lock:
            return call(*words)

    return locked


@pytest.fixture
def between_writes(monkeypatch):
    """A lock that is free only between two writes of the mirror, each with the check before it."""
    lock = threading.Lock()
    for name in ("_try", "_say"):
        monkeypatch.setattr(Mirroring, name, holding(lock, getattr(Mirroring, name)))
    return lock


@pytest.mark.slow
@pytest.mark.parametrize("go", [deleted, moved, replaced_by_another], ids=lambda go: go.__name__)
@pytest.mark.parametrize("when", ["in an epoch", "at the end of a population", "between populations"])
def test_sweep_stops_at_its_next_write_and_makes_nothing_anew(home, go, when, between_writes):
    jobs, left = [], {}

    def goes():
        if not left:
            with between_writes:
                go(home)
                left["was"] = content(home) if home.exists() else None

    def work(job, report):
        jobs.append(job)

        def counted(progress):
            report(progress)
            if len(jobs) == 2 and progress.epoch == 1 and when == "in an epoch":
                goes()

        ended = train_population(job, counted)
        if len(jobs) == 2 and when == "at the end of a population":
            goes()
        return ended

    def observe(snapshot):
        if when == "between populations" and snapshot.counts.complete:
            goes()

    said = rf"the home {home} has gone while sweep 'smoke' ran: .*`sweeper resume smoke --home DIR`"
    sweep = Sweep("smoke", home)
    with pytest.raises(HomeError, match=said):
        sweep.run(load_spec("smoke"), executor=InlineExecutor(), work=work, observe=observe)
    assert left, "the home never went"
    assert (content(home) if home.exists() else None) == left["was"]
    elsewhere = home.with_name("elsewhere")
    if elsewhere.exists():  # the moved home keeps the finished trials, and the rest is trained there
        summary = Sweep("smoke", elsewhere).resume(executor=InlineExecutor())
        assert summary.counts.complete == 8
        assert summary.is_mirrored


def test_home_that_comes_back_is_gone_on_with(home):
    folder = Home(home).sweep("smoke")
    with folder.drive() as lease:
        lease.require_home()
        moved(home)
        with pytest.raises(HomeError, match="is not there any more"):
            lease.require_home()
        home.with_name("elsewhere").rename(home)
        lease.require_home()


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", "64m") as folder:
        yield folder


def unmounted(home):
    subprocess.run(["umount", "--lazy", home], check=True, timeout=60)


def mounted_over(home):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", home], check=True, timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("go", [deleted, unmounted, mounted_over], ids=lambda go: go.__name__)
def test_driver_with_a_real_ray_ends_with_2_and_leaves_nothing_where_the_home_was(disk, tmp_path, go, empty_database):
    home = disk if go is not deleted else tmp_path / "home"
    home.mkdir(exist_ok=True)
    shutil.copy(empty_database, home / "mlflow.db")
    words = ["run", "smoke", "--home", str(home), "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", DRIVER, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        while (line := process.stdout.readline()) and line != "begun\n":
            pass
        assert line == "begun\n", process.stderr.read()
        go(home)
        out, err = process.communicate("\n" * 1000, timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 2, out + err
    assert f"the home {home} has gone while sweep 'smoke' ran" in err
    assert "Traceback" not in out + err
    assert (content(home) if home.exists() else None) == (None if go is deleted else {})
    if go is mounted_over:
        unmounted(home)  # the home below the mount is untouched
        assert (home / "smoke" / "ledger.db").is_file()
