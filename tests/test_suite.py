"""The test suite itself: which tests each target of the Makefile runs."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def files_of(target):
    """Return the test files that a target of the Makefile names, including those in named folders."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    (recipe,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", text, re.M)
    named = [ROOT / word for word in re.findall(r"tests/\S+", recipe)]
    assert [path for path in named if not path.exists()] == []
    return {file for path in named for file in (path.rglob("test_*.py") if path.is_dir() else [path])}


def files_with(mark):
    return {
        path
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(rf"\bmark\.{mark}\b", path.read_text(encoding="utf-8"))
    }


def test_every_file_with_a_rare_test_is_run_by_make_faults():
    assert files_with("rare") - files_of("faults") == set()
    assert ROOT / "tests/faults/test_clock.py" in files_with("rare") & files_of("faults"), "what is sought is found"


def test_what_is_rare_is_slow_too():
    """A developer who leaves out only slow tests must not wait for rare ones."""
    assert files_with("rare") - files_with("slow") == set()
