"""What people read of a table: few columns, rounded numbers, a caption; the same on paper as in a terminal.

Programs read the whole table, see `formats`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper import own_code
from sweeper.analysis.columns import AXES, title, unit
from sweeper.measurements import MEASUREMENTS, WALLS, Goal, Objective, touched

#: Decimals of a number that is no measurement of ours.
_DIGITS = 2

#: Columns that are shown of every network, besides the objectives.
USUAL = ("accuracy", "breadth", "depth", "time")

#: And what is told of it beside: measured on the test images, and nothing that it was chosen by.
TESTED = ("test_accuracy",)


def _letters(*, is_window: bool) -> str:
    return " ".join(wall.axis[0] for wall in WALLS.values() if wall.is_window is is_window)


#: What columns of a front mean.
LEGEND = (
    "on validation images; test_accuracy ± its standard error on test images · "
    f"layers: living channels · wall: limited by the window ({_letters(is_window=True)}) "
    f"or by memory ({_letters(is_window=False)})"
)


def legend(own_units: Mapping[str, str] | None, codes: Sequence[str] = ()) -> tuple[str, ...]:
    """Return how a front is read: what our columns mean, and of which versions of the user's code its trials are.

    Args:
        own_units: Of a user's own function: units of what it measures.
        codes: Versions of the user's code, a row each.
    """
    mixed = own_code.mixed(codes)
    return (*((LEGEND,) if own_units is None else ()), *((f"{mixed[0].upper()}{mixed[1:]}.",) if mixed else ()))


def noun(own_units: Mapping[str, str] | None) -> str:
    """Return what a row of a front is: a network, or a setting of a user's own function, which trains what it likes."""
    return "network" if own_units is None else "setting"


@dataclass(frozen=True)
class Field:
    """One column of a sheet: the title, its unit, and a text a row.

    Attributes:
        goal: Direction, where the column is an objective.
        is_number: Whether cells stand to the right.
    """

    title: str
    cells: tuple[str, ...]
    unit: str = ""
    goal: Goal | None = None
    is_number: bool = False

    @property
    def head(self) -> str:
        """The title, and for an objective where better values lie."""
        return f"{self.title} {self.goal.arrow}" if self.goal else self.title

    @property
    def is_prose(self) -> bool:
        """Whether cells are sentences, which may go on in the next line."""
        return self.title == "reason"

    @property
    def is_list(self) -> bool:
        """Whether cells are numbers in a row, which may go on in the next line after each."""
        return self.title == "layers"


