"""URIs of SQLite files in the form that SQLAlchemy reads, and so Optuna and MLflow.

A path may contain characters that have a meaning in a URI: `%`, `?` and `#`, and braces, which Optuna fills in. These
are escaped; all others, including blanks, stay as people write them.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote, unquote

_SPECIAL = "%?#{}"

#: Characters that no URI can hold for SQLAlchemy before 2.1, which reads no escapes.
_IMPOSSIBLE = "?{}"


def uri_of(file: Path) -> str:
    """Return the URI of a SQLite file."""
    if not _are_escapes_read():
        return f"sqlite:///{file}"
    path = re.sub(f"[{_SPECIAL}]", lambda found: quote(found[0]), str(file))
    # The driver's whole name, because MLflow makes the folders of a URI that begins with sqlite:///, with the escapes
    # in their names.
    driver = "sqlite" if path == str(file) else "sqlite+pysqlite"
    return f"{driver}:///{path}"


def file_of(uri: str) -> Path | None:
    """Return the SQLite file of a URI, relative if the URI is; None for other URIs."""
    scheme, is_file, path = uri.partition(":///")
    path = path.split("?", 1)[0]
    if not is_file or not scheme.startswith("sqlite") or not path or path.startswith(":"):
        return None
    return Path(unquote(path) if _are_escapes_read() else path)


def problem_of(folder: Path) -> str:
    """Return the character of a folder's path that no URI can hold; empty if there is none."""
    text = str(folder)
    try:
        text.encode()
    except UnicodeEncodeError as error:  # the path is not UTF-8, which SQLite requires
        return text[error.start : error.end]
    found = re.search(f"[{_IMPOSSIBLE}]", text)
    return found[0] if found and not _are_escapes_read() else ""


def _are_escapes_read() -> bool:
    """Return whether SQLAlchemy decodes escapes in a file's path."""
    first, second, *_ = version("sqlalchemy").split(".")
    return (int(first), int(second)) >= (2, 1)
