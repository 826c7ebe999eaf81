"""Degradations that make images harder to see: each takes pixels, a level and a generator, and returns new pixels.

Level 0 changes nothing. Random draws depend on the generator and never on the level: the same generator hides the same
places and adds the same noise at every level, so that images can be compared level by level.

Shape suffixes: N images, C channels, H W space.

Sources: pieces of other objects as occluders and clutter as in Spoerer, McClure, Kriegeskorte (2017), "Recurrent
convolutional neural networks: a better model of biological object recognition", Frontiers in Psychology 8:1551; noise
in the phases as in Dakin, Hess, Ledgeway, Achtman (2002), "What causes non-monotonic tuning of fMRI response to noisy
images?", Current Biology 12. The implementations here are this project's own.
"""

from __future__ import annotations

import math
import os
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.model.errors import TaskError
from sweeper.model.images import as_floats

Pixels = NDArray[np.float32]

#: Images degraded at once; bounds the memory. Pieces of other images come from the same block.
_BLOCK = 1000

#: Side of a piece of debris, as a share of the image's shorter side.
_PIECE = 1 / 4


def occlude_grey(pixels_NCHW: Pixels, level: float, rng: np.random.Generator) -> Pixels:
    """Hide a share of each image's area behind a mid-grey square at a random place."""
    return _occluded(pixels_NCHW, level, _random_places(pixels_NCHW, level, rng), 0.5)


def occlude_black(pixels_NCHW: Pixels, level: float, rng: np.random.Generator) -> Pixels:
    """Hide a share of each image's area behind a black square at a random place."""
    return _occluded(pixels_NCHW, level, _random_places(pixels_NCHW, level, rng), 0.0)


