"""What is read of MLflow without MLflow, whose import takes longer than most questions do: from a file or a server.

Whatever cannot be read so is left to MLflow itself, and so is saying what is wrong.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: The tag of an experiment that names its sweep, whatever the experiment is called by now; runs have it too.
SWEEP = "sweeper.sweep"


@dataclass(frozen=True)
class StoredExperiment:
    """What is read of an experiment; its attributes are called as MLflow calls them."""

    experiment_id: str
    name: str
    lifecycle_stage: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class StoredRunInfo:
    """What is read of a run beside its tags."""

    run_id: str
    experiment_id: str
    status: str


@dataclass(frozen=True)
class StoredRunData:
    """The tags of a run."""

    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredRun:
    """A run; its attributes are called as MLflow calls them."""

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
    """Experiments and runs, read; what is found is called as MLflow calls it."""

    tracking_uri: str

    @abstractmethod
    def get_experiment_by_name(self, name: str) -> StoredExperiment | None:
        """Return an experiment, a deleted one too; None if there is none of that name."""

    @abstractmethod
    def experiments(self) -> Sequence[StoredExperiment]:
        """Return the experiments that are not deleted."""

    @abstractmethod
    def experiments_of(self, sweep: str) -> Sequence[StoredExperiment]:
        """Return the experiments that carry the tag of a sweep, also deleted ones."""

    @abstractmethod
    def runs(self, experiment_ids: Sequence[str], tags: Mapping[str, str]) -> Sequence[StoredRun]:
        """Return the runs of experiments that are not deleted and carry all of the tags, the oldest first."""

    @abstractmethod
    def artifacts_of(self, run_id: str) -> Artifacts | None:
        """Return a run's artifacts; None where only MLflow can read them."""

    def close(self) -> None:
        """Let go of what was opened to read."""
        return