@dataclass(frozen=True)
class Sheet:
    """A table as people read it.

    Attributes:
        headline: What it shows, in one sentence.
        notes: What it was made from, and how it is read; a line each.
        label: What names it in a document.
    """

    headline: str
    fields: tuple[Field, ...]
    notes: tuple[str, ...] = ()
    label: str = ""

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The cells, row by row."""
        return list(zip(*(field.cells for field in self.fields), strict=True))


def number(name: str, value: float | None, sd: float | None = None) -> str:
    """Return a measurement as people read it, with its spread where there is one."""
    if value is None:
        return "-"
    digits = MEASUREMENTS[name].digits if name in MEASUREMENTS else _DIGITS
    return f"{value:,.{digits}f}" + (f" ±{sd:.{digits}f}" if sd is not None else "")


def fields(
    rows: Sequence[Mapping[str, Any]],
    names: Iterable[str],
    objectives: Sequence[Objective] = (),
    own_units: Mapping[str, str] | None = None,
    added: Mapping[str, str] | None = None,
) -> tuple[Field, ...]:
    """Return columns as people read them.

    Args:
        rows: Rows of a table.
        names: Names of columns, or `wall`; those that no row has are left out. Without any row all stay.
        objectives: Whose directions are shown.
        own_units: Of a user's own function: units of what it measures.
        added: Of lattices: units of what the user's code adds to what is measured.
    """
    own = own_units or added or {}
    goals = {objective.name: objective.goal for objective in objectives}
    found = []
    for name in dict.fromkeys(names):
        if name == "wall":
            found.append(Field("wall", tuple(_wall(row) for row in rows)))
        elif not rows or any(name in row for row in rows):
            if own_units is None:
                cells = tuple(_own_cell(name, row) if name in own else _cell(name, row) for row in rows)
            else:
                cells = tuple(_own_cell(name, row, is_measured=name in own) for row in rows)
            is_number = (own_units is None and name in MEASUREMENTS) or any(_is_number(row.get(name)) for row in rows)
            unit_of = own.get(name.removesuffix("_sd"), unit(name) if own_units is None else "")
            found.append(Field(title(name), cells, unit_of, goals.get(name), is_number))
    return tuple(found)


def front_names(
    rows: Sequence[Mapping[str, Any]],
    objectives: Sequence[Objective],
    own_units: Mapping[str, str] | None = None,
    added: Mapping[str, str] | None = None,
    *,
    with_axes: bool = False,
) -> list[str]:
    """Return which columns of a front people read.

    Args:
        rows: Rows of the front.
        objectives: What it is over.
        own_units: Of a user's own function: units of what it measures.
        added: Of lattices: units of what the user's code adds to what is measured.
        with_axes: Also what made each network: the axes of the sweep in which its rows differ.
    """
    seeds = ["replicates"] if any(row["replicates"] > 1 for row in rows) else []
    seeds += ["code"] if own_code.mixed(str(row.get("code") or "") for row in rows) else []
    if own_units is not None:
        made = [name for name in _made(rows, own_units) if len({row[name] for row in rows}) > 1 or len(rows) == 1]
        return [*own_units, *made, *seeds, "key"]  # what made it is all there is to say of it
    tested = [name for name in TESTED if any(row.get(name) is not None for row in rows)]
    axes = _axes_in(rows) if with_axes else []
    more = [*(o.name for o in objectives), *(added or ()), *tested]
    return [*USUAL, *more, *axes, *seeds, "channels_per_layer", "wall", "key"]


def _made(rows: Sequence[Mapping[str, Any]], own_units: Mapping[str, str]) -> list[str]:
    """Return the columns of what a user's own function was called with."""
    others = {*("key", "keys", "task", "replicates", "code"), *own_units, *(f"{name}_sd" for name in own_units)}
    return [name for name in rows[0] if name not in others] if rows else []


def _axes_in(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the columns of axes in which rows differ; of a single row all pressures."""
    names = (
        [name for name in rows[0] if name not in MEASUREMENTS and _is_axis(name.removeprefix("setting."))]
        if rows
        else []
    )
    if len(rows) == 1:
        return [name for name in names if name.endswith("_pressure")]
    return [name for name in names if len({row[name] for row in rows}) > 1]


def _is_axis(name: str) -> bool:
    return name in AXES or name.endswith("_pressure")  # a cost of the user's own has one too


def counted(count: int, noun: str) -> str:
    """Return how many there are of something, such as `3 networks`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def version_text(version: int) -> str:
    """Return which front of its task a front is, in words."""
    return f"front version {version}" if version else "front computed from the trials, not stored"


def point_text(values: Mapping[str, float]) -> str:
    """Return a value per objective, such as a reference point, in words."""
    return ", ".join(f"{name} {value:g}" for name, value in values.items())


def last_line(text: str) -> str:
    """Return the last line of a reason that says something: of a traceback, the error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def value_text(name: str, value: object) -> str:
    """Return one value of a column as people read it. What would move a terminal's cursor is left out."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(name, value) if name in MEASUREMENTS else f"{value:g}"
    if isinstance(value, list):
        return " ".join(map(str, value))
    text = "".join(letter if letter.isprintable() else " " for letter in str(value))
    return text.replace("_", " ") if name == "outcome" else text


def _cell(name: str, row: Mapping[str, Any]) -> str:
    value = row.get(name)
    if name in MEASUREMENTS:
        return number(name, value, row.get(f"{name}_se" if name in TESTED else f"{name}_sd"))
    if name == "channels_per_layer" and not value:
        return "none"
    return value_text(name, last_line(value or "") if name == "reason" else value)


def _own_cell(name: str, row: Mapping[str, Any], *, is_measured: bool = True) -> str:
    """Return a value of a user's own function: what it measured in four digits, what it was called with as it is."""
    value, sd = row.get(name), row.get(f"{name}_sd")
    if value is None:
        return "-"
    if is_measured:
        return f"{value:.4g}" + (f" ±{sd:.2g}" if sd is not None else "")
    if _is_number(value):
        return f"{value:g}"
    return value_text(name, last_line(value or "") if name == "reason" else value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wall(row: Mapping[str, Any]) -> str:
    return "".join(wall.axis[0] for wall in touched(row))
