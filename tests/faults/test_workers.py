"""Workers and nodes that are killed, on the real Ray."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults.rig import HALF, eventually, workers
from tests.support import clusters

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
    code, out, err = cli.run("audit", "fragile")
    assert (code, out.count("yes      "), "9 of 9 promises hold" in out) == (0, 9, True), out + err


@pytest.fixture
def ray_cluster():
    with clusters.cluster() as made:
        yield made


@pytest.mark.rare
def test_killed_node_of_two_loses_nothing_and_the_other_one_goes_on(new_cli, ray_cluster, assert_undisturbed):
    ray_cluster.start_head()
    node = ray_cluster.add_node()
    cli = new_cli(HALF, before=ray_cluster.words)
    driver = cli.start("run", "fragile.yaml", "--address", ray_cluster.address, "--workers", "2")
    eventually(lambda: workers(node.pid), driver)
    eventually(lambda: len(cli.checkpoints()) >= 3, driver)  # so both populations are in the middle of their training
    ray_cluster.kill_node(node)
    said = cli.end(driver)
    assert said.count("the worker that trained population") == 1
    assert "died; it goes on from its last checkpoint (try 1 of " in said
    assert "4 trials: 4 complete" in said
    assert "Traceback" not in said
    assert_undisturbed(cli)
    cli.audit()
