"""How many trials of a sweep are in which state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sweeper.trial import Outcome, State, TrialRecord


@dataclass(frozen=True)
class Counts:
    """How many trials of a sweep are in which state.

    `planned` = `running` + `waiting` + all of `outcomes`. `repeats` counts the proposals of a search that repeated an
    earlier setting and were answered from the ledger.
    """

    planned: int
    complete: int
    running: int
    waiting: int
    outcomes: Mapping[str, int]
    repeats: int = 0

    @property
    def failed(self) -> int:
        """Trials that ended neither complete nor pruned."""
        return sum(self.outcomes.values()) - self.complete - self.pruned

    @property
    def pruned(self) -> int:
        """Trials that were stopped early because others did better."""
        return self.outcomes[Outcome.PRUNED]

    def without_driver(self) -> Counts:
        """Return the counts of a sweep without a driver: trials left running count as waiting."""
        return replace(self, running=0, waiting=self.waiting + self.running)

    def started(self, trials: int) -> Counts:
        """Return the counts after this many waiting trials have started."""
        return replace(self, running=self.running + trials, waiting=self.waiting - trials)

    def ended(self, record: TrialRecord) -> Counts:
        """Return the counts after a running trial has ended."""
        outcome = str(record.outcome)
        return replace(
            self,
            running=self.running - 1,
            complete=self.complete + (record.outcome is Outcome.COMPLETE),
            outcomes={**self.outcomes, outcome: self.outcomes[outcome] + 1},
        )


def count(records: Iterable[TrialRecord], planned: int = 0) -> Counts:
    """Count trials by state, and finished ones by outcome.

    Args:
        records: Every trial so far.
        planned: How many trials there will be; trials that a search has not proposed yet count as waiting.
    """
    records = list(records)
    states = Counter(record.state for record in records)
    ended = Counter(record.outcome for record in records)
    planned = max(planned, len(records))
    return Counts(
        planned=planned,
        complete=states[State.COMPLETE],
        running=states[State.RUNNING],
        waiting=states[State.WAITING] + planned - len(records),
        outcomes={str(outcome): ended[outcome] for outcome in Outcome},
        repeats=sum({record.setting_key: record.note.get("repeats", 0) for record in records}.values()),
    )
