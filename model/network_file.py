"""Writes cut networks to files, and reads them back as networks; `saved_network` defines the format and checks it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save as safetensors_bytes

from sweeper.model.aside import written_aside
from sweeper.model.lattice import Lattice
from sweeper.model.network import Network
from sweeper.model.saved_network import ENTRY, SavedNetwork, decode_saved, digest, read_saved, stored_window


def encode(network: Lattice, description: Mapping[str, Any]) -> bytes:
    """Return a network as the content of a file that `load` reads.

    Args:
        network: A population of one, as `cut` returns it.
        description: Facts about the network: values that JSON can hold, finite numbers.
    """
    Network(network)  # refuses populations
    weights = weights_of(network)
    format_, window = stored_window(network.window)
    content = {"format": format_, "window": window, "description": dict(description)}
    text = json.dumps({**content, "sha256": digest(content, weights)}, allow_nan=False)
    return bytes(safetensors_bytes(weights, {ENTRY: text}))


def weights_of(network: Lattice) -> dict[str, NDArray[np.float32]]:
    """Return the state of a lattice by name, as a file holds it."""
    return {name: tensor.detach().cpu().float().contiguous().numpy() for name, tensor in network.state_dict().items()}


def save(network: Lattice, description: Mapping[str, Any], path: str | Path) -> None:
    """Write a network, so that no reader ever meets half a file, and a crash leaves the former one.

    Args:
        network, description: As for `encode`.
        path: Where to write; its folder is made if it is missing.

    Raises:
        OSError: If the file cannot be written.
    """
    data = encode(network, description)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with written_aside(Path(path)) as file:
        file.write(data)


def load(path: str | Path) -> Network:
    """Read a network that gives the same answers as the written one.

    Nothing in the file is executed.

    Args:
        path: A file that `save` or `sweeper export` wrote.

    Returns:
        The network on the CPU, in evaluation mode, with its description.

    Raises:
        NetworkFileError: If there is no such file, or it is damaged or holds no network.
    """
    return _made(read_saved(path))


def decode(data: bytes, name: str) -> Network:
    """Read a network from the content of a file, as `load` does from the file itself.

    Args:
        data: What `encode` returned, or what `save` or `sweeper export` wrote.
        name: Name of the file in error messages.

    Raises:
        NetworkFileError: If the content is damaged or holds no network.
    """
    return _made(decode_saved(data, name))


def _made(saved: SavedNetwork) -> Network:
    lattice = Lattice(saved.window, seeds=[0])
    lattice.load_state_dict({name: torch.tensor(array) for name, array in saved.weights.items()})
    return Network(lattice, saved.description).eval()
