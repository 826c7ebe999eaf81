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
    """

    name: str
    counts: Counts
    driver: str | None
    earlier: EarlierRules | None


def standing_of(folder: SweepFolder) -> Standing:
    """Return how a planned sweep stands.

    Raises:
        HomeError: If its ledger cannot be read.
    """
    with closing(read_ledger(folder)) as ledger:
        counts, driver = ledger.counts(), folder.driver or ledger.driver
        return Standing(folder.name, counts if driver else counts.without_driver(), driver, earlier_rules(ledger.rules))
