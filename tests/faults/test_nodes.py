"""Sweeps on real Ray clusters of several nodes: refusals before the start, and nodes that come and go."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.rig import GRID, HALF, eventually, workers
from tests.support import clusters

pytestmark = pytest.mark.slow

#: Asks for a fixed small amount of memory, because measuring the need would take a training.
SMALL = HALF.replace("{population: 2}", "{population: 2, memory_mib: 700}")


@pytest.fixture(scope="module")
def ray_cluster():
    """A head without CPUs, as clusters have; tests add nodes and take them away again."""
    with clusters.cluster() as made:
        made.start_head(cpus=0)
        yield made


@pytest.fixture
def node(ray_cluster):
    """A node with one CPU, for one test."""
    added = ray_cluster.add_node()
    yield added
    if added.poll() is None:
        ray_cluster.kill_node(added)
    wait_for_nodes(ray_cluster, 1)


def wait_for_nodes(cluster, count):
    """Wait until the head counts this many nodes as alive."""
    code = (
        "import sys, time, ray\n"
        f"ray.init('{cluster.address}', logging_level='ERROR')\n"
        f"while sum(node['Alive'] for node in ray.nodes()) != {count}: time.sleep(0.5)\n"
    )
    cluster.run("timeout", "200", clusters.sys.executable, "-c", code)


def run(cli, cluster, *words):
    return cli.run("run", "fragile.yaml", "--address", cluster.address, *words)


@pytest.fixture
def start():
    """Start drivers that do not outlive their test."""
    started = []

    def begin(cli, cluster, *words):
        started.append(cli.start("run", "fragile.yaml", "--address", cluster.address, *words))
        return started[-1]

    yield begin
    for driver in started:
        if driver.poll() is None:
            clusters.kill_all(driver)


def test_request_that_no_node_can_satisfy_is_refused_and_leaves_no_trace(new_cli, ray_cluster, node):
    cli = new_cli(
        HALF.replace("{population: 2}", "{population: 2, cpus: 3, memory_mib: 700}"), before=ray_cluster.words
    )
    code, out, err = run(cli, ray_cluster)
    assert code == 2, out + err
    assert "a population asks for 3 CPUs and 0.7 GiB of memory, and no node of the cluster can ever give it" in err
    assert len(re.findall(r"127\.0\.0\.1 \(\w{8}\) has [01] CPUs?, 0 GPUs, 2\.0 GiB", err)) == 2
    assert "Use a lower placement.cpus, or start a node" in err
    assert "Traceback" not in err
    assert not cli.sweep.path.exists()


@pytest.mark.rare
def test_memory_that_is_measured_and_fits_no_node_is_refused(new_cli, ray_cluster):
    small = ray_cluster.add_node(memory_mib=256)
    try:
        cli = new_cli(HALF, before=ray_cluster.words)
        code, out, err = run(cli, ray_cluster)
        assert code == 2, out + err
        assert re.search(r"memory", err)
        assert "0.2 GiB" in err
        assert not cli.sweep.path.exists()
    finally:
        ray_cluster.kill_node(small)
        wait_for_nodes(ray_cluster, 1)


@pytest.mark.rare
def test_node_that_does_not_share_the_storage_is_refused_and_nothing_is_planned(new_cli, ray_cluster, node, tmp_path):
    cli = new_cli(SMALL, before=ray_cluster.words)
    apart = ray_cluster.add_node(before=clusters.hiding(cli.home))
    try:
        code, out, err = run(cli, ray_cluster)
        assert code == 2, out + err
        assert "1 of 3 nodes of the cluster cannot train this sweep, and nothing was started" in err
        assert f"the folder {cli.home}/fragile there is not the driver's" in err
        assert "name a storage that every node reaches with --storage" in err
        assert not cli.sweep.path.exists()
    finally:
        ray_cluster.kill_node(apart)
        wait_for_nodes(ray_cluster, 2)


@pytest.mark.rare
def test_node_with_other_software_is_refused_with_both_versions(new_cli, ray_cluster, tmp_path):
    other = tmp_path / "other" / "torch-1.2.3.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.2.3\n")
    odd = ray_cluster.add_node(PYTHONPATH=f"{other.parent}:{clusters.ROOT}")
    try:
        cli = new_cli(SMALL, before=ray_cluster.words)
        code, out, err = run(cli, ray_cluster)
        assert code == 2, out + err
        assert re.search(r"it has torch 1\.2\.3, and the driver \d+\.\d+", err)
    finally:
        ray_cluster.kill_node(odd)
        wait_for_nodes(ray_cluster, 1)


@pytest.mark.rare
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("safetensors", "safetensors is imported from"),
        pytest.param("sweeper", "sweeper is imported from", marks=pytest.mark.rare),
    ],
)
def test_node_that_imports_another_file_is_refused_with_the_file_and_nothing_is_planned(
    new_cli, ray_cluster, tmp_path, name, said
):
    (tmp_path / "own").mkdir()
    file = tmp_path / "own" / f"{name}.py"
    file.write_text("")
    odd = ray_cluster.add_node(PYTHONPATH=f"{file.parent}:{clusters.ROOT}")
    try:
        cli = new_cli(SMALL, before=ray_cluster.words)
        code, out, err = run(cli, ray_cluster)
        assert (code, "Traceback" in err) == (2, False), out + err
        assert re.search(rf"127\.0\.0\.1 \(\w{{8}}\): {said} {file} instead of /", err), err
        assert "Rename or move that file, or take its folder out of PYTHONPATH there" in err
        assert not cli.sweep.path.exists()
    finally:
        ray_cluster.kill_node(odd)
        wait_for_nodes(ray_cluster, 1)


@pytest.mark.rare
def test_gpu_that_torch_cannot_use_is_refused_where_it_is_asked_for_and_left_alone_otherwise(new_cli, ray_cluster):
    card = ray_cluster.add_node(gpus=1)
    try:
        cli = new_cli(SMALL.replace("memory_mib", "gpus: 1, memory_mib"), before=ray_cluster.words)
        code, out, err = run(cli, ray_cluster)
        assert code == 2, out + err
        assert re.search(r"Ray says it has 1 GPUs, and torch \S+, built for CPU, sees 0", err)
        (cli.folder / "fragile.yaml").write_text(SMALL)
        code, out, err = run(cli, ray_cluster)
        assert code == 0, out + err
        assert "4 trials: 4 complete" in out
    finally:
        ray_cluster.kill_node(card)
        wait_for_nodes(ray_cluster, 1)


@pytest.mark.rare
def test_nodes_that_come_are_used_and_what_ran_on_lost_ones_goes_on(
    new_cli, ray_cluster, node, start, assert_undisturbed
):
    """For a while no node is left: the sweep waits, says so, and continues when a node comes."""
    cli = new_cli(GRID, before=ray_cluster.words)
    driver = start(cli, ray_cluster)
    eventually(lambda: workers(node.pid), driver)
    more = ray_cluster.add_node()
    eventually(lambda: workers(more.pid), driver)  # the sweep uses the new node
    eventually(lambda: len(cli.checkpoints()) >= 3, driver)  # both populations are in the middle of their training
    for lost in (node, more):
        ray_cluster.kill_node(lost)
    gone = "1 node, none of which can hold it, and nothing starts nodes there by itself"
    eventually(lambda: [note for note in live_notes(cli) if "waits for 1 CPU and" in note and gone in note], driver)
    last = ray_cluster.add_node()
    try:
        said = cli.end(driver)
    finally:
        ray_cluster.kill_node(last)
    assert 1 <= said.count(" waits for ") <= 4  # one note per change, not per second
    assert "8 trials: 8 complete" in said
    assert {tuple(record.retries.items()) for record in cli.records().values()} <= {(), (("lost", 1),)}
    assert_undisturbed(cli)
    cli.audit()


def live_notes(cli):
    """Return the notes of the sweep's live state, as a watcher reads them in MLflow."""
    with closing(sqlite3.connect(cli.home / "mlflow.db", timeout=60)) as database:
        rows = database.execute("SELECT value FROM tags WHERE key = 'sweeper.live'").fetchall()
    return [text for (value,) in rows for _, text in json.loads(value)["notes"]]


