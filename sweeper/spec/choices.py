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


class WindowKind(StrEnum):
    """Whether the window of a lattice is given, or found while training."""

    FIXED = "fixed"
    AUTO = "auto"


class Solver(StrEnum):
    """How breadth and depth pressures act on the weights."""

    PROXIMAL = "proximal"
    BACKPROP = "backprop"


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
