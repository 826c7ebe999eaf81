"""A trained network as a graph of plain numbers: which channels are left, and how strongly they are joined.

Loads no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.model.errors import WindowError
from sweeper.model.window import Window

#: Strengths from every source (inner) to every target (outer).
Strengths = tuple[tuple[float, ...], ...]

#: Step probabilities that come from float32 or from a rounded file still count as summing to 1.
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Graph:
    """What is left of one trained network, without tensors.

    A strength is the L2 norm of the kernel that joins two channels. Layers are listed from the image upwards.

    Attributes:
        image: Channels, height and width of the images.
        classes: Number of classes.
        channels: Living channels of each layer; empty where the answer is constant.
        sides: Height and width of each layer's state.
        step_dist: Share of images that are answered after exactly step 1, 2, …
        bottom_up: Of each layer, from the layer below; of the first layer, from the image.
        lateral: Of each layer, from itself one step before. Empty with a single step, and in a feed-forward network.
        top_down: Of each layer but the deepest, from the layer above one step before. Empty as those are.
        readout: Of each layer, the norm of each channel's weights to the classes.
        parameters: Number of weights.
        up_delay: Steps that bottom-up input takes, 0 or 1; that from the image none, which is there at every step.
    """

    image: tuple[int, int, int]
    classes: int
    channels: tuple[int, ...]
    sides: tuple[tuple[int, int], ...]
    step_dist: tuple[float, ...]
    bottom_up: tuple[Strengths, ...]
    lateral: tuple[Strengths, ...]
    top_down: tuple[Strengths, ...]
    readout: tuple[tuple[float, ...], ...]
    parameters: int
    up_delay: int = 0


def graph_of(window: Window, weights: Mapping[str, NDArray[Any]], step_dist: Sequence[float]) -> Graph:
    """Return the graph of one network.

    Args:
        window: Its shape; everything in it is alive, as `cut` leaves it.
        weights: The state of a lattice of it with P = 1, by name, as a file holds it.
        step_dist: Share of images answered after each step of its window, or a mean of p(t|x).

    Raises:
        WindowError: If there is more than one network, or the probabilities are not those of its steps.
    """
    if (population := len(weights["readout_bias"])) != 1:
        raise WindowError(f"a graph is of one network, but got a population of {population}. Cut one out.")
    if len(step_dist) != window.steps:
        raise WindowError(
            f"a window of {window.steps} steps needs as many step probabilities, but got {len(step_dist)}"
        )
    if not all(p >= 0 for p in step_dist) or not math.isclose(sum(step_dist), 1, abs_tol=_SUM_TOLERANCE):
        raise WindowError(f"step probabilities must be at least 0 and sum to 1, but got {list(step_dist)}")
    layers = range(window.layers)
    return Graph(
        image=window.image,
        classes=window.classes,
        channels=window.channels,
        sides=tuple(window.side(layer + 1) for layer in layers),
        step_dist=tuple(map(float, step_dist)),
        bottom_up=_strengths(weights, "bottom_up"),
        lateral=_strengths(weights, "lateral"),
        top_down=_strengths(weights, "top_down"),
        readout=tuple(tuple(_norm(weights[f"readout.{layer}"][0], 0).tolist()) for layer in layers),
        parameters=sum(math.prod(shape) for shape in window.learned_shapes().values()),
        up_delay=window.up_delay,
    )


def _strengths(weights: Mapping[str, NDArray[Any]], kind: str) -> tuple[Strengths, ...]:
    """Return the norms of kernels (1, target, source, k, k), of the first layer that has such kernels first."""
    found: list[Strengths] = []
    while (kernels := weights.get(f"{kind}.{len(found)}")) is not None:
        found.append(tuple(map(tuple, _norm(kernels[0], (2, 3)).tolist())))
    return tuple(found)


def _norm(weights: NDArray[Any], axes: int | tuple[int, int]) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = np.square(weights, dtype=np.float64).sum(axes)
    return np.sqrt(squares)
