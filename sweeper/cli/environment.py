"""Environment variables with the places of homes, MLflow, storage and clusters, for the command line and Python."""

from __future__ import annotations

import os

HOME = "SWEEPER_HOME"
TRACKING_URI = "MLFLOW_TRACKING_URI"
STORAGE = "SWEEPER_STORAGE"
LEDGER = "SWEEPER_LEDGER"
ADDRESS = "RAY_ADDRESS"
JOBS_ADDRESS = "RAY_API_SERVER_ADDRESS"

#: The home if neither an option nor a variable names one.
DEFAULT_HOME = "sweeps"


def named(value: str | None, variable: str) -> str | None:
    """Return the caller's value, or else the variable's; an empty variable counts as unset."""
    return os.environ.get(variable) or None if value is None else value
