"""Tasks: real images with labels, made harder by more classes and by degradations.

`digits` is embedded: scikit-learn's 1,797 handwritten digits of 8 × 8 pixels (UCI optical recognition of handwritten
digits). `model.sources` reads all other data.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sweeper.model.decoding import Decoder
from sweeper.model.degradations import Degradation, Kind, degrade_into
from sweeper.model.errors import TaskError
from sweeper.model.image_files import digits
from sweeper.model.image_source import ImageSource
from sweeper.model.image_store import Allocate, Gathered, Held, ImageStore, Wanted, gather
from sweeper.model.image_tables import Columns
from sweeper.model.images import Images as Images  # exported here too, since callers import it from here
from sweeper.model.images import as_floats, brightness, levels_of
from sweeper.model.label_names import notes_on
from sweeper.model.places import File, Reach
from sweeper.model.sources import aligned, files_of, image_sets, is_function

#: Share of the images that is held out for testing, if the data have no test set.
TEST_SHARE = 0.25

#: Share of the remaining training images that is held out for validation, if the data have no validation set.
VALIDATION_SHARE = 0.2

#: Random streams that choose the held-out images, the same for every task.
_TEST_STREAM, _VALIDATION_STREAM = 0, 1

#: Name of the embedded data.
DIGITS = "digits"

#: The three sets, in the order in which they are hashed.
SETS = ("training", "validation", "test")

#: Version of the conversion of files to pixels; pixels kept under another version are made anew.
_PIXELS = 1

#: Age below which files may still change, in seconds. Another change might leave their time as it is, so pixels from
#: such files are not kept.
_SETTLED_S = 2.0

#: Number of images that are hashed or compared at once; bounds the memory.
_BLOCK = 500

#: Mean pixel, 0–1, below which images look black, and above which they look white.
_DARK, _BRIGHT = 0.02, 0.98


@dataclass(frozen=True)
class TaskDefinition:
    """What to load and how hard to make it.

    Attributes:
        data: `digits`, or the location of the training images, see `model.sources`. A location with several sets also
            provides the validation and test images.
        validation: Location of the images that decisions are based on. None takes the set of `data`, or holds out a
            fifth of the training images.
        test: Location of the images that decide nothing. None takes the set of `data`, or holds out a quarter of it,
            before validation.
        image_column, label_column: Columns of tables; None takes columns with a usual name.
        resize, crop, background: See `model.decoding.Decoder`.
        classes: Labels to tell apart, or their names; rows with other labels are left out. A number n draws n of the
            labels at random; None uses all. Labels must not be negative unless they are listed.
        class_seed: Seed of the drawn labels; sets of another seed or another size are drawn independently.
        occlusion: Share of each image's area that a grey square hides, 0 ≤ occlusion < 1.
        noise: Standard deviation of Gaussian pixel noise, in units of the pixel range 0–1.
        degradation, level: One of `degradations.KINDS`, or a user's own, and its level.
        train_images, validation_images, test_images: Most images to use of each set; None uses all.
        own_degradation: The user's own degradation that `degradation` names; None for one of `KINDS`.
    """

    data: str = "digits"
    validation: str | None = None
    test: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    resize: tuple[int, ...] | None = None
    crop: tuple[int, int] | None = None
    background: tuple[int, int, int] | None = None
    classes: int | tuple[int | str, ...] | None = None
    class_seed: int = 0
    occlusion: float = 0.0
    noise: float = 0.0
    degradation: str | None = None
    level: float = 0.0
    train_images: int | None = None
    validation_images: int | None = None
    test_images: int | None = None
    own_degradation: Kind | None = None

    @property
    def degradations(self) -> tuple[Degradation, ...]:
        """Degradations of the images, in the order in which they are applied.

        Raises:
            TaskError: If a kind does not exist, or does not have the level.
        """
        asked = [("occlude_grey", self.occlusion), ("noise", self.noise)]
        if self.degradation is not None:
            asked.insert(1, (self.degradation, self.level))
        own = {self.degradation: self.own_degradation}
        return tuple(Degradation(kind, level, own.get(kind)) for kind, level in asked if level)

    @property
    def places(self) -> tuple[str, ...]:
        """Locations of the images, without the embedded ones."""
        return tuple(place for place in (self.data, self.validation, self.test) if place and place != DIGITS)


@dataclass(frozen=True)
class Task:
    """The images of one task: three sets without common images.

    Attributes:
        train: Images that networks learn, before `degradations`.
        validation: Images that every decision is based on: stopping, searching, comparing.
        test: Images that results are reported on once; they decide nothing.
        classes: Number of classes.
        fingerprint: Hash of every pixel and label, so that results can be traced to their data.
        labels: Labels of the classes in the data, ascending; class k of the images is `labels[k]`.
        names: Names of the classes, if the data have names: class k is `names[k]`; otherwise empty.
        notes: Conversions that made images alike, and unusual labels; one sentence each.
        warnings: Suspicious properties of the images; one sentence each.
        degradations: Degradations drawn anew each time a training image is shown. The validation and test images
            already contain them, drawn once.
    """

    train: Images
    validation: Images
    test: Images
    classes: int
    fingerprint: str
    labels: tuple[int, ...] = ()
    degradations: tuple[Degradation, ...] = ()
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def image(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        _, c, h, w = self.train.pixels.shape
        return c, h, w


@dataclass(frozen=True)
class _Part:
    """One of the three sets before images are chosen.

    Attributes:
        name: Name of the set.
        source: Source of its images.
        rows: Rows of the source that belong to the set, ascending.
        limit: Most images to use; None for all.
        stream: Random stream that chooses them if there are more.
    """

    name: str
    source: ImageSource
    rows: NDArray[np.int64]
    limit: int | None
    stream: int

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels of its rows."""
        return self.source.labels[self.rows]

    def held_out(self, share: float, stream: int, least: int = 0) -> tuple[_Part, _Part]:
        """Split off the same share of every class, always the same images.

        Args:
            share: Share of each class's images to split off.
            stream: Random stream that chooses the images.
            least: Least number of images of each class to split off, as long as one is left.

        Returns:
            The remaining part, and the part split off.
        """
        rng = np.random.default_rng(stream)
        labels = self.labels
        is_out = np.zeros(len(labels), dtype=bool)
        for label in np.unique(labels):
            members = rng.permutation(np.flatnonzero(labels == label))
            is_out[members[: max(round(share * len(members)), min(least, len(members) - 1))]] = True
        return replace(self, rows=self.rows[~is_out]), replace(self, rows=self.rows[is_out])

    def chosen(self, labels: NDArray[np.int64]) -> Wanted:
        """Keep only images of these labels, and at most `limit` of them."""
        rng = np.random.default_rng([0, self.stream])
        index = np.flatnonzero(np.isin(self.labels, labels))
        if self.limit is not None and self.limit < len(index):
            index = np.sort(rng.permutation(index)[: self.limit])
        return Wanted(self.name, self.source, self.rows[index])


