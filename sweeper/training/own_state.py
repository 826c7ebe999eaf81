"""Packs the state of a user's own function: plain values, tensors and arrays, which are read without running code."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from sweeper.training.own_trial import OwnFunctionError

#: Marks an array, which is kept as a tensor, because the reader of training states knows no arrays.
_ARRAY = "sweeper.array"

#: Deepest nesting of a state; a deeper one probably contains itself.
_DEEPEST = 100

_PLAIN = (type(None), bool, int, float, str, bytes, torch.Tensor, torch.dtype, torch.device)


def packed(state: Any, where: str = "state", depth: int = 0) -> Any:
    """Return a state in the form in which it is kept.

    Raises:
        OwnFunctionError: If a part of the state cannot be kept; names the part, and the way out.
    """
    if depth > _DEEPEST:
        raise OwnFunctionError(f"{where[:60]}… is nested more than {_DEEPEST} deep, or holds itself. Make it flat.")
    if isinstance(state, torch.Size):
        return tuple(state)
    if isinstance(state, torch.Tensor):
        return state.detach()
    if isinstance(state, np.ndarray) and state.dtype.kind in "biufc":
        return {_ARRAY: torch.from_numpy(np.ascontiguousarray(state.astype(state.dtype.newbyteorder("="))))}
    if isinstance(state, np.generic) and state.dtype.kind in "biufcU":
        return state.item()
    if type(state) in _PLAIN or isinstance(state, torch.Tensor):
        return state
    if type(state) in (dict, OrderedDict) or isinstance(state, Mapping):
        if strange := [key for key in state if type(key) not in (str, int, float, bool, tuple, type(None))]:
            raise OwnFunctionError(
                f"{where} has the key {strange[0]!r:.60} of type {type(strange[0]).__name__}, which cannot be kept. "
                "Name entries by texts or numbers."
            )
        return {key: packed(one, f"{where}[{key!r}]", depth + 1) for key, one in state.items()}
    if type(state) in (list, tuple):
        return type(state)(packed(one, f"{where}[{at}]", depth + 1) for at, one in enumerate(state))
    hint = "its state_dict()" if hasattr(state, "state_dict") else "numbers, texts, tensors, arrays or bytes of it"
    raise OwnFunctionError(
        f"trial.report cannot keep {where} of type {type(state).__module__}.{type(state).__qualname__}: reading it "
        f"would run code. Give {hint}."
    )


def unpacked(kept: Any) -> Any:
    """Return the state that `packed` was given; a mapping of any kind comes back as a dict."""
    if isinstance(kept, dict):
        if kept.keys() == {_ARRAY}:
            return kept[_ARRAY].numpy()
        return {key: unpacked(one) for key, one in kept.items()}
    if type(kept) in (list, tuple):
        return type(kept)(map(unpacked, kept))
    return kept
