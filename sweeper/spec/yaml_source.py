"""Reads a YAML file as plain values, with the line of each value.

Unlike `yaml.safe_load`, which would surprise scientists, it reads `1e-3` as a number, and `no` and `on` as words, not
booleans (YAML 1.2). It refuses a repeated key.
"""

from __future__ import annotations

import itertools
import os
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import yaml

from sweeper.errors import SpecError
from sweeper.spec.advice import for_values
from sweeper.spec.problems import Loc, dotted, shown

#: Name of a Python mapping in messages.
MAPPING = "the given mapping"

# Limits of a file. They keep every refusal within two seconds, also for aliases, which could grow without bound.
_LARGEST_BYTES = 250_000
_MOST_VALUES = 20_000
_DEEPEST = 40

_TOO_DEEP = "brackets nested too deeply"
_TOO_MANY = f"more than {_MOST_VALUES} keys and values"

#: Most parts of a refused call that are looked at.
_MOST_PARTS = 6

_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class YamlSource:
    """A parsed file.

    Attributes:
        origin: The file's name as the user gave it, for messages.
        text: The whole file.
        data: Its top-level mapping.
        lines: Line number, from 1, of every key and list entry; None without a file.
    """

    origin: str
    text: str
    data: Mapping[str, object]
    lines: Mapping[Loc, int] | None

    def line_of(self, loc: Loc) -> int:
        """Return the line of `loc`, or of the nearest enclosing key if the file lacks it; 0 without a file."""
        if self.lines is None:
            return 0
        while loc and loc not in self.lines:
            loc = loc[:-1]
        return self.lines.get(loc, 1)


def read_yaml(path: Path, origin: str) -> YamlSource:
    """Read one YAML file that holds a mapping.

    Raises:
        SpecError: If the file cannot be read or parsed, or repeats a key.
    """
    return parse_yaml(_read_text(path, origin), origin)


def from_mapping(mapping: Mapping[str, object]) -> YamlSource:
    """Return a Python mapping as a YAML source without line numbers.

    Tuples become lists, paths become texts, and numpy's numbers become plain numbers.

    Raises:
        SpecError: If a key is no text, or YAML cannot write a value.
    """
    try:
        plain = _plain(mapping, ())
    except RecursionError:
        raise SpecError(f"a spec must not hold itself, but {MAPPING} does. Write its values out.") from None
    text = yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None)
    return replace(parse_yaml(text, MAPPING), lines=None)


def _plain(value: object, loc: Loc) -> object:
    """Convert a value to one that YAML can hold."""
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "shape", None) == ():  # a number of numpy or torch
        value = item()
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if value is None or isinstance(value, bool | int | float | str):
        # Subclasses become plain types, since YAML has no subclasses.
        kinds = (bool, int, float, str)
        return value if value is None else next(kind(value) for kind in kinds if isinstance(value, kind))
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise _no_yaml("a key must be a word", key, loc)
        return {str(key): _plain(one, (*loc, key)) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_plain(one, (*loc, number)) for number, one in enumerate(value)]
    rule = "a value must be text, a number, True, False, None, a list or a mapping"
    raise _no_yaml(rule, value, loc)


def _no_yaml(rule: str, value: object, loc: Loc) -> SpecError:
    found = f"{type(value).__name__} {reprlib.repr(value)}"
    return SpecError(f"{rule}, but got {found} in {', '.join([MAPPING, *([dotted(loc)] if loc else [])])}. Convert it.")


def parse_yaml(text: str, origin: str) -> YamlSource:
    """Parse YAML text; `origin` names its source in messages.

    Raises:
        SpecError: If the text cannot be parsed, or repeats a key.
    """
    root = _compose(text, origin)
    if root is None:
        raise SpecError(
            f"a sweep must have a task and objectives, but got an empty file in {origin}, line 1. "
            "Start from a shipped space: `sweeper run quickstart` shows one."
        )
    builder = _Builder(origin)
    data = builder.build(root, (), frozenset())
    if not isinstance(data, dict):
        raise SpecError(
            f"a sweep must be `key: value` lines, but got {shown(data)} in {origin}, "
            f"line {root.start_mark.line + 1}. Begin with `task:`."
        )
    return YamlSource(origin, text, data, builder.lines)


class _Loader(yaml.SafeLoader):
    """Reads plain scalars by the YAML 1.2 core schema; PyYAML's own rules are those of YAML 1.1."""

    # A new table, since the inherited one is shared with all other users of PyYAML.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node and its children, unless there are too many."""
        self._depth, self._nodes = self._depth + 1, self._nodes + 1
        if self._depth > _DEEPEST or self._nodes > _MOST_VALUES:
            too_much = _TOO_DEEP if self._depth > _DEEPEST else _TOO_MANY
            raise yaml.MarkedYAMLError(problem=too_much, problem_mark=self.get_mark())
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


