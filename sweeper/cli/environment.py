"""The variables that say where everything is: they mean the same in a shell and in Python."""

from __future__ import annotations

import os

HOME = "SWEEPER_HOME"
TRACKING_URI = "MLFLOW_TRACKING_URI"
STORAGE = "SWEEPER_STORAGE"
LEDGER = "SWEEPER_LEDGER"
ADDRESS = "RAY_ADDRESS"
JOBS_ADDRESS = "RAY_API_SERVER_ADDRESS"

#: The home where neither an option nor a variable names one.
DEFAULT_HOME = "sweeps"


def named(value: str | None, variable: str) -> str | None:
    """Return what was named: by the caller, or else by a variable; an empty variable names nothing."""
    return os.environ.get(variable) or None if value is None else value
