"""The check of each node of a cluster before a sweep starts: whether it finds everything that the driver has."""

from __future__ import annotations

import importlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from sweeper import own_code, storage
from sweeper.execution.resources import Shared, SharedCode
from sweeper.isolated import ask
from sweeper.provenance import software

#: Packages whose versions must be the driver's on every node.
_SAME = ("python", "torch", "ray", "sweeper")

#: Longest import of a user's module, in seconds.
_CODE_PATIENCE_S = 60.0

#: Longest start of torch, in seconds.
_TORCH_PATIENCE_S = 45.0


def look(shared: Shared, probe: str, gpus: int) -> dict[str, str]:
    """Return the problems of the node on which this runs.

    Args:
        shared: Everything that the node should find.
        probe: A file that the driver wrote, whose content is the end of its name; empty for none.
        gpus: Number of GPUs that Ray reports for the node.

    Raises:
        Exception: Whatever an import raises; the caller turns it into a problem.
    """
    problems = list(_other_software(shared.software))
    for name in () if problems else shared.imports:  # other versions may well lack a module, so they are not tried
        importlib.import_module(name)
    problems += [*_other_storage(probe), *_other_files(shared.files)]
    if shared.code is not None and not problems:
        problems += _other_code(shared.code)
    return {"problem": "; ".join(problems), "gpu_problem": _gpu_problem(gpus) if gpus else ""}


def _other_software(expected: Mapping[str, str]) -> Iterator[str]:
    here = software()
    for name in _SAME:
        if name in expected and _release(name, here[name]) != _release(name, expected[name]):
            yield f"it has {name} {here[name]}, and the driver {expected[name]}; install the same there"


def _release(name: str, version: str) -> str:
    """Return the part of a version that must agree: without torch's build for a device, or Python's bugfix number."""
    return version.rpartition(".")[0] if name == "python" else version.partition("+")[0]


def _other_storage(probe: str) -> Iterator[str]:
    if not probe:
        return
    folder, _, mark = storage.parted(probe)[0].rpartition("/")
    try:
        if storage.read_bytes(probe) != mark.encode():
            yield (
                f"the folder {storage.without_credentials(folder)} there is not the driver's: a file that was just "
                "written to it is missing; name a storage that every node reaches with --storage"
            )
            return
        mine = _beside(probe, uuid.uuid4().hex)
        storage.write_bytes(mine, b"")
        storage.delete(mine)
    except OSError as error:
        yield (
            f"the storage {storage.without_credentials(folder)} cannot be used there: {error.strerror}; give it the "
            "credentials and the rights that the driver has, or name another one with --storage"
        )


def _beside(probe: str, name: str) -> str:
    path, reached = storage.parted(probe)
    return f"{path}-{name}{reached}"


def _other_files(files: Mapping[str, int]) -> Iterator[str]:
    for path, size in files.items():
        try:
            there = os.stat(path).st_size
        except OSError as error:
            yield f"the images {path} are not there ({error.strerror}); copy them there, under the same path"
        else:
            if there != size:
                yield f"the images {path} have {there} bytes there, and {size} at the driver; copy them again"


def _other_code(code: SharedCode) -> Iterator[str]:
    """Yield differences of a user's own code, which is imported in a separate process because it may do anything."""
    given = json.dumps({"source": code.source, "folder": code.folder})
    answers = ask(["function"], _CODE_PATIENCE_S, {"CUDA_VISIBLE_DEVICES": ""}, given)
    first = answers[0] if answers else "it said nothing"
    found: dict[str, Any] = first if isinstance(first, dict) else {"problem": str(first)}
    if problem := found.get("problem"):
        yield (
            f"{code.source} cannot be imported there: {problem}; have every node reach {code.folder}, or `sweeper "
            "submit` the sweep, which takes the code along"
        )
        return
    now = {name: digest for name, digest in found["files"].items() if name in code.files}
    if told := own_code.changed(code.files, {**code.files, **now}):
        yield f"the code of {code.source} is not the driver's there: {', '.join(told)}; copy it there again"


def _gpu_problem(gpus: int) -> str:
    """Return why torch cannot use this node's GPUs, from a separate process that sees all of them; empty if it can."""
    shown = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(gpus)))}
    facts: dict[str, Any] = {}
    for answer in ask(["torch"], _TORCH_PATIENCE_S, shown):
        if isinstance(answer, str):
            return f"torch does not start there: {answer}"
        facts = answer
    if len(facts.get("devices", ())) >= gpus:
        return ""
    return (
        f"Ray says it has {gpus} GPUs, and torch {facts.get('version')}, built for {facts.get('built_for')}, sees "
        f"{len(facts.get('devices', ()))}; install a torch and a driver that fit, or set placement.gpus to 0"
    )
