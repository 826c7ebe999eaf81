"""Tables of columns and measurements, from the registries that the program itself uses."""

from __future__ import annotations

from collections.abc import Mapping

from docs.generating.markdown import table as markdown_table
from sweeper.analysis import columns
from sweeper.analysis.columns import Column

#: Word in a mark -> the registry that it lists.
REGISTRIES: Mapping[str, Mapping[str, Column]] = {
    "ORIGIN": columns.ORIGIN,
    "POINT": columns.POINT,
    "TRIAL": columns.TRIAL,
    "AXES": columns.AXES,
    "MEASUREMENTS": columns.MEASURED,
    "WALLS": columns.WALL_COLUMNS,
    "ANSWER": columns.ANSWER,
    "SEEN": columns.SEEN,
    "SEEN_BY_STEP": columns.SEEN_BY_STEP,
}


def table(name: str) -> str:
    """Return the table of one registry: name, unit and meaning of each entry."""
    rows = [[f"`{entry.name}`", entry.unit or "–", entry.meaning] for entry in REGISTRIES[name].values()]
    return markdown_table(["column", "unit", "meaning"], rows)
