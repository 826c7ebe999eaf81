"""A sheet in a terminal, as a rich renderable. Prints nothing itself."""

from __future__ import annotations

import re

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from sweeper.sheet import Field, Sheet
from sweeper.vocabulary import Goal

_ARROWS = {None: "", Goal.MAXIMIZE: " ↑", Goal.MINIMIZE: " ↓"}

#: The narrowest column in which a sentence, such as a reason, is still read.
_LEAST_PROSE = 24


def listing(sheet: Sheet, width: int = 80) -> Group:
    """Return a sheet as a table. Nothing in it is cut, the key above all, which other commands take.

    Where the width is too small, titles and spreads go on in the next line, columns stand closer, and reasons are
    folded; what is wider even then must be printed without cropping.

    Args:
        sheet: What to show.
        width: Columns of the terminal.
    """
    titles = [field.title + _ARROWS[field.goal] for field in sheet.fields]
    cells = [list(field.cells) for field in sheet.fields]
    gap = 2
    if _width(titles, cells, sheet.fields, gap) > width:
        gap = 1
        titles = [re.sub(r"([_.]| (?=[↑↓]))(?=.)", r"\1\n", title) for title in titles]
        cells = [[cell.replace(" ±", "\n±") for cell in column] for column in cells]
    least = _width(titles, cells, sheet.fields, gap)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, gap - 1, 0, 0), width=least if least > width else None)
    for field, title in zip(sheet.fields, titles, strict=True):
        table.add_column(
            Text(title), justify="right" if field.is_number else "left", no_wrap=not _is_prose(field), overflow="fold"
        )
    for row in zip(*cells, strict=True):
        table.add_row(*map(Text, row))
    notes = [Text(note) for note in sheet.notes]
    return Group(Text(sheet.headline), *([table] if sheet.fields else []), *notes)


def _width(titles: list[str], cells: list[list[str]], fields: tuple[Field, ...], gap: int) -> int:
    """Return how many columns of the terminal a table needs at least."""
    needed = gap  # half of it at each edge, and the rest
    for title, column, field in zip(titles, cells, fields, strict=True):
        longest = max((len(line) for text in (title, *column) for line in text.splitlines()), default=0)
        needed += gap + (min(longest, _LEAST_PROSE) if _is_prose(field) else longest)
    return needed


def _is_prose(field: Field) -> bool:
    return field.title in ("reason", "layers")
