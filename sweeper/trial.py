"""Terms that every room shares, as enums and small frozen records without third-party names.

A *setting* is one full choice of task, lattice, pressures, training and seed. A *trial* is
one evaluation of one setting. A *measurement* is the result of a trial, in counted resources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """State of a trial in the ledger."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"

    @property
    def is_finished(self) -> bool:
        """Whether the trial is finished, and so immutable. Failed ones run again only on request, as a new attempt."""
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
        """The state of a trial with this outcome."""
        own = {Outcome.COMPLETE: State.COMPLETE, Outcome.PRUNED: State.PRUNED}
        return own.get(self, State.FAILED)


@dataclass(frozen=True)
class Ended:
    """How one member of a population ended, as a worker returns it.

    Attributes:
        outcome: The outcome; None if the member has only reached the epoch that the job was to pause after.
        reason: Empty if complete; otherwise the failure, with a traceback if there is one.
        measurement: Values by the names in `MEASUREMENTS` and `WALLS`; may be partial on failure.
        details: Facts that are not one number, such as `channels_per_layer`.
        curve: One mapping per kept epoch: `epoch` and the values measured then.
        is_final: Whether a retry would end the same.
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
        started_ms, ended_ms: Unix time in milliseconds; None if not yet.
        note: The sampler's note when it proposed the setting; empty in a plain grid.
        rungs: Measurements with which the trial reached each rung, by epoch.
        retries: Number of retries, by kind of failure.
        own_units: For a user's own function, units of all its measures, by name. None for a lattice.
        codes: Versions of the user's code that trained the trial, in order; see `own_code`. Our own code has none.
        added_units: For a lattice, units of the values that the user's own costs and measures add, by name.
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
    own_units: Mapping[str, str] | None = None
    codes: Sequence[str] = ()
    added_units: Mapping[str, str] = field(default_factory=dict)
