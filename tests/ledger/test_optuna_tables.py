"""Rows that the ledger writes, in bulk or by Optuna's documented methods, read like those that Optuna writes."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from sweeper.ledger import optuna_public, optuna_tables
from sweeper.ledger.database import open_database
from sweeper.ledger.optuna_tables import Change, NewRow
from tests.support import servers

RANGES = {
    "rate": FloatDistribution(1e-5, 1e-2, log=True),
    "share": FloatDistribution(0, 1, step=0.25),
    "layers": IntDistribution(1, 9),
    "wide": IntDistribution(1, 4096, log=True),
    "kind": CategoricalDistribution(("plain", 3, 2.5, True)),
}
ROWS = [
    NewRow(
        {"plan": {"key": "a", "axes": {"layers": 2}, "pair": (1, 2), "text": 'é " \\'}},
        {"rate": 1e-3, "share": 0.5, "layers": 2, "wide": 64, "kind": "plain"},
        RANGES,
    ),
    NewRow(
        {"plan": {"key": "b"}, "more": [1.5, None, {"1": 0.1}]},
        {"rate": 1.1e-5, "share": 1.0, "layers": 9, "wide": 4096, "kind": True},
        RANGES,
    ),
    NewRow({"plan": {"key": "c"}}, {}, {}),
    NewRow({}, {"layers": 3}, {"layers": RANGES["layers"]}),
]
ENDS = [(TrialState.COMPLETE, [0.1 + 0.2, -3.0]), (TrialState.PRUNED, None), (TrialState.FAIL, None)]


def sqlite_url(folder, request):
    return f"sqlite:///{folder}/ledger.db"


def postgres_url(folder, request):
    if servers.binaries() is None:
        pytest.skip("no PostgreSQL here")
    server = request.getfixturevalue("postgres")
    return server.new_database().replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture(params=[sqlite_url, pytest.param(postgres_url, marks=pytest.mark.slow)])
def storage(request, tmp_path):
    storage = open_database(request.param(tmp_path, request), "any")
    yield storage
    storage.engine.dispose()


def new_study(storage, name):
    study = optuna.create_study(storage=storage, study_name=name, directions=["maximize", "minimize"])
    return study, storage.get_study_id_from_name(name)


def written_by_optuna(study):
    """Write `ROWS`, and then their attributes and ends, through Optuna's public interface."""
    for row in ROWS:
        study.add_trial(
            create_trial(
                state=TrialState.WAITING,
                params=dict(row.params),
                distributions=dict(row.ranges),
                user_attrs=dict(row.attributes),
            )
        )
    for state, values in ENDS:
        trial = study.ask()
        trial.set_user_attr("claim", {"attempt": 1})
        trial.set_user_attr("plan", {"key": "rewritten"})
        trial.set_user_attr("ended", {"curve": [{"epoch": 1}]})
        study.tell(trial, values, state=state)


class InBulk:
    """Writes directly into Optuna's tables."""

    def __init__(self, storage, study_id):
        self._storage, self._study_id = storage, study_id

    def add(self, rows):
        return optuna_tables.add_trials(self._storage, self._study_id, rows)

    def change(self, changes):
        return optuna_tables.change_trials(self._storage, changes)


class InPublic(InBulk):
    """Writes by Optuna's documented methods, as for unknown tables."""

    def add(self, rows):
        return optuna_public.add_trials(self._storage, self._study_id, rows)

    def change(self, changes):
        return optuna_public.change_trials(self._storage, self._study_id, changes)


@pytest.fixture(params=[InBulk, InPublic])
def way(request):
    return request.param


def written_by(ours):
    found = ours.add(ROWS)
    begun = [Change(t, {"claim": {"attempt": 1}, "plan": {"key": "rewritten"}}, TrialState.RUNNING) for t in found[:3]]
    running = ours.change(begun)
    ended = {"ended": {"curve": ({"epoch": 1},)}}
    ends = [Change(t, ended, state, values) for t, (state, values) in zip(running, ENDS, strict=True)]
    return [*ours.change(ends), found[3]]


def told(trial):
    return {
        "number": trial.number,
        "state": trial.state,
        "values": trial.values,
        "params": list(trial.params.items()),
        "types": [type(value) for value in trial.params.values()],
        "distributions": trial.distributions,
        "user_attrs": trial.user_attrs,
        "system_attrs": trial.system_attrs,
        "intermediate_values": trial.intermediate_values,
        "times": [trial.datetime_start is None, trial.datetime_complete is None],
    }


