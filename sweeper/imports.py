"""Explains a failed import to the user, and names the file that is to blame.

A file in a user's folder may have the name of a package (`yaml.py`, `numpy.py`). A package may be missing on a machine,
or broken there. This file imports only the standard library, mostly inside its functions: they are sent to workers by
value, because a worker may not find sweeper.
"""

from __future__ import annotations

import sys
from types import ModuleType


def import_problem(error: BaseException) -> str:
    """Return the failed import with the file and the error, in one line; empty if the error is not about an import.

    Errors about an import are any exception during an import; a module that lacks an imported name; and a file that
    hides a package and lacks what the package has.
    """
    frames = _frames(error)
    importing = [frame for frame in frames if frame[2] and frame[0] != "__main__"]
    names = [*_named_in(error), *(frame[0].partition(".")[0] for frame in reversed(importing))]
    said = " ".join(f"{type(error).__name__}: {error}".split())
    for name in dict.fromkeys(names):
        if shadow := _shadow(name):
            return f"{name} is imported from {shadow[0]} instead of {shadow[1]} ({said})"
    if not importing and not isinstance(error, (ImportError, SyntaxError)):
        return ""
    if isinstance(error, ModuleNotFoundError) and error.name and not _places(error.name.partition(".")[0]):
        return f"{error.name} is missing ({said})"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename} cannot be imported ({said}, line {error.lineno})"
    name = names[0] if names else "what it needs"
    path = next(iter(_places(name)), "") or next((frame[1] for frame in reversed(importing)), "")
    return f"{name} cannot be imported from {path} ({said})" if path else f"{name} cannot be imported ({said})"


def way_out(problem: str, there: str = "") -> str:
    """Return what to do about an import problem.

    Args:
        problem: Result of `import_problem`.
        there: Place, such as `on that machine`; empty for here.
    """
    at = f" {there}" if there else ""
    if " instead of " in problem:
        return f"Rename or move that file, or take its folder out of PYTHONPATH{at}"
    if " cannot be imported" in problem:
        return f"Mend or move that file, or install its package again{at}"
    return f"Install what is missing{at}" + (", the same as where sweeper is started" if there else "")


def _frames(error: BaseException) -> list[tuple[str, str, bool]]:
    """Return for each frame the module's name, its file, and whether it is being imported; the innermost frame last."""
    found, traceback = [], error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        name = str(frame.f_globals.get("__name__", ""))
        found.append((name, frame.f_code.co_filename, frame.f_code.co_name == "<module>"))
        traceback = traceback.tb_next
    return found


def _named_in(error: BaseException) -> list[str]:
    """Return the packages that an error names, the likeliest first."""
    from pathlib import PurePath

    named = getattr(error, "obj", None) if isinstance(error, AttributeError) else None
    names = [named.__name__] if isinstance(named, ModuleType) else []
    if isinstance(error, ImportError) and error.name:
        names.append(error.name)
    if isinstance(error, SyntaxError) and error.filename:
        path = PurePath(error.filename)
        names.append(path.parent.name if path.name == "__init__.py" else path.stem)
    return [name.partition(".")[0] for name in names]


def _places(name: str) -> list[str]:
    """Return the files of a package on the import path, in the path's order."""
    from importlib.machinery import PathFinder

    found = []
    for folder in sys.path:
        try:
            spec = PathFinder.find_spec(name, [folder])
        except (ImportError, ValueError):
            continue
        if spec is not None and spec.origin and spec.origin not in found:
            found.append(spec.origin)
    return found


def _shadow(name: str) -> tuple[str, str] | None:
    """Return the file that hides a package, and the package's own file; None if nothing hides it."""
    import sysconfig
    from pathlib import Path

    loaded = sys.modules.get(name)
    path = getattr(loaded, "__file__", None)
    paths = [*([path] if path else []), *_places(name)]
    standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}

    def is_installed(path: str) -> bool:
        parts = Path(path).parts
        return "site-packages" in parts or "dist-packages" in parts or any(path.startswith(s) for s in standard)

    def is_ours(path: str) -> bool:  # sweeper may run from a checkout, whatever is installed
        return name == "sweeper" and Path(path).with_name("imports.py").exists()

    if not paths or is_ours(paths[0]) or is_installed(paths[0]):
        return None
    meant = next((path for path in paths[1:] if is_installed(path) or is_ours(path)), None)
    return (paths[0], meant) if meant else None
