"""Settings of a population's training. Defaults belong to the description of a sweep, not here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pressures:
    """One member of a population: its pressures on breadth, depth and time, and its seed.

    Attributes:
        own: Pressures of a user's own costs, in the order of the costs.
    """

    breadth: float
    depth: float
    time: float
    seed: int
    own: tuple[float, ...] = ()


@dataclass(frozen=True)
class TrainingSettings:
    """How to train; shared by a population.

    A training is divided into rounds. A round is a pass over the images, or `round_updates` updates.

    Attributes:
        epochs: Passes over the images, one round each. None if `updates` is given.
        batch_size: Images per update.
        solver: `elimination` removes channels and keeps the network with the lowest objective, see
            `model.elimination`; `proximal` shrinks groups to exactly zero after each step; `backprop` adds the costs
            to the loss.
        step_loss: Weight of the mean loss of every single step's own answer.
        updates: Steps of the optimizer in all; None if `epochs` is given.
        round_updates: Updates of a round; the last round may have fewer. None makes a round a pass over the images.
        epoch_images: Most validation images that networks are measured on after each round; None for all.
        until: `budget` trains for the whole budget; `settled` trains each network as long as it needs, see
            `model.settling`.
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
