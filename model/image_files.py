"""Where images come from: labels at once, pixels only of the rows that are asked for."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from sweeper.model.errors import TaskError


@dataclass(frozen=True)
class ImageSource:
    """Labelled images of which only some may be wanted.

    Attributes:
        labels: Shape (N,), int64.
        pixels: Takes row numbers, shape (M,), and returns new pixels, shape (M, C, H, W), float32, 0–1.
    """

    labels: NDArray[np.int64]
    pixels: Callable[[NDArray[np.int64]], NDArray[np.float32]]

    def rows(self, rows: NDArray[np.int64]) -> ImageSource:
        """Return the source of these rows alone, in this order."""
        return ImageSource(self.labels[rows], lambda index: self.pixels(rows[index]))


#: scikit-learn's file of the digits, from the folder of packages: 64 pixels, 0–16, and the label in each line.
_DIGITS = "sklearn/datasets/data/digits.csv.gz"


def digits() -> ImageSource:
    """Return scikit-learn's 1,797 handwritten digits of 8 × 8 pixels."""
    table = _digits()
    pixels = (table[:, :-1].reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    return ImageSource(table[:, -1].astype(np.int64), lambda index: pixels[index])


def _digits() -> NDArray[np.float64]:
    """Return pixels and labels, shape (1797, 65): from the file itself, since importing scikit-learn takes 2 s."""
    try:
        return np.loadtxt(str(distribution("scikit-learn").locate_file(_DIGITS)), delimiter=",")
    except (PackageNotFoundError, OSError, ValueError):  # another version may keep it elsewhere, or in another form
        from sklearn.datasets import load_digits

        bunch = load_digits()
        table: NDArray[np.float64] = np.column_stack([bunch.data, bunch.target])
        return table


def image_file(path: Path) -> ImageSource:
    """Read labels and encoded images of a Parquet file; nothing is decoded yet.

    Raises:
        TaskError: If the file cannot be read, lacks a column or a label, or is empty.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise TaskError(
            f"cannot read images from {path}: {error}. Give a Parquet file with columns image and label."
        ) from error
    column = image_column(table.column_names)
    if column is None or "label" not in table.column_names:
        raise TaskError(
            f"{path} needs an image column 'image' or 'img' and a column 'label', "
            f"but has {', '.join(table.column_names)}"
        )
    if table.num_rows == 0:
        raise TaskError(f"{path} holds no images")
    if not pa.types.is_integer(table["label"].type):
        raise TaskError(f"labels must be integers, but column 'label' of {path} is {table['label'].type}")
    if nulls := table["label"].null_count:
        first = table["label"].is_null().index(True).as_py()
        raise TaskError(
            f"every image needs a label, but {nulls} of {table.num_rows} labels of {path} are null, "
            f"the first in row {first}. Leave these rows out."
        )
    labels = table["label"].to_numpy().astype(np.int64)
    return ImageSource(labels, partial(_decoded, table[column], path))


def _decoded(encoded: pa.ChunkedArray, path: Path, index: NDArray[np.int64]) -> NDArray[np.float32]:
    values = encoded.take(pa.array(index)).to_pylist()
    images = [decoded(value, path, row) for row, value in zip(index.tolist(), values, strict=True)]
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        raise TaskError(
            f"all images of {path} must have one size and kind, but found "
            f"{', '.join(str(s) for s in sorted(shapes)[:4])} (channels, height, width)"
        )
    return np.stack(images)


def image_column(names: Sequence[str]) -> str | None:
    """Return which column of a file holds its images; None if none does."""
    return next((name for name in ("image", "img") if name in names), None)


def decoded(value: object, path: Path, row: int) -> NDArray[np.float32]:
    """Return the pixels of an encoded image as networks are shown them, shape (C, H, W), 0–1.

    Args:
        value: What an image column holds: encoded bytes, or an object with them under `bytes`.
        path, row: Where it stands, for messages.

    Raises:
        TaskError: If it is no image, is damaged, or has more than 8 bits a channel.
    """
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        raise TaskError(f"row {row} of {path} holds no image bytes, but {type(data).__name__}")
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode.startswith(("I", "F")):
                raise TaskError(
                    f"images must have 8 bits a channel, but row {row} of {path} has mode {image.mode}. "
                    "Convert it first."
                )
            is_grey = image.mode in {"1", "L"}
            array = np.asarray(image.convert("L" if is_grey else "RGB"), dtype=np.float32) / np.float32(255)
    except TaskError:
        raise
    except Exception as error:  # what damage raises is up to each format: ValueError, SyntaxError, struct.error, …
        raise TaskError(f"row {row} of {path} is no readable image: {error}") from error
    return array[None] if is_grey else array.transpose(2, 0, 1)
