"""The reference of spec files, from the pydantic models that read them and their docstrings."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from docs.generating.markdown import table
from sweeper.analysis.columns import AXES
from sweeper.measurements import Objective
from sweeper.spec import (
    EarlyStopping,
    FunctionSweep,
    LatticeSpec,
    LatticeSweep,
    OwnMeasure,
    Parameter,
    PlacementSpec,
    PressuresSpec,
    Retries,
    SearchSpec,
    SweepSpec,
    TaskSpec,
    TrainingSpec,
    load_spec,
    shipped_spaces,
)

#: Title of a part of a file -> its model. The first one is the file itself.
SECTIONS: Mapping[str, type[BaseModel]] = {
    "The file": LatticeSweep,
    "A file that names a function": FunctionSweep,
    "task": TaskSpec,
    "lattice": LatticeSpec,
    "training": TrainingSpec,
    "The pressures": PressuresSpec,
    "A parameter": Parameter,
    "A measure": OwnMeasure,
    "search": SearchSpec,
    "early_stopping": EarlyStopping,
    "placement": PlacementSpec,
    "placement.retries": Retries,
}

_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_LIMITS = {
    annotated_types.Ge: ("at least", "ge"),
    annotated_types.Gt: ("above", "gt"),
    annotated_types.Le: ("at most", "le"),
    annotated_types.Lt: ("below", "lt"),
}

#: Fields that are read from a function's signature, and keys of the file whose field has another name.
_NOT_WRITTEN = frozenset({"arguments"})
_NAMES: Mapping[str, str] = {"tasks": "task_axes"}

#: Limit from which on a maximum is not shown, since it only keeps numbers within the range of integers.
_ANY_NUMBER = 2**31 - 1


def reference() -> str:
    """Return a section for each part of a file, with its keys."""
    return "\n\n".join(_section(title, model) for title, model in SECTIONS.items())


def shipped() -> str:
    """Return the spaces that come with the package, with their descriptions."""
    specs = [load_spec(name, is_elsewhere=True).spec for name in shipped_spaces()]
    rows = [
        [f"[`{spec.name}`](../../search_spaces/{spec.name}.yaml)", spec.description, f"{spec.planned}"]
        for spec in specs
    ]
    return table(["name", "what it is", "trials"], rows)


def _section(title: str, model: type[BaseModel]) -> str:
    heading = title if " " in title else f"`{title}`"
    rows = [
        [f"`{name}`", _kind_of(name, field), _default_of(name, field), meaning_of(model, name)]
        for key, field in model.model_fields.items()
        if is_written(model, key) and not (model is FunctionSweep and key in SweepSpec.model_fields)
        for name in [field.alias or key]
    ]
    return f"## {heading}\n\n{summary(model)}\n\n" + table(["key", "what stands there", "default", "meaning"], rows)


def is_written(model: type[BaseModel], key: str) -> bool:
    """Return whether a field of a model is written in files."""
    return not (model is FunctionSweep and key in _NOT_WRITTEN)


def summary(model: type[BaseModel]) -> str:
    """Return the description of a part of a file: the first paragraph of the model's docstring."""
    return " ".join((inspect.getdoc(model) or "").split("\n\n")[0].split())


def _section_of(key: str) -> str | None:
    """Return the title of the section under a key; None if the key is no section."""
    titles = {title.rpartition(".")[2]: title for title in SECTIONS if " " not in title}
    return titles.get(key)


def meaning_of(model: type[BaseModel], key: str) -> str:
    """Return the meaning of a key."""
    if (section := _section_of(key)) is not None:
        return summary(SECTIONS[section])
    if key in PressuresSpec.model_fields:  # their class describes all three together, the columns each
        return AXES[key].meaning
    known: dict[str, str] = {}
    for one in reversed(model.__mro__):
        known |= documented(one) if issubclass(one, BaseModel) else {}
    return known[_NAMES.get(key, key)]


def documented(documented_class: type) -> dict[str, str]:
    """Return the attributes that a Google docstring documents: name -> meaning. `a, b: …` documents both."""
    text = inspect.getdoc(documented_class) or ""
    _, _, attributes = text.partition("Attributes:\n")
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=    \S)", attributes.split("\n\n")[0]):
        names, _, meaning = entry.strip().partition(": ")
        found |= {name.strip(): " ".join(meaning.split()) for name in names.split(",")}
    return found


def _kind_of(name: str, field: FieldInfo) -> str:
    if (section := _section_of(name)) is not None:
        return f"[a section](#{section.replace('.', '')})"
    if name == "parameters":
        return "names, each with [a parameter](#a-parameter)"
    if name == "measures":
        return "names, each with [a measure](#a-measure)"
    unit = AXES[name].unit if name in AXES else ""
    return kind(field.annotation, field.metadata) + (f"; in {unit}" if unit and unit != "count" else "")


def kind(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """Return in words the values that an annotation admits."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        if said := next((one.description for one in inner[1:] if isinstance(one, FieldInfo)), None):
            return said  # the file's value has another type than the parsed one
        return kind(inner[0], [one for about in inner[1:] for one in _flat(about)] + list(metadata))
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(kind(one, metadata) for one in inner if one is not types.NoneType))
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    if annotation is Objective:
        return "`{name: MEASUREMENT, goal: maximize}` or `minimize`"
    if origin is tuple:
        return f"a list, each: {kind(inner[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"names, each with {kind(inner[1])}"
    return _WORDS.get(annotation, "text") + _limits(metadata)


def _flat(about: Any) -> list[Any]:
    return list(about.metadata) if isinstance(about, FieldInfo) else [about]


def _limits(metadata: Iterable[Any]) -> str:
    said = [
        f"{words} {getattr(limit, attribute):,}".replace(",", " ")
        for limit in metadata
        for cls, (words, attribute) in _LIMITS.items()
        if isinstance(limit, cls) and getattr(limit, attribute) < _ANY_NUMBER
    ]
    return "".join(f", {one}" for one in said)


def _default_of(name: str, field: FieldInfo) -> str:
    if name == "name":
        return "the file's name"
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if default is None or default in ((), {}, "") or isinstance(default, BaseModel):
        return "–"
    return f"`{default.value if isinstance(default, Enum) else default}`"
