"""Parquet files that contain a digest of the whole file, so that a change of any byte is noticed.

Parquet has at best checksums of pages, but none of names, types and positions: one flipped bit may silently change a
number or a column's name. The digest is computed over the file with zeros in the digest's place. Any Parquet reader
reads such files. Files of earlier versions have no digest and are read without a check.
"""

from __future__ import annotations

import hashlib
import io

import pyarrow as pa
import pyarrow.parquet as pq

#: Metadata key of the digest, and the zeros in the digest's place while it is computed.
_KEY, _EMPTY = b"sweeper.sha256", b"0" * 64


class BrokenSealError(ValueError):
    """Raised if a file is not as it was written."""


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
    """Return the table in a Parquet file that `sealed`, or an earlier version of sweeper, wrote.

    Raises:
        BrokenSealError: If a byte of the file was changed.
        pa.ArrowException, OSError: If the data is no Parquet file.
    """
    file = pq.ParquetFile(pa.BufferReader(data))
    digest = (file.metadata.metadata or {}).get(_KEY)
    if digest is not None:
        at = data.find(digest, data.rindex(_KEY))
        content = data[:at] + _EMPTY + data[at + len(digest) :]
        if hashlib.sha256(content).hexdigest().encode() != digest:
            raise BrokenSealError("it is not as it was written: its digest is another one")
    elif _KEY in data:  # the digest is not in its place
        raise BrokenSealError("it is not as it was written: its digest is out of place")
    table = file.read()
    known = table.schema.metadata or {}
    return table.replace_schema_metadata({name: text for name, text in known.items() if name != _KEY})
