"""Images in tables: Parquet and Arrow files, in one file or in many shards.

All labels are read at once. Encoded images are read only for the rows that are asked for, a few hundred at a time, so
that the memory needed does not depend on the number of images.
"""

from __future__ import annotations

import bisect
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sweeper.model.array_images import as_images
from sweeper.model.decoding import Decoder
from sweeper.model.errors import TaskError
from sweeper.model.image_source import BLOCK, ImageSource, Pixels, decoded_blocks
from sweeper.model.label_names import Named, numbered, whole, with_names
from sweeper.model.places import File

#: Common names of columns. A name of the first group is used whatever other columns exist; of the second group, a table
#: must have only one.
IMAGE_COLUMNS = (
    ("image", "img"),
    (
        *("images", "picture", "photo", "pixels", "pixel_values", "image_bytes", "bytes", "data", "content"),
        *("jpg", "jpeg", "png", "webp", "image.bytes", "x"),
    ),
)
LABEL_COLUMNS = (
    ("label",),
    (*("labels", "fine_label", "coarse_label", "fine_labels", "coarse_labels", "class", "classes", "class_label"),
     *("class_id", "category", "target", "targets", "cls", "y", "label_id", "label_name", "class_name")),
)  # fmt: skip

#: Size of the read buffer, in bytes.
_BUFFER = 2**20


@dataclass(frozen=True)
class Columns:
    """Names of the columns of images and labels that the task gives; None if it gives none."""

    image: str | None = None
    label: str | None = None


def table_source(files: Sequence[File], place: str, decoder: Decoder, columns: Columns) -> ImageSource:
    """Return the images of one table that is stored in one or several files.

    Args:
        files: The files, in the order of their rows.
        place: Name of all files together, for messages.
        decoder: How images become pixels.
        columns: Columns that the task names.

    Raises:
        TaskError: If a file cannot be read, or lacks a column or a label, or if the table is empty.
    """
    image, label, kinds = "", "", []
    parts: list[pa.ChunkedArray] = []
    names: Sequence[object] | None = None
    for file in files:
        with _opened(file) as table:
            if not image:
                image, label = _chosen(table.schema, file, columns)
                names = _class_names(table.schema, label)
            elif missing := [name for name in (image, label) if name not in table.schema.names]:
                raise TaskError(
                    f"the files of {place} must have the same columns, but {file} has no column {missing[0]!r}: it has "
                    f"{', '.join(table.schema.names)}"
                )
            kinds.append(table.schema.field(label).type)
            parts.append(table.column(label))
    if any(not kind.equals(kinds[0]) for kind in kinds) and not all(map(_is_whole, kinds)):
        other = next(file for file, kind in zip(files, kinds, strict=True) if not kind.equals(kinds[0]))
        raise TaskError(
            f"labels of {place} must be of one type, but column {label!r} of {files[0]} is {kinds[0]}, and of {other} "
            f"it is {next(kind for kind in kinds if not kind.equals(kinds[0]))}"
        )
    starts = [0, *np.cumsum([len(part) for part in parts]).tolist()]
    if starts[-1] == 0:
        raise TaskError(f"{place} holds no images")
    done = Counter[str]()
    blocks = partial(_blocks, files, starts[:-1], image, decoder, done)
    return ImageSource(_named(parts, label, names, place), blocks, place, done)


def _named(parts: Sequence[pa.ChunkedArray], label: str, names: Sequence[object] | None, place: str) -> Named:
    """Return the labels of a column."""
    rows, kind = sum(map(len, parts)), parts[0].type
    if pa.types.is_dictionary(kind):
        parts = [part.cast(kind.value_type) for part in parts]
        kind = kind.value_type
    if nulls := sum(part.null_count for part in parts):
        at = next(number for number, part in enumerate(parts) if part.null_count)
        first = sum(map(len, parts[:at])) + parts[at].is_null().index(True).as_py()
        raise TaskError(
            f"every image needs a label, but {nulls} of {rows} labels of {place} are null, "
            f"the first in row {first}. Leave these rows out."
        )
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return numbered([text for part in parts for text in part.to_pylist()], place)
    if not _is_whole(kind):
        raise TaskError(f"labels must be integers or texts, but column {label!r} of {place} is {kind}")
    values = np.concatenate([part.cast(pa.int64(), safe=False).to_numpy() for part in parts])
    return with_names(values, names) if names else whole(values, place)


