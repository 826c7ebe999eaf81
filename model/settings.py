"""What a population is trained with. Without defaults: these belong to whoever describes a sweep."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pressures:
    """One member of a population: what its channels, layers and steps cost, and its seed.

    Attributes:
        own: The pressures of costs of a user's own, in the order of the costs.
    """

    breadth: float
    depth: float
    time: float
    seed: int
    own: tuple[float, ...] = ()


@dataclass(frozen=True)
class TrainingSettings:
    """How to train; shared by a population.

    A training is divided into rounds: each is a pass over the images, or so many updates as are said.

    Attributes:
        epochs: Passes over the images, a round each. None where `updates` are given.
        batch_size: Images per update.
        solver: `elimination` takes channels out and keeps what has the lowest objective, see `model.elimination`;
            `proximal` shrinks groups to exactly zero after each step; `backprop` adds the costs to the loss.
        step_loss: Weight of the mean loss of every single step's own answer.
        updates: Steps of the optimizer in all; None where `epochs` are given.
        round_updates: Updates of a round, the last one of which may have fewer. None: a pass over the images.
        epoch_images: Validation images that networks are measured on after each round, at most; None: all.
        until: `budget` trains all of it; `settled` as far as each network needs, see `model.settling`.
    """

    epochs: int | None
    batch_size: int
    learning_rate: float
    solver: str
    step_loss: float
    updates: int | None = None
    round_updates: int | None = None
    until: str = "budget"
    epoch_images: int | None = None
