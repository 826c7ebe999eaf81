"""Finds out what a user's own code adds to a sweep of lattices; the driver never runs that code itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeper.errors import SpecError
from sweeper.isolated import ask
from sweeper.spec import LatticeSweep, LoadedSpec

#: Longest look at a user's functions, in seconds; a longer one hangs.
_PATIENCE_S = 600.0


@dataclass(frozen=True)
class OwnParts:
    """Facts about a user's code.

    Attributes:
        files: Hashes of its files, by path within their folder.
        tasks: Facts about each task whose images the user's functions make, as plain values.
        slower: Factor by which the code lengthens a training step.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    slower: float = 1.0
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def look(loaded: LoadedSpec, spec: LatticeSweep, refuse: Callable[[Mapping[str, str]], None]) -> OwnParts:
    """Find and try the functions that a spec names, in a separate process.

    Args:
        loaded: The spec, with the folder of its code.
        spec: The same spec.
        refuse: Called with the hashes of the code's files; raises if they are not the expected ones.

    Raises:
        SpecMismatchError: If `refuse` refuses the code.
        SpecError: If a function cannot be used.
    """
    if not spec.own_sources:
        return OwnParts()
    asked = {
        "folder": loaded.folder,
        "sources": dict(spec.own_sources),
        "measures": {name: one.of for name, one in spec.measures.items()},
        "probes": spec.own_probes,
        "levels": list(spec.beside.probes),
        "makes_images": spec.has_own_images,
        "settings": [setting.flat() for setting in spec.corners()],
    }
    answers = ask(["parts"], _PATIENCE_S, {"CUDA_VISIBLE_DEVICES": ""}, json.dumps(asked))
    first = answers[0] if answers else "it said nothing"
    found: dict[str, Any] = first if isinstance(first, dict) else {"problem": f"own code could not be tried: {first}"}
    files = found.get("files")
    if files is not None:
        refuse(files)
    if problem := found.get("problem"):
        raise SpecError(f"{str(problem).rstrip('.')}. Mend it, and run the sweep again.")
    return OwnParts(files or {}, float(found["slower"]), found["tasks"])
