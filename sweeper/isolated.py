"""Asks questions whose answering may crash a process, each in a separate process.

An answer is one line of JSON. The question `imports` writes one line when it begins a package and one when it has the
package's answer, so that a package that crashes the process is known. Every other question has one line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

#: Variables that packages read when they are imported; a value that the user has set stands.
_DEFAULTS = {"MLFLOW_DISABLE_TELEMETRY": "true", "RAY_USAGE_STATS_ENABLED": "0"}

#: Beginning of the text that reports a timeout.
NO_ANSWER = "no answer within"

#: Stands for an answer that is not there yet.
PENDING = "pending"

#: Modules that answer each question.
_ANSWERED_BY = {
    "torch": "sweeper.training.probe",
    "population": "sweeper.training.probe",
    "function": "sweeper.training.own_probe",
    "epoch": "sweeper.training.own_probe",
    "parts": "sweeper.training.own_parts",
    "imports": "sweeper.checks.probe",
    "browser": "sweeper.checks.probe",
    "cluster": "sweeper.checks.probe",
}


def ask(
    question: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None, given: str = ""
) -> list[Any]:
    """Ask a question in a separate process.

    Args:
        question: `["imports", PACKAGE, …]`, `["torch"]`, `["browser"]`, `["cluster", "HOST:PORT"]`, `["population"]`,
            which reads settings as JSON, `["function"]`, which reads the function's source, `["epoch"]`, which reads a
            job, or `["parts"]`, which reads settings and sources of a user's functions.
        timeout_s: Seconds after which to give up.
        environment: Variables that replace those of this process.
        given: Standard input of the process, for values that are too long for a command.

    Returns:
        The answers and, if the process failed or timed out, a text that says how it ended.
    """
    # The child gets this process's import path; by itself it would begin with the current folder.
    command = [sys.executable, "-P", "-m", _ANSWERED_BY[question[0]], *question]
    folders = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    try:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env={**_DEFAULTS, **os.environ, "PYTHONPATH": folders, **(environment or {})},
        )
        text, ended = done.stdout, "" if done.returncode == 0 else _how(done.returncode, done.stderr)
    except subprocess.TimeoutExpired as error:
        text = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else error.stdout or ""
        ended = f"{NO_ANSWER} {timeout_s:g} s"
    answers = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [*answers, ended] if ended else answers


def _how(code: int, errors: str) -> str:
    """Return how a process ended: its exit code or signal, and its last error line outside of a stack."""
    said = [line.strip() for line in errors.splitlines() if line[:1].strip() and not line.startswith(("/", "***"))]
    ended = f"the process ended by signal {-code}" if code < 0 else f"the process ended with {code}"
    return f"{ended}: {said[-1][:400]}" if said else ended


def answer(value: Mapping[str, Any]) -> None:
    """Write one line of an answer."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def serve(answers: Mapping[str, Callable[..., None]]) -> None:
    """Answer the question that this process was started with.

    Args:
        answers: Functions by question; each takes the question's other words.
    """
    question, *words = sys.argv[1:]
    answers[question](*words)
