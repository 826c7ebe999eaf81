"""What a training process needs of torch: its threads, its devices, and how to recognise an out-of-memory error."""

from __future__ import annotations

import errno
from typing import Any

import torch

from sweeper.model.native.library import usable


def use_threads(threads: int) -> None:
    """Let torch use this many threads from now on. Results depend on the number, so callers fix it."""
    torch.set_num_threads(threads)


def torch_facts() -> dict[str, Any]:
    """Return facts about this torch: `version`, `built_for`, `devices`, `threads` and `recurrences`.

    `recurrences` names the implementations that can run a recurrence here, the fastest first and torch last.
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
    """Return in one line why torch cannot train on a device; empty if it can."""
    try:
        torch.zeros(1, device=device).add_(1).cpu()
    except (RuntimeError, AssertionError) as error:  # a build without CUDA raises AssertionError
        return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return ""


#: Messages of out-of-memory errors that have no exception type of their own. They come from torch's allocators, oneDNN
#: (which then cannot create its primitives), C++, cuDNN, cuBLAS and CUDA, Apple's GPU, and the operating system.
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
    """Tell whether an error is a failed allocation, on the CPU or on a GPU, whichever library reports it.

    An error's cause counts as well: a library that could not allocate memory may fail with another error.
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
