"""The result of `sweeper audit` for one promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Most trials, tasks or files that a breach names; the others are only counted.
MOST_NAMED = 5


@dataclass(frozen=True)
class Breach:
    """One way in which a promise is broken.

    Attributes:
        what: What is wrong.
        count: Number of trials, tasks or files concerned.
        named: Keys of trials, tasks or files; only some of them if there are many.
    """

    what: str
    count: int
    named: tuple[str, ...]


@dataclass(frozen=True)
class Guarantee:
    """A promise, and whether it holds.

    Attributes:
        text: The promise in words.
        holds: Whether it holds; None if unknown.
        breaches: The ways in which it is broken.
        reason: Why it is unknown.
        is_early: Whether it can be known once the sweep has ended.
    """

    text: str
    holds: bool | None
    breaches: tuple[Breach, ...] = ()
    reason: str = ""
    is_early: bool = False

    @property
    def said(self) -> list[str]:
        """Lines about the reason and the breaches."""
        lines = [self.reason] if self.reason else []
        for breach in self.breaches:
            named = ", ".join(breach.named)
            more = f" and {breach.count - len(breach.named)} more" if breach.count > len(breach.named) else ""
            lines.append(f"{breach.count} × {breach.what}: {named}{more}")
        return lines


def judged(text: str, broken: Mapping[str, Sequence[str]]) -> Guarantee:
    """Return a promise, which holds if nothing breaks it.

    Args:
        text: The promise.
        broken: Trials, tasks or files that break it, by what is wrong.
    """
    breaches = tuple(Breach(what, len(where), tuple(where[:MOST_NAMED])) for what, where in broken.items() if where)
    return Guarantee(text, not breaches, breaches)
