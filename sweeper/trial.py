"""Words every room shares: enums and small frozen records, and no third-party name.

A *setting* is one full choice of task, lattice, pressures, training and seed. A *trial* is
one evaluation of one setting. A *measurement* is what a trial yields, in counted resources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class Goal(StrEnum):
    """Direction of an objective, in the words of the YAML file."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"

    @property
    def arrow(self) -> str:
        """Where better values lie, for people."""
        return "↑" if self is Goal.MAXIMIZE else "↓"


class State(StrEnum):
    """Where a trial stands in the ledger."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"

    @property
    def is_finished(self) -> bool:
        """Finished trials are immutable and never run again."""
        return self in (State.COMPLETE, State.PRUNED, State.FAILED)


class Outcome(StrEnum):
    """How a finished trial ended. Everything but COMPLETE and PRUNED is a kind of failure."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    NOT_FINITE = "not_finite"
    MISSING_OBJECTIVE = "missing_objective"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    LOST = "lost"

    @property
    def state(self) -> State:
        """The state of a trial that ended so."""
        own = {Outcome.COMPLETE: State.COMPLETE, Outcome.PRUNED: State.PRUNED}
        return own.get(self, State.FAILED)


class TimeSelection(StrEnum):
    """How a lattice decides after which step to answer."""

    ADAPTIVE = "adaptive"
    FIXED = "fixed"


class WindowKind(StrEnum):
    """Whether the window of a lattice is given, or found while training."""

    FIXED = "fixed"
    AUTO = "auto"


class Solver(StrEnum):
    """How breadth and depth pressures act on the weights."""

    PROXIMAL = "proximal"
    BACKPROP = "backprop"


class Distribution(StrEnum):
    """How the values of a searched parameter are spread, in W&B's words."""

    UNIFORM = "uniform"
    LOG_UNIFORM = "log_uniform_values"
    INT_UNIFORM = "int_uniform"
    CATEGORICAL = "categorical"


class Sampler(StrEnum):
    """What proposes the next settings of a search; each is Optuna's sampler of that name."""

    TPE = "tpe"
    NSGA2 = "nsga2"
    NSGA3 = "nsga3"
    GP = "gp"
    RANDOM = "random"
    QMC = "qmc"


#: What a trained network is measured by: name -> (unit, meaning). Any of them may be an objective.
MEASUREMENTS: Mapping[str, tuple[str, str]] = {
    "accuracy": ("share", "share of held-out test images answered right"),
    "loss": ("nats", "mean negative log-likelihood of the test labels"),
    "breadth": ("channels", "mean number of living channels over living layers"),
    "channels": ("channels", "living channels in all layers together"),
    "depth": ("layers", "the deepest living layer"),
    "time": ("steps", "mean expected number of recurrent steps over test images"),
    "time_p95": ("steps", "95th percentile of the expected steps over test images"),
    "exit_time": ("steps", "mean steps when stopping at half of the step distribution"),
    "exit_accuracy": ("share", "share right when stopping at half of the step distribution"),
    "parameters": ("count", "living weights"),
    "macs": ("multiply-accumulates per image", "at the expected time"),
    "cost_breadth": ("cost", "breadth cost of the trained weights"),
    "cost_depth": ("cost", "depth cost of the trained weights"),
    "cost_time": ("cost", "time cost over test images"),
}

#: 1 where the lattice's window, not the pressure, bounded the network, and where the limit on memory bounded the
#: window; reported beside every point.
WALLS: tuple[str, ...] = ("limited_breadth", "limited_depth", "limited_time", "limited_memory")


@dataclass(frozen=True)
class Objective:
    """A named number to optimise and its direction."""

    name: str
    goal: Goal


@dataclass(frozen=True)
class Bound:
    """A condition on a measurement, such as `accuracy >= 0.95`.

    Attributes:
        name: One of `MEASUREMENTS`.
        is_least: Whether `value` is the least that will do, else the most.
    """

    name: str
    is_least: bool
    value: float

    def excess(self, measured: float) -> float:
        """Return by how much a measurement breaks the condition; 0 or less where it is met. In its own unit."""
        return self.value - measured if self.is_least else measured - self.value

    def __str__(self) -> str:
        return f"{self.name} {'>=' if self.is_least else '<='} {self.value:g}"


@dataclass(frozen=True)
class Ended:
    """How one member of a population ended, as a worker returns it.

    Attributes:
        outcome: What happened; None where it has only reached the epoch that the job was to pause after.
        reason: Empty when complete; otherwise what went wrong, traceback included.
        measurement: Values by the names in `MEASUREMENTS` and `WALLS`; may be partial on failure.
        details: Facts that are not one number, such as `channels_per_layer`.
        curve: One mapping per kept epoch: `epoch` and the values measured then.
        is_final: Whether trying it again would end the same.
    """

    outcome: Outcome | None
    reason: str = ""
    measurement: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Sequence[int]] = field(default_factory=dict)
    curve: Sequence[Mapping[str, float]] = ()
    is_final: bool = False


