"""Where a user's own function is, and what its signature says: `exits:train` is `train` in exits.py or a package."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from sweeper.own_code import SOURCE

#: The argument that a function takes to report, and the one that gets the replicate's seed.
TRIAL, SEED = "trial", "seed"

#: Parts of the paths of what is installed.
_INSTALLED = frozenset({"site-packages", "dist-packages"})

#: What an argument's values may be, by the name of its type.
KINDS: Mapping[str, type] = {"bool": bool, "int": int, "float": float, "str": str}


class SourceError(Exception):
    """A function cannot be used; says why, and the way out."""


@dataclass(frozen=True)
class Argument:
    """An argument of a function.

    Attributes:
        kind: One of `KINDS`, by its annotation or its default; empty where neither says.
        has_default: Whether it may be left out.
        default: Its default where that is of one of `KINDS`; else None.
    """

    name: str
    kind: str
    has_default: bool
    default: bool | int | float | str | None


@dataclass(frozen=True)
class Signature:
    """What is known of a function without calling it.

    Attributes:
        arguments: All that a spec may give, in order.
        takes_trial: Whether it reports and goes on.
        takes_seed: Whether it is given the replicate's seed.
        files: What its code is, see `files_of`.
        places: Where its files are, by the same names.
    """

    arguments: tuple[Argument, ...]
    takes_trial: bool
    takes_seed: bool
    files: Mapping[str, str]
    places: Mapping[str, str]


def function_of(source: str, folder: Path, key: str = "train") -> Callable[..., Any]:
    """Import a function.

    Args:
        source: Such as `exits:train`.
        folder: Where exits.py is looked for first; then among what is installed.
        key: What of the spec names it.

    Raises:
        SourceError: If there is none.
    """
    module_name, _, name = source.partition(":")
    if not SOURCE.fullmatch(source):
        raise SourceError(f"{key} must be module:function, such as exits:train, but got {source!r}.")
    if module_name.split(".")[0] == "__main__":
        raise SourceError(
            f"{key} must be in a file that every worker can import, but got {source!r}: what is typed into a notebook "
            "or a terminal is nowhere else. Write it to a file, in a notebook with `%%writefile exits.py` as the first "
            "line of its cell, and name that: exits:train."
        )
    module = _module(module_name, folder, key)
    found = getattr(module, name, None)
    if found is None:
        near = [one for one, it in vars(module).items() if inspect.isfunction(it) and it.__module__ == module.__name__]
        has = f"it has {', '.join(near)}" if near else "it has no function"
        raise SourceError(f"{key} names {source!r}, but {module.__file__} has no {name} ({has}).")
    if not callable(found) or inspect.isclass(found):
        raise SourceError(f"{key} must name a function, but {source!r} is {type(found).__name__} {found!r:.60}.")
    return found  # type: ignore[no-any-return]  # it is callable


def _module(name: str, folder: Path, key: str) -> ModuleType:
    """Import a module: from the folder where it is there, and else as any import does."""
    top, *_ = name.split(".")
    if any((folder / one).exists() for one in (f"{top}.py", f"{top}/__init__.py")):
        known = sys.modules.get(top)
        if known is not None and not _is_in(known, folder):
            if top in sys.stdlib_module_names or not hasattr(known, "__file__"):
                raise SourceError(
                    f"{key} names the module {top!r}, but Python has a module of that name already. Rename {top}.py."
                )
            for loaded in [one for one in sys.modules if one == top or one.startswith(f"{top}.")]:
                del sys.modules[loaded]
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
    writes_none = sys.dont_write_bytecode
    # Python takes what it has compiled before for the file where size and second are the same; and nobody asked for
    # files beside his own.
    sys.dont_write_bytecode = True
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == top:
            raise SourceError(
                f"{key} names the module {name!r}, but there is no {top}.py in {folder}, and none is installed. "
                "Correct the name, or put the file beside the spec."
            ) from error
        raise
    finally:
        sys.dont_write_bytecode = writes_none


def _is_in(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve().is_relative_to(folder.resolve())


def signature_of(function: Callable[..., Any], folder: Path) -> Signature:
    """Return what a function's signature says.

    Raises:
        SourceError: If it cannot be called by names.
    """
    where = f"{function.__module__}:{getattr(function, '__name__', function)}"
    found, takes = list[Argument](), set[str]()
    try:
        parameters = inspect.signature(function, eval_str=True).parameters
    except (NameError, TypeError, ValueError):  # annotations that name what is not there at run time
        parameters = inspect.signature(function).parameters
    for parameter in parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise SourceError(f"{where} takes {parameter.name!r} by position alone. Take the `/` out of its signature.")
        if parameter.name in (TRIAL, SEED):
            takes.add(parameter.name)
            continue
        found.append(_argument(parameter))
    places = {name: str(path) for name, path in _places_of(function, folder).items()}
    return Signature(tuple(found), TRIAL in takes, SEED in takes, files_of(function, folder), places)


def _argument(parameter: inspect.Parameter) -> Argument:
    has_default = parameter.default is not parameter.empty
    default = parameter.default if has_default else None
    plain = default if type(default) in KINDS.values() else None
    annotation = parameter.annotation
    named = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    kind = named if named in KINDS else type(plain).__name__ if plain is not None else ""
    if kind == "float" and type(plain) is int:  # as `lr: float = 1`
        plain = float(plain)
    return Argument(parameter.name, kind, has_default, plain)


def files_of(function: Callable[..., Any], folder: Path) -> dict[str, str]:
    """Return what a function's code is, as far as it is loaded, by path within the folder.

    That is a hash of each Python file of its module's top package, and of what else of the folder this process has
    imported; of what is installed, the version.
    """
    found = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in _places_of(function, folder).items()}
    if not found:
        for distribution in metadata.packages_distributions().get(function.__module__.partition(".")[0], ()):
            found[f"{distribution} (installed)"] = metadata.version(distribution)
    return found


def _places_of(function: Callable[..., Any], folder: Path) -> dict[str, Path]:
    """Return where the files are that `files_of` tells of."""
    folder, found = folder.resolve(), dict[str, Path]()
    for name in dict.fromkeys([function.__module__.partition(".")[0], *_tops_in(folder)]):
        found |= {str(file.relative_to(root)): file for root, file in _files_of_top(name, folder)}
    return found


def _tops_in(folder: Path) -> list[str]:
    """Return the names of top modules of a folder that this process has imported, sorted."""
    skipped = {"sweeper", "__main__", "__mp_main__"} | sys.stdlib_module_names
    tops = {name.partition(".")[0] for name, module in list(sys.modules.items()) if _is_own_file(module, folder)}
    return sorted(tops - skipped)


def _is_own_file(module: ModuleType, folder: Path) -> bool:
    """Tell whether a module is of a folder, and not installed within it."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        return False
    path = Path(file).absolute()  # a link counts as what it is called
    return path.is_relative_to(folder) and not _INSTALLED & set(path.parts)


def _files_of_top(name: str, folder: Path) -> list[tuple[Path, Path]]:
    """Return the Python files of a top module or package, each after the folder that its name is written from."""
    top = sys.modules.get(name)
    file = getattr(top, "__file__", None)
    if file is None:  # a package without __init__.py: what is loaded of it
        loaded = [one for full, one in list(sys.modules.items()) if full.startswith(f"{name}.")]
        files = sorted(Path(one.__file__ or "").absolute() for one in loaded if _is_own_file(one, folder))
        return [(folder, one) for one in files]
    path = Path(file).absolute()
    if _INSTALLED & set(path.parts) or path.suffix != ".py":
        return []
    files = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
    root = path.parent.parent if path.name == "__init__.py" else path.parent
    root = folder if path.is_relative_to(folder) else root
    return [(root, one) for one in files if one.is_file()]
