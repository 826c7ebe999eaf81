"""How a sweep stands, by its ledger: read at once, without anything that only a driver needs."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from sweeper.ledger.counts import Counts
from sweeper.ledger.home import SweepFolder
from sweeper.ledger.open import read_ledger
from sweeper.rules import EarlierRules, earlier_rules


@dataclass(frozen=True)
class Standing:
    """How a sweep stands.

    Attributes:
        name: Of the sweep.
        counts: How many trials stand where. Trials that a dead driver left running are waiting.
        driver: Who drives it now, in words; None if nobody does.
        earlier: The rules that it is trained and measured by, where they are not today's.
        is_begun: Whether any of its trials was ever begun.
    """

    name: str
    counts: Counts
    driver: str | None
    earlier: EarlierRules | None
    is_begun: bool = True

    @property
    def state(self) -> str:
        """Whether the sweep is running, finished, interrupted, or idle: planned, and never begun."""
        if self.driver:
            return "running"
        if not self.counts.waiting:
            return "finished"
        return "interrupted" if self.is_begun else "idle"


def standing_of(folder: SweepFolder) -> Standing:
    """Return how a planned sweep stands.

    Raises:
        HomeError: If its ledger cannot be read.
    """
    with closing(read_ledger(folder)) as ledger:
        counts, driver = ledger.counts(), folder.driver or ledger.driver
        is_begun = counts.waiting < counts.planned or any(record.attempt for record in ledger.records())
        counts = counts if driver else counts.without_driver()
        return Standing(folder.name, counts, driver, earlier_rules(ledger.rules), is_begun)
