"""Parquet files that notice every byte of theirs that is changed: a digest of the whole file stands in it.

Parquet has checksums of pages at best, and none of names, types and positions: one flipped bit may change a number or a
column's name without a word. The digest is that of the file with zeros where the digest stands. Any reader of Parquet
reads such files; those of earlier versions have no digest, and are read as they are.
"""

from __future__ import annotations

import hashlib
import io

import pyarrow as pa
import pyarrow.parquet as pq

#: Where the file's own metadata keep the digest, and what stands there while it is computed.
_KEY, _EMPTY = b"sweeper.sha256", b"0" * 64


class BrokenSealError(ValueError):
    """A file is not as it was written."""


def sealed(table: pa.Table, compression: str = "snappy") -> bytes:
    """Return a table as the content of a Parquet file with its digest."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema, compression=compression) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_KEY: _EMPTY})
    data = sink.getvalue()
    at = data.index(_EMPTY, data.rindex(_KEY))
    return data[:at] + hashlib.sha256(data).hexdigest().encode() + data[at + len(_EMPTY) :]


def unsealed(data: bytes) -> pa.Table:
    """Return the table in a Parquet file that `sealed` wrote, or an earlier version.

    Raises:
        BrokenSealError: If a byte of it was changed.
        pa.ArrowException, OSError: If it is no Parquet file.
    """
    file = pq.ParquetFile(pa.BufferReader(data))
    digest = (file.metadata.metadata or {}).get(_KEY)
    if digest is not None:
        at = data.find(digest, data.rindex(_KEY))
        content = data[:at] + _EMPTY + data[at + len(digest) :]
        if hashlib.sha256(content).hexdigest().encode() != digest:
            raise BrokenSealError("it is not as it was written: its digest is another one")
    elif _KEY in data:  # it is not where it was written
        raise BrokenSealError("it is not as it was written: its digest is out of place")
    table = file.read()
    known = table.schema.metadata or {}
    return table.replace_schema_metadata({name: text for name, text in known.items() if name != _KEY})
