"""What the process that trains needs to know of torch: threads, and how running out of memory looks."""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch

#: Options of glibc's `mallopt`, from its malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def use_threads(threads: int) -> None:
    """Let torch use so many threads from now on. Results depend on the number, so callers fix it."""
    torch.set_num_threads(threads)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let freed memory stay with this process: every training step asks for the same blocks again.

    By default glibc hands large blocks back at once, and each step pays for fresh pages (`benchmarks/lattice.py`).
    Where there is no `mallopt`, nothing is lost but that.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 1 << 30)
        mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)


def machine_bytes() -> int:
    """Return how much memory this machine has, or this container where that is less."""
    total = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("MemTotal:")
    )
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8")))
    except (OSError, ValueError):  # no limit: the file says "max", or is not there
        return total


def is_out_of_memory(error: BaseException) -> bool:
    """Tell an allocation that failed from every other error, on the CPU and on a GPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # The CPU allocator raises a plain RuntimeError; its text is all there is to tell it by.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate memory" in str(error)
