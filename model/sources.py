"""Turns the location in a task's `data` into sets of labelled images.

A location is a table (Parquet, Arrow), shards of a table, or a folder of tables as `datasets` and the Hugging Face hub
lay them out; a folder of images with one folder for each class; NumPy's `.npz`; MNIST's and CIFAR's own files as
torchvision keeps them; any of these behind a URI; or a user's function.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from sweeper.model.array_images import (
    SET_WORDS,
    cifar_folder,
    cifar_sets,
    idx_sets,
    is_idx,
    npz_sets,
    returned_sets,
)
from sweeper.model.decoding import Decoder
from sweeper.model.errors import TaskError
from sweeper.model.image_source import ImageSource, Pixels, decoded_blocks, in_blocks
from sweeper.model.image_tables import Columns, table_source
from sweeper.model.label_names import numbered
from sweeper.model.places import File, Folder, Reach, is_uri, looked_up

#: Suffixes of tables, and of images.
TABLES = (".parquet", ".arrow")
IMAGES = frozenset({
    *(".png", ".jpg", ".jpeg", ".jpe", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm"),
    *(".jp2", ".avif", ".tga", ".pcx", ".ico"),
})

#: Name of a shard of a table, as `datasets` writes it.
SHARD = re.compile(r"^(?P<name>.+?)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<rest>.*)$")

#: A function in an installed module or a file: module or file, a colon, and the function's name.
FUNCTION = re.compile(r"^(?P<module>[^:]*[^:/\\]):(?P<name>[A-Za-z_]\w*)$")

#: Names of folders that tell nothing about their content.
_PLAIN_FOLDERS = frozenset({"data", "images", "imgs", "raw", "default", "plain_text"})


def is_function(location: str) -> bool:
    """Whether a location names a function."""
    return FUNCTION.match(location) is not None and not os.path.lexists(location)


def files_of(location: str, reach: Reach | None = None) -> list[File]:
    """Return all files of a location, so that callers can detect changes.

    Raises:
        TaskError: If the files cannot be listed.
    """
    if is_function(location):
        module = location.rpartition(":")[0]
        return list(looked_up(module, reach).files.values()) if module.endswith(".py") else []
    return list(looked_up(location, reach).files.values())


def image_sets(
    location: str, decoder: Decoder, columns: Columns, reach: Reach | None = None
) -> Mapping[str, ImageSource]:
    """Return the sets of a location by name, `train`, `validation` and `test`, or all images under "".

    Args:
        location: A file, a folder, a pattern, a URI or a function.
        decoder: How images become pixels.
        columns: Columns that the task names.
        reach: How URIs are reached.

    Raises:
        TaskError: If the location holds no readable images, or it is ambiguous which images to use.
    """
    if is_function(location):
        return _of_function(location, decoder)
    found = looked_up(location, reach)
    if not found.is_folder:
        return _of_files(found, decoder, columns, reach)
    return _of_folder(found, decoder, columns)


def _of_files(found: Folder, decoder: Decoder, columns: Columns, reach: Reach | None) -> Mapping[str, ImageSource]:
    """Return the sets of a file, or of the files that match a pattern."""
    files = list(found.files.values())
    name = files[0].name.lower()
    if len(files) == 1 and name.endswith(".npz"):
        return npz_sets(files[0], decoder)
    if len(files) == 1 and is_idx(name):
        start = files[0].name.partition("-")[0]
        around = looked_up(files[0].path.rpartition("/")[0] or ".", reach)
        beside = {path: file for path, file in around.files.items() if path.startswith(f"{start}-")}
        return {"": next(iter(idx_sets(Folder(found.location, beside, True), decoder).values()))}
    if len(files) > 1 and (other := [file for file in files if not file.name.lower().endswith(TABLES)]):
        raise TaskError(
            f"files that match {found.location} must be Parquet files, but {other[0]} is none. Name the folder of "
            "images itself, or correct the pattern."
        )
    if len(files) > 1:
        _refuse_missing_shards(files, found.location)
    place = str(files[0]) if len(files) == 1 else found.location
    return {"": table_source(files, place, decoder, columns)}


def _of_folder(folder: Folder, decoder: Decoder, columns: Columns) -> Mapping[str, ImageSource]:
    """Return the sets of a folder."""
    inner = _torchvision(folder)
    if len(inner) > 1:
        raise TaskError(
            f"{folder.location} holds several data sets: {', '.join(sorted(one.location for one in inner))}. Name one "
            "of them."
        )
    if inner:
        kind = cifar_folder(inner[0])
        return cifar_sets(inner[0], kind, decoder, columns.label) if kind else idx_sets(inner[0], decoder)
    # `datasets` keeps its cached results, with this prefix, beside the data.
    tables = [
        path
        for path, file in folder.files.items()
        if file.name.lower().endswith(TABLES) and not file.name.startswith("cache-")
    ]
    pictures = [path for path in folder.files if _is_picture(path)]
    arrays = [path for path in folder.files if path.lower().endswith(".npz")]
    if tables and not pictures:
        return _of_tables(folder, tables, decoder, columns)
    if pictures and not tables:
        return _of_pictures(folder, decoder)
    if len(arrays) == 1 and not tables and not pictures:
        return npz_sets(folder.files[arrays[0]], decoder)
    if tables:
        raise TaskError(
            f"{folder.location} holds both tables ({tables[0]}) and images ({pictures[0]}). Name one of them, such as "
            f"{folder.location.rstrip('/')}/{tables[0]}."
        )
    seen = f"holds {next(iter(folder.files))} and the like" if folder.files else "is empty"
    raise TaskError(
        f"{folder.location} {seen}, and no images. Name a folder with one folder of images for each class, or with "
        "Parquet files."
    )


def _torchvision(folder: Folder) -> list[Folder]:
    """Return the folders, this one or inside it, that hold MNIST's or CIFAR's own files."""
    if cifar_folder(folder):
        return [folder]
    found = {path.rpartition("/")[0] for path, file in folder.files.items() if is_idx(file.name)}
    inner = [folder.below(name) if name else folder for name in sorted(found)]
    names = {path.rpartition("/")[0] for path in folder.files}
    return inner + [below for name in sorted(names - {""}) if cifar_folder(below := folder.below(name))]


def _of_tables(folder: Folder, paths: Sequence[str], decoder: Decoder, columns: Columns) -> Mapping[str, ImageSource]:
    """Return the sets of a folder of tables, recognised by the names of folders or by prefixes of file names."""
    sets, kinds = defaultdict[str, list[File]](list), defaultdict[str, list[str]](list)
    for path in paths:
        *above, name = path.split("/")
        begins = re.split(r"[-_.]", name.lower())[0]
        one_set = next((SET_WORDS[part.lower()] for part in reversed(above) if part.lower() in SET_WORDS), "")
        sets[one_set or SET_WORDS.get(begins, "")].append(folder.files[path])
        kind = "/".join(part for part in above if part.lower() not in {*SET_WORDS, *_PLAIN_FOLDERS})
        kinds[kind].append(path)
    if len(kinds) > 1:
        raise TaskError(
            f"{folder.location} holds several data sets: "
            f"{', '.join(kind or 'files of its own' for kind in sorted(kinds))}. "
            "Name the folder of one of them."
        )
    if "" in sets and len(sets) > 1:
        raise TaskError(
            f"{folder.location} holds files of sets ({', '.join(sorted(filter(None, sets)))}), and others, such as "
            f"{sets[''][0].name}. Name those that are meant, as in train-*.parquet, for each set: data, validation, "
            "test."
        )
    found = {}
    for one_set, files in sets.items():
        place = f"{folder.location.rstrip('/')} ({one_set})" if one_set else folder.location
        _refuse_missing_shards(files, place)
        found[one_set] = table_source(files, str(files[0]) if len(paths) == 1 else place, decoder, columns)
    return found


def _refuse_missing_shards(files: Sequence[File], place: str) -> None:
    """Refuse shards of a table of which other shards are missing."""
    shards = defaultdict[tuple[str, int, str], set[int]](set)
    for file in files:
        if shard := SHARD.match(file.name):
            shards[shard["name"], int(shard["count"]), shard["rest"]].add(int(shard["number"]))
    for (name, count, rest), numbers in shards.items():
        if len(numbers) < count and not (len(files) == 1 and len(shards) == 1):
            missing = next(number for number in range(count) if number not in numbers)
            raise TaskError(
                f"{place} lacks {count - len(numbers)} of {count} parts, the first {name}-{missing:05d}-of-{count:05d}"
                f"{rest}. Fetch it, or name the files that are meant by a pattern that matches one of them alone."
            )


def _is_picture(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in IMAGES


def _of_pictures(folder: Folder, decoder: Decoder) -> Mapping[str, ImageSource]:
    """Return the sets of a folder of images, which has a folder for each set, or for each class."""
    inside = sorted({path.partition("/")[0] for path in folder.files if "/" in path and _is_picture(path)})
    sets = {name: SET_WORDS.get(name.lower(), "") for name in inside}
    if "train" in sets.values() and all(sets.values()):
        if twice := [name for name, count in Counter(sets.values()).items() if count > 1]:
            raise TaskError(f"{folder.location} has two folders for the set {twice[0]}: {', '.join(inside)}")
        return {one_set: _classes(folder.below(name), decoder) for name, one_set in sets.items()}
    if len(inside) == 1 and any(path.count("/") > 1 for path in folder.files):  # a single folder around all others
        return _of_pictures(folder.below(inside[0]), decoder)
    return {"": _classes(folder, decoder)}


def _classes(folder: Folder, decoder: Decoder) -> ImageSource:
    """Return the images of a folder with one folder for each class."""
    pictures = [path for path in folder.files if "/" in path and _is_picture(path)]
    loose = [path for path in folder.files if "/" not in path and _is_picture(path)]
    if not pictures:
        raise TaskError(
            f"{folder.location} holds images, such as {loose[0]}, and no folders for their classes. Put the images of "
            "each class into a folder with its name."
        )
    other = [path for path in folder.files if not _is_picture(path)]
    notes = []
    if loose:
        notes.append(
            f"{len(loose):,} images of {folder.location} lie in no class's folder and are left out: {loose[0]}, …"
        )
    if other:
        notes.append(f"{len(other):,} files of {folder.location} are no images by their names: {other[0]}, …")
    pictures.sort(key=lambda path: (_order(path.partition("/")[0]), path))
    files = [folder.files[path] for path in pictures]
    named = numbered([path.partition("/")[0] for path in pictures], folder.location)
    done = Counter[str]()
    return ImageSource(named, partial(_of_rows, files, decoder, done), folder.location, done, tuple(notes))


def _order(name: str) -> tuple[int, str]:
    """Return the sorting key of a class name: numbers are sorted as numbers."""
    return (int(name) if name.isascii() and name.isdigit() else sys.maxsize, name)


def _of_rows(
    files: Sequence[File], decoder: Decoder, done: Counter[str], rows: NDArray[np.int64]
) -> Iterator[Sequence[Pixels]]:
    def encoded() -> Iterator[list[tuple[object, str]]]:
        for some in in_blocks(rows):
            found: list[tuple[object, str]] = []
            for row in some.tolist():
                try:
                    found.append((files[row].read(), str(files[row])))
                except OSError as error:
                    raise TaskError(f"cannot read the image {files[row]}: {error.strerror or error}") from error
            yield found

    yield from decoded_blocks(encoded(), decoder, done)


def _of_function(location: str, decoder: Decoder) -> Mapping[str, ImageSource]:
    """Return the sets that a user's function returns."""
    module, _, name = location.rpartition(":")
    if is_uri(module):
        raise TaskError(f"a function must be in a module of this machine, but got {location}")
    with _beside(module):
        function = _function(module, name)
        return returned_sets(function, f"{PurePosixPath(module).name}:{name}", decoder)


