"""Rows that are written in bulk are read by Optuna exactly as those that Optuna writes itself."""

from __future__ import annotations

from datetime import datetime, timedelta

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from sweeper.errors import HomeError
from sweeper.ledger.database import open_database
from sweeper.ledger.ledger import Ledger
from sweeper.ledger.optuna_tables import Change, NewRow, add_trials, change_trials
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
    """Write `ROWS` and what becomes of them through Optuna's public interface, as far as it has one."""
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


def written_in_bulk(storage, study_id):
    found = add_trials(storage, study_id, ROWS)
    begun = [Change(t, {"claim": {"attempt": 1}, "plan": {"key": "rewritten"}}, TrialState.RUNNING) for t in found[:3]]
    running = change_trials(storage, begun)
    ended = {"ended": {"curve": ({"epoch": 1},)}}
    ends = [Change(t, ended, state, values) for t, (state, values) in zip(running, ENDS, strict=True)]
    return [*change_trials(storage, ends), found[3]]


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


def test_rows_written_in_bulk_are_read_as_those_of_optuna(storage):
    before = datetime.now()
    (theirs, _), (ours, study_id) = new_study(storage, "theirs"), new_study(storage, "ours")
    written_by_optuna(theirs)
    returned = written_in_bulk(storage, study_id)
    assert [told(trial) for trial in ours.trials] == [told(trial) for trial in theirs.trials]
    for trial in [*ours.trials, *theirs.trials]:
        for when in (trial.datetime_start, trial.datetime_complete):
            assert when is None or before - timedelta(seconds=1) < when <= datetime.now()
    # What the writer keeps in memory is what a reader sees.
    assert returned == ours.trials
    assert ours.best_trials == [ours.trials[0]]
    assert list(ours.trials_dataframe()) == list(theirs.trials_dataframe())


def test_optuna_goes_on_with_rows_written_in_bulk(storage):
    study, study_id = new_study(storage, "ours")
    add_trials(storage, study_id, ROWS[:1])
    assert study.ask().number == 0, "the waiting row is handed out"
    assert study.ask().number == 1
    assert [trial.number for trial in add_trials(storage, study_id, ROWS[:2])] == [2, 3]
    other, _ = new_study(storage, "other")
    assert other.ask().number == 0


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.FAIL, None])
def test_finished_row_is_refused_and_nothing_of_the_batch_is_written(storage, state):
    study, study_id = new_study(storage, "ours")
    first, second = change_trials(
        storage, [Change(t, {}, TrialState.RUNNING) for t in add_trials(storage, study_id, ROWS[:2])]
    )
    study.tell(second.number, state=TrialState.FAIL)
    before = study.trials
    values = [1.0, 2.0] if state is TrialState.COMPLETE else None
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError, match=r"trial 1 must be .*, but is FAIL"):
        change_trials(storage, [Change(t, {"ended": {}}, state, values) for t in (first, second)])
    assert study.trials == before


def test_waiting_row_cannot_end(storage):
    _, study_id = new_study(storage, "ours")
    (row,) = add_trials(storage, study_id, ROWS[:1])
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError, match="trial 0 must be running, but is WAITING"):
        change_trials(storage, [Change(row, {}, TrialState.FAIL)])


def test_running_row_may_wait_again(storage):
    study, study_id = new_study(storage, "ours")
    rows = add_trials(storage, study_id, ROWS[:1])
    for state in (TrialState.RUNNING, TrialState.WAITING, TrialState.RUNNING):
        rows = change_trials(storage, [Change(rows[0], {}, state)])
        assert study.trials == rows
        assert rows[0].state is state


def test_tables_of_another_optuna_are_refused_by_version(tmp_path, monkeypatch):
    monkeypatch.setattr("sweeper.ledger.optuna_tables.KNOWN_TABLES", "v9.9.9.a")
    with pytest.raises(HomeError, match=r"tables of version v9\.9\.9\.a, but optuna 5\S* has v3\.2\.0\.a"):
        Ledger(f"sqlite:///{tmp_path}/ledger.db", "tiny")