def load_task(definition: TaskDefinition, cache: Path | None = None, reach: Reach | None = None) -> Task:
    """Read, select and degrade the images of a task. The same definition always gives the same pixels.

    Args:
        definition: What to load.
        cache: Folder for pixels, which all processes of a machine then share; None keeps pixels in this process.
        reach: How images at a URI are reached.

    Raises:
        TaskError: If the data cannot be read, or lack what the definition asks for.
    """
    degradations = definition.degradations
    files = [file for place in definition.places for file in files_of(place, reach)]
    # A function's result may depend on anything, so no key can stand for it.
    is_kept = cache is not None and files and not any(map(is_function, definition.places))
    store, begun = ImageStore(cache if is_kept else None), time.time()

    def is_settled() -> bool:
        again = [file for place in definition.places for file in files_of(place, reach)]
        return again == files and all(file.changed_s < begun - _SETTLED_S for file in files)

    key = _key(definition, files)
    held = store.held(key, lambda allocate: _built(definition, reach, allocate), is_settled)
    shown = held
    if degradations:
        more = _digest([key, [{"kind": one.kind, "level": one.level} for one in degradations]])
        # A user's degradation may depend on anything, so no key can stand for it.
        shared = store if definition.own_degradation is None else ImageStore(None)
        shown = shared.held(more, lambda allocate: _degraded(held, degradations, allocate), is_settled)
    return _task(held, shown, degradations)


