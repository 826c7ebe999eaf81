"""How a sweep stands, by its ledger: read at once, without anything that only a driver needs."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from sweeper.ledger.counts import Counts, count
from sweeper.ledger.home import SweepFolder
from sweeper.ledger.open import read_ledger
from sweeper.rules import RULES, EarlierRules, earlier_rules


@dataclass(frozen=True)
class Standing:
    """How a sweep stands.

    Attributes:
        name: Of the sweep.
        counts: How many trials stand where. Trials that a dead driver left running are waiting.
        driver: Who drives it now, in words; None if nobody does.
        earlier: The rules that it is trained and measured by, where they are not today's.
        is_begun: Whether any of its trials was ever begun.
        rules: The number of these rules.
        last_ms: When a trial of it last began or ended, Unix milliseconds; None where none has.
        identity: Tells it from another sweep of its name.
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
        """In one word: running, finished, interrupted, or idle where nothing of it was begun."""
        if self.driver:
            return "running"
        if not self.counts.waiting and not self.counts.running:
            return "finished"
        return "interrupted" if self.is_begun else "idle"


def standing_of(folder: SweepFolder) -> Standing:
    """Return how a planned sweep stands.

    Raises:
        HomeError: If its ledger cannot be read.
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
