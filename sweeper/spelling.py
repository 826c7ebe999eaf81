"""What somebody may have meant: the nearest of the names that are known, and a list of them that a message can hold."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: So many names are listed in a message, and so much of a name that nobody knows is looked at.
_MOST_LISTED, _LONGEST = 10, 80


def meant(word: str, known: Iterable[str]) -> str | None:
    """Return the known name that a misspelt one is nearest to; None where none is near.

    Case is of no account. A known name that begins as the word does is near, however much longer it is: `acc` is nearer
    to `macs` by its letters.
    """
    names = {name.casefold(): name for name in known}
    asked = word[:_LONGEST].casefold()
    begun = [name for folded, name in names.items() if len(asked) > 1 and folded.startswith(asked)]
    near = [names[folded] for folded in difflib.get_close_matches(asked, names, n=1)]
    return next(iter([*begun, *near]), None)


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return a question that names what was meant, or what to say `otherwise`."""
    near = meant(word, known)
    return f"Did you mean {near!r}?" if near is not None else otherwise


def names_near(word: str, known: Iterable[str]) -> str:
    """Return the names that are known, as a list in words; of too many for a message those that are nearest."""
    names = sorted(known)
    near = difflib.get_close_matches(word[:_LONGEST], names, n=5, cutoff=0.4) if len(names) > _MOST_LISTED else []
    shown = [*near, *(other for other in names if other not in near)][:_MOST_LISTED]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "") or "none"