def _key(definition: TaskDefinition, files: Iterable[File]) -> str:
    """Return a key that stands for the pixels of a task before degradations."""
    hard = {"occlusion", "noise", "degradation", "level", "own_degradation"}
    said = {field.name: getattr(definition, field.name) for field in fields(definition) if field.name not in hard}
    return _digest([_PIXELS, said, [[file.path, file.size, file.changed] for file in files]])


def _digest(said: object) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]


def _task(held: Held, shown: Held, degradations: tuple[Degradation, ...]) -> Task:
    """Return a task from kept arrays: training images as they are, the others degraded."""
    facts = held.facts
    sets = dict[str, Images]()
    for name in SETS:
        pixels = (held if name == "training" else shown).arrays[name]
        is_whole = pixels.dtype == np.uint8
        levels = tuple(map(tuple, facts["levels"][name])) if is_whole else None
        labels = torch.from_numpy(held.arrays[_labels_name(name)])
        sets[name] = Images(torch.from_numpy(pixels), labels, levels)
    return Task(
        sets["training"],
        sets["validation"],
        sets["test"],
        classes=len(facts["labels"]),
        fingerprint=shown.facts["fingerprint"],
        labels=tuple(facts["labels"]),
        degradations=degradations,
        names=tuple(facts["names"]),
        notes=tuple(facts["notes"]),
        warnings=tuple(facts["warnings"]),
    )


def _labels_name(name: str) -> str:
    return f"labels of {name}"


def _built(definition: TaskDefinition, reach: Reach | None, allocate: Allocate) -> Mapping[str, Any]:
    """Fill arrays with pixels and classes of the three sets, and return facts about them."""
    parts = _parts(definition, reach)
    labels = _labels(definition, parts)
    chosen = [part.chosen(labels) for part in parts]
    arrays: dict[str, NDArray[Any]] = {}

    def all_allocated(shapes: Mapping[str, tuple[tuple[int, ...], Any]]) -> dict[str, NDArray[Any]]:
        classes = {_labels_name(one.name): ((len(one.rows),), np.int64) for one in chosen}
        arrays.update(allocate({**shapes, **classes}))
        return dict(arrays)  # copies, since `gather` still reads earlier arrays when it asks for larger ones

    gathered = gather(chosen, all_allocated)
    for one in chosen:
        # A label becomes its index among the chosen labels.
        arrays[_labels_name(one.name)][:] = np.searchsorted(labels, one.source.labels[one.rows])
    with ThreadPoolExecutor(1) as aside:  # in parallel, since both take seconds for many images
        hashed = aside.submit(_fingerprint, arrays, arrays)
        levels = {name: levels_of(arrays[name]) if arrays[name].dtype == np.uint8 else () for name in SETS}
        fingerprint = hashed.result()
    names = parts[0].source.named.names
    return {
        "labels": labels.tolist(),
        "names": [names.get(label, str(label)) for label in labels.tolist()] if names else [],
        "levels": levels,
        "fingerprint": fingerprint,
        "notes": _notes(parts, gathered),
        "warnings": _warnings(chosen, arrays, levels, gathered, labels, names),
    }


def _degraded(held: Held, degradations: Sequence[Degradation], allocate: Allocate) -> Mapping[str, Any]:
    """Fill arrays with the images for validation and testing, degraded once."""
    named = [name for name in SETS if name != "training"]
    arrays = allocate({name: (held.arrays[name].shape, np.float32) for name in named})
    for name, stream in zip(named, (2, 1), strict=True):
        degrade_into(arrays[name], held.arrays[name], degradations, np.random.default_rng([1, stream]))
    return {"fingerprint": _fingerprint({**held.arrays, **arrays}, held.arrays)}


