"""Exit codes of commands: one number for each result that a script may want to distinguish.

Python exits with 1 after an uncaught exception, and Ray may end its process with 1. So no command exits with 1 on
purpose: to a script, 1 means that the command could not say how it ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit code of a command; a command stopped by a signal exits with 128 plus the signal's number instead."""

    DONE = 0
    MISTAKE = 2
    SOME_FAILED = 3
    NOT_YET = 4
    FOUND_WRONG = 5
    UNFORESEEN = 70


#: Meaning of each code, as help and documentation print it.
MEANINGS: Mapping[ExitCode, str] = {
    ExitCode.DONE: "done: of `run`, `resume` and `submit`, every planned trial is complete or was stopped early",
    ExitCode.MISTAKE: "a mistake, or a missing piece: one message names it and the way out; every outcome is safe",
    ExitCode.SOME_FAILED: "every trial has ended, and some of them failed",
    ExitCode.NOT_YET: "trials are left: `resume` goes on; `audit`: nothing is wrong so far; `watch`: nobody drives it",
    ExitCode.FOUND_WRONG: "`audit` found a promise that was not kept, `doctor` a problem",
    ExitCode.UNFORESEEN: "an unexpected error: one message names the file with the report",
}

#: Exit codes of commands stopped by a signal, by its name; `run` and `resume` also say how to continue.
STOPPED: Mapping[str, int] = {"SIGHUP": 129, "SIGINT": 130, "SIGPIPE": 141, "SIGTERM": 143}


def rows() -> list[tuple[str, str]]:
    """Return the whole table in plain text: a number, or several, and the meaning."""
    named = [(str(code.value), text.replace("`", "")) for code, text in MEANINGS.items()]
    numbers = ", ".join(str(number) for number in STOPPED.values())
    return [*named, (numbers, f"stopped by a signal: {', '.join(STOPPED)}")]
