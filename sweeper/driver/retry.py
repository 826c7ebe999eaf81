"""The rule for a population that failed as a whole; it does not know who applies it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from sweeper.trial import Ended, Outcome

#: Outcomes of a whole population that may not be the fault of every member, or of any.
_MAY_BE_RETRIED = (Outcome.LOST, Outcome.OUT_OF_MEMORY, Outcome.FAILED)


class Step(StrEnum):
    """The next step after a failure."""

    AGAIN = "again"
    APART = "apart"
    FINAL = "final"


def failed_together(ended: Sequence[Ended]) -> Outcome | None:
    """Return the failure of a whole population that may be tried again; None if there is no such failure."""
    if any(member.is_final for member in ended):
        return None
    outcomes = {member.outcome for member in ended}
    kind = outcomes.pop() if len(outcomes) == 1 else None
    return kind if kind in _MAY_BE_RETRIED else None


def next_step(kind: Outcome, members: int, tried: int, limits: Mapping[str, int]) -> Step:
    """Return the next step after a failure.

    A dead worker counts as the machine's fault, so its population is tried again unchanged, from its checkpoint. Lack
    of memory and exceptions count as the training's fault: smaller populations are tried first, down to single members,
    so that one bad member does not take the others with it.

    Args:
        kind: Failure of all members.
        members: Number of members.
        tried: Number of earlier retries after the same kind of failure.
        limits: Largest number of retries, by kind of failure.
    """
    has_tries = tried < limits[str(kind)]
    if kind is Outcome.LOST and has_tries:
        return Step.AGAIN
    if members > 1:
        return Step.APART
    return Step.AGAIN if has_tries else Step.FINAL
