"""New attempts of trials that failed: what may be tried again on request, and the rows that are written for it.

A finished row never changes. A new attempt is a new row of the same trial key, and its plan names the number of the row
it takes the place of, under `again`. That row stays as history: nothing counts it, and its population still has it as
a member, since a checkpoint holds every member that it was begun with.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from sweeper.errors import QueryError
from sweeper.ledger.optuna_tables import NewRow
from sweeper.ledger.populations import population_key
from sweeper.ledger.rows import FrozenTrial, Row, outcome_of, row_key
from sweeper.trial import Outcome, State

#: How trials ended that may be tried again. What is complete, or was stopped early, never runs again.
REPEATABLE = tuple(outcome for outcome in Outcome if outcome.state is State.FAILED)

#: After these the last checkpoint is as good as any, and training goes on from it; after all others it begins anew:
#: what failed once would fail from there again.
_GOES_ON = (Outcome.LOST, Outcome.OUT_OF_MEMORY, Outcome.TIMED_OUT)


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


def newest(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
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


def ended_so(trials: Iterable[FrozenTrial], outcomes: Collection[Outcome]) -> list[FrozenTrial]:
    """Return the rows that count and ended in one of these ways."""
    return [trial for trial in newest(trials) if outcome_of(trial) in outcomes]


def new_attempts(trials: Sequence[FrozenTrial]) -> tuple[list[NewRow], list[str]]:
    """Return the rows of new attempts, and the keys of the populations among theirs that begin anew.

    Whoever begins anew leaves its population, together with the others of it that do: those that it trained beside may
    have a checkpoint to go on from, which it must not share.
    """
    anew: dict[str, list[FrozenTrial]] = {}
    for trial in trials:
        if outcome_of(trial) not in _GOES_ON:
            anew.setdefault(trial.user_attrs["plan"]["population"], []).append(trial)
    begun = {former: population_key(map(row_key, members)) for former, members in anew.items()}
    rows = []
    for trial in trials:
        plan, claim = trial.user_attrs["plan"], trial.user_attrs.get("claim", {})
        attributes = {
            "plan": {**plan, "again": trial.number},
            # Its attempts are counted on; how often it may be retried is counted from the start.
            "claim": {"attempt": claim.get("attempt", 0), "owner": claim.get("owner", ""), "is_over": True},
        }
        if outcome_of(trial) in _GOES_ON:
            attributes |= {"rungs": rungs} if (rungs := trial.user_attrs.get("rungs")) else {}
        elif (population := begun[plan["population"]]) != plan["population"]:
            former = [*plan.get("former", []), plan["population"]]
            attributes["plan"] |= {"population": population, "former": former}
        rows.append(NewRow(attributes, trial.params, trial.distributions))
    return rows, list(begun.values())