_Loader.add_implicit_resolver(_TAG + "bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(_TAG + "null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(_TAG + "int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _TAG + "float",
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+.0123456789"),
)


class _Dumper(yaml.SafeDumper):
    """Writes texts so that `_Loader` reads them as texts again."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers

    def ignore_aliases(self, data: object) -> bool:
        """Write every value out instead of using aliases."""
        return True


class _Builder:
    """Turns the parser's nodes into plain values and records their lines."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.lines: dict[Loc, int] = {}
        self._left = _MOST_VALUES

    def build(self, node: yaml.Node, loc: Loc, parents: frozenset[int]) -> object:
        self.lines.setdefault(loc, node.start_mark.line + 1)
        self._left -= 1
        if self._left < 0 or id(node) in parents:
            rule = f"a sweep must hold at most {_MOST_VALUES} values once its aliases are written out"
            raise self._error(rule, "an alias that grows too large", node, loc, "Write the values out.")
        below = parents | {id(node)}
        if isinstance(node, yaml.MappingNode):
            return {key: self.build(value, (*loc, key), below) for key, value in self._entries(node, loc)}
        if isinstance(node, yaml.SequenceNode):
            self._refuse_commas(node.value, loc)
            return [self.build(value, (*loc, number), below) for number, value in enumerate(node.value)]
        return self._scalar(node, loc)

    def _entries(self, node: yaml.MappingNode, loc: Loc) -> list[tuple[str, yaml.Node]]:
        first: dict[str, int] = {}
        entries: list[tuple[str, yaml.Node]] = []
        for key_node, value in node.value:
            key, line = key_node.value, key_node.start_mark.line + 1
            if entries and value.tag == _TAG + "null":
                rest = [entries[-1][1], *(one for one, _ in node.value[len(entries) :])]
                self._refuse_commas(rest, (*loc, entries[-1][0]))
            if key == "<<" and key_node.tag == _TAG + "str" and not key_node.style:
                fix = "Copy the keys of the other mapping to here; an alias as a value is read."
                raise self._error("a key must be written out", "the merge key <<", key_node, loc, fix)
            if key_node.tag != _TAG + "str" or not isinstance(key, str):
                found = key if isinstance(key, str) else "a list or mapping as key"
                raise self._error("a key must be a word", found, key_node, loc, "Put it in quotes.")
            here = (*loc, key)
            if key in first:
                fix = f"Keep one of the two (the first is on line {first[key]})."
                raise self._error(f"{shown(key)} must be given once", f"{shown(key)} twice", key_node, here, fix)
            first[key] = self.lines[here] = line
            entries.append((key, value))
        return entries

    def _scalar(self, node: yaml.Node, loc: Loc) -> object:
        tag, text = node.tag.removeprefix(_TAG), str(node.value)
        try:
            match tag:
                case "str":
                    return text
                case "bool":
                    return {"true": True, "false": False}[text.lower()]
                case "null":
                    return None
                case "int":
                    return int(text)
                case "float":
                    # YAML writes infinity and NaN with a leading dot, Python without.
                    return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
        except (ValueError, KeyError):
            rule = f"a value must be a readable {tag}"
            raise self._error(rule, shown(text), node, loc, "Write it as plain digits or text.") from None
        rule = "a value must be text, a number, true, false, a list or a mapping"
        raise self._error(rule, f"the tag {node.tag!r}", node, loc, "Remove the tag.")

    def _refuse_commas(self, nodes: Sequence[yaml.Node], loc: Loc) -> None:
        """Refuse values that YAML splits at a comma but that were meant as one: `0,001`, and `range(0, 1, 0.1)`."""
        for at, (first, second) in enumerate(itertools.pairwise(nodes)):
            whole, part = first.value, second.value
            if _is_end_of_decimal(first, second):
                fix = f"Write {whole}.{part}, or put a space after the comma of a list."
                raise self._error("a number must have a decimal point", f"{whole},{part}", second, loc, fix)
            if self.origin != MAPPING and isinstance(whole, str) and re.fullmatch(r"[A-Za-z_][\w.]*\([^()]*", whole):
                text = ", ".join(str(one.value) for one in nodes[at : at + _MOST_PARTS])
                text = text.partition(")")[0] + ")"
                fix = for_values(text) or "Write the values out."
                raise self._error("values must be written out", shown(text), first, loc, fix)

    def _error(self, rule: str, found: str, node: yaml.Node, loc: Loc, fix: str) -> SpecError:
        where = [self.origin, f"line {node.start_mark.line + 1}", *([dotted(loc)] if loc else [])]
        return SpecError(f"{rule}, but got {found} in {', '.join(where)}. {fix}")


def _is_end_of_decimal(first: yaml.Node, second: yaml.Node) -> bool:
    """Whether two adjacent numbers are one decimal that was written with a comma, such as `0,001`."""
    if not all(isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "int" for node in (first, second)):
        return False
    is_next = second.start_mark.index == first.end_mark.index + 1
    return is_next and second.value[:1] == "0" and len(second.value) > 1


def _read_text(path: Path, origin: str) -> str:
    try:
        # One byte more than allowed suffices to detect a file that is too large.
        with path.open("rb") as file:
            raw = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SpecError(
            f"a spec must be a readable file, but got {reason!r} in {origin}. Check its permissions."
        ) from error
    if len(raw) > _LARGEST_BYTES:
        raise SpecError(
            f"a spec must hold at most {_LARGEST_BYTES} bytes, but got more in {origin}. "
            "Give the path of a sweep's YAML file."
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise SpecError(
            f"a spec must be UTF-8 text, but got the byte 0x{raw[error.start]:02x} in {origin}, line {line}. "
            "Save the file as UTF-8."
        ) from error


def _compose(text: str, origin: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        reason = ", ".join(part for part in (error.context, error.problem) if part)
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        reason = f"the character {chr(error.character)!r}" if isinstance(error.character, int) else error.reason
    except RecursionError:
        line, reason = 1, _TOO_DEEP
    raise SpecError(
        f"a spec must be valid YAML, but got {reason!r} in {origin}, line {line}. "
        "Look at that line and the one above: indentation, quotes, brackets."
    )
