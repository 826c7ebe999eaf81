"""Defines meanings and units of the columns of fronts and trials; `sweeper.measurements` defines the measured ones.

Tables, pictures, exported files and docs/reference/columns.md take them from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sweeper.measurements import MEASUREMENTS, WALLS, is_probe, probe_unit


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: Its name in files and conditions.
        unit: Unit of its values; empty if they have none.
        meaning: Its meaning, as a phrase that follows its name.
        title: Its name in tables for people; empty if it is the same.
    """

    name: str
    unit: str
    meaning: str
    title: str = ""


def _columns(*columns: Column) -> Mapping[str, Column]:
    return {column.name: column for column in columns}


#: Columns written in front of exported fronts.
ORIGIN: Mapping[str, Column] = _columns(
    Column("sweep", "", "name of the sweep"),
    Column(
        "front_version", "", "which front of its task this is, counted from 1; 0 where it was computed and not stored"
    ),
    Column(
        "reference_point", "", "the corner that bounds the hypervolume: a value per objective, in the objective's unit"
    ),
)

#: Columns that identify the setting in a row of a front.
POINT: Mapping[str, Column] = _columns(
    Column("key", "", "the trial with the lowest seed; its network is exported and shown by this key"),
    Column("keys", "", "the trials of the setting, by seed"),
    Column("task", "", "what was learned: data, classes and difficulty"),
    Column(
        "replicates",
        "count",
        "complete trials of the setting, one for each seed; measurements are their means",
        title="seeds",
    ),
    Column(
        "code",
        "",
        "version of the user's own code that its trials were trained under, joined by + where there were several; only "
        "where a sweep has such code",
    ),
)

#: Columns that identify the trial in a row, and say how it ended.
TRIAL: Mapping[str, Column] = _columns(
    Column("key", "", "what names the trial everywhere: a hash of its setting"),
    Column("task", "", "what was learned: data, classes and difficulty"),
    Column("state", "", "complete, pruned or failed"),
    Column("outcome", "", "how the trial ended, such as complete, pruned, timed_out or out_of_memory"),
    Column("reason", "", "why it is not complete, at most 1000 characters; empty where it is"),
    Column("setting_key", "", "what the replicates of a setting share: a hash of the setting without its seed"),
    Column("population", "", "key of the population that it was trained in"),
    Column("number", "", "position within the task, from 0"),
    Column("seed", "", "seed of its random numbers"),
    Column("attempt", "count", "how often its training was begun"),
    Column("started_ms", "ms", "when its training began, in Unix time"),
    Column("ended_ms", "ms", "when it ended, in Unix time"),
    Column(
        "code",
        "",
        "version of the user's own code that it was trained under, joined by + where it was under several; only where "
        "a sweep has such code",
    ),
)

#: Columns at the end of fronts and of trials.
WALL_COLUMNS: Mapping[str, Column] = _columns(
    *(Column(wall.name, "", wall.meaning) for wall in WALLS.values()),
    Column(
        "channels_per_layer",
        "channels",
        "living channels of each layer from the image upwards; of a point: of `key`",
        title="layers",
    ),
)

#: Further columns of answers to questions, beside those of fronts.
ANSWER: Mapping[str, Column] = _columns(
    Column("role", "", "what the row is in the answer, such as best, next, gained or dominated"),
    Column("on_front", "", "whether the setting is on the front", title="front"),
    Column("why", "", "of gained and lost settings: where the other sweep has them"),
    Column("seeds", "", "the seeds of the replicates"),
)

#: Columns of a network's answers to the images of a file.
SEEN: Mapping[str, Column] = _columns(
    Column("image", "", "number of the row in the file, from 0"),
    Column("path", "", "what the file says under `path` in its image column; only where it does"),
    Column("label", "", "as the file has it; only where it has a column `label`"),
    Column("answer", "", "label of the class that the network takes the image for, as its data have it"),
    Column("right", "", "whether that is the label; null where the label is missing or none that the network learned"),
    Column("steps", "steps", "until the network halts by its own rule"),
    Column("expected_steps", "steps", "those of its distribution over steps"),
    Column("confidence", "share", "probability of its answer when it halts"),
    Column("first_confidence", "share", "probability of the most likely class after the first step"),
    Column("last_confidence", "share", "the same after the last step"),
    Column(
        "uncertainty",
        "steps",
        "entropy of the readout, as a share of the most there can be, summed over all steps",
    ),
    Column("brightness", "share", "mean pixel"),
    Column("edges", "share", "of its pairs of neighbouring pixels those that differ by more than 0.1"),
)

