"""Answers about a user's own function, each given in a process of its own: see `sweeper.isolated`.

So no other process of ours than its workers ever runs a user's code.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sweeper.imports import import_problem
from sweeper.isolated import answer, serve
from sweeper.training.own_source import SourceError, files_of, function_of, signature_of


def signature() -> None:
    """Read `source` and `folder`, and say what the function's signature says, and the hashes of its files."""
    given = json.load(sys.stdin)
    folder = Path(given["folder"])
    with redirect_stdout(sys.stderr):  # what its module prints when it is imported is no answer
        found: Mapping[str, Any]
        try:
            found = asdict(signature_of(function_of(given["source"], folder), folder))
        except SourceError as error:
            found = {"problem": str(error)}
        except (Exception, SystemExit) as error:  # whatever its module raises
            said = import_problem(error) if isinstance(error, Exception) else ""
            found = {"problem": f"train names {given['source']!r}, which cannot be imported: {said or _line_of(error)}"}
    answer(found)


def epoch() -> None:
    """Read a job, call its function for one epoch, and say what that took and what it reported, and what it imports."""
    from sweeper.job import job_from_json
    from sweeper.training.own_function import call_function

    job = job_from_json(sys.stdin.read())
    told = list[Any]()
    with redirect_stdout(sys.stderr), tempfile.TemporaryDirectory(prefix="sweeper-") as folder:
        begun = time.perf_counter()
        (ended,) = call_function(replace(job, checkpoint=str(Path(folder, "first.pt"))), told.append)
        has_state = any(Path(folder).iterdir())
    seconds = time.perf_counter() - begun
    function_folder = Path(job.own_folder)
    files = files_of(function_of(str(job.settings[0]["train"]), function_folder), function_folder)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answer({
        "seconds": seconds,
        "memory_bytes": memory,
        "epochs": told[-1].epochs if told else 0,
        "has_ended": ended.outcome is not None,
        "outcome": None if ended.outcome is None else str(ended.outcome),
        "reason": ended.reason,
        "measures": sorted(ended.measurement),
        "has_state": has_state,
        "files": files,
    })


def _line_of(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


if __name__ == "__main__":
    serve({"function": signature, "epoch": epoch})
