"""Finds a user's own function and reads its signature: `exits:train` is `train` in exits.py or a package `exits`."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from sweeper.own_code import SOURCE

#: Names of the argument through which a function reports, and of the one that gets the replicate's seed.
TRIAL, SEED = "trial", "seed"

#: Folders in the paths of installed packages.
_INSTALLED = frozenset({"site-packages", "dist-packages"})

#: Top modules that are nobody's own code.
_SKIPPED = frozenset({"sweeper", "__main__", "__mp_main__"}) | sys.stdlib_module_names

#: Types that an argument may have, by name.
KINDS: Mapping[str, type] = {"bool": bool, "int": int, "float": float, "str": str}


class SourceError(Exception):
    """Raised if a function cannot be used; says why, and the way out."""


@dataclass(frozen=True)
class Argument:
    """An argument of a function.

    Attributes:
        kind: One of `KINDS`, from the annotation or the default; empty if neither tells.
        has_default: Whether the argument may be left out.
        default: The default if its type is one of `KINDS`; otherwise None.
    """

    name: str
    kind: str
    has_default: bool
    default: bool | int | float | str | None


@dataclass(frozen=True)
class Signature:
    """What is known of a function without calling it.

    Attributes:
        arguments: All arguments that a spec may give, in order.
        takes_trial: Whether it takes a trial, to report and to continue.
        takes_seed: Whether it takes the replicate's seed.
        files: Hashes of its code's files; see `files_of`.
        places: Paths of these files, by the same names.
    """

    arguments: tuple[Argument, ...]
    takes_trial: bool
    takes_seed: bool
    files: Mapping[str, str]
    places: Mapping[str, str]


def function_of(source: str, folder: Path, key: str = "train") -> Callable[..., Any]:
    """Import a function.

    Args:
        source: Source of the function, such as `exits:train`.
        folder: Folder that is searched for exits.py first, before installed packages.
        key: Key of the spec that names the function, for errors.

    Raises:
        SourceError: If there is no such function.
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
    """Import a module from the folder if the folder has it, and otherwise as any import does."""
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
    # No bytecode: Python would mistake stale bytecode for a changed file of the same size and second, and users do not
    # want additional files beside their own.
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
    """Return a function's signature.

    Raises:
        SourceError: If the function cannot be called with named arguments.
    """
    where = f"{function.__module__}:{getattr(function, '__name__', function)}"
    found, takes = list[Argument](), set[str]()
    try:
        parameters = inspect.signature(function, eval_str=True).parameters
    except (NameError, TypeError, ValueError):  # an annotation uses a name that does not exist at run time
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
    """Return the hashes of a function's code, by path within the folder.

    These are the hashes of each Python file of its module's top package, and of other modules of the folder that this
    process has imported or that any of these files names in an import. An installed package has its version in place
    of hashes.
    """
    found = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in _places_of(function, folder).items()}
    if not found:
        for distribution in metadata.packages_distributions().get(function.__module__.partition(".")[0], ()):
            found[f"{distribution} (installed)"] = metadata.version(distribution)
    return found


def _places_of(function: Callable[..., Any], folder: Path) -> dict[str, Path]:
    """Return the paths of the files that `files_of` hashes."""
    folder, found = folder.resolve(), dict[str, Path]()
    for name in dict.fromkeys([function.__module__.partition(".")[0], *_tops_in(folder)]):
        found |= {str(file.relative_to(root)): file for root, file in _files_of_top(name, folder)}
    unread = list(found.values())
    while unread:
        named = _named_in(unread.pop(), folder)
        unread += [file for name, file in named.items() if name not in found]
        found |= named
    return dict(sorted(found.items()))


def _tops_in(folder: Path) -> list[str]:
    """Return the names of top modules of a folder that this process has imported, sorted."""
    tops = {name.partition(".")[0] for name, module in list(sys.modules.items()) if _is_own_file(module, folder)}
    return sorted(tops - _SKIPPED)


def _named_in(file: Path, folder: Path) -> dict[str, Path]:
    """Return the files of a folder that a file names in imports, by path within the folder.

    A function may import while it runs, and the machine that submits a sweep does not run it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Python has to say of the file it says when it is imported
            tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):  # for example, a template that is never imported
        return {}
    found = list[Path]()
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):  # a relative import stays within a package, whose files are all known
            names = [f"{node.module}.{name}" for name in ("", *names)] if node.module and not node.level else []
        for name in names:
            found += _files_of_import(name.strip("."), folder)
    return {str(one.relative_to(folder)): one for one in found}


def _files_of_import(name: str, folder: Path) -> list[Path]:
    """Return the files of a folder that `import name` may read: a whole package, or a module within folders."""
    top, *_ = parts = name.split(".")
    if top in _SKIPPED:
        return []
    if (folder / top / "__init__.py").is_file():
        return sorted((folder / top).rglob("*.py"))
    path = folder.joinpath(*parts).with_suffix(".py")
    return [path] if path.is_file() else []


def _is_own_file(module: ModuleType, folder: Path) -> bool:
    """Return whether a module lies in a folder, and is not installed within it."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        return False
    path = Path(file).absolute()  # a link counts by its own path, not its target's
    return path.is_relative_to(folder) and not _INSTALLED & set(path.parts)


def _files_of_top(name: str, folder: Path) -> list[tuple[Path, Path]]:
    """Return the Python files of a top module or package, each after the folder that its name is relative to."""
    top = sys.modules.get(name)
    file = getattr(top, "__file__", None)
    if file is None:  # a package without __init__.py: only its loaded modules
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
