"""Encodes tables as files for other programs: JSON, CSV and Parquet, with every number in full precision."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from sweeper.analysis.columns import unit
from sweeper.analysis.points import added_units_of, own_units_of
from sweeper.errors import DamagedError, QueryError
from sweeper.sealed import unsealed

#: The type that queries return, under a name that other packages can use without pyarrow.
ArrowTable: TypeAlias = pa.Table

#: Key in the schema's metadata of a stored Parquet file, for the facts that are not in its rows.
METADATA_KEY = b"sweeper"

#: Columns that every file of a network's answers under probes has.
_PROBE_NUMBERS = ("level", "image", "steps", "expected_steps", "confidence")
_PROBE_WORDS = ("probe", "label", "answer", "right")


def encode(table: pa.Table, format: str) -> bytes:
    """Return a table as a file's bytes.

    Args:
        table: Any table of fronts or trials.
        format: `json` (a list of row objects; values that are not finite are null), `csv` (lists joined by `;`) or
            `parquet` (each column's unit is metadata of its field).

    Raises:
        QueryError: If the format is unknown.
    """
    if format == "json":
        return json_bytes(table.to_pylist())
    if format == "csv":
        return _csv(table)
    if format == "parquet":
        return parquet_bytes(with_units(table))
    raise QueryError(f"format {format!r} is not known. Choose json, csv or parquet.")


def json_bytes(value: Any) -> bytes:
    """Return a value as JSON; numbers that are not finite become null, because JSON cannot express them."""
    return (json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class _Lines(io.StringIO):
    r"""Text whose rows end with a newline alone.

    With `lineterminator="\n"` a csv writer would leave a carriage return in a cell unquoted.
    """

    def write(self, row: str) -> int:
        return super().write(row.removesuffix("\r\n") + "\n")


def _csv(table: pa.Table) -> bytes:
    text = _Lines()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(table.column_names)
    writer.writerows([_csv_cell(value) for value in row.values()] for row in table.to_pylist())
    return text.getvalue().encode()


def _csv_cell(value: Any) -> Any:
    if isinstance(value, list):
        return ";".join(str(item) for item in value)
    if isinstance(value, dict):
        return ";".join(f"{name}={item!r}" for name, item in value.items())
    return str(value).lower() if isinstance(value, bool) else value


def with_units(table: pa.Table) -> pa.Table:
    """Return a table whose fields carry their units as metadata, under `unit`."""
    own = {**(own_units_of(table) or {}), **added_units_of(table)}
    units = {name: own.get(name, unit(name)) for name in table.column_names}
    fields = [
        field.with_metadata({**(field.metadata or {}), b"unit": units[field.name].encode()})
        if units[field.name]
        else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields, table.schema.metadata))


def read_parquet(data: bytes, what: str) -> tuple[pa.Table, dict[str, Any]]:
    """Return a table that sweeper stored, and the facts in its metadata, with a whole number `format` among them.

    Args:
        data: Content of a Parquet file.
        what: The expected content in one word, for messages.

    Raises:
        DamagedError: If the file holds something else or is damaged.
    """
    try:
        table = unsealed(data)
        facts = json.loads((table.schema.metadata or {})[METADATA_KEY])
        int(facts["format"])
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DamagedError(
            f"{len(data)} bytes are no {what} that sweeper wrote ({type(error).__name__}: {reason}). "
            f"Store the {what} again with `sweeper mirror`."
        ) from error
    return table, facts


def read_probes(data: bytes, key: str) -> pa.Table:
    """Return the answers of a trial's network under probes, image by image.

    Raises:
        DamagedError: If the file holds something else, is damaged, or belongs to another trial.
    """
    table, facts = read_parquet(data, "probes")
    if facts.get("key") != key:
        raise DamagedError(
            f"this is what the network of another trial does under probes, {facts.get('key')!r}, and not that of "
            f"{key!r}. Store it again with `sweeper mirror`."
        )
    kinds = {field.name: field.type for field in table.schema}
    is_number = {name: pa.types.is_integer(kind) or pa.types.is_floating(kind) for name, kind in kinds.items()}
    if missing := [*(n for n in _PROBE_NUMBERS if not is_number.get(n)), *(n for n in _PROBE_WORDS if n not in kinds)]:
        raise DamagedError(
            f"what the network of trial {key} does under probes has no usable {', '.join(missing)}. Store it again "
            "with `sweeper mirror`."
        )
    return table


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as the content of a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()
