"""Which of a sweep's objectives are meant by names that a user gives: one rule for Python and the command line."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.errors import QueryError
from sweeper.measurements import Objective
from sweeper.spelling import did_you_mean


def chosen_objectives(known: Sequence[Objective], names: Sequence[str], sweep: str) -> tuple[Objective, ...]:
    """Return the objectives of these names, in their order; all of the sweep's for no name.

    Args:
        known: The sweep's objectives.
        names: Some of their names.
        sweep: Name of the sweep, for messages.

    Raises:
        QueryError: If one is named twice, or is none of the sweep's, or the names are one text.
    """
    by_name = {objective.name: objective for objective in known}
    for name in listed("objectives", names):
        if name not in by_name:
            hint = did_you_mean(name, by_name, "Name some of these.")
            raise QueryError(
                f"{name!r} is no objective of sweep {sweep!r} (its objectives: {', '.join(by_name)}). {hint}"
            )
        if (times := list(names).count(name)) > 1:
            raise QueryError(f"the objective {name!r} is named {times} times. Name it once.")
    return tuple(by_name[name] for name in names) or tuple(known)


def front_objectives(known: Sequence[Objective], names: Sequence[str], sweep: str) -> tuple[str, ...]:
    """Return the names of the objectives that a front is wanted for; none where that is all of the sweep's.

    Raises:
        QueryError: As for `chosen_objectives`, and if there is only one: that is no front.
    """
    chosen = tuple(objective.name for objective in chosen_objectives(known, names, sweep))
    if len(names) == 1:
        raise QueryError(
            f"a front needs two objectives or more, but got only {names[0]!r}. "
            f"The best in one measurement is asked for by --at CONDITION with --minimize or --maximize {names[0]}."
        )
    return () if len(chosen) == len(known) else chosen


def listed(argument: str, texts: Sequence[str]) -> Sequence[str]:
    """Return texts, or refuse a single one: that is a sequence of texts as well, as far as types can tell."""
    if isinstance(texts, str):
        raise QueryError(
            f"{argument} must be a list of texts, but got the text {texts!r}. Write {argument}=[{texts!r}]."
        )
    return texts
