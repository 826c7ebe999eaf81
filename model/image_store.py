"""Pixels of a task's sets, gathered once and kept in memory, or in a file that all processes map.

Decoding gives the same pixels every time. So the pixels of larger sets are kept in a file of the user's cache. Each
process maps the file, and the system keeps its used pages in memory once, however many processes there are. Users may
delete it at any time.

A kept file holds the arrays one after the other, each beginning at a new page. JSON follows, with the position of each
array and other facts, then the length of the JSON, then `_MAGIC`. One process at a time writes the file, under a
temporary name that it then replaces.
"""

from __future__ import annotations

import fcntl
import json
import math
import mmap
import os
import struct
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.model.aside import replaced
from sweeper.model.errors import TaskError
from sweeper.model.image_source import ImageSource, Pixels

#: Last bytes of a kept file; the number is that of the format.
_MAGIC = b"sweepim1"
_TAIL = struct.Struct("<Q8s")

#: Smallest size of sets that are kept in a file, in bytes: each process quickly reads smaller sets itself.
LEAST_BYTES = 8 * 2**20

#: Days after which an unused file is removed, and bytes of the disk that are left free.
UNUSED_DAYS, FREE_BYTES = 30, 2**30

#: Share of this machine's memory that sets may take if they cannot be kept in a file.
_MEMORY_SHARE = 0.75

#: Array's name -> its shape and type.
Shapes = Mapping[str, tuple[tuple[int, ...], Any]]

