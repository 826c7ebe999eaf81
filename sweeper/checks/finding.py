"""The result of one check of `sweeper doctor`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from sweeper.errors import SweepError


class Verdict(StrEnum):
    """Severity of a finding; a problem keeps sweeps from running, a warning does not."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        check: Name of the check, in a word or two.
        verdict: Its severity.
        found: What the check found.
        way_out: What the user can do about it; empty if it is ok.
    """

    check: str
    verdict: Verdict
    found: str
    way_out: str = ""


def fine(check: str, found: str) -> Finding:
    """Return a finding that is ok."""
    return Finding(check, Verdict.OK, found)


def warning(check: str, found: str, way_out: str) -> Finding:
    """Return a finding that a user should know about, but that keeps no sweep from running."""
    return Finding(check, Verdict.WARNING, found, way_out)


def problem(check: str, found: str, way_out: str) -> Finding:
    """Return a finding that keeps sweeps from running."""
    return Finding(check, Verdict.PROBLEM, found, way_out)


def problem_of(check: str, error: SweepError) -> Finding:
    """Turn an error into a finding: the first sentence of a message says what is wrong, the rest what to do."""
    found, _, way_out = re.sub(r"\. (?=[A-Z])", "\0", str(error), count=1).partition("\0")
    return problem(check, found, way_out or "See the manual.")
