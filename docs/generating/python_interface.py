"""Selects the objects of the Python reference: the public objects of `sweeper`, at the places of their docstrings."""

from __future__ import annotations

import inspect

import sweeper
from sweeper import model

#: Objects of the model that users of a network file need, beside those of `sweeper` itself.
OF_THE_MODEL = ("load", "Network", "NetworkAnswer")


def offered() -> dict[str, object]:
    """Return the public objects of `sweeper` by name, functions first; modules and plain values are left out."""
    found = {name: getattr(sweeper, name) for name in sweeper.__all__}
    shown = {name: value for name, value in found.items() if inspect.isfunction(value) or inspect.isclass(value)}
    return dict(sorted(shown.items(), key=lambda pair: inspect.isclass(pair[1])))


def reference() -> str:
    """Return one line for each object, which mkdocstrings turns into its documentation."""
    parts = ["## sweeper", *(_shown(f"sweeper.{name}", value) for name, value in offered().items())]
    # The class of a loaded sweep is a result of public functions, so it is shown even if the package does not export
    # it.
    from sweeper.results.loaded_sweep import LoadedSweep

    if LoadedSweep not in offered().values():
        parts.append(_shown("LoadedSweep", LoadedSweep))
    parts += ["## sweeper.model", *(_shown(f"sweeper.model.{name}", getattr(model, name)) for name in OF_THE_MODEL)]
    return "\n\n".join(parts)


def _shown(name: str, value: object) -> str:
    place = f"{value.__module__}.{value.__qualname__}"  # type: ignore[attr-defined]  # a function or a class
    return f'::: {place}\n    options:\n      heading: "{name}"'
