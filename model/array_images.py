"""Images as arrays of any usual layout and type, and the files that hold such arrays.

The files are NumPy's `.npz`, MNIST's idx files and CIFAR's batches, as torchvision keeps them. CIFAR's batches are
pickles: `array_pickle` reads them, makes plain values and executes nothing.
"""

from __future__ import annotations

import gzip
import math
import os
import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.model import array_pickle
from sweeper.model.decoding import Decoder, narrowed
from sweeper.model.errors import TaskError
from sweeper.model.image_source import ImageSource, Pixels, in_blocks
from sweeper.model.label_names import Named, whole, with_names
from sweeper.model.places import File, Folder

#: Numbers of channels that an image may have.
_CHANNELS = (1, 3, 4)

#: Names of the sets.
SETS = ("train", "validation", "test")

#: Word in a file's or array's name -> set that it stands for.
SET_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "te"), "test"),
}

#: Names of the arrays of images, of labels and of class names in a file of several arrays.
_IMAGES = frozenset({"x", "image", "images", "img", "imgs", "data", "pixels", "features"})
_LABELS = frozenset({"y", "label", "labels", "target", "targets", "class", "classes"})
_NAMES = frozenset({"names", "class_names", "label_names", "classnames", "categories"})

#: Names of MNIST's files.
_IDX = re.compile(r"(?P<set>train|t10k)-(?P<what>images|labels)[-.]idx[13]-ubyte(\.gz)?$")
_IDX_BYTES = 0x08

#: Folder of CIFAR's batches -> the entries of labels and of class names in its files.
_CIFAR = {
    "cifar-10-batches-py": ("labels", "label_names"),
    "cifar-100-python": ("fine_labels", "fine_label_names"),
}

#: Share of this machine's memory that the arrays of one file may take.
_MEMORY_SHARE = 0.5


def as_images(values: NDArray[Any], place: str, done: Counter[str]) -> Pixels:
    """Return an array of images as (N, C, H, W), bytes or floats.

    Args:
        values: (N, H, W), (N, H, W, C) or (N, C, H, W), of any type.
        place: Name of the array's source, for messages.
        done: Counter of conversions; how many images each conversion changed is added to it.

    Raises:
        TaskError: If the layout is unknown or ambiguous, or the pixel values cannot be used.
    """
    if values.ndim == 3:
        values = values[:, None]
    elif values.ndim == 4:
        is_first, is_last = (values.shape[at] in _CHANNELS for at in (1, 3))
        if is_first and is_last:
            raise TaskError(
                f"images of {place} are an array of {values.shape}, in which the channels may stand second or last. "
                "Give images of one channel as (N, height, width)."
            )
        if not (is_first or is_last):
            raise TaskError(_no_images(place, values))
        if is_last:
            values = values.transpose(0, 3, 1, 2)
    else:
        raise TaskError(_no_images(place, values))
    if values.shape[1] == 4:
        raise TaskError(
            f"images of {place} have 4 channels, of which the last may be their transparency. Lay them on a background "
            "first, or give encoded images, which say what it is."
        )
    if not values.size and len(values):
        raise TaskError(_no_images(place, values))
    return _typed(values, place, done)


def _no_images(place: str, values: NDArray[Any]) -> str:
    return (
        f"images must be an array of (N, height, width), (N, height, width, channels) or (N, channels, height, width), "
        f"with 1 or 3 channels, but those of {place} are {values.dtype} of {values.shape}"
    )


