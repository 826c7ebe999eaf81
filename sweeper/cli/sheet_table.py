"""A sheet in a terminal, as a rich renderable. Prints nothing itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from sweeper.analysis.sheet import Field, Sheet

#: The narrowest column in which a sentence, such as a reason, is still read.
_LEAST_PROSE = 24


def listing(sheet: Sheet, width: int = 80) -> Group:
    """Return a sheet as a table. Nothing in it is cut, the key above all, which other commands take.

    Where the width is too small, titles and spreads go on in the next line and columns stand closer; then reasons go
    below the table, by their keys. What is wider even then must be printed without cropping.

    Args:
        sheet: What to show.
        width: Columns of the terminal.
    """
    shown = [_Column(field, field.head, field.cells) for field in sheet.fields]
    gap, below = 2, []
    if _width(shown, gap) > width:
        gap, shown = 1, [column.narrowed() for column in shown]
    if _width(shown, gap) > width and any(column.field.title == "key" for column in shown):
        below = _prose(sheet.fields)
        shown = [column for column in shown if not column.field.is_prose]
    texts = [Text(text) for text in (*below, *sheet.notes)]
    return Group(Text(sheet.headline), *([_table(shown, gap, width)] if shown else []), *texts)


@dataclass(frozen=True)
class _Column:
    """A column as it is laid out: its title and cells may have several lines."""

    field: Field
    title: str
    cells: Sequence[str]

    @property
    def width(self) -> int:
        """Columns of the terminal that it needs at least."""
        longest = max((len(line) for text in (self.title, *self.cells) for line in text.splitlines()), default=0)
        return min(longest, _LEAST_PROSE) if self.field.is_prose else longest

    def narrowed(self) -> _Column:
        """Return the column with title and spreads in two lines."""
        title = re.sub(r"([_.]| (?=[↑↓]))(?=.)", r"\1\n", self.title)
        return replace(self, title=title, cells=[cell.replace(" ±", "\n±") for cell in self.cells])


def _table(shown: Sequence[_Column], gap: int, width: int) -> Table:
    least = _width(shown, gap)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, gap - 1, 0, 0), width=least if least > width else None)
    for column in shown:
        justify = "right" if column.field.is_number else "left"
        is_fixed = not column.field.is_prose
        table.add_column(Text(column.title), justify=justify, no_wrap=is_fixed, overflow="fold")  # type: ignore[arg-type]
    for row in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*map(Text, row))
    return table


def _width(shown: Sequence[_Column], gap: int) -> int:
    return gap + sum(gap + column.width for column in shown)  # one more at the edges


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
