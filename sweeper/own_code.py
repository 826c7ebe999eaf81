"""What is kept of a user's own code: a hash of each file, so that trials of one code are told from those of another."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

#: What names a function: `module:function`, the module with dots where it is in a package.
SOURCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

#: Under what names a sweep keeps the hashes of its code's files, and the folder that they were in.
FILES, FOLDER = "code.files", "code.folder"

#: Under what name it keeps what the first epoch of a function took and measured.
FIRST = "code.first"

#: What stands between the versions of a trial that was trained under several.
JOIN = "+"


def files_in(facts: Mapping[str, str]) -> dict[str, str]:
    """Return the hashes of files that facts of a sweep hold, by path within its folder; empty where they hold none.

    What is installed has its version in place of a hash.
    """
    found = json.loads(facts.get(FILES, "{}"))
    return {str(name): str(digest) for name, digest in found.items()}


def fact_of(files: Mapping[str, str]) -> str:
    """Return the fact that `files_in` reads."""
    return json.dumps(dict(files), sort_keys=True)


def version_of(files: Mapping[str, str]) -> str:
    """Return eight letters that stand for the content of all files; empty for none."""
    told = "\n".join(f"{name} {digest}" for name, digest in sorted(files.items()))
    return hashlib.sha256(told.encode()).hexdigest()[:8] if files else ""


def still_there(files: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the hashes that files of a folder have now, as far as they are there."""
    paths = {name: folder / name for name in files if (folder / name).is_file()}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return in words which files are not what they were, sorted by name."""
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    words = {(True, True): "has changed", (True, False): "is not read any more", (False, True): "is new"}
    return [f"{name} {words[name in before, name in now]}" for name in names]


def mixed(versions: Iterable[str]) -> str:
    """Return a sentence on trials of several versions of a code; empty where there is one.

    Args:
        versions: Of each trial, joined by `JOIN`.
    """
    each = [part for one in versions for part in one.split(JOIN) if part]
    counted = {version: each.count(version) for version in dict.fromkeys(each)}
    if len(counted) < 2:
        return ""
    told = ", ".join(f"{version} ({count})" for version, count in counted.items())
    return f"trials of {len(counted)} versions of the code: {told}, see column `code`"