@dataclass(frozen=True)
class TrialRecord:
    """One trial as the ledger knows it: the facts that MLflow mirrors.

    Attributes:
        key: Hash of the canonical setting, the trial's identity everywhere.
        sweep: Name of the sweep.
        task: Label of the task cell, such as `digits-10`.
        number: Position within the cell, from 0.
        setting: The whole setting, flat: `task.classes`, `lattice.steps`, `time_pressure`, `seed`, ...
        axes: The part of the setting that this sweep varies, by axis name (without `seed`).
        setting_key: Hash of the setting without its seed: replicates of one setting share it.
        population: Key of the population the trial is placed in.
        started_ms, ended_ms: Unix time in milliseconds, None where not yet.
        note: What a sampler noted when it proposed the setting; empty in a plain grid.
        rungs: By epoch: the measurement with which the trial reached that rung.
        retries: How often it was tried again, by what had happened to it.
    """

    key: str
    sweep: str
    task: str
    number: int
    state: State
    setting: Mapping[str, str | int | float | bool]
    axes: Mapping[str, str | int | float | bool]
    setting_key: str
    seed: int
    population: str
    attempt: int = 0
    outcome: Outcome | None = None
    reason: str = ""
    measurement: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Sequence[int]] = field(default_factory=dict)
    curve: Sequence[Mapping[str, float]] = ()
    started_ms: int | None = None
    ended_ms: int | None = None
    note: Mapping[str, Any] = field(default_factory=dict)
    rungs: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    retries: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Room:
    """What decides how many networks can be trained side by side.

    Attributes:
        pixels: Pixels of the largest image.
        network_bytes: About what training takes per network.
        machine_bytes: Memory of the machine.
        sharing: Populations that share this memory; 0 for all that are trained at a time.
        machine: What the machine is called in an error.
    """

    pixels: int
    network_bytes: int
    machine_bytes: int
    sharing: int = 0
    machine: str = "this machine"


@dataclass(frozen=True)
class Lease:
    """Proof that somebody is the one who may go on.

    Attributes:
        path: Location of the file that names the current holder.
        session: The holder whose lease this is: a driver, or a population as it was handed out by one.
    """

    path: str
    session: str


@dataclass(frozen=True)
class Job:
    """A population handed to a worker: plain values, so that it travels anywhere.

    Attributes:
        key: Key of the population; its checkpoint is found by it.
        task: Label of the task cell.
        keys: Trial keys of all members.
        settings: Whole settings of all members, flat.
        wanted: Which members still need an outcome.
        checkpoint: Path of the population's checkpoint file; empty for none.
        networks: Paths of the files that the members' trained networks are written to; empty for none.
        lease: None where nobody else can be working on it.
        stopped: Which members are not to be trained any further, though others are; empty for none.
        until: Epochs after which to pause, with every member measured; None trains to the end.
        time_limit_s: Seconds after which members that are still training end as timed out; None for no limit.
        device: What to train on, in torch's words; its worker knows what it was given.
    """

    key: str
    task: str
    keys: tuple[str, ...]
    settings: tuple[Mapping[str, str | int | float | bool], ...]
    wanted: tuple[bool, ...]
    checkpoint: str = ""
    networks: tuple[str, ...] = ()
    lease: Lease | None = None
    stopped: tuple[bool, ...] = ()
    until: int | None = None
    time_limit_s: float | None = None
    device: str = "cpu"

    @property
    def wanted_keys(self) -> tuple[str, ...]:
        """Trial keys of the members that still need an outcome, in order."""
        return tuple(key for key, is_wanted in zip(self.keys, self.wanted, strict=True) if is_wanted)


@dataclass(frozen=True)
class Progress:
    """What a worker says of a population after each epoch.

    Attributes:
        epoch: Epochs done.
        epochs: Epochs in all.
        values: By wanted member: the values measured after this epoch; empty where not finite, or with a last note.
        notes: What the user should know, such as a checkpoint that could not be read.
    """

    epoch: int
    epochs: int
    values: Sequence[Mapping[str, float]]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class StepHistogram:
    """How many test images took how many expected recurrent steps.

    Attributes:
        edges: Ascending, one more than there are counts; a part holds its lower edge, the last part both. Unit: steps.
        right, wrong: Images of each part that were answered right, and wrong.
    """

    edges: tuple[float, ...]
    right: tuple[int, ...]
    wrong: tuple[int, ...]

    @property
    def images(self) -> int:
        """Number of test images."""
        return sum(self.right) + sum(self.wrong)


@dataclass(frozen=True)
class ExampleImage:
    """A test image that a network answered soonest or latest of all it got right, or of all it got wrong.

    Attributes:
        kind: `fastest` or `slowest`.
        is_right: Whether `answer` is `label`.
        image: Its number in the test set, from 0.
        label, answer: Classes, from 0.
        steps: Expected recurrent steps.
        png: The image as the network saw it, as a small PNG.
    """

    kind: str
    is_right: bool
    image: int
    label: int
    answer: int
    steps: float
    png: bytes


class Graph(Protocol):
    """What is left of a trained network, as `model.Graph` holds it: who draws it needs no torch.

    Layers are listed from the image upwards; a strength is a list over targets of a list over sources.
    """

    @property
    def image(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""

    @property
    def classes(self) -> int:
        """Number of classes."""

    @property
    def channels(self) -> Sequence[int]:
        """Living channels of each layer."""

    @property
    def sides(self) -> Sequence[tuple[int, int]]:
        """Height and width of each layer's state."""

    @property
    def step_dist(self) -> Sequence[float]:
        """Mean probability of answering after exactly step 1, 2, …"""

    @property
    def bottom_up(self) -> Sequence[Sequence[Sequence[float]]]:
        """Strengths of each layer from the layer below, or from the image."""

    @property
    def lateral(self) -> Sequence[Sequence[Sequence[float]]]:
        """Strengths of each layer from itself one step before; empty with a single step."""

    @property
    def top_down(self) -> Sequence[Sequence[Sequence[float]]]:
        """Strengths of each layer but the deepest from the layer above one step before; empty with a single step."""

    @property
    def readout(self) -> Sequence[Sequence[float]]:
        """Strength of each channel's readout."""

    @property
    def parameters(self) -> int:
        """Number of weights."""
