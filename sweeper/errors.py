"""The exception tree. A message states the rule, the value, the place and the way out.

SweepError               base: the command line prints it in one piece and exits with 2
├── SpecError            (ValueError)    the YAML file, or a value in it, is wrong
├── SpecMismatchError    (ValueError)    the name exists, planned from another spec
├── UnknownSweepError    (LookupError)   no sweep, task or trial of that name
├── SweepBusyError       (RuntimeError)  another driver works on this sweep
├── QueryError           (ValueError)    a condition or format that cannot be understood
│   └── DamagedError             a stored part of a sweep is damaged
├── NoNetworkError       (LookupError)   a trial has left no network
├── PictureError         (RuntimeError)  the browser that draws picture files is missing or fails
├── TrackingError        (RuntimeError)  MLflow cannot be reached or holds no such sweep
├── ClusterError         (RuntimeError)  Ray cannot be started or reached, or cannot hold the work
│   └── ClusterLostError         Ray died during a sweep; resuming continues the sweep
├── HomeError            (OSError)       the home folder cannot be read or written
└── EndedError           (RuntimeError)  only in Python: a sweep has not ended as it should
    ├── TrialsFailedError        every trial has an outcome, and some have failed
    └── SweepInterruptedError    trials are left; resuming continues them
"""

from __future__ import annotations

from typing import Any


class SweepError(Exception):
    """Base of all errors that a user can cause and correct."""


class SpecError(SweepError, ValueError):
    """The YAML file, or a value in it, is wrong."""


class SpecMismatchError(SweepError, ValueError):
    """The name exists already, planned from another spec."""


class UnknownSweepError(SweepError, LookupError):
    """There is no sweep, task or trial of that name."""


class SweepBusyError(SweepError, RuntimeError):
    """Another driver works on this sweep."""


class QueryError(SweepError, ValueError):
    """A condition or a format cannot be understood."""


class DamagedError(QueryError):
    """A stored part of a sweep is damaged; `sweeper mirror` writes it again from the ledger."""


class NoNetworkError(SweepError, LookupError):
    """A trial has left no network."""


class PictureError(SweepError, RuntimeError):
    """The browser that draws picture files is missing or fails."""


class TrackingError(SweepError, RuntimeError):
    """MLflow cannot be reached, or holds no such sweep."""


class ClusterError(SweepError, RuntimeError):
    """Ray cannot be started or reached, or cannot hold the work."""


class ClusterLostError(ClusterError):
    """Ray died during a sweep, through nobody's mistake; resuming continues the sweep."""


class HomeError(SweepError, OSError):
    """The home folder cannot be read or written."""


class EndedError(SweepError, RuntimeError):
    """A sweep has not ended as it should.

    Attributes:
        summary: How the sweep has ended, a `sweeper.Summary`.
    """

    def __init__(self, message: str, summary: Any) -> None:
        super().__init__(message)
        self.summary = summary


class TrialsFailedError(EndedError):
    """Every trial has an outcome, and some have failed."""


class SweepInterruptedError(EndedError):
    """Trials are left without an outcome; resuming continues them."""
