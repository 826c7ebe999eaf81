"""Writes many rows of Optuna's tables at a time: all of a batch, or none of it.

Optuna's own storage takes a transaction and several queries for each attribute of each trial. Only one driver writes a
ledger, so this module writes a population in a single transaction instead. `tests/ledger/test_optuna_tables.py`
compares these rows with those that Optuna writes, as Optuna's public interface reads both.

The tables are private to Optuna: only this file and `sqlite_studies`, which reads them, know them. If the installed
Optuna has other tables, `are_known` returns False, and `optuna_public` writes the same rows more slowly, through
Optuna's documented interface.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Table, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from sweeper.ledger.sqlite_studies import KNOWN_TABLES


@dataclass(frozen=True)
class Tables:
    """Those of Optuna's tables that are written here, and Optuna's mark of a finite value."""

    studies: Table
    trials: Table
    params: Table
    attributes: Table
    values: Table
    finite: Any


@dataclass(frozen=True)
class NewRow:
    """A waiting trial to be written.

    Attributes:
        attributes: Plain values by name.
        params: Values of the varied parameters, by name.
        ranges: Distributions of these parameters, by name.
    """

    attributes: Mapping[str, Any]
    params: Mapping[str, Any]
    ranges: Mapping[str, BaseDistribution]


@dataclass(frozen=True)
class Change:
    """A change of a trial that is not finished.

    Attributes:
        trial: The trial as it stands.
        attributes: Attributes to write; the trial's other attributes stay.
        state: New state; None to keep the old one.
        values: Finite objective values, if the trial becomes complete.
    """

    trial: FrozenTrial
    attributes: Mapping[str, Any] = field(default_factory=dict)
    state: TrialState | None = None
    values: Sequence[float] | None = None


@lru_cache(maxsize=1)
def newest_tables() -> str | None:
    """Return the version of the tables that the installed Optuna makes; None if Optuna does not say.

    This loads all versions that Optuna ever had.
    """
    # Imported late: alembic takes half a second, and counting trials does not need it.
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    try:
        from optuna.storages._rdb import models

        return str(ScriptDirectory(str(Path(models.__file__).with_name("alembic"))).get_current_head())
    except (ImportError, AttributeError, CommandError):
        return None


@lru_cache(maxsize=1)
def _tables() -> Tables | None:
    """Return Optuna's tables; None if the installed Optuna lacks one of them."""
    try:
        from optuna.storages._rdb import models

        return Tables(
            studies=models.StudyModel.__table__,
            trials=models.TrialModel.__table__,
            params=models.TrialParamModel.__table__,
            attributes=models.TrialUserAttributeModel.__table__,
            values=models.TrialValueModel.__table__,
            finite=models.TrialValueModel.TrialValueType.FINITE,
        )
    except (ImportError, AttributeError):
        return None


def are_known() -> bool:
    """Return whether the installed Optuna has the tables that are written here."""
    return newest_tables() == KNOWN_TABLES and _tables() is not None


def _known_tables() -> Tables:
    if (tables := _tables()) is None:
        raise RuntimeError(f"optuna {optuna.__version__} has other tables; ask `are_known` before")
    return tables


def add_trials(storage: optuna.storages.RDBStorage, study_id: int, rows: Sequence[NewRow]) -> list[FrozenTrial]:
    """Write waiting trials, and return them as Optuna would read them."""
    if not rows:
        return []
    its = _known_tables()
    studies, trials = its.studies, its.trials
    with storage.engine.begin() as connection:
        # As in Optuna's storage, the lock keeps others from numbering trials of this study (SQLite has one writer
        # anyway).
        connection.execute(select(studies.c.study_id).where(studies.c.study_id == study_id).with_for_update())
        here = trials.c.study_id == study_id
        first = connection.execute(select(func.count()).select_from(trials).where(here)).scalar_one()
        waiting = {"study_id": study_id, "state": TrialState.WAITING}
        connection.execute(insert(trials), [{**waiting, "number": first + i} for i in range(len(rows))])
        new = select(trials.c.trial_id).where(here, trials.c.number >= first).order_by(trials.c.number)
        ids = list(connection.execute(new).scalars())
        params = [param for trial_id, row in zip(ids, rows, strict=True) for param in _params(trial_id, row)]
        if params:
            connection.execute(insert(its.params), params)
        texts = [{name: json.dumps(value) for name, value in row.attributes.items()} for row in rows]
        _write_attributes(connection, zip(ids, texts, strict=True))
    return [
        _frozen(trial_id, first + i, row, text)
        for i, (trial_id, row, text) in enumerate(zip(ids, rows, texts, strict=True))
    ]


