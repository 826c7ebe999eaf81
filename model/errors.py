"""What can be wrong with a model's input; the messages are written to be shown to a user."""

from __future__ import annotations

from pathlib import Path


class ModelError(ValueError):
    """Base of every error of this room."""


class WindowError(ModelError):
    """The lattice's window cannot exist, or does not fit the images."""


class TaskError(ModelError):
    """The images or labels of a task cannot be read, or do not hold what is asked of them."""


class CostError(ModelError):
    """A cost that a user has written returns what no network can be trained with."""


class LesionError(ModelError):
    """A part that is to be taken out of a network is none that networks have."""


class CheckpointError(ModelError):
    """A training state does not belong to this population."""


class NetworkFileError(ModelError):
    """A file holds no network that can be used, or is damaged.

    Attributes:
        problem: What is wrong, as it follows the file's name in a sentence.
    """

    def __init__(
        self, path: Path, problem: str, way_out: str = "Copy it again, or write it again with `sweeper export`."
    ) -> None:
        super().__init__(f"{path} {problem}. {way_out}")
        self.problem = problem
