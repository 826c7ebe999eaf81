"""Answers about packages, browsers and clusters, each given in a process of its own: see `sweeper.isolated`."""

from __future__ import annotations

import importlib
import json
import os

from sweeper.isolated import PENDING, answer, serve


def imports(*names: str) -> None:
    """Import packages one after the other; what is raised is the true reason, whatever others make of it."""
    for name in names:
        answer({"package": name, "error": PENDING})
        try:
            importlib.import_module(name)
        except BaseException as error:  # a package may raise anything, SystemExit included
            answer({"package": name, "error": f"{type(error).__name__}: {error}"})
        else:
            answer({"package": name, "error": ""})


def browser() -> None:
    """Say whether what draws pictures finds a browser; it starts none."""
    import kaleido
    from kaleido.errors import ChromeNotFoundError

    try:
        kaleido.Kaleido()
    except ChromeNotFoundError:
        answer({"browser": False, "named": os.environ.get("BROWSER_PATH", "")})
    else:
        answer({"browser": True, "named": os.environ.get("BROWSER_PATH", "")})


def cluster(address: str) -> None:
    """Ask a Ray head who it is, with the authentication that this process was started with."""
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled: it has no types
    from ray.exceptions import AuthenticationError, RayError

    try:
        head = GcsClient(address=address)
        found = json.loads(head.internal_kv_get(b"CLUSTER_METADATA", namespace=b"cluster", timeout=5) or b"{}")
    except AuthenticationError as error:
        answer({"refused": error.message})
    except (RayError, RuntimeError, OSError, ValueError) as error:
        answer({"error": f"{type(error).__name__}: {error}"})
    else:
        answer({"ray": found.get("ray_version", ""), "python": found.get("python_version", "")})


if __name__ == "__main__":
    serve({"imports": imports, "browser": browser, "cluster": cluster})
