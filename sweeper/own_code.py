"""Hashes of the files of a user's own code, which tell trials of one version of the code from those of another."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

#: Form of a function's source: `module:function`, with dots in the module's name if it is in a package.
SOURCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

#: Names of a sweep's facts that hold the hashes of its code's files, and the folder of these files.
FILES, FOLDER = "code.files", "code.folder"

#: Name of the fact that holds the costs and measurements of a function's first epoch.
FIRST = "code.first"

#: Separator between the versions of a trial that was trained under several.
JOIN = "+"


def files_in(facts: Mapping[str, str]) -> dict[str, str]:
    """Return the hashes of the code's files in a sweep's facts, by path within the folder; empty if there are none.

    An installed package has its version in place of a hash.
    """
    found = json.loads(facts.get(FILES, "{}"))
    return {str(name): str(digest) for name, digest in found.items()}


def fact_of(files: Mapping[str, str]) -> str:
    """Return the fact that `files_in` reads."""
    return json.dumps(dict(files), sort_keys=True)


def version_of(files: Mapping[str, str]) -> str:
    """Return eight hexadecimal digits that identify the content of all files; empty for no files."""
    told = "\n".join(f"{name} {digest}" for name, digest in sorted(files.items()))
    return hashlib.sha256(told.encode()).hexdigest()[:8] if files else ""


def still_there(files: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the present hashes of those files that still exist in a folder."""
    paths = {name: folder / name for name in files if (folder / name).is_file()}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return clauses on the files that have changed, sorted by name."""
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    words = {(True, True): "has changed", (True, False): "is not read any more", (False, True): "is new"}
    return [f"{name} {words[name in before, name in now]}" for name in names]


def mixed(versions: Iterable[str]) -> str:
    """Return a sentence on trials of several versions of the code; empty if there is only one.

    Args:
        versions: Versions of each trial, joined by `JOIN`.
    """
    each = [part for one in versions for part in one.split(JOIN) if part]
    counted = {version: each.count(version) for version in dict.fromkeys(each)}
    if len(counted) < 2:
        return ""
    told = ", ".join(f"{version} ({count})" for version, count in counted.items())
    return f"trials of {len(counted)} versions of the code: {told}, see column `code`"
