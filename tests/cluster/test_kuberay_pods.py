"""The scripts of KubeRay's pods, with a stand-in for the driver, and with the real driver on a real Ray."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.cluster.recipes import CLUSTER, ROOT
from tests.faults.rig import HALF, PATIENCE_S, eventually

FOLDER = CLUSTER / "kuberay"

#: Code that stands in for the driver: it prints its arguments, and ends as `sweeper run` does at a signal.
STAND_IN = """#!{python}
import os, signal, sys, time
def end(*_):
    print("ended in order", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
print(" ".join(sys.argv[1:]), flush=True)
while True:
    time.sleep(0.1)
"""


@pytest.fixture
def pod(tmp_path):
    """The environment of a head's pod, with a stand-in for the driver."""
    program = tmp_path / "bin" / "sweeper"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(0o755)
    settings = yaml.safe_load((FOLDER / "settings.yaml").read_text(encoding="utf-8"))["data"]
    path = f"{program.parent}:{os.environ['PATH']}"
    own = {"PATH": path, "HOME": str(tmp_path), "SWEEP_PID_FILE": str(tmp_path / "pid"), "SWEEP_NAME": "first"}
    return settings | own


def test_stop_script_ends_the_driver_that_the_entry_point_started_and_waits_for_it(pod):
    driver = subprocess.Popen(["bash", FOLDER / "run.sh"], env=pod, stdout=subprocess.PIPE, text=True)
    try:
        words = driver.stdout.readline().split()
        assert words[:4] == ["run", "/etc/sweeper/space.yaml", "--name", "first"]
        subprocess.run(["bash", FOLDER / "stop.sh"], env=pod, check=True, timeout=60)
        assert (driver.wait(timeout=PATIENCE_S), driver.stdout.read()) == (143, "ended in order\n")
    finally:
        driver.kill()
        driver.communicate()


def test_stop_script_leaves_alone_what_is_no_driver(pod, tmp_path):
    subprocess.run(["bash", FOLDER / "stop.sh"], env=pod, check=True, timeout=60)  # without a driver
    other = subprocess.Popen(["sleep", "infinity"])
    try:
        (tmp_path / "pid").write_text(str(other.pid))
        eventually(lambda: "sleep" in (ROOT / f"/proc/{other.pid}/cmdline").read_text())
        subprocess.run(["bash", FOLDER / "stop.sh"], env=pod, check=True, timeout=60)
        assert other.poll() is None
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()


@pytest.mark.parametrize("missing", ["SWEEP_NAME", "SWEEPER_LEDGER", "SWEEPER_STORAGE"])
def test_entry_point_without_a_setting_says_which(pod, missing):
    del pod[missing]
    done = subprocess.run(["bash", FOLDER / "run.sh"], env=pod, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"{missing}: " in done.stderr


@contextmanager
def head(environment):
    """Run a Ray head as KubeRay does, but on the loopback, and with CPUs on the head in place of workers."""
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--node-ip-address=127.0.0.1"]
    how = ["--port=0", "--num-cpus=2", "--include-dashboard=false", "--object-store-memory=104857600"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with tempfile.TemporaryDirectory(prefix="r-") as folder:  # a short path: Ray puts sockets into it
        own = environment | {"RAY_TMPDIR": folder, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
        process = subprocess.Popen([*ray, *how], env=own, start_new_session=True, **silent)
        try:
            eventually(lambda: Path(folder, "ray/ray_current_cluster").exists(), process)
            yield own
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE_S)


@pytest.mark.slow
@pytest.mark.rare
def test_sweep_goes_on_in_a_new_pod_on_a_new_cluster_after_the_first_was_drained(postgres, s3, tmp_path):
    url = postgres.new_database()
    database = url.rpartition("/")[2]
    (tmp_path / "space.yaml").write_text(HALF)
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SWEEPER_", "MLFLOW_"))}
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = mine | {
        "PATH": programs,
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # makes Ray use only the loopback
        "SWEEP_NAME": "first",
        "SWEEP_PID_FILE": str(tmp_path / "pid"),
        "SWEEP_SPACE": str(tmp_path / "space.yaml"),
        "SWEEPER_LEDGER": postgres.url(database, password=""),
        "PGPASSWORD": postgres.password,
        "SWEEPER_STORAGE": s3,
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
    }

    def pod(number, environment):
        (tmp_path / number).mkdir()
        own = environment | {"HOME": str(tmp_path / number)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return own, subprocess.Popen(["bash", FOLDER / "run.sh"], env=own, cwd=tmp_path / number, **pipes)

    def finished():
        counted = "select count(*) from trials where state not in ('WAITING', 'RUNNING')"
        is_there = postgres.execute("select to_regclass('trials') is not null", database)[0][0]
        return postgres.execute(counted, database)[0][0] if is_there else 0

    with head(settings) as environment:
        own, driver = pod("one", environment)
        eventually(finished, driver)
        subprocess.run(["bash", FOLDER / "stop.sh"], env=own, check=True, timeout=PATIENCE_S)
        out, _ = driver.communicate(timeout=PATIENCE_S)
        assert driver.returncode == 143, out
        assert 0 < finished() < 4
    with head(settings) as environment:
        own, driver = pod("two", environment)
        out, _ = driver.communicate(timeout=PATIENCE_S)
        assert (driver.returncode, "4 trials: 4 complete" in out) == (0, True), out
        assert postgres.password not in out
    words = [sys.executable, "-m", "sweeper", "audit", "first", "--home", str(tmp_path / "two/sweeps")]
    done = subprocess.run(words, env=own, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, "9 of 9 promises hold" in done.stdout) == (0, True), done.stdout + done.stderr
