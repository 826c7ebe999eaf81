"""New attempts of failed trials: which outcomes may be tried again on request, and which rows count.

A finished row never changes. A new attempt is a new row with the same trial key. The entry `again` of its plan holds
the number of the row that it replaces. The replaced row stays as history: it is not counted, but it remains a member of
its population, because a checkpoint holds every member that the population began with.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeVar

from sweeper.errors import QueryError
from sweeper.ledger.rows import Row, StoredTrial, outcome_of
from sweeper.trial import Outcome, State

Trial = TypeVar("Trial", bound=StoredTrial)

#: Outcomes after which a trial may be tried again. Complete and pruned trials never run again.
REPEATABLE = tuple(outcome for outcome in Outcome if outcome.state is State.FAILED)


def repeatable(words: Iterable[str]) -> tuple[Outcome, ...]:
    """Return the outcomes with these names, in the order of `REPEATABLE`.

    Raises:
        QueryError: If a word names no outcome after which a trial may be tried again.
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
    """Return the rows of a task without those that a newer attempt has replaced."""
    trials = list(trials)
    former = {trial.user_attrs["plan"].get("again") for trial in trials}
    return [trial for trial in trials if trial.number not in former]


def attempts(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Divide rows into those that count and those that a newer row of the same key has replaced."""
    rows = list(rows)
    named = {(row.task, row.plan.get("again"), row.plan.get("key")) for row in rows}
    parts: tuple[list[Row], list[Row]] = ([], [])
    for row in rows:
        parts[(row.task, row.number, row.plan.get("key")) in named].append(row)
    return parts


def ended_so(trials: Iterable[Trial], outcomes: Collection[Outcome]) -> list[Trial]:
    """Return the newest attempts that ended with one of these outcomes."""
    return [trial for trial in newest(trials) if outcome_of(trial) in outcomes]
