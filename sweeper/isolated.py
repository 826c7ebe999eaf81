"""Questions whose answer may end the process that asks: each is asked in a process of its own.

`python -m sweeper.probe imports torch ray` writes a line of JSON for each package when it begins with it and when it
has its answer, so that a package that takes the process down is known. `torch`, `browser`, `cluster HOST:PORT` and
`population`, which reads settings as JSON, write one line.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

#: What packages read when they are imported; a value that the user has set stands.
_DEFAULTS = {"MLFLOW_DISABLE_TELEMETRY": "true", "RAY_USAGE_STATS_ENABLED": "0"}

#: Written as the answer while there is none.
PENDING = "pending"


def ask(
    question: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None, given: str = ""
) -> list[Any]:
    """Ask in a process of its own.

    Args:
        question: Such as `["imports", "torch"]`.
        timeout_s: When to give up.
        environment: Takes the place of variables of this process.
        given: What is too long for a command; the process reads it.

    Returns:
        What was answered, and, where the process did not end well, a text that says how it ended.
    """
    command = [sys.executable, "-m", "sweeper.isolated", *question]
    folders = os.pathsep.join(folder for folder in sys.path if folder)  # the child finds what this process finds
    try:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env={**_DEFAULTS, **os.environ, "PYTHONPATH": folders, **(environment or {})},
        )
        text, ended = done.stdout, "" if done.returncode == 0 else _how(done.returncode, done.stderr)
    except subprocess.TimeoutExpired as error:
        text = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        ended = f"no answer within {timeout_s:g} s"
    answers = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [*answers, ended] if ended else answers


def _how(code: int, errors: str) -> str:
    """Return how a process ended: what it said last that is no frame of a stack, or its code."""
    said = [line.strip() for line in errors.splitlines() if line[:1].strip() and not line.startswith(("/", "***"))]
    ended = f"the process ended by signal {-code}" if code < 0 else f"the process ended with {code}"
    return f"{ended}: {said[-1][:400]}" if said else ended


def imports(names: Sequence[str]) -> None:
    """Import packages one after the other; what is raised is the true reason, whatever others make of it."""
    for name in names:
        _answer({"package": name, "error": PENDING})
        try:
            importlib.import_module(name)
        except BaseException as error:  # a package may raise anything, SystemExit included
            _answer({"package": name, "error": f"{type(error).__name__}: {error}"})
        else:
            _answer({"package": name, "error": ""})


def torch_build() -> None:
    """Say what torch was built for and which devices it sees."""
    from model.compute import torch_facts

    _answer(torch_facts())


def browser() -> None:
    """Say whether what draws pictures finds a browser; it starts none."""
    import kaleido
    from kaleido.errors import ChromeNotFoundError

    try:
        kaleido.Kaleido()
    except ChromeNotFoundError:
        _answer({"browser": False, "named": os.environ.get("BROWSER_PATH", "")})
    else:
        _answer({"browser": True, "named": os.environ.get("BROWSER_PATH", "")})


def cluster(address: str) -> None:
    """Ask a Ray head who it is, with the authentication that this process was started with."""
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled: it has no types
    from ray.exceptions import AuthenticationError, RayError

    try:
        head = GcsClient(address=address)
        found = json.loads(head.internal_kv_get(b"CLUSTER_METADATA", namespace=b"cluster", timeout=5) or b"{}")
    except AuthenticationError as error:
        _answer({"refused": error.message})
    except (RayError, RuntimeError, OSError, ValueError) as error:
        _answer({"error": f"{type(error).__name__}: {error}"})
    else:
        _answer({"ray": found.get("ray_version", ""), "python": found.get("python_version", "")})


def population(settings: str) -> None:
    """Train a population for a moment, and say what memory that took at most: of this process, and of no other."""
    from sweeper.spec import Setting
    from sweeper.training.forecast import probe

    _answer({"memory_bytes": probe([Setting.from_flat(flat) for flat in json.loads(settings)]).memory_bytes})


def _answer(value: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> None:
    """Answer one question."""
    question, *rest = arguments
    if question == "imports":
        imports(rest)
    elif question == "torch":
        torch_build()
    elif question == "browser":
        browser()
    elif question == "population":
        population(sys.stdin.read())
    else:
        cluster(*rest)


if __name__ == "__main__":
    main(sys.argv[1:])
