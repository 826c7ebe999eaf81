"""Answers questions about packages, browsers and clusters in a separate process; see `sweeper.isolated`."""

from __future__ import annotations

import importlib
import os

from sweeper.errors import ClusterError
from sweeper.isolated import PENDING, answer, serve


def imports(*names: str) -> None:
    """Import packages one by one, and answer with the true error of each."""
    for name in names:
        answer({"package": name, "error": PENDING})
        try:
            importlib.import_module(name)
        except BaseException as error:  # a package may raise anything, SystemExit included
            answer({"package": name, "error": f"{type(error).__name__}: {error}"})
        else:
            answer({"package": name, "error": ""})


def browser() -> None:
    """Answer whether kaleido, which draws pictures, finds a browser; start none."""
    import kaleido
    from kaleido.errors import ChromeNotFoundError

    try:
        kaleido.Kaleido()
    except ChromeNotFoundError:
        answer({"browser": False, "named": os.environ.get("BROWSER_PATH", "")})
    else:
        answer({"browser": True, "named": os.environ.get("BROWSER_PATH", "")})


def cluster(address: str) -> None:
    """Ask a Ray head for its versions, with the authentication of this process's environment."""
    from sweeper.execution.ray_private import head_facts

    try:
        found = head_facts(address)
    except ClusterError as error:
        answer({"unasked": str(error)})
    except Exception as error:  # any error of Ray means that the head does not answer
        if type(error).__name__ == "AuthenticationError":
            answer({"refused": getattr(error, "message", str(error))})
        else:
            answer({"error": f"{type(error).__name__}: {error}"})
    else:
        answer({"ray": found.get("ray_version", ""), "python": found.get("python_version", "")})


if __name__ == "__main__":
    serve({"imports": imports, "browser": browser, "cluster": cluster})