#: Allocates arrays of given shapes.
Allocate = Callable[[Shapes], dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class Held:
    """Arrays by name, and facts about them."""

    arrays: Mapping[str, NDArray[Any]]
    facts: Mapping[str, Any]


#: Allocates arrays, fills them, and returns facts about them.
Build = Callable[[Allocate], Mapping[str, Any]]


class _KeptMeanwhile(Exception):  # noqa: N818 - no error: another process was faster
    """Another process kept the same arrays while this one waited for the lock."""


@dataclass(frozen=True)
class ImageStore:
    """A store of pixels.

    Attributes:
        folder: Folder of the kept files; None keeps no files.
        least_bytes: Smallest size of sets that are kept, in bytes.
    """

    folder: Path | None = None
    least_bytes: int = LEAST_BYTES

    def held(self, key: str, build: Build, is_settled: Callable[[], bool] = lambda: True) -> Held:
        """Return the arrays that are kept under a key, or build and keep them.

        Args:
            key: Stands for everything that determines the pixels; letters and digits.
            build: Makes the arrays.
            is_settled: Called after building: tells whether the source files are unchanged, so that the key still
                stands for them.

        Raises:
            TaskError: Whatever `build` raises.
        """
        path = self.folder / f"{key}.pixels" if self.folder else None
        if path and (kept := _mapped(path)):
            return kept
        room = _Room(path, self.least_bytes)
        try:
            facts = build(room.allocate)
            if room.keep(facts, is_settled) and path and (kept := _mapped(path)):
                return kept
            return Held(room.arrays, facts)
        except _KeptMeanwhile:
            if path and (kept := _mapped(path)):
                return kept
            return ImageStore().held(key, build)
        finally:
            room.leave()


@dataclass
class _Room:
    """Memory for arrays while they are filled: ordinary memory, or a temporary file."""

    path: Path | None
    least_bytes: int
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    _aside: Path | None = None
    _lock: int | None = None
    _places: dict[str, Any] = field(default_factory=dict)
    _end: int = 0

    def allocate(self, shapes: Shapes) -> dict[str, NDArray[Any]]:
        """Return arrays of these shapes and types; those of an earlier call stay readable and can be copied."""
        sizes = {name: math.prod(shape) * np.dtype(kind).itemsize for name, (shape, kind) in shapes.items()}
        total = sum(sizes.values())
        if self.path and total >= self.least_bytes and self._is_mine() and _has_room(self.path.parent, total):
            try:
                self.arrays = self._in_file(shapes, sizes)
                return self.arrays
            except OSError:  # the file system lacks support, rights or space: use memory
                self._drop_file()
        has = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if total > _MEMORY_SHARE * has:
            raise TaskError(
                f"the images of the task take {total / 2**30:.1f} GiB, and this machine has {has / 2**30:.1f} GiB and "
                "no room for them in its cache. Make them smaller with task.resize, or take fewer with "
                "task.train_images, task.validation_images and task.test_images."
            )
        self.arrays = {name: np.empty(shape, kind) for name, (shape, kind) in shapes.items()}
        return self.arrays

    def _is_mine(self) -> bool:
        """Wait until no other process builds the same arrays, and tell whether this one may keep them."""
        if self._lock is not None:
            return True
        if self.path is None:
            return False
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError:
            return False
        if _mapped(self.path) is not None:
            raise _KeptMeanwhile
        return True

    def _in_file(self, shapes: Shapes, sizes: Mapping[str, int]) -> dict[str, NDArray[Any]]:
        places, offset = {}, 0
        for name, (shape, kind) in shapes.items():
            places[name] = {"shape": list(shape), "dtype": np.dtype(kind).str, "offset": offset}
            offset += -(-sizes[name] // mmap.PAGESIZE) * mmap.PAGESIZE
        assert self.path is not None
        aside = self.path.with_name(f"{self.path.name}.{os.getpid()}.{time.monotonic_ns()}.tmp")
        try:
            with aside.open("xb") as file:
                # A full disk raises an error here, instead of a signal when a page is written.
                os.posix_fallocate(file.fileno(), 0, max(1, offset))
            arrays = {name: _array(aside, place, "r+") for name, place in places.items()}
        except OSError:
            aside.unlink(missing_ok=True)
            raise
        self._drop_file()  # arrays that are mapped from the earlier file stay readable
        self._aside, self._places, self._end = aside, places, offset
        return arrays

    def keep(self, facts: Mapping[str, Any], is_settled: Callable[[], bool]) -> bool:
        """Rename the file to its final name, and tell whether that worked."""
        if self._aside is None or self.path is None:
            return False
        aside, places = self._aside, self._places
        for array in self.arrays.values():
            if isinstance(array, np.memmap):
                array.flush()
        if not is_settled():
            return False
        said = json.dumps({"arrays": places, "end": self._end, "facts": facts}).encode()
        try:
            with aside.open("r+b") as file:
                file.seek(self._end)
                file.write(said + _TAIL.pack(len(said), _MAGIC))
                file.truncate()
            with replaced(self.path) as name:
                aside.replace(name)
        except OSError:
            return False
        self._aside = None
        self.arrays = {}
        _forget_unused(self.path.parent)
        return True

    def _drop_file(self) -> None:
        if self._aside is not None:
            with suppress(OSError):
                self._aside.unlink(missing_ok=True)
            self._aside = None

    def leave(self) -> None:
        """Remove the temporary file and the lock; arrays in use stay readable."""
        self._drop_file()
        if self._lock is not None:
            with suppress(OSError):
                if self.path is not None:
                    self.path.with_suffix(".lock").unlink(missing_ok=True)
                os.close(self._lock)
            self._lock = None


def _array(path: Path, place: Mapping[str, Any], mode: Any) -> NDArray[Any]:
    shape = tuple(place["shape"])
    if not math.prod(shape):
        return np.empty(shape, place["dtype"])
    return np.memmap(path, place["dtype"], mode, place["offset"], shape)


def _mapped(path: Path) -> Held | None:
    """Return the arrays of a kept file; None if it does not exist or is damaged."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL.size))
            length, magic = _TAIL.unpack(file.read(_TAIL.size))
            if magic != _MAGIC or length > size:
                return None
            file.seek(size - _TAIL.size - length)
            begin = file.tell()
            said = json.loads(file.read(length))
            if said["end"] != begin:
                return None
        # Mapped copy-on-write, since torch warns about read-only arrays; nothing writes to them.
        arrays = {name: _array(path, place, "c") for name, place in said["arrays"].items()}
        with suppress(OSError):
            os.utime(path)  # records the last use
        return Held(arrays, said["facts"])
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None


def _has_room(folder: Path, needed: int) -> bool:
    """Tell whether a disk has room for this many bytes; least recently used files are removed to make room."""
    with suppress(OSError):
        for kept in (None, *_by_use(folder)):
            if kept is not None:
                kept.unlink(missing_ok=True)
            seen = os.statvfs(folder)
            if seen.f_bavail * seen.f_frsize >= needed + FREE_BYTES:
                return True
    return False


def _by_use(folder: Path) -> list[Path]:
    """Return the kept files, the most recently used last."""
    found = []
    for path in folder.glob("*.pixels"):
        with suppress(OSError):
            found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found)]


def _forget_unused(folder: Path) -> None:
    """Remove files that have not been used for long, and leftovers of killed processes."""
    now = time.time()
    for path in (*folder.glob("*.pixels"), *folder.glob("*.tmp"), *folder.glob("*.lock")):
        with suppress(OSError):
            days = UNUSED_DAYS if path.suffix == ".pixels" else 1
            if now - path.stat().st_mtime > days * 86400:
                path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Wanted:
    """One of a task's sets.

    Attributes:
        name: Name of the set.
        source: Source of its images.
        rows: Rows of the source that belong to the set, ascending.
    """

    name: str
    source: ImageSource
    rows: NDArray[np.int64]


@dataclass
class Gathered:
    """Counts of images that were made while pixels were gathered.

    Attributes:
        blank: By set, the number of images with one value throughout.
        grey, colour: By source, the number of images in grey, and in colour.
    """

    blank: Counter[str] = field(default_factory=Counter)
    grey: Counter[str] = field(default_factory=Counter)
    colour: Counter[str] = field(default_factory=Counter)


def gather(sets: Sequence[Wanted], allocate: Allocate) -> Gathered:
    """Read the images of sets into arrays named after the sets; each source is read once.

    Args:
        sets: The sets to read.
        allocate: Allocates their arrays: shape (N, C, H, W), bytes or floats.

    Raises:
        TaskError: If images cannot be read, or have several sizes.
    """
    found, canvas = Gathered(), _Canvas(sets, allocate)
    sources = {id(one.source): one.source for one in sets}
    for number, source in sources.items():
        own = [one for one in sets if id(one.source) == number]
        rows = np.concatenate([one.rows for one in own])
        whose = np.concatenate([np.full(len(one.rows), at) for at, one in enumerate(own)])
        at = np.concatenate([np.arange(len(one.rows)) for one in own])
        order = np.argsort(rows, kind="stable")
        places = zip(whose[order].tolist(), at[order].tolist(), strict=True)
        for block in source.blocks(rows[order]):
            for image in block:
                which, place = next(places)
                canvas.put(own[which], place, image)
                kinds = found.grey if len(image) == 1 else found.colour
                kinds[source.place] += 1
                found.blank[own[which].name] += bool((image == image.flat[0]).all()) if image.size else True
    canvas.finish()
    return found


class _Canvas:
    """The arrays of all sets; all images have one size, and as many channels as the image with the most."""

    def __init__(self, sets: Sequence[Wanted], allocate: Allocate) -> None:
        self._sets, self._allocate = sets, allocate
        self._arrays: dict[str, NDArray[Any]] = {}
        self._first: tuple[Wanted, tuple[int, ...]] | None = None
        self._kind: Any = np.uint8
        self._channels = 1

    def put(self, one: Wanted, place: int, image: Pixels) -> None:
        if self._first is None:
            self._first = (one, image.shape)
            self._lay(image.shape[0], image.dtype)
        first, shape = self._first
        if image.shape[1:] != shape[1:]:
            raise TaskError(_several_sizes(first, shape, one, image.shape))
        if image.shape[0] > self._channels or image.dtype.itemsize > np.dtype(self._kind).itemsize:
            kind = np.promote_types(self._kind, image.dtype)
            self._lay(max(self._channels, image.shape[0]), kind)
        if image.dtype != self._kind:
            image = np.divide(image, np.float32(255), dtype=np.float32)
        self._arrays[one.name][place] = image  # broadcasts grey to equal red, green and blue

    def _lay(self, channels: int, kind: Any) -> None:
        assert self._first is not None
        former, former_kind = self._arrays, self._kind
        self._channels, self._kind = channels, kind
        size = (channels, *self._first[1][1:])
        self._arrays = self._allocate({one.name: ((len(one.rows), *size), kind) for one in self._sets})
        for name, array in former.items():
            for first in range(0, len(array), 1000):
                block = array[first : first + 1000]
                if np.dtype(kind) != np.dtype(former_kind):
                    block = np.divide(block, np.float32(255), dtype=np.float32)
                self._arrays[name][first : first + 1000] = block

    def finish(self) -> None:
        if self._first is None:  # the sets have no images
            self._allocate({one.name: ((0, 1, 1, 1), np.uint8) for one in self._sets})


def _several_sizes(first: Wanted, shape: tuple[int, ...], one: Wanted, found: tuple[int, ...]) -> str:
    way_out = "Give them one with task.resize and task.crop."
    if first.source.place != one.source.place:
        return (
            f"{first.name} and {one.name} images must have the same size, but {first.source.place} holds {shape} "
            f"and {one.source.place} {found} (channels, height, width). {way_out}"
        )
    return (
        f"all images of {one.source.place} must have one size and kind, but found {min(shape, found)}, "
        f"{max(shape, found)} (channels, height, width). {way_out}"
    )
