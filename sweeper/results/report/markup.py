"""Pieces of HTML that several parts of a report are made of."""

from __future__ import annotations

from html import escape


def scrolled(name: str, html: str, kind: str = "") -> str:
    """Return what may be wider or higher than its place, so that keys reach all of it as well.

    Args:
        name: What it is, for who does not see it.
        html: What is in it.
        kind: A further class, such as `tall`.
    """
    return f'<div class="scroll {kind}" tabindex="0" role="region" aria-label="{escape(name)}">{html}</div>'
