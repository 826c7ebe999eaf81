"""Finds this machine's fonts, because a browser silently replaces a font that is missing."""

from __future__ import annotations

import difflib

from matplotlib.font_manager import findSystemFonts
from matplotlib.ft2font import FT2Font

from sweeper.errors import QueryError

#: Generic families, for which every browser has a font.
GENERIC = ("serif", "sans-serif", "monospace")


def checked_font(name: str) -> str:
    """Return the name of a font as the font's file spells it.

    Raises:
        QueryError: If this machine has no such font; names some that it has.
    """
    if name.lower() in GENERIC:
        return name.lower()
    known = installed_fonts()
    by_lower = {one.lower(): one for one in known}
    if name.strip().lower() in by_lower:
        return by_lower[name.strip().lower()]
    close = difflib.get_close_matches(name.lower(), by_lower, 1, 0.7)
    meant = f" Did you mean {by_lower[close[0]]!r}?" if close else ""
    some = ", ".join([*GENERIC, *known][:12])
    raise QueryError(f"the font {name!r} is not installed here (there are {some}).{meant or ' Name one of these.'}")


def installed_fonts() -> list[str]:
    """Return the names of the fonts of this machine, sorted."""
    found = set()
    for file in findSystemFonts():
        try:
            found.add(FT2Font(file).family_name)
        except (OSError, RuntimeError, UnicodeError):  # not a font, or a damaged one
            continue
    return sorted(found)
