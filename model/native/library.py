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

#: What the recurrence runs in where nothing compiled fits.
TORCH = "torch"


class Range(ctypes.Structure):
    """Which networks and images of a batch are worked on: from the first to before the last."""

    _fields_ = (
        ("batch", ctypes.c_int64),
        ("first_network", ctypes.c_int64),
        ("last_network", ctypes.c_int64),
        ("first_image", ctypes.c_int64),
        ("last_image", ctypes.c_int64),
    )


#: What is returned where a label is none of the classes.
NO_CLASS = -2


class Head(ctypes.Structure):
    """Readout, time selection and loss of a population, and where their slopes go; `head.c` says what each is."""

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
    """A compiled recurrence, and what comes after it. What its functions take is said in `recurrence.c` and `head.c`.

    Attributes:
        name: What it was compiled for, such as `avx2`.
        functions: What was loaded.
    """

    name: str
    functions: ctypes.CDLL

    def record_floats(self, sizes: ctypes.Array[ctypes.c_int32]) -> int:
        """Return how many floats are kept of one image in one network."""
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
            MemoryError: If there is no room.
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
        """Add to the slopes of the weights; see `sweeper_backward`.

        Raises:
            MemoryError: If there is no room.
        """
        given = (addresses(weights), address(feature_slopes), address(records), addresses(slopes))
        self._check(self.functions.sweeper_backward(sizes, part, *given))

    def head(self, given: Head) -> None:
        """Compute losses, and the slopes of features and weights; see `sweeper_head`.

        Raises:
            MemoryError: If there is no room.
            IndexError: If a label is none of the classes.
        """
        self._check(self.functions.sweeper_head(given))

    def _check(self, failed: int) -> None:
        if failed == NO_CLASS:
            raise IndexError("a label is none of the classes")
        if failed:
            raise MemoryError("there is no memory left to compute a recurrence in")


def address(tensor: Tensor) -> ctypes.c_void_p:
    """Return where a tensor's numbers begin."""
    return ctypes.c_void_p(tensor.data_ptr())


def addresses(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    """Return where the numbers of each tensor begin."""
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def fitting() -> tuple[str, ...]:
    """Return what the processor could run, the fastest first, as torch sees it (and its ATEN_CPU_CAPABILITY)."""
    capability = torch.backends.cpu.get_cpu_capability()
    if capability.startswith("AVX512"):
        return ("avx512", "avx2")
    if capability == "AVX2":
        return ("avx2",)
    # torch has no name for what every 64-bit ARM has; on others there is no such file.
    return ("neon",)


@functools.cache
def library(name: str, folder: Path = SOURCE) -> Library | None:
    """Return a compiled recurrence; None where it is not there, or was compiled from another source.

    Args:
        name: What it was compiled for; must be among `fitting`, or what is called may end the process.
        folder: Where it lies.
    """
    try:
        functions = ctypes.CDLL(str(folder / file_name(name)))
        functions.sweeper_source_digest.restype = ctypes.c_char_p
        if functions.sweeper_source_digest().decode() != digest():
            return None
    except (OSError, AttributeError):  # not there, of another machine, or not ours
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
    """Return what a recurrence can run in here, the fastest first; the last is torch, which always can."""
    return (*(name for name in fitting() if library(name)), TORCH)
