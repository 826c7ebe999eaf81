"""Names of lesions: the removed parts of a network as people write them, and as columns name them."""

from __future__ import annotations

import re

#: Matches a part that can be removed.
_PART = re.compile(r"lateral|top-down|deepest|layer:[1-9][0-9]{0,2}")

RULE = "lateral, top-down, deepest or layer:N with N from 1, or several of these joined by commas"


def parts_of(text: str) -> tuple[str, ...] | None:
    """Return the parts that a text such as `lateral,top-down` names, each once and sorted; None if any is unknown.

    `top_down` is the same as `top-down`.
    """
    parts = {part.strip().replace("_", "-") for part in text.split(",")}
    return tuple(sorted(parts)) if all(map(_PART.fullmatch, parts)) else None


def lesion_column(parts: tuple[str, ...]) -> str:
    """Return parts in letters, digits, dots and underscores, such as `lateral.top_down` or `layer3`."""
    return ".".join(part.replace("-", "_").replace(":", "") for part in parts)
