"""How things look in a terminal: tables and fronts, as rich renderables. Prints nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from sweeper.analysis import sheet
from sweeper.analysis.fronts import Front
from sweeper.cli.sheet_table import listing
from sweeper.cli.status_tables import duration

if TYPE_CHECKING:  # it loads torch, which commands that only look do without
    from sweeper.driver.estimate import Estimate


def front_table(front: Front, width: int = 80, conditions: Sequence[str] = (), *, with_axes: bool = False) -> Group:
    """Return a front as a table: a row a network, from the worst to the best in the first objective.

    It is laid out as any sheet is, see `listing`.

    Args:
        front: The front, or the part of it that meets `conditions`.
        width: Columns of the terminal.
        conditions: What the shown part was chosen by.
        with_axes: Whether to show what made each network, see `sheet.front_names`.
    """
    rows = front.table.to_pylist()
    own = front.own_units
    names = sheet.front_names(rows, front.objectives, own, with_axes=with_axes)
    fields = sheet.fields(rows, names, front.objectives, own)
    origin = f"{sheet.version_text(front.version)} · reference point: {sheet.point_text(front.reference_point)}"
    return listing(sheet.Sheet("", fields, (origin, *sheet.legend(own))), width, _headline(front, conditions))


def _headline(front: Front, conditions: Sequence[str]) -> Text:
    chosen = f" in {' and '.join(o.name for o in front.objectives)}" if front.is_chosen else ""
    count = f"{sheet.counted(front.table.num_rows, 'non-dominated network')}{chosen}"
    if conditions:
        count = f"of the non-dominated networks{chosen} {front.table.num_rows} meet {' and '.join(conditions)}"
    whole = "hypervolume of the whole front" if conditions else "hypervolume"
    words = f": {count}, {whole} {front.hypervolume:.4g}"
    return Text.assemble(f"{front.sweep}, ", (front.task, "bold"), words)


def estimate_table(estimate: Estimate, workers: int) -> Table:
    """Return what a sweep will need."""
    table = Table(show_header=False, box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(overflow="fold")
    for cell, trials in estimate.cells.items():
        table.add_row(f"task {cell}", f"{trials} trials")
    if estimate.search:
        table.add_row("search", estimate.search)
    table.add_row("trials", str(sum(estimate.cells.values())))
    table.add_row("populations", f"{estimate.populations} of at most {estimate.population_size} networks")
    time = f"{duration(estimate.alone_s)} of training on {sheet.counted(workers, 'worker')}, plus start-up"
    if estimate.grows:
        time = f"at least {time}: windows grow"
    elif estimate.ends_early:
        time = f"at most {time}: trainings may end early"
    table.add_row("estimated time", time)
    if estimate.load >= 1:
        busy = (
            f"{estimate.load:.0f} others want a processor now; beside them it would take {duration(estimate.train_s)}"
        )
        table.add_row("machine", busy)
    table.add_row("estimated memory", f"{estimate.memory_bytes / 2**30:.1f} GiB for the workers, plus about 1 GiB")
    table.add_row("estimated disk", f"{estimate.disk_bytes / 2**20:.0f} MiB in the home")
    return table
