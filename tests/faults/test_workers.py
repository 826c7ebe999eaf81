"""Workers and nodes that are killed, on the real Ray."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.rig import HALF, descendants, eventually, workers

pytestmark = pytest.mark.slow


def test_killed_worker_is_said_and_its_population_goes_on_from_its_checkpoint(new_cli, assert_undisturbed):
    cli = new_cli(HALF)
    driver = cli.start("run", "fragile.yaml", "--workers", "1")
    cli.wait_for_training(driver)
    (worker,) = eventually(lambda: workers(driver.pid), driver)
    os.kill(worker, signal.SIGKILL)
    said = cli.end(driver)
    assert said.count("the worker that trained population") == 1
    assert "died; it goes on from its last checkpoint (try 1 of " in said
    assert "4 trials: 4 complete" in said
    assert "Traceback" not in said
    assert_undisturbed(cli)
    cli.audit()


@pytest.fixture
def loopback():
    """Words that enter a network of its own: Ray lets several nodes of one machine meet on open interfaces only."""
    if os.getuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        pytest.skip("a cluster of two nodes needs a network namespace: root, unshare, nsenter and ip")
    holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], stderr=subprocess.PIPE)
    words = ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]
    try:
        outside = os.readlink("/proc/self/ns/net")
        eventually(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != outside, holder)
        subprocess.run([*words, "ip", "link", "set", "lo", "up"], check=True, timeout=30)
        yield words
    finally:
        holder.kill()
        holder.communicate()


def kill_all(process):
    """Kill a process and everything that it started, as a machine that loses its power would."""
    os.kill(process.pid, signal.SIGSTOP)  # it must not start anything meanwhile
    for pid in [process.pid, *descendants(process.pid)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=60)


@pytest.fixture
def nodes(loopback, tmp_path_factory):
    """Two nodes with a CPU each, started as `cluster/local/start-head.sh` does; gives the second one."""
    ray = Path(sys.executable).with_name("ray")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    environment |= {"RAY_TMPDIR": str(tmp_path_factory.mktemp("r"))}
    how = ["--block", "--node-ip-address=127.0.0.1", "--num-cpus=1", "--object-store-memory=100000000"]
    roles = (["--head", "--port=6379", "--include-dashboard=false"], ["--address=127.0.0.1:6379"])
    started = []
    try:
        for role in roles:
            command = [*loopback, str(ray), "start", *role, *how]
            silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            started.append(subprocess.Popen(command, env=environment, start_new_session=True, **silent))
            eventually(lambda: any("raylet/raylet" in t for t in descendants(started[-1].pid).values()), started[-1])
        yield started[1]
    finally:
        for process in reversed(started):
            if process.poll() is None:
                kill_all(process)


@pytest.mark.rare
def test_killed_node_of_two_loses_nothing_and_the_other_one_goes_on(new_cli, loopback, nodes, assert_undisturbed):
    cli = new_cli(HALF, before=loopback)
    driver = cli.start("run", "fragile.yaml", "--address", "127.0.0.1:6379", "--workers", "2")
    eventually(lambda: workers(nodes.pid), driver)
    eventually(lambda: len(cli.checkpoints()) >= 3, driver)  # so both populations are in the middle of something
    kill_all(nodes)
    said = cli.end(driver)
    assert said.count("the worker that trained population") == 1
    assert "died; it goes on from its last checkpoint (try 1 of " in said
    assert "4 trials: 4 complete" in said
    assert "Traceback" not in said
    assert_undisturbed(cli)
    cli.audit()
