"""Shows a stored network a user's own images; its answers form a table that can be joined to an experiment's data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from sweeper.analysis.columns import seen_unit
from sweeper.analysis.formats import METADATA_KEY
from sweeper.analysis.formats import (
    ArrowTable as ArrowTable,
)  # `as ArrowTable` re-exports it for `sweeper.api`
from sweeper.errors import QueryError
from sweeper.results.find_network import NetworkContent
from sweeper.training import network_file
from sweeper.training.showing import Network, opened, shown

#: Format number in every table; raise it when an older version of sweeper could misread a newer table.
FORMAT = 1


@dataclass(frozen=True)
class Answers:
    """A network's answers to the images of a file.

    Attributes:
        table: A row for each image, or for each image and step. Its fields hold their units. Its metadata hold, in JSON
            under `sweeper`, which network answered and which parts were removed from it.
        notes: Says which columns of the file were renamed or left out.
    """

    table: pa.Table
    notes: tuple[str, ...]


def answers_of(found: NetworkContent, images: Path, lesion: str | None = None, *, by_step: bool = False) -> Answers:
    """Show a stored network the images of a file.

    Args:
        found: The network.
        images: A Parquet file with an image column; other columns are carried through.
        lesion: Parts to remove from the network first, joined by commas.
        by_step: Whether to return every step of each image.

    Raises:
        QueryError: If the network cannot take the images, or has no such part.
    """
    return answers_by(opened(found.data, found.name), found.name, images, lesion, by_step=by_step, sweep=found.sweep)


def answers_by(
    network: Network, name: str, images: Path, lesion: str | None = None, *, by_step: bool = False, sweep: str = ""
) -> Answers:
    """Show the images of a file to a network that is already loaded; see `answers_of`."""
    seen = shown(network, name, images, lesion, by_step=by_step)
    facts = {
        "format": FORMAT,
        "key": network.description.get("key", ""),
        "sweep": sweep,
        "lesion": seen.lesion,
        "labels": seen.labels,
        **({"names": seen.names} if seen.names else {}),
        "images": images.name,
    }
    fields = [
        field if field.name in seen.carried or not seen_unit(field.name) else _with_unit(field)
        for field in seen.table.schema
    ]
    schema = pa.schema(fields, {METADATA_KEY: json.dumps(facts).encode()})
    notes = [f"column {old!r} of {images} is called {new!r}" for old, new in seen.renamed.items()]
    if seen.left_out:
        notes.append(f"columns of {images} that hold no single values are left out: {', '.join(seen.left_out)}")
    return Answers(pa.Table.from_arrays(seen.table.columns, schema=schema), tuple(notes))


def _with_unit(field: pa.Field) -> pa.Field:
    return field.with_metadata({b"unit": seen_unit(field.name).encode()})


def network_in_file(path: Path) -> NetworkContent:
    """Read a network from a file, which may come from anywhere.

    Raises:
        QueryError: If there is no such file, or it holds no network.
    """
    problem, description = network_file.read_network(path)
    if problem:
        raise QueryError(f"no network can be shown: {path} {problem}. Name a file that `sweeper export` wrote.")
    return NetworkContent(str(description.get("key", "")), "", str(path), path.read_bytes())
