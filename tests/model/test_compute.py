"""Out-of-memory errors are recognised, whichever library reports them."""

from __future__ import annotations

import errno

import pytest
import torch

from sweeper.model.compute import is_out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        RuntimeError("could not create a primitive"),
        RuntimeError("could not create a primitive descriptor for a convolution forward propagation primitive"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17.9 GB)"),
        RuntimeError("can't start new thread"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
    ids=str,
)
def test_every_way_to_say_that_there_is_no_memory_is_understood(error):
    assert is_out_of_memory(error)
    other = ValueError("the batch could not be made")
    other.__cause__ = error
    assert is_out_of_memory(other), "what it was raised from counts"


def test_allocation_that_really_fails_is_understood():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("out of memory is no word for this"),
        OSError(errno.ENOSPC, "No space left on device"),
        KeyError("memory"),
    ],
    ids=str,
)
def test_other_errors_are_others(error):
    assert not is_out_of_memory(error)


def test_errors_that_are_each_others_cause_come_to_an_end():
    one, other = RuntimeError("a"), RuntimeError("b")
    one.__cause__, other.__cause__ = other, one
    assert not is_out_of_memory(one)
