"""What the process that trains needs to know of torch: threads, and how running out of memory looks."""

from __future__ import annotations

import errno
from typing import Any

import torch

from sweeper.model.native.library import usable


def use_threads(threads: int) -> None:
    """Let torch use so many threads from now on. Results depend on the number, so callers fix it."""
    torch.set_num_threads(threads)


def torch_facts() -> dict[str, Any]:
    """Return what torch was built for and sees: `version`, `built_for`, `devices`, `threads`; and `recurrences`.

    The last are what a recurrence can run in here, the fastest first, and torch last.
    """
    built_for = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    if torch.version.hip:
        built_for = f"ROCm {torch.version.hip}"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {
        "version": torch.__version__,
        "built_for": built_for,
        "devices": [torch.cuda.get_device_name(number) for number in range(count)],
        "threads": torch.get_num_threads(),
        "recurrences": usable(),
    }


def gpu_problem(device: str) -> str:
    """Return why torch cannot train on a device, in a line; empty where it can."""
    try:
        torch.zeros(1, device=device).add_(1).cpu()
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts that it has it
        return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return ""


#: How libraries say that there is no memory, in exceptions of no kind of their own: torch's allocators, oneDNN, which
#: cannot make what it computes with then, C++, cuDNN, cuBLAS and CUDA, Apple's GPU, and the system itself.
_NO_MEMORY = (
    "can't allocate memory",
    "cannot allocate memory",
    "could not allocate",
    "failed to allocate",
    "unable to allocate",
    "not enough memory",
    "out of memory",
    "could not create a primitive",
    "could not create a memory object",
    "std::bad_alloc",
    "alloc_failed",
    "cudaerrormemoryallocation",
    "can't start new thread",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell an allocation that failed from every other error, on the CPU and on a GPU, whoever says it and however.

    What an error was raised from counts as well: a library that could not allocate may fail at something else for it.
    """
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        seen.append(one)
        if isinstance(one, (MemoryError, torch.OutOfMemoryError)):
            return True
        if isinstance(one, OSError) and one.errno == errno.ENOMEM:
            return True
        if isinstance(one, (RuntimeError, OSError)) and any(said in str(one).lower() for said in _NO_MEMORY):
            return True
        one = one.__cause__
    return False
