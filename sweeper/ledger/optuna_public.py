"""Writes the same rows as `optuna_tables`, through Optuna's documented storage interface.

It serves versions of Optuna whose tables `optuna_tables` does not know. Optuna commits each attribute of each trial by
itself, so this module takes several times as long, and a crash could leave half of a batch. Therefore the whole batch
is first noted on the study, in one commit, and the note is removed last. The next driver of the sweep finds the note
and writes the rest. Each step may be done twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper.ledger.optuna_tables import Change, NewRow, refuse_if_finished

#: The attribute of a study that holds the batch being written; null once the batch is written.
_BEGUN = "begun"


def add_trials(storage: optuna.storages.RDBStorage, study_id: int, rows: Sequence[NewRow]) -> list[FrozenTrial]:
    """Write waiting trials, and return them as Optuna reads them."""
    if not rows:
        return []
    finish(storage, study_id)
    noted = [
        {
            "attributes": dict(row.attributes),
            "params": dict(row.params),
            "ranges": {name: distribution_to_json(row.ranges[name]) for name in row.params},
        }
        for row in rows
    ]
    return _write(storage, study_id, {"first": storage.get_n_trials(study_id), "rows": noted})


def change_trials(storage: optuna.storages.RDBStorage, study_id: int, changes: Sequence[Change]) -> list[FrozenTrial]:
    """Write changes of trials, and return the changed trials as Optuna reads them.

    Raises:
        UpdateFinishedTrialError: If a trial is finished, or is to finish and is not running; nothing is written.
    """
    if not changes:
        return []
    finish(storage, study_id)
    for change in changes:
        refuse_if_finished(change, storage.get_trial(_id(storage, study_id, change.trial.number)).state)
    noted = [
        {
            "number": change.trial.number,
            "attributes": dict(change.attributes),
            "state": None if change.state is None else change.state.name,
            "values": None if change.values is None else [float(value) for value in change.values],
        }
        for change in changes
    ]
    return _write(storage, study_id, {"changes": noted})


def finish(storage: optuna.storages.RDBStorage, study_id: int) -> None:
    """Write the rest of a batch that a former driver did not finish; only the driver may call this."""
    if begun := storage.get_study_user_attrs(study_id).get(_BEGUN):
        _go_on(storage, study_id, begun)


def _write(storage: optuna.storages.RDBStorage, study_id: int, batch: Mapping[str, Any]) -> list[FrozenTrial]:
    storage.set_study_user_attr(study_id, _BEGUN, batch)
    return [storage.get_trial(trial_id) for trial_id in _go_on(storage, study_id, batch)]


def _go_on(storage: optuna.storages.RDBStorage, study_id: int, batch: Mapping[str, Any]) -> list[int]:
    """Write the rest of a batch, remove its note, and return the ids of its trials."""
    ids = _add(storage, study_id, batch) if "rows" in batch else _change(storage, study_id, batch["changes"])
    storage.set_study_user_attr(study_id, _BEGUN, None)
    return ids


def _add(storage: optuna.storages.RDBStorage, study_id: int, batch: Mapping[str, Any]) -> list[int]:
    there: list[Mapping[str, Any]] = []
    if storage.get_n_trials(study_id) != batch["first"]:  # a former driver began this batch
        trials = storage.get_all_trials(study_id, deepcopy=False)
        there = [trial.user_attrs for trial in trials if trial.number >= batch["first"]]
    return [_create(storage, study_id, row) for row in batch["rows"] if row["attributes"] not in there]


def _create(storage: optuna.storages.RDBStorage, study_id: int, row: Mapping[str, Any]) -> int:
    ranges = {name: json_to_distribution(text) for name, text in row["ranges"].items()}
    attributes = row["attributes"]
    waiting = create_trial(state=TrialState.WAITING, params=row["params"], distributions=ranges, user_attrs=attributes)
    try:
        return int(storage.create_new_trial(study_id, waiting))
    except ValueError:
        # A range of integers has grown into one of floats, which Optuna refuses. The parameters are also in the plan,
        # so only Optuna's own tools miss them.
        bare = create_trial(state=TrialState.WAITING, user_attrs=attributes)
        return int(storage.create_new_trial(study_id, bare))


def _change(storage: optuna.storages.RDBStorage, study_id: int, changes: Sequence[Mapping[str, Any]]) -> list[int]:
    ids = [_id(storage, study_id, change["number"]) for change in changes]
    for trial_id, change in zip(ids, changes, strict=True):
        before = storage.get_trial(trial_id).state
        if before.is_finished():  # the state is written last, so this change is complete
            continue
        for name, value in change["attributes"].items():
            storage.set_trial_user_attr(trial_id, name, value)
        state = before if change["state"] is None else TrialState[change["state"]]
        if state is not before:
            storage.set_trial_state_values(trial_id, state, change["values"])
    return ids


def _id(storage: optuna.storages.RDBStorage, study_id: int, number: int) -> int:
    return storage.get_trial_id_from_study_id_trial_number(study_id, number)
