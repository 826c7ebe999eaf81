"""Durable sweeps over networks that trade breadth, depth and time: Ray Tune places, Optuna keeps, MLflow shows."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeper import errors
    from sweeper.api import load_network, load_spec, load_sweep, plan, resume, run, steps
    from sweeper.driver.driver import Summary
    from sweeper.driver.estimate import Estimate
    from sweeper.execution.contract import Executor
    from sweeper.model import Network
    from sweeper.results.loaded_sweep import LoadedSweep
    from sweeper.spec import LoadedSpec
    from sweeper.tracking.reader import Reader
    from sweeper.tracking.recorder import Recorder

    __version__: str

__all__ = [
    "Estimate",
    "Executor",
    "LoadedSpec",
    "LoadedSweep",
    "Network",
    "Reader",
    "Recorder",
    "Summary",
    "__version__",
    "errors",
    "load_network",
    "load_spec",
    "load_sweep",
    "plan",
    "resume",
    "run",
    "steps",
]

#: Module of each public name, which is loaded when the name is first used.
_HOMES = {
    "load_network": "sweeper.api",
    "load_spec": "sweeper.api",
    "load_sweep": "sweeper.api",
    "plan": "sweeper.api",
    "resume": "sweeper.api",
    "run": "sweeper.api",
    "steps": "sweeper.api",
    "Estimate": "sweeper.driver.estimate",
    "Executor": "sweeper.execution.contract",
    "LoadedSpec": "sweeper.spec",
    "LoadedSweep": "sweeper.results.loaded_sweep",
    "Network": "sweeper.model",
    "Reader": "sweeper.tracking.reader",
    "Recorder": "sweeper.tracking.recorder",
    "Summary": "sweeper.driver.driver",
}


def __getattr__(name: str) -> object:
    """Return a public name and load its module; nothing slow is imported before that."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name == "errors":
        return importlib.import_module("sweeper.errors")
    if name == "__version__":
        return importlib.import_module("sweeper.provenance").own_version()
    raise AttributeError(f"module 'sweeper' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
