"""Recurrent convolutional networks as finite windows of an infinite lattice: costs, counting, tasks, training.

Knows nothing of sweeps: `train` takes a task, a window, and the pressures of a population, and hands each
epoch's measurements to a callable.

A name's file is loaded when the name is first used, so a program that uses no network does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeper.model.counting import Evaluation, cut, evaluate, measure, remove_dead
    from sweeper.model.errors import CheckpointError, CostError, ModelError, NetworkFileError, TaskError, WindowError
    from sweeper.model.examples import Thinking, most_bytes, thinking_entries
    from sweeper.model.graph import Graph, graph_of
    from sweeper.model.growth import START_CHANNELS, START_STEPS, Growth
    from sweeper.model.halting import HaltedAnswer
    from sweeper.model.images import Images
    from sweeper.model.lattice import Lattice, LatticeAnswer
    from sweeper.model.network import Network, NetworkAnswer
    from sweeper.model.network_file import decode, encode, load, save
    from sweeper.model.own_costs import OwnCost
    from sweeper.model.picture import png_problem
    from sweeper.model.population import End, Trained
    from sweeper.model.saved_network import SavedNetwork, decode_saved, read_saved
    from sweeper.model.settings import Pressures, TrainingSettings
    from sweeper.model.tasks import Task, TaskDefinition, load_task
    from sweeper.model.training import Epoch, train
    from sweeper.model.window import Window

__all__ = [
    "START_CHANNELS",
    "START_STEPS",
    "CheckpointError",
    "CostError",
    "End",
    "Epoch",
    "Evaluation",
    "Graph",
    "Growth",
    "HaltedAnswer",
    "Images",
    "Lattice",
    "LatticeAnswer",
    "ModelError",
    "Network",
    "NetworkAnswer",
    "NetworkFileError",
    "OwnCost",
    "Pressures",
    "SavedNetwork",
    "Task",
    "TaskDefinition",
    "TaskError",
    "Thinking",
    "Trained",
    "TrainingSettings",
    "Window",
    "WindowError",
    "cut",
    "decode",
    "decode_saved",
    "encode",
    "evaluate",
    "graph_of",
    "load",
    "load_task",
    "measure",
    "most_bytes",
    "png_problem",
    "read_saved",
    "remove_dead",
    "save",
    "thinking_entries",
    "train",
]

#: Public name -> module that defines it.
_HOMES = {
    "START_CHANNELS": "growth",
    "START_STEPS": "growth",
    "LatticeAnswer": "lattice",
    "CheckpointError": "errors",
    "CostError": "errors",
    "End": "population",
    "Epoch": "training",
    "Evaluation": "counting",
    "Graph": "graph",
    "Growth": "growth",
    "HaltedAnswer": "halting",
    "Images": "images",
    "Lattice": "lattice",
    "ModelError": "errors",
    "Network": "network",
    "NetworkAnswer": "network",
    "NetworkFileError": "errors",
    "OwnCost": "own_costs",
    "Pressures": "settings",
    "SavedNetwork": "saved_network",
    "Task": "tasks",
    "TaskDefinition": "tasks",
    "TaskError": "errors",
    "Thinking": "examples",
    "Trained": "population",
    "TrainingSettings": "settings",
    "Window": "window",
    "WindowError": "errors",
    "cut": "counting",
    "decode": "network_file",
    "decode_saved": "saved_network",
    "encode": "network_file",
    "evaluate": "counting",
    "graph_of": "graph",
    "load": "network_file",
    "load_task": "tasks",
    "measure": "counting",
    "most_bytes": "examples",
    "png_problem": "picture",
    "read_saved": "saved_network",
    "remove_dead": "counting",
    "save": "network_file",
    "thinking_entries": "examples",
    "train": "training",
}

if not TYPE_CHECKING:  # type checkers see the imports above, and so report unknown names

    def __getattr__(name: str) -> object:
        """Return a public name, loading its file."""
        if name in _HOMES:
            return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
