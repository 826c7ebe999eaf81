"""The page that documents the columns, docs/columns.md, in Markdown: prose from here, columns from where they are kept.

python -m sweeper.analysis.columns_page > docs/columns.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sweeper.analysis.columns import ANSWER, AXES, MEASURED, ORIGIN, POINT, TRIAL, WALL_COLUMNS, Column

_HEAD = """# Columns of fronts and trials

What `sweeper pareto NAME --format json`, `csv` or `parquet` and `sweeper trials NAME` with the same options write, and
what the tables in Python hold. Numbers are written with every digit that is known; `table` and `latex` round them. A
Parquet file holds the unit of each column as metadata of its field, under `unit`. Where a value was not measured, or is
not finite for a point, it is null, and empty in CSV. Lists are joined by `;` in CSV, and a reference point reads
`accuracy=0.0;time=7.0`.

A row of a front is a *point*: one setting, with its measurements averaged over its complete replicates, which differ in
their seed only. A row of trials is one training.

A sweep that was stored by an earlier version, before something was measured, has the column all the same: it is null
there. What a later version measured beyond this page is kept under its name.
"""

_SPREAD = Column(
    "accuracy_sd`, `…_sd", "the objective's", "sample standard deviation over replicates; null for one replicate"
)


@dataclass(frozen=True)
class Section:
    """Columns that belong together.

    Attributes:
        heading: Of its part of the page.
        columns: By name.
        before, after: What stands around the table; empty for nothing.
    """

    heading: str
    columns: Mapping[str, Column]
    before: str = ""
    after: str = ""


def markdown_table(columns: Iterable[Column]) -> str:
    """Return columns as a Markdown table: name, unit and meaning, a row each."""
    rows = [f"| `{column.name}` | {column.unit or '–'} | {column.meaning} |" for column in columns]
    return "\n".join(["| column | unit | meaning |", "|---|---|---|", *rows])


def sections() -> list[Section]:
    """Return the parts of the page, in order."""
    return [
        Section(
            "Before every exported row",
            ORIGIN,
            after="Rows of trials begin with `sweep` alone. Tables in Python lack these columns: a `Front` has them.",
        ),
        Section("Points: which setting", POINT),
        Section("Trials: which one, and how it ended", TRIAL),
        Section(
            "Parameters",
            AXES,
            "Each parameter that the sweep varies or searches is a column under its name; where that is taken by\n"
            "another column of this page, such as `channels`, it is `setting.channels`. Prices are paid in the loss,\n"
            "whose unit is nats.",
        ),
        Section(
            "Measurements",
            MEASURED,
            "On held-out images, and on the network that is left after everything dead is cut away.",
            "Points also have the spread of each objective of their front, in the objective's unit:\n\n"
            + markdown_table([_SPREAD]),
        ),
        Section("Walls and layers", WALL_COLUMNS),
        Section(
            "Answers",
            ANSWER,
            "Rows of `--at`, `--compare`, `--dominated-by`, `--dominating` and `--seeds` are points, and have some of "
            "these columns:",
            "As JSON an answer is a list with an object for each task: `sweep`, `task`, `front_version`, `objectives`, "
            "`reference_point`, the\n`answer` in a sentence, its numbers by name, and its rows as `points`.",
        ),
    ]


def columns_page() -> str:
    """Return the whole page."""
    parts = [_HEAD]
    for section in sections():
        blocks = (f"## {section.heading}", section.before, markdown_table(section.columns.values()), section.after)
        parts += [f"{block}\n" for block in blocks if block]
    return "\n".join(parts)


if __name__ == "__main__":
    print(columns_page(), end="")
