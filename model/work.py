"""The work of a training step, from which populations are divided and the time of a sweep is forecast.

The unit is one channel on one pixel of one image in a training step: forward and backward pass, and everything else in
the step. `model.forecast` measures how many seconds a unit takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.model.native.library import TORCH
from sweeper.model.resize import fitting_window
from sweeper.model.window import Window


@dataclass(frozen=True)
class Rates:
    """Further work of a training step beside its channels; fitted to the times of `benchmarks/population.py`.

    Attributes:
        state: Work of a state of any size, for all networks and images together.
        pixel: Work of a state's pixel, beside its channels.
        connection: Work of a channel for each channel that it is connected to.
    """

    state: float
    pixel: float
    connection: float

    @classmethod
    def of(cls, recurrence: str) -> Rates:
        """Return the rates of an implementation of the recurrence.

        They are the same on every machine: a population must be divided alike wherever it resumes, since the division
        changes rounding, and training amplifies that.
        """
        return cls(24_000, 1.0, 0.0) if recurrence == TORCH else cls(9_400, 0.0, 0.06)


def work(
    window: Window, channels: Sequence[Sequence[int]], steps: Sequence[int], batch_size: int, recurrence: str
) -> float:
    """Return the approximate work of a training step of some networks in one lattice, for each image of the batch.

    Args:
        window: Any window of the networks' kind.
        channels: For each network, the channels of each layer.
        steps: For each network, its steps.
        batch_size: Images of the step.
        recurrence: Implementation of the recurrence.
    """
    rates, whole = Rates.of(recurrence), fitting_window(window, channels, steps)
    states = 0.0
    for layer, c in enumerate(whole.channels, start=1):
        height, width = whole.side(layer)
        connected = sum(whole.channels[max(0, layer - 2) : layer + 1])
        of_pixel = rates.pixel + c * (1 + rates.connection * connected)
        states += rates.state / batch_size + len(channels) * height * width * of_pixel
    return whole.steps * states
