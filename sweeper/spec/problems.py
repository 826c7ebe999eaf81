"""Problems of a spec in words: the rule, the value, the place and a fix.

Every rule of a spec is checked inside a pydantic model, so every refusal reaches this module as a pydantic error. The
module turns it into a `Problem`, and problems into the lines of one `SpecError`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NoReturn, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from sweeper.errors import SpecError
from sweeper.spec import advice
from sweeper.spelling import did_you_mean

Loc = tuple[str | int, ...]

#: Longest value in a message, in characters; longer ones are cut, since messages are read in a terminal.
_LONGEST_VALUE = 80

#: Most problems that a message lists, one line each; with the line about the others it has at most ten.
MOST_TOLD = 9

_SPEC_RULE = "spec_rule"

# pydantic fills it in from the error's context.
_AS_GIVEN = "{rule}"


@dataclass(frozen=True)
class Problem:
    """One refused value.

    Attributes:
        loc: Keys and list indices that lead to the value.
        rule: The broken rule, `<key> must ...`.
        found: The refused value, `but got <key>=<value>`.
        fix: Advice in one sentence.
    """

    loc: Loc
    rule: str
    found: str
    fix: str


def subject_of(loc: Loc) -> str:
    """Return the name a reader would use for the value at `loc`: the axis, not its `values[2]`."""
    names = [part for part in loc if isinstance(part, str) and part not in ("value", "values")]
    return dotted((names[-1],)) if names else "the file"


def dotted(loc: Loc) -> str:
    """Return a place as text: `("parameters", "steps", "values", 1)` is `parameters.steps.values[1]`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    # Keeps the message on one line, whatever characters a key contains.
    return text if text.isprintable() else json.dumps(text)


def shown(value: object) -> str:
    """Return a value as the file could hold it, on one line, and cut if it is long."""
    if isinstance(value, Enum):
        value = value.value
    try:
        text = value if isinstance(value, str) and value.isidentifier() else json.dumps(value, default=str)
    except (TypeError, ValueError):
        # Circular or absurdly large values only ever come from callers in Python.
        text = f"a {type(value).__name__}"
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def problem(loc: Loc, rule: str, value: object, fix: str) -> Problem:
    """Return a problem whose value is shown as `<key>=<value>`."""
    return Problem(loc, rule, f"but got {subject_of(loc)}={shown(value)}", fix)


#: Marks a field of a model that is never written into a file.
NOT_WRITTEN: dict[str, Any] = {"written": False}


def nearest(word: str, known: Iterable[str]) -> str:
    """Return advice about a misspelt word: the nearest known word, or all of them."""
    names = list(known)
    return did_you_mean(word, names, f"Known: {', '.join(names)}.")


def broken_rule(rule: str, fix: str) -> PydanticCustomError:
    """Return the error that a validator raises when a rule of this project is broken."""
    return PydanticCustomError(_SPEC_RULE, _AS_GIVEN, {"rule": rule, "fix": fix})


def refuse(model: type[BaseModel], problems: Iterable[Problem]) -> NoReturn:
    """Raise several problems, each at its own place, from inside one validator."""
    lines = [
        InitErrorDetails(
            type=PydanticCustomError(_SPEC_RULE, _AS_GIVEN, {"rule": p.rule, "found": p.found, "fix": p.fix}),
            loc=p.loc,
            input=None,
        )
        for p in problems
    ]
    raise ValidationError.from_exception_data(model.__name__, lines)


def problems_of(error: ValidationError, model: type[BaseModel], under: Loc = ()) -> list[Problem]:
    """Return the problems that pydantic found in an input of `model`, in this project's words.

    Args:
        error: Pydantic's error.
        model: The model that refused its input.
        under: Place of the input in the whole file.
    """
    found = error.errors(include_url=False)
    found = found[: 10 * MOST_TOLD]
    parents = {details["loc"][:depth] for details in found for depth in range(len(details["loc"]))}
    # Pydantic drops invalid entries before it counts them: a list of invalid entries only is not reported as "empty".
    return [
        _problem_of(details, model, under)
        for details in found
        if not (details["type"] == "too_short" and details["input"] and details["loc"] in parents)
    ]


