"""The slow way of writing a ledger, for an Optuna with other tables, is as complete as the fast one, killed or not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState

from sweeper.checks.audit import audit
from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger import optuna_public, optuna_tables
from sweeper.ledger.database import open_database
from sweeper.ledger.home import Home
from sweeper.ledger.ledger import Ledger
from sweeper.ledger.optuna_tables import Change, NewRow
from sweeper.spec import load_spec
from sweeper.tracking.memory import MemoryRecorder
from sweeper.trial import Ended, Outcome

#: Methods by which a storage writes; each one commits on its own.
WRITES = ("create_new_trial", "set_trial_user_attr", "set_trial_state_values", "set_study_user_attr")

ROWS = [
    NewRow({"plan": {"key": key}}, {"layers": n}, {"layers": IntDistribution(1, 9)}) for n, key in [(1, "a"), (2, "b")]
]


@pytest.fixture
def other_tables(monkeypatch):
    """An Optuna whose tables are not the known ones, so that the ledger does not write them in bulk."""
    monkeypatch.setattr(optuna_tables, "KNOWN_TABLES", "v9.9.9.a")


class KilledError(Exception):
    """Stands for the death of the process."""


class Dying:
    """A storage whose process is killed after so many writes."""

    def __init__(self, storage, after):
        self._storage, self._left = storage, after

    def __getattr__(self, name):
        method = getattr(self._storage, name)
        return self._counted(method) if name in WRITES else method

    def _counted(self, method):
        def write(*args):
            self._left -= 1
            if self._left < 0:
                raise KilledError
            return method(*args)

        return write


def add(storage, study_id):
    return optuna_public.add_trials(storage, study_id, ROWS)


def end(storage, study_id):
    trials = storage.get_all_trials(study_id)
    outcome = {"ended": {"outcome": "complete"}}
    changes = [Change(trial, {"claim": {"attempt": 1}, **outcome}, TrialState.COMPLETE, [0.5]) for trial in trials]
    return optuna_public.change_trials(storage, study_id, changes)


def running(storage, study_id):
    rows = optuna_public.add_trials(storage, study_id, ROWS)
    return optuna_public.change_trials(storage, study_id, [Change(row, {}, TrialState.RUNNING) for row in rows])


def content(storage, study_id):
    trials = storage.get_all_trials(study_id)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    told = {
        trial.user_attrs["plan"]["key"]: (trial.state, trial.values, trial.params, trial.user_attrs) for trial in trials
    }
    assert len(told) == len(trials)
    return told


@pytest.mark.slow
@pytest.mark.parametrize(("before", "step"), [(lambda *_: None, add), (running, end)], ids=["add", "change"])
def test_batch_that_a_kill_cut_short_anywhere_is_written_to_its_end_by_the_next_driver(tmp_path, before, step):
    def fresh(name):
        storage = open_database(f"sqlite:///{tmp_path}/{name}.db", "any")
        study_id = storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "any/task")
        before(storage, study_id)
        return storage, study_id

    whole, whole_id = fresh("whole")
    nothing = content(whole, whole_id)
    step(whole, whole_id)
    for after in range(100):
        storage, study_id = fresh(f"killed-{after}")
        try:
            step(Dying(storage, after), study_id)
        except KilledError:
            optuna_public.finish(storage, study_id)
            assert content(storage, study_id) == (content(whole, whole_id) if after else nothing)
            optuna_public.finish(storage, study_id)
            step_is_done = content(storage, study_id) == content(whole, whole_id)
            assert step_is_done == bool(after)
            storage.engine.dispose()
        else:
            break
    assert after >= len(ROWS) + 2, "a kill came before and after every write"


def test_range_that_becomes_one_of_fractions_loses_no_row(tmp_path):
    storage = open_database(f"sqlite:///{tmp_path}/ledger.db", "any")
    study_id = storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "any/task")
    optuna_public.add_trials(storage, study_id, ROWS)
    grown = NewRow({"plan": {"key": "c"}}, {"layers": 0.5}, {"layers": FloatDistribution(0.1, 9)})
    (row,) = optuna_public.add_trials(storage, study_id, [grown])
    assert (row.number, row.user_attrs) == (2, {"plan": {"key": "c"}})


# --- whole sweeps ----------------------------------------------------------------------------------


def good(job, report):
    return [
        Ended(Outcome.COMPLETE, "", {"accuracy": 0.5, "breadth": 1 + i, "depth": 2, "time": 2})
        for i in range(len(job.wanted_keys))
    ]


def told(record):
    """Return a record without its times, in which two ledgers of one sweep may differ."""
    return replace(record, started_ms=None, ended_ms=None)


def records_of(home):
    with closing(Ledger(Home(home).sweep("smoke").ledger_url, "smoke")) as ledger:
        return [told(record) for record in ledger.records()]


def in_two_parts(home):
    """Run a sweep with a stop halfway, and return its trials at the stop and at the end."""
    sweep, worked = Sweep("smoke", home), []

    def work(job, report):
        worked.append(job)
        return good(job, report)

    options = {"executor": InlineExecutor(), "recorder": MemoryRecorder(), "work": work}
    sweep.run(load_spec("smoke"), workers=4, should_stop=lambda: len(worked) >= 2, **options)
    at_stop = records_of(home)
    assert sweep.run(None, **options).is_finished
    return at_stop, records_of(home)


@pytest.mark.slow
def test_sweep_stops_and_goes_on_alike_in_tables_that_are_not_known(tmp_path, monkeypatch):
    known = in_two_parts(tmp_path / "known")
    monkeypatch.setattr(optuna_tables, "KNOWN_TABLES", "v9.9.9.a")
    monkeypatch.setattr(optuna_tables, "add_trials", None)
    monkeypatch.setattr(optuna_tables, "change_trials", None)
    assert in_two_parts(tmp_path / "other") == known


@pytest.mark.parametrize("is_known", [True, False])
def test_driver_finishes_what_one_with_another_optuna_had_begun(tmp_path, monkeypatch, is_known):
    url = f"sqlite:///{tmp_path}/ledger.db"
    storage = open_database(url, "tiny")
    study_id = storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "tiny/task")
    with pytest.raises(KilledError):
        add(Dying(storage, 2), study_id)
    storage.engine.dispose()
    if not is_known:
        monkeypatch.setattr(optuna_tables, "KNOWN_TABLES", "v9.9.9.a")
    Ledger(url, "tiny").close()
    assert len(content(storage, study_id)) == 1, "who only reads writes nothing"
    Ledger(url, "tiny", "a driver").close()
    assert len(content(storage, study_id)) == 2


#: Code of a driver that is killed in the middle of its second population; an argument says which tables are known.
KILLED = """
import os, signal, sys
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger import optuna_tables
from sweeper.training.train import train_population
from sweeper.spec import load_spec
from sweeper.driver.sweep import Sweep

