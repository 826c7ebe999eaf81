"""The words that a spec may choose from."""

from __future__ import annotations

from enum import StrEnum


class TimeSelection(StrEnum):
    """How a lattice decides after which step to answer."""

    FIXED = "fixed"
    CONFIDENCE = "confidence"
    STATE = "state"


#: Former name of a time selection, in stored specs and settings -> its current name.
FORMER_TIME_SELECTIONS = {"adaptive": TimeSelection.CONFIDENCE}


class BottomUp(StrEnum):
    """When a layer of a lattice takes the output of the layer below."""

    WITHIN = "within"
    NEXT = "next"


class Connections(StrEnum):
    """Which layers feed a layer of a lattice: its neighbours in depth and itself, or only the layer below."""

    ALL = "all"
    FEED_FORWARD = "feed_forward"


class Standardize(StrEnum):
    """How pixels are standardised before a network sees them."""

    IMAGES = "images"
    EACH = "each"
    NONE = "none"


class DegradationKind(StrEnum):
    """Degradation that makes images harder to see."""

    OCCLUDE_GREY = "occlude_grey"
    OCCLUDE_BLACK = "occlude_black"
    OCCLUDE_BESIDE = "occlude_beside"
    DEBRIS = "debris"
    CLUTTER = "clutter"
    NOISE = "noise"
    BLUR = "blur"
    CONTRAST = "contrast"
    PHASE_SCRAMBLE = "phase_scramble"
    BLANK = "blank"

    @property
    def most(self) -> float | None:
        """The highest level if levels are shares; None if they are not."""
        return None if self in (DegradationKind.NOISE, DegradationKind.BLUR) else 1.0


def most_of(kind: DegradationKind | str) -> float | None:
    """Return the highest level of a degradation; None for unlimited levels and for a user's own degradation."""
    return kind.most if isinstance(kind, DegradationKind) else None


def called(kind: DegradationKind | str) -> str:
    """Return the name of a degradation; the name of a user's own is that of its function."""
    return str(kind).rpartition(":")[2]


class WindowKind(StrEnum):
    """Whether the window of a lattice is given or found in training."""

    FIXED = "fixed"
    AUTO = "auto"


class Solver(StrEnum):
    """How breadth and depth pressures act on a network."""

    ELIMINATION = "elimination"
    PROXIMAL = "proximal"
    BACKPROP = "backprop"


class Until(StrEnum):
    """When a training ends."""

    BUDGET = "budget"
    SETTLED = "settled"


class Distribution(StrEnum):
    """Distribution of a searched parameter's values, in W&B's words."""

    UNIFORM = "uniform"
    LOG_UNIFORM = "log_uniform_values"
    INT_UNIFORM = "int_uniform"
    CATEGORICAL = "categorical"


class Sampler(StrEnum):
    """Sampler that proposes the next settings of a search: Optuna's sampler of that name."""

    TPE = "tpe"
    NSGA2 = "nsga2"
    NSGA3 = "nsga3"
    GP = "gp"
    RANDOM = "random"
    QMC = "qmc"
