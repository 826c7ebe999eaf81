"""What a trained network is measured by, and what is asked of a measurement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Goal(StrEnum):
    """Direction of an objective, in the words of the YAML file."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"

    @property
    def arrow(self) -> str:
        """Where better values lie, for people."""
        return "↑" if self is Goal.MAXIMIZE else "↓"


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