def change_trials(storage: optuna.storages.RDBStorage, changes: Sequence[Change]) -> list[FrozenTrial]:
    """Write changes of trials, and return the changed trials as Optuna would read them.

    Raises:
        UpdateFinishedTrialError: If a trial is finished, or is to finish and is not running; nothing is written.
    """
    if not changes:
        return []
    tables = _known_tables()
    now, texts = datetime.now(), [{n: json.dumps(value) for n, value in c.attributes.items()} for c in changes]
    ids = [change.trial._trial_id for change in changes]
    with storage.engine.begin() as connection:
        _check_states(connection, changes)
        _write_attributes(connection, zip(ids, texts, strict=True))
        values = [
            {"trial_id": trial_id, "objective": objective, "value": float(value), "value_type": tables.finite}
            for trial_id, change in zip(ids, changes, strict=True)
            for objective, value in enumerate(change.values or ())
        ]
        if values:
            connection.execute(insert(tables.values), values)
        # The state is written last, because an outcome counts once the state says so, for readers outside of this
        # transaction.
        for state in {change.state for change in changes if change.state is not None}:
            its = [trial_id for trial_id, change in zip(ids, changes, strict=True) if change.state is state]
            changed = update(tables.trials).where(tables.trials.c.trial_id.in_(its))
            connection.execute(changed.values(_times(state, now)))
    return [_changed(change, text, now) for change, text in zip(changes, texts, strict=True)]


def _check_states(connection: Connection, changes: Sequence[Change]) -> None:
    ids, trials = [change.trial._trial_id for change in changes], _known_tables().trials
    query = select(trials.c.trial_id, trials.c.state).where(trials.c.trial_id.in_(ids)).with_for_update()
    states = {row.trial_id: row.state for row in connection.execute(query)}
    for trial_id, change in zip(ids, changes, strict=True):
        refuse_if_finished(change, states.get(trial_id))


def refuse_if_finished(change: Change, found: TrialState | None) -> None:
    """Check that a change may be applied to a trial.

    Args:
        change: Change to write.
        found: State of the trial in the storage; None if the trial is gone.

    Raises:
        UpdateFinishedTrialError: If the trial is finished or gone, or is to finish and is not running.
    """
    ends = change.state is not None and change.state.is_finished()
    if found is None or found.is_finished() or (ends and found is not TrialState.RUNNING):
        raise optuna.exceptions.UpdateFinishedTrialError(
            f"trial {change.trial.number} must be {'running' if ends else 'unfinished'}, but is "
            f"{found.name if found else 'gone'}"
        )


def _write_attributes(connection: Connection, texts: Iterable[tuple[int, Mapping[str, str]]]) -> None:
    rows = [{"trial_id": i, "key": key, "value_json": text} for i, its in texts for key, text in its.items()]
    if not rows:
        return
    connection.execute(_upsert(connection.dialect.name), rows)


@lru_cache
def _upsert(dialect: str) -> Any:
    """Return the statement that writes attributes; cached, because making it takes longer than running it."""
    attributes = _known_tables().attributes
    statement: Any = (postgresql if dialect == "postgresql" else sqlite).insert(attributes)
    return statement.on_conflict_do_update(
        index_elements=[attributes.c.trial_id, attributes.c.key],
        set_={"value_json": statement.excluded.value_json},
    )


def _params(trial_id: int, row: NewRow) -> list[dict[str, Any]]:
    return [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": row.ranges[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(row.ranges[name]),
        }
        for name, value in row.params.items()
    ]


def _times(state: TrialState, now: datetime) -> dict[str, Any]:
    """Return the columns that change with a state; Optuna keeps times in UTC, without a time zone."""
    utc = now.astimezone(UTC).replace(tzinfo=None)
    started = {"datetime_start": utc} if state is TrialState.RUNNING else {}
    ended = {"datetime_complete": utc} if state.is_finished() else {}
    return {"state": state, **started, **ended}


def _frozen(trial_id: int, number: int, row: NewRow, texts: Mapping[str, str]) -> FrozenTrial:
    """Return a new trial as Optuna would read it."""
    ranges = dict(row.ranges)
    return FrozenTrial(
        number=number,
        state=TrialState.WAITING,
        value=None,
        values=None,
        datetime_start=None,
        datetime_complete=None,
        params={n: ranges[n].to_external_repr(ranges[n].to_internal_repr(v)) for n, v in row.params.items()},
        distributions=ranges,
        user_attrs={name: json.loads(text) for name, text in texts.items()},
        system_attrs={},
        intermediate_values={},
        trial_id=trial_id,
    )


def _changed(change: Change, texts: Mapping[str, str], now: datetime) -> FrozenTrial:
    """Return a changed trial as Optuna would read it."""
    before, state = change.trial, change.trial.state if change.state is None else change.state
    return FrozenTrial(
        number=before.number,
        state=state,
        value=None,
        values=before.values if change.values is None else [float(value) for value in change.values],
        datetime_start=now if change.state is TrialState.RUNNING else before.datetime_start,
        datetime_complete=now if state.is_finished() else None,
        params=before.params,
        distributions=before.distributions,
        user_attrs={**before.user_attrs, **{name: json.loads(text) for name, text in texts.items()}},
        system_attrs=before.system_attrs,
        intermediate_values=before.intermediate_values,
        trial_id=before._trial_id,
    )
