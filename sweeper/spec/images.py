"""Locations of a task's images: what a spec may name, and the task's name derived from it."""

from __future__ import annotations

import glob
import importlib.util
import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from pydantic import ValidationInfo

from sweeper.credentials import login_of, secrets_of
from sweeper.spec.problems import broken_rule, nearest
from sweeper.spelling import meant

#: Named colours: red, green and blue, 0–255.
COLOURS: Mapping[str, tuple[int, int, int]] = {"black": (0, 0, 0), "grey": (128, 128, 128), "white": (255, 255, 255)}

#: Longest side that images may be resized or cropped to, in pixels.
LARGEST_SIDE = 4096

#: Suffixes of single files that hold many images.
_ENDS = (".parquet", ".arrow", ".npz", "-ubyte", "-ubyte.gz")

#: Characters that make a path a pattern.
_WILD = "*?["

#: File systems that URIs may name.
_SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")

#: Name of a shard of a table.
_SHARD = re.compile(r"^(?P<name>.+?)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<rest>.*)$")

_FUNCTION = re.compile(r"^(?P<module>[^:]*[^:/\\]):(?P<name>[A-Za-z_]\w*)$")

#: Parts of a path that name no data, including what remains of a pattern without its wildcards.
_SAYS_NOTHING = frozenset({"", ".", "train", "training", "data", "raw", "images", "imgs"})

_WAYS = "a Parquet or .npz file, a folder, a pattern of files, a URI such as s3://…, or my_module:function"


def images_at(text: str, info: ValidationInfo, rule: str) -> str:
    """Return the location of images in a form that is valid everywhere: an absolute path, a URI, or a function.

    Args:
        text: The location in the spec; a path is relative to the spec's folder.
        info: Context of the spec. If the spec is to run on this machine, the location must exist.
        rule: Beginning of the error message.
    """
    context = info.context or {}
    folder, is_elsewhere = context.get("folder"), bool(context.get("is_elsewhere"))
    if "://" in text:
        return _uri(text, rule)
    if found := _FUNCTION.match(text):
        return _function(found["module"], found["name"], folder, is_elsewhere, rule)
    if folder is None:
        # A stored path is kept as it is: on another machine it need not exist, and its key must hold.
        return os.path.abspath(text)
    path = Path(folder, text).resolve()
    if any(one in text for one in _WILD) and not path.exists():
        if not is_elsewhere and next(glob.iglob(str(path)), None) is None:
            raise broken_rule(f"{rule}, at a place that exists (nothing matches {path})", "Correct the pattern.")
        return str(path)
    if not path.exists():
        is_typo = meant(text, ["digits"])
        if not text.lower().endswith(_ENDS) and "/" not in text and (is_typo or not is_elsewhere):
            raise broken_rule(f"{rule}: {_WAYS}", f"{nearest(text, ['digits'])} There is no {path}.")
        if not is_elsewhere:
            raise broken_rule(f"{rule}, at a place that exists (looked for {path})", "Correct the path.")
    elif path.is_file() and not path.name.lower().endswith(_ENDS):
        raise broken_rule(f"{rule}: {_WAYS}", f"{nearest(text, ['digits'])} A file must end in .parquet or .npz.")
    if (shard := _SHARD.match(path.name)) and int(shard["count"]) > 1:
        every = f"{shard['name']}-*-of-{shard['count']}{shard['rest']}"
        raise broken_rule(
            f"{rule}, all of them: {path.name} is one of {int(shard['count'])} parts",
            f"Name the folder, or all parts with {every}; {shard['name']}-{shard['number']}-of-*{shard['rest']} is "
            "this one alone.",
        )
    return str(path)


def _uri(text: str, rule: str) -> str:
    scheme = urlsplit(text).scheme
    if scheme == "file":
        raise broken_rule(f"{rule}: {_WAYS}", "Write a path of this machine without file://.")
    if scheme not in _SCHEMES:
        raise broken_rule(
            f"{rule}: of URIs those that begin with {', '.join(f'{one}://' for one in _SCHEMES[:3])} and the like",
            "Download the images, and name the file or folder.",
        )
    is_key = ":" in login_of(text) or secrets_of(text)
    if is_key:
        raise broken_rule(
            f"{rule} without passwords or keys, since a spec is stored and shown", "Give them in the environment."
        )
    return text


