"""Suggests the known name that a user may have meant, and lists known names for a message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: Largest number of names that a message lists, and of characters of an unknown name that are compared.
_MOST_LISTED, _LONGEST = 10, 80


def meant(word: str, known: Iterable[str]) -> str | None:
    """Return the known name that is nearest to a misspelt one; None if none is near.

    Case is ignored. A known name that begins with the word wins, however much longer it is: compared by letters alone,
    `acc` would be nearer to `macs` than to `accuracy`.
    """
    names = {name.casefold(): name for name in known}
    asked = word[:_LONGEST].casefold()
    begun = [name for folded, name in names.items() if len(asked) > 1 and folded.startswith(asked)]
    near = [names[folded] for folded in difflib.get_close_matches(asked, names, n=1)]
    return next(iter([*begun, *near]), None)


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return a question that suggests the nearest known name; the text `otherwise` if none is near."""
    near = meant(word, known)
    return f"Did you mean {near!r}?" if near is not None else otherwise


def names_near(word: str, known: Iterable[str]) -> str:
    """Return the known names as one text; if they are too many for a message, the nearest ones first."""
    names = sorted(known)
    near = difflib.get_close_matches(word[:_LONGEST], names, n=5, cutoff=0.4) if len(names) > _MOST_LISTED else []
    shown = [*near, *(other for other in names if other not in near)][:_MOST_LISTED]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "") or "none"
