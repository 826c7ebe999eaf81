"""Errors in a model's input; their messages are written for users."""

from __future__ import annotations

from pathlib import Path


class ModelError(ValueError):
    """Base of every error of this package."""


class WindowError(ModelError):
    """The lattice's window cannot exist, or does not fit the images."""


class TaskError(ModelError):
    """The images or labels of a task cannot be read, or lack what the task asks for."""


class CostError(ModelError):
    """A user's cost returns values that no network can be trained with."""


class LesionError(ModelError):
    """A part to be removed from a network does not exist."""


class CheckpointError(ModelError):
    """A training state does not belong to this population."""


class NetworkFileError(ModelError):
    """A file holds no usable network, or is damaged.

    Attributes:
        problem: The rest of a sentence that begins with the file's name.
    """

    def __init__(
        self, path: Path, problem: str, way_out: str = "Copy it again, or write it again with `sweeper export`."
    ) -> None:
        super().__init__(f"{path} {problem}. {way_out}")
        self.problem = problem
