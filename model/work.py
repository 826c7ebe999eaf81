"""How much work a training step is: what populations are divided by, and what a sweep's time is foretold from.

The unit is one channel on one pixel of one image in a training step: forward, backward, and all that goes with them.
How many seconds that takes is measured where it matters, see `model.forecast`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.model.native.library import TORCH
from sweeper.model.resize import fitting_window
from sweeper.model.window import Window


@dataclass(frozen=True)
class Rates:
    """What a training step costs beside its channels; fitted to the times of `benchmarks/population.py`.

    Attributes:
        state: Of a state of any size, for all networks and images together.
        pixel: Of a state's pixel, beside its channels.
        connection: Of a channel, for each one that it is connected to.
    """

    state: float
    pixel: float
    connection: float

    @classmethod
    def of(cls, recurrence: str) -> Rates:
        """Return those of what a recurrence runs in.

        They are the same on every machine: a population must be divided alike wherever it goes on, since who trains
        beside whom changes rounding, and training amplifies that.
        """
        return cls(24_000, 1.0, 0.0) if recurrence == TORCH else cls(9_400, 0.0, 0.06)


def work(
    window: Window, channels: Sequence[Sequence[int]], steps: Sequence[int], batch_size: int, recurrence: str
) -> float:
    """Return about how much work a training step of some networks in one lattice is, for each image of the batch.

    Args:
        window: Of the networks' kind.
        channels: Of each network, by layer.
        steps: Of each network.
        batch_size: Images of the step.
        recurrence: What it runs in.
    """
    rates, whole = Rates.of(recurrence), fitting_window(window, channels, steps)
    states = 0.0
    for layer, c in enumerate(whole.channels, start=1):
        height, width = whole.side(layer)
        connected = sum(whole.channels[max(0, layer - 2) : layer + 1])
        of_pixel = rates.pixel + c * (1 + rates.connection * connected)
        states += rates.state / batch_size + len(channels) * height * width * of_pixel
    return whole.steps * states
