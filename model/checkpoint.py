"""Training states as bytes, read without executing anything. Where they are kept, others know."""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any

import torch

from sweeper.model.errors import CheckpointError

#: What reading raises where the bytes are none of a training state; it depends on how they begin.
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

#: How a training state begins; what begins otherwise torch would try to read as what it wrote years ago.
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
