"""What a user's own training function is given: where it left off, and a place to say what it measured.

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

#: Says that nothing was said: None is a state like any other that a function may have.
_NOTHING = object()


class OwnFunctionError(Exception):
    """A user's function has done what it must not; says what, and the way out."""


class LeftError(BaseException):
    """Raised within `report` to leave the function where it is. No `Exception`: handlers of its own let it pass."""


@dataclass
class Progressed:
    """How far a trial has come.

    Attributes:
        epoch: Reports so far: epochs that are done.
        epochs: Epochs in all, as far as the function has said.
        values: What it reported last.
        curve: A point for each epoch.
        has_state: Whether it reported a state with it, so that it can go on from there.
    """

    epoch: int = 0
    epochs: int = 0
    values: dict[str, float] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)
    has_state: bool = False


class Trial:
    """One trial of a user's own function.

    Attributes:
        key: What names it everywhere.
        device: Where to train, in torch's words: `cpu` or `cuda`.
        state: What `report` got last, before the trial was interrupted or paused; None where it begins.
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
        self._at: int | None = None  # the epoch that `epochs` has given out

    def epochs(self, count: int) -> Iterator[int]:
        """Yield the numbers of the epochs that are left of so many, from 0; each begins with seeds of its own.

        `random`, and `numpy` and `torch` where they are loaded, are seeded from the trial's seed and the epoch's
        number, so that a training that was interrupted ends as one that was not.
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
        """Say what was measured, after each epoch.

        Args:
            state: What the trial can go on from: numbers, texts, tensors, arrays, and lists and mappings of them; or
                bytes, such as a checkpoint of another library. Left out, the trial begins anew after an interruption.
            measures: By the names that the spec lists under `measures`.

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
        given: As the function gave them.
        known: Units of the measures that the spec lists, by name.
        where: What gave them.

    Raises:
        OwnFunctionError: If it is no mapping, a name is not listed, or a value is no number.
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
    """Seed `random`, and `numpy` and `torch` where they are loaded, by a seed and what tells streams of it apart."""
    text = json_like(seed, *within)
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    random.seed(number)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(number % 2**32)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(number % 2**63)


def json_like(*parts: Any) -> str:
    """Return parts as one text, each apart from the others."""
    return "/".join(map(repr, parts))
