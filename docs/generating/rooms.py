"""The table of rooms and the longest chain of imports, from the sources by the rules of `tests/test_layers.py`."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache

from docs.generating.markdown import table as markdown_table
from tests.test_layers import (
    FRONT,
    GROUND,
    MODEL,
    ROOMS,
    ROOT,
    door_of,
    import_graph,
    imported_modules,
    longest_chain,
    room_of,
    source_files,
)

#: Purposes of rooms that no single docstring describes.
_PURPOSES = {
    GROUND: "Words and small records that all rooms share, and files on any storage.",
    FRONT: "`import sweeper`, and `python -m sweeper`.",
}


@cache
def doors() -> Counter[tuple[str, str]]:
    """Return how often the files of a room import from another room: (from, to) -> number of imports."""
    found: Counter[tuple[str, str]] = Counter()
    for path in source_files():
        own = room_of(path)
        for _, name in imported_modules((ROOT / path).read_text(encoding="utf-8"), path):
            if own is not None and name.partition(".")[0] == "sweeper" and door_of(name) != own:
                found[own, door_of(name)] += 1
    return found


def files_of(room: str) -> list[str]:
    """Return the paths of a room's files."""
    return [path for path in source_files() if room_of(path) == room]


def purpose_of(room: str) -> str:
    """Return the purpose of a room: the first paragraph of its docstring."""
    if room in _PURPOSES:
        return _PURPOSES[room]
    path = ROOT / (MODEL if room == MODEL else f"sweeper/{room}") / "__init__.py"
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(said.split("\n\n")[0].split())


def folder_of(room: str) -> str:
    """Return the location of a room's files, for a table."""
    if room == FRONT:
        return "`sweeper/__init__.py`, `sweeper/__main__.py`"
    return {GROUND: "`sweeper/*.py`", MODEL: "`model/`"}.get(room, f"`sweeper/{room}/`")


def table() -> str:
    """Return the table of rooms, with the purpose and the imports of each."""
    rows = []
    for room in ROOMS:
        others = [other for other in ROOMS if other != GROUND and doors()[room, other]]
        rows.append([room, folder_of(room), str(len(files_of(room))), purpose_of(room), ", ".join(others) or "–"])
    return markdown_table(["room", "where", "files", "what it does", "imports, beside the ground floor"], rows)


def chain() -> str:
    """Return the longest chain of imports as text."""
    found = [module.removeprefix("sweeper.") for module in longest_chain(import_graph())]
    return f"The longest chain of imports is {len(found)} files long:\n\n" + " → ".join(f"`{name}`" for name in found)