def _typed(values: NDArray[Any], place: str, done: Counter[str]) -> Pixels:
    """Return images as bytes, 0–255, or float32, 0–1."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if not values.size:
        return values.astype(np.uint8)
    least, most = values.min(), values.max()
    if values.dtype.kind == "f":
        if not (np.isfinite(least) and np.isfinite(most) and least >= 0 and most <= 1):
            if np.isfinite(least) and least >= 0 and 1 < most <= 255 and (values == np.round(values)).all():
                return values.astype(np.uint8)
            raise TaskError(
                f"pixels that are floats must be from 0 to 1, but those of {place} are from {least:g} to {most:g}. "
                "Divide them by their largest value, or give bytes from 0 to 255."
            )
        return values.astype(np.float32)
    if values.dtype.kind in "iu" and least >= 0 and most <= 255:
        return values.astype(np.uint8)
    if values.dtype == np.uint16:
        done["of 16 bits, made 8"] += len(values)
        return narrowed(values)
    raise TaskError(
        f"pixels must be bytes from 0 to 255, 16 bits without a sign, or floats from 0 to 1, but those of {place} are "
        f"{values.dtype} from {least} to {most}"
    )


def array_source(
    images: NDArray[Any], named: Named, place: str, decoder: Decoder, done: Counter[str] | None = None
) -> ImageSource:
    """Return an array of images as an image source.

    Raises:
        TaskError: If the array cannot be read as images, or there is not one label for each image.
    """
    done = Counter() if done is None else done
    pixels = as_images(images, place, done)
    if len(pixels) != len(named.labels):
        raise TaskError(
            f"every image needs a label, but {place} holds {len(pixels)} images and {len(named.labels)} labels"
        )
    if not len(pixels):
        raise TaskError(f"{place} holds no images")

    def blocks(rows: NDArray[np.int64]) -> Iterator[Sequence[Pixels]]:
        for some in in_blocks(rows):
            yield [decoder.fitted(pixels[row], f"image {row} of {place}") for row in some.tolist()]

    return ImageSource(named, blocks, place, done)


def npz_sets(file: File, decoder: Decoder) -> dict[str, ImageSource]:
    """Return the sets of a `.npz` file, by name. A file without sets is returned whole, under an empty name.

    Raises:
        TaskError: If the file cannot be read, or the names of its arrays are not known.
    """
    try:
        with file.open() as stream, zipfile.ZipFile(stream) as packed:
            _refuse_what_fills_memory(sum(one.file_size for one in packed.infolist()), str(file))
        with file.open() as stream, np.load(stream, allow_pickle=False) as arrays:
            return _sets_of(arrays, list(arrays.files), str(file), decoder)
    except TaskError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(". ")
        raise TaskError(
            f"cannot read images from {file}: {reason}. Give a file that numpy.savez has written."
        ) from error


def _sets_of(arrays: Mapping[str, Any], names: Sequence[str], place: str, decoder: Decoder) -> dict[str, ImageSource]:
    """Return the sets of named arrays."""
    known: dict[tuple[str, str], str] = {}
    for name in names:
        words = [word for word in re.split(r"[_\-. ]+", name.lower()) if word]
        one_set = next((SET_WORDS[word] for word in words if word in SET_WORDS), "")
        rest = "_".join(word for word in words if word not in SET_WORDS)
        what = next(
            (what for what, of in (("images", _IMAGES), ("labels", _LABELS), ("names", _NAMES)) if rest in of), ""
        )
        if not what:
            continue
        if (one_set, what) in known:
            raise TaskError(
                f"{place} has two arrays of {what}: {known[one_set, what]} and {name}. Leave one of them out."
            )
        known[one_set, what] = name
    found = {}
    class_names = arrays[known["", "names"]].tolist() if ("", "names") in known else None
    for one_set in dict.fromkeys(one_set for one_set, what in known if what == "images"):
        if (one_set, "labels") not in known:
            raise TaskError(f"{place} has no labels beside {known[one_set, 'images']}: it has {', '.join(names)}")
        named = whole(arrays[known[one_set, "labels"]], place)
        named = with_names(named.labels, class_names) if class_names and not named.names else named
        found[one_set] = array_source(arrays[known[one_set, "images"]], named, place, decoder)
    if not found:
        raise TaskError(
            f"{place} needs arrays called images and labels, or x_train, y_train and so on, but has {', '.join(names)}"
        )
    return found


def is_idx(name: str) -> bool:
    """Tell whether a file has a name like MNIST's files."""
    return _IDX.fullmatch(name) is not None


