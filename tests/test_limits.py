"""The available processors and memory: by affinity, cpusets, quotas of both versions of control groups, and Slurm.

Limits that a test can set in this kernel are real; the others are read from files as the kernel writes them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sweeper
from sweeper.cli import run as cli
from sweeper.driver.needs import this_machine
from sweeper.limits import Limits, read_limits

GIB = 2**30
CONTAINER = "its control group, or container,"

SPEC = {
    "task": {"data": "digits", "train_images": 50, "test_images": 50},
    "lattice": {"channels": 2, "layers": 1, "steps": 2},
    "parameters": {"breadth_pressure": {"values": [0, 1e-3, 1e-2, 1e-1]}},
    "training": {"updates": 2},
    "objectives": [{"name": "accuracy", "goal": "maximize"}],
    "reference_point": {"accuracy": 0},
}


@pytest.fixture(autouse=True)
def _no_batch_system(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("SLURM_", "LSB_")) or name in ("NSLOTS", "NCPUS")]:
        monkeypatch.delenv(name)


@pytest.fixture
def one_processor():
    """Restricts this process to one processor."""
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        pytest.skip("there is one processor here")
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


# --- files of the kernel --------------------------------------------------------------------------


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def limits(folder, files, environment=()):
    """Return the limits of a machine with 8 processors, 64 GiB and these files of the kernel."""
    write(folder, {"proc/meminfo": f"MemTotal: {64 * 2**20} kB\nMemAvailable: {60 * 2**20} kB\nHugePages: 0\n"})
    write(folder, files)
    return read_limits(folder / "proc", folder / "cgroup", 8, dict(environment))


def test_machine_without_a_container_has_all_of_itself(tmp_path):
    assert limits(tmp_path, {}) == Limits(8, 8, 64 * GIB, 60 * GIB)
    files = {"cgroup/memory.max": "max\n", "cgroup/cpu.max": "max 100000\n", "cgroup/cpu/cpu.cfs_quota_us": "-1"}
    assert limits(tmp_path, files) == Limits(8, 8, 64 * GIB, 60 * GIB)
    assert limits(tmp_path, {}).workers == 8


#: Files of control groups, by place: quotas of 2.5 processors and 4 GiB, 1 GiB of which is used.
GROUPS = {
    "2, a container": {
        "proc/self/cgroup": "0::/\n",
        "cgroup/cpu.max": "250000 100000\n",
        "cgroup/memory.max": f"{4 * GIB}\n",
        "cgroup/memory.current": f"{GIB}\n",
    },
    "2, a service": {
        "proc/self/cgroup": "0::/system.slice/sweep.service\n",
        "cgroup/system.slice/cpu.max": "max 100000\n",
        "cgroup/system.slice/sweep.service/cpu.max": "250000 100000\n",
        "cgroup/system.slice/memory.max": f"{4 * GIB}\n",
        "cgroup/system.slice/memory.current": f"{GIB}\n",
        "cgroup/system.slice/sweep.service/memory.max": f"{32 * GIB}\n",
    },
    "2, a job of Slurm": {
        "proc/self/cgroup": "0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_0\n",
        "cgroup/system.slice/slurmstepd.scope/job_7/cpu.max": "250000 100000\n",
        "cgroup/system.slice/slurmstepd.scope/job_7/memory.max": f"{4 * GIB}\n",
        "cgroup/system.slice/slurmstepd.scope/job_7/memory.current": f"{GIB}\n",
    },
    "1, a group": {
        "proc/self/cgroup": "4:memory:/jobs/one\n3:cpu,cpuacct:/jobs/one\n0::/\n",
        "cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us": "250000",
        "cgroup/cpu,cpuacct/jobs/cpu.cfs_period_us": "100000",
        "cgroup/memory/jobs/memory.limit_in_bytes": f"{4 * GIB}",
        "cgroup/memory/jobs/memory.usage_in_bytes": f"{GIB}",
        "cgroup/memory/jobs/one/memory.limit_in_bytes": "9223372036854771712",
    },
    "1, a container that sees its own group at the root": {
        "proc/self/cgroup": "4:memory:/docker/abc\n3:cpuacct,cpu:/docker/abc\n",
        "cgroup/cpu/cpu.cfs_quota_us": "250000",
        "cgroup/cpu/cpu.cfs_period_us": "100000",
        "cgroup/memory/memory.limit_in_bytes": f"{4 * GIB}",
        "cgroup/memory/memory.usage_in_bytes": f"{GIB}",
    },
    "both, with version 2 beside": {
        "proc/self/cgroup": "4:memory:/\n0::/jobs\n",
        "cgroup/unified/jobs/cpu.max": "250000 100000\n",
        "cgroup/memory/memory.limit_in_bytes": f"{4 * GIB}",
        "cgroup/memory/memory.usage_in_bytes": f"{GIB}",
    },
}


@pytest.mark.parametrize("kind", GROUPS)
def test_quotas_of_control_groups_count_in_both_versions(tmp_path, kind):
    found = limits(tmp_path, GROUPS[kind])
    assert found == Limits(8, 2.5, 4 * GIB, 3 * GIB, CONTAINER, CONTAINER)
    assert found.workers == 2


@pytest.mark.parametrize(("quota", "workers"), [("50000", 1), ("100000", 1), ("199999", 1), ("200000", 2), ("1", 1)])
def test_part_of_a_processor_is_no_worker_and_there_is_one_at_least(tmp_path, quota, workers):
    assert limits(tmp_path, {"cgroup/cpu.max": f"{quota} 100000"}).workers == workers


@pytest.mark.parametrize(
    ("names", "cpus", "gib"),
    [
        ({"SLURM_CPUS_ON_NODE": "4", "SLURM_MEM_PER_NODE": "8192"}, 4, 8),
        ({"SLURM_CPUS_ON_NODE": "4", "SLURM_MEM_PER_CPU": "1024"}, 4, 4),
        ({"SLURM_CPUS_PER_TASK": "2", "SLURM_MEM_PER_CPU": "1024"}, 2, 2),
        ({"SLURM_CPUS_ON_NODE": "4", "SLURM_MEM_PER_NODE": "0"}, 4, 64),
        ({"SLURM_CPUS_ON_NODE": "64", "SLURM_MEM_PER_NODE": "999999"}, 8, 64),
        ({"SLURM_CPUS_ON_NODE": "many", "SLURM_MEM_PER_CPU": ""}, 8, 64),
    ],
)
def test_what_slurm_gives_counts_where_nothing_of_the_kernel_keeps_to_it(tmp_path, names, cpus, gib):
    found = limits(tmp_path, {}, names)
    assert (found.usable_cpus, found.memory_bytes) == (cpus, gib * GIB)
    assert found.cpus_by == ("Slurm" if cpus < 8 else "")
    assert found.memory_by == ("Slurm" if gib < 64 else "")


@pytest.mark.parametrize(
    ("names", "cpus", "who"),
    [
        ({"LSB_DJOB_NUMPROC": "3"}, 3, "LSF"),
        ({"NSLOTS": "2"}, 2, "Grid Engine"),
        ({"NCPUS": "1"}, 1, "PBS"),
        ({"NSLOTS": "256"}, 8, ""),
        ({"NSLOTS": "undefined"}, 8, ""),
    ],
)
def test_other_batch_systems_count_as_well(tmp_path, names, cpus, who):
    found = limits(tmp_path, {}, names)
    assert (found.usable_cpus, found.cpus_by) == (cpus, who)


def test_the_least_of_all_limits_counts(tmp_path):
    found = limits(tmp_path, {"cgroup/cpu.max": "300000 100000"}, {"SLURM_CPUS_ON_NODE": "2"})
    assert (found.usable_cpus, found.cpus_by) == (2, "Slurm")
    found = limits(tmp_path, {"cgroup/cpu.max": "100000 100000"}, {"SLURM_CPUS_ON_NODE": "2"})
    assert (found.usable_cpus, found.cpus_by) == (1, CONTAINER)


# --- the kernel itself ----------------------------------------------------------------------------

SAY = "from sweeper.limits import read_limits; print(read_limits())"


@pytest.mark.parametrize("kind", ["cpu", "cpuset", "memory"])
def test_group_that_the_kernel_has_counts(kind):
    """Makes a new control group, starts a process in it, and removes the group."""
    whole = read_limits()
    if whole.cpus < 2 or whole.usable_cpus < whole.cpus:
        pytest.skip("there is too little here to be limited")
    root = next(
        (r for r in (Path("/sys/fs/cgroup", kind), Path("/sys/fs/cgroup")) if (r / "cgroup.procs").exists()), None
    )
    if root is None:
        pytest.skip("there are no control groups here")
    group = root / f"sweeper-test-{os.getpid()}"
    first = {"cpu": {"cpu.cfs_quota_us": "100000", "cpu.max": "100000 100000"}}
    first["cpuset"] = {"cpuset.mems": "0", "cpuset.cpus": "0"}
    first["memory"] = {"memory.limit_in_bytes": str(GIB), "memory.max": str(GIB)}
    try:
        group.mkdir()
        for name, text in first[kind].items():
            if (group / name).exists():
                (group / name).write_text(text)
    except OSError as error:
        if group.exists():
            group.rmdir()
        pytest.skip(f"no group can be made here: {error}")
    try:
        join = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh", sys.executable, "-P", "-c", SAY]
        said = subprocess.run(join, capture_output=True, text=True, timeout=120)
        assert said.returncode == 0, said.stderr
        if kind == "memory":
            assert f"memory_bytes={GIB}," in said.stdout
        else:
            assert f"cpus={whole.cpus}, usable_cpus=1.0" in said.stdout
    finally:
        group.rmdir()


@pytest.mark.slow
def test_affinity_decides_everywhere_alike(one_processor, tmp_path, monkeypatch, capsys):
    assert (read_limits().usable_cpus, read_limits().cpus_by) == (1, "its affinity")
    assert this_machine().has.cpus == 1
    (tmp_path / "spec.yaml").write_text(json.dumps(SPEC))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["sweeper", "plan", "spec.yaml", "--json"])
    cli.app(standalone_mode=False)
    planned = json.loads(capsys.readouterr().out)
    assert planned["workers"] == 1
    assert sweeper.plan(SPEC).populations == planned["populations"]


@pytest.mark.slow
def test_ray_that_is_started_within_an_affinity_has_no_more_than_it(one_processor):
    code = "\n".join((
        "from sweeper.execution.executors import RayExecutor",
        "from sweeper.execution import ray_cluster",
        "import ray",
        "with ray_cluster.connected(None):",
        "    print(ray.cluster_resources()['CPU'])",
    ))
    said = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=300)
    assert said.stdout.strip().endswith("1.0"), said.stderr
