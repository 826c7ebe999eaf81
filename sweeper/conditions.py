"""Conditions as a user writes them, such as `accuracy >= 0.95`, and the rows of a table that meet them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sweeper.errors import QueryError

_CONDITION = re.compile(r"\s*([A-Za-z_][\w.\-]*?)\s*(>=|<=|==|!=|>|<|=)\s*([^\s<>=!].*?)\s*")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_COMPARE: Mapping[str, Callable[..., Any]] = {
    ">=": pc.greater_equal,
    "<=": pc.less_equal,
    ">": pc.greater,
    "<": pc.less,
    "=": pc.equal,
    "!=": pc.not_equal,
}
_EXAMPLE = 'Write each condition by itself, such as "accuracy >= 0.95" or "task = digits-10".'


def where(table: pa.Table, conditions: Sequence[str]) -> pa.Table:
    """Return the rows that meet all conditions, in their order.

    Args:
        table: Any table, such as a front's.
        conditions: Texts such as `accuracy >= 0.95`, `task = digits-10`, `limited_depth = false`.
            Operators are >= <= > < = == !=; quotes make a word of a number. Rows without a value
            meet no condition on it.

    Raises:
        QueryError: If a condition cannot be read, names no column, or compares unlike things.
    """
    for condition in conditions:
        match = _CONDITION.fullmatch(condition)
        if match is None:
            raise QueryError(f"cannot read the condition {condition!r}. {_EXAMPLE}")
        name, operator, word = match.groups()
        if name not in table.column_names:
            near = difflib.get_close_matches(name, table.column_names, n=3, cutoff=0.5)
            hint = f"The nearest: {', '.join(near)}." if near else f"Known: {', '.join(table.column_names)}."
            raise QueryError(f"no column {name!r}, named in the condition {condition!r}. {hint}")
        column = table[name]
        operator = "=" if operator == "==" else operator
        value = _value_for(column.type, operator, word, condition)
        if isinstance(value, float):
            column = column.cast(pa.float64())
        table = table.filter(_COMPARE[operator](column, value))
    return table


def _value_for(kind: pa.DataType, operator: str, word: str, condition: str) -> float | bool | str:
    """Return the condition's value as the column's kind needs it, or refuse the comparison."""
    is_quoted = len(word) > 1 and word[0] == word[-1] and word[0] in "'\""
    is_number = _NUMBER.fullmatch(word) is not None
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        if is_number:
            return float(word)
        raise QueryError(f"the condition {condition!r} compares a number with {word!r}. {_EXAMPLE}")
    if operator not in ("=", "!="):
        raise QueryError(f"the condition {condition!r} orders values that have no order. Use = or != here.")
    if pa.types.is_boolean(kind):
        if word.lower() in ("true", "false", "1", "0"):
            return word.lower() in ("true", "1")
        raise QueryError(f"the condition {condition!r} compares yes or no with {word!r}. Use true or false.")
    if not pa.types.is_string(kind):
        raise QueryError(f"the condition {condition!r} asks about a list. Ask about another column.")
    if is_number:
        raise QueryError(
            f"the condition {condition!r} compares a word with the number {word}. "
            f'Put it in quotes, as in = "{word}", if the word is meant.'
        )
    return word[1:-1] if is_quoted else word
