"""What a population is trained with. Without defaults: these belong to whoever describes a sweep."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pressures:
    """One member of a population: what its channels, layers and steps cost, and its seed."""

    breadth: float
    depth: float
    time: float
    seed: int


@dataclass(frozen=True)
class TrainingSettings:
    """How to train; shared by a population.

    Attributes:
        solver: `proximal` shrinks groups to exactly zero after each step; `backprop` adds the costs to the loss.
        step_loss: Weight of the mean loss of every single step's own answer.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    solver: str
    step_loss: float