def _function(module: str, name: str, folder: object, is_elsewhere: bool, rule: str) -> str:
    """Return a function with the path of its file if that is beside the spec, else with its module's name."""
    if module.endswith(".py") or "/" in module:
        path = Path(str(folder), module).resolve() if folder is not None else Path(module)
        if folder is not None and not is_elsewhere and not path.is_file():
            raise broken_rule(f"{rule}: of a function the file must exist (looked for {path})", "Correct the path.")
        return f"{path}:{name}"
    if not all(part.isidentifier() for part in module.split(".")):
        raise broken_rule(f"{rule}: {_WAYS}", "Write a function as in my_module:function.")
    if folder is None:
        return f"{module}:{name}"
    beside = Path(str(folder), *module.split(".")).with_suffix(".py").resolve()
    if beside.is_file():
        return f"{beside}:{name}"
    top = module.partition(".")[0]
    try:
        is_installed = importlib.util.find_spec(top) is not None  # for a top-level module this runs no code
    except (ImportError, ValueError):
        is_installed = False
    if not is_installed and not is_elsewhere:
        raise broken_rule(
            f"{rule}: of a function the module must be a file beside the spec (looked for {beside}) or be installed",
            "Correct its name, or install it.",
        )
    return f"{module}:{name}"


def name_of(data: str) -> str:
    """Return the name of images: that of their file or folder, without parts that name no data."""
    if found := _FUNCTION.match(data):
        return f"{PurePosixPath(found['module'].removesuffix('.py')).name}.{found['name']}"
    path = PurePosixPath(data.partition("?")[0].partition("://")[2] if "://" in data else data)
    name = path.name
    if name.lower().endswith(".parquet") and not any(one in name for one in _WILD):
        return path.stem.removesuffix("_train") or path.stem
    for part in reversed(path.parts):
        shard = _SHARD.match(part)
        stem = re.sub(
            r"-?(\*|\?|\[[^]]*\]|\d{5})-of-.*$|\.(parquet|arrow|npz|gz)$", "", shard["name"] if shard else part
        )
        stem = re.sub(r"[*?\[\]]+", "", stem).strip("-_.").removesuffix("_train")
        if stem.lower() not in _SAYS_NOTHING and part != "/":
            return stem
    return path.stem or "images"


def read_sides(raw: object, info: ValidationInfo) -> object:
    """Return one side as a number, and two sides as one text, the form in flat settings and tables."""
    if raw is None:
        return raw
    sides = _numbers(raw)
    if len(sides) not in (1, 2) or not all(type(one) is int for one in sides):
        raise broken_rule(
            f"{info.field_name} must be one side in pixels, or height and width", "Write it as in 32, or in [32, 48]."
        )
    if not all(isinstance(one, int) and 1 <= one <= LARGEST_SIDE for one in sides):
        raise broken_rule(f"{info.field_name} must be sides from 1 to {LARGEST_SIDE} pixels", "Use another number.")
    return sides[0] if len(sides) == 1 else ",".join(map(str, sides))


def sides_of(sides: int | str | None) -> tuple[int, ...] | None:
    """Return the sides in `TaskSpec.resize` or `crop`: one side, or height and width."""
    return None if sides is None else tuple(map(int, str(sides).split(",")))


def read_background(raw: object) -> object:
    """Return a colour as its name, or as one text of its red, green and blue."""
    if raw is None or (isinstance(raw, str) and raw in COLOURS):
        return raw
    parts = _numbers(raw)
    if len(parts) != 3 or not all(type(one) is int and 0 <= one <= 255 for one in parts):
        raise broken_rule(
            f"background must be {', '.join(COLOURS)}, or red, green and blue, each from 0 to 255",
            "Write it as in white, or in [255, 255, 255].",
        )
    return ",".join(map(str, parts))


def colour_of(background: str | None) -> tuple[int, int, int] | None:
    """Return red, green and blue of the colour in `TaskSpec.background`."""
    if background is None:
        return None
    red, green, blue = COLOURS[background] if background in COLOURS else map(int, background.split(","))
    return red, green, blue


def _numbers(raw: object) -> list[object]:
    """Return the items of a list, a text with commas or a single number; items that are no numbers stay unchanged."""
    if isinstance(raw, str):
        return [int(part) if part.isdecimal() and part.isascii() else part for part in raw.split(",")]
    return list(raw) if isinstance(raw, list | tuple) else [raw]