def _is_whole(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _chosen(schema: pa.Schema, file: File, asked: Columns) -> tuple[str, str]:
    """Return the names of the image column and the label column."""
    found = [
        _one(schema, file, "image", asked.image, _typed(schema, "Image"), IMAGE_COLUMNS),
        _one(schema, file, "label", asked.label, _typed(schema, "ClassLabel"), LABEL_COLUMNS),
    ]
    missing = [what for what, name in zip(("image", "label"), found, strict=True) if name is None]
    if missing:
        names = {"image": "'image' or 'img'", "label": "'label'"}
        raise TaskError(
            f"{file} needs a column with images, such as {names['image']}, and one with labels, such as "
            f"{names['label']}, but has {', '.join(schema.names) or 'no columns'}. Say which one holds the "
            f"{missing[0]}s with task.{missing[0]}_column."
        )
    return found[0] or "", found[1] or ""


def _one(
    schema: pa.Schema,
    file: File,
    what: str,
    asked: str | None,
    typed: Sequence[str],
    known: tuple[Sequence[str], Sequence[str]],
) -> str | None:
    """Return the column that the task names, or else one found by type or name; None if none is found."""
    names = schema.names
    if asked is not None:
        if asked not in names:
            raise TaskError(
                f"task.{what}_column must name a column of {file}, but {asked!r} is none of {', '.join(names)}"
            )
        return asked
    for name in known[0]:
        if name in names:
            return name
    called = {name.lower(): name for name in reversed(names)}
    found = list(typed) or [called[name] for name in (*known[0], *known[1]) if name in called]
    if len(found) > 1:
        raise TaskError(
            f"{file} has several columns that may hold its {what}s: {', '.join(found)}. Say which one is meant with "
            f"task.{what}_column."
        )
    return found[0] if found else None


def _features(schema: pa.Schema) -> dict[str, Any]:
    """Return the descriptions of columns that `datasets` wrote; empty if it did not write the file."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _typed(schema: pa.Schema, kind: str) -> list[str]:
    """Return the columns that have this type of `datasets`."""
    features = _features(schema)
    return [
        name for name in schema.names if isinstance(features.get(name), dict) and features[name].get("_type") == kind
    ]


def _class_names(schema: pa.Schema, label: str) -> Sequence[object] | None:
    feature = _features(schema).get(label)
    names = feature.get("names") if isinstance(feature, dict) else None
    return names if isinstance(names, list) and names else None


@dataclass(frozen=True)
class _Table:
    """An open file."""

    schema: pa.Schema
    column: Callable[[str], pa.ChunkedArray]
    batches: Callable[[str, Sequence[int]], Iterator[tuple[int, pa.Array]]]


def _opened(file: File) -> AbstractContextManager[_Table]:
    return _arrow(file) if file.name.lower().endswith(".arrow") else _parquet(file)


@contextmanager
def _told(file: File) -> Iterator[None]:
    """Turn a reader's errors into a `TaskError` about the file."""
    try:
        yield
    except (OSError, pa.ArrowException, MemoryError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(". ")
        raise TaskError(
            f"cannot read images from {file}: {reason}. Give a Parquet file with columns image and label."
        ) from error


@contextmanager
def _parquet(file: File) -> Iterator[_Table]:
    with _told(file), file.open() as stream, pq.ParquetFile(stream, pre_buffer=False, buffer_size=_BUFFER) as parquet:
        starts = [0]
        for group in range(parquet.num_row_groups):
            starts.append(starts[-1] + parquet.metadata.row_group(group).num_rows)

        def batches(column: str, rows: Sequence[int]) -> Iterator[tuple[int, pa.Array]]:
            """Yield the batches of a column that hold any of the rows, each with the number of its first row."""
            for group, (first, end) in enumerate(pairwise(starts)):
                if _holds_any(rows, first, end):
                    for batch in parquet.iter_batches(BLOCK, row_groups=[group], columns=[column]):
                        if _holds_any(rows, first, first + len(batch)):
                            yield first, batch.column(0)
                        first += len(batch)
                        if not _holds_any(rows, first, end):
                            break

        yield _Table(parquet.schema_arrow, lambda name: parquet.read([name]).column(0), batches)


@contextmanager
def _arrow(file: File) -> Iterator[_Table]:
    """Open a file of Arrow batches as `datasets` writes it: a stream, or a file with an index."""
    with _told(file), file.mapped() as source:
        try:
            reader = pa.ipc.open_stream(source)
            table = reader.read_all()
        except pa.ArrowInvalid:
            source.seek(0)
            table = pa.ipc.open_file(source).read_all()

        def batches(column: str, rows: Sequence[int]) -> Iterator[tuple[int, pa.Array]]:
            for first in range(0, table.num_rows, BLOCK):
                if _holds_any(rows, first, first + BLOCK):
                    part = table.slice(first, BLOCK).column(column)
                    yield first, part.combine_chunks() if part.num_chunks != 1 else part.chunk(0)

        yield _Table(table.schema, table.column, batches)


def _holds_any(rows: Sequence[int], first: int, end: int) -> bool:
    at = bisect.bisect_left(rows, first)
    return at < len(rows) and rows[at] < end


def _blocks(
    files: Sequence[File],
    starts: Sequence[int],
    image: str,
    decoder: Decoder,
    done: Counter[str],
    rows: NDArray[np.int64],
) -> Iterator[Sequence[Pixels]]:
    """Yield the images of some rows."""
    for number, (file, start) in enumerate(zip(files, starts, strict=True)):
        end = starts[number + 1] if number + 1 < len(starts) else np.iinfo(np.int64).max
        own = (rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)] - start).tolist()
        if not own:
            continue
        with _opened(file) as table:
            kind = table.schema.field(image).type
            wanted = _wanted(table, image, own, file)
            if _is_list(kind):
                yield from _arrays(wanted, file, done)
            else:
                yield from decoded_blocks(
                    ([*zip(values, places, strict=True)] for values, places in wanted), decoder, done
                )


