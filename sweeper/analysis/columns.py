"""What the columns of fronts and trials mean, and in which units: docs/reference/columns.md is made of it."""

from __future__ import annotations

from collections.abc import Mapping

from sweeper.measurements import MEASUREMENTS

#: Columns written in front of exported fronts: name -> (unit, meaning). The unit is empty where there is none.
ORIGIN: Mapping[str, tuple[str, str]] = {
    "sweep": ("", "name of the sweep"),
    "front_version": ("", "which front of its task this is, counted from 1; 0 where it was computed and not stored"),
    "reference_point": ("", "the corner that bounds the hypervolume: a value per objective, in the objective's unit"),
}

#: Columns that say which setting a row of a front is.
POINT: Mapping[str, tuple[str, str]] = {
    "key": ("", "the trial with the lowest seed; its network is exported and shown by this key"),
    "keys": ("", "the trials of the setting, by seed"),
    "task": ("", "what was learned: data, classes and difficulty"),
    "replicates": ("count", "complete trials of the setting, one for each seed; measurements are their means"),
}

#: Columns that say which trial a row is, and how it ended.
TRIAL: Mapping[str, tuple[str, str]] = {
    "key": ("", "what names the trial everywhere: a hash of its setting"),
    "task": ("", "what was learned: data, classes and difficulty"),
    "state": ("", "complete, pruned or failed"),
    "outcome": ("", "how the trial ended, such as complete, pruned, timed_out or out_of_memory"),
    "reason": ("", "why it is not complete, at most 1000 characters; empty where it is"),
    "setting_key": ("", "what the replicates of a setting share: a hash of the setting without its seed"),
    "population": ("", "key of the population that it was trained in"),
    "number": ("", "position within the task, from 0"),
    "seed": ("", "seed of its random numbers"),
    "attempt": ("count", "how often its training was begun"),
    "started_ms": ("ms", "when its training began, in Unix time"),
    "ended_ms": ("ms", "when it ended, in Unix time"),
}

#: Columns at the end of both.
WALL_COLUMNS: Mapping[str, tuple[str, str]] = {
    "limited_breadth": ("", "whether the window, not the pressure, bounded the breadth; of a point: of any replicate"),
    "limited_depth": ("", "the same for the depth"),
    "limited_time": ("", "the same for the time"),
    "limited_memory": ("", "whether the limit on memory bounded a growing window"),
    "channels_per_layer": ("channels", "living channels of each layer from the image upwards; of a point: of `key`"),
}

#: Columns of answers to questions, beside those of fronts.
ANSWER: Mapping[str, tuple[str, str]] = {
    "role": ("", "what the row is in the answer, such as best, next, gained or dominated"),
    "on_front": ("", "whether the setting is on the front"),
    "why": ("", "of gained and lost settings: where the other sweep has them"),
    "seeds": ("", "the seeds of the replicates"),
}

#: Parameters that a sweep can vary; a column has the name of the parameter, or `setting.` and the name where that is
#: taken by a column above.
AXES: Mapping[str, tuple[str, str]] = {
    "data": ("", "`digits`, or the file of the images"),
    "test": ("", "the file of the held-out images"),
    "classes": ("count", "classes to tell apart"),
    "occlusion": ("share", "share of each image that is hidden"),
    "noise": ("pixel value", "standard deviation of the noise on each pixel, whose values are 0 to 1"),
    "train_images": ("count", "images trained on"),
    "test_images": ("count", "held-out images"),
    "window": ("", "whether the window is fixed or grows"),
    "channels": ("channels", "channels of a layer in the window"),
    "layers": ("layers", "layers of the window"),
    "steps": ("steps", "recurrent steps of the window"),
    "memory_mib": ("MiB", "what training one network with a growing window may take"),
    "kernel": ("pixels", "side of the convolutions"),
    "halve": ("", "layers whose images have half the side of those below"),
    "time_selection": ("", "how a network decides after which step to answer"),
    "epochs": ("epochs", "passes over the training images"),
    "batch_size": ("count", "images per update"),
    "learning_rate": ("", "step size of the optimizer"),
    "solver": ("", "how breadth and depth pressures act on the weights"),
    "step_loss": ("", "weight of the loss of every single step's answer"),
    "breadth_pressure": ("nats", "price of a channel of norm 1, times its rank"),
    "depth_pressure": ("nats", "price of a channel of norm 1, times the number of its layer"),
    "time_pressure": ("nats", "price of a step"),
}

_FIXED = {**TRIAL, **POINT, **ORIGIN, **ANSWER, **WALL_COLUMNS}


def unit(column: str) -> str:
    """Return the unit of a column; empty where it has none, or is not known."""
    if column in MEASUREMENTS:
        return MEASUREMENTS[column][0]
    if column in _FIXED:
        return _FIXED[column][0]
    if column.removesuffix("_sd") in MEASUREMENTS:
        return MEASUREMENTS[column.removesuffix("_sd")][0]
    return AXES.get(column.removeprefix("setting."), ("", ""))[0]
