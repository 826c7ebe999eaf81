"""Tables as files: every digit and row reads back, with units, and the JSON is valid."""

from __future__ import annotations

import csv
import io
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.analysis.columns import unit
from sweeper.analysis.formats import encode, with_units
from sweeper.analysis.points import points_table
from sweeper.analysis.trials import from_parquet_bytes, records_of, trials_table
from sweeper.errors import QueryError
from tests.analysis.test_fronts import OBJECTIVES, a_trial

ANY_FLOAT = st.floats() | st.none()
ROWS = st.lists(
    st.fixed_dictionaries({
        "key": st.text(max_size=8),
        "accuracy": ANY_FLOAT,
        "replicates": st.integers(-(2**63), 2**63 - 1),
        "on_front": st.booleans(),
        "keys": st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=3),
        "reference_point": st.fixed_dictionaries({"accuracy": st.floats(0, 1), "time": st.floats(0, 1e300)}),
    }),
    min_size=1,
    max_size=5,
)
SCHEMA = pa.schema({
    "key": pa.string(),
    "accuracy": pa.float64(),
    "replicates": pa.int64(),
    "on_front": pa.bool_(),
    "keys": pa.list_(pa.string()),
    "reference_point": pa.struct({"accuracy": pa.float64(), "time": pa.float64()}),
})


def finite(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value


@given(ROWS)
def test_json_holds_every_value_exactly_and_null_for_what_is_not_finite(rows):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    data = encode(pa.Table.from_pylist(rows, SCHEMA), "json")
    expected = [{name: finite(value) for name, value in row.items()} for row in rows]
    assert json.loads(data, parse_constant=refuse) == expected


@pytest.mark.parametrize("text", ["a\rb", "\r", "a\nb", "a\r\n", 'a"b', "a,b", ""])
def test_csv_holds_any_text_in_lines_that_end_with_a_newline_alone(text):
    data = encode(pa.table({"reason": ["said", text], "n": [1, 2]}), "csv").decode()
    assert data.startswith("reason,n\nsaid,1\n")
    assert data.endswith(",2\n")
    assert [row["reason"] for row in csv.DictReader(io.StringIO(data, newline=""))] == ["said", text]


@given(ROWS)
def test_csv_holds_every_digit(rows):
    data = encode(pa.Table.from_pylist(rows, SCHEMA), "csv").decode()
    read = list(csv.DictReader(io.StringIO(data, newline="")))
    assert len(read) == len(rows)
    for row, cells in zip(rows, read, strict=True):
        assert cells["key"] == row["key"]
        assert cells["on_front"] == str(row["on_front"]).lower()
        assert int(cells["replicates"]) == row["replicates"]
        assert cells["keys"].split(";") == row["keys"]
        parts = [part.split("=") for part in cells["reference_point"].split(";")]
        assert {name: float(value) for name, value in parts} == row["reference_point"]
        if row["accuracy"] is None:
            assert cells["accuracy"] == ""
        else:
            assert float(cells["accuracy"]) == row["accuracy"] or math.isnan(row["accuracy"])


@given(ROWS)
def test_parquet_reads_back_equal_with_units_of_its_columns(rows):
    table = pa.Table.from_pylist(rows, SCHEMA)
    read = pq.read_table(pa.BufferReader(encode(table, "parquet")))
    assert read.schema.equals(table.schema)
    assert str(read.to_pylist()) == str(table.to_pylist())  # NaN is not equal to itself
    units = {field.name: (field.metadata or {}).get(b"unit", b"").decode() for field in read.schema}
    assert units == {name: unit(name) for name in SCHEMA.names}
    assert (units["accuracy"], units["key"]) == ("share", "")


def test_units_change_nothing_else_and_exported_trials_are_still_trials():
    table = trials_table([a_trial(0), a_trial(1, axes={"noise": 0.5})])
    assert with_units(table).equals(table)
    read = from_parquet_bytes(encode(table, "parquet"))
    assert records_of(read, "small") == records_of(table, "small")
    assert read.schema.field("macs").metadata[b"unit"] == b"multiply-accumulates per image"


def test_json_is_a_list_of_row_objects():
    table = points_table([a_trial(0), a_trial(1)], OBJECTIVES)
    assert json.loads(encode(table, "json")) == table.to_pylist()
    assert json.loads(encode(table.slice(0, 0), "json")) == []


def test_csv_joins_lists_and_leaves_missing_values_empty():
    trials = [a_trial(setting="s", seed=0), a_trial(setting="s", seed=1, details={})]
    table = points_table([*trials, a_trial(5, task="a, b")], OBJECTIVES)
    rows = list(csv.DictReader(io.StringIO(encode(table, "csv").decode())))
    assert [row["task"] for row in rows] == ["a, b", "digits-10"]
    assert rows[1]["keys"] == "k-digits-10-s-0;k-digits-10-s-1"
    assert (rows[0]["accuracy_sd"], rows[0]["limited_time"]) == ("", "")
    assert rows[1]["channels_per_layer"] == "4;2"


def test_unknown_format_is_refused_with_the_known_ones():
    with pytest.raises(QueryError, match=r"'xlsx' is not known. Choose json, csv or parquet"):
        encode(pa.table({"a": [1]}), "xlsx")
