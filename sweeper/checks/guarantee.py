"""What `sweeper audit` has found out about one promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: So many of what is broken are named; the rest is counted.
MOST_NAMED = 5


@dataclass(frozen=True)
class Breach:
    """One way in which a promise is broken.

    Attributes:
        what: What is wrong.
        count: How often.
        named: Where: keys of trials, tasks or files; some of them where there are many.
    """

    what: str
    count: int
    named: tuple[str, ...]


@dataclass(frozen=True)
class Guarantee:
    """A promise, and whether it holds.

    Attributes:
        text: The promise, as a user would say it.
        holds: None where it cannot be known.
        breaches: In which ways it is broken.
        reason: Why it cannot be known.
        is_early: Whether it will be known once the sweep has ended.
    """

    text: str
    holds: bool | None
    breaches: tuple[Breach, ...] = ()
    reason: str = ""
    is_early: bool = False

    @property
    def said(self) -> list[str]:
        """What there is to say beside yes and no, in lines."""
        lines = [self.reason] if self.reason else []
        for breach in self.breaches:
            named = ", ".join(breach.named)
            more = f" and {breach.count - len(breach.named)} more" if breach.count > len(breach.named) else ""
            lines.append(f"{breach.count} × {breach.what}: {named}{more}")
        return lines


def judged(text: str, broken: Mapping[str, Sequence[str]]) -> Guarantee:
    """Return a promise that holds where nothing is broken.

    Args:
        text: The promise.
        broken: Where it is broken, by what is wrong.
    """
    breaches = tuple(Breach(what, len(where), tuple(where[:MOST_NAMED])) for what, where in broken.items() if where)
    return Guarantee(text, not breaches, breaches)
