"""Populations: settings that are trained side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from sweeper.spec import Setting


@dataclass
class Population:
    """Settings that are trained side by side, and the rows of the ledger that hold them.

    Attributes:
        key: Hash of the members' trial keys: the same members always make the same population.
        task: Label of the task cell.
        keys: Trial keys of the members.
        settings: Their settings, in the same order.
        numbers: Their rows in the cell's study.
        open: Keys of the members that have no outcome yet.
        interrupted: Keys of the members that a former driver began and did not finish.
        stopped: Keys of the members that were stopped early and are not trained any further.
        heard_ms: Last sign of life that was written, Unix milliseconds.
    """

    key: str
    task: str
    keys: tuple[str, ...]
    settings: tuple[Setting, ...]
    numbers: tuple[int, ...] = ()
    open: set[str] = field(default_factory=set)
    interrupted: set[str] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)
    heard_ms: int = 0

    def number_of(self, key: str) -> int:
        """Return the row number of a member."""
        return self.numbers[self.keys.index(key)]


def population_key(keys: Iterable[str]) -> str:
    """Return the key of the population whose members have these trial keys."""
    return hashlib.sha256(",".join(sorted(keys)).encode()).hexdigest()[:16]


def form_populations(settings: Sequence[Setting], size: int) -> list[Population]:
    """Divide settings into populations of about equal size, at most `size`.

    The members of a population share the task, the lattice and the training. Adjacent settings stay together. The same
    settings and size always give the same populations.
    """
    populations: list[Population] = []
    for _, group in groupby(settings, key=lambda setting: setting.group_key):
        members = list(group)
        parts = -(-len(members) // size)
        for part in range(parts):
            chosen = members[part * len(members) // parts : (part + 1) * len(members) // parts]
            keys = tuple(setting.key for setting in chosen)
            populations.append(Population(population_key(keys), chosen[0].task_label, keys, tuple(chosen)))
    return populations
