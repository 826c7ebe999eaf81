"""Conditions joined by and, or and parentheses: their meaning is compared with plain Python, row by row."""

from __future__ import annotations

import operator
from contextlib import suppress

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.analysis.conditions import Comparison, Joined, comparisons, holds, parsed, where
from sweeper.errors import QueryError

COMPARE = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
    "!=": operator.ne,
}

ROWS = st.lists(
    st.fixed_dictionaries({
        "number": st.integers(0, 1000),
        "accuracy": st.none() | st.sampled_from([0.0, 0.25, 0.5, 0.75]),
        "classes": st.none() | st.integers(-2, 3),
        "task": st.sampled_from(["a", "b-1", "salt and pepper", "x) or (y", "or", "10"]) | st.none(),
        "limited_depth": st.none() | st.booleans(),
    }),
    max_size=8,
)
SCHEMA = pa.schema({
    "number": pa.int64(),
    "accuracy": pa.float64(),
    "classes": pa.int64(),
    "task": pa.string(),
    "limited_depth": pa.bool_(),
})


def compared(names, operators, words):
    return st.builds(Comparison, st.sampled_from(names), st.sampled_from(operators), st.sampled_from(words))


LEAVES = st.one_of(
    compared(["accuracy", "classes"], list(COMPARE), ["0", "0.5", "-1", "+2", "1e0", ".25"]),
    compared(["task"], ["=", "!="], ["a", "b-1", "'salt and pepper'", '"x) or (y"', '"10"', "or", "c(d)"]),
    compared(["limited_depth"], ["=", "!="], ["true", "False", "1", "0"]),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.builds(Joined, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3).map(tuple)),
    max_leaves=8,
)


def meant(condition, row):
    """Return whether a row meets a condition, computed in the slow and obvious way."""
    if isinstance(condition, Joined):
        return (all if condition.word == "and" else any)(meant(part, row) for part in condition.parts)
    value = row[condition.name]
    if value is None:
        return False
    word = condition.word.strip("'\"")
    if condition.name in ("accuracy", "classes"):
        return COMPARE[condition.operator](value, float(word))
    wanted = word.lower() in ("true", "1") if condition.name == "limited_depth" else word
    return COMPARE[condition.operator](value, wanted)


def written(condition, draw):
    """Write a condition with the needed parentheses or more, and with any spaces and letter case."""
    space = draw(st.sampled_from(["", " ", "  "]))
    if isinstance(condition, Comparison):
        text = f"{space}{condition.name}{space}{condition.operator}{space}{condition.word}"
        return f"({text}{space})" if draw(st.booleans()) else text
    word = draw(st.sampled_from([condition.word, condition.word.upper()]))
    parts = []
    for part in condition.parts:
        text = written(part, draw)
        binds_weaker = isinstance(part, Joined) and (condition.word, part.word) == ("and", "or")
        parts.append(f"({text}{space})" if binds_weaker or draw(st.booleans()) else text)
    return f" {word} ".join(parts)


@given(ROWS, CONDITIONS, st.data())
def test_where_chooses_the_rows_that_plain_python_chooses(rows, condition, data):
    table = pa.Table.from_pylist(rows, SCHEMA)
    chosen = where(table, [written(condition, data.draw)])
    assert chosen.to_pylist() == [row for row in rows if meant(condition, row)]


@given(CONDITIONS)
def test_condition_reads_back_from_its_text(condition):
    assert str(parsed(str(condition))) == str(condition)
    assert meant_by_all(parsed(str(condition))) == meant_by_all(condition)


def meant_by_all(condition):
    """Return a condition's answers for all combinations of values that its comparisons can tell apart."""
    rows = [
        {"accuracy": accuracy, "classes": classes, "task": task, "limited_depth": limited}
        for accuracy in (None, 0.25, 0.5)
        for classes in (-1, 2)
        for task in ("a", "salt and pepper")
        for limited in (None, True, False)
    ]
    return [meant(condition, row) for row in rows]


@given(ROWS, st.lists(CONDITIONS, max_size=3))
def test_several_conditions_must_all_hold(rows, conditions):
    table = pa.Table.from_pylist(rows, SCHEMA)
    chosen = where(table, [str(condition) for condition in conditions])
    assert chosen.to_pylist() == [row for row in rows if all(meant(one, row) for one in conditions)]


@given(ROWS, CONDITIONS)
def test_mask_has_a_yes_or_no_for_every_row(rows, condition):
    mask = holds(pa.Table.from_pylist(rows, SCHEMA), condition).to_pylist()
    assert mask == [meant(condition, row) for row in rows]


TABLE = pa.table({
    "accuracy": [0.5, 0.9],
    "time": [1.0, 4.0],
    "task": ["a", "rock and roll"],
    "seed": [2**59, 2**59 + 1],
})


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("accuracy > 0.8 or time < 2 and accuracy < 0.1", [1]),
        ("(accuracy > 0.8 or time < 2) and accuracy < 0.6", [0]),
        ("accuracy>=.5 AND(time<2)", [0]),
        ("((time >= 4))", [1]),
        ("task = 'rock and roll'", [1]),
        ("task = a or task = b", [0]),
        (f"seed = {2**59 + 1}", [1]),
        ("time < 99999999999999999999999", [0, 1]),
    ],
)
def test_precedence_parentheses_quotes_and_large_numbers(condition, rows):
    assert where(TABLE, [condition])["time"].to_pylist() == [TABLE["time"][row].as_py() for row in rows]


def test_comparisons_are_listed_from_left_to_right():
    assert [str(one) for one in comparisons(parsed("a > 1 and (b == 2 or c = d) or e < 3"))] == [
        "a > 1",
        "b = 2",
        "c = d",
        "e < 3",
    ]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("accuracy >= 0.9 or", r"expected the name of a column at its end\. Write it as in"),
        ("(accuracy >= 0.9", r"'\(accuracy >= 0.9': expected `\)` at its end"),
        ("accuracy >= 0.9)", r"expected `and`, `or` or the end at '\)'"),
        ("(accuracy >= 0.9) time < 2", r"expected `and`, `or` or the end at 'time < 2'"),
        ("()", r"expected the name of a column at '\)'"),
        ("and", r"cannot read the condition 'and': expected one of >= <= > < = != at its end"),
        ("0.9 <= accuracy", r"expected the name of a column at '0.9 <= accuracy'"),
        ("accuracy >= 0.9 and tme < 3", r"no column 'tme', named in the condition 'accuracy >= 0.9 and tme < 3'.*time"),
        ("task = rock and roll", r"expected one of >= <= > < = != at its end"),
        ("accuracy >= and time < 3", r"compares a number with 'and time < 3'"),
        ("accuracy >= (0.9)", r"compares a number with '\(0.9\)'"),
        ("(" * 51 + "time < 1" + ")" * 51, r"more than 50 parentheses inside each other"),
        ("(" * 100_000, r"more than 50 parentheses inside each other"),
    ],
)
def test_condition_that_cannot_be_meant_is_refused_with_the_place(condition, message):
    with pytest.raises(QueryError, match=message):
        where(TABLE, [condition])


@given(st.text("()andor<>=!'\" .019xtime", max_size=30))
def test_any_text_is_answered_or_refused_in_words(text):
    with suppress(QueryError):  # any other exception fails
        assert where(TABLE, [text]).num_rows <= TABLE.num_rows