def _is_list(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _wanted(table: _Table, image: str, rows: Sequence[int], file: File) -> Iterator[tuple[list[object], list[str]]]:
    """Yield the values of some rows, and the position of each for messages."""
    for first, values in table.batches(image, rows):
        here = rows[bisect.bisect_left(rows, first) : bisect.bisect_left(rows, first + len(values))]
        taken = values
        if len(here) < len(values):
            mask = np.zeros(len(values), bool)
            mask[np.asarray(here) - first] = True
            taken = pc.filter(values, pa.array(mask))
        yield taken.to_pylist(), [f"row {row} of {file}" for row in here]


def _arrays(wanted: Iterator[tuple[list[object], list[str]]], file: File, done: Counter[str]) -> Iterator[list[Pixels]]:
    """Yield images that are stored as lists of numbers."""
    for values, places in wanted:
        found: list[Pixels] = []
        for value, place in zip(values, places, strict=True):
            try:
                array = np.asarray(value)
                array = array[None] if array.ndim in (2, 3) else array
                if array.dtype == object or array.ndim not in (3, 4):
                    raise ValueError
            except ValueError:
                raise TaskError(
                    f"{place} holds a list of numbers that is no picture: rows of pixels are needed, as in "
                    "[[0, 255], [255, 0]]. Write the images as PNG, or as lists of rows."
                ) from None
            found.append(as_images(array, place, done)[0])
        yield found
