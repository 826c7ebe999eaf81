"""Training states on disk: written aside and renamed, read without executing anything."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from model.aside import written_aside
from model.errors import CheckpointError


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write a training state so that no reader ever meets half a file, and a crash leaves the former one."""
    with written_aside(path) as file:
        torch.save(state, file)


def load_state(path: Path) -> dict[str, Any] | None:
    """Read a training state, or None where there is none.

    Raises:
        CheckpointError: If the file is torn or is no training state.
    """
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is torn or is no training state: {type(error).__name__}") from error
    if not isinstance(state, dict) or "epoch" not in state:
        raise CheckpointError(f"{path} is no training state")
    return state


def state_bytes(state: dict[str, Any]) -> int:
    """Return how large a training state is on disk, in bytes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.tell()
