"""When a network has settled: its loss, its counts and its expected time no longer move.

Two windows of training steps are compared, each of at least `WINDOW_UPDATES` and of whole rounds. A network has settled
where the counts were the same all along, and means over the windows differ by no more than the tolerances. Then its
learning rate falls as it does at the end of every training, over a fifth of the whole: its own training ends there, and
the budget is the most that it may take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

#: Least number of training steps of each of the two windows.
WINDOW_UPDATES = 200

#: By how much the means of two windows may differ: of the loss that is minimised, in nats, and of the expected time.
#: More for the loss saves more and costs too much: see `settling.py` in benchmarks/README.md.
LOSS_MOVES, STEPS_MOVE = 0.005, 0.05


@dataclass(frozen=True)
class Round:
    """What one network did in a round.

    Attributes:
        updates: Training steps of it.
        loss: Mean of what was minimised, in nats.
        steps: Mean expected time, in steps.
        counts: Living channels of each layer at its end.
    """

    updates: int
    loss: float
    steps: float
    counts: tuple[int, ...]


@dataclass
class History:
    """The rounds of one network that matter, the last one last."""

    rounds: list[Round] = field(default_factory=list)

    def add(self, last: Round) -> None:
        """Add a round, and forget those before the two windows."""
        self.rounds.append(last)
        kept = sum(map(len, self._windows()))
        self.rounds = self.rounds[-max(kept, 1) :]

    @property
    def is_settled(self) -> bool:
        """Whether nothing moves any more; False while there are no two windows yet."""
        before, after = self._windows()
        if _updates(before) < WINDOW_UPDATES or len({each.counts for each in self.rounds}) > 1:
            return False
        moves = {name: abs(_mean(after, name) - _mean(before, name)) for name in ("loss", "steps")}
        return moves["loss"] <= LOSS_MOVES and moves["steps"] <= STEPS_MOVE

    def _windows(self) -> tuple[list[Round], list[Round]]:
        """Return the rounds of the window before, and of the last one; either may be too short."""
        after = _newest(self.rounds)
        return _newest(self.rounds[: len(self.rounds) - len(after)]), after

    def to_state(self) -> list[dict[str, Any]]:
        """Return it as numbers, lists and texts only."""
        return [{**asdict(each), "counts": list(each.counts)} for each in self.rounds]

    @classmethod
    def from_state(cls, state: Sequence[dict[str, Any]]) -> History:
        """Return what `to_state` wrote."""
        return cls([Round(**{**each, "counts": tuple(each["counts"])}) for each in state])


def _newest(rounds: Sequence[Round]) -> list[Round]:
    """Return as few of the last rounds as have the updates of a window; all where they have fewer."""
    count = 0
    while count < len(rounds) and _updates(rounds[len(rounds) - count :]) < WINDOW_UPDATES:
        count += 1
    return list(rounds[len(rounds) - count :])


def _updates(rounds: Sequence[Round]) -> int:
    return sum(each.updates for each in rounds)


def _mean(rounds: Sequence[Round], name: str) -> float:
    return sum(each.updates * float(getattr(each, name)) for each in rounds) / _updates(rounds)
