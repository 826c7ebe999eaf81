"""What a network's file says of its network, checked: files may come from strangers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import model
from sweeper.errors import QueryError, SpecError
from sweeper.spec import Setting


@dataclass(frozen=True)
class Described:
    """A network from a file.

    Attributes:
        title: Its task and its trial's key, as far as the file tells.
        measurement: What the file says was measured on it.
    """

    graph: model.Graph
    title: str
    measurement: Mapping[str, float]


def describe(path: Path) -> Described:
    """Read a network's file.

    Raises:
        QueryError: If it holds no network, or does not say how probable the network's steps are.
    """
    try:
        return _described(model.load(path), path)
    except model.ModelError as error:
        raise QueryError(f"no network can be shown: {error}") from error


def describe_bytes(data: bytes, name: str) -> Described:
    """Read the content of a network's file, wherever it was kept.

    Args:
        data: All of it.
        name: What to call it where something is wrong.

    Raises:
        QueryError: If it holds no network, or does not say how probable the network's steps are.
    """
    try:
        return _described(model.decode(data, name), Path(name))
    except model.ModelError as error:
        raise QueryError(f"no network can be shown: {error}") from error


def _described(network: model.Network, path: Path) -> Described:
    description = network.description
    step_dist = description.get("step_dist")
    if not isinstance(step_dist, list) or not all(isinstance(p, float | int) for p in step_dist):
        raise QueryError(f"{path} cannot be shown: its description has no list of numbers named step_dist.")
    graph = model.graph_of(network.lattice, step_dist)
    measured = description.get("measurement")
    numbers = measured.items() if isinstance(measured, dict) else ()
    return Described(graph, _title(description, path), {n: v for n, v in numbers if isinstance(v, float | int)})


def _title(description: Mapping[str, Any], path: Path) -> str:
    """Return task and key of a network's trial; of a network that has none, the name of its file."""
    try:
        task = [Setting.from_flat(description["setting"]).task.label]
    except (SpecError, KeyError, AttributeError):
        task = []  # written by hand, or by another version
    key = description.get("key")
    return " · ".join([*task, f"trial {key}" if key else path.name])