def test_rows_of_the_ledger_are_read_as_those_of_optuna(storage, way):
    before = datetime.now()
    (theirs, _), (ours, study_id) = new_study(storage, "theirs"), new_study(storage, "ours")
    written_by_optuna(theirs)
    returned = written_by(way(storage, study_id))
    assert [told(trial) for trial in ours.trials] == [told(trial) for trial in theirs.trials]
    for trial in [*ours.trials, *theirs.trials]:
        for when in (trial.datetime_start, trial.datetime_complete):
            assert when is None or before - timedelta(seconds=1) < when <= datetime.now()
    # The rows that the writer keeps in memory are those that a reader sees.
    assert returned == ours.trials
    assert ours.best_trials == [ours.trials[0]]
    assert list(ours.trials_dataframe()) == list(theirs.trials_dataframe())


def test_optuna_goes_on_with_rows_of_the_ledger(storage, way):
    study, study_id = new_study(storage, "ours")
    ours = way(storage, study_id)
    ours.add(ROWS[:1])
    assert study.ask().number == 0, "the waiting row is handed out"
    assert study.ask().number == 1
    assert [trial.number for trial in ours.add(ROWS[:2])] == [2, 3]
    other, _ = new_study(storage, "other")
    assert other.ask().number == 0


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.FAIL, None])
def test_finished_row_is_refused_and_nothing_of_the_batch_is_written(storage, way, state):
    study, study_id = new_study(storage, "ours")
    ours = way(storage, study_id)
    first, second = ours.change([Change(t, {}, TrialState.RUNNING) for t in ours.add(ROWS[:2])])
    study.tell(second.number, state=TrialState.FAIL)
    before = study.trials
    values = [1.0, 2.0] if state is TrialState.COMPLETE else None
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError, match=r"trial 1 must be .*, but is FAIL"):
        ours.change([Change(t, {"ended": {}}, state, values) for t in (first, second)])
    assert study.trials == before


def test_waiting_row_cannot_end(storage, way):
    _, study_id = new_study(storage, "ours")
    ours = way(storage, study_id)
    (row,) = ours.add(ROWS[:1])
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError, match="trial 0 must be running, but is WAITING"):
        ours.change([Change(row, {}, TrialState.FAIL)])


def test_running_row_may_wait_again(storage, way):
    study, study_id = new_study(storage, "ours")
    ours = way(storage, study_id)
    rows = ours.add(ROWS[:1])
    for state in (TrialState.RUNNING, TrialState.WAITING, TrialState.RUNNING):
        rows = ours.change([Change(rows[0], {}, state)])
        assert study.trials == rows
        assert rows[0].state is state


# --- private names of Optuna, present in the pinned version, and behaviour without them -------------------


def test_pinned_optuna_has_the_tables_that_are_written_here():
    assert optuna_tables.newest_tables() == optuna_tables.KNOWN_TABLES
    assert optuna_tables.are_known()


@pytest.fixture
def forgotten():
    """A function that clears the cached facts about the tables; they are cleared again after the test."""

    def forget():
        optuna_tables.newest_tables.cache_clear()
        optuna_tables._tables.cache_clear()

    yield forget
    forget()


@pytest.mark.parametrize("name", ["TrialModel", "TrialParamModel", "TrialUserAttributeModel", "TrialValueModel"])
def test_tables_with_a_name_taken_away_are_unknown_and_stop_nothing(name, forgotten, monkeypatch, tmp_path):
    from optuna.storages._rdb import models

    storage = open_database(f"sqlite:///{tmp_path}/ledger.db", "any")
    study, _ = new_study(storage, "any/task")
    with monkeypatch.context() as without:
        forgotten()
        without.delattr(models, name)
        assert not optuna_tables.are_known()
    forgotten()
    assert optuna_tables.are_known()
    assert study.trials == []


def test_module_with_the_tables_may_be_gone_and_a_file_is_still_opened(forgotten, monkeypatch, tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    open_database(url, "any").engine.dispose()
    from optuna.storages import _rdb

    with monkeypatch.context() as without:
        forgotten()
        without.delattr(_rdb, "models")
        without.setitem(sys.modules, "optuna.storages._rdb.models", None)
        assert optuna_tables.newest_tables() is None
        assert not optuna_tables.are_known()
        open_database(url, "any").engine.dispose()
