"""Reads and checks the description in a network's file, because files may come from strangers. Loads no torch.

The entries of `model.examples` may be missing, because older files lack them. Impossible entries are refused instead of
skipped: a picture without them would look like that of a network that has none.
"""

from __future__ import annotations

import base64
import binascii
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeGuard

from sweeper import model, storage
from sweeper.errors import DamagedError, QueryError, SpecError
from sweeper.network import ExampleImage, StepHistogram
from sweeper.rules import EarlierRules, earlier_rules, rules_in
from sweeper.spec import LatticeSetting

#: Largest accepted number; a float may not hold a larger integer exactly.
_LARGEST = 2**53

#: Limits of a file's entries: parts of the histogram, examples, characters of an image and of a name. Our own files
#: have at most 60 parts and 8 examples, and an image of 48 × 48 noisy pixels takes 10,000 characters.
_MOST_PARTS, _MOST_EXAMPLES, _LONGEST_PNG, _LONGEST_NAME = 1000, 8, 20_000, 200

#: Largest number of characters that an error quotes of a wrong value.
_LONGEST_VALUE = 100


@dataclass(frozen=True)
class Described:
    """A network from a file.

    Attributes:
        title: Task and trial key, as far as the file tells them.
        measurement: The network's measurement by the file.
        steps: Histogram of steps over the test images; None in older files.
        examples: The fastest and the slowest test images; empty in older files, and if all take the same steps.
        earlier: The rules that the network was trained and measured by, if they are not today's.
        setting: Setting of the trial, flat, by dotted names; empty if the file does not tell it.
    """

    graph: model.Graph
    title: str
    measurement: Mapping[str, float]
    steps: StepHistogram | None = None
    examples: tuple[ExampleImage, ...] = ()
    earlier: EarlierRules | None = None
    setting: Mapping[str, str | float] = field(default_factory=dict)


def describe(path: Path) -> Described:
    """Read a network's file.

    Raises:
        QueryError: If it holds no network, lacks the probabilities of the network's steps, or holds impossible entries.
    """
    try:
        return _described(model.read_saved(path), path)
    except model.ModelError as error:
        raise QueryError(f"no network can be shown: {error}") from error


def describe_bytes(data: bytes, name: str, key: str | None = None) -> Described:
    """Read the content of a network's file, wherever the file was kept.

    Args:
        data: Whole content of the file.
        name: Name of the file in errors.
        key: Key of the trial that the network should be of; None for any.

    Raises:
        DamagedError: If the content is no network's file, or another trial's.
        QueryError: If it holds no network, lacks the probabilities of the network's steps, or holds impossible entries.
    """
    try:
        network = model.decode_saved(data, name)
        if key is not None and (problem := _stranger(network.description, key)):
            raise DamagedError(f"no network can be shown: {name} {problem}. Store it again with `sweeper mirror`.")
        return _described(network, Path(name))
    except model.ModelError as error:
        raise DamagedError(f"no network can be shown: {error}") from error


def _described(network: model.SavedNetwork, path: Path) -> Described:
    description = network.description
    step_dist = description.get("step_dist")
    if not isinstance(step_dist, list) or not all(_is_number(p) for p in step_dist):
        raise QueryError(f"{path} cannot be shown: its description has no list of numbers named step_dist.")
    graph = model.graph_of(network.window, network.weights, step_dist)
    measured = description.get("measurement")
    numbers = measured.items() if isinstance(measured, dict) else ()
    return Described(
        graph=graph,
        title=_title(description, path),
        measurement={name: value for name, value in numbers if _is_number(value)},
        steps=_histogram(description.get("steps"), path),
        examples=_named(_examples(description.get("examples"), network.window, path), network, path),
        earlier=earlier_rules(rules_in(description)) if "key" in description else None,  # without a key, of no sweep
        setting=_setting(description.get("setting")),
    )


def _setting(told: object) -> dict[str, str | float]:
    """Return the trial's setting from a file, limited to entries that can be shown."""
    given = told.items() if isinstance(told, dict) else ()
    return {
        name: value
        for name, value in given
        if isinstance(name, str) and (_is_number(value) or (isinstance(value, str) and len(value) <= _LONGEST_NAME))
    }


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, float | int) and type(value) is not bool and abs(value) <= _LARGEST  # False for NaN


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= _LARGEST


def _impossible(path: Path, what: str, rule: str, value: object) -> QueryError:
    got = reprlib.repr(value)
    got = got if len(got) <= _LONGEST_VALUE else f"{got[:_LONGEST_VALUE]}…"
    return QueryError(
        f"{path} cannot be shown: {what} of its description must be {rule}, but got {got}. "
        "Export the network again with `sweeper export`."
    )


def _histogram(entry: object, path: Path) -> StepHistogram | None:
    """Return the checked entry `steps`; None if there is none."""
    if entry is None:
        return None
    rule = "an object with the lists edges, right and wrong"
    if not isinstance(entry, dict):
        raise _impossible(path, "steps", rule, entry)
    edges, right, wrong = (entry.get(name) for name in ("edges", "right", "wrong"))
    if not isinstance(edges, list) or not 2 <= len(edges) <= _MOST_PARTS + 1 or not all(map(_is_number, edges)):
        raise _impossible(path, "steps.edges", f"a list of 2 to {_MOST_PARTS + 1} numbers", edges)
    if not all(low < high for low, high in pairwise(edges)):
        raise _impossible(path, "steps.edges", "ascending", edges)
    for name, counts in (("right", right), ("wrong", wrong)):
        if not isinstance(counts, list) or len(counts) != len(edges) - 1 or not all(map(_is_count, counts)):
            raise _impossible(path, f"steps.{name}", f"a list of {len(edges) - 1} counts", counts)
    return StepHistogram(tuple(map(float, edges)), tuple(right or ()), tuple(wrong or ()))


