"""The digits that come with scikit-learn, and single encoded images of a file's image column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sweeper.model.decoding import Decoder
from sweeper.model.errors import TaskError
from sweeper.model.image_source import ImageSource
from sweeper.model.images import as_floats
from sweeper.model.label_names import Named

#: scikit-learn's file of digits, relative to the folder of packages: each line has 64 pixels, 0–16, and the label.
_DIGITS = "sklearn/datasets/data/digits.csv.gz"


def digits() -> ImageSource:
    """Return scikit-learn's 1,797 handwritten digits of 8 × 8 pixels."""
    table = _digits()
    pixels = (table[:, :-1].reshape(-1, 1, 8, 8) / 16).astype(np.float32)

    def blocks(rows: NDArray[np.int64]) -> Iterator[Sequence[NDArray[np.float32]]]:
        yield list(pixels[rows])

    return ImageSource(Named(table[:, -1].astype(np.int64)), blocks, "digits")


def _digits() -> NDArray[np.float64]:
    """Return pixels and labels, shape (1797, 65), from the file itself, since importing scikit-learn takes 2 s."""
    try:
        return np.loadtxt(str(distribution("scikit-learn").locate_file(_DIGITS)), delimiter=",")
    except (PackageNotFoundError, OSError, ValueError):  # other versions may keep it elsewhere, or in another format
        from sklearn.datasets import load_digits

        bunch = load_digits()
        table: NDArray[np.float64] = np.column_stack([bunch.data, bunch.target])
        return table


def image_column(names: Sequence[str]) -> str | None:
    """Return which column of a file holds its images; None if none does."""
    return next((name for name in ("image", "img") if name in names), None)


def decoded(value: object, path: Path, row: int) -> NDArray[np.float32]:
    """Return the pixels of an encoded image as networks see them, shape (C, H, W), 0–1.

    Args:
        value: A value of an image column: encoded bytes, or a dict that holds them under `bytes`.
        path, row: Position of the image, for messages.

    Raises:
        TaskError: If the value is no image, is damaged, or cannot be converted to 8 bits a channel.
    """
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        raise TaskError(f"row {row} of {path} holds no image bytes, but {type(data).__name__}")
    return as_floats(Decoder().read(data, f"row {row} of {path}")[0])
