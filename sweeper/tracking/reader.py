"""The interface of readers, which read one sweep from a tracker and never write."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from sweeper.errors import UnknownSweepError
from sweeper.spelling import did_you_mean, names_near

if TYPE_CHECKING:  # these modules load pyarrow, which a reader of networks does not need
    from sweeper.analysis.fronts import Front
    from sweeper.analysis.trials import StoredTrials
    from sweeper.tracking.live import LiveState


def require_task(sweep: str, task: str | None, tasks: Collection[str]) -> None:
    """Refuse a task without a stored front.

    Raises:
        UnknownSweepError: If no stored front is of the task; names the tasks that have one.
    """
    if task is not None and task not in tasks:
        raise UnknownSweepError(
            f"sweep '{sweep}' has no front of task '{task}' (it has: {names_near(task, tasks)}). "
            + did_you_mean(task, tasks, "Name one of these, or wait until a trial of that task is complete.")
        )


def chosen_fronts(fronts: Iterable[Front], sweep: str, task: str | None, objectives: Sequence[str]) -> list[Front]:
    """Select from all stored fronts those that `Reader.fronts` returns.

    Raises:
        UnknownSweepError: If no front is of the task.
    """
    found, wanted = list(fronts), sorted(objectives)
    require_task(sweep, task, {front.task for front in found})
    return [
        front
        for front in found
        if task in (None, front.task)
        and front.is_chosen is bool(wanted)
        and (not wanted or sorted(objective.name for objective in front.objectives) == wanted)
    ]


class Networks(Protocol):
    """The networks of one sweep that a tracker holds: those of trials that are or were on a front."""

    @property
    def keys(self) -> list[str]:
        """Keys of the trials whose networks are stored, sorted."""

    def read(self, key: str) -> bytes | None:
        """Return the file of the network of a trial; None if none is stored.

        Raises:
            TrackingError: If the file cannot be read.
        """


class Reader(Protocol):
    """Reads one sweep from a tracker, wherever the sweep ran.

    The tracker is not asked before a method is called. Every method raises `UnknownSweepError` if the tracker holds no
    such sweep, and `TrackingError` if it cannot be reached.
    """

    @property
    def sweep(self) -> str:
        """Name of the sweep."""

    @property
    def address(self) -> str:
        """Address of the tracker for people, without a password."""

    def facts(self) -> dict[str, str]:
        """Return short texts about the sweep by name: versions, data hashes, seeds and the like."""

    def fronts(self, task: str | None = None, objectives: Sequence[str] = ()) -> list[Front]:
        """Return the stored fronts.

        Args:
            task: Label of one task; None for all, sorted by label.
            objectives: Names of the objectives of a front that the spec asks for; none for the fronts over all.

        Returns:
            One front for each task; none if the spec asks for no front over these objectives.

        Raises:
            UnknownSweepError: Also if there is no front of that task.
            QueryError: If a stored front is damaged or of a newer format.
        """

    def trials(self) -> StoredTrials:
        """Return all finished trials as one table, with objectives and reference point.

        Raises:
            QueryError: If the stored trials are damaged, or of another version of sweeper.
        """

    def live(self) -> LiveState:
        """Return the last state that the sweep's driver wrote.

        Hypervolumes that the driver has not computed since its start are those of the stored fronts.

        Raises:
            QueryError: If no state is stored, or it cannot be read.
        """

    def networks(self) -> Networks:
        """Return the stored networks; their list is read once."""

    def artifact(self, path: str) -> bytes | None:
        """Return a stored file of the sweep, such as `spec.yaml`; None if there is none."""
