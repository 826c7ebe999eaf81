"""What a spec may choose by a word."""

from __future__ import annotations

from enum import StrEnum


class TimeSelection(StrEnum):
    """How a lattice decides after which step to answer."""

    FIXED = "fixed"
    CONFIDENCE = "confidence"
    STATE = "state"


#: What time selections were called in specs and settings that are stored, and what they are called now.
FORMER_TIME_SELECTIONS = {"adaptive": TimeSelection.CONFIDENCE}


class BottomUp(StrEnum):
    """When a layer of a lattice takes what the layer below says."""

    WITHIN = "within"
    NEXT = "next"


class Connections(StrEnum):
    """Which layers a layer of a lattice hears: those beside it in depth and itself, or the one below alone."""

    ALL = "all"
    FEED_FORWARD = "feed_forward"


class Standardize(StrEnum):
    """What is done to pixels before a network sees them."""

    IMAGES = "images"
    EACH = "each"
    NONE = "none"


class DegradationKind(StrEnum):
    """What makes images harder to see."""

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
        """The highest level, where it is a share; None where the level is no share."""
        return None if self in (DegradationKind.NOISE, DegradationKind.BLUR) else 1.0


def most_of(kind: DegradationKind | str) -> float | None:
    """Return the highest level of a degradation; None where there is no end of them, or a user has written it."""
    return kind.most if isinstance(kind, DegradationKind) else None


def called(kind: DegradationKind | str) -> str:
    """Return what a degradation is called: a user's own by its function alone."""
    return str(kind).rpartition(":")[2]


class WindowKind(StrEnum):
    """Whether the window of a lattice is given, or found while training."""

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
    """How the values of a searched parameter are spread, in W&B's words."""

    UNIFORM = "uniform"
    LOG_UNIFORM = "log_uniform_values"
    INT_UNIFORM = "int_uniform"
    CATEGORICAL = "categorical"


class Sampler(StrEnum):
    """What proposes the next settings of a search; each is Optuna's sampler of that name."""

    TPE = "tpe"
    NSGA2 = "nsga2"
    NSGA3 = "nsga3"
    GP = "gp"
    RANDOM = "random"
    QMC = "qmc"
