"""Cut networks on disk: one safetensors file, which holds numbers and text and nothing that could be executed.

The tensors are the state of the lattice by name, in float32. The metadata hold one entry, `sweeper`, with JSON:

    format        2; a reader refuses a newer one, and 1 lacks the window's bottom_up, which was `within`
    window        the fields of `Window`
    description   whatever the writer knows of the network
    sha256        of all of this and of every tensor: it finds damage, it is no signature
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from sweeper.model.aside import written_aside
from sweeper.model.errors import ModelError, NetworkFileError
from sweeper.model.lattice import Lattice, Window
from sweeper.model.network import Network
from sweeper.model.time_selection import FORMER_NAMES

FORMAT = 2

#: Fields of a window that files of format 1 lack, and what they were then.
_ADDED: Mapping[str, Any] = {"bottom_up": "within", "standardize": "none"}

#: The one entry of the metadata.
ENTRY = "sweeper"


def encode(network: Lattice, description: Mapping[str, Any]) -> bytes:
    """Return a network as the content of a file that `load` reads.

    Args:
        network: A population of one, as `cut` returns it.
        description: What a reader should know of it: values that JSON can hold, finite numbers.
    """
    Network(network)  # refuses populations
    tensors = {
        name: (tensor.float() if tensor.is_floating_point() else tensor).detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
    }
    content = {"format": FORMAT, "window": asdict(network.window), "description": dict(description)}
    text = json.dumps({**content, "sha256": _digest(content, tensors)}, allow_nan=False)
    return bytes(safetensors_bytes(tensors, {ENTRY: text}))


def save(network: Lattice, description: Mapping[str, Any], path: str | Path) -> None:
    """Write a network, so that no reader ever meets half a file, and a crash leaves the former one.

    Args:
        network, description: As for `encode`.
        path: Where to write; its folder is made if it is missing.

    Raises:
        OSError: If the file cannot be written.
    """
    data = encode(network, description)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with written_aside(Path(path)) as file:
        file.write(data)


def load(path: str | Path) -> Network:
    """Read a network; it gives the same answers as the one that was written.

    Nothing in the file is executed.

    Args:
        path: A file that `save` or `sweeper export` wrote.

    Returns:
        The network on the CPU, in evaluation mode, with its description.

    Raises:
        NetworkFileError: If there is no such file, it is no network, or it is damaged.
    """
    return _loaded(Path(path), Path(path))


def decode(data: bytes, name: str) -> Network:
    """Read a network from the content of a file, as `load` does from the file itself.

    Args:
        data: What `encode` returned, or what `save` or `sweeper export` wrote.
        name: What to call it where something is wrong.

    Raises:
        NetworkFileError: If it is no network, or it is damaged.
    """
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:  # what checks the format reads metadata of files
        file.write(data)
        file.flush()
        return _loaded(Path(file.name), Path(name))


def _loaded(file: Path, path: Path) -> Network:
    """Read and check a file that is called `path`."""
    content, tensors = _read(file, path)
    window = _window_of(content, path)
    _check_tensors(tensors, window, path)
    if not _is_whole(content, tensors):
        raise NetworkFileError(path, "is damaged: its checksum does not fit its content")
    broken = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise NetworkFileError(path, f"is no usable network: {broken[0]!r} holds infinite numbers or NaN")
    lattice = Lattice(window, seeds=[0])
    lattice.load_state_dict(tensors)
    return Network(lattice, content["description"]).eval()


_NAME_ANOTHER = "Name a file that `sweeper export` wrote."


def _digest(content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _is_whole(content: dict[str, Any], tensors: Mapping[str, Tensor]) -> bool:
    """Take the checksum out of the content and compare it."""
    try:
        return bool(content.pop("sha256", None) == _digest(content, tensors))
    except (ValueError, RecursionError):  # numbers that are not finite, endless nesting: `save` writes neither
        return False


def _read(file: Path, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the JSON of a file, with its format checked, and its tensors."""
    try:
        if not file.is_file():
            raise NetworkFileError(path, "is a folder" if file.is_dir() else "does not exist", _NAME_ANOTHER)
        with safe_open(file, framework="pt") as opened:
            text = (opened.metadata() or {}).get(ENTRY)
            if text is None:
                raise NetworkFileError(
                    path,
                    f"is a safetensors file, but holds no network of sweeper: its metadata have no entry {ENTRY!r}",
                    _NAME_ANOTHER,
                )
            content = _content_of(text, path)  # before the tensors: another format may hold anything
            return content, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # no mapping
    except OSError as error:
        raise NetworkFileError(path, f"cannot be read: {error.strerror or error}") from error
    except (SafetensorError, RuntimeError, AttributeError, TypeError) as error:  # what unknown dtypes raise varies
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
    if content["format"] == 1:
        values = {**_ADDED, **values}
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


def _claimed(window: Window) -> int:
    """Return how many numbers the lattice of a window holds at most."""
    claimed, below = window.steps + window.classes + 2 + 2 * window.image[0], window.image[0]
    for layer, c in enumerate(window.channels):
        above = window.channels[layer + 1] if layer + 1 < window.layers else 0
        claimed += c * (window.kernel**2 * (below + c + above) + window.classes + 2)
        below = c
    return claimed


def _check_tensors(tensors: Mapping[str, Tensor], window: Window, path: Path) -> None:
    """Compare names, shapes and types with those of the window's lattice, before memory is taken for it."""
    try:
        # Without memory where the window claims more than the file holds; that takes ten times as long.
        with torch.device("cpu" if _claimed(window) <= 2 * sum(t.numel() for t in tensors.values()) else "meta"):
            expected = Lattice(window, seeds=[0]).state_dict()
    except (RuntimeError, OverflowError, TypeError) as error:
        raise NetworkFileError(path, f"is damaged: no network has its window {window}") from error
    for name in sorted(tensors.keys() ^ expected.keys()):
        what = "lacks" if name in expected else "has an unexpected tensor"
        raise NetworkFileError(path, f"does not hold the network it describes: it {what} {name!r}")
    for name, wanted in expected.items():
        found, shape = tensors[name], tuple(wanted.shape)
        if (tuple(found.shape), found.dtype) != (shape, wanted.dtype):
            raise NetworkFileError(
                path,
                f"does not hold the network it describes: {name!r} must be {wanted.dtype} of shape {shape}, "
                f"but is {found.dtype} of shape {tuple(found.shape)}",
            )
