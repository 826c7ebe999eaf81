"""Formats fronts and estimates for a terminal, as rich renderables. Prints nothing itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from sweeper.analysis import sheet
from sweeper.analysis.fronts import Front
from sweeper.cli.sheet_table import listing
from sweeper.cli.status_tables import duration

if TYPE_CHECKING:  # these modules load torch, which commands that only show results do not need
    from sweeper.driver.estimate import Estimate
    from sweeper.training.forecast import TaskFacts

#: Most classes of a task to name, besides the last one; and most characters of a name.
_MOST_NAMES, _LONGEST_NAME = 12, 24


def front_table(front: Front, width: int = 80, conditions: Sequence[str] = ()) -> Group:
    """Return a front as a table with a row for each network, ascending in the first objective.

    The layout is that of any sheet; see `listing`.

    Args:
        front: The front, or the part of it that meets `conditions`.
        width: Columns of the terminal.
        conditions: The conditions by which the shown part was chosen.
    """
    origin = f"{sheet.version_text(front.version)} · reference point: {sheet.point_text(front.reference_point)}"
    notes = (origin, *sheet.legend(front.own_units, front.codes))
    return listing(sheet.Sheet("", sheet.front_fields(front), notes), width, _headline(front, conditions))


def _headline(front: Front, conditions: Sequence[str]) -> Text:
    chosen = f" in {' and '.join(o.name for o in front.objectives)}" if front.is_chosen else ""
    noun = f"non-dominated {sheet.noun(front.own_units)}"
    count = f"{sheet.counted(front.table.num_rows, noun)}{chosen}"
    if conditions:
        count = f"of the {noun}s{chosen} {front.table.num_rows} meet {' and '.join(conditions)}"
    whole = "hypervolume of the whole front" if conditions else "hypervolume"
    words = f": {count}, {whole} {front.hypervolume:.4g}"
    return Text.assemble(f"{front.sweep}, ", (front.task, "bold"), words)


def estimate_table(estimate: Estimate, workers: int) -> Table:
    """Return a table of a sweep's estimated needs."""
    table = Table(show_header=False, box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(overflow="fold")
    _add_tasks(table, estimate)
    if estimate.search:
        table.add_row("search", estimate.search)
    table.add_row("trials", str(sum(estimate.cells.values())))
    if estimate.first is None:
        table.add_row("populations", f"{estimate.populations} of at most {estimate.population_size} networks")
    else:
        _add_first_epoch(table, estimate.first)
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


def _add_first_epoch(table: Table, first: Mapping[str, Any]) -> None:
    """Add time, memory and results of a probe call of the user's own function for one epoch."""
    if not first:
        table.add_row("first epoch", "not known: it took too long to wait for, or needs a GPU that is not here")
        return
    epochs = f" of {first['epochs']}" if first["epochs"] else ", the whole call"
    memory = f"{first['memory_bytes'] / 2**20:.0f} MiB"
    second = f", the second one {first['epoch_seconds']:.2g} s" if first["epoch_seconds"] else ""
    table.add_row(f"first epoch{epochs}", f"{first['seconds']:.2g} s{second}; {memory} of memory")
    table.add_row("measured", Text(", ".join(first["measures"])))
    goes_on = "an interrupted trial goes on from its last epoch"
    table.add_row("state", goes_on if first["has_state"] else "none: an interrupted trial begins anew")


def _add_tasks(table: Table, estimate: Estimate) -> None:
    """Add the trials of each task, and facts about its images below, once for all tasks that share them."""
    alike: dict[tuple[object, ...], list[str]] = {}
    for task in estimate.cells:
        alike.setdefault(_seen(estimate.images.get(task)), []).append(task)
    margin = "  " if len(alike) > 1 else ""  # indented facts belong to the tasks above them only
    for tasks in alike.values():
        for task in tasks:
            table.add_row(Text(f"task {task}"), sheet.counted(estimate.cells[task], "trial"))
        if tasks[0] in estimate.images:
            _add_images(table, estimate.images[tasks[0]], margin)


def _seen(facts: TaskFacts | None) -> tuple[object, ...]:
    """Return what the table shows about a task's images, to be compared."""
    if facts is None:
        return ()
    sets = (facts.train_images, facts.validation_images, facts.test_images)
    return (sets, facts.image, facts.names, facts.notes, facts.warnings, f"{facts.brightness:.2f}")


def _add_images(table: Table, facts: TaskFacts, margin: str) -> None:
    channels, height, width = facts.image
    colour = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
    table.add_row(
        f"{margin}images",
        f"{facts.train_images:,} for training, {facts.validation_images:,} for validation, "
        f"{facts.test_images:,} for test; {height}×{width} pixels, {colour}; mean pixel {facts.brightness:.2f}",
    )
    more = f", … {_cut(facts.names[-1])}" if len(facts.names) > _MOST_NAMES else ""
    names = ", ".join(_cut(name) for name in facts.names[:_MOST_NAMES])
    table.add_row(f"{margin}classes", Text(f"{facts.classes}: {names}{more}"))  # names may look like markup
    for note in facts.notes:
        table.add_row(f"{margin}note", Text(note))
    for warning in facts.warnings:
        table.add_row(Text(f"{margin}warning", "yellow"), Text(warning))


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