def occlude_beside(pixels_NCHW: Pixels, level: float, rng: np.random.Generator) -> Pixels:
    """Put the same grey square where it hides least: a control that adds an object without hiding anything.

    A square hides the sum of absolute differences from the image's background, see `background`. Among places that hide
    equally little, one is drawn at random.
    """
    height, width = pixels_NCHW.shape[-2:]
    high, wide = _square(height, width, level)
    shown_NHW = np.abs(pixels_NCHW - background(pixels_NCHW)).sum(1, dtype=np.float64)
    sums_NHW = np.pad(shown_NHW.cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    down, across = height - high + 1, width - wide + 1
    hidden_NHW = sums_NHW[:, high:, wide:] - sums_NHW[:, :down, wide:]
    hidden_NHW += sums_NHW[:, :down, :across] - sums_NHW[:, high:, :across]
    flat_NX = hidden_NHW.reshape(len(hidden_NHW), -1)
    is_least_NX = flat_NX <= flat_NX.min(1, keepdims=True) + 1e-6
    which_N = (rng.random(len(pixels_NCHW)) * is_least_NX.sum(1)).astype(np.int64)
    place_N = (is_least_NX.cumsum(1) > which_N[:, None]).argmax(1)
    tops, lefts = np.divmod(place_N, across)
    return _occluded(pixels_NCHW, level, (tops, lefts), 0.5)


def debris(pixels_NCHW: Pixels, level: float, rng: np.random.Generator) -> Pixels:
    """Hide a share of each image's area behind pieces of other images, laid out in a grid, in random order."""
    count, _, height, width = pixels_NCHW.shape
    side = max(1, round(min(height, width) * _PIECE))
    down, across = math.ceil(height / side), math.ceil(width / side)
    order_NX = rng.random((count, down * across)).argsort(1).argsort(1)
    rank_NHW = order_NX.reshape(count, down, across).repeat(side, 1).repeat(side, 2)[:, :height, :width]
    # Pixels of a cell are numbered row by row, so a share that ends within a piece shows its first rows.
    within_HW = np.add.outer(np.arange(height) % side * side, np.arange(width) % side)
    first_NX = (rank_NHW * side * side + within_HW).reshape(count, -1).argsort(1).argsort(1)
    is_hidden_N1HW = (first_NX < round(level * height * width)).reshape(count, 1, height, width)
    shifts = rng.integers(1, max(2, count), (count, down * across))
    ups = rng.integers(0, height, (count, down * across))
    lefts = rng.integers(0, width, (count, down * across))
    cell_HW = np.add.outer(np.arange(height) // side * across, np.arange(width) // side)
    rows_HW, columns_HW = np.indices((height, width))
    others_NHW = (np.arange(count)[:, None, None] + shifts[:, cell_HW]) % count
    ys_NHW, xs_NHW = (rows_HW + ups[:, cell_HW]) % height, (columns_HW + lefts[:, cell_HW]) % width
    pieces_NCHW = np.moveaxis(pixels_NCHW[others_NHW, :, ys_NHW, xs_NHW], -1, 1)
    return np.where(is_hidden_N1HW, pieces_NCHW, pixels_NCHW)


def clutter(pixels_NCHW: Pixels, level: float, rng: np.random.Generator) -> Pixels:
    """Put another image, with its contrast × level, behind each image.

    Of the two pixels at a place, the one farther from the background is seen. So no pixel of the image itself comes
    nearer to the background.
    """
    count, _, height, width = pixels_NCHW.shape
    others = (np.arange(count) + rng.integers(1, max(2, count), (count,))) % count
    ups, lefts = rng.integers(0, height, (count,)), rng.integers(0, width, (count,))
    ys_NHW = (np.arange(height)[None, :, None] + ups[:, None, None]) % height
    xs_NHW = (np.arange(width)[None, None, :] + lefts[:, None, None]) % width
    ground_NC11 = background(pixels_NCHW)
    behind_NCHW = np.moveaxis((pixels_NCHW - ground_NC11)[others[:, None, None], :, ys_NHW, xs_NHW], -1, 1)
    behind_NCHW = np.clip(ground_NC11 + np.float32(level) * behind_NCHW, 0, 1)
    is_behind = np.abs(behind_NCHW - ground_NC11) > np.abs(pixels_NCHW - ground_NC11)
    return np.where(is_behind, behind_NCHW, pixels_NCHW)


def noise(pixels_NCHW: Pixels, level: float, rng: np.random.Generator) -> Pixels:
    """Add Gaussian noise to each pixel; the level is its standard deviation, in units of the pixel range 0–1."""
    return pixels_NCHW + (level * rng.standard_normal(pixels_NCHW.shape)).astype(np.float32)


def blur(pixels_NCHW: Pixels, level: float, rng: np.random.Generator) -> Pixels:
    """Blur by a Gaussian; the level is its standard deviation, in pixels. Images are mirrored at their edges."""
    for axis in (2, 3):
        pixels_NCHW = _blurred(pixels_NCHW, level, axis)
    return pixels_NCHW


def contrast(pixels_NCHW: Pixels, level: float, rng: np.random.Generator) -> Pixels:
    """Remove a share of the contrast: each pixel moves by this share towards the mean of its image."""
    mean_N111: Pixels = pixels_NCHW.mean((1, 2, 3), keepdims=True)
    return mean_N111 + np.float32(1 - level) * (pixels_NCHW - mean_N111)


def phase_scramble(pixels_NCHW: Pixels, level: float, rng: np.random.Generator) -> Pixels:
    """Add a share of random phases to the phases of each image's Fourier transform, the same in all channels.

    The amplitudes stay, except that values outside the pixel range are clipped.
    """
    count, _, height, width = pixels_NCHW.shape
    # The phases come from real noise, so that a frequency and its negative stay opposite and the image stays real. A
    # frequency that is its own negative, such as the mean, has only a sign: its phase is left alone.
    random_N1HW = np.angle(np.fft.fft2(rng.standard_normal((count, 1, height, width))))
    random_N1HW[:, :, :: _half(height), :: _half(width)] = 0
    spectrum = np.fft.fft2(pixels_NCHW) * np.exp(1j * level * random_N1HW)
    return np.clip(np.fft.ifft2(spectrum).real, 0, 1).astype(np.float32)


def blank(pixels_NCHW: Pixels, level: float, rng: np.random.Generator) -> Pixels:
    """Fade each image into its background; at level 1 nothing is visible."""
    ground = background(pixels_NCHW)
    return ground + np.float32(1 - level) * (pixels_NCHW - ground)


def background(pixels_NCHW: Pixels) -> Pixels:
    """Return each image's background: the median of its border pixels in each channel, shape (N, C, 1, 1)."""
    border = [pixels_NCHW[..., 0, :], pixels_NCHW[..., -1, :], pixels_NCHW[..., 0], pixels_NCHW[..., -1]]
    return np.asarray(np.median(np.concatenate(border, -1), -1), np.float32)[..., None, None]


@dataclass(frozen=True)
class Kind:
    """A degradation that can be asked for by name.

    Attributes:
        apply: Takes pixels, shape (N, C, H, W), a level and a generator, and returns new pixels.
        most: The highest level; None for no limit.
        unit: Unit of the level.
    """

    apply: Callable[[Pixels, float, np.random.Generator], Pixels]
    most: float | None = 1.0
    unit: str = "share"


#: Every degradation, by name.
KINDS: Mapping[str, Kind] = {
    "occlude_grey": Kind(occlude_grey),
    "occlude_black": Kind(occlude_black),
    "occlude_beside": Kind(occlude_beside),
    "debris": Kind(debris),
    "clutter": Kind(clutter),
    "noise": Kind(noise, None, "pixel value"),
    "blur": Kind(blur, None, "pixels"),
    "contrast": Kind(contrast),
    "phase_scramble": Kind(phase_scramble),
    "blank": Kind(blank),
}


def own_kind(name: str, function: Callable[[Pixels, float, np.random.Generator], Any]) -> Kind:
    """Return a degradation from a user's function.

    Args:
        name: Name of the degradation.
        function: As `Kind.apply`. It gets a copy of the pixels, and its return value is checked.
    """

    def apply(pixels_NCHW: Pixels, level: float, rng: np.random.Generator) -> Pixels:
        drawn = np.asarray(function(pixels_NCHW.copy(), level, rng))
        if drawn.shape != pixels_NCHW.shape or drawn.dtype.kind not in "fiu":
            raise TaskError(
                f"degradation {name!r} must return pixels of shape {pixels_NCHW.shape}, but returned shape "
                f"{drawn.shape} of {drawn.dtype}"
            )
        if not np.isfinite(drawn).all():
            raise TaskError(f"degradation {name!r} must return finite pixels, but some are infinite or NaN")
        return drawn.astype(np.float32)

    return Kind(apply, None, "")


def try_own(name: str, kind: Kind, pixels_NCHW: Pixels, level: float) -> None:
    """Try a user's degradation on some images.

    Raises:
        TaskError: If it raises, returns no pixels, or draws random numbers from anything but the given generator.
    """
    try:
        first, again = (kind.apply(pixels_NCHW, level, np.random.default_rng(0)) for _ in range(2))
    except TaskError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(frame.filename)}, line {frame.lineno}"
        raise TaskError(f"degradation {name!r} raised {type(error).__name__}: {error} ({where})") from error
    if not np.array_equal(first, again):
        raise TaskError(
            f"degradation {name!r} draws from something else than the generator that it is given: the same one must "
            "give the same pixels, or a sweep that was interrupted would end otherwise"
        )


@dataclass(frozen=True)
class Degradation:
    """One degradation at one level.

    Attributes:
        kind: One of `KINDS`, or the name of `own`.
        level: At least 0; 0 changes nothing.
        own: A user's degradation; None for one of `KINDS`.

    Raises:
        TaskError: If there is no such degradation, or it has no such level.
    """

    kind: str
    level: float
    own: Kind | None = None

    def __post_init__(self) -> None:
        if self.own is None and self.kind not in KINDS:
            raise TaskError(f"there is no degradation {self.kind!r}. Choose one of {', '.join(KINDS)}.")
        most = self._kind.most
        if not (0 <= self.level < math.inf and (most is None or self.level <= most)):
            limit = "at least 0" if most is None else f"from 0 to {most:g}"
            raise TaskError(f"the level of {self.kind} must be {limit}, but got level={self.level}")

    @property
    def _kind(self) -> Kind:
        return self.own or KINDS[self.kind]

    def __call__(self, pixels_NCHW: Pixels, rng: np.random.Generator) -> Pixels:
        """Return degraded pixels of the same shape and type; the given pixels are not changed."""
        if not self.level:
            return pixels_NCHW.copy()
        apply = self._kind.apply
        blocks = range(0, len(pixels_NCHW), _BLOCK)
        parts = [apply(pixels_NCHW[first : first + _BLOCK], self.level, rng) for first in blocks]
        return np.concatenate(parts) if parts else pixels_NCHW.copy()


def degraded(pixels_NCHW: Pixels, degradations: Iterable[Degradation], rng: np.random.Generator) -> Pixels:
    """Apply several degradations, one after the other."""
    for degradation in degradations:
        pixels_NCHW = degradation(pixels_NCHW, rng)
    return pixels_NCHW


def degrade_into(
    out_NCHW: Pixels, pixels_NCHW: NDArray[Any], degradations: Iterable[Degradation], rng: np.random.Generator
) -> None:
    """Write what `degraded` returns into an array, with memory for one block of it only.

    Args:
        out_NCHW: Array of the pixels' shape.
        pixels_NCHW: Bytes, or floats from 0 to 1.
        degradations: Applied one after the other.
        rng: Generator for all of them.
    """
    source: NDArray[Any] = pixels_NCHW
    for degradation in degradations:
        for first in range(0, len(out_NCHW), _BLOCK):
            block = as_floats(source[first : first + _BLOCK])
            out_NCHW[first : first + _BLOCK] = degradation(block, rng)
        source = out_NCHW


def _half(side: int) -> int:
    """Return the distance between those frequencies of an axis that are their own negative."""
    return side if side % 2 else max(1, side // 2)


def _square(height: int, width: int, share: float) -> tuple[int, int]:
    """Return the sides of a square that hides a share of the area, as closely as whole pixels allow."""
    return round(height * share**0.5), round(width * share**0.5)


def _random_places(
    pixels_NCHW: Pixels, level: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw the upper left corner of a square in each image."""
    height, width = pixels_NCHW.shape[-2:]
    high, wide = _square(height, width, level)
    at_N2 = rng.random((len(pixels_NCHW), 2))
    places = at_N2 * (height - high + 1, width - wide + 1)
    return places[:, 0].astype(np.int64), places[:, 1].astype(np.int64)


def _occluded(
    pixels_NCHW: Pixels, level: float, places: tuple[NDArray[np.int64], NDArray[np.int64]], value: float
) -> Pixels:
    """Fill the square at a place of each image with one value."""
    height, width = pixels_NCHW.shape[-2:]
    high, wide = _square(height, width, level)
    (tops, lefts), rows, columns = places, np.arange(height), np.arange(width)
    is_row_NH = (rows >= tops[:, None]) & (rows < tops[:, None] + high)
    is_column_NW = (columns >= lefts[:, None]) & (columns < lefts[:, None] + wide)
    is_hidden_NHW = is_row_NH[:, :, None] & is_column_NW[:, None, :]
    return np.where(is_hidden_NHW[:, None], np.float32(value), pixels_NCHW)


def _blurred(pixels_NCHW: Pixels, sigma: float, axis: int) -> Pixels:
    length = pixels_NCHW.shape[axis]
    # Beyond a few lengths of the image a wider Gaussian blurs it no further: it is its mean already.
    sigma = min(sigma, 4.0 * length)
    reach = max(1, math.ceil(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    # As a matrix: which pixel of the mirrored image is which of the image, and how much it counts.
    source = (np.arange(length)[:, None] + np.arange(-reach, reach + 1)) % (2 * length)
    source = np.where(source < length, source, 2 * length - 1 - source)
    mix = np.zeros((length, length))
    np.add.at(mix, (np.arange(length)[:, None].repeat(len(weights), 1), source), weights)
    moved = np.moveaxis(pixels_NCHW, axis, -1) @ mix.T.astype(np.float32)
    return np.ascontiguousarray(np.moveaxis(moved, -1, axis), dtype=np.float32)
