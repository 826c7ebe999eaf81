"""New attempts of trials that failed: what may be tried again on request, and which rows count.

A finished row never changes. A new attempt is a new row of the same trial key, and its plan names the number of the row
it takes the place of, under `again`. That row stays as history: nothing counts it, and its population still has it as
a member, since a checkpoint holds every member that it was begun with.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeVar

from sweeper.errors import QueryError
from sweeper.ledger.rows import Row, StoredTrial, outcome_of
from sweeper.trial import Outcome, State

Trial = TypeVar("Trial", bound=StoredTrial)

#: How trials ended that may be tried again. What is complete, or was stopped early, never runs again.
REPEATABLE = tuple(outcome for outcome in Outcome if outcome.state is State.FAILED)


def repeatable(words: Iterable[str]) -> tuple[Outcome, ...]:
    """Return the outcomes that words name, in the order of `REPEATABLE`.

    Raises:
        QueryError: If one is no outcome after which a trial may be tried again.
    """
    words = list(words)
    known = [str(outcome) for outcome in REPEATABLE]
    for word in words:
        if word not in known:
            raise QueryError(
                f"--again takes outcomes that are no success, with commas between them: {', '.join(known)}; but got "
                f"{word!r}. A trial that is complete or pruned never runs again."
            )
    return tuple(outcome for outcome in REPEATABLE if outcome in words)


def newest(trials: Iterable[Trial]) -> list[Trial]:
    """Return the rows of a task without those that others have taken the place of."""
    trials = list(trials)
    former = {trial.user_attrs["plan"].get("again") for trial in trials}
    return [trial for trial in trials if trial.number not in former]


def attempts(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Divide rows into those that count and those that stay as history: what a row of the same key names."""
    rows = list(rows)
    named = {(row.task, row.plan.get("again"), row.plan.get("key")) for row in rows}
    parts: tuple[list[Row], list[Row]] = ([], [])
    for row in rows:
        parts[(row.task, row.number, row.plan.get("key")) in named].append(row)
    return parts


def ended_so(trials: Iterable[Trial], outcomes: Collection[Outcome]) -> list[Trial]:
    """Return the rows that count and ended in one of these ways."""
    return [trial for trial in newest(trials) if outcome_of(trial) in outcomes]
