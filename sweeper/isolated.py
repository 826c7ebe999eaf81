"""Questions whose answer may end the process that asks: each is asked in a process of its own.

An answer is one line of JSON. `imports` writes a line for each package when it begins with it and when it has its
answer, so that a package that takes the process down is known; every other question has one line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

#: What packages read when they are imported; a value that the user has set stands.
_DEFAULTS = {"MLFLOW_DISABLE_TELEMETRY": "true", "RAY_USAGE_STATS_ENABLED": "0"}

#: How a text begins that says that nothing was answered in time.
NO_ANSWER = "no answer within"

#: Written as the answer while there is none.
PENDING = "pending"

#: Which program answers a question.
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
    """Ask in a process of its own.

    Args:
        question: `["imports", PACKAGE, …]`, `["torch"]`, `["browser"]`, `["cluster", "HOST:PORT"]`, `["population"]`,
            which reads settings as JSON, `["function"]`, which reads where it is, `["epoch"]`, which reads a job, or
            `["parts"]`, which reads settings and where a user's functions are.
        timeout_s: When to give up.
        environment: Takes the place of variables of this process.
        given: What is too long for a command; the process reads it.

    Returns:
        What was answered, and, where the process did not end well, a text that says how it ended.
    """
    # The child finds what this process finds, and nothing else: by itself it would begin with the current folder.
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
    """Return how a process ended: what it said last that is no frame of a stack, or its code."""
    said = [line.strip() for line in errors.splitlines() if line[:1].strip() and not line.startswith(("/", "***"))]
    ended = f"the process ended by signal {-code}" if code < 0 else f"the process ended with {code}"
    return f"{ended}: {said[-1][:400]}" if said else ended


def answer(value: Mapping[str, Any]) -> None:
    """Write one line of an answer."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def serve(answers: Mapping[str, Callable[..., None]]) -> None:
    """Answer the question that this process was started with; each function takes the question's other words."""
    question, *words = sys.argv[1:]
    answers[question](*words)