#: Further columns if every step of an image has a row.
SEEN_BY_STEP: Mapping[str, Column] = _columns(
    Column("step", "steps", "number of the step, from 1"),
    Column("step_probability", "share", "that the network answers after exactly this step"),
    Column("step_answer", "", "label of the most likely class after this step, whether or not the network has halted"),
    Column("step_right", "", "whether that is the label, as for `right`"),
    Column("step_confidence", "share", "probability of that class"),
    Column("step_uncertainty", "share", "entropy of the readout as a share of the most there can be"),
    Column("probability.LABEL", "share", "probability of the class of each label that the network learned"),
)

#: Parameters of the task.
TASK_AXES: Mapping[str, Column] = _columns(
    Column("data", "", "`digits`, or where the images are"),
    Column("validation", "", "where the images are that decide"),
    Column("test", "", "where the images are that are reported and decide nothing"),
    Column("image_column", "", "the column of a table that holds the images"),
    Column("label_column", "", "the column of a table that holds the labels"),
    Column("resize", "pixels", "the shorter side of each image, or its height and width"),
    Column("crop", "pixels", "what is kept of the middle of each image: a square's side, or height and width"),
    Column("background", "", "what transparent images are laid on"),
    Column("classes", "count", "classes to tell apart, or the labels or names of those that are"),
    Column("class_seed", "", "which classes are drawn, where their number is given"),
    Column("occlusion", "share", "share of each image that is hidden"),
    Column("noise", "pixel value", "standard deviation of the noise on each pixel, whose values are 0 to 1"),
    Column("degradation", "", "what else makes images harder to see"),
    Column("level", "", "how much of the degradation: a share, pixel values of noise, pixels of blur"),
    Column("standardize", "", "how pixels are standardised"),
    Column("train_images", "count", "images trained on"),
    Column("validation_images", "count", "images that decide"),
    Column("test_images", "count", "images that are reported and decide nothing"),
)

#: Parameters that a sweep can vary. A column has the parameter's name, with `setting.` before it if a column above has
#: that name already.
AXES: Mapping[str, Column] = _columns(
    *TASK_AXES.values(),
    Column("window", "", "whether the window is fixed or grows"),
    Column("channels", "channels", "channels of a layer in the window"),
    Column("layers", "layers", "layers of the window"),
    Column("steps", "steps", "recurrent steps of the window"),
    Column("memory_mib", "MiB", "what training one network with a growing window may take"),
    Column("kernel", "pixels", "side of the convolutions"),
    Column("halve", "", "layers whose images have half the side of those below"),
    Column("time_selection", "", "how a network decides after which step to answer"),
    Column("bottom_up", "", "whether a layer takes what the one below says within the step or at the next"),
    Column("connections", "", "whether there are lateral and top-down weights beside the bottom-up ones"),
    Column("updates", "count", "training steps"),
    Column("epochs", "epochs", "passes over the training images"),
    Column("until", "", "whether a network's training ends with the budget or once it has settled"),
    Column("batch_size", "count", "images per update"),
    Column("learning_rate", "", "step size of the optimizer"),
    Column("solver", "", "how breadth and depth pressures act on a network"),
    Column("step_loss", "", "weight of the loss of every single step's answer"),
    Column("epoch_images", "count", "validation images that networks are measured on after each epoch"),
    Column("breadth_pressure", "nats", "price of a channel, times its rank (of norm 1, where norms are priced)"),
    Column(
        "depth_pressure", "nats", "price of a channel, times its layer's number (of norm 1, where norms are priced)"
    ),
    Column("time_pressure", "nats", "price of a step"),
)

#: Columns of measurements.
MEASURED: Mapping[str, Column] = _columns(*(Column(m.name, m.unit, m.meaning) for m in MEASUREMENTS.values()))

_FIXED = {**TRIAL, **POINT, **ORIGIN, **ANSWER, **WALL_COLUMNS}


def unit(column: str) -> str:
    """Return the unit of a column; empty if it has none or the column is unknown."""
    if column in MEASUREMENTS:
        return MEASUREMENTS[column].unit
    if is_probe(column):
        return probe_unit(column)
    if column in _FIXED:
        return _FIXED[column].unit
    if column.removesuffix("_sd") in MEASUREMENTS:
        return MEASUREMENTS[column.removesuffix("_sd")].unit
    if (axis := AXES.get(column.removeprefix("setting."))) is not None:
        return axis.unit
    # A user's own costs and their pressures have the units of the built-in ones.
    if column.removesuffix("_sd").startswith("cost_"):
        return MEASUREMENTS["cost_time"].unit
    return AXES["time_pressure"].unit if column.endswith("_pressure") else ""


def seen_unit(column: str) -> str:
    """Return the unit of a column of a network's answers; empty if it has none."""
    named = "probability.LABEL" if column.startswith("probability.") else column
    found = SEEN.get(named) or SEEN_BY_STEP.get(named)
    return found.unit if found else ""


def title(column: str) -> str:
    """Return a column's name in tables for people."""
    known = None if column in MEASUREMENTS else _FIXED.get(column)
    return known.title or column if known else column
