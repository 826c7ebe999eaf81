"""Recurrent convolutional networks as finite windows of an infinite lattice: costs, counting, tasks, training.

Knows nothing of sweeps: `train` takes a task, a window, and the pressures of a population, and hands each
epoch's measurements to a callable.
"""

from model.counting import cut, evaluate, measure, remove_dead
from model.errors import CheckpointError, ModelError, NetworkFileError, TaskError, WindowError
from model.examples import Thinking, most_bytes, png_problem, thinking_entries
from model.graph import Graph, graph_of
from model.growth import START_CHANNELS, START_STEPS, Growth
from model.lattice import Answer, Lattice, Window
from model.network import Network, NetworkAnswer
from model.network_file import decode, encode, load, save
from model.population import End, Trained
from model.settings import Pressures, TrainingSettings
from model.tasks import Images, Task, TaskDefinition, load_task
from model.training import Epoch, train

__all__ = [
    "START_CHANNELS",
    "START_STEPS",
    "Answer",
    "CheckpointError",
    "End",
    "Epoch",
    "Graph",
    "Growth",
    "Images",
    "Lattice",
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
