"""The measurements of a trained network, and the objectives and bounds that refer to them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Goal(StrEnum):
    """Direction of an objective, in the terms of the YAML file."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"

    @property
    def arrow(self) -> str:
        """Arrow towards better values, for people."""
        return "↑" if self is Goal.MAXIMIZE else "↓"


@dataclass(frozen=True)
class Measurement:
    """One of the numbers that a trained network is measured by.

    Attributes:
        name: Its name everywhere: column, objective, MLflow metric, entry of a network's file.
        unit: Unit of its values.
        meaning: Its meaning, as a phrase that follows its name.
        digits: Number of decimals shown to people; programs get all of them.
        is_whole: Whether its value is a whole number for each network; a mean over networks need not be one.
        label: Its name beside a picture of one network.
        decides: Whether anything may be decided by it; values measured on the test images are only reported.
        better: Direction of better values; None if neither is better.
        least: Least possible value of a working network.
    """

    name: str
    unit: str
    meaning: str
    digits: int = 2
    is_whole: bool = False
    label: str = ""
    decides: bool = True
    better: Goal | None = Goal.MINIMIZE
    least: float = 0.0

    @property
    def most(self) -> float:
        """Largest possible value."""
        return 1.0 if self.unit == "share" else math.inf


@dataclass(frozen=True)
class Wall:
    """An outside bound of a network, reported beside every point: 1 if the network has reached it.

    Attributes:
        name: Its name everywhere: column, MLflow metric.
        meaning: Its meaning, as a phrase that follows its name.
        is_window: Whether the bound is the lattice's window; otherwise it is the memory limit on the window itself.
    """

    name: str
    meaning: str
    is_window: bool = True

    @property
    def axis(self) -> str:
        """The bounded quantity in one word; tables show its first letter."""
        return self.name.removeprefix("limited_")


#: Measurements of a trained network, by name. Any that `decides` may be an objective. A new one needs an entry here,
#: and a value in the result of a training; it reads as null in sweeps that were stored before.
MEASUREMENTS: Mapping[str, Measurement] = {
    one.name: one
    for one in (
        # Unless their meaning says otherwise, these are of the network in use: each image halts by the network's own
        # rule, at the first step at which half of its step distribution is reached.
        Measurement(
            "accuracy",
            "share",
            "share of validation images answered right at halting",
            digits=3,
            label="accuracy, validation",
            better=Goal.MAXIMIZE,
        ),
        Measurement("loss", "nats", "mean negative log-likelihood of the validation labels at halting", digits=3),
        Measurement(
            "breadth",
            "channels",
            "living channels of the widest living layer",
            digits=1,
            is_whole=True,
            label="breadth, channels",
            least=1,
        ),
        Measurement("channels", "channels", "living channels in all layers together", digits=0, is_whole=True, least=1),
        Measurement(
            "depth", "layers", "the deepest living layer", digits=1, is_whole=True, label="depth, layers", least=1
        ),
        Measurement(
            "time",
            "steps",
            "mean number of recurrent steps over validation images until halting",
            label="time, steps",
            least=1,
        ),
        Measurement(
            "time_p95",
            "steps",
            "number of steps by which 95 % of the validation images have halted",
            is_whole=True,
            least=1,
        ),
        Measurement(
            "expected_time", "steps", "mean over validation images of the expected step, which training prices", least=1
        ),
        Measurement(
            "mixture_accuracy",
            "share",
            "share right of the mixture of all steps' answers, which takes them all",
            digits=3,
            better=Goal.MAXIMIZE,
        ),
        Measurement("mixture_loss", "nats", "mean negative log-likelihood of the labels in that mixture", digits=3),
        Measurement("last_accuracy", "share", "share right of the last step's answer", digits=3, better=Goal.MAXIMIZE),
        Measurement(
            "steps_by_confidence",
            "share",
            "squared rank correlation over validation images of the expected step with confidence: what that alone "
            "explains; null where steps do not depend on the image",
            better=None,
        ),
        Measurement("parameters", "count", "living weights", digits=0, is_whole=True),
        Measurement(
            "macs", "multiply-accumulates per image", "for the steps until halting", digits=0, label="MACs per image"
        ),
        Measurement("updates", "count", "training steps that it took", digits=0, is_whole=True),
        Measurement("epochs", "epochs", "passes over the training images that it took", digits=1),
        Measurement(
            "objective",
            "nats",
            "what training is to make small: `training_loss`, and each cost times its pressure",
            digits=3,
        ),
        Measurement(
            "training_loss", "nats", "what the training images lose, on which nothing is decided but training", digits=3
        ),
        Measurement("cost_breadth", "cost", "what channels cost by their rank in their layer, as the solver prices it"),
        Measurement("cost_depth", "cost", "what channels cost by the number of their layer, as the solver prices it"),
        Measurement("cost_time", "cost", "what time costs: the mean expected step over training images"),
        Measurement(
            "test_accuracy",
            "share",
            "share of test images answered right",
            digits=3,
            label="accuracy, test",
            decides=False,
            better=Goal.MAXIMIZE,
        ),
        Measurement(
            "test_accuracy_se",
            "share",
            "standard error of `test_accuracy` for the number of test images; of a point: mean over the replicates",
            digits=3,
            decides=False,
        ),
        Measurement("test_loss", "nats", "mean negative log-likelihood of the test labels", digits=3, decides=False),
        Measurement("test_time", "steps", "what `time` is, over test images", decides=False, least=1),
    )
}


