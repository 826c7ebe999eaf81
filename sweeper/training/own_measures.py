"""A user's own measures: functions of a trained network and its task, (network, task) -> number."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeper import model
from sweeper.training.own_source import SourceError, function_of
from sweeper.training.own_trial import seed_everything

#: Largest number of images of each set that a measure is tried on.
_TRIED_ON = 200


class MeasureError(Exception):
    """Raised if a measure cannot be used; says why."""


@dataclass(frozen=True)
class OwnMeasure:
    """A measure that a user has written.

    Attributes:
        name: Name of the measure.
        function: Takes a network and its task, and returns a number.
    """

    name: str
    function: Callable[[model.Network, model.Task], Any]

    def __call__(self, network: model.Lattice, task: model.Task, seed: int) -> float:
        """Return the measure of a network; neither the network nor the task is changed.

        Args:
            network: A population of one, as training leaves it.
            task: Task of the network. The function does not get its test images, which must not decide anything.
            seed: Seed of the trial. It seeds `random`, `numpy` and `torch`, so that an interrupted sweep measures the
                same.

        Raises:
            MeasureError: If the function returns no number.
            Exception: Whatever the function raises.
        """
        seed_everything(seed, "measure", self.name)
        shown = replace(task, test=task.test.some(slice(0)))
        value = self.function(model.Network(deepcopy(network).to("cpu")), shown)
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise MeasureError(
                f"measure {self.name!r} must return a number, but returned {type(value).__name__} {value!r:.60}"
            ) from error


def measures_of(sources: Mapping[str, str], folder: str) -> list[OwnMeasure]:
    """Import the measures that a user has written.

    Args:
        sources: Source of each function, such as `module:function`, by name.
        folder: Folder that is searched for their modules first.

    Raises:
        SourceError: If there is no such function.
    """
    return [OwnMeasure(name, function_of(source, Path(folder), f"measures.{name}")) for name, source in sources.items()]


def try_measure(measure: OwnMeasure, window: model.Window, task: model.Task) -> None:
    """Try a measure on a new network, and on one that has lost all its channels.

    Raises:
        SourceError: If the measure raises, or returns no number.
    """
    few = replace(task, train=task.train.some(slice(_TRIED_ON)), validation=task.validation.some(slice(_TRIED_ON)))
    networks = {"a new network": window, "a network without a layer": window.resized((), window.steps)}
    for of, its in networks.items():
        lattice = model.Lattice(its, [0])
        if its.standardize == "images":
            lattice.standardize_by(*few.train.statistics)
        try:
            measure(lattice, few, 0)
        except MeasureError as error:
            raise SourceError(f"{error}, for {of}") from error
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{os.path.basename(frame.filename)}, line {frame.lineno}"
            raise SourceError(
                f"measure {measure.name!r} raised {type(error).__name__}: {error} for {of} ({where})"
            ) from error
