"""Tables for people: few columns, rounded numbers, a caption; the same on paper as in a terminal.

`formats` writes whole tables for programs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweeper import own_code
from sweeper.analysis.columns import AXES, title, unit
from sweeper.measurements import MEASUREMENTS, WALLS, Goal, Objective, Wall, touched

if TYPE_CHECKING:
    from sweeper.analysis.fronts import Front

#: Decimals of a number that is not in `MEASUREMENTS`.
_DIGITS = 2

#: Columns to show of every network, besides the objectives.
USUAL = ("accuracy", "breadth", "depth", "time")

#: Further columns to show: measured on the test images, so no network is chosen by them.
TESTED = ("test_accuracy",)


def _letter(wall: Wall) -> str:
    return f"{wall.axis} ({wall.axis[0]})"


def _walls() -> str:
    windows = [_letter(wall) for wall in WALLS.values() if wall.is_window]
    (memory,) = (_letter(wall) for wall in WALLS.values() if not wall.is_window)
    return (
        f"wall: the network fills its window in {', '.join(windows[:-1])} or {windows[-1]}, and a larger one might do "
        f"better; or {memory} ended the growth of its window"
    )


#: Explanations of a front's columns, a line each.
LEGEND = (
    "measured on validation images; test_accuracy ± its standard error on test images · layers: living channels",
    _walls(),
)


def legend(own_units: Mapping[str, str] | None, codes: Sequence[str] = ()) -> tuple[str, ...]:
    """Return notes on how to read a front: its columns' meanings, and a note if versions of the user's code differ.

    Args:
        own_units: Units of the measurements of a user's own function; None for lattices.
        codes: Versions of the user's code, one for each row.
    """
    mixed = own_code.mixed(codes)
    return (*(LEGEND if own_units is None else ()), *((f"{mixed[0].upper()}{mixed[1:]}.",) if mixed else ()))


def noun(own_units: Mapping[str, str] | None) -> str:
    """Return the noun for a row of a front: `network`, or `setting` for a user's own function."""
    return "network" if own_units is None else "setting"


@dataclass(frozen=True)
class Field:
    """One column of a sheet: its title, its unit, and a text for each row.

    Attributes:
        goal: Direction, if the column is an objective.
        is_number: Whether cells are aligned to the right.
        is_spare: Whether a terminal that is too narrow may drop the column.
    """

    title: str
    cells: tuple[str, ...]
    unit: str = ""
    goal: Goal | None = None
    is_number: bool = False
    is_spare: bool = False

    @property
    def head(self) -> str:
        """The title, with an arrow to better values for an objective."""
        return f"{self.title} {self.goal.arrow}" if self.goal else self.title

    @property
    def is_prose(self) -> bool:
        """Whether cells are sentences, which may be wrapped."""
        return self.title == "reason"

    @property
    def is_list(self) -> bool:
        """Whether cells are lists of numbers, which may be wrapped between numbers."""
        return self.title == "layers"


@dataclass(frozen=True)
class Sheet:
    """A table for people.

    Attributes:
        headline: Says what it shows, in one sentence.
        notes: Say what it was made from and how to read it, a line each.
        label: Its label in a document.
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
    """Return a measurement as text, with its spread if there is one."""
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
    spare: Collection[str] = (),
) -> tuple[Field, ...]:
    """Return the columns of a sheet.

    Args:
        rows: Rows of a table.
        names: Names of columns, or `wall`. Columns that no row has are left out, unless there are no rows.
        objectives: Objectives, whose columns show their directions.
        own_units: Units of the measurements of a user's own function; None for lattices.
        added: For lattices: units of the measurements that a user's code adds.
        spare: Those of the names that a narrow terminal may drop.
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
            found.append(Field(title(name), cells, unit_of, goals.get(name), is_number, name in spare))
    return tuple(found)


def front_fields(front: Front) -> tuple[Field, ...]:
    """Return the columns of a front's sheet: measurements of each network, and the parameters that made it."""
    rows = front.table.to_pylist()
    own = front.own_units
    seeds = ["replicates"] if any(row["replicates"] > 1 for row in rows) else []
    seeds += ["code"] if own_code.mixed(str(row.get("code") or "") for row in rows) else []
    made = made_by(front)
    if own is not None:
        names = [*own, *made, *seeds, "key"]  # parameters identify the setting, so they are not spare
        return fields(rows, names, front.objectives, own)
    tested = [name for name in TESTED if any(row.get(name) is not None for row in rows)]
    more = [*(o.name for o in front.objectives), *front.added_units, *tested]
    names = [*USUAL, *more, *made, *seeds, "channels_per_layer", "wall", "key"]
    return fields(rows, names, front.objectives, added=front.added_units, spare=made)


def made_by(front: Front) -> list[str]:
    """Return the columns of the parameters that made a front's rows: the axes in which the task's trials differ.

    An older front may not hold this fact. Then they are the axes in which its rows differ, or for a single row all
    pressures (or all arguments of a user's own function).
    """
    if front.varied is not None:
        return list(front.varied)
    rows, own = front.table.to_pylist(), front.own_units
    if not rows:
        return []
    names = [name for name in rows[0] if _is_axis(name.removeprefix("setting."))] if own is None else _made(rows, own)
    if len(rows) == 1:
        return names if own is not None else [name for name in names if name.endswith("_pressure")]
    return [name for name in names if len({row[name] for row in rows}) > 1]


def _made(rows: Sequence[Mapping[str, Any]], own_units: Mapping[str, str]) -> list[str]:
    """Return the columns of the arguments of a user's own function."""
    others = {*("key", "keys", "task", "replicates", "code"), *own_units, *(f"{name}_sd" for name in own_units)}
    return [name for name in rows[0] if name not in others]


def _is_axis(name: str) -> bool:
    # A user's own cost has a pressure too.
    return name not in MEASUREMENTS and (name in AXES or name.endswith("_pressure"))


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, such as `3 networks`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def version_text(version: int) -> str:
    """Return the version of a front in words."""
    return f"front version {version}" if version else "front computed from the trials, not stored"


def point_text(values: Mapping[str, float]) -> str:
    """Return a value per objective, such as a reference point, in words."""
    return ", ".join(f"{name} {value:g}" for name, value in values.items())


def last_line(text: str) -> str:
    """Return the last line of a reason that is not blank: for a traceback, the error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def value_text(name: str, value: object) -> str:
    """Return one value of a column as text, without characters that would move a terminal's cursor."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(name, value) if name in MEASUREMENTS else f"{value:.4g}"  # files for programs hold all digits
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
    """Return a value of a user's own function: measurements in four digits, arguments as they are."""
    value, sd = row.get(name), row.get(f"{name}_sd")
    if value is None:
        return "-"
    if is_measured:
        return f"{value:.4g}" + (f" ±{sd:.2g}" if sd is not None else "")
    return value_text(name, last_line(value or "") if name == "reason" else value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wall(row: Mapping[str, Any]) -> str:
    return "".join(wall.axis[0] for wall in touched(row))