#: Measurements that may be optimised, bounded or asked for the best of, by name.
DECIDING: Mapping[str, Measurement] = {name: one for name, one in MEASUREMENTS.items() if one.decides}

#: The reason why the other measurements may not.
DECIDES_NOTHING = "it is measured on the test images, which decide nothing"


def deciding_twin(name: str) -> str:
    """Return the name of the measurement on validation images that corresponds to `name` on test images."""
    return name.removeprefix("test_").removesuffix("_se")


#: Bounds of a network in addition to the pressures, by name.
WALLS: Mapping[str, Wall] = {
    one.name: one
    for one in (
        Wall(
            "limited_breadth", "whether the window, not the pressure, bounded the breadth; of a point: of any replicate"
        ),
        Wall("limited_depth", "the same for the depth"),
        Wall("limited_time", "the same for the time"),
        Wall("limited_memory", "whether the limit on memory bounded a growing window", is_window=False),
    )
}


#: Columns of trials, points and answers that are no measurements. A user's own measure cannot have such a name. An
#: argument of a user's own function with such a name is written as `setting.<name>`.
TAKEN = frozenset({
    *("sweep", "front_version", "reference_point", "key", "keys", "task", "replicates", "state", "outcome", "reason"),
    *("setting_key", "population", "number", "seed", "attempt", "started_ms", "ended_ms", "code", "channels_per_layer"),
    *("role", "on_front", "why", "seeds", "epoch", "wall"),
    *WALLS,
})


def touched(values: Mapping[str, object]) -> list[Wall]:
    """Return the walls that a network has reached, given its values by name."""
    return [wall for name, wall in WALLS.items() if values.get(name)]


#: Units of the means over test images that are measured under each probe, by the last part of their names.
PROBED: Mapping[str, str] = {"accuracy": "share", "time": "steps", "confidence": "share"}

_PROBE, _LESION, _COMPLEXITY = "probe.", "lesion.", "complexity."

#: Meanings of the measurements of a task itself, by the last part of their names.
COMPLEXITY: Mapping[str, str] = {
    "regression": "share of test images that a multinomial regression on pixels gets wrong",
    "neighbour": "share of test images that the nearest neighbour gets wrong",
}


def probe_name(kind: str, level: float, what: str) -> str:
    """Return the name of a mean under a probe, such as `probe.debris.0.25.accuracy`.

    Args:
        kind: Kind of the degradation, or `whole` for images as they are.
        level: Level of the degradation; 0 for `whole`.
        what: One of `PROBED`.
    """
    return f"{_PROBE}{kind}.{level:.12g}.{what}"


def lesion_name(lesion: str, what: str) -> str:
    """Return the name of a mean of a network without some parts, such as `lesion.top_down.accuracy`.

    Args:
        lesion: The removed parts, as `lesion.lesion_column` writes them.
        what: One of `PROBED`.
    """
    return f"{_LESION}{lesion}.{what}"


def complexity_name(what: str) -> str:
    """Return the full name of one of `COMPLEXITY`, such as `complexity.regression`."""
    return f"{_COMPLEXITY}{what}"


def is_probe(name: str) -> bool:
    """Return whether a value is of a probe, a lesion or the task itself, so on test images and never deciding."""
    return name.startswith((_PROBE, _LESION, _COMPLEXITY))


def probe_unit(name: str) -> str:
    """Return the unit of a value that was measured under a probe, with a lesion, or of the task."""
    what = name.rpartition(".")[2]
    return "share" if name.startswith(_COMPLEXITY) else PROBED.get(what, "")


def probe_order(name: str) -> tuple[int, str, float, str]:
    """Return a sort key for such names: probes by kind, level and name, then lesions, then the task."""
    family, _, rest = name.partition(".")
    kind, _, what = rest.rpartition(".")
    if f"{family}." != _PROBE:
        return 1 + (f"{family}." == _COMPLEXITY), kind, 0.0, what
    kind, _, level = kind.partition(".")
    return 0, kind, float(level), what


@dataclass(frozen=True)
class Objective:
    """A named number to optimise and its direction."""

    name: str
    goal: Goal


@dataclass(frozen=True)
class Bound:
    """A condition on a measurement, such as `accuracy >= 0.95`.

    Attributes:
        name: One of `MEASUREMENTS`.
        is_least: Whether `value` is the smallest allowed value; otherwise it is the largest.
    """

    name: str
    is_least: bool
    value: float

    def excess(self, measured: float) -> float:
        """Return by how much a measurement breaks the condition, in the measurement's unit; 0 or less if it is met."""
        return self.value - measured if self.is_least else measured - self.value

    def __str__(self) -> str:
        return f"{self.name} {'>=' if self.is_least else '<='} {self.value:g}"
