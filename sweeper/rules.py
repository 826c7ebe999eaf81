"""The rules by which a sweep trains and measures, numbered, so that stored results have a known meaning.

A sweep keeps the number of its rules beside its plan. Results of different rules are not comparable, and no sweep mixes
them: a sweep of earlier rules is read, shown and exported as it is, but not trained any further.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Number of today's rules. It is part of every key, so that new rules make every trial a new one.
RULES = 3

#: Name of the fact that holds the number of a sweep's rules; sweeps without it are older than these numbers.
FACT = "rules"

_FIRST_SAID = 2


@dataclass(frozen=True)
class EarlierRules:
    """Rules that are not today's.

    Attributes:
        name: Version of sweeper that the rules are of.
        meaning: Former meanings of numbers that mean something else today.
    """

    name: str
    meaning: str

    def __str__(self) -> str:
        return f"measured by the rules of {self.name}: {self.meaning}"


_EARLIER: Mapping[int, EarlierRules] = {
    2: EarlierRules(
        "version 0.1",
        "accuracy and time are those of the mixture of all steps, on the test images, which early stopping and "
        "samplers read too; breadth is the mean number of channels per living layer; a number of classes means the "
        "labels from 0 on; pixels are not standardised",
    ),
}


def rules_in(values: Mapping[str, object]) -> int:
    """Return the number of the rules in stored values, such as a sweep's facts."""
    said = values.get(FACT, _FIRST_SAID)
    return int(said) if isinstance(said, int | str) and str(said).isdecimal() else _FIRST_SAID


def earlier_rules(number: int) -> EarlierRules | None:
    """Return the rules of a number if they are not today's; None for today's."""
    if number == RULES:
        return None
    whose = "a later version" if number > RULES else "an earlier version"
    return _EARLIER.get(number, EarlierRules(whose, "its changelog says what its numbers mean"))


def said_of(number: int) -> str:
    """Return a phrase that names the rules of a number, such as `measured by the rules of …`."""
    return str(earlier_rules(number) or f"measured by rules {number}, today's")
