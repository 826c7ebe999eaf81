"""Reports unexpected errors: one sentence for the user, and a file for a maintainer."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import traceback

from sweeper.exit_codes import ExitCode


def tell(error: BaseException) -> int:
    """Write a report of an error to a file, print one sentence about it, and return the exit code."""
    from sweeper.provenance import own_version

    kind = f"{type(error).__name__}: {error}".strip().splitlines()[0][:300]
    report = "".join(traceback.format_exception(error))
    head = f"sweeper {own_version()}, Python {platform.python_version()} on {platform.platform()}\n"
    try:
        # The file's name cannot be guessed and only its owner can read it, because a message may hold secrets.
        handle, name = tempfile.mkstemp(prefix="sweeper-report-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(head + report)
        where = f"in {name}"
    except OSError:
        print(report, file=sys.stderr)
        where = "above"
    print(
        f"sweeper: something unforeseen happened ({kind}): a mistake in sweeper, or in what it stands on. Every "
        f"outcome so far is safe, and `sweeper resume` goes on. The whole report is {where}.",
        file=sys.stderr,
    )
    return ExitCode.UNFORESEEN