def idx_sets(folder: Folder, decoder: Decoder) -> dict[str, ImageSource]:
    """Return the sets of a folder of MNIST's files, by name.

    Raises:
        TaskError: If a file is missing or damaged.
    """
    files: dict[tuple[str, str], File] = {}
    for path, file in folder.files.items():
        if (known := _IDX.fullmatch(PurePosixPath(path).name)) and "/" not in path:
            which = ("train" if known["set"] == "train" else "test", known["what"])
            files.setdefault(which, file)  # of an unpacked file and its packed copy either will do
    found = {}
    for one_set in SETS:
        if (one_set, "images") in files:
            images = files[one_set, "images"]
            if (one_set, "labels") not in files:
                raise TaskError(f"{images} needs a file with its labels beside it, but there is none")
            labels = files[one_set, "labels"]
            named = whole(_idx(labels, 1), str(labels))
            found[one_set] = array_source(_idx(images, 3), named, str(images), decoder)
    if not found:
        raise TaskError(f"{folder.location} holds labels, but no images beside them")
    return found


def _idx(file: File, dimensions: int) -> NDArray[np.uint8]:
    """Return the array of an idx file, which may be compressed by gzip."""
    try:
        with file.open() as stream:
            packed = gzip.GzipFile(fileobj=stream) if file.name.endswith(".gz") else stream
            head = packed.read(4 + 4 * dimensions)
            if len(head) < 4 + 4 * dimensions or tuple(head[:4]) != (0, 0, _IDX_BYTES, dimensions):
                raise TaskError(f"{file} is no idx file with {dimensions} dimensions of bytes, as MNIST's are")
            shape = struct.unpack(f">{dimensions}I", head[4:])
            _refuse_what_fills_memory(math.prod(shape), str(file))
            data = packed.read(math.prod(shape) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise TaskError(f"cannot read images from {file}: {error}") from error
    if len(data) != math.prod(shape):
        raise TaskError(f"{file} says that it holds {math.prod(shape)} bytes, but it holds {_more(data, shape)}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _more(data: bytes, shape: tuple[int, ...]) -> str:
    return "more" if len(data) > math.prod(shape) else str(len(data))


def cifar_folder(folder: Folder) -> str | None:
    """Return which of CIFAR's folders this is, judged by its name or its files; None if it is neither."""
    name = PurePosixPath(folder.location.partition("?")[0]).name
    if name in _CIFAR:
        return name
    if {"data_batch_1", "batches.meta"} <= set(folder.files):
        return "cifar-10-batches-py"
    return "cifar-100-python" if {"train", "test", "meta"} == set(folder.files) - {"file.txt~"} else None


def cifar_sets(folder: Folder, kind: str, decoder: Decoder, label: str | None) -> dict[str, ImageSource]:
    """Return the sets of a folder of CIFAR's batches, by name.

    Args:
        folder: A folder as torchvision keeps it.
        kind: What `cifar_folder` returned.
        decoder: How images become pixels.
        label: Which labels to use, `fine_labels` or `coarse_labels` of CIFAR-100; None for the usual ones.

    Raises:
        TaskError: If a file is missing or damaged.
    """
    usual, names = _CIFAR[kind]
    if label is not None and label != usual:
        if kind == "cifar-10-batches-py" or label != "coarse_labels":
            choice = "fine_labels or coarse_labels" if kind == "cifar-100-python" else usual
            raise TaskError(f"task.label_column must be {choice} for {folder.location}, but got {label!r}")
        usual, names = label, "coarse_label_names"
    batches = {
        "train": sorted(name for name in folder.files if re.fullmatch(r"data_batch_\d+|train", name)),
        "test": sorted(name for name in folder.files if re.fullmatch(r"test_batch|test", name)),
    }
    if kind == "cifar-10-batches-py" and len(batches["train"]) not in (0, 5):
        raise TaskError(
            f"{folder.location} holds {len(batches['train'])} of CIFAR-10's five batches for training: "
            f"{', '.join(batches['train'])}. Unpack it again."
        )
    meta = next((folder.files[name] for name in ("batches.meta", "meta") if name in folder.files), None)
    class_names = [_text(name) for name in _pickled(meta).get(names, [])] if meta else []
    found = {}
    for one_set, files in batches.items():
        if not files:
            continue
        parts = [_batch(folder.files[name], usual) for name in files]
        images = np.concatenate([pixels for pixels, _ in parts])
        labels = np.concatenate([labels for _, labels in parts])
        named = with_names(labels, class_names) if class_names else Named(labels)
        found[one_set] = array_source(images, named, folder.location, decoder)
    if not found:
        raise TaskError(f"{folder.location} holds none of CIFAR's batches")
    return found


def _batch(file: File, label: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the images and labels of one of CIFAR's files."""
    held = _pickled(file)
    data, labels = held.get("data"), held.get(label)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * 32 * 32:
        raise TaskError(f"{file} holds no CIFAR images: an array of bytes with 3,072 columns")
    if not isinstance(labels, list) or len(labels) != len(data) or not all(isinstance(one, int) for one in labels):
        raise TaskError(f"{file} holds no {label} for its {len(data)} images, one whole number for each")
    return data.reshape(-1, 3, 32, 32), np.asarray(labels, np.int64)


def _pickled(file: File) -> dict[str, Any]:
    try:
        held = array_pickle.read(file.read())
    except OSError as error:
        raise TaskError(f"cannot read images from {file}: {error}") from error
    except array_pickle.PickleError as error:
        raise TaskError(f"{file} is none of CIFAR's files: {error}") from error
    if not isinstance(held, dict):
        raise TaskError(f"{file} is none of CIFAR's files: it holds no names")
    return {_text(name): value for name, value in held.items()}


def _text(value: object) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def _refuse_what_fills_memory(needed: int, place: str) -> None:
    """Refuse arrays that this machine cannot hold: a small compressed file may declare a size beyond any memory."""
    has = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > _MEMORY_SHARE * has:
        raise TaskError(
            f"{place} takes {needed / 2**30:.1f} GiB when it is unpacked, and this machine has {has / 2**30:.1f} GiB. "
            "Give encoded images, as in a folder or a Parquet file, of which only some are read at a time."
        )


def returned_sets(call: Callable[[], object], place: str, decoder: Decoder) -> dict[str, ImageSource]:
    """Return the sets that a user's function returns, by name. Images without sets come under an empty name.

    Args:
        call: Returns images and labels, or images, labels and class names, or a mapping from the name of a set to
            these; or a mapping of arrays with names, as in a `.npz` file.
        place: Name of the function, for messages.
        decoder: How images become pixels.

    Raises:
        TaskError: If the function raises, or returns something else.
    """
    try:
        held = call()
    except Exception as error:
        line = next(iter(str(error).strip().splitlines()), "")
        raise TaskError(f"{place} raised {type(error).__name__}{f': {line}' if line else ''}") from error
    if isinstance(held, Mapping) and held and set(held) <= set(SET_WORDS):
        return {SET_WORDS[name]: _returned(value, f"{place} ({name})", decoder) for name, value in held.items()}
    if isinstance(held, Mapping):
        arrays = {str(name): np.asarray(value) for name, value in held.items()}
        return _sets_of(arrays, list(arrays), f"what {place} returns", decoder)
    return {"": _returned(held, place, decoder)}


def _returned(held: object, place: str, decoder: Decoder) -> ImageSource:
    if not isinstance(held, tuple | list) or len(held) not in (2, 3):
        raise TaskError(
            f"{place} must return images and labels, or images, labels and class names, but returned "
            f"{type(held).__name__}{f' of {len(held)}' if isinstance(held, tuple | list) else ''}"
        )
    named = whole(np.asarray(held[1]), place)
    if len(held) == 3 and held[2] is not None and not named.names:
        named = with_names(named.labels, [_text(name) for name in held[2]])
    return array_source(np.asarray(held[0]), named, place, decoder)