@pytest.mark.rare
def test_node_that_was_cut_off_writes_nothing_more_when_it_is_back(
    new_cli, ray_cluster, node, start, assert_undisturbed
):
    cli = new_cli(SMALL, before=ray_cluster.words)
    driver = start(cli, ray_cluster)
    eventually(lambda: workers(node.pid), driver)
    cli.wait_for_training(driver)
    ray_cluster.pause_node(node)
    other = ray_cluster.add_node()
    try:
        eventually(lambda: times_handed_out(cli) == 3, driver)  # both populations, and again the one that was cut off
        cli.wait_for_training(driver)
        ray_cluster.resume_node(node)  # its worker is in the middle of a training that continues elsewhere
        said = cli.end(driver)
        assert "died; it goes on from its last checkpoint (try 1 of " in said
        assert "4 trials: 4 complete" in said
        assert_undisturbed(cli)
    finally:
        ray_cluster.kill_node(other)


def times_handed_out(cli):
    """Return how often the driver has handed out a population, from the numbers in the leases."""
    leases = [json.loads(path.read_text()) for path in Path(cli.sweep.files, "leases").glob("*.json")]
    return max(int(lease["session"].rpartition("/")[2]) for lease in leases)


@pytest.fixture
def autoscaling_cluster():
    with clusters.cluster() as made:
        made.start_autoscaling_head(most=2)
        yield made


@pytest.mark.rare
def test_autoscaler_starts_the_nodes_that_populations_wait_for(new_cli, autoscaling_cluster, start, assert_undisturbed):
    cli = new_cli(GRID.replace("{population: 2}", "{population: 2, memory_mib: 0}"), before=autoscaling_cluster.words)
    said = cli.end(start(cli, autoscaling_cluster))
    assert "8 trials: 8 complete" in said
    assert " of 2 workers busy" in said, "both nodes that it may start were started and used"
    assert_undisturbed(cli)
