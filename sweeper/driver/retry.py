"""What to do with a population that failed as a whole: a rule, and no knowledge of who applies it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from sweeper.trial import Ended, Outcome

#: What may not be the fault of every member, or of any.
_MAY_BE_RETRIED = (Outcome.LOST, Outcome.OUT_OF_MEMORY, Outcome.FAILED)


class Step(StrEnum):
    """What comes after a failure."""

    AGAIN = "again"
    APART = "apart"
    FINAL = "final"


def failed_together(ended: Sequence[Ended]) -> Outcome | None:
    """Return what happened to a whole population that may be tried again; None where each member ended by itself."""
    if any(member.is_final for member in ended):
        return None
    outcomes = {member.outcome for member in ended}
    kind = outcomes.pop() if len(outcomes) == 1 else None
    return kind if kind in _MAY_BE_RETRIED else None


def next_step(kind: Outcome, members: int, tried: int, limits: Mapping[str, int]) -> Step:
    """Return how to go on after a failure.

    A worker that died is taken to be the machine's fault, so its population is tried again as it is, from its
    checkpoint. Memory that ran out and exceptions are taken to be the training's: smaller populations are tried first,
    down to single members, so that one bad member does not take the others with it.

    Args:
        kind: What happened to all of them.
        members: How many there are.
        tried: How often they were tried again after the same before.
        limits: How often that may be, by kind.
    """
    has_tries = tried < limits[str(kind)]
    if kind is Outcome.LOST and has_tries:
        return Step.AGAIN
    if members > 1:
        return Step.APART
    return Step.AGAIN if has_tries else Step.FINAL