def _fingerprint(pixels: Mapping[str, NDArray[Any]], labels: Mapping[str, NDArray[Any]]) -> str:
    """Return the hash of every pixel, as networks see it, and of every class."""
    digest = hashlib.sha256()
    for name in SETS:
        array = pixels[name]
        for first in range(0, len(array), _BLOCK):
            digest.update(np.ascontiguousarray(as_floats(array[first : first + _BLOCK])).data)
        digest.update(np.ascontiguousarray(labels[_labels_name(name)]).data)
    return digest.hexdigest()[:16]


def _parts(definition: TaskDefinition, reach: Reach | None) -> list[_Part]:
    """Return the sets for training, validation and testing, in this order."""
    named = [str(Path(file).absolute()) for file in (definition.data, definition.validation, definition.test) if file]
    if len(set(named)) < len(named):
        raise TaskError(f"training, validation and test images must come from different files, but got {named}")
    decoder = Decoder(definition.resize, definition.crop, definition.background)
    columns = Columns(definition.image_column, definition.label_column)

    def sets_of(place: str) -> Mapping[str, ImageSource]:
        return {"": digits()} if place == DIGITS else image_sets(place, decoder, columns, reach)

    whole = sets_of(definition.data)
    train = _part("training", _of(whole, "train", definition.data), definition.train_images, 0)
    test = validation = None
    if definition.test is not None:
        test = _of(sets_of(definition.test), "test", definition.test)
    elif "test" in whole and "train" in whole:
        test = whole["test"]
    if definition.validation is not None:
        validation = _of(sets_of(definition.validation), "validation", definition.validation)
    elif "validation" in whole and "train" in whole:
        validation = whole["validation"]
    if test is None:
        # Split off before the validation images: the choice of test images must not depend on how validation is done.
        train, test_part = train.held_out(TEST_SHARE, _TEST_STREAM)
    else:
        test_part = _part("test", aligned(test, train.source), None, 1)
    if validation is None:
        train, validation_part = train.held_out(VALIDATION_SHARE, _VALIDATION_STREAM, least=1)
    else:
        validation_part = _part("validation", aligned(validation, train.source), None, 2)
    return [
        train,
        replace(validation_part, name="validation", limit=definition.validation_images, stream=2),
        replace(test_part, name="test", limit=definition.test_images, stream=1),
    ]


def _part(name: str, source: ImageSource, limit: int | None, stream: int) -> _Part:
    return _Part(name, source, np.arange(len(source.labels)), limit, stream)


def _of(sets: Mapping[str, ImageSource], wanted: str, place: str) -> ImageSource:
    """Return the wanted set of a location, or its only set."""
    if wanted in sets:
        return sets[wanted]
    if len(sets) == 1:
        return next(iter(sets.values()))
    raise TaskError(f"{place} holds the sets {', '.join(sets)}, and none for {wanted}. Name the files that are meant.")


def _labels(definition: TaskDefinition, parts: Sequence[_Part]) -> NDArray[np.int64]:
    """Return the labels to tell apart, ascending; all three sets hold each of them."""
    asked, data = definition.classes, definition.data
    present, names = np.unique(parts[0].labels), parts[0].source.named.names
    if asked is None:
        if len(present) and present[0] < 0:
            raise TaskError(
                f"labels must not be negative, but {data} holds the labels {_few(present, names)}. "
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
                f"classes={asked} needs so many classes, but {data} holds the labels {_few(present, names)}. "
                "Ask for fewer classes."
            )
    else:
        numbers = {name: number for number, name in names.items()}
        known = set(present.tolist())
        asked_numbers = [numbers.get(one, one) if isinstance(one, str) else one for one in asked]
        if missing := [one for one in sorted(asked_numbers, key=str) if one not in known]:
            raise TaskError(
                f"classes={list(asked)} names the label {missing[0]}, but {data} holds the labels "
                f"{_few(present, names)}. Name some of these."
            )
        labels = np.unique(np.asarray(asked_numbers, np.int64))
    if len(labels) < 2:
        raise TaskError(f"a task needs at least 2 classes, but {data} holds the labels {_few(present, names)}")
    for part in parts[1:]:
        unseen = sorted(set(labels.tolist()) - set(part.labels.tolist()))
        if unseen:
            raise TaskError(
                f"the {part.name} images of {part.source.place} hold none of class {_called(unseen[0], names)}, "
                f"so its accuracy cannot be measured. {_way_out(part, parts[0], unseen[0])}"
            )
    return labels


