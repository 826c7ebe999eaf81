"""Tells when a network has settled: its loss, its channel counts and its expected time no longer change.

Two consecutive windows of training steps are compared, each of whole rounds with at least `WINDOW_UPDATES` steps. A
network has settled if its counts stayed the same and the means over the windows differ by no more than the tolerances.
Then its learning rate falls as at the end of every training, over the last fifth of the training's length, and its
training ends. The budget is an upper limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

#: Least number of training steps in each of the two windows.
WINDOW_UPDATES = 200

#: Largest differences between the means of two settled windows: of the minimised loss, in nats, and of the expected
#: time, in steps. A larger tolerance of the loss saves time but costs too much: see `settling.py` in
#: benchmarks/README.md.
LOSS_MOVES, STEPS_MOVE = 0.005, 0.05


@dataclass(frozen=True)
class Round:
    """Summary of one network's round.

    Attributes:
        updates: Training steps of the round.
        loss: Mean of the minimised loss, in nats.
        steps: Mean expected time, in steps.
        counts: Living channels of each layer at the end of the round.
    """

    updates: int
    loss: float
    steps: float
    counts: tuple[int, ...]


@dataclass
class History:
    """The latest rounds of one network, oldest first."""

    rounds: list[Round] = field(default_factory=list)

    def add(self, last: Round) -> None:
        """Add a round, and drop the rounds before the two windows."""
        self.rounds.append(last)
        kept = sum(map(len, self._windows()))
        self.rounds = self.rounds[-max(kept, 1) :]

    @property
    def is_settled(self) -> bool:
        """Whether the network has settled; False until there are two full windows."""
        before, after = self._windows()
        if _updates(before) < WINDOW_UPDATES or len({each.counts for each in self.rounds}) > 1:
            return False
        moves = {name: abs(_mean(after, name) - _mean(before, name)) for name in ("loss", "steps")}
        return moves["loss"] <= LOSS_MOVES and moves["steps"] <= STEPS_MOVE

    def _windows(self) -> tuple[list[Round], list[Round]]:
        """Return the rounds of the previous window and of the last one; either may be too short."""
        after = _newest(self.rounds)
        return _newest(self.rounds[: len(self.rounds) - len(after)]), after

    def to_state(self) -> list[dict[str, Any]]:
        """Return the history as numbers, lists and texts only."""
        return [{**asdict(each), "counts": list(each.counts)} for each in self.rounds]

    @classmethod
    def from_state(cls, state: Sequence[dict[str, Any]]) -> History:
        """Return what `to_state` wrote."""
        return cls([Round(**{**each, "counts": tuple(each["counts"])}) for each in state])


def _newest(rounds: Sequence[Round]) -> list[Round]:
    """Return the fewest last rounds that have the updates of a window, or all rounds if they have fewer."""
    count = 0
    while count < len(rounds) and _updates(rounds[len(rounds) - count :]) < WINDOW_UPDATES:
        count += 1
    return list(rounds[len(rounds) - count :])


def _updates(rounds: Sequence[Round]) -> int:
    return sum(each.updates for each in rounds)


def _mean(rounds: Sequence[Round], name: str) -> float:
    return sum(each.updates * float(getattr(each, name)) for each in rounds) / _updates(rounds)
