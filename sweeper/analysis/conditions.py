"""Reads a user's conditions, such as `accuracy >= 0.95 and (time < 3 or breadth < 2)`, and chooses the rows they fit.

    condition  = and-part {"or" and-part}
    and-part   = one {"and" one}
    one        = "(" condition ")"  |  name operator value

`and` binds more tightly than `or`. A value is a number, a word, or anything in quotes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sweeper.errors import QueryError
from sweeper.spelling import did_you_mean

_NAME = re.compile(r"[A-Za-z_][\w.\-]*")
_OPERATOR = re.compile(r">=|<=|==|!=|>|<|=(?!>)")
_QUOTED = re.compile(r'"[^"]*"|\'[^\']*\'')
_JOIN = re.compile(r"(and|or)(?![\w.\-])", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_WHOLE = re.compile(r"[-+]?\d{1,18}")
_COMPARE: Mapping[str, Callable[..., Any]] = {
    ">=": pc.greater_equal,
    "<=": pc.less_equal,
    ">": pc.greater,
    "<": pc.less,
    "=": pc.equal,
    "!=": pc.not_equal,
}
_EXAMPLE = 'Write it as in "accuracy >= 0.95 and (time < 3 or breadth < 2)" or "task = digits-10".'

#: Most parentheses inside each other; no sensible condition has more.
_DEEPEST = 50


@dataclass(frozen=True)
class Comparison:
    """One column compared with one value, in the words of the user; `==` is `=`."""

    name: str
    operator: str
    word: str

    @property
    def number(self) -> float | None:
        """The value if it is a number, else None."""
        return float(self.word) if _NUMBER.fullmatch(self.word) else None

    def __str__(self) -> str:
        return f"{self.name} {self.operator} {self.word}"


@dataclass(frozen=True)
class Joined:
    """Two or more conditions, of which all (`and`) or at least one (`or`) must hold."""

    word: str
    parts: tuple[Condition, ...]

    def __str__(self) -> str:
        texts = [f"({part})" if isinstance(part, Joined) else f"{part}" for part in self.parts]
        return f" {self.word} ".join(texts)


Condition = Comparison | Joined


def parsed(text: str) -> Condition:
    """Parse a condition.

    Raises:
        QueryError: If the text cannot be read.
    """
    return _Reader(text).whole()


def comparisons(condition: Condition) -> list[Comparison]:
    """Return every comparison in a condition, from left to right."""
    if isinstance(condition, Comparison):
        return [condition]
    return [comparison for part in condition.parts for comparison in comparisons(part)]


def where(table: pa.Table, conditions: Sequence[str]) -> pa.Table:
    """Return the rows that meet all conditions, in their order.

    Args:
        table: Any table, such as a front's.
        conditions: Texts such as `accuracy >= 0.95`, `task = digits-10 or limited_depth = false`, joined by `and`, `or`
            and parentheses. Operators are >= <= > < = == !=; quotes turn a number into a word, and can hold `and`,
            `or` and parentheses. Rows without a value in a column meet no comparison with that column.

    Raises:
        QueryError: If a condition cannot be read, names no column, or compares values of different kinds.
    """
    for text in conditions:
        table = table.filter(holds(table, parsed(text), text))
    return table


def holds(table: pa.Table, condition: Condition, text: str = "") -> Any:
    """Return whether each row of a table meets a condition, as a boolean array.

    Args:
        table: Any table.
        condition: The condition.
        text: The user's own text, for messages; by default the condition itself.

    Raises:
        QueryError: If the condition names no column, or compares values of different kinds.
    """
    text = text or str(condition)
    if isinstance(condition, Comparison):
        column = known_column(table, condition.name, f"named in the condition {text!r}")
        value = _value_for(column.type, condition, text)
        if isinstance(value, float):
            column = column.cast(pa.float64(), safe=False)
        return pc.fill_null(_COMPARE[condition.operator](column, value), False)
    masks = [holds(table, part, text) for part in condition.parts]
    return reduce(pc.and_ if condition.word == "and" else pc.or_, masks)


def known_column(table: pa.Table, name: str, context: str) -> pa.ChunkedArray:
    """Return a column; refuse an unknown name with the nearest known ones.

    Args:
        table: Any table.
        name: Name of a column.
        context: Place of the name, as a phrase that follows it in the message.
    """
    if name in table.column_names:
        return table[name]
    hint = did_you_mean(name, table.column_names, f"Known: {', '.join(table.column_names)}.")
    raise QueryError(f"no column {name!r}, {context}. {hint}")


class _Reader:
    """Reads one condition from left to right, with a method for each rule of the grammar."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0

    def whole(self) -> Condition:
        found = self.joined("or")
        if self.at < len(self.text):
            raise self.problem("expected `and`, `or` or the end")
        return found

    def joined(self, word: str) -> Condition:
        """Read parts that `word` joins; each part of an `or` may itself be joined by `and`."""
        parts = [self.joined("and") if word == "or" else self.one()]
        while (match := _JOIN.match(self.text, self.at)) and match[1].lower() == word:
            self.go(match.end())
            parts.append(self.joined("and") if word == "or" else self.one())
        return parts[0] if len(parts) == 1 else Joined(word, tuple(parts))

    def one(self) -> Condition:
        self.go(self.at)
        if not self.text.startswith("(", self.at):
            return self.comparison()
        if self.depth == _DEEPEST:
            raise QueryError(f"a condition has more than {_DEEPEST} parentheses inside each other. {_EXAMPLE}")
        self.depth += 1
        self.go(self.at + 1)
        found = self.joined("or")
        if not self.text.startswith(")", self.at):
            raise self.problem("expected `)`")
        self.depth -= 1
        self.go(self.at + 1)
        return found

    def comparison(self) -> Comparison:
        name = _NAME.match(self.text, self.at)
        if name is None:
            raise self.problem("expected the name of a column")
        self.go(name.end())
        operator = _OPERATOR.match(self.text, self.at)
        if operator is None:
            raise self.problem(f"expected one of {' '.join(_COMPARE)}")
        self.go(operator.end())
        return Comparison(name[0], "=" if operator[0] == "==" else operator[0], self.value())

    def value(self) -> str:
        if quoted := _QUOTED.match(self.text, self.at):
            self.go(quoted.end())
            return quoted[0]
        start, end, opened = self.at, self.at, 0
        while end < len(self.text):
            letter = self.text[end]
            if letter == ")" and opened == 0:
                break
            if letter.isspace() and _JOIN.match(self.text, end + 1):
                break
            opened += (letter == "(") - (letter == ")")
            end += 1
        word = self.text[start:end].strip()
        if not word or word[0] in "<>=!":
            raise self.problem("expected a value")
        self.go(end)
        return word

    def go(self, to: int) -> None:
        """Move to a position, and past spaces there."""
        while to < len(self.text) and self.text[to].isspace():
            to += 1
        self.at = to

    def problem(self, expected: str) -> QueryError:
        there = f"at {self.text[self.at :]!r}" if self.at < len(self.text) else "at its end"
        return QueryError(f"cannot read the condition {self.text!r}: {expected} {there}. {_EXAMPLE}")


def _value_for(kind: pa.DataType, condition: Comparison, text: str) -> float | int | bool | str:
    """Return a comparison's value in the column's type, or refuse the comparison."""
    word = condition.word
    is_quoted = len(word) > 1 and word[0] == word[-1] and word[0] in "'\""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        if condition.number is None:
            raise QueryError(f"the condition {text!r} compares a number with {word!r}. {_EXAMPLE}")
        return int(word) if pa.types.is_integer(kind) and _WHOLE.fullmatch(word) else condition.number
    if condition.operator not in ("=", "!="):
        raise QueryError(f"the condition {text!r} orders values that have no order. Use = or != here.")
    if pa.types.is_boolean(kind):
        if word.lower() in ("true", "false", "1", "0"):
            return word.lower() in ("true", "1")
        raise QueryError(f"the condition {text!r} compares yes or no with {word!r}. Use true or false.")
    if not pa.types.is_string(kind):
        raise QueryError(f"the condition {text!r} asks about a list. Ask about another column.")
    if condition.number is not None:
        raise QueryError(
            f"the condition {text!r} compares a word with the number {word}. "
            f'Put it in quotes, as in = "{word}", if the word is meant.'
        )
    return word[1:-1] if is_quoted else word
