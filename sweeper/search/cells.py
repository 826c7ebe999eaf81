"""Cells of a sweep: the groups of trials that are searched, stopped and compared together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.search.sampling import Known, Proposal, Question, propose
from sweeper.spec import Setting, SweepSpec, in_full
from sweeper.trial import State, TrialRecord


@dataclass
class Cell:
    """One cell of the grid, and the settings tried in it.

    Attributes:
        key: Key of the cell.
        task: Label of its task.
        first: Setting of the cell with every searched parameter at its lower end.
        settings: Trials by setting key, in the order in which the settings were proposed.
    """

    key: str
    task: str
    first: Setting
    settings: dict[str, list[TrialRecord]] = field(default_factory=dict)


def cells_of(spec: SweepSpec, records: Iterable[TrialRecord]) -> list[Cell]:
    """Return the cells of a search with their trials, in the order of the spec."""
    cells = {spec.cell_of(first): Cell(spec.cell_of(first), first.task_label, first) for first in spec.cells()}
    for record in sorted(records, key=lambda record: record.number):
        cell = cells.get(spec.cell_at(record.axes))
        if cell is not None:
            cell.settings.setdefault(record.setting_key, []).append(record)
    return list(cells.values())


def next_cell(spec: SweepSpec, cells: Sequence[Cell]) -> Cell | None:
    """Return the cell with the fewest settings, whose turn is next; None if every cell has all its settings."""
    trials = spec.search.trials if spec.search else 0
    unfinished = [cell for cell in cells if len(cell.settings) < trials]
    return min(unfinished, key=lambda cell: len(cell.settings), default=None)


def proposals_for(
    spec: SweepSpec, cell: Cell, population_size: int, warm: Sequence[Known] = ()
) -> list[tuple[Setting, Proposal]]:
    """Return the next settings to try in a cell, enough to fill a population.

    Args:
        spec: Spec with a search.
        cell: The cell, with the settings tried so far.
        population_size: Number of networks trained side by side.
        warm: Complete settings of other sweeps.
    """
    trials = spec.search.trials if spec.search else 0
    # Members of a population differ only in pressures: if more is searched, every setting is its own population.
    wanted = math.ceil(population_size / spec.replicates) if spec.trains_side_by_side else 1
    known = [known_of(spec, its) for its in cell.settings.values()]
    question = Question(spec, cell.key, known, warm, repeats=sum(one.note.get("repeats", 0) for one in known))
    proposals = propose(question, min(wanted, trials - len(known)))
    return [(spec.proposed(cell.first, proposal.values), proposal) for proposal in proposals]


def known_of(spec: SweepSpec, trials: Sequence[TrialRecord]) -> Known:
    """Return the knowledge about one setting from its replicates."""
    complete = [record for record in trials if record.state is State.COMPLETE]
    if not all(record.state.is_finished for record in trials):
        state = State.RUNNING
    elif complete:
        state = State.COMPLETE
    else:
        is_pruned = any(record.state is State.PRUNED for record in trials)
        state = State.PRUNED if is_pruned else State.FAILED
    first = trials[0]
    setting = in_full(first.setting)
    values = {name: setting[spec.place_of(name)] for name in spec.searched}
    return Known(values, state, means([record.measurement for record in complete]), first.note)


def knowledge_for(spec: SweepSpec, records: Iterable[TrialRecord]) -> dict[str, list[Known]]:
    """Return the complete settings of another sweep that are informative about this one, by cell key.

    They share the cell's task and the values of the grid's axes, and their values of searched parameters lie within the
    ranges. Other differences, such as the number of epochs, are assumed to matter less.
    """
    groups: dict[str, list[TrialRecord]] = {}
    for record in records:
        if record.state is State.COMPLETE:
            groups.setdefault(record.setting_key, []).append(record)
    found: dict[str, list[Known]] = {}
    for first in spec.cells():
        flat = in_full(first.flat())
        here = {spec.place_of(name): flat[spec.place_of(name)] for name in spec.axes}
        for trials in groups.values():
            one, its = trials[0], in_full(trials[0].setting)
            is_here = one.task == first.task_label and all(its.get(n) == value for n, value in here.items())
            if is_here and all(given.holds(its.get(spec.place_of(n))) for n, given in spec.searched.items()):
                found.setdefault(spec.cell_of(first), []).append(known_of(spec, trials))
    return found


def means(measurements: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of every measured value that all replicates have."""
    names = [n for n in measurements[0] if all(n in other for other in measurements)] if measurements else []
    return {name: math.fsum(m[name] for m in measurements) / len(measurements) for name in names}
