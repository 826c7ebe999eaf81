"""Training states as bytes, read without executing anything. Callers decide where to keep them."""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any

import torch

from sweeper.model.errors import CheckpointError

#: Errors that reading may raise if the bytes are no training state; which one depends on how the bytes begin.
_GARBAGE = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    OverflowError,
    struct.error,
    pickle.UnpicklingError,
)

#: First bytes of every training state. torch would try to read other bytes in its old format.
_BEGINNING = b"PK\x03\x04"


def save_state(state: dict[str, Any]) -> bytes:
    """Return a training state as bytes, which `load_state` reads."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def load_state(data: bytes) -> dict[str, Any]:
    """Read a training state.

    Raises:
        CheckpointError: If the bytes are torn or are no training state.
    """
    if not data.startswith(_BEGINNING):
        raise CheckpointError("it is torn or is no training state")
    try:
        state = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except _GARBAGE as error:
        raise CheckpointError(f"it is torn or is no training state: {type(error).__name__}") from error
    if not isinstance(state, dict) or "epoch" not in state:
        raise CheckpointError("it is no training state")
    return state
