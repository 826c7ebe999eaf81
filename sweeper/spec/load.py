"""Reads a spec: from YAML to one frozen `SweepSpec`."""

from __future__ import annotations

import importlib.resources
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sweeper.errors import SpecError
from sweeper.isolated import ask
from sweeper.spec.function_sweep import FunctionSweep, source_problem
from sweeper.spec.kinds import kind_of
from sweeper.spec.lattice_sweep import LatticeSweep
from sweeper.spec.own_parts import added_names
from sweeper.spec.problems import problems_of, spec_error
from sweeper.spec.sense import sense_problems
from sweeper.spec.setting import FUNCTION, OWN_MEASURES
from sweeper.spec.sweep_spec import SweepSpec, check_name, name_like
from sweeper.spec.yaml_source import from_mapping, read_yaml
from sweeper.spelling import did_you_mean

#: Time after which an import counts as hanging, in seconds.
_IMPORT_TIMEOUT_S = 120


@dataclass(frozen=True)
class LoadedSpec:
    """A spec and the file it came from.

    Attributes:
        folder: Folder in which a user's own code is looked for first; empty for a sweep without such code.
        code: Files of that code that are not installed, by their path within the folder. For a function they are always
            known; for costs, measures and degradations only if the sweep runs on other machines.
    """

    spec: SweepSpec
    text: str
    path: Path
    folder: str = ""
    code: Mapping[str, str] = field(default_factory=dict)


def load_spec(
    source: str | Path | Mapping[str, object],
    *,
    name: str | None = None,
    folder: Path | None = None,
    is_elsewhere: bool = False,
) -> LoadedSpec:
    """Read a sweep from a YAML file, from a shipped space by its name, or from a mapping with the same content.

    Args:
        source: Path of a file (which wins), a name such as `quickstart`, or a mapping. A mapping without a name is
            called `sweep`, and its relative paths start from the current folder.
        name: Replaces the name in the file.
        folder: Folder that relative paths start from. None takes the file's own folder, and the current folder for a
            shipped space or a mapping.
        is_elsewhere: Whether the sweep is to run on other machines, so that its files need not be on this one.

    Raises:
        SpecError: With every problem of the file, one line each.
    """
    if name is not None:
        check_name(name)
    if isinstance(source, Mapping):
        path, yaml_source, meant_from = Path("sweep.yaml"), from_mapping(source), Path.cwd()
    else:
        path, origin = _locate(source)
        yaml_source = read_yaml(path, origin)
        # Images do not lie in the folder of the installed package, so paths of shipped spaces start elsewhere.
        meant_from = path.absolute().parent if os.path.isfile(str(source)) else Path.cwd()
    document = {"name": name_like(path.stem), **yaml_source.data}
    if name is not None:
        document["name"] = name
    kind, code, files = kind_of(document), "", dict[str, str]()
    try:
        context = {"folder": folder or meant_from, "is_elsewhere": is_elsewhere}
        if kind is FunctionSweep:
            code = str(Path(folder or meant_from).resolve())
            context[OWN_MEASURES] = True
            document["arguments"], files = _arguments(document, code, yaml_source.origin)
        else:
            context[OWN_MEASURES] = added_names(document)
        spec = kind.model_validate(document, context=context)
        if isinstance(spec, LatticeSweep) and spec.own_sources:
            code = str(Path(folder or meant_from).resolve())
            # On this machine the sweep finds its code by itself, and nothing needs to be imported yet.
            for place, source in spec.own_sources.items() if is_elsewhere else ():
                files |= _asked(place, source, code, yaml_source.origin)["places"]
    except ValidationError as error:
        raise spec_error(problems_of(error, kind), yaml_source.origin, yaml_source.line_of) from error
    if name is None and "name" not in yaml_source.data and spec.name != path.stem:
        raise SpecError(
            f"a sweep is called as its file where that has no line `name:`, but no sweep can be called {path.stem!r} "
            f"({yaml_source.origin}): names hold letters, digits, '.', '_' and '-'. Give it one, such as "
            f"--name {spec.name}"
        )
    if problems := sense_problems(spec):
        raise spec_error(problems, yaml_source.origin, yaml_source.line_of)
    return LoadedSpec(spec, yaml_source.text, path, code, files)


