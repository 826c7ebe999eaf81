"""Prints answers as tables for a terminal, or writes them in formats for programs or papers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, RenderableType

from sweeper.cli.options import write_aside
from sweeper.errors import QueryError

if TYPE_CHECKING:  # functions import heavy packages themselves, so that --help stays fast
    from sweeper.analysis.formats import ArrowTable
    from sweeper.analysis.sheet import Sheet
    from sweeper.rules import EarlierRules

_KINDS = ("table", "json", "csv", "parquet", "latex")

FormatOption = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="table, json, csv, parquet or latex. JSON, CSV and Parquet hold every column and digit.",
    ),
]
OutputOption = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to a file.")]


def say_earlier(earlier: EarlierRules | None) -> None:
    """Print a note if a sweep is measured by earlier rules than today's."""
    say_beside(str(earlier or ""))


def say_beside(note: str) -> None:
    """Print a note on standard error, because programs may read the answer on standard output; ignore an empty one."""
    if note:
        print(f"note: {note}", file=sys.stderr)


@dataclass(frozen=True)
class Answered:
    """An answer in every form; a form is made only on demand.

    Attributes:
        table: Returns the whole answer for programs.
        sheets: Returns sheets for a paper.
        shown: Returns renderables for a terminal with this number of columns.
        document: The JSON document; None for the table's rows.
    """

    table: Callable[[], ArrowTable]
    sheets: Callable[[], list[Sheet]]
    shown: Callable[[int], Iterable[RenderableType]]
    document: Any = None


@dataclass(frozen=True)
class Target:
    """The format and destination of an answer.

    Attributes:
        kind: One of table, json, csv, parquet, latex.
        output: The file; None for the standard output.
    """

    kind: str
    output: Path | None

    @staticmethod
    def of(format: str, as_json: bool, output: Path | None, what: str) -> Target:
        """Return the target that the options ask for; refuse contradictions before anything is read.

        Args:
            format: The option `--format`.
            as_json: The option `--json`.
            output: The option `-o`.
            what: The noun and verb of the answer, for messages, such as `a front is`.
        """
        if as_json and format not in {"table", "json"}:
            raise QueryError(f"--json and --format {format} ask for two formats. Leave one of them out.")
        kind = "json" if as_json else format
        if kind not in _KINDS:
            raise QueryError(f"{what} printed as {', '.join(_KINDS[:-1])} or {_KINDS[-1]}, but got --format {kind}")
        if kind == "parquet" and output is None and sys.stdout.isatty():
            raise QueryError("Parquet is not for a terminal. Name a file with -o FILE.")
        return Target(kind, output)

    def give(self, answered: Answered) -> None:
        """Print an answer, or write it to the file."""
        from sweeper.analysis.formats import encode, json_bytes
        from sweeper.analysis.latex import latex

        if self.kind == "table":
            self._show(answered)
        elif self.kind == "latex":
            self._write(latex(answered.sheets()))
        elif self.kind == "json" and answered.document is not None:
            self._write(json_bytes(answered.document))
        else:
            self._write(encode(answered.table(), self.kind))

    def _show(self, answered: Answered) -> None:
        if self.output is None:
            _print(Console(), answered)
            return
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            console = Console(file=nowhere, record=True)
            _print(console, answered)
        self._write(console.export_text().encode(errors="surrogateescape"))

    def _write(self, data: bytes) -> None:
        if self.output is None:
            sys.stdout.buffer.write(data)
        else:
            write_aside(self.output, data)


def _print(console: Console, answered: Answered) -> None:
    for number, one in enumerate(answered.shown(console.width)):
        if number:
            console.print()
        console.print(one, crop=False)