def _examples(entry: object, window: model.Window, path: Path) -> tuple[ExampleImage, ...]:
    """Return the checked entry `examples`; empty if there is none."""
    if entry is None:
        return ()
    if not isinstance(entry, list) or len(entry) > _MOST_EXAMPLES:
        raise _impossible(path, "examples", f"a list of at most {_MOST_EXAMPLES} objects", entry)
    return tuple(_example(one, f"examples[{number}]", window, path) for number, one in enumerate(entry))


def _named(examples: Sequence[ExampleImage], network: model.SavedNetwork, path: Path) -> tuple[ExampleImage, ...]:
    """Return examples with the names or labels of the data as classes; in older files classes are numbered from 0."""
    labels: Sequence[int | str] = names_of(network, path) or labels_of(network, path)
    return tuple(replace(one, label=labels[int(one.label)], answer=labels[int(one.answer)]) for one in examples)


def labels_of(network: model.SavedNetwork | model.Network, path: Path) -> tuple[int, ...]:
    """Return the data's labels of a network's classes; in older files classes are numbered from 0.

    Raises:
        QueryError: If the file's entry is impossible.
    """
    labels, classes = network.description.get("labels"), network.window.classes
    if labels is None:
        return tuple(range(classes))
    if not isinstance(labels, list) or len(labels) != classes or not all(map(_is_count, labels)):
        raise _impossible(path, "labels", f"a list of {classes} whole numbers", labels)
    return tuple(labels)


def names_of(network: model.SavedNetwork | model.Network, path: Path) -> tuple[str, ...]:
    """Return the data's names of a network's classes; empty if there are none.

    Raises:
        QueryError: If the file's entry is impossible.
    """
    names, classes = network.description.get("names"), network.window.classes
    if names is None:
        return ()
    if not isinstance(names, list) or len(names) != classes or not all(map(_is_name, names)):
        raise _impossible(path, "names", f"a list of {classes} short texts", names)
    return tuple(names)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_NAME and value.isprintable()


def _example(entry: object, what: str, window: model.Window, path: Path) -> ExampleImage:
    if not isinstance(entry, dict):
        raise _impossible(path, what, "an object", entry)
    said: dict[str, Any] = {field.name: entry.get(field.name) for field in fields(ExampleImage)}
    classes = range(window.classes)
    rules = {
        "kind": (said["kind"] in ("fastest", "slowest"), "'fastest' or 'slowest'"),
        "image": (_is_count(said["image"]), "a whole number of at least 0"),
        "label": (_is_class(said["label"], classes), f"a class from 0 to {classes[-1]}"),
        "answer": (_is_class(said["answer"], classes), f"a class from 0 to {classes[-1]}"),
        "is_right": (said["is_right"] is (said["label"] == said["answer"]), "whether answer is label"),
        "steps": (_is_steps(said["steps"], window.steps), f"a number from 1 to {window.steps}"),
    }
    for name, (holds, rule) in rules.items():
        if not holds:
            raise _impossible(path, f"{what}.{name}", rule, said[name])
    return ExampleImage(**{**said, "steps": float(said["steps"]), "png": _png(said["png"], f"{what}.png", path)})


def _is_class(value: object, classes: range) -> bool:
    return _is_count(value) and value in classes


def _is_steps(value: object, most: int) -> bool:
    """Return whether a value is possible as expected steps of a window, up to rounding."""
    return _is_number(value) and 1 - 1e-3 <= value <= most * (1 + 1e-4)


def _png(text: object, what: str, path: Path) -> bytes:
    """Decode and check a small PNG."""
    if not isinstance(text, str) or len(text) > _LONGEST_PNG:
        raise _impossible(path, what, f"a text of at most {_LONGEST_PNG} characters", text)
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _impossible(path, what, f"base64 ({error})", text) from error
    if problem := model.png_problem(data):
        raise _impossible(path, what, f"a small PNG, but it {problem}", text)
    return data


def _title(description: Mapping[str, Any], path: Path) -> str:
    """Return task and key of a network's trial; without a key, the name of its file in place of it."""
    try:
        task = [LatticeSetting.from_flat(description["setting"]).task_label]
    except (SpecError, KeyError, AttributeError):
        task = []  # the setting was written by hand, or by another version
    key = description.get("key")
    return " · ".join([*task, f"trial {key}" if key else path.name])


def network_problem(path: str | Path, key: str) -> str:
    """Read the file of a trial's network and check all of it.

    Returns:
        The problem, as a clause that follows the file's name; empty if there is none.
    """
    problem, description = read_network(path)
    return problem or _stranger(description, key)


def content_problem(data: bytes, key: str) -> str:
    """Check the content of the file of a trial's network; return its problem, empty if there is none."""
    try:
        return _stranger(model.decode_saved(data, "it").description, key)
    except model.NetworkFileError as error:
        return error.problem


def _stranger(description: Mapping[str, Any], key: str) -> str:
    found = description.get("key")
    return "" if found in (None, key) else f"holds the network of another trial, {reprlib.repr(found)}"


def read_network(location: str | Path) -> tuple[str, Mapping[str, Any]]:
    """Read a network's file, wherever it is kept, and check all of it.

    Returns:
        The problem, empty if there is none; and the file's description, empty if it cannot be read.
    """
    try:
        if storage.is_local(str(location)):
            return "", model.read_saved(location).description
        data = storage.read_bytes(str(location))
        if data is None:
            return "does not exist", {}
        return "", model.decode_saved(data, str(location)).description
    except model.NetworkFileError as error:
        return error.problem, {}
    except OSError as error:
        return f"cannot be read: {error.strerror}", {}
