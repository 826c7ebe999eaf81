"""Shows a network a user's images from a Parquet file, and returns what it does with each image.

The file is read and answered in batches, so that its images need not fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from sweeper.model.errors import TaskError
from sweeper.model.image_files import decoded, image_column
from sweeper.model.lattice import Lattice
from sweeper.model.probing import LOOK, looked, looked_by_step, pictures
from sweeper.model.tasks import Images

#: Number of images that are decoded and answered at once; bounds the memory, and changes the result only by rounding.
_BATCH = 500

#: Names of the result's columns except class probabilities; columns of the file with these names are renamed.
_OWN = frozenset({
    *("image", "path", "label", "right", "brightness", "edges"),
    *LOOK.names,
    *("step", "step_probability", "step_answer", "step_right", "step_confidence", "step_uncertainty"),
})

#: Prefix of a label in the name of the column with its class's probability.
PROBABILITY = "probability."

#: Prefix of a file's column whose name is taken by the result.
RENAMED = "input_"


@dataclass(frozen=True)
class Stimuli:
    """Images in a file, and its other columns; nothing is decoded yet.

    Attributes:
        path: The file.
        image: Name of its image column.
        is_labelled: Whether it has a column `label`.
        names: Name -> label, for files whose labels are texts.
        carried: Name of another column in the file -> its name in the result.
        left_out: Columns without single values (lists, records, bytes), which the result omits.
    """

    path: Path
    image: str
    is_labelled: bool
    carried: Mapping[str, str]
    left_out: tuple[str, ...]
    names: Mapping[str, int] = field(default_factory=dict)

    def labels(self, batch: pa.RecordBatch) -> list[int | None]:
        """Return the labels of a batch as numbers of the network's data; None for a missing label or unknown name."""
        column = batch.column("label")
        if _is_text(column.type):
            return [self.names.get(text) for text in column.to_pylist()]
        labels: list[int | None] = column.to_pylist()
        return labels

    @property
    def renamed(self) -> dict[str, str]:
        """Name in the file -> name in the result, for columns that are renamed."""
        return {old: new for old, new in self.carried.items() if old != new}

    def batches(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the batches of the file, each with the number of its first row.

        Raises:
            TaskError: If the file cannot be read to its end.
        """
        names = [self.image, *(["label"] if self.is_labelled else []), *self.carried]
        first = 0
        try:
            with pq.ParquetFile(self.path) as file:
                for batch in file.iter_batches(_BATCH, columns=names):
                    if batch.num_rows:
                        yield first, batch
                        first += batch.num_rows
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(self.path, error) from error

    def pixels(self, first: int, batch: pa.RecordBatch, image: tuple[int, int, int]) -> NDArray[np.float32]:
        """Decode the images of a batch for a network that takes images of this size.

        Args:
            first: Number of the batch's first row.
            batch: A batch from `batches`.
            image: Channels, height and width.

        Raises:
            TaskError: If an image cannot be read, has another size, or is in colour while the network takes grey.
        """
        values = batch.column(self.image).to_pylist()
        return np.stack([self._fitted(value, row, image) for row, value in enumerate(values, first)])

    def _fitted(self, value: object, row: int, image: tuple[int, int, int]) -> NDArray[np.float32]:
        array = decoded(value, self.path, row)
        channels, height, width = image
        if array.shape[1:] != (height, width):
            found = "×".join(map(str, array.shape[1:]))
            raise TaskError(
                f"row {row} of {self.path} is an image of {found} pixels (height × width), but the network takes "
                f"{height}×{width}. Resize the images, or show them to a network that learned images of their size."
            )
        if len(array) == channels:
            return array
        if len(array) == 1:
            return np.repeat(array, channels, axis=0)  # grey as equal red, green and blue
        if channels == 1 and (array == array[:1]).all():
            return array[:1]  # a grey image that is stored in colour
        raise TaskError(
            f"row {row} of {self.path} is an image in colour, but the network takes images of {channels} "
            f"channel{'s' if channels > 1 else ''}. Make the images grey, as with Pillow's `convert('L')`, or show "
            "them to a network that learned images in colour."
        )


def stimuli(path: Path, labels: Sequence[int] = (), class_names: Sequence[str] = ()) -> Stimuli:
    """Inspect a Parquet file with images; its labels may be missing.

    Args:
        path: The file.
        labels: Labels of the network's classes in its data.
        class_names: Names of the classes, if they have any; the file's labels may then be names.

    Raises:
        TaskError: If the file cannot be read, has no images, or has unusable labels or column names.
    """
    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error
    names = schema.names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TaskError(f"{path} has several columns called {twice[0]!r}. Rename all but one of them.")
    image = image_column(names)
    if image is None:
        raise TaskError(f"{path} needs an image column 'image' or 'img', but has {', '.join(names) or 'no columns'}")
    if rows == 0:
        raise TaskError(f"{path} holds no images")
    is_labelled = "label" in names
    is_named = is_labelled and bool(class_names) and _is_text(schema.field("label").type)
    if is_labelled and not is_named and not pa.types.is_integer(schema.field("label").type):
        raise TaskError(
            f"labels must be integers, but column 'label' of {path} is {schema.field('label').type}. "
            "Write the labels that the network learned there, or give the column another name."
        )
    others = [name for name in names if name not in (image, "label")]
    carried = {name: _free(name) for name in others if _is_single(schema.field(name).type)}
    if len(set(carried.values())) < len(carried):
        old, new = next((old, new) for old, new in carried.items() if old != new and new in carried)
        raise TaskError(
            f"column {old!r} of {path} would be called {new!r} beside what the network does, but {path} has a column "
            "of that name too. Rename one of them."
        )
    return Stimuli(
        path,
        image,
        is_labelled,
        carried,
        tuple(name for name in others if name not in carried),
        dict(zip(class_names, labels, strict=False)),
    )


def _unreadable(path: Path, error: Exception) -> TaskError:
    reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
    return TaskError(f"cannot read images from {path}: {reason}. Give a Parquet file with a column image.")


def _free(name: str) -> str:
    """Return a column's name, with a prefix if the name is taken."""
    return f"{RENAMED}{name}" if name in _OWN or name.startswith(PROBABILITY) else name


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_single(kind: pa.DataType) -> bool:
    is_bytes = (
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    )  # bytes are mostly other pictures, and would make a small table as large as the images
    return not (pa.types.is_nested(kind) or is_bytes or pa.types.is_binary_view(kind))


@torch.no_grad()
def shown(network: Lattice, labels: Sequence[int], images: Stimuli, *, by_step: bool = False) -> pa.Table:
    """Show a network all images of a file.

    Args:
        network: A population of one.
        labels: Labels of the network's classes in its data.
        images: The file.
        by_step: Whether to return every step of each image.

    Returns:
        A row for each image, or for each image and step: `image`, the row number; `path`, if the file has paths; the
        file's other columns, and its `label`; the columns of `probing.look`, with `answer` as a label of the data;
        `right`, null if the label is missing or unknown to the network; `brightness` and `edges`. By step also the
        columns of `probing.looked_by_step`, and `step_right`.

    Raises:
        TaskError: As the methods of `Stimuli` do.
    """
    tables = []
    for first, batch in images.batches():
        pixels = images.pixels(first, batch, network.window.image)
        said = network(torch.from_numpy(pixels).to(network.readout_bias))
        table = _rows(images, first, batch, _Names(labels, images.names), {**looked(network, said)}, pixels)
        if by_step:
            table = _steps(table, _Names(labels, images.names), looked_by_step(network, said))
        tables.append(table)
    table = pa.concat_tables(tables)
    return table if table["path"].null_count < table.num_rows else table.drop_columns(["path"])


@dataclass(frozen=True)
class _Names:
    """Labels and names of a network's classes in its data."""

    labels: Sequence[int]
    numbers: Mapping[str, int]
    known: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", frozenset(self.labels))

    def of(self, classes: torch.Tensor) -> pa.Array:
        return pa.array(np.asarray(self.labels, np.int64)[classes.numpy()])

    def is_right(self, answers: pa.Array, labels: pa.ChunkedArray) -> pa.Array:
        """Return whether each answer is the label; null if the label is missing or unknown to the network."""
        found = [self.numbers.get(label) if isinstance(label, str) else label for label in labels.to_pylist()]
        pairs = zip(answers.to_pylist(), found, strict=True)
        return pa.array([answer == label if label in self.known else None for answer, label in pairs], pa.bool_())


def _rows(
    images: Stimuli,
    first: int,
    batch: pa.RecordBatch,
    names: _Names,
    seen: Mapping[str, torch.Tensor],
    pixels: NDArray[np.float32],
) -> pa.Table:
    """Return a row for each image of a batch."""
    count = batch.num_rows
    columns = {"image": pa.array(np.arange(first, first + count)), "path": _paths(batch.column(images.image))}
    columns |= {new: batch.column(old) for old, new in images.carried.items()}
    answer = names.of(seen["answer"])
    if images.is_labelled:
        columns["label"] = batch.column("label")
    columns["answer"] = answer
    if images.is_labelled:
        columns["right"] = names.is_right(answer, batch.column("label"))
    for column in LOOK:
        if column.name != "answer":
            columns[column.name] = pa.array(seen[column.name].numpy()).cast(column.type)
    columns |= {name: pa.array(values).cast(pa.float32()) for name, values in pictures(pixels).items()}
    return pa.table(columns)


def _paths(images: pa.Array) -> pa.Array:
    """Return the paths in an image column; null where it has none."""
    kind = images.type
    if pa.types.is_struct(kind) and kind.get_field_index("path") >= 0:
        paths = images.field(kind.get_field_index("path"))
        if pa.types.is_string(paths.type) or pa.types.is_large_string(paths.type):
            return paths.cast(pa.string())
    return pa.nulls(len(images), pa.string())


def _steps(table: pa.Table, names: _Names, said: Mapping[str, torch.Tensor]) -> pa.Table:
    """Return a row for each image and step, the steps of an image one after the other."""
    count, steps = said["step_answer"].shape
    table = table.take(pa.array(np.repeat(np.arange(count), steps)))
    answer = names.of(said["step_answer"].reshape(-1))
    columns = {"step": pa.array(np.tile(np.arange(1, steps + 1), count)).cast(pa.int32())}
    columns["step_probability"] = _float(said["step_probability"])
    columns["step_answer"] = answer
    if "label" in table.column_names:
        columns["step_right"] = names.is_right(answer, table["label"])
    columns["step_confidence"] = _float(said["step_confidence"])
    columns["step_uncertainty"] = _float(said["step_uncertainty"])
    for number, label in enumerate(names.labels):
        columns[f"{PROBABILITY}{label}"] = _float(said["probability"][..., number])
    for name, values in columns.items():
        table = table.append_column(name, values)
    return table


def _float(values: torch.Tensor) -> pa.Array:
    return pa.array(values.reshape(-1).float().numpy())


def labelled(images: Stimuli, labels: Sequence[int], image: tuple[int, int, int]) -> Images:
    """Return the images of a file whose labels a network knows.

    Args:
        images: The file.
        labels: Labels of the network's classes in its data.
        image: Channels, height and width that the network takes.

    Raises:
        TaskError: If there are no such images, or as the methods of `Stimuli` do.
    """
    if not images.is_labelled:
        raise TaskError(f"{images.path} has no column 'label', so it cannot be said which answers are right")
    numbers, pixels, classes = {label: number for number, label in enumerate(labels)}, [], []
    for first, batch in images.batches():
        found = [None if label is None else numbers.get(label) for label in images.labels(batch)]
        is_known = np.asarray([one is not None for one in found])
        pixels.append(images.pixels(first, batch, image)[is_known])
        classes += [one for one in found if one is not None]
    if not classes:
        raise TaskError(f"{images.path} holds none of the labels that the network knows: {', '.join(map(str, labels))}")
    return Images(torch.from_numpy(np.concatenate(pixels)), torch.tensor(classes))
