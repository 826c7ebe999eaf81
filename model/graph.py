"""A trained network as a graph of plain numbers: its living channels, and the strengths of their connections.

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

#: Largest deviation of the sum of step probabilities from 1, for values in float32 or from a rounded file.
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Graph:
    """One trained network after `cut`, without tensors.

    A strength is the L2 norm of the kernel that connects two channels. Layers are listed from the image upwards.

    Attributes:
        image: Channels, height and width of the images.
        classes: Number of classes.
        channels: Living channels of each layer; empty if the answer is constant.
        sides: Height and width of each layer's state.
        step_dist: Share of images that are answered after exactly step 1, 2, …
        bottom_up: For each layer, strengths from the layer below; for the first layer, from the image.
        lateral: For each layer, strengths from itself one step before. Empty for windows of a single step, and for
            feed-forward networks.
        top_down: For each layer but the deepest, strengths from the layer above one step before. Empty if `lateral` is.
        readout: For each layer, the norm of each channel's weights to the classes.
        parameters: Number of weights.
        up_delay: Steps that bottom-up input takes, 0 or 1. Input from the image takes none: it arrives at every step.
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
        window: The network's window after `cut`: everything in it is alive.
        weights: State of a lattice over this window with P = 1, by name, as a file holds it.
        step_dist: Share of images answered after each step of the window, or a mean of p(t|x).

    Raises:
        WindowError: If there is more than one network, or the probabilities do not fit the steps or do not sum to 1.
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
    """Return the norms of all kernels (1, target, source, k, k) of a kind, in the order of the layers."""
    found: list[Strengths] = []
    while (kernels := weights.get(f"{kind}.{len(found)}")) is not None:
        found.append(tuple(map(tuple, _norm(kernels[0], (2, 3)).tolist())))
    return tuple(found)


def _norm(weights: NDArray[Any], axes: int | tuple[int, int]) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = np.square(weights, dtype=np.float64).sum(axes)
    return np.sqrt(squares)
