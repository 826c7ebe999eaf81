"""Lesions: a trained network without one of its parts shows what the part was for."""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy

import torch

from sweeper.model.costs import scale_channels
from sweeper.model.errors import LesionError
from sweeper.model.lattice import Lattice

#: Names of parts: each layer's connections to itself, those to the layer below, and the layer furthest from the image.
LATERAL, TOP_DOWN, DEEPEST = "lateral", "top-down", "deepest"

#: Prefix of a layer's number, from 1.
LAYER = "layer:"


@torch.no_grad()
def lesioned(network: Lattice, parts: Collection[str]) -> Lattice:
    """Return a copy of a network without some of its parts; the network stays as it is.

    Connections are removed by setting their weights to zero; a layer is removed with all weights that lead to its
    channels or from them. Parts that the network does not have are ignored.

    Args:
        network: A population of one.
        parts: `lateral`, `top-down`, `deepest`, or `layer:N` for layer N.

    Raises:
        LesionError: If there is no such part in any network.
    """
    layers = set(layers_without(parts, network.window.layers))
    left = deepcopy(network)
    for part, weights in ((LATERAL, left.lateral), (TOP_DOWN, left.top_down)):
        for weight in weights if part in parts else ():
            weight.zero_()
    if layers:
        numbered = enumerate(left.bias, start=1)
        scale_channels(left, [torch.full_like(bias_PC, float(layer not in layers)) for layer, bias_PC in numbered])
    return left


def named_parts(text: str, depth: int) -> tuple[str, ...]:
    """Return the parts that a text such as `lateral,top-down` names, each once and sorted.

    Args:
        text: Parts joined by commas; `top_down` is the same as `top-down`.
        depth: How many layers the network has.

    Raises:
        LesionError: If there is no such part in any network, or the network has no layer of that number.
    """
    parts = tuple(sorted({part.strip().replace("_", "-") for part in text.split(",")}))
    layers_without(parts, depth)
    for part in parts:
        if part.startswith(LAYER) and not 1 <= int(part.removeprefix(LAYER)) <= depth:
            has = {0: "no layer is left of it", 1: "it has layer:1 alone"}
            which = has.get(depth, f"it has layer:1 to layer:{depth}")
            raise LesionError(f"the network has no {part} that could be taken out: {which}")
    return parts


def layers_without(parts: Collection[str], depth: int) -> list[int]:
    """Return the numbers, from 1, of the layers that a lesion removes.

    Args:
        parts: As for `lesioned`.
        depth: How many layers the network has.

    Raises:
        LesionError: If there is no such part in any network.
    """
    found = set()
    for part in set(parts) - {LATERAL, TOP_DOWN}:
        number = str(depth) if part == DEEPEST else part.removeprefix(LAYER)
        if not number.isdecimal() or (part != DEEPEST and not part.startswith(LAYER)):
            raise LesionError(f"a part of a network is lateral, top-down, deepest or layer:N, but got {part!r}")
        found.add(int(number))
    return sorted(layer for layer in found if 1 <= layer <= depth)
