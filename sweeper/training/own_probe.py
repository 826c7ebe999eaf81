"""Answers questions about a user's own function, each in a separate process; see `sweeper.isolated`.

So only such processes and workers ever run a user's code.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sweeper.imports import import_problem
from sweeper.isolated import answer, serve
from sweeper.training.own_source import SourceError, files_of, function_of, signature_of

#: Longest first epoch after which a second one is run, in seconds.
_QUICK_S = 10.0


def signature() -> None:
    """Answer with a function's signature and the hashes of its files.

    Reads from standard input: the function's `source`, its `folder`, and the `key` under which the spec names it.
    """
    given = json.load(sys.stdin)
    folder, key = Path(given["folder"]), given.get("key", "train")
    with redirect_stdout(sys.stderr):  # output of the module's import is no answer
        found: Mapping[str, Any]
        try:
            found = asdict(signature_of(function_of(given["source"], folder, key), folder))
        except SourceError as error:
            found = {"problem": str(error)}
        except (Exception, SystemExit) as error:  # the module may raise anything
            said = import_problem(error) if isinstance(error, Exception) else ""
            found = {"problem": f"{key} names {given['source']!r}, which cannot be imported: {said or _line_of(error)}"}
    answer(found)


def epoch() -> None:
    """Read a job, call its function for an epoch, and answer with its costs, its report, and the files it imports.

    A quick function runs for a second epoch, because the first one includes loading that happens only once.
    """
    from sweeper.job import Progress, job_from_json
    from sweeper.training.own_function import call_function

    job = job_from_json(sys.stdin.read())
    source, own_folder = str(job.settings[0]["train"]), Path(job.own_folder)
    told, at = list[Progress](), list[float]()

    def report(progress: Progress) -> None:
        told.append(progress)
        at.append(time.perf_counter())
        if len(at) == 1 and at[0] - begun > _QUICK_S:
            raise _EnoughError

    with redirect_stdout(sys.stderr), tempfile.TemporaryDirectory(prefix="sweeper-") as folder:
        with suppress(Exception):  # the call below reports any problem
            function_of(source, own_folder)
        begun, ended = time.perf_counter(), None
        with suppress(_EnoughError):
            (ended,) = call_function(replace(job, checkpoint=str(Path(folder, "first.pt")), until=2), report)
        seconds = time.perf_counter() - begun
        has_state = any(Path(folder).iterdir())
        files = files_of(function_of(source, own_folder), own_folder)
    has_ended = ended is not None and ended.outcome is not None
    measured = ended.measurement if ended is not None else told[-1].values[0]
    answer({
        "seconds": at[0] - begun if at else seconds,
        "epoch_seconds": at[1] - at[0] if len(at) > 1 else None,
        "memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "epochs": told[-1].epochs if told else 0,
        "has_ended": has_ended,
        "outcome": str(ended.outcome) if ended is not None and has_ended else None,
        "reason": ended.reason if ended is not None else "",
        "measures": sorted(measured),
        "has_state": has_state,
        "files": files,
    })


class _EnoughError(Exception):
    """Leaves a function with long epochs after the first one."""


def _line_of(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


if __name__ == "__main__":
    serve({"function": signature, "epoch": epoch})
