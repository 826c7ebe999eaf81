"""What a network's file says of its network, checked: files may come from strangers. Loads no torch.

The entries of `model.examples` may be missing, since older files lack them. Ones that cannot be true are refused, not
passed over: a picture without them would look like one of a network that has none.
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

#: Beyond, an integer is no count, and no float holds it exactly.
_LARGEST = 2**53

#: What is written has at most 60 parts and 8 examples, and an image of 48 × 48 noisy pixels takes 10,000 characters.
_MOST_PARTS, _MOST_EXAMPLES, _LONGEST_PNG, _LONGEST_NAME = 1000, 8, 20_000, 200

#: Characters of a wrong value that are said.
_LONGEST_VALUE = 100


@dataclass(frozen=True)
class Described:
    """A network from a file.

    Attributes:
        title: Its task and its trial's key, as far as the file tells.
        measurement: What the file says was measured on it.
        steps: Histogram over the test images; None in older files.
        examples: Test images, the fastest and the slowest; empty in older files, and where all take the same steps.
        earlier: The rules that it was trained and measured by, where they are not today's.
        setting: What its trial was given, flat, by dotted names; empty where the file does not tell.
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
        QueryError: If it holds no network, does not say how probable the network's steps are, or says what cannot be.
    """
    try:
        return _described(model.read_saved(path), path)
    except model.ModelError as error:
        raise QueryError(f"no network can be shown: {error}") from error


def describe_bytes(data: bytes, name: str, key: str | None = None) -> Described:
    """Read the content of a network's file, wherever it was kept.

    Args:
        data: All of it.
        name: What to call it where something is wrong.
        key: Of the trial whose network it should be; None for any.

    Raises:
        DamagedError: If it is no network's file, or another trial's.
        QueryError: If it holds no network, does not say how probable the network's steps are, or says what cannot be.
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
        earlier=earlier_rules(rules_in(description)) if "key" in description else None,  # else it is of no sweep
        setting=_setting(description.get("setting")),
    )


def _setting(told: object) -> dict[str, str | float]:
    """Return what a file says that its trial was given, as far as it can be shown."""
    given = told.items() if isinstance(told, dict) else ()
    return {
        name: value
        for name, value in given
        if isinstance(name, str) and (_is_number(value) or (isinstance(value, str) and len(value) <= _LONGEST_NAME))
    }


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, float | int) and type(value) is not bool and abs(value) <= _LARGEST  # which NaN is not


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
    """Return the entry `steps`, checked; None where there is none."""
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
    """Return the entry `examples`, checked; none where there is none."""
    if entry is None:
        return ()
    if not isinstance(entry, list) or len(entry) > _MOST_EXAMPLES:
        raise _impossible(path, "examples", f"a list of at most {_MOST_EXAMPLES} objects", entry)
    return tuple(_example(one, f"examples[{number}]", window, path) for number, one in enumerate(entry))


def _named(examples: Sequence[ExampleImage], network: model.SavedNetwork, path: Path) -> tuple[ExampleImage, ...]:
    """Return examples whose classes are called as the data call them; in files of before they are from 0."""
    labels: Sequence[int | str] = names_of(network, path) or labels_of(network, path)
    return tuple(replace(one, label=labels[int(one.label)], answer=labels[int(one.answer)]) for one in examples)


def labels_of(network: model.SavedNetwork | model.Network, path: Path) -> tuple[int, ...]:
    """Return what the data call the classes of a network; in files of before they are numbered from 0.

    Raises:
        QueryError: If what the network's file says of it cannot be.
    """
    labels, classes = network.description.get("labels"), network.window.classes
    if labels is None:
        return tuple(range(classes))
    if not isinstance(labels, list) or len(labels) != classes or not all(map(_is_count, labels)):
        raise _impossible(path, "labels", f"a list of {classes} whole numbers", labels)
    return tuple(labels)


def names_of(network: model.SavedNetwork | model.Network, path: Path) -> tuple[str, ...]:
    """Return what people call the classes of a network; empty where its data have no names for them.

    Raises:
        QueryError: If what the network's file says of it cannot be.
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
    """Whether it can be expected steps of a window; but for rounding."""
    return _is_number(value) and 1 - 1e-3 <= value <= most * (1 + 1e-4)


def _png(text: object, what: str, path: Path) -> bytes:
    """Decode a small PNG; it is looked at, and never run."""
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
    """Return task and key of a network's trial; of a network that has none, the name of its file."""
    try:
        task = [LatticeSetting.from_flat(description["setting"]).task_label]
    except (SpecError, KeyError, AttributeError):
        task = []  # written by hand, or by another version
    key = description.get("key")
    return " · ".join([*task, f"trial {key}" if key else path.name])


def network_problem(path: str | Path, key: str) -> str:
    """Read the file of a trial's network and check all of it.

    Returns:
        What is wrong with it, as it follows the file's name; empty where nothing is.
    """
    problem, description = read_network(path)
    return problem or _stranger(description, key)


def content_problem(data: bytes, key: str) -> str:
    """Check the content of the file of a trial's network; return what is wrong with it, empty for nothing."""
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
        What is wrong with it, empty where nothing is; and what it says of its trial, empty where it cannot be read.
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