def spec_error(problems: Iterable[Problem], origin: str, line_of: Callable[[Loc], int] | None) -> SpecError:
    """Return one error that lists every problem, a line each, in the order of the file.

    Args:
        problems: The problems.
        origin: The file, or other source of the spec, as the user knows it.
        line_of: Returns the line number of a place; None for a source without lines.
    """
    lines: dict[tuple[int, str, str], None] = {}
    for found in problems:
        number = line_of(found.loc) if line_of else 0
        where = [origin, *([f"line {number}"] if number else []), *([dotted(found.loc)] if found.loc else [])]
        text = f"{found.rule}, {found.found} in {', '.join(where)}. {found.fix}"
        lines[number, dotted(found.loc), text] = None
    told = [text for _, _, text in sorted(lines)]
    more = [f"and {len(told) - MOST_TOLD} more, or others like them"] if len(told) > MOST_TOLD else []
    return SpecError("\n".join([*told[:MOST_TOLD], *more]))


def _problem_of(details: ErrorDetails, model: type[BaseModel], under: Loc) -> Problem:
    loc, kind, context = (*under, *details["loc"]), details["type"], details.get("ctx", {})
    if kind == _SPEC_RULE:
        found = context.get("found") or f"but got {subject_of(loc)}={shown(details['input'])}"
        return Problem(loc, context["rule"], found, context["fix"])
    if kind == "missing":
        return Problem(loc, f"{loc[-1]} is required", "but it is missing", f"Add `{loc[-1]}:`.")
    if kind == "extra_forbidden":
        word = str(loc[-1])
        fix = advice.for_key(word) or nearest(word, _fields_at(model, details["loc"][:-1]))
        return problem(loc, f"{word!r} is not a known key", details["input"], fix)
    rule, fix = _plain_rule(kind, context, details)
    return problem(loc, f"{subject_of(loc)} {rule}", details["input"], fix)


def _plain_rule(kind: str, context: Mapping[str, Any], details: ErrorDetails) -> tuple[str, str]:
    rules = {
        "int_type": ("must be a whole number", "Write digits only, as in 3, without quotes."),
        "float_type": ("must be a number", "Write a number such as 0.5, without quotes."),
        "finite_number": ("must be a finite number", "Write a number such as 0.5."),
        "string_type": ("must be text", 'Write it in quotes, as in "10".'),
        "greater_than_equal": ("must be at least {ge}", "Use {ge} or more."),
        "greater_than": ("must be greater than {gt}", "Use a value above {gt}."),
        "less_than_equal": ("must be at most {le}", "Use {le} or less."),
        "less_than": ("must be less than {lt}", "Use a value below {lt}."),
        "enum": ("must be {expected}", "Use {expected}."),
        "tuple_type": ("must be a list", "Write it in brackets, as in [2, 3]."),
        "too_short": ("must not be empty", "Add at least one entry."),
        "dict_type": ("must hold `key: value` lines", "Indent its keys below it."),
        "mapping_type": ("must hold `key: value` lines", "Indent its keys below it."),
        "model_type": ("must hold `key: value` lines", "Indent its keys below it."),
    }
    rule, fix = rules.get(kind, (f"is refused: {details['msg']}", "Correct the value."))
    values = {key: str(value).replace("'", "") for key, value in context.items()}
    if kind not in rules:
        return rule, fix
    if kind == "enum":
        fix = advice.for_word(details["input"], values["expected"]) or fix
    elif kind in ("int_type", "float_type"):
        fix = advice.for_number(details["input"]) or fix
    return rule.format(**values), fix.format(**values)


def _fields_at(model: type[BaseModel], loc: Loc) -> list[str]:
    for part in loc:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        # The type of an optional part is a union with None.
        found = [t for t in (annotation, *get_args(annotation)) if isinstance(t, type) and issubclass(t, BaseModel)]
        if not found:
            break
        model = found[0]
    fields = model.model_fields.items()
    return [field.alias or name for name, field in fields if field.json_schema_extra != NOT_WRITTEN]
