"""Labelled images in memory: kept as bytes if their files hold bytes, and converted to floats for the networks.

Bytes take a quarter of the memory of floats. They become floats batch by batch, divided by 255 exactly as numpy does,
so that results stay the same to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Largest byte; networks see pixels of 0–255 as 0–1.
LARGEST = 255

#: Number of values that are counted at once; bounds the memory.
_AT_ONCE = 2**20


@dataclass(frozen=True)
class Images:
    """N images and their labels.

    Attributes:
        pixels: Shape (N, C, H, W): uint8, 0–255, or floats, 0–1 before noise.
        labels: Shape (N,), int64, from 0.
        levels: For bytes, how often each value occurs in each channel, shape (C, 256); None counts them when needed.
        dtype: Type that bytes are converted to for networks.
    """

    pixels: Tensor
    labels: Tensor
    levels: tuple[tuple[int, ...], ...] | None = None
    dtype: torch.dtype = torch.float32

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def are_bytes(self) -> bool:
        """Whether the pixels are kept as bytes."""
        return not self.pixels.is_floating_point()

    @property
    def like(self) -> Tensor:
        """An empty tensor with the device and the type that networks see images in."""
        return torch.zeros(0, device=self.pixels.device, dtype=self.dtype if self.are_bytes else self.pixels.dtype)

    def to(self, device: str | torch.device, dtype: torch.dtype = torch.float32) -> Images:
        """Return the same images on another device, to be shown as another type; bytes stay bytes."""
        labels = self.labels.to(device)
        if self.are_bytes:
            return Images(self.pixels.to(device), labels, self.levels, dtype)
        return Images(self.pixels.to(device, dtype), labels, dtype=dtype)

    def some(self, which: Tensor | slice) -> Images:
        """Return some of the images."""
        return Images(self.pixels[which], self.labels[which], dtype=self.dtype)

    def shown(self, which: Tensor | slice | None = None) -> Tensor:
        """Return the pixels of some images, or of all, as networks see them: floats."""
        pixels = self.pixels if which is None else self.pixels[which]
        return as_shown(pixels, self.dtype)

    @cached_property
    def brightness(self) -> float:
        """The mean pixel, 0–1; NaN without images."""
        if not self.are_bytes:
            return float(self.pixels.double().mean())
        return brightness(self.levels or levels_of(self.pixels.cpu().numpy()))

    @cached_property
    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel over all pixels, float64, shape (C,)."""
        if not self.are_bytes:
            std_C, mean_C = torch.std_mean(self.pixels.double(), (0, 2, 3), correction=0)
            return mean_C, std_C
        each = [_statistics(counts) for counts in self.levels or levels_of(self.pixels.cpu().numpy())]
        mean_C, std_C = torch.tensor(each, dtype=torch.float64, device=self.pixels.device).unbind(1)
        return mean_C, std_C


def as_shown(pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return pixels as networks see them: bytes as 0–1, and floats unchanged."""
    if pixels.is_floating_point():
        return pixels
    # Divides by a tensor: on a GPU torch would multiply by the inverse of a plain number, which may round differently.
    return pixels.to(torch.float32).div_(torch.tensor(float(LARGEST), device=pixels.device)).to(dtype)


def as_floats(pixels: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    """Return numpy pixels as float32: bytes as new arrays of 0–1, and floats unchanged."""
    if pixels.dtype != np.uint8:
        return np.asarray(pixels, np.float32)
    return np.divide(pixels, np.float32(LARGEST), dtype=np.float32)


def levels_of(pixels_NCHW: NDArray[np.uint8]) -> tuple[tuple[int, ...], ...]:
    """Return how often each of the 256 values occurs in each channel."""
    counts = np.zeros((pixels_NCHW.shape[1], LARGEST + 1), np.int64)
    images = max(1, _AT_ONCE // max(1, math.prod(pixels_NCHW.shape[1:])))
    for first in range(0, len(pixels_NCHW), images):
        block = pixels_NCHW[first : first + images]
        for channel in range(block.shape[1]):
            counts[channel] += np.bincount(block[:, channel].reshape(-1), minlength=LARGEST + 1)
    return tuple(tuple(row) for row in counts.tolist())


def brightness(levels: Sequence[Sequence[int]]) -> float:
    """Return the mean pixel, 0–1, of images with these levels; NaN without images."""
    total = sum(sum(counts) for counts in levels)
    bright = sum(value * count for counts in levels for value, count in enumerate(counts))
    return bright / (LARGEST * total) if total else math.nan


def _statistics(counts: Sequence[int]) -> tuple[float, float]:
    """Return mean and standard deviation of pixels from the counts of their levels, exact but for the last rounding."""
    total = sum(counts)
    if not total:
        return math.nan, math.nan
    values = [Fraction(float(np.float32(level) / np.float32(LARGEST))) for level in range(len(counts))]
    mean = sum((value * count for value, count in zip(values, counts, strict=True)), Fraction()) / total
    squares = ((value - mean) ** 2 * count for value, count in zip(values, counts, strict=True))
    return float(mean), math.sqrt(sum(squares, Fraction()) / total)
