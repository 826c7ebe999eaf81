"""What commands end with: one number for each thing that a script may want to tell apart.

Python ends with 1 where nobody has caught an exception, and Ray may end the process it is loaded in with 1. So no
command ends with 1 by its own will: to a script it means that the command could not say how it ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class ExitCode(IntEnum):
    """What a command ends with, beside 128 and the number of the signal that stopped it."""

    DONE = 0
    MISTAKE = 2
    SOME_FAILED = 3
    NOT_YET = 4
    FOUND_WRONG = 5
    UNFORESEEN = 70


#: What each means, in the words of help and documentation.
MEANINGS: Mapping[ExitCode, str] = {
    ExitCode.DONE: "done: of `run`, `resume` and `submit`, every planned trial is complete or was stopped early",
    ExitCode.MISTAKE: "a mistake, or a missing piece: one message names it and the way out; every outcome is safe",
    ExitCode.SOME_FAILED: "every trial has ended, and some of them failed",
    ExitCode.NOT_YET: "trials are left: `resume` goes on; `audit`: nothing is wrong so far; `watch`: nobody drives it",
    ExitCode.FOUND_WRONG: "`audit` found a promise that was not kept, `doctor` a problem",
    ExitCode.UNFORESEEN: "an unexpected error: one message names the file with the report",
}

#: What a command that a signal stopped ends with, by the name of the signal; `run` and `resume` say how to go on.
STOPPED: Mapping[str, int] = {"SIGHUP": 129, "SIGINT": 130, "SIGPIPE": 141, "SIGTERM": 143}


def rows() -> list[tuple[str, str]]:
    """Return the whole table: a number, or several, and what it means, in plain text."""
    named = [(str(code.value), text.replace("`", "")) for code, text in MEANINGS.items()]
    numbers = ", ".join(str(number) for number in STOPPED.values())
    return [*named, (numbers, f"stopped by a signal: {', '.join(STOPPED)}")]
