"""Checks of this machine: processors, memory, the home and its file system. Each gets its subject as arguments."""

from __future__ import annotations

import fcntl
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sweeper.checks.finding import Finding, fine, problem, problem_of, warning
from sweeper.errors import HomeError
from sweeper.ledger.home import Home
from sweeper.limits import Limits

#: Network file systems; every `fuse.…` type except the local ones counts as one too.
_NETWORK = frozenset((
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "afs", "9p"),
    *("pvfs2", "orangefs", "panfs", "virtiofs", "davfs"),
))
_LOCAL_FUSE = ("fuseblk", "fuse.fuse-overlayfs", "fuse.bindfs", "fuse.mergerfs", "fuse.ext4")
_VOLATILE = ("tmpfs", "ramfs")

#: Memory of driver, Ray and MLflow, besides trainings, in bytes; then thresholds of little and of no free disk.
DRIVER_BYTES = 2**30
_LITTLE_DISK_BYTES, _NO_DISK_BYTES = 2**30, 2**26


def processors(limits: Limits) -> Finding:
    """Report how many processors this process may use, which is the default number of workers."""
    if limits.usable_cpus >= limits.cpus:
        return fine("processors", f"{limits.cpus}, so that many workers by default")
    return fine(
        "processors",
        f"this process may use {limits.usable_cpus:g} of this machine's {limits.cpus}, as {limits.cpus_by} says: "
        f"by default there {'is 1 worker' if limits.workers == 1 else f'are {limits.workers} workers'}",
    )


def memory(limits: Limits) -> Finding:
    """Report the memory of this machine; whether it suffices depends on the spec."""
    by = f", as {limits.memory_by} says" if limits.memory_by else ""
    found = f"{_gib(limits.available_bytes)} free of {_gib(limits.memory_bytes)}{by}"
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
    """Check that files in the home, or where it would be made, can be written, locked and used by SQLite."""
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
    """Check the file system of a path: SQLite is not safe on a network file system.

    Args:
        path: The home, or its future place.
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
    """Decode a mount point, in which the kernel writes whitespace and backslashes as octal numbers."""
    for number in (0o40, 0o11, 0o12, 0o134):
        text = text.replace(f"\\{number:03o}", chr(number))
    return text


def free_bytes(path: Path) -> int:
    """Return the free bytes of the disk on which a path is, or would be made."""
    return shutil.disk_usage(existing(path)).free


def disk(free: int) -> Finding:
    """Report the free disk space; whether it suffices depends on the spec."""
    found = f"{_gib(free)} free for the home"
    if free < _NO_DISK_BYTES:
        return problem("disk", found, "Free some, or name a folder on another disk with --home.")
    if free < _LITTLE_DISK_BYTES:
        return warning("disk", found, "Ask for a sweep's need with `sweeper doctor SPACE`.")
    return fine("disk", found)


def needs(memory_bytes: int, disk_bytes: int, limits: Limits, free: int) -> Iterator[Finding]:
    """Compare the estimated needs of a sweep with this machine.

    Args:
        memory_bytes: Memory that all workers together need.
        disk_bytes: Disk space that the sweep needs in the home.
        limits: Processors and memory that this process may use.
        free: Free disk space, in bytes.
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
