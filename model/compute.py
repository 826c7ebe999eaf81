"""What the process that trains needs to know of torch: threads, and how running out of memory looks."""

from __future__ import annotations

import torch


def use_threads(threads: int) -> None:
    """Let torch use so many threads from now on. Results depend on the number, so callers fix it."""
    torch.set_num_threads(threads)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell an allocation that failed from every other error, on the CPU and on a GPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # The CPU allocator raises a plain RuntimeError; its text is all there is to tell it by.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate memory" in str(error)
