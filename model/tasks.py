"""Tasks: real images with labels, made harder by the number of classes, and by what hides or changes a part of them.

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

from sweeper.model.degradations import Degradation, degraded
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
        classes: Which labels to tell apart, none of them negative; rows with others are left out. A number draws so
            many of the labels that there are; None uses all.
        class_seed: Which ones are drawn: sets of another seed or another number are drawn anew.
        occlusion: Share of each image's area that a grey square hides, 0 ≤ occlusion < 1.
        noise: Standard deviation of Gaussian pixel noise, in units of the pixel range 0–1.
        degradation, level: One of `degradations.KINDS`, and how much of it.
        train_images, validation_images, test_images: Use so many images at most; None uses all.
    """

    data: str = "digits"
    validation: str | None = None
    test: str | None = None
    classes: int | tuple[int, ...] | None = None
    class_seed: int = 0
    occlusion: float = 0.0
    noise: float = 0.0
    degradation: str | None = None
    level: float = 0.0
    train_images: int | None = None
    validation_images: int | None = None
    test_images: int | None = None

    @property
    def degradations(self) -> tuple[Degradation, ...]:
        """What is done to the images, in this order.

        Raises:
            TaskError: If a kind or level cannot be.
        """
        asked = [("occlude_grey", self.occlusion), ("noise", self.noise)]
        if self.degradation is not None:
            asked.insert(1, (self.degradation, self.level))
        return tuple(Degradation(kind, level) for kind, level in asked if level)


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
        train: What networks learn, before `degradations`.
        validation: What every decision is taken by: stopping, searching, comparing.
        test: What is measured once and reported, and decides nothing.
        classes: How many there are to tell apart.
        fingerprint: Hash of every pixel and label, so that results can be traced to their data.
        labels: What the data call the classes, ascending; class k of the images is `labels[k]`.
        degradations: What is drawn anew each time a training image is shown. The images for validation and testing have
            it already, drawn once.
    """

    train: Images
    validation: Images
    test: Images
    classes: int
    fingerprint: str
    labels: tuple[int, ...] = ()
    degradations: tuple[Degradation, ...] = ()

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
    labels, degradations = _labels(definition, parts), definition.degradations
    chosen = {}
    for part in parts:
        images = _select(part, labels)
        if part.name != "training":
            drawn = np.random.default_rng([1, part.stream])
            pixels = degraded(images.pixels.numpy(), degradations, drawn)
            images = Images(torch.from_numpy(pixels), images.labels)
        chosen[part.name] = images
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
    sets, fingerprint = (chosen["training"], chosen["validation"], chosen["test"]), digest.hexdigest()[:16]
    return Task(*sets, len(labels), fingerprint, tuple(labels.tolist()), degradations)


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


def _labels(definition: TaskDefinition, parts: Sequence[_Part]) -> NDArray[np.int64]:
    """Return the labels to tell apart, ascending; all three sets hold each of them."""
    asked, data = definition.classes, definition.data
    present = np.unique(parts[0].source.labels)
    if asked is None:
        if len(present) and present[0] < 0:
            raise TaskError(
                f"labels must not be negative, but {data} holds the labels {_few(present)}. "
                "Say with `classes` which of them are meant, as in [0, 1, 2]; rows with others are left out."
            )
        labels = present
    elif isinstance(asked, int):
        labels = present[present >= 0]
        if asked <= len(labels):
            rng = np.random.default_rng([definition.class_seed, asked])
            labels = np.sort(rng.permutation(labels)[:asked])
        if len(labels) != asked:
            raise TaskError(
                f"classes={asked} needs so many classes, but {data} holds the labels {_few(present)}. "
                "Ask for fewer classes."
            )
    else:
        labels = np.unique(np.asarray(asked, np.int64))
        if missing := sorted(set(labels.tolist()) - set(present.tolist())):
            raise TaskError(
                f"classes={list(asked)} names the label {missing[0]}, but {data} holds the labels {_few(present)}. "
                "Name some of these."
            )
    if len(labels) < 2:
        raise TaskError(f"a task needs at least 2 classes, but {data} holds the labels {_few(present)}")
    for part in parts[1:]:
        unseen = sorted(set(labels.tolist()) - set(part.source.labels.tolist()))
        if unseen:
            raise TaskError(
                f"the {part.name} images of {part.file} hold none of class {unseen[0]}, "
                "so its accuracy cannot be measured. Leave it out of `classes`, or give a file that holds it."
            )
    return labels


def _few(labels: NDArray[np.int64]) -> str:
    """Return labels in words, however many there are."""
    return str(labels.tolist()) if len(labels) <= 20 else f"{labels[0]} to {labels[-1]}, {len(labels)} of them"


def _select(part: _Part, labels: NDArray[np.int64]) -> Images:
    """Keep the wanted classes and number of images; a label becomes its number among those that are wanted."""
    source, rng = part.source, np.random.default_rng([0, part.stream])
    index = np.flatnonzero(np.isin(source.labels, labels))
    if part.limit is not None and part.limit < len(index):
        index = np.sort(rng.permutation(index)[: part.limit])
    classes = np.searchsorted(labels, source.labels[index])
    return Images(torch.from_numpy(source.pixels(index)), torch.from_numpy(classes))
