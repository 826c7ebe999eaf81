"""Labels of data: a number for each class, and its name if it has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.model.errors import TaskError

Labels = NDArray[np.int64]

#: Largest label.
_LARGEST = 2**62

#: Longest class name, in characters; longer names are cut.
_LONGEST_NAME = 100


@dataclass(frozen=True)
class Named:
    """The labels of N images.

    Attributes:
        labels: Shape (N,), int64.
        names: Label -> name, for the labels that have a name.
    """

    labels: Labels
    names: Mapping[int, str] = field(default_factory=dict)

    def like(self, first: Named) -> Named:
        """Renumber the labels so that names have the numbers of another set; names that it lacks come after its own."""
        if not self.names or not first.names or dict(self.names) == dict(first.names):
            return self
        numbers = {name: number for number, name in first.names.items()}
        free, moved = max(first.names) + 1, dict[int, int]()
        for number, name in sorted(self.names.items()):
            if name not in numbers:
                numbers[name], free = free, free + 1
            moved[number] = numbers[name]
        known = np.array(sorted(moved), np.int64)
        to = np.array([moved[number] for number in known.tolist()], np.int64)
        at = np.clip(np.searchsorted(known, self.labels), 0, len(known) - 1)
        labels = np.where(known[at] == self.labels, to[at], self.labels)
        return Named(labels, {number: name for name, number in numbers.items()})


def numbered(values: Sequence[object], place: str) -> Named:
    """Convert labels that are texts to numbers: to their values if all are integers, else to their sorted positions.

    Raises:
        TaskError: If a label is empty.
    """
    texts = [printable(str(value)) for value in values]
    names = sorted(set(texts))
    if names and not names[0].strip():
        raise TaskError(f"every image needs a label, but labels of {place} are empty, the first in row {_empty(texts)}")
    if names and all(_is_number(name) for name in names) and len({int(name) for name in names}) == len(names):
        return Named(np.array([int(text) for text in texts], np.int64))
    numbers = {name: number for number, name in enumerate(names)}
    return Named(np.array([numbers[text] for text in texts], np.int64), dict(enumerate(names)))


def with_names(labels: Labels, names: Sequence[object]) -> Named:
    """Attach names to labels that are indices of names, from 0; repeated names get their index appended."""
    texts = [printable(str(name)) for name in names]
    texts = [name if name not in texts[:number] else f"{name} ({number})" for number, name in enumerate(texts)]
    if all(text == str(number) for number, text in enumerate(texts)):  # as in MNIST: the names only repeat the numbers
        return Named(labels)
    return Named(labels, dict(enumerate(texts)))


def notes_on(labels: Labels, place: str) -> tuple[str, ...]:
    """Return notes on unusual labels: labels that do not begin at 0, or have gaps."""
    present = np.unique(labels[labels >= 0])
    if not len(present):
        return ()
    first, last = int(present[0]), int(present[-1])
    notes = []
    if first:
        notes.append(f"the labels of {place} begin at {first}: class 0 of a network is label {first}")
    if last - first + 1 > len(present):
        notes.append(
            f"the labels of {place} have gaps: {len(present)} of the numbers from {first} to {last}; the others are no "
            "classes"
        )
    return tuple(notes)


def whole(values: NDArray[Any], place: str) -> Named:
    """Return the labels of an array: integers, texts, or one-hot rows.

    Raises:
        TaskError: If the array holds none of these, or not one label for each image.
    """
    flat = values.reshape(-1) if values.ndim == 2 and 1 in values.shape else values
    if flat.ndim == 2 and flat.dtype.kind in "biuf" and np.isin(flat, (0, 1)).all() and (flat.sum(1) == 1).all():
        return Named(flat.argmax(1).astype(np.int64))  # one-hot rows
    if flat.ndim != 1:
        raise TaskError(f"the labels of {place} must be one for each image, but are an array of {values.shape}")
    if flat.dtype.kind in "US":
        texts = flat.tolist()
        return numbered([text.decode(errors="replace") if isinstance(text, bytes) else text for text in texts], place)
    if flat.dtype.kind == "f" and np.isfinite(flat).all() and (flat == np.round(flat)).all():
        flat = flat.astype(np.int64)
    if flat.dtype.kind not in "biu" or (flat.dtype.kind == "u" and len(flat) and int(flat.max()) > _LARGEST):
        raise TaskError(f"labels must be whole numbers or texts, but those of {place} are {values.dtype}")
    return Named(flat.astype(np.int64))


def printable(text: str) -> str:
    """Cut a text, and replace unprintable characters, so that any text is safe to show in a terminal."""
    text = text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 19


def _empty(texts: Sequence[str]) -> int:
    return next(row for row, text in enumerate(texts) if not text.strip())
