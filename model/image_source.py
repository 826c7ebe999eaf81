"""The common form of all kinds of data: labels are read at once, images only for the rows that are asked for."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.model.decoding import Bytes, Decoder
from sweeper.model.errors import TaskError
from sweeper.model.label_names import Named

#: Pixels of one or several images: bytes, 0–255, or floats, 0–1.
Pixels = NDArray[np.uint8] | NDArray[np.float32]

#: Number of images that are decoded at once, and number that one thread takes at a time.
BLOCK, _SLICE = 512, 32

#: Most threads that decode; they run in parallel because decoders work mostly without Python's lock.
_MOST_THREADS = 8


@dataclass(frozen=True)
class ImageSource:
    """Labelled images that are read row by row on demand.

    Attributes:
        named: Labels of all images, and their names.
        blocks: Takes row numbers, ascending, and yields their images in order: each shape (C, H, W), bytes or floats.
        place: Where the images come from, for messages.
        done: Conversions of the images that were read, in words, and the number of images converted.
        notes: Other unusual properties of the images, one sentence each.
    """

    named: Named
    blocks: Callable[[NDArray[np.int64]], Iterator[Sequence[Pixels]]]
    place: str
    done: Counter[str] = field(default_factory=Counter)
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels of all images, shape (N,)."""
        return self.named.labels

    def pixels(self, rows: NDArray[np.int64]) -> Pixels:
        """Return the pixels of some rows, ascending; all images must have one size."""
        images = [image for block in self.blocks(rows) for image in block]
        found: list[NDArray[Any]] = [*images]
        return np.stack(found) if found else np.zeros((0, 1, 1, 1), np.uint8)


#: An encoded image, and its position for messages.
Encoded = tuple[object, str]


def decoded_blocks(
    encoded: Iterable[Sequence[Encoded]], decoder: Decoder, done: Counter[str]
) -> Iterator[Sequence[Bytes]]:
    """Decode images, several at a time.

    Args:
        encoded: Blocks of encoded images.
        decoder: How images become pixels.
        done: Counter of conversions; how many images each conversion changed is added to it.

    Raises:
        TaskError: If an image cannot be decoded.
    """

    def read(some: Sequence[Encoded]) -> list[tuple[Bytes, tuple[str, ...]]]:
        return [decoder.read(_bytes_of(value, where), where) for value, where in some]

    threads = min(_MOST_THREADS, len(os.sched_getaffinity(0)))
    # Pillow warns about images that it can still read. Warning filters belong to the process: set them around all
    # threads.
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.simplefilter("ignore")
        for block in encoded:
            slices = [block[first : first + _SLICE] for first in range(0, len(block), _SLICE)]
            found = [one for part in pool.map(read, slices) for one in part]
            for _, what in found:
                done.update(what)
            yield [pixels for pixels, _ in found]


def _bytes_of(value: object, where: str) -> bytes:
    data = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(data, bytes):
        return data
    if isinstance(value, dict) and data is None and value.get("path"):
        raise TaskError(
            f"{where} holds the path of an image and no image. Write the images themselves into the file, or name the "
            "folder that they lie in."
        )
    raise TaskError(f"{where} holds no image bytes, but {type(data).__name__}")


def in_blocks(rows: NDArray[np.int64], size: int = BLOCK) -> Iterator[NDArray[np.int64]]:
    """Yield row numbers in blocks."""
    for first in range(0, len(rows), size):
        yield rows[first : first + size]
