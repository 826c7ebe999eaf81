"""The ledger's storage: one Optuna study with rows for each task of a sweep, named `<sweep>/<task>`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from sweeper.ledger import optuna_public, optuna_tables
from sweeper.ledger.damage import database_problem, understood
from sweeper.ledger.database import DATABASE_ERRORS, close_database, driver_of, first_line, open_database, opening
from sweeper.ledger.optuna_tables import Change, NewRow
from sweeper.ledger.rows import STATES, require_shape
from sweeper.measurements import Objective
from sweeper.trial import State

_STATES = {ours: TrialState[theirs] for theirs, ours in STATES.items()}


@dataclass(frozen=True)
class RowChange:
    """A change of a row that is not finished.

    Attributes:
        number: Number of the row.
        attributes: Attributes to write; the row's other attributes stay.
        state: New state; None to keep the old one.
        values: Finite objective values, if the row becomes complete.
    """

    number: int
    attributes: Mapping[str, Any] = field(default_factory=dict)
    state: State | None = None
    values: Sequence[float] | None = None


class Studies:
    """The studies of one sweep.

    Args:
        url: URL of the Optuna storage, such as `sqlite:////path/ledger.db`.
        sweep: Name of the sweep.
        holder: Description of the driver that opens the studies; empty for readers.
        only_reads: Whether a ledger file must never be written to.

    Raises:
        HomeError: If the storage cannot be opened.
        SweepBusyError: If the storage is shared and another driver holds the sweep.
    """

    def __init__(self, url: str, sweep: str, holder: str = "", *, only_reads: bool = False) -> None:
        self.sweep, self._holder = sweep, holder
        self._open: dict[str, dict[int, FrozenTrial]] = {}  # by task and number, as last read or written
        self._ids: dict[str, int] = {}  # ids of the studies, by task
        with opening(url, sweep):
            self._storage = open_database(url, sweep, holder, only_reads=only_reads)
            with understood(sweep, "what is noted of its tasks", self._ask):
                names = optuna.get_all_study_names(self._storage)
                self._studies = {
                    name.removeprefix(f"{sweep}/"): optuna.load_study(study_name=name, storage=self._storage)
                    for name in names
                    if name.startswith(f"{sweep}/")
                }
            if holder:  # even if the tables are known: the former driver may have used another Optuna
                for task in self._studies:
                    optuna_public.finish(self._storage, self._study_id(task))

    def close(self) -> None:
        """Close the storage; a driver also releases the sweep."""
        close_database(self._storage, self._holder)

    @property
    def driver(self) -> str | None:
        """Description of this sweep's driver, if its storage knows one; a file never does."""
        return driver_of(self._storage, self.sweep)

    @property
    def tasks(self) -> list[str]:
        """Labels of the tasks that have a study, in the order in which the studies were made."""
        return list(self._studies)

    def _ask(self, query: str) -> Sequence[Sequence[Any]]:
        """Query the database directly; return no rows if the query fails."""
        try:
            with self._storage.engine.connect() as connection:
                return connection.execute(text(query)).all()
        except SQLAlchemyError:
            return ()

    def make(self, task: str, objectives: Sequence[Objective]) -> None:
        """Make the study of a task unless it exists, and name its objectives for Optuna's own tools."""
        if task not in self._studies:
            self._studies[task] = optuna.create_study(
                storage=self._storage,
                study_name=f"{self.sweep}/{task}",
                directions=[StudyDirection[objective.goal.name] for objective in objectives],
                load_if_exists=True,
            )
        if (study := self._studies[task]).metric_names is None:  # a killed driver may not have named them
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # no user can act on it
                study.set_metric_names([objective.name for objective in objectives])

    def rename(self, name: str) -> None:
        """Rename the studies of this sweep in one transaction; afterwards no study has the old name.

        Optuna itself can only copy studies, and the copied rows would get other numbers.
        """
        with self._storage.engine.begin() as connection:
            for task in self._studies:
                here = {"study": self._study_id(task)}
                noted = connection.execute(_REVISIONS, here).scalar()
                if noted is not None:
                    revisions = json.dumps([_renamed(one, name) for one in json.loads(noted)])
                    connection.execute(_SET_REVISIONS, {**here, "value": revisions})
                connection.execute(_RENAME, {**here, "name": f"{name}/{task}"})
        self._studies = {}

    def delete(self) -> None:
        """Remove the studies of this sweep with all of their rows."""
        for task in list(self._studies):
            optuna.delete_study(study_name=f"{self.sweep}/{task}", storage=self._storage)
            del self._studies[task]

    def noted(self, task: str) -> Mapping[str, Any]:
        """Return the notes on a task's study."""
        with _translated(self.sweep, "read"), understood(self.sweep, f"what is noted of task {task!r}", self._ask):
            return self._studies[task].user_attrs

    def note(self, task: str, name: str, value: object) -> None:
        """Note a plain value on a task's study."""
        self._studies[task].set_user_attr(name, value)

    def trials(self, task: str) -> list[FrozenTrial]:
        """Return the rows of a task that the ledger wrote, in order."""
        found = [trial for trial in self.all_trials(task) if trial.user_attrs.keys() & {"plan", "claim", "ended"}]
        for trial in found:
            with understood(self.sweep, f"row {trial.number} of task {task!r}"):
                require_shape(trial)
        self._open[task] = {trial.number: trial for trial in found if not trial.state.is_finished()}
        return found

    def all_trials(self, task: str) -> list[FrozenTrial]:
        """Return every row of a task, including rows that the ledger did not write."""
        with _translated(self.sweep, "read"), understood(self.sweep, f"a row of task {task!r}", self._ask):
            return self._studies[task].get_trials(deepcopy=False)

    def rows(self, task: str, numbers: Iterable[int]) -> list[FrozenTrial]:
        """Return some rows, for the driver only: nobody else changes rows, so open ones are not read again."""
        known = self._open.setdefault(task, {})
        return [known.get(number) or self._storage.get_trial(self._id(task, number)) for number in numbers]

    def add(self, task: str, rows: Sequence[NewRow]) -> list[FrozenTrial]:
        """Write waiting rows together with their plans, all or none, so that every row has a plan."""
        writer = optuna_tables if optuna_tables.are_known() else optuna_public
        return self._keep(task, writer.add_trials(self._storage, self._study_id(task), rows))

    def change(self, task: str, changes: Sequence[RowChange]) -> list[FrozenTrial]:
        """Write changes of rows that are not finished, all or none.

        Raises:
            UpdateFinishedTrialError: If a row is finished, or is to finish and does not run.
        """
        rows = self.rows(task, [change.number for change in changes])
        states = [None if change.state is None else _STATES[change.state] for change in changes]
        told = [
            Change(row, change.attributes, state, change.values)
            for row, change, state in zip(rows, changes, states, strict=True)
        ]
        if optuna_tables.are_known():
            return self._keep(task, optuna_tables.change_trials(self._storage, told))
        return self._keep(task, optuna_public.change_trials(self._storage, self._study_id(task), told))

    def _keep(self, task: str, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """Remember the open rows as they stand now, and forget the finished ones, which do not change any more."""
        known = self._open.setdefault(task, {})
        for trial in trials:
            known.pop(trial.number, None)
            if not trial.state.is_finished():
                known[trial.number] = trial
        return trials

    def _id(self, task: str, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id(task), number)

    def _study_id(self, task: str) -> int:
        if task not in self._ids:
            self._ids[task] = self._storage.get_study_id_from_name(f"{self.sweep}/{task}")
        return self._ids[task]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn failures of the storage into one-sentence errors."""
        with _translated(self.sweep):
            yield


_RENAME = text("UPDATE studies SET study_name = :name WHERE study_id = :study")
_REVISIONS = text("SELECT value_json FROM study_user_attributes WHERE study_id = :study AND key = 'revisions'")
_SET_REVISIONS = text(
    "UPDATE study_user_attributes SET value_json = :value WHERE study_id = :study AND key = 'revisions'"
)


def _renamed(revision: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the note of a revision under a new sweep name; the spec's text stays as its user wrote it."""
    return {**revision, "spec": json.dumps({**json.loads(revision["spec"]), "name": name})}


def create_ledger(url: str) -> None:
    """Make an empty ledger.

    The caller makes it under another name and renames it, because opening a half-made ledger fails.
    """
    with _translated(url):
        open_database(url, "").engine.dispose()


@contextmanager
def _translated(sweep: str, what: str = "written") -> Iterator[None]:
    try:
        yield
    except DATABASE_ERRORS as error:
        raise database_problem(sweep, what, first_line(error.__cause__ or error)) from error
