"""A JSON schema of spec files, for editors, from the pydantic models that read the files and their docstrings.

The schema admits every valid file. It also admits some invalid files, since a schema cannot know, for example, which
measurements an objective may name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from docs.generating.spec import SECTIONS, is_written, meaning_of, summary
from sweeper.analysis.columns import AXES
from sweeper.measurements import DECIDING, MEASUREMENTS, Goal
from sweeper.spec import FunctionSweep, LatticeSweep, Parameter
from sweeper.spec.choices import DegradationKind, Distribution
from sweeper.spec.parameters import OWNER_OF

#: Name of the schema's file, beside the shipped spaces.
FILE = "spec.schema.json"

_SCALAR: Mapping[str, Any] = {"type": ["string", "number", "boolean"]}
_LIST_OR = {"type": ["string", "integer", "array"]}
_TEXTS = {"type": "array", "items": {"type": "string"}}

#: Schemas of keys in the form of the file, for which the model's own schema describes the parsed value.
_AS_WRITTEN: Mapping[str, Mapping[str, Any]] = {
    **dict.fromkeys(("classes", "resize", "crop"), _LIST_OR),
    "background": {"type": ["string", "array"]},
    "degradation": {"anyOf": [{"enum": [str(kind) for kind in DegradationKind]}, {"pattern": "^[^:]+:[^:]+$"}]},
    **{key: {"anyOf": [{"type": "string"}, _TEXTS]} for key in ("subject_to", "warm_start", "lesions")},
    "version": {"type": ["string", "number"]},
    "probes": {
        "type": "object",
        "additionalProperties": {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "array", "minItems": 1, "items": {"type": "number", "exclusiveMinimum": 0}},
            ]
        },
    },
}

_LIMITS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def text() -> str:
    """Return the content of the schema's file."""
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A sweep",
        "if": {"required": ["train"]},
        "then": _object("A file that names a function"),
        "else": _object("The file"),
        "type": "object",
        "$defs": {"parameter": _form()},
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _object(title: str) -> dict[str, Any]:
    """Return the schema of one part of a file."""
    model = SECTIONS[title]
    properties = {
        name: {"description": meaning_of(model, name), **_value(model, name, field)}
        for key, field in model.model_fields.items()
        if is_written(model, key)
        for name in [field.alias or key]
    }
    required = [
        field.alias or key
        for key, field in model.model_fields.items()
        if field.is_required() and is_written(model, key) and key != "name"  # the file's own name is the default
    ]
    found = {"type": "object", "description": summary(model), "additionalProperties": False, "properties": properties}
    return found | ({"required": required} if required else {})


def _value(model: type[BaseModel], name: str, field: Any) -> dict[str, Any]:
    if name == "parameters":
        return _parameters(model)
    if name == "measures":
        return _measures(model)
    if name == "objectives":
        return _objectives(model)
    if (section := next((title for title in SECTIONS if title.rpartition(".")[2] == name), None)) is not None:
        return _object(section)
    default = field.get_default(call_default_factory=True) if not field.is_required() else None
    shown = {} if default is None or default in ((), {}, "") else {"default": json.loads(json.dumps(default))}
    if name in _AS_WRITTEN:
        return {**_AS_WRITTEN[name]} | shown
    whole = model.model_json_schema()
    return _plain(whole["properties"][name], whole.get("$defs", {})) | shown


def _plain(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a value without references, titles and null, since null means to leave the key out."""
    if (reference := schema.get("$ref")) is not None:
        return _plain(defs[reference.rpartition("/")[2]], defs)
    if "anyOf" in schema:
        ways = [_plain(one, defs) for one in schema["anyOf"] if one.get("type") != "null"]
        return ways[0] if len(ways) == 1 else {"anyOf": ways}
    found = {key: value for key, value in schema.items() if key not in ("title", "description", "default", "written")}
    for ours, standard in _LIMITS.items():
        if ours in found:
            found[standard] = found.pop(ours)
    for inner in ("items", "additionalProperties"):
        if isinstance(found.get(inner), Mapping):
            found[inner] = _plain(found[inner], defs)
    return found


def _parameters(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of the parameters: named ones for lattices, any names for a function."""
    form = {"$ref": "#/$defs/parameter"}
    if model is FunctionSweep:
        return {"type": "object", "additionalProperties": form}
    named = {name: {"description": AXES[name].meaning} | form for name in OWNER_OF}
    return {
        "type": "object",
        "properties": named,
        "patternProperties": {"_pressure$": form},  # pressures of a user's own costs
        "additionalProperties": False,
    }


def _form() -> dict[str, Any]:
    """Return the schema of one parameter."""
    fields = Parameter.model_fields
    meanings = {name: meaning_of(Parameter, name) for name in fields}
    value = {"type": ["string", "number", "boolean", "array"]}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "values": {"description": meanings["values"], "type": "array", "minItems": 1, "items": value},
            "value": {"description": meanings["value"], **value},
            "distribution": {"description": meanings["distribution"], "enum": [str(one) for one in Distribution]},
            "min": {"description": meanings["min"], "type": "number"},
            "max": {"description": meanings["max"], "type": "number"},
        },
        "anyOf": [{"required": ["values"]}, {"required": ["value"]}, {"required": ["min", "max"]}],
    }


def _measures(model: type[BaseModel]) -> dict[str, Any]:
    if model is FunctionSweep:
        return {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}}
    return {"type": "object", "additionalProperties": _object("A measure")}


def _objectives(model: type[BaseModel]) -> dict[str, Any]:
    names: dict[str, Any] = {"type": "string", "description": "what is measured"}
    if model is LatticeSweep:  # a user's own costs and measures may be named too
        names["anyOf"] = [{"enum": [name for name in MEASUREMENTS if name in DECIDING]}, {"type": "string"}]
    entry = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "goal"],
        "properties": {"name": names, "goal": {"enum": [str(goal) for goal in Goal]}},
    }
    return {"type": "array", "minItems": 1, "items": entry}
