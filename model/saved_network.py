"""Reads and checks the file of a cut network without torch. The file holds numbers and text, nothing executable.

It is a safetensors file. Its tensors are the state of the lattice by name, in float32. The metadata hold one entry,
`sweeper`, with JSON:

    format        the oldest format that can describe the window, see `_ADDED`; readers refuse newer formats
    window        the fields of `Window`
    description   facts about the network from its writer
    sha256        hash of all of this and of every tensor: it detects damage, and is no signature
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from sweeper.model.errors import ModelError, NetworkFileError
from sweeper.model.window import ALL, FORMER_NAMES, Window

FORMAT = 3

#: Format -> fields of a window that files of earlier formats lack, with the values that they stand for.
_ADDED: Mapping[int, Mapping[str, Any]] = {
    2: {"bottom_up": "within", "standardize": "none"},
    3: {"connections": ALL},
}

#: Oldest format that is written: newer formats are used only for windows that need them.
_COMMON_FORMAT = 2

#: The one entry of the metadata.
ENTRY = "sweeper"

Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class SavedNetwork:
    """A network as its file holds it.

    Attributes:
        window: The network's shape, and the shape of its images.
        weights: State of its lattice by name, a population of one; all numbers are finite.
        description: Facts about the network from its writer.
    """

    window: Window
    weights: Weights
    description: Mapping[str, Any]


def stored_window(window: Window) -> tuple[int, dict[str, Any]]:
    """Return the oldest format that can describe a window, and the window's fields in that format.

    Fields that came after `_COMMON_FORMAT` are left out if they have their former value. So older versions read every
    network that they could have trained, and refuse the others as newer.
    """
    values, format_ = asdict(window), FORMAT
    while format_ > _COMMON_FORMAT and all(values[name] == was for name, was in _ADDED[format_].items()):
        for name in _ADDED[format_]:
            del values[name]
        format_ -= 1
    return format_, values


def read_saved(path: str | Path) -> SavedNetwork:
    """Read a network's file and check all of it.

    Args:
        path: A file that `save` or `sweeper export` wrote.

    Raises:
        NetworkFileError: If there is no such file, or it is damaged or holds no network.
    """
    return _read_as(Path(path), Path(path))


def decode_saved(data: bytes, name: str) -> SavedNetwork:
    """Read a network from the content of a file, as `read_saved` does from the file itself.

    Args:
        data: The whole content.
        name: Name of the file in error messages.

    Raises:
        NetworkFileError: If the content is damaged or holds no network.
    """
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:  # `safe_open` reads metadata only from files
        file.write(data)
        file.flush()
        return _read_as(Path(file.name), Path(name))


def _read_as(file: Path, path: Path) -> SavedNetwork:
    """Read and check a file that error messages call `path`."""
    content, weights = _read(file, path)
    window = _window_of(content, path)
    _check_weights(weights, window, path)
    if not _is_whole(content, weights):
        raise NetworkFileError(path, "is damaged: its checksum does not fit its content")
    broken = [name for name, array in weights.items() if not np.isfinite(array).all()]
    if broken:
        raise NetworkFileError(path, f"is no usable network: {broken[0]!r} holds infinite numbers or NaN")
    return SavedNetwork(window, weights, content["description"])


_NAME_ANOTHER = "Name a file that `sweeper export` wrote."


def digest(content: Mapping[str, Any], weights: Weights) -> str:
    """Return the checksum of a file's content."""
    checksum = hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode())
    for name, array in sorted(weights.items()):
        checksum.update(f"{name} {_type_of(array)} {array.shape}".encode())
        checksum.update(array.tobytes())
    return checksum.hexdigest()


def _type_of(array: NDArray[Any]) -> str:
    """Return torch's name of an array's type, as checksums of existing files contain it."""
    return f"torch.{array.dtype}"


def _is_whole(content: dict[str, Any], weights: Weights) -> bool:
    """Remove the checksum from the content and compare it."""
    try:
        return bool(content.pop("sha256", None) == digest(content, weights))
    except (ValueError, RecursionError):  # infinite numbers or deep nesting, which `save` never writes
        return False


