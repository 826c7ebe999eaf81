"""Summary of a sweep's state from its ledger, without importing anything that only a driver needs."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from sweeper.ledger.counts import Counts, count
from sweeper.ledger.home import SweepFolder
from sweeper.ledger.open import read_ledger
from sweeper.rules import RULES, EarlierRules, earlier_rules


@dataclass(frozen=True)
class Standing:
    """Summary of a sweep's state.

    Attributes:
        name: Name of the sweep.
        counts: How many trials are in which state. Trials that a dead driver left running count as waiting.
        driver: Description of the process that drives the sweep now; None if nobody does.
        earlier: Rules that the sweep is trained and measured by, if they are not today's.
        is_begun: Whether any of its trials was ever begun.
        rules: Number of the sweep's rules.
        last_ms: Last time a trial began or ended, Unix milliseconds; None if none has.
        identity: Tells the sweep from another one of its name.
    """

    name: str
    counts: Counts
    driver: str | None
    earlier: EarlierRules | None
    is_begun: bool = True
    rules: int = RULES
    last_ms: int | None = None
    identity: str = ""

    @property
    def state(self) -> str:
        """One of running, finished, interrupted, or idle if no trial was begun."""
        if self.driver:
            return "running"
        if not self.counts.waiting and not self.counts.running:
            return "finished"
        return "interrupted" if self.is_begun else "idle"


def standing_of(folder: SweepFolder) -> Standing:
    """Return the summary of a planned sweep.

    Raises:
        HomeError: If the ledger cannot be read.
    """
    with closing(read_ledger(folder)) as ledger:
        records, planned = ledger.records(), ledger.planned_spec
        counts, driver = count(records, planned.spec.planned if planned else 0), folder.driver or ledger.driver
        return Standing(
            folder.name,
            counts if driver else counts.without_driver(),
            driver,
            earlier_rules(ledger.rules),
            any(record.attempt or record.state.is_finished for record in records),
            ledger.rules,
            max((ms for one in records for ms in (one.started_ms, one.ended_ms) if ms), default=None),
            ledger.identity,
        )
