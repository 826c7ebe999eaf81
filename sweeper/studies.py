"""The ledger's storage: one Optuna study for each task of a sweep, named `<sweep>/<task>`, and its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper.database import DATABASE_ERRORS, driver_of, first_line, open_database, opening
from sweeper.errors import HomeError
from sweeper.vocabulary import Objective, State

_FINISHED = {
    State.COMPLETE: TrialState.COMPLETE,
    State.PRUNED: TrialState.PRUNED,
    State.FAILED: TrialState.FAIL,
}


class Studies:
    """The studies of one sweep.

    Args:
        url: URL of the Optuna storage, such as `sqlite:////path/ledger.db`.
        sweep: Name of the sweep.
        holder: Who drives the sweep, in words; empty for those who only read.

    Raises:
        HomeError: If the storage cannot be opened.
        SweepBusyError: If the storage is shared and another driver holds the sweep.
    """

    def __init__(self, url: str, sweep: str, holder: str = "") -> None:
        self.sweep = sweep
        with opening(url, sweep):
            self._storage = open_database(url, sweep, holder)
            names = optuna.get_all_study_names(self._storage)
            self._studies = {
                name.removeprefix(f"{sweep}/"): optuna.load_study(study_name=name, storage=self._storage)
                for name in names
                if name.startswith(f"{sweep}/")
            }

    def close(self) -> None:
        """Let go of the storage, and of the sweep where this is its driver."""
        self._storage.engine.dispose()

    @property
    def driver(self) -> str | None:
        """Who drives this sweep, in words, as far as its storage knows; a file knows nothing."""
        return driver_of(self._storage, self.sweep)

    @property
    def tasks(self) -> list[str]:
        """Labels of the tasks that have a study, in the order in which they were made."""
        return list(self._studies)

    def make(self, task: str, objectives: Sequence[Objective]) -> None:
        """Make the study of a task, unless it is there."""
        if task not in self._studies:
            self._studies[task] = optuna.create_study(
                storage=self._storage,
                study_name=f"{self.sweep}/{task}",
                directions=[StudyDirection[objective.goal.name] for objective in objectives],
                load_if_exists=True,
            )

    def noted(self, task: str) -> Mapping[str, Any]:
        """Return what is noted on a task's study."""
        return self._studies[task].user_attrs

    def note(self, task: str, name: str, value: object) -> None:
        """Note plain values on a task's study."""
        self._studies[task].set_user_attr(name, value)

    def trials(self, task: str) -> list[FrozenTrial]:
        """Return the rows of a task that the ledger wrote, in order."""
        return [trial for trial in self.all_trials(task) if "plan" in trial.user_attrs]

    def all_trials(self, task: str) -> list[FrozenTrial]:
        """Return every row of a task, also what the ledger did not write."""
        with _translated(self.sweep, "read"):
            return self._studies[task].get_trials(deepcopy=False)

    def trial(self, task: str, number: int) -> FrozenTrial:
        """Return one row."""
        return self._storage.get_trial(self._id(task, number))

    def add(
        self, task: str, plan: Mapping[str, Any], params: Mapping[str, Any], ranges: Mapping[str, BaseDistribution]
    ) -> None:
        """Write a waiting row; its plan is written with it, so that no row is ever without."""
        self._studies[task].add_trial(
            create_trial(
                state=TrialState.WAITING,
                params=dict(params),
                distributions=dict(ranges),
                user_attrs={"plan": dict(plan)},
            )
        )

    def set(self, task: str, number: int, name: str, value: object) -> None:
        """Write an attribute of a row that is not finished."""
        self._storage.set_trial_user_attr(self._id(task, number), name, value)

    def start(self, task: str, number: int) -> None:
        """Mark a waiting row as running."""
        # `Study.ask` would hand out the first waiting row; a population names its rows. Same storage call.
        self._storage.set_trial_state_values(self._id(task, number), TrialState.RUNNING)

    def release(self, task: str, number: int) -> None:
        """Let a running row wait again."""
        self._storage.set_trial_state_values(self._id(task, number), TrialState.WAITING)

    def finish(self, task: str, number: int, state: State, values: Sequence[float] | None) -> None:
        """Finish a row, for ever; a finished one stays as it is.

        Args:
            task: Label of its task.
            number: Its number.
            state: How it ended.
            values: Of the objectives, finite, where it is complete.
        """
        if values is not None:
            self._studies[task].tell(number, list(values), skip_if_finished=True)
        else:
            self._studies[task].tell(number, state=_FINISHED[state], skip_if_finished=True)

    def _id(self, task: str, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._studies[task]._study_id, number)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn the storage's failures into one sentence."""
        with _translated(self.sweep):
            yield


def create_ledger(url: str) -> None:
    """Make an empty ledger. Done aside and renamed by the caller: two openers of a half-made one would both fail."""
    with _translated(url):
        storage = optuna.storages.RDBStorage(url)
        storage.engine.dispose()


@contextmanager
def _translated(sweep: str, what: str = "written") -> Iterator[None]:
    try:
        yield
    except DATABASE_ERRORS as error:
        cause = error.__cause__ or error
        raise HomeError(
            f"the ledger of sweep {sweep!r} cannot be {what}: {first_line(cause)}. Trials without an outcome stay "
            f"waiting. Free the disk or the lock on it, or start its server, then `sweeper resume {sweep}`."
        ) from error
