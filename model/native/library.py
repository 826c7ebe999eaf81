"""Finds the compiled recurrence that fits this processor, and calls it."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sweeper.model.native.build import SOURCE, digest, file_name

#: Name of torch's implementation, which is used if no compiled one fits.
TORCH = "torch"


class Range(ctypes.Structure):
    """The networks and images of a batch in one part of the work: from the first up to, not including, the last."""

    _fields_ = (
        ("batch", ctypes.c_int64),
        ("first_network", ctypes.c_int64),
        ("last_network", ctypes.c_int64),
        ("first_image", ctypes.c_int64),
        ("last_image", ctypes.c_int64),
    )


#: Return value of the compiled code if a label is none of the classes.
NO_CLASS = -2


class Head(ctypes.Structure):
    """Readout, time selection and loss of a population, and room for their gradients; see `head.c` for each field."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("steps", "batch", "networks", "classes", "layers", "rule")),
        *((name, ctypes.c_double) for name in ("step_loss", "hazard_bound", "least_pooled_std")),
        ("channels", ctypes.POINTER(ctypes.c_int32)),
        ("features", ctypes.c_void_p),
        ("labels", ctypes.c_void_p),
        ("readout", ctypes.POINTER(ctypes.c_void_p)),
        *((name, ctypes.c_void_p) for name in ("readout_bias", "selection", "sureness")),
        ("hazard", ctypes.POINTER(ctypes.c_void_p)),
        *((name, ctypes.c_void_p) for name in ("pooled_mean", "pooled_var", "entry", "time_pressure")),
        *((name, ctypes.c_void_p) for name in ("loss", "expected_steps", "step_share", "feature_slopes")),
        ("readout_slopes", ctypes.POINTER(ctypes.c_void_p)),
        *((name, ctypes.c_void_p) for name in ("readout_bias_slopes", "selection_slopes", "sureness_slopes")),
        ("hazard_slopes", ctypes.POINTER(ctypes.c_void_p)),
    )


@dataclass(frozen=True)
class Library:
    """A compiled recurrence and loss. `recurrence.c` and `head.c` document the arguments of its functions.

    Attributes:
        name: Instruction set that it was compiled for, such as `avx2`.
        functions: The loaded library.
    """

    name: str
    functions: ctypes.CDLL

    def record_floats(self, sizes: ctypes.Array[ctypes.c_int32]) -> int:
        """Return how many floats the backward pass needs for one image and one network."""
        return int(self.functions.sweeper_record_floats(sizes))

    def forward(
        self,
        sizes: ctypes.Array[ctypes.c_int32],
        part: Range,
        images: Tensor,
        weights: Sequence[Tensor],
        features: Tensor,
        records: Tensor | None,
    ) -> None:
        """Compute features; see `sweeper_forward`.

        Raises:
            MemoryError: If memory runs out.
        """
        image_stride, network_stride = (ctypes.c_int64(stride) for stride in images.stride()[:2])
        kept = None if records is None else address(records)
        strides = (image_stride, network_stride)
        called = self.functions.sweeper_forward
        self._check(called(sizes, part, address(images), *strides, addresses(weights), address(features), kept))

    def backward(
        self,
        sizes: ctypes.Array[ctypes.c_int32],
        part: Range,
        weights: Sequence[Tensor],
        feature_slopes: Tensor,
        records: Tensor,
        slopes: Sequence[Tensor],
    ) -> None:
        """Add to the gradients of the weights; see `sweeper_backward`.

        Raises:
            MemoryError: If memory runs out.
        """
        given = (addresses(weights), address(feature_slopes), address(records), addresses(slopes))
        self._check(self.functions.sweeper_backward(sizes, part, *given))

    def head(self, given: Head) -> None:
        """Compute losses, and the gradients of features and weights; see `sweeper_head`.

        Raises:
            MemoryError: If memory runs out.
            IndexError: If a label is none of the classes.
        """
        self._check(self.functions.sweeper_head(given))

    def _check(self, failed: int) -> None:
        if failed == NO_CLASS:
            raise IndexError("a label is none of the classes")
        if failed:
            raise MemoryError("there is no memory left to compute a recurrence in")


def address(tensor: Tensor) -> ctypes.c_void_p:
    """Return the address of a tensor's data."""
    return ctypes.c_void_p(tensor.data_ptr())


def addresses(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    """Return the address of each tensor's data."""
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def fitting() -> tuple[str, ...]:
    """Return the instruction sets that torch sees (see its ATEN_CPU_CAPABILITY), the fastest first."""
    capability = torch.backends.cpu.get_cpu_capability()
    if capability.startswith("AVX512"):
        return ("avx512", "avx2")
    if capability == "AVX2":
        return ("avx2",)
    # torch has no name for the vectors that every 64-bit ARM has. Other processors have no file of this name.
    return ("neon",)


@functools.cache
def library(name: str, folder: Path = SOURCE) -> Library | None:
    """Return a compiled recurrence; None if it does not exist, or was compiled from another source.

    Args:
        name: Instruction set. It must be among `fitting`, or calls may end the process.
        folder: Folder of the compiled file.
    """
    try:
        functions = ctypes.CDLL(str(folder / file_name(name)))
        functions.sweeper_source_digest.restype = ctypes.c_char_p
        if functions.sweeper_source_digest().decode() != digest():
            return None
    except (OSError, AttributeError):  # missing, for another architecture, or not ours
        return None
    functions.sweeper_record_floats.restype = ctypes.c_int64
    for function in (functions.sweeper_forward, functions.sweeper_backward, functions.sweeper_head):
        function.restype = ctypes.c_int
    functions.sweeper_head.argtypes = [ctypes.POINTER(Head)]
    functions.sweeper_forward.argtypes = [
        ctypes.POINTER(ctypes.c_int32),
        ctypes.POINTER(Range),
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_int64,
        *[ctypes.c_void_p] * 3,
    ]
    functions.sweeper_backward.argtypes = [
        ctypes.POINTER(ctypes.c_int32),
        ctypes.POINTER(Range),
        *[ctypes.c_void_p] * 4,
    ]
    return Library(name, functions)


def usable() -> tuple[str, ...]:
    """Return the implementations that can run a recurrence here, the fastest first; torch, the last, always can."""
    return (*(name for name in fitting() if library(name)), TORCH)
