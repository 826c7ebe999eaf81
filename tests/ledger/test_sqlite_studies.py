"""Reads of a ledger's file without Optuna give the same as reads by Optuna itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.errors import HomeError
from sweeper.ledger.database import open_database
from sweeper.ledger.home import Home
from sweeper.ledger.ledger import Ledger
from sweeper.ledger.open import read_ledger
from sweeper.ledger.reading import LedgerReader
from sweeper.ledger.sqlite_studies import KNOWN_TABLES, SqliteStudies
from sweeper.ledger.standing import Standing, standing_of
from sweeper.ledger.studies import Studies, create_ledger
from sweeper.spec import load_spec
from sweeper.sqlite_uri import uri_of

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)

#: The fate of a trial: its state, its attributes, and the values of two objectives.
FATE = st.tuples(
    st.sampled_from(optuna.trial.TrialState),
    st.dictionaries(st.sampled_from(["plan", "claim", "ended", "other"]), PLAIN, max_size=4),
    st.tuples(*[st.floats(allow_nan=False)] * 2),
)


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "empty.db"
    open_database(uri_of(path), "one").engine.dispose()
    return path


def stored(path, fates):
    """Let Optuna write trials of one task, of another task, and of another sweep."""
    storage = open_database(uri_of(path), "one")
    for study_name, its in (("one/a b", fates), ("one/b", fates[:1]), ("other/a b", fates)):
        study = optuna.create_study(storage=storage, study_name=study_name, directions=["maximize", "minimize"])
        study.set_user_attr("noted", [study_name])
        for state, attributes, values in its:
            trial = study.ask() if state is not optuna.trial.TrialState.WAITING else None
            if trial is None:
                study.enqueue_trial({}, user_attrs=attributes)
                continue
            for name, value in attributes.items():
                trial.set_user_attr(name, value)
            if state is optuna.trial.TrialState.COMPLETE:
                study.tell(trial, list(values))
            elif state.is_finished():
                study.tell(trial, state=state)
    storage.engine.dispose()


def as_read(trials):
    """Return the facts of trials that a ledger uses."""
    return [
        (
            trial.number,
            trial.state.name,
            None if trial.values is None else list(trial.values),
            *(None if at is None else at.timestamp() for at in (trial.datetime_start, trial.datetime_complete)),
            dict(trial.user_attrs),
        )
        for trial in trials
    ]


def believed(source, task):
    """Return the rows that a ledger accepts as its own; None if it refuses one of them as damaged."""
    try:
        return as_read(source.trials(task))
    except HomeError:
        return None


@settings(max_examples=15, deadline=None)
@given(fates=st.lists(FATE, max_size=6))
def test_trials_and_notes_are_read_as_optuna_reads_them(empty, tmp_path_factory, fates):
    path = tmp_path_factory.mktemp("read") / "ledger.db"
    path.write_bytes(empty.read_bytes())
    stored(path, fates)
    theirs, ours = Studies(uri_of(path), "one", only_reads=True), SqliteStudies(path, "one")
    with closing(theirs), closing(ours):
        assert ours.are_known
        assert ours.tasks == theirs.tasks == ["a b", "b"]
        for task in ours.tasks:
            assert as_read(ours.all_trials(task)) == as_read(theirs.all_trials(task))
            assert believed(ours, task) == believed(theirs, task)
            assert ours.noted(task) == theirs.noted(task) == {"noted": [f"one/{task}"]}


@pytest.fixture
def planned(tmp_path):
    """The folder of a planned sweep."""
    loaded = load_spec("smoke")
    folder = Home(tmp_path).sweep(loaded.spec.name)
    folder.path.mkdir(parents=True)
    folder.make_ledger(create_ledger)
    with closing(Ledger(folder.ledger_url, folder.name, "driver")) as ledger:
        ledger.plan(loaded, 2, {"identity": "this"})
    return folder


def test_other_tables_are_left_to_optuna(planned):
    path = planned.path / "ledger.db"
    with closing(read_ledger(planned)) as ledger:
        assert isinstance(ledger._studies, SqliteStudies)
        before = ledger.records()
    with closing(sqlite3.connect(path)) as database, database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [(KNOWN_TABLES,)]
        database.execute("UPDATE alembic_version SET version_num = 'v9.9.9.a'")
    with pytest.raises(HomeError, match="cannot be opened"):
        read_ledger(planned)
    assert before


def test_what_is_read_is_what_the_driver_wrote(planned):
    with (
        closing(Ledger(planned.ledger_url, planned.name, only_reads=True)) as theirs,
        closing(read_ledger(planned)) as ours,
    ):
        assert type(ours) is LedgerReader
        assert ours.records() == theirs.records()
        assert ours.rows() == theirs.rows()
        assert ours.revisions == theirs.revisions
        assert (ours.identity, ours.rules, ours.spec) == ("this", theirs.rules, load_spec("smoke").spec)
        assert ours.counts() == theirs.counts()
        standing = Standing(planned.name, theirs.counts(), None, None, is_begun=False, identity=theirs.identity)
        assert standing_of(planned) == standing


def test_reading_goes_on_while_a_driver_writes(planned):
    with closing(Ledger(planned.ledger_url, planned.name, "driver")) as driver, closing(read_ledger(planned)) as reader:
        (first, *_) = driver.open_populations()
        driver.claim(first, "me", 1)
        assert reader.counts().running == len(first.keys)
        driver.release([first])
        assert reader.counts().running == 0


def test_state_that_nobody_knows_is_damage_and_no_row(planned):
    with closing(sqlite3.connect(planned.path / "ledger.db")) as database, database:
        database.execute("UPDATE trials SET state = 'ENDED' WHERE number = 1")
    for read in (LedgerReader.counts, LedgerReader.records, LedgerReader.rows):
        with closing(read_ledger(planned)) as ledger, pytest.raises(HomeError, match="state of row 1 is 'ENDED'"):
            read(ledger)
