"""Readers of stored Parquet files notice every change, and still read files without a digest."""

from __future__ import annotations

import io
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.sealed import BrokenSealError, sealed, unsealed

TABLE = pa.table({
    "key": ["a", "b", None],
    "accuracy": [0.25, None, 0.75],
    "steps": pa.array([[1, 2], [], [3]], pa.list_(pa.field("element", pa.int64()))),  # Parquet's name
    "word": pa.array(["x", "x", "y"]).dictionary_encode(),
}).replace_schema_metadata({"sweeper": json.dumps({"format": 1, "zeros": "0" * 64})})


@pytest.mark.parametrize("compression", ["snappy", "zstd", "none"])
def test_table_is_read_as_it_was_and_by_any_reader(compression):
    data = sealed(TABLE, compression)
    assert unsealed(data).equals(TABLE, check_metadata=True)
    assert pq.read_table(io.BytesIO(data)).equals(TABLE)
    assert sealed(TABLE, compression) == data


def test_file_without_a_digest_is_read_as_it_is():
    sink = io.BytesIO()
    pq.write_table(TABLE, sink)
    assert unsealed(sink.getvalue()).equals(TABLE, check_metadata=True)


def test_no_flipped_bit_changes_anything_without_a_word():
    data = sealed(TABLE)
    noticed = 0
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << random.Random(at).randrange(8)
        try:
            found = unsealed(bytes(changed))
        except (BrokenSealError, pa.ArrowException, OSError, ValueError):
            noticed += 1
        else:  # the bit was in the digest's name, outside the table
            assert found.equals(TABLE)
    assert noticed >= len(data) - len(b"sweeper.sha256")


@given(st.binary(min_size=1, max_size=40), st.integers(0, 10_000))
def test_what_is_written_over_it_is_noticed(content, at):
    data = sealed(TABLE)
    at %= len(data)
    changed = data[:at] + content + data[at + len(content) :]
    if changed == data:
        return
    try:
        found = unsealed(changed)
    except (BrokenSealError, pa.ArrowException, OSError, ValueError):
        return
    assert found.equals(TABLE)


def test_cut_file_is_noticed():
    data = sealed(TABLE)
    for size in (0, 1, 4, len(data) // 2, len(data) - 1):
        with pytest.raises((BrokenSealError, pa.ArrowException, OSError, ValueError)):
            unsealed(data[:size])
