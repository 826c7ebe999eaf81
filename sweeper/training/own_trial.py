"""The trial object of a user's own training function: it holds the state to continue from, and takes reports.

def train(trial, hidden: int = 64, epochs: int = 30):
    network = build(hidden)
    if trial.state:
        network.load_state_dict(trial.state)
    for _ in trial.epochs(epochs):
        train_one_epoch(network)
        trial.report(state=network.state_dict(), accuracy=accuracy_of(network))
"""

from __future__ import annotations

import hashlib
import math
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Marks a missing argument, because None is a valid state.
_NOTHING = object()


class OwnFunctionError(Exception):
    """Raised if a user's function does something invalid; says what, and the way out."""


class LeftError(BaseException):
    """Raised within `report` to leave the function. Not an `Exception`, so that the function's handlers ignore it."""


@dataclass
class Progressed:
    """Progress of a trial.

    Attributes:
        epoch: Number of reports so far, which is the number of finished epochs.
        epochs: Number of all epochs, as far as the function has told it.
        values: Measures of the last report.
        curve: A point for each epoch.
        has_state: Whether the last report had a state, from which the trial can continue.
    """

    epoch: int = 0
    epochs: int = 0
    values: dict[str, float] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)
    has_state: bool = False


class Trial:
    """One trial of a user's own function.

    Attributes:
        key: Key of the trial, the same everywhere.
        device: Torch's name of the device to train on: `cpu` or `cuda`.
        state: Last state given to `report` before the trial was interrupted or paused; None at the beginning.
    """

    def __init__(
        self,
        key: str,
        device: str,
        seed: int,
        known: Mapping[str, str],
        done: Progressed,
        state: object,
        on_report: Callable[[Progressed, object], None],
    ) -> None:
        self.key, self.device, self.state = key, device, state
        self._seed, self._known, self._done, self._on_report = seed, known, done, on_report
        self._at: int | None = None  # the epoch that `epochs` has yielded

    def epochs(self, count: int) -> Iterator[int]:
        """Yield the numbers of the remaining epochs out of `count`, counted from 0; each epoch has its own seed.

        Seeds `random`, and `numpy` and `torch` if they are loaded, by the trial's seed and the epoch's number. So an
        interrupted training ends like an uninterrupted one.
        """
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise OwnFunctionError(
                f"trial.epochs takes a whole number of at least 1, but got {count!r}. Give it the number of all epochs."
            )
        self._done.epochs = count
        for epoch in range(self._done.epoch, count):
            self._at = epoch
            seed_everything(self._seed, epoch)
            yield epoch
            if self._done.epoch != epoch + 1:
                raise OwnFunctionError(
                    f"epoch {epoch} of trial {self.key} ended without a report: what it did would be lost with an "
                    "interruption. Call trial.report once in each epoch of trial.epochs."
                )
        self._at = None

    def report(self, state: object = _NOTHING, **measures: float) -> None:
        """Report the measures of an epoch; call it after each epoch.

        Args:
            state: State that the trial can continue from: numbers, texts, tensors, arrays, and lists and mappings of
                them; or bytes, such as a checkpoint of another library. Without it the trial starts from the beginning
                after an interruption.
            measures: Values by the names that the spec lists under `measures`.

        Raises:
            OwnFunctionError: If a name is not listed, or a value is no number.
        """
        values = measured(measures, self._known, "trial.report")
        done = self._done
        at = done.epoch if self._at is None else self._at
        if done.epoch > at:
            raise OwnFunctionError(
                f"trial.report was called twice in epoch {at} of trial {self.key}. Call it once in each epoch."
            )
        done.epoch, done.epochs = at + 1, max(done.epochs, at + 1)
        done.values = values
        done.curve.append({"epoch": at + 1, **{name: one for name, one in values.items() if math.isfinite(one)}})
        done.has_state = state is not _NOTHING
        self._on_report(done, None if state is _NOTHING else state)


def measured(given: object, known: Mapping[str, str], where: str) -> dict[str, float]:
    """Return measures as numbers.

    Args:
        given: Measures as the function gave them.
        known: Units of the measures that the spec lists, by name.
        where: Name of the giver in errors.

    Raises:
        OwnFunctionError: If `given` is no mapping, a name is not listed, or a value is no number.
    """
    if not isinstance(given, Mapping):
        raise OwnFunctionError(
            f"{where} must give measures by name, such as {{'accuracy': 0.9}}, but gave {type(given).__name__}."
        )
    found = {}
    for name, value in given.items():
        if name not in known:
            raise OwnFunctionError(
                f"{where} gave the measure {name!r}, which the spec does not list (it lists: {', '.join(known)}). "
                "Add it to `measures` with its unit, or leave it out."
            )
        try:
            if isinstance(value, str | bytes):
                raise TypeError("a text")
            found[name] = float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise OwnFunctionError(
                f"{where} gave {name}={value!r:.80}, which is no number ({type(value).__name__}). Give it a number."
            ) from error
    return found


def seed_everything(seed: int, *within: object) -> None:
    """Seed `random`, and `numpy` and `torch` if they are loaded, by a seed and values that tell its streams apart."""
    text = json_like(seed, *within)
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    random.seed(number)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(number % 2**32)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(number % 2**63)


def json_like(*parts: Any) -> str:
    """Return parts joined to one text, with a separator."""
    return "/".join(map(repr, parts))
