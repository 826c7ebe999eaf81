"""Finds a sweep's objectives by the names that a user gives: one rule for Python and the command line."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.errors import QueryError
from sweeper.measurements import Objective
from sweeper.spelling import did_you_mean


def chosen_objectives(known: Sequence[Objective], names: Sequence[str], sweep: str) -> tuple[Objective, ...]:
    """Return the objectives of these names, in the order of the names; without names, all of the sweep's.

    Args:
        known: The sweep's objectives.
        names: Some of their names.
        sweep: Name of the sweep, for messages.

    Raises:
        QueryError: If an objective is named twice, the sweep has no such objective, or `names` is a single text.
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
    """Return the names of the objectives of a wanted front; none if they are all of the sweep's.

    Raises:
        QueryError: As for `chosen_objectives`, and if only one is named: a front needs two.
    """
    chosen = tuple(objective.name for objective in chosen_objectives(known, names, sweep))
    if len(names) == 1:
        raise QueryError(
            f"a front needs two objectives or more, but got only {names[0]!r}. "
            f"The best in one measurement is asked for by --at CONDITION with --minimize or --maximize {names[0]}."
        )
    return () if len(chosen) == len(known) else chosen


def listed(argument: str, texts: Sequence[str]) -> Sequence[str]:
    """Return texts; refuse a single text, which a type checker accepts as a sequence of texts."""
    if isinstance(texts, str):
        raise QueryError(
            f"{argument} must be a list of texts, but got the text {texts!r}. Write {argument}=[{texts!r}]."
        )
    return texts