def _read(file: Path, path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the JSON of a file, with its format checked, and its arrays."""
    try:
        if not file.is_file():
            raise NetworkFileError(path, "is a folder" if file.is_dir() else "does not exist", _NAME_ANOTHER)
        with safe_open(file, framework="np") as opened:
            text = (opened.metadata() or {}).get(ENTRY)
            if text is None:
                raise NetworkFileError(
                    path,
                    f"is a safetensors file, but holds no network of sweeper: its metadata have no entry {ENTRY!r}",
                    _NAME_ANOTHER,
                )
            content = _content_of(text, path)  # before the arrays, since another format may hold anything
            return content, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # no mapping
    except OSError as error:
        raise NetworkFileError(path, f"cannot be read: {error.strerror or error}") from error
    except (SafetensorError, RuntimeError, AttributeError, TypeError) as error:  # unknown dtypes raise any of these
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise NetworkFileError(path, f"is cut off, damaged or no safetensors file: {reason}") from error


def _content_of(text: str, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NetworkFileError(path, f"is damaged: its description is no JSON ({error})") from error
    found = content.get("format") if isinstance(content, dict) else None
    if type(found) is not int or found < 1:
        raise NetworkFileError(path, f"is damaged: its format must be a number of at least 1, but is {found!r}")
    if found > FORMAT:
        raise NetworkFileError(
            path,
            f"has format {found}, but this version of sweeper reads formats up to {FORMAT}",
            "Install a newer version to read it.",
        )
    if not isinstance(content.get("description"), dict) or not isinstance(content.get("window"), dict):
        raise NetworkFileError(path, "is damaged: it lacks its window or its description")
    return dict(content)


def _window_of(content: Mapping[str, Any], path: Path) -> Window:
    values, types = dict(content["window"]), get_type_hints(Window)
    for brought_in, fields_of_it in _ADDED.items():
        if content["format"] < brought_in:
            values = {**fields_of_it, **values}
    named = values.get("time_selection")
    if isinstance(named, str):
        values["time_selection"] = FORMER_NAMES.get(named, named)
    wrong = sorted(values.keys() ^ {field.name for field in fields(Window)})
    if wrong:
        is_known = wrong[0] in types
        raise NetworkFileError(
            path, f"is damaged: its window {'lacks' if is_known else 'has an unknown field'} {wrong[0]!r}"
        )
    for name, value in values.items():
        is_many = get_origin(types[name]) is tuple
        item = int if is_many else types[name]
        items = value if is_many and isinstance(value, list) else [value]
        if isinstance(value, list) is not is_many or any(type(one) is not item for one in items):
            raise NetworkFileError(path, f"is damaged: its window cannot have {name}={value!r}")
    if len(values["image"]) != 3 or min(values["image"]) < 1:
        raise NetworkFileError(path, f"is damaged: its window cannot have image={values['image']}")
    arguments: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in values.items()}
    try:
        return Window(**arguments)
    except ModelError as error:
        raise NetworkFileError(path, f"is damaged: its window cannot be: {error}") from error


def _check_weights(weights: Weights, window: Window, path: Path) -> None:
    """Compare names, shapes and types with those of the window's lattice, before memory is allocated for it."""
    expected = {name: (1, *shape) for name, shape in {**window.learned_shapes(), **window.kept_shapes()}.items()}
    for name in sorted(weights.keys() ^ expected.keys()):
        what = "lacks" if name in expected else "has an unexpected tensor"
        raise NetworkFileError(path, f"does not hold the network it describes: it {what} {name!r}")
    for name, shape in expected.items():
        found, wanted = weights[name], "torch.float32"
        if (found.shape, _type_of(found)) != (shape, wanted):
            raise NetworkFileError(
                path,
                f"does not hold the network it describes: {name!r} must be {wanted} of shape {shape}, "
                f"but is {_type_of(found)} of shape {found.shape}",
            )
