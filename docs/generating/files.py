"""Shows a file of the repository as a block of code on a page, so that the page shows the code that runs."""

from __future__ import annotations

from pathlib import Path

_DOCS = Path(__file__).parents[1]

_LANGUAGES = {".py": "python", ".yaml": "yaml"}


def block(name: str) -> str:
    """Return a file inside `docs/` as a block of code."""
    path = _DOCS / name
    return f"```{_LANGUAGES[path.suffix]}\n{path.read_text(encoding='utf-8').rstrip()}\n```"