@contextmanager
def _beside(module: str) -> Iterator[None]:
    """While in use, let a module that is a file import the files beside it; installed modules take precedence."""
    folder = os.path.dirname(module) if module.endswith(".py") else None
    if folder is None:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _function(module: str, name: str) -> Callable[[], object]:
    """Return a function of a file or of an installed module."""
    try:
        if module.endswith(".py"):
            # The module gets a unique name, so that a user's `model.py` replaces no other module.
            spec = importlib.util.spec_from_file_location(f"_images_of_{PurePosixPath(module).stem}", module)
            if spec is None or spec.loader is None:
                raise ImportError(f"{module} is no Python file")
            loaded = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(loaded)
        else:
            loaded = importlib.import_module(module)
    except FileNotFoundError as error:
        raise TaskError(f"there is no file {module}, which task.data names") from error
    except Exception as error:
        line = next(iter(str(error).strip().splitlines()), "")
        raise TaskError(f"{module} cannot be imported: {type(error).__name__}{f': {line}' if line else ''}") from error
    found: Callable[[], object] | None = getattr(loaded, name, None)
    if found is None or not callable(found):
        here = sorted(one for one, value in vars(loaded).items() if callable(value) and not one.startswith("_"))
        raise TaskError(f"{module} has no function {name}: it has {', '.join(here) or 'none'}")
    return found


def aligned(source: ImageSource, first: ImageSource) -> ImageSource:
    """Return a source whose names have the same numbers as in another source."""
    named = source.named.like(first.named)
    return source if named is source.named else replace(source, named=named)
