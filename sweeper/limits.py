"""The resources that this process may use: limited by the kernel, a container, or a batch system.

Planning, starting and reporting must agree on the number of processors, so all of them ask this module.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: Names of the possible limits, as parts of a sentence.
_AFFINITY, _CONTAINER, _SLURM = "its affinity", "its control group, or container,", "Slurm"

#: Variables with the number of processors of a job, and the names of their batch systems. Some count the processors of
#: several machines together; then they limit nothing here.
_BATCH = {
    "SLURM_CPUS_ON_NODE": _SLURM,
    "SLURM_CPUS_PER_TASK": _SLURM,
    "LSB_DJOB_NUMPROC": "LSF",
    "NSLOTS": "Grid Engine",
    "NCPUS": "PBS",
}


@dataclass(frozen=True)
class Limits:
    """The resources that this process may use.

    Attributes:
        cpus: Processors of the machine.
        usable_cpus: Processors that the affinity, control groups and batch systems leave; a quota may be a fraction.
        memory_bytes: Memory of the machine, or the part that a control group or Slurm leaves.
        available_bytes: Free part of this memory now, as far as is known.
        cpus_by, memory_by: Names of the strictest limits; empty if nothing limits.
    """

    cpus: int
    usable_cpus: float
    memory_bytes: int
    available_bytes: int
    cpus_by: str = ""
    memory_by: str = ""

    @property
    def workers(self) -> int:
        """Number of workers with one processor each, which is the default number of workers."""
        return max(1, int(self.usable_cpus + 1e-6))


def read_limits(
    proc: Path = Path("/proc"),
    cgroups: Path = Path("/sys/fs/cgroup"),
    cpus: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Limits:
    """Return the resources that this process may use, from the kernel's files and the variables of batch systems.

    Args:
        proc: Folder with `meminfo` and `self/cgroup`.
        cgroups: Folder where control groups of version 1 or 2 are mounted.
        cpus: Processors of the machine, all of which this process may run on; None asks the system.
        environment: Environment variables; None takes those of this process.
    """
    named = os.environ if environment is None else environment
    total, available = _memory(proc)
    of_machine = cpus or os.cpu_count() or 1
    on = of_machine if cpus is not None else len(os.sched_getaffinity(0))  # includes cpusets
    usable, cpus_by = float(of_machine), ""
    quotas = [quota for folder in _groups(proc, cgroups, "cpu") if (quota := _quota(folder)) is not None]
    batch_cpus, batch = next(
        ((count, who) for name, who in _BATCH.items() if (count := _count(named, name))), (None, "")
    )
    for limit, who in ((on, _AFFINITY), (min(quotas, default=None), _CONTAINER), (batch_cpus, batch)):
        if limit is not None and 0 < limit < usable:
            usable, cpus_by = float(limit), who
    memory_by = ""
    for folder in _groups(proc, cgroups, "memory"):
        limit = _number(folder, "memory.max", "memory.limit_in_bytes")
        if limit is not None and limit < total:
            used = _number(folder, "memory.current", "memory.usage_in_bytes") or 0
            total, available, memory_by = int(limit), min(available, int(limit - used)), _CONTAINER
    slurm_bytes = _slurm_bytes(named, batch_cpus)
    if slurm_bytes is not None and slurm_bytes < total:
        total, available, memory_by = slurm_bytes, min(available, slurm_bytes), _SLURM
    return Limits(of_machine, usable, total, max(available, 0), cpus_by, memory_by)


def _memory(proc: Path) -> tuple[int, int]:
    """Return the memory of the machine and its free part, in bytes."""
    lines = (proc / "meminfo").read_text(encoding="utf-8").splitlines()
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if rest.split()}
    return kib["MemTotal"] * 1024, kib.get("MemAvailable", kib["MemTotal"]) * 1024


def _count(named: Mapping[str, str], variable: str) -> int | None:
    """Return the whole number above 0 in a variable; None if there is none."""
    text = named.get(variable, "")
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) and int(text) else None


def _slurm_bytes(named: Mapping[str, str], cpus: int | None) -> int | None:
    """Return the memory that Slurm gives on this node in bytes; its variables are in MiB, and 0 means no limit."""
    mib = _count(named, "SLURM_MEM_PER_NODE")
    if mib is None and cpus is not None and (each := _count(named, "SLURM_MEM_PER_CPU")):
        mib = each * cpus
    return mib * 2**20 if mib else None


def _groups(proc: Path, cgroups: Path, controller: str) -> list[Path]:
    """Return the folders of this process's control group and of all its parents, each of which may set a limit."""
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    found = [cgroups, cgroups / controller, cgroups / "unified"]
    for line in lines:
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        bases = [cgroups / names, cgroups / controller] if names else [cgroups, cgroups / "unified"]
        parts = [part for part in path.split("/") if part not in ("", "..")]
        found += [base.joinpath(*parts[:length]) for base in bases for length in range(len(parts) + 1)]
    return list(dict.fromkeys(found))


def _number(folder: Path, *names: str) -> float | None:
    for name in names:
        try:
            return float((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # no such file, or the text "max"
            continue
    return None


def _quota(folder: Path) -> float | None:
    """Return how many processors a control group may use at a time; None if it sets no quota."""
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        return float(quota) / float(period)
    except (OSError, ValueError):
        pass
    used, period_us = _number(folder, "cpu.cfs_quota_us"), _number(folder, "cpu.cfs_period_us")
    return used / period_us if used is not None and period_us and used > 0 else None
