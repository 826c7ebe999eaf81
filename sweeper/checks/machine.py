"""Checks of this machine: processors, memory, the home and its file system. Each takes what it inspects."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sweeper.checks.finding import Finding, fine, problem, problem_of, warning
from sweeper.errors import HomeError
from sweeper.ledger.home import Home

#: File systems that other machines write to as well; any `fuse.…` but the local ones counts too.
_NETWORK = frozenset((
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "afs", "9p"),
    *("pvfs2", "orangefs", "panfs", "virtiofs", "davfs"),
))
_LOCAL_FUSE = ("fuseblk", "fuse.fuse-overlayfs", "fuse.bindfs", "fuse.mergerfs", "fuse.ext4")
_VOLATILE = ("tmpfs", "ramfs")

#: What a sweep needs besides its trainings: the driver, Ray and MLflow.
DRIVER_BYTES = 2**30
_LITTLE_DISK_BYTES, _NO_DISK_BYTES = 2**30, 2**26


@dataclass(frozen=True)
class Limits:
    """What this process may use.

    Attributes:
        cpus: Processors of the machine.
        usable_cpus: What the container or the affinity leaves of them.
        memory_bytes: Memory of the machine, or of the container where that is less.
        available_bytes: What is free of it now, as far as is known.
        container: What limits memory or processors, in words; empty for nothing.
    """

    cpus: int
    usable_cpus: float
    memory_bytes: int
    available_bytes: int
    container: str = ""


def read_limits(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup"), cpus: int | None = None) -> Limits:
    """Return what this process may use, by the files of the kernel.

    Args:
        proc: Where `meminfo` and `self/cgroup` are.
        cgroups: Where control groups are mounted, of version 1 or 2.
        cpus: Processors of the machine; None asks the system.
    """
    lines = (proc / "meminfo").read_text(encoding="utf-8").splitlines()
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if rest.split()}
    total, available = kib["MemTotal"] * 1024, kib.get("MemAvailable", kib["MemTotal"]) * 1024
    of_machine = cpus or os.cpu_count() or 1
    usable = float(min(of_machine, len(os.sched_getaffinity(0)))) if cpus is None else float(of_machine)
    notes = []
    for folder in _groups(proc, cgroups, "memory"):
        limit = _number(folder, "memory.max", "memory.limit_in_bytes")
        if limit is not None and limit < total:
            used = _number(folder, "memory.current", "memory.usage_in_bytes") or 0
            total, available = int(limit), min(available, int(limit - used))
            notes.append("memory")
    for folder in _groups(proc, cgroups, "cpu"):
        quota = _quota(folder)
        if quota is not None and quota < usable:
            usable = quota
            notes.append("processors")
    return Limits(of_machine, usable, total, max(available, 0), " and ".join(dict.fromkeys(notes)))


def _groups(proc: Path, cgroups: Path, controller: str) -> list[Path]:
    """Return the folders of this process's control group and of all above it: each may set a limit."""
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    found = [cgroups, cgroups / controller]
    for line in lines:
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        base = cgroups / names if names else cgroups
        parts = [part for part in path.split("/") if part not in ("", "..")]
        found += [base.joinpath(*parts[:length]) for length in range(len(parts) + 1)]
    return list(dict.fromkeys(found))


