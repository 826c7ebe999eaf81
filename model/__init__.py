"""Recurrent convolutional networks as finite windows of an infinite lattice: costs, counting, tasks, training.

Knows nothing of sweeps: `train` takes a task, a window, and the pressures of a population, and hands each
epoch's measurements to a callable.
"""

from sweeper.model.counting import cut, evaluate, measure, remove_dead
from sweeper.model.errors import CheckpointError, ModelError, NetworkFileError, TaskError, WindowError
from sweeper.model.examples import Thinking, most_bytes, png_problem, thinking_entries
from sweeper.model.graph import Graph, graph_of
from sweeper.model.growth import START_CHANNELS, START_STEPS, Growth
from sweeper.model.lattice import Lattice, LatticeAnswer, Window
from sweeper.model.network import Network, NetworkAnswer
from sweeper.model.network_file import decode, encode, load, save
from sweeper.model.population import End, Trained
from sweeper.model.settings import Pressures, TrainingSettings
from sweeper.model.tasks import Images, Task, TaskDefinition, load_task
from sweeper.model.training import Epoch, train

__all__ = [
    "START_CHANNELS",
    "START_STEPS",
    "CheckpointError",
    "End",
    "Epoch",
    "Graph",
    "Growth",
    "Images",
    "Lattice",
    "LatticeAnswer",
    "ModelError",
    "Network",
    "NetworkAnswer",
    "NetworkFileError",
    "Pressures",
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
    "encode",
    "evaluate",
    "graph_of",
    "load",
    "load_task",
    "measure",
    "most_bytes",
    "png_problem",
    "remove_dead",
    "save",
    "thinking_entries",
    "train",
]
