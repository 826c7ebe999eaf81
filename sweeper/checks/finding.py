"""What one check of `sweeper doctor` has found."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from sweeper.errors import SweepError


class Verdict(StrEnum):
    """How bad it is; a problem keeps sweeps from running, a warning does not."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What one check has found.

    Attributes:
        check: What was looked at, in a word or two.
        verdict: How bad it is.
        found: What was found.
        way_out: What to do about it; empty where it is ok.
    """

    check: str
    verdict: Verdict
    found: str
    way_out: str = ""


def fine(check: str, found: str) -> Finding:
    """Return a finding that is ok."""
    return Finding(check, Verdict.OK, found)


def warning(check: str, found: str, way_out: str) -> Finding:
    """Return a finding that a user should know of."""
    return Finding(check, Verdict.WARNING, found, way_out)


def problem(check: str, found: str, way_out: str) -> Finding:
    """Return a finding that keeps sweeps from running."""
    return Finding(check, Verdict.PROBLEM, found, way_out)


def problem_of(check: str, error: SweepError) -> Finding:
    """Return an error as a finding: every message says first what is wrong and then what to do."""
    found, _, way_out = re.sub(r"\. (?=[A-Z])", "\0", str(error), count=1).partition("\0")
    return problem(check, found, way_out or "See the manual.")
