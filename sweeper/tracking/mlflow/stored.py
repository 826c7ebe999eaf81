"""Interfaces for reading a file or server of MLflow without importing it, which takes longer than most questions.

MLflow itself reads what these cannot, and reports errors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: The tag of an experiment with its sweep's name, which stays if the experiment is renamed; runs have it too.
SWEEP = "sweeper.sweep"


@dataclass(frozen=True)
class StoredExperiment:
    """The needed attributes of an experiment, under MLflow's names."""

    experiment_id: str
    name: str
    lifecycle_stage: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class StoredRunInfo:
    """The needed attributes of a run, without its tags."""

    run_id: str
    experiment_id: str
    status: str


@dataclass(frozen=True)
class StoredRunData:
    """The tags of a run."""

    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredRun:
    """A run, with attributes under MLflow's names."""

    info: StoredRunInfo
    data: StoredRunData


class Artifacts(ABC):
    """The artifacts of one run; every method raises `OSError` if they cannot be read."""

    @abstractmethod
    def paths(self, folder: str) -> set[str]:
        """Return the paths of the artifacts in one folder of the run."""

    @abstractmethod
    def read(self, path: str) -> bytes:
        """Return the content of an artifact."""


class Stored(ABC):
    """Reads experiments and runs; names are MLflow's."""

    tracking_uri: str

    @abstractmethod
    def get_experiment_by_name(self, name: str) -> StoredExperiment | None:
        """Return an experiment, even a deleted one; None if there is none of that name."""

    @abstractmethod
    def experiments(self) -> Sequence[StoredExperiment]:
        """Return the experiments that are not deleted."""

    @abstractmethod
    def experiments_of(self, sweep: str) -> Sequence[StoredExperiment]:
        """Return the experiments that carry the tag of a sweep, also deleted ones."""

    @abstractmethod
    def runs(self, experiment_ids: Sequence[str], tags: Mapping[str, str]) -> Sequence[StoredRun]:
        """Return the runs of experiments that are not deleted and carry all of the tags, oldest first."""

    @abstractmethod
    def artifacts_of(self, run_id: str) -> Artifacts | None:
        """Return a run's artifacts; None if only MLflow can read them."""

    def close(self) -> None:
        """Close open connections."""
        return
