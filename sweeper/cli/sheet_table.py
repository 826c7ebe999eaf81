"""Lays out a sheet for a terminal, as a rich renderable. Prints nothing itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from sweeper.analysis.sheet import Field, Sheet

#: Least width of a column of sentences, such as reasons, in columns of the terminal.
_LEAST_PROSE = 24


def listing(sheet: Sheet, width: int = 80, headline: Text | None = None) -> Group:
    """Return a sheet as a table. No cell is cut, because other commands take keys.

    If the terminal is too narrow, these steps follow until the table fits: layers and titles are wrapped; columns move
    closer; spreads are wrapped, so that rows take two lines; spare columns are left out, the last one first; reasons
    move below the table, after their keys. A table that is still too wide must be printed without cropping.

    Args:
        sheet: The sheet.
        width: Columns of the terminal.
        headline: Replaces the sheet's headline.
    """
    fields, below = list(sheet.fields), []
    while True:
        shown, gap = _laid_out(fields, width)
        spare = [field for field in fields if field.is_spare]
        if _width(shown, gap) <= width or not spare:
            break
        fields.remove(spare[-1])
    if _width(shown, gap) > width and any(column.field.title == "key" for column in shown):
        below = _prose(sheet.fields)
        shown = [column for column in shown if not column.field.is_prose]
    texts = [Text(text) for text in (*below, *sheet.notes)]
    return Group(headline or Text(sheet.headline), *([_table(shown, gap, width)] if shown else []), *texts)


@dataclass(frozen=True)
class _Column:
    """A column in its layout: title and cells may have several lines."""

    field: Field
    title: str
    cells: Sequence[str]

    @property
    def width(self) -> int:
        """Its least width, in columns of the terminal."""
        cells = [" ".join(self.cells).replace(" ", "\n")] if self.field.is_list else self.cells
        longest = max((len(line) for text in (self.title, *cells) for line in text.splitlines()), default=0)
        return min(longest, _LEAST_PROSE) if self.field.is_prose else longest

    def with_spreads_below(self) -> _Column:
        """Return the column with spreads in a second line."""
        return replace(self, cells=[cell.replace(" ±", "\n±") for cell in self.cells])

    def with_title_broken(self) -> _Column:
        """Return the column with its title in several lines."""
        return replace(self, title=re.sub(r"([_.]| (?=[↑↓]))(?=.)", r"\1\n", self.title))


def _laid_out(fields: Sequence[Field], width: int) -> tuple[list[_Column], int]:
    """Return the widest layout that fits (columns and the gap between them), or else the narrowest."""
    whole = [_Column(field, field.head, field.cells) for field in fields]
    broken = [column.with_title_broken() for column in whole]
    below = [[column.with_spreads_below() for column in columns] for columns in (whole, broken)]
    ways = [(whole, 2), (broken, 2), (broken, 1), (below[0], 2), (below[0], 1), (below[1], 1)]
    return next((way for way in ways if _width(*way) <= width), ways[-1])


def _table(shown: Sequence[_Column], gap: int, width: int) -> Table:
    least = _width(shown, gap)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, gap - 1, 0, 0), width=least if least > width else None)
    for column in shown:
        justify = "right" if column.field.is_number else "left"
        is_fixed = not (column.field.is_prose or column.field.is_list)
        table.add_column(Text(column.title), justify=justify, no_wrap=is_fixed, overflow="fold")  # type: ignore[arg-type]
    for row in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*map(Text, row))
    return table


def _width(shown: Sequence[_Column], gap: int) -> int:
    return sum(column.width + gap for column in shown) + 2 - gap  # each edge takes one column, whatever the gap


def _prose(fields: Sequence[Field]) -> list[str]:
    """Return the sentences of a table, each after the key of its row."""
    (keys,) = (field.cells for field in fields if field.title == "key")
    return [
        f"{key} {field.title}: {cell}"
        for field in fields
        if field.is_prose
        for key, cell in zip(keys, field.cells, strict=True)
        if cell
    ]
