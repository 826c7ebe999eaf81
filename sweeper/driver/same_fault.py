"""Recognises a user's own function that fails in the same place whatever its arguments, so that the sweep stops.

The rule is a pure function of the trials' records, like the rule of the rungs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sweeper.trial import Outcome, TrialRecord

#: Number of trials that must have ended, all with the same fault.
ENOUGH = 3

_FRAME = re.compile(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+)')
_RAISED = re.compile(r"(?P<kind>[A-Za-z_][\w.]*)(?::|$)")


def fault_in(reason: str) -> str:
    """Return the exception type and the line that a traceback in a reason names; the whole reason if it has none.

    Messages are left out, because they often contain the arguments of the call.
    """
    lines = reason.strip().splitlines()
    frames = [found for line in lines if (found := _FRAME.match(line))]
    raised = [found["kind"] for line in lines if line[:1].strip() and (found := _RAISED.match(line))]
    if not frames or not raised:
        return reason.strip()
    return f"{raised[-1]} in {frames[-1]['file']}, line {frames[-1]['line']}"


def same_fault(records: Iterable[TrialRecord]) -> str:
    """Return the common reason of all ended trials; empty if there are too few, or they ended in different ways.

    Args:
        records: The newest attempt of every trial.
    """
    ended = [record for record in records if record.state.is_finished]
    if len(ended) < ENOUGH or any(record.outcome is not Outcome.FAILED for record in ended):
        return ""
    first = ended[0]
    alike = {fault_in(record.reason) for record in ended}
    return first.reason.strip() if len(alike) == 1 else ""