def _number(folder: Path, *names: str) -> float | None:
    for name in names:
        try:
            return float((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return None


def _quota(folder: Path) -> float | None:
    """Return how many processors a control group may use at a time."""
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        return float(quota) / float(period)
    except (OSError, ValueError):
        pass
    used, period_us = _number(folder, "cpu.cfs_quota_us"), _number(folder, "cpu.cfs_period_us")
    return used / period_us if used is not None and period_us and used > 0 else None


def processors(limits: Limits) -> Finding:
    """Compare the processors of the machine with those that this process may use."""
    if limits.usable_cpus >= limits.cpus:
        return fine("processors", f"{limits.cpus}, so that many workers by default")
    workers = max(1, int(limits.usable_cpus))
    return warning(
        "processors",
        f"this machine has {limits.cpus}, but this process may use {limits.usable_cpus:g} of them "
        f"({'a container' if 'processors' in limits.container else 'its affinity'} says so)",
        f"Workers would wait for each other: give --workers {workers}.",
    )


def memory(limits: Limits) -> Finding:
    """Say how much memory there is; whether it is enough depends on the spec."""
    of = "of this container" if "memory" in limits.container else "of this machine"
    found = f"{_gib(limits.available_bytes)} free {of}'s {_gib(limits.memory_bytes)}"
    if limits.memory_bytes < 2 * DRIVER_BYTES:
        return warning(
            "memory", found, "Driver, Ray and MLflow take about 1 GiB without any training: use --workers 1."
        )
    return fine("memory", found)


def existing(path: Path) -> Path:
    """Return the path, or the nearest of its parents that exists."""
    path = path.absolute()
    return next(one for one in (path, *path.parents) if one.exists())


def home(root: Path) -> Finding:
    """Write, lock and remove a file in the home, or where it would be made."""
    another = "Make it writable, or name another folder with --home."
    try:
        Home(root)
    except HomeError as error:
        return problem_of("home", error)
    folder = existing(root)
    if not folder.is_dir():
        return problem("home", f"{folder} is a file and no folder", "Name another folder with --home.")
    doing = "written"
    try:
        with tempfile.TemporaryDirectory(prefix=".sweeper-doctor-", dir=folder) as scratch:
            with Path(scratch, "lock").open("w", encoding="utf-8") as file:
                file.write("sweeper doctor")
                file.flush()
                doing, another = "locked", "Name a folder on a file system that has locks with --home."
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            doing = "used by SQLite"
            with closing(sqlite3.connect(Path(scratch, "ledger.db"))) as database, database:
                database.execute("CREATE TABLE probe (value)")
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        return problem("home", f"{folder} cannot be {doing}: {reason}", another)
    made = "" if folder == root.absolute() else f"; {root} will be made there"
    return fine("home", f"{folder} can be written and locked{made}")


def file_system(path: Path, mountinfo: str) -> Finding:
    """Say on which file system a path is: SQLite cannot be trusted on one of a network.

    Args:
        path: Where the home is, or will be.
        mountinfo: The text of `/proc/self/mountinfo`.
    """
    kind, point = _mount(str(path.absolute()), mountinfo)
    found = f"{path} is on {kind or 'an unknown file system'}" + (f", mounted at {point}" if point else "")
    if kind in _NETWORK or (kind.startswith("fuse") and kind not in _LOCAL_FUSE):
        return problem(
            "file system",
            f"{found}: SQLite, which holds the ledger, needs locks that file systems of a network do not keep",
            "Name a folder on a local disk with --home, and copy it to the network when the sweep has ended.",
        )
    if kind in _VOLATILE:
        return warning(
            "file system",
            f"{found}, which is in memory: a reboot takes every sweep with it",
            "Name a folder on a disk with --home.",
        )
    return fine("file system", found)


def _mount(path: str, mountinfo: str) -> tuple[str, str]:
    """Return type and mount point of the file system that holds a path; the last mount on a point counts."""
    kind, longest = "", ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = _unescaped(fields[4])
        is_above = point == "/" or path == point or path.startswith(point + "/")
        if is_above and len(point) >= len(longest):
            kind, longest = after.split(" ")[0], point
    return kind, longest


def _unescaped(text: str) -> str:
    """Return a mount point as it is: the kernel writes blanks and backslashes as octal numbers."""
    for number in (0o40, 0o11, 0o12, 0o134):
        text = text.replace(f"\\{number:03o}", chr(number))
    return text


def free_bytes(path: Path) -> int:
    """Return how much disk is free where a path is, or would be made."""
    return shutil.disk_usage(existing(path)).free


def disk(free: int) -> Finding:
    """Say how much disk is free; whether it is enough depends on the spec."""
    found = f"{_gib(free)} free for the home"
    if free < _NO_DISK_BYTES:
        return problem("disk", found, "Free some, or name a folder on another disk with --home.")
    if free < _LITTLE_DISK_BYTES:
        return warning("disk", found, "Ask for a sweep's need with `sweeper doctor SPACE`.")
    return fine("disk", found)


def needs(memory_bytes: int, disk_bytes: int, limits: Limits, free: int) -> Iterator[Finding]:
    """Compare what a sweep is estimated to need with what there is.

    Args:
        memory_bytes: Of all workers together.
        disk_bytes: In the home.
        limits: What this process may use.
        free: Free disk.
    """
    wanted = memory_bytes + DRIVER_BYTES
    found = f"the sweep needs about {_gib(wanted)} of {_gib(limits.memory_bytes)}"
    fewer = "Use fewer --workers, or a smaller placement.population, window or batch_size."
    if wanted > limits.memory_bytes:
        yield problem("memory of the sweep", found, fewer)
    elif wanted > limits.available_bytes:
        yield warning("memory of the sweep", f"{found}, of which {_gib(limits.available_bytes)} are free now", fewer)
    else:
        yield fine("memory of the sweep", found)
    found = f"the sweep needs about {_gib(disk_bytes)}, and {_gib(free)} are free"
    elsewhere = "Free some, or name a folder on another disk with --home."
    if disk_bytes > free:
        yield problem("disk of the sweep", found, elsewhere)
    elif 2 * disk_bytes > free:
        yield warning("disk of the sweep", f"{found}: the estimate is a rough one", elsewhere)
    else:
        yield fine("disk of the sweep", found)


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 0.1 * 2**30 else f"{size / 2**20:.1f} MiB"
