"""SQLite files as URIs, as SQLAlchemy reads them, and with it Optuna and MLflow.

A path may hold what a URI gives a meaning to: `%`, `?` and `#`, and braces, which Optuna fills in. Such characters are
escaped; others, blanks among them, stay as people write them.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote, unquote

_SPECIAL = "%?#{}"

#: What SQLAlchemy before 2.1, which knows no escapes, cannot be told at all.
_IMPOSSIBLE = "?{}"


def uri_of(file: Path) -> str:
    """Return the URI of a SQLite file."""
    if not _are_escapes_read():
        return f"sqlite:///{file}"
    path = re.sub(f"[{_SPECIAL}]", lambda found: quote(found[0]), str(file))
    # By its whole name: of what begins with sqlite:/// MLflow makes the folders that it reads there, escapes and all.
    driver = "sqlite" if path == str(file) else "sqlite+pysqlite"
    return f"{driver}:///{path}"


def file_of(uri: str) -> Path | None:
    """Return the file that a URI means, relative where the URI is; None where it means no file of SQLite."""
    scheme, is_file, path = uri.partition(":///")
    path = path.split("?", 1)[0]
    if not is_file or not scheme.startswith("sqlite") or not path or path.startswith(":"):
        return None
    return Path(unquote(path) if _are_escapes_read() else path)


def problem_of(folder: Path) -> str:
    """Return the character of a folder's path that no URI can hold; empty where there is none."""
    text = str(folder)
    try:
        text.encode()
    except UnicodeEncodeError as error:  # bytes that are no UTF-8: SQLite takes no other names
        return text[error.start : error.end]
    found = re.search(f"[{_IMPOSSIBLE}]", text)
    return found[0] if found and not _are_escapes_read() else ""


def _are_escapes_read() -> bool:
    """Return whether SQLAlchemy takes an escape in a file's path for what it stands for."""
    first, second, *_ = version("sqlalchemy").split(".")
    return (int(first), int(second)) >= (2, 1)