optuna_tables.KNOWN_TABLES = sys.argv[2]
jobs = []

def work(job, report):
    jobs.append(job)
    def counted(progress):
        report(progress)
        if len(jobs) == 2 and progress.epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    return train_population(job, counted)

Sweep("smoke", sys.argv[1]).run(load_spec("smoke"), executor=InlineExecutor(), work=work)
"""


@pytest.mark.slow
def test_killed_sweep_is_resumed_and_audited_alike_in_tables_that_are_not_known(tmp_path, monkeypatch):
    found = {}
    for tables in (optuna_tables.KNOWN_TABLES, "v9.9.9.a"):
        home = tmp_path / tables
        done = subprocess.run([sys.executable, "-c", KILLED, str(home), tables], check=False)
        assert done.returncode == -signal.SIGKILL
        monkeypatch.setattr(optuna_tables, "KNOWN_TABLES", tables)
        killed = records_of(home)
        assert Sweep("smoke", home).run(None, executor=InlineExecutor()).is_finished
        promises = audit(Home(home).sweep("smoke"), Home(home).tracking_uri)
        assert [promise.text for promise in promises if not promise.holds] == []
        found[tables] = json.loads(json.dumps([[killed, records_of(home)], promises], default=vars_without_times))
    one, other = found.values()
    assert one == other


def vars_without_times(value):
    """Return a record as plain values, without those that hold measured times."""
    return {name: its for name, its in vars(value).items() if name not in {"curve", "measurement", "details"}}
