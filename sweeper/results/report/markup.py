"""HTML that several parts of a report share."""

from __future__ import annotations

from html import escape


def scrolled(name: str, html: str, kind: str = "") -> str:
    """Return a box that scrolls if its content is too large, by the keyboard too.

    Args:
        name: Its name for screen readers.
        html: Its content.
        kind: A further CSS class, such as `tall`.
    """
    return f'<div class="scroll {kind}" tabindex="0" role="region" aria-label="{escape(name)}">{html}</div>'