def _way_out(part: _Part, train: _Part, label: int) -> str:
    """Return advice about a class that a set lacks."""
    if part.source is not train.source:
        return "Leave it out of `classes`, or give a file that holds it."
    count = int((part.source.labels == label).sum())
    return (
        f"It has {count} image{'s' if count != 1 else ''} in all, too few to hold some out: add images, name files for "
        "validation and test, or leave it out of `classes`."
    )


def _called(label: int, names: Mapping[int, str]) -> str:
    return f"{label} ({names[label]})" if label in names else str(label)


def _few(labels: NDArray[np.int64], names: Mapping[int, str]) -> str:
    """Return labels in words, shortened if there are many."""
    if len(labels) > 20:
        return f"{_called(int(labels[0]), names)} to {_called(int(labels[-1]), names)}, {len(labels)} of them"
    return f"[{', '.join(_called(label, names) for label in labels.tolist())}]"


def _notes(parts: Sequence[_Part], gathered: Gathered) -> list[str]:
    """Return the conversions of images, and the unusual properties of labels, in words."""
    notes = list[str]()
    for source in {id(part.source): part.source for part in parts}.values():
        notes += source.notes
        notes += [f"{count:,} images of {source.place} are {what}" for what, count in sorted(source.done.items())]
        grey, colour = gathered.grey[source.place], gathered.colour[source.place]
        if grey and colour:
            notes.append(f"{grey:,} images of {source.place} are grey among {colour:,} in colour, and made RGB")
    train = parts[0].source
    if not train.named.names:
        notes += notes_on(train.labels, train.place)
    return notes


def _warnings(
    chosen: Sequence[Wanted],
    arrays: Mapping[str, NDArray[Any]],
    levels: Mapping[str, Sequence[Sequence[int]]],
    gathered: Gathered,
    labels: NDArray[np.int64],
    names: Mapping[int, str],
) -> list[str]:
    """Return suspicious properties of the images, in words."""
    warnings = []
    for one in chosen:
        pixels, classes = arrays[one.name], arrays[_labels_name(one.name)]
        counts = np.bincount(classes, minlength=len(labels))
        if len(missing := np.flatnonzero(counts == 0)):
            called = ", ".join(_called(int(label), names) for label in labels[missing[:5]])
            warnings.append(
                f"the {one.name} images hold none of {len(missing)} class{'es' if len(missing) > 1 else ''}: {called}"
            )
        if not len(pixels):
            continue
        blank, mean = gathered.blank[one.name], brightness(levels[one.name]) if levels[one.name] else math.nan
        if blank == len(pixels):
            warnings.append(
                f"each of the {len(pixels):,} {one.name} images has one value throughout: nothing can be seen"
            )
        elif blank:
            warnings.append(f"{blank:,} of {len(pixels):,} {one.name} images have one value throughout")
        elif len(pixels) > 1 and not any(
            (pixels[first : first + _BLOCK] != pixels[0]).any() for first in _firsts(pixels)
        ):
            warnings.append(f"all {len(pixels):,} {one.name} images are equal")
        if blank < len(pixels) and (mean < _DARK or mean > _BRIGHT):
            colour = "black" if mean < _DARK else "white"
            warnings.append(f"the {one.name} images are nearly {colour}: their mean pixel is {mean:.3f}")
    return warnings


def _firsts(pixels: NDArray[Any]) -> range:
    return range(0, len(pixels), _BLOCK)
