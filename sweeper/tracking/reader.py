"""What every reader promises: one sweep as a tracker holds it, read back. Nothing is ever written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from sweeper.errors import UnknownSweepError
from sweeper.spelling import did_you_mean, names_near

if TYPE_CHECKING:  # who asks for a network reads no table
    from sweeper.analysis.fronts import Front
    from sweeper.analysis.trials import StoredTrials
    from sweeper.tracking.live import LiveState


def require_task(sweep: str, task: str | None, tasks: Collection[str]) -> None:
    """Refuse a task that no stored front is of.

    Raises:
        UnknownSweepError: With the tasks that there are.
    """
    if task is not None and task not in tasks:
        raise UnknownSweepError(
            f"sweep '{sweep}' has no front of task '{task}' (it has: {names_near(task, tasks)}). "
            + did_you_mean(task, tasks, "Name one of these, or wait until a trial of that task is complete.")
        )


def chosen_fronts(fronts: Iterable[Front], sweep: str, task: str | None, objectives: Sequence[str]) -> list[Front]:
    """Return those of all stored fronts that `Reader.fronts` is asked for.

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
    """The networks that a tracker holds of one sweep: those of trials that are or were on a front."""

    @property
    def keys(self) -> list[str]:
        """Keys of the trials whose networks are stored, sorted."""

    def read(self, key: str) -> bytes | None:
        """Return the file of the network of a trial; None if none is stored.

        Raises:
            TrackingError: If it cannot be read.
        """


class Reader(Protocol):
    """One sweep as a tracker holds it, whoever wrote it and wherever.

    Nothing is asked before a method is called. Every method raises `UnknownSweepError` if the tracker holds no such
    sweep, and `TrackingError` if it cannot be reached.
    """

    @property
    def sweep(self) -> str:
        """Name of the sweep."""

    @property
    def address(self) -> str:
        """Where the tracker is, for people: without a password."""

    def facts(self) -> dict[str, str]:
        """Return what is kept of the sweep in short texts: versions, data hashes, seeds and the like, by name."""

    def fronts(self, task: str | None = None, objectives: Sequence[str] = ()) -> list[Front]:
        """Return the fronts that are stored.

        Args:
            task: Label of one task; None for all, sorted by label.
            objectives: Names of those a front was chosen for in the spec; none for the fronts over all of them.

        Returns:
            One front a task; none where objectives are named that no front was chosen for.

        Raises:
            UnknownSweepError: Also if there is no front of that task.
            QueryError: If a stored front is damaged or of a newer format.
        """

    def trials(self) -> StoredTrials:
        """Return all finished trials as one table, and what they were optimised for.

        Raises:
            QueryError: If what is stored is damaged, or of another version of sweeper.
        """

    def live(self) -> LiveState:
        """Return how the sweep stands, or last stood, by its driver's word.

        Hypervolumes that its driver has not computed anew are those of the stored fronts.

        Raises:
            QueryError: If it does not say how it stands, or in a way that cannot be read.
        """

    def networks(self) -> Networks:
        """Return the networks that are stored; which there are is asked once."""

    def artifact(self, path: str) -> bytes | None:
        """Return a file that is kept of the sweep itself, such as `spec.yaml`; None if there is none."""