def _arguments(document: Mapping[str, object], folder: str, origin: str) -> tuple[dict[str, object], dict[str, str]]:
    """Return the arguments in the signature of a document's function, and the function's files.

    Raises:
        SpecError: If there is no such function.
    """
    if "arguments" in document:
        raise SpecError(
            f"'arguments' is not a known key in {origin}: the function's signature says what it takes. Write "
            "`parameters:` for what it is called with."
        )
    source = document[FUNCTION]
    if not isinstance(source, str) or source_problem(source):
        return {}, {}  # the field's own rule refuses it
    found = _asked(FUNCTION, source, folder, origin)
    arguments: dict[str, object] = {
        one["name"]: {"kind": one["kind"], "is_required": not one["has_default"]}
        | ({} if one["default"] is None else {"default": one["default"]})
        for one in found["arguments"]
    }
    return arguments, dict(found["places"])


def function_arguments(source: str, folder: Path) -> dict[str, Any]:
    """Return the arguments that a spec may give to a user's own function, with their defaults; None for no default.

    Args:
        source: `module:function`.
        folder: Folder in which the module is looked for first.

    Raises:
        SpecError: If there is no such function, or it cannot be swept.
    """
    if said := source_problem(source):
        raise SpecError(f"{said[0]}, but got {FUNCTION}={source}. {said[1]}")
    found = _asked(FUNCTION, source, str(folder.resolve()), "init")
    return {one["name"]: one["default"] for one in found["arguments"]}


def _asked(key: str, source: str, folder: str, origin: str) -> dict[str, Any]:
    """Return facts about a user's function, which a separate process imports.

    Raises:
        SpecError: If there is no such function.
    """
    asked = json.dumps({"source": source, "folder": folder, "key": key})
    answers = ask(["function"], _IMPORT_TIMEOUT_S, given=asked)
    first = answers[0] if answers else "it said nothing"
    found: dict[str, Any] = first if isinstance(first, dict) else {"problem": str(first)}
    if problem := found.get("problem", "" if "arguments" in found else "it said nothing"):
        where = "" if str(problem).startswith(f"{key} ") else f"{key} names {source!r}, which cannot be asked: "
        raise SpecError(f"{where}{problem} ({origin}, {key})")
    return found


def shipped_spaces() -> list[str]:
    """Return the names of the sweeps that come with this package, sorted."""
    return sorted(file.name.removesuffix(".yaml") for file in _spaces().iterdir() if file.name.endswith(".yaml"))


def _spaces() -> Traversable:
    return importlib.resources.files("sweeper.search_spaces")


def _locate(source: str | Path) -> tuple[Path, str]:
    """Return the file of a source, and its name for messages."""
    # os.path, not Path, treats a name that is too long or contains a zero byte as a missing file.
    text = str(source)
    if os.path.isfile(text):
        return Path(text), text
    bare, spaces = text.removesuffix(".yaml"), shipped_spaces()
    if bare in spaces:
        return Path(str(_spaces() / f"{bare}.yaml")), f"search_spaces/{bare}.yaml"
    rule = "a spec must be a YAML file or the name of a shipped space"
    known = did_you_mean(bare, spaces, f"Shipped spaces: {', '.join(spaces)}.")
    if os.path.isdir(text):
        raise SpecError(f"{rule}, but got the folder {text!r}. Name a file in it. {known}")
    if os.path.exists(text):
        raise SpecError(f"{rule}, but got {text!r}, which is no plain file. Name a YAML file. {known}")
    raise SpecError(f"{rule}, but got {text!r}, which does not exist. Check the path. {known}")
