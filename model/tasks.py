"""Tasks: real images with labels, made harder by the number of classes, by hiding a part, or by noise.

`digits` is embedded: scikit-learn's 1,797 handwritten digits of 8 × 8 pixels (UCI optical recognition of handwritten
digits). Any local Parquet file in Hugging Face's image layout works as well: an image column `image` or `img`
holding encoded bytes, and an integer column `label`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sweeper.model.errors import TaskError
from sweeper.model.image_files import ImageSource, digits, image_file

#: Share of a single file's images that is held out for testing.
TEST_SHARE = 0.25

#: Share of the images left for training that is held out for validation, where no file is given for it.
VALIDATION_SHARE = 0.2

#: Streams that say which images are held out, the same for every task: another number holds out others.
_TEST_STREAM, _VALIDATION_STREAM = 0, 1


@dataclass(frozen=True)
class TaskDefinition:
    """What to load and how hard to make it.

    Attributes:
        data: `digits`, or the path of a Parquet file with training images.
        validation: Parquet file with images that decide; None holds out a fifth of the images for training.
        test: Parquet file with images that decide nothing; None holds out a quarter of `data`, before validation.
        classes: Use the classes labelled 0 to classes − 1 and leave out every row with another label, a negative
            one included. None uses all; they must then be labelled from 0 without a gap.
        occlusion: Share of each image's area that a grey square hides, 0 ≤ occlusion < 1.
        noise: Standard deviation of Gaussian pixel noise, in units of the pixel range 0–1.
        train_images, validation_images, test_images: Use so many images at most; None uses all.
    """

    data: str = "digits"
    validation: str | None = None
    test: str | None = None
    classes: int | None = None
    occlusion: float = 0.0
    noise: float = 0.0
    train_images: int | None = None
    validation_images: int | None = None
    test_images: int | None = None


@dataclass(frozen=True)
class Images:
    """N images and their labels.

    Attributes:
        pixels: Shape (N, C, H, W), float32, 0–1 before noise.
        labels: Shape (N,), int64, from 0.
    """

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str | torch.device, dtype: torch.dtype = torch.float32) -> Images:
        """Return the same images on another device, with pixels of another type."""
        return Images(self.pixels.to(device, dtype), self.labels.to(device))


@dataclass(frozen=True)
class Task:
    """The images of one task: three sets that share none.

    Attributes:
        train: What networks learn.
        validation: What every decision is taken by: stopping, searching, comparing.
        test: What is measured once and reported, and decides nothing.
        classes: How many there are to tell apart.
        fingerprint: Hash of every pixel and label, so that results can be traced to their data.
    """

    train: Images
    validation: Images
    test: Images
    classes: int
    fingerprint: str

    @property
    def image(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        _, c, h, w = self.train.pixels.shape
        return c, h, w


@dataclass(frozen=True)
class _Part:
    """One of the three sets before images are chosen: its name, where its images come from, and how many at most."""

    name: str
    file: str
    source: ImageSource
    limit: int | None
    stream: int


def load_task(definition: TaskDefinition) -> Task:
    """Read, select and degrade the images of a task. The same definition always gives the same pixels.

    Raises:
        TaskError: If the data cannot be read, or lack what the definition asks for.
    """
    parts = _parts(definition)
    classes = _count_classes(definition, parts)
    chosen = {
        part.name: _select(part.source, classes, part.limit, definition, np.random.default_rng([0, part.stream]))
        for part in parts
    }
    for part in parts[1:]:
        sizes = [tuple(chosen[name].pixels.shape[1:]) for name in (parts[0].name, part.name)]
        if sizes[0] != sizes[1]:
            raise TaskError(
                f"training and {part.name} images must have the same size, but {definition.data} holds {sizes[0]} "
                f"and {part.file} {sizes[1]} (channels, height, width)"
            )
    digest = hashlib.sha256()
    for images in chosen.values():
        digest.update(images.pixels.numpy().tobytes())
        digest.update(images.labels.numpy().tobytes())
    return Task(chosen["training"], chosen["validation"], chosen["test"], classes, digest.hexdigest()[:16])


def _parts(definition: TaskDefinition) -> list[_Part]:
    """Return the sets for training, validation and testing, in this order."""
    data = definition.data
    named = [str(Path(file).absolute()) for file in (data, definition.validation, definition.test) if file]
    if len(set(named)) < len(named):
        raise TaskError(f"training, validation and test images must come from different files, but got {named}")
    train = digits() if data == "digits" else image_file(Path(data))
    if definition.test is None:
        # Before validation images are taken out: which images are the test must not depend on how validation is done.
        train, test = _hold_out(train, TEST_SHARE, _TEST_STREAM)
    else:
        test = image_file(Path(definition.test))
    if definition.validation is None:
        train, validation = _hold_out(train, VALIDATION_SHARE, _VALIDATION_STREAM, least=1)
    else:
        validation = image_file(Path(definition.validation))
    return [
        _Part("training", data, train, definition.train_images, 0),
        _Part("validation", definition.validation or data, validation, definition.validation_images, 2),
        _Part("test", definition.test or data, test, definition.test_images, 1),
    ]


def _hold_out(source: ImageSource, share: float, stream: int, least: int = 0) -> tuple[ImageSource, ImageSource]:
    """Split off images: the same share of every class, always the same images.

    Args:
        source: What to split.
        share: Of each class's images, what is split off.
        stream: Which images.
        least: Of each class, so many at least, as long as one is left.
    """
    rng = np.random.default_rng(stream)
    is_out = np.zeros(len(source.labels), dtype=bool)
    for label in np.unique(source.labels):
        members = rng.permutation(np.flatnonzero(source.labels == label))
        is_out[members[: max(round(share * len(members)), min(least, len(members) - 1))]] = True
    return source.rows(np.flatnonzero(~is_out)), source.rows(np.flatnonzero(is_out))


def _count_classes(definition: TaskDefinition, parts: Sequence[_Part]) -> int:
    present = np.unique(parts[0].source.labels)
    classes = len(present) if definition.classes is None else definition.classes
    missing = sorted(set(range(classes)) - set(present.tolist()))
    if classes < 2 or missing:
        raise TaskError(
            f"classes={definition.classes} needs at least 2 classes, labelled 0 to {max(classes, 2) - 1}, but "
            f"{definition.data} holds the labels {present.tolist()}. Ask for fewer classes."
        )
    for part in parts[1:]:
        unseen = sorted(set(range(classes)) - set(np.unique(part.source.labels).tolist()))
        if unseen:
            raise TaskError(
                f"the {part.name} images of {part.file} hold none of class {unseen[0]}, "
                f"so its accuracy cannot be measured. "
                + (f"Ask for at most {unseen[0]} classes." if unseen[0] >= 2 else "Give a file that holds every class.")
            )
    return classes


def _select(
    source: ImageSource, classes: int, limit: int | None, definition: TaskDefinition, rng: np.random.Generator
) -> Images:
    """Keep the wanted classes and number of images, then hide a part and add noise."""
    index = np.flatnonzero((source.labels >= 0) & (source.labels < classes))
    if limit is not None and limit < len(index):
        index = np.sort(rng.permutation(index)[:limit])
    pixels = source.pixels(index)
    if definition.occlusion:
        pixels = occlude(pixels, definition.occlusion, rng)
    if definition.noise:
        pixels = pixels + rng.normal(0, definition.noise, pixels.shape).astype(np.float32)
    return Images(torch.from_numpy(pixels), torch.from_numpy(source.labels[index]))


def occlude(pixels: NDArray[np.float32], share: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Hide a square of each image, at a random place, behind mid-grey.

    Args:
        pixels: Shape (N, C, H, W); not changed.
        share: Share of the image's area to hide; met as closely as whole pixels allow.
        rng: Draws the places.

    Returns:
        A new array of the same shape.
    """
    hidden = pixels.copy()
    height, width = pixels.shape[-2:]
    high, wide = (round(side * share**0.5) for side in (height, width))
    tops = rng.integers(0, height - high + 1, len(pixels))
    lefts = rng.integers(0, width - wide + 1, len(pixels))
    for image, top, left in zip(hidden, tops, lefts, strict=True):
        image[:, top : top + high, left : left + wide] = 0.5
    return hidden
