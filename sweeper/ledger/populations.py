"""Populations: settings that are trained side by side; and how many trials stand where."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from sweeper.errors import SpecError
from sweeper.spec import Setting, SweepSpec
from sweeper.trial import Outcome, Room, State, TrialRecord

#: Share of a machine's memory that trainings may take, and what a worker takes without any.
_MEMORY_SHARE, _WORKER_BYTES = 0.75, 400 * 2**20

#: The population that measures best, by the number of pixels of an image (`benchmarks/population.py`).
_LARGEST_POPULATIONS = ((100, 8), (400, 4), (float("inf"), 2))

#: How often a sampler must hear of outcomes before its last proposals.
_LEAST_ROUNDS = 8


@dataclass
class Population:
    """Settings that are trained side by side, and the rows of the ledger that hold them.

    Attributes:
        key: Hash of the members' trial keys: the same members, the same population.
        task: Label of the task cell.
        keys: Trial keys of the members.
        settings: Their settings, in the same order.
        numbers: Their rows in the cell's study.
        open: Keys of the members that have no outcome yet.
        interrupted: Keys of the members that a former driver began and did not end.
        stopped: Keys of the members that were stopped early: they are not trained any further.
        heard_ms: When it was last heard of, as far as written.
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
        """Return the row of a member."""
        return self.numbers[self.keys.index(key)]


@dataclass(frozen=True)
class Counts:
    """How many trials of a sweep stand where.

    `planned` = `running` + `waiting` + all of `outcomes`. `repeats` counts the proposals of a search that were settings
    tried already, and so were answered from the ledger.
    """

    planned: int
    complete: int
    running: int
    waiting: int
    outcomes: Mapping[str, int]
    repeats: int = 0

    @property
    def failed(self) -> int:
        """Trials that ended neither complete nor pruned."""
        return sum(self.outcomes.values()) - self.complete - self.pruned

    @property
    def pruned(self) -> int:
        """Trials that were stopped early, because others did better."""
        return self.outcomes[Outcome.PRUNED]

    def without_driver(self) -> Counts:
        """Return the same where no driver lives: what it left running waits to be taken over."""
        return replace(self, running=0, waiting=self.waiting + self.running)

    def started(self, trials: int) -> Counts:
        """Return the counts after so many waiting trials have started."""
        return replace(self, running=self.running + trials, waiting=self.waiting - trials)

    def ended(self, record: TrialRecord) -> Counts:
        """Return the counts after a running trial has ended."""
        outcome = str(record.outcome)
        return replace(
            self,
            running=self.running - 1,
            complete=self.complete + (record.outcome is Outcome.COMPLETE),
            outcomes={**self.outcomes, outcome: self.outcomes[outcome] + 1},
        )


def count(records: Iterable[TrialRecord], planned: int = 0) -> Counts:
    """Count trials by state, and finished ones by outcome.

    Args:
        records: Every trial that there is so far.
        planned: How many there will be; those of a search that are not proposed yet wait.
    """
    records = list(records)
    states = Counter(record.state for record in records)
    ended = Counter(record.outcome for record in records)
    planned = max(planned, len(records))
    return Counts(
        planned=planned,
        complete=states[State.COMPLETE],
        running=states[State.RUNNING],
        waiting=states[State.WAITING] + planned - len(records),
        outcomes={str(outcome): ended[outcome] for outcome in Outcome},
        repeats=sum({record.setting_key: record.note.get("repeats", 0) for record in records}.values()),
    )


def population_size(spec: SweepSpec, workers: int, room: Room) -> int:
    """Return how many networks to train side by side.

    `auto` gives every worker something to do, up to the number beyond which populations were measured to gain
    nothing on a CPU (figures in docs/design.md), and to what fits in memory.

    Args:
        spec: Its `placement.population` decides where it is a number.
        workers: Populations trained at a time.
        room: What the networks need and the machine has.

    Raises:
        SpecError: If a population does not fit in the memory of a worker.
    """
    largest = largest_group(spec)
    given, sharing = spec.placement.memory_mib, room.sharing or workers
    is_given = isinstance(given, int) and given > 0
    has_bytes = int(given) * 2**20 if is_given else _MEMORY_SHARE * room.machine_bytes / sharing
    fitting = int((has_bytes - _WORKER_BYTES) // room.network_bytes)
    asked = spec.placement.population
    wanted = min(asked, largest) if isinstance(asked, int) else 1
    if wanted > fitting:
        in_each, has = f"in each of {sharing} workers", f"{room.machine} has {room.machine_bytes / 2**30:.1f} GiB"
        if is_given:
            in_each, has = "beside what its worker takes itself", f"placement.memory_mib is {given}"
        fewer = "a higher memory_mib" if is_given else "fewer workers"
        raise SpecError(
            f"a population must fit in memory, but placement.population={asked} needs about "
            f"{wanted * room.network_bytes / 2**30:.1f} GiB {in_each}, and {has}. "
            + (f"Use {fitting} or fewer." if fitting > 0 else f"Use {fewer}, or a smaller window or batch_size.")
        )
    if isinstance(asked, int):
        return asked
    most = next(size for limit, size in _LARGEST_POPULATIONS if room.pixels <= limit)
    return max(1, min(most, fitting, -(-largest // workers)))


def largest_group(spec: SweepSpec) -> int:
    """Return how many trials could be trained side by side, if there were room."""
    if spec.search is None:
        return max(Counter(setting.group_key for setting in spec.settings()).values())
    if not spec.searches_pressures_only:
        return spec.replicates
    # A sampler learns between populations: with fewer than so many rounds a search is a random one.
    return -(-spec.search.trials * spec.replicates * len(spec.cells()) // _LEAST_ROUNDS)


def population_key(keys: Iterable[str]) -> str:
    """Return the key of a population by the trial keys of its members."""
    return hashlib.sha256(",".join(sorted(keys)).encode()).hexdigest()[:16]


def form_populations(settings: Sequence[Setting], size: int) -> list[Population]:
    """Divide settings into populations of about equal size, at most `size`.

    Members share the task, the lattice and the training; adjacent settings stay together. The same
    settings and size always give the same populations.
    """
    populations: list[Population] = []
    for _, group in groupby(settings, key=lambda setting: setting.group_key):
        members = list(group)
        parts = -(-len(members) // size)
        for part in range(parts):
            chosen = members[part * len(members) // parts : (part + 1) * len(members) // parts]
            keys = tuple(setting.key for setting in chosen)
            populations.append(Population(population_key(keys), chosen[0].task.label, keys, tuple(chosen)))
    return populations
