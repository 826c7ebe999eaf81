"""Whether a user's own function fails in one place whatever it is called with: then the rest is not tried.

The rule is a pure function of what is known of the trials, as that of rungs is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sweeper.trial import Outcome, TrialRecord

#: So many trials must have ended, all of them alike.
ENOUGH = 3

_FRAME = re.compile(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+)')
_RAISED = re.compile(r"(?P<kind>[A-Za-z_][\w.]*)(?::|$)")


def fault_in(reason: str) -> str:
    """Return what a reason with a traceback says was raised, and where; what has none, whole.

    Messages are left out: they often hold what a function was called with.
    """
    lines = reason.strip().splitlines()
    frames = [found for line in lines if (found := _FRAME.match(line))]
    raised = [found["kind"] for line in lines if line[:1].strip() and (found := _RAISED.match(line))]
    if not frames or not raised:
        return reason.strip()
    return f"{raised[-1]} in {frames[-1]['file']}, line {frames[-1]['line']}"


def same_fault(records: Iterable[TrialRecord]) -> str:
    """Return the reason of all trials that have ended; empty where there are few, or they ended in different ways.

    Args:
        records: Every trial, by its newest attempt.
    """
    ended = [record for record in records if record.state.is_finished]
    if len(ended) < ENOUGH or any(record.outcome is not Outcome.FAILED for record in ended):
        return ""
    first = ended[0]
    alike = {fault_in(record.reason) for record in ended}
    return first.reason.strip() if len(alike) == 1 else ""
