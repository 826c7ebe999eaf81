"""The ledger keeps every setting once and every outcome once, whatever happens in between."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import replace

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweeper.errors import HomeError, SpecMismatchError, UnknownSweepError
from sweeper.ledger.ledger import HEARD_EVERY_MS, Ledger
from sweeper.ledger.rows import told_of_plan
from sweeper.ledger.studies import Studies
from sweeper.rules import RULES
from sweeper.spec import load_spec
from sweeper.trial import Ended, Outcome, State

SPEC = """
name: tiny
task: {data: digits, train_images: 50, test_images: 50}
parameters:
  classes: {values: [3, 2]}
  breadth_pressure: {values: [0, 0.1, 0.2]}
training: {epochs: 2}
replicates: REPLICATES
objectives: [{name: accuracy, goal: maximize}, {name: time, goal: minimize}]
reference_point: {accuracy: 0, time: 7}
"""

FACTS = {"identity": "me", "data.digits-2": "abc"}

GOOD = Ended(Outcome.COMPLETE, "", {"accuracy": 0.5, "time": 2.0}, {"channels_per_layer": [2, 1]}, [{"epoch": 1}])


@pytest.fixture
def loaded(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(SPEC.replace("REPLICATES", "2"))
    return load_spec(path)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def ledger(url, loaded):
    ledger = Ledger(url, "tiny")
    ledger.plan(loaded, 4, FACTS)
    return ledger


def test_plan_holds_every_setting_of_the_spec_exactly_once(ledger, loaded):
    assert [record.key for record in ledger.records()] == [setting.key for setting in loaded.spec.settings()]
    assert {record.state for record in ledger.records()} == {State.WAITING}
    counts = ledger.counts()
    assert (counts.planned, counts.waiting, counts.failed) == (12, 12, 0)


def test_optunas_own_tools_know_the_objectives_by_their_names(ledger, url, loaded):
    names = [objective.name for objective in loaded.spec.objectives]
    studies = optuna.get_all_study_summaries(storage=url)
    assert sorted(study.study_name for study in studies) == [f"tiny/digits-{n}-train50-test50" for n in (2, 3)]
    for study in studies:
        assert optuna.load_study(study_name=study.study_name, storage=url).metric_names == names


def test_objectives_that_a_killed_driver_had_not_named_are_named_by_the_next(url, loaded, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(optuna.Study, "set_metric_names", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Ledger(url, "tiny").plan(loaded, 4, FACTS)
    Ledger(url, "tiny").plan(loaded, 4, FACTS)
    study = optuna.load_study(study_name="tiny/digits-3-train50-test50", storage=url)
    assert study.metric_names == ["accuracy", "time"]


def test_planning_again_changes_nothing_even_with_another_population_size(ledger, url, loaded):
    before = ledger.records()
    Ledger(url, "tiny").plan(loaded, 1, {**FACTS, "identity": "someone else"})
    again = Ledger(url, "tiny")
    assert again.records() == before
    assert again.facts == FACTS | {"rules": str(RULES)}
    assert again.rules == RULES


def test_plan_that_a_crash_cut_short_is_completed_with_the_same_populations(ledger, tmp_path, loaded, monkeypatch):
    whole = ledger.records()
    short = Ledger(f"sqlite:///{tmp_path}/short.db", "tiny")
    left = iter(range(2))
    add = Studies.add

    def add_then_crash(self, *args):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return add(self, *args)

    monkeypatch.setattr(Studies, "add", add_then_crash)
    monkeypatch.setattr("sweeper.ledger.ledger.PLANNED_AT_ONCE", 1)
    with pytest.raises(KeyboardInterrupt):
        short.plan(loaded, 4, FACTS)
    monkeypatch.undo()
    resumed = Ledger(f"sqlite:///{tmp_path}/short.db", "tiny")
    assert len(resumed.records()) == 6, "two populations of three"
    resumed.plan(loaded, 99, FACTS)
    assert resumed.records() == whole


def test_other_spec_under_the_same_name_is_refused_with_the_difference(ledger, tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(SPEC.replace("REPLICATES", "1"))
    before = ledger.records()
    with pytest.raises(SpecMismatchError, match=r"replicates: 2 -> 1(.|\n)*--name"):
        ledger.plan(load_spec(path), 4, FACTS)
    assert ledger.records() == before


def test_images_that_changed_since_planning_are_refused_with_both_hashes(ledger, url, loaded):
    before = ledger.records()
    with pytest.raises(SpecMismatchError, match=r"'digits-2' have changed.*abc -> def.*--name"):
        Ledger(url, "tiny").plan(loaded, 4, {**FACTS, "data.digits-2": "def"})
    assert ledger.records() == before


def test_planning_stops_when_asked_and_is_completed_later(url, loaded, monkeypatch):
    monkeypatch.setattr("sweeper.ledger.ledger.PLANNED_AT_ONCE", 1)
    ledger, asked = Ledger(url, "tiny"), iter([False] * 2 + [True])
    ledger.plan(loaded, 4, FACTS, should_stop=lambda: next(asked))
    assert len(ledger.records()) == 6
    ledger.plan(loaded, 4, FACTS)
    assert [record.key for record in ledger.records()] == [setting.key for setting in loaded.spec.settings()]


def test_locked_ledger_is_one_message_and_keeps_the_trial_open(ledger, url, tmp_path, monkeypatch):
    monkeypatch.setattr("sweeper.ledger.database.SQLITE_TIMEOUT_S", 0)
    impatient = Ledger(url, "tiny")
    population = impatient.open_populations()[0]
    with sqlite3.connect(tmp_path / "ledger.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(HomeError, match=r"'tiny' cannot be written.*locked.*sweeper resume tiny"):
            impatient.claim(population, "driver", 0)
    assert {record.state for record in ledger.records()} == {State.WAITING}


def test_claimed_population_is_running_with_its_owner_and_told_once(ledger, url):
    population = ledger.open_populations()[0]
    ledger.claim(population, "driver 1", 1000)
    records = {record.key: record for record in ledger.records()}
    assert {records[key].state for key in population.keys} == {State.RUNNING}
    assert {records[key].attempt for key in population.keys} == {1}
    first = ledger.tell(population, population.keys[0], GOOD)
    assert (first.state, first.outcome, dict(first.measurement)) == (State.COMPLETE, Outcome.COMPLETE, GOOD.measurement)
    assert list(first.details["channels_per_layer"]) == [2, 1]
    late = ledger.tell(population, population.keys[0], Ended(Outcome.FAILED, "a late finisher"))
    assert late == first
    assert Ledger(url, "tiny").records()[0] == first


def test_population_left_running_comes_first_and_is_taken_over_whole(ledger, url):
    one, two, *_ = ledger.open_populations()
    ledger.claim(two, "driver 1", 1000)
    ledger.tell(two, two.keys[0], GOOD)
    again = Ledger(url, "tiny")
    first = again.open_populations()[0]
    assert (first.key, first.keys) == (two.key, two.keys)
    assert first.open == first.interrupted == set(two.keys[1:])
    again.claim(first, "driver 2", 2000)
    records = {record.key: record for record in again.records()}
    assert [records[key].attempt for key in two.keys] == [1, *[2] * (len(two.keys) - 1)]
    assert [p.key for p in again.open_populations()][1] == one.key


def test_population_is_formed_again_from_its_rows_in_the_same_order(ledger, url):
    planned = [(p.key, p.keys, p.settings) for p in ledger.open_populations()]
    assert planned == [(p.key, p.keys, p.settings) for p in Ledger(url, "tiny").open_populations()]


@pytest.mark.parametrize(
    ("ended", "outcome", "told"),
    [
        (replace(GOOD, measurement={"accuracy": 0.5}), Outcome.MISSING_OBJECTIVE, "'time' was not measured"),
        (replace(GOOD, measurement={"accuracy": math.nan, "time": 1.0}), Outcome.NOT_FINITE, "'accuracy' is nan"),
        (replace(GOOD, measurement={"accuracy": 0.5, "time": -math.inf}), Outcome.NOT_FINITE, "'time' is -inf"),
        (Ended(Outcome.FAILED, "Traceback: boom"), Outcome.FAILED, "boom"),
        (Ended(Outcome.LOST, "node died"), Outcome.LOST, "node died"),
        (Ended(Outcome.OUT_OF_MEMORY, "8 GiB"), Outcome.OUT_OF_MEMORY, "8 GiB"),
    ],
)
def test_every_kind_of_failure_is_told_apart_and_ends_the_trial(ledger, url, ended, outcome, told):
    population = ledger.open_populations()[0]
    ledger.claim(population, "driver", 0)
    record = ledger.tell(population, population.keys[0], ended)
    assert (record.state, record.outcome) == (State.FAILED, outcome)
    assert told in record.reason
    assert ledger.counts().outcomes[outcome] == 1
    study = optuna.load_study(study_name="tiny/digits-3-train50-test50", storage=url)
    assert study.trials[record.number].state == optuna.trial.TrialState.FAIL


def test_optuna_sees_axes_seeds_and_values(ledger, url):
    population = ledger.open_populations()[0]
    ledger.claim(population, "driver", 0)
    for key in population.keys:
        ledger.tell(population, key, GOOD)
    study = optuna.load_study(study_name="tiny/digits-3-train50-test50", storage=url)
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.trials[0].params == {"classes": 3, "breadth_pressure": 0.0, "seed": 0}
    assert study.trials[0].values == [0.5, 2.0]


def test_optunas_own_tools_are_told_what_a_trial_is_and_how_it_ended_beside_the_notes(tmp_path, url):
    path = tmp_path / "tiny.yaml"
    words = "time_selection: {values: [fixed, state]}\n  breadth"
    path.write_text(SPEC.replace("REPLICATES", "2").replace("breadth", words, 1))
    ledger = Ledger(url, "tiny")
    ledger.plan(load_spec(path), 4, FACTS)
    population = ledger.open_populations()[0]
    ledger.claim(population, "driver", 0)
    first, second = population.keys[:2]
    ledger.tell(population, first, GOOD)
    ledger.tell(population, second, Ended(Outcome.NOT_FINITE, "training diverged: its loss is no number"))

    trials = optuna.load_study(study_name=f"tiny/{population.task}", storage=url).trials
    told = [
        {name: value for name, value in trial.user_attrs.items() if name not in ("plan", "claim", "ended")}
        for trial in trials
    ]
    assert {one["time_selection"] for one in told} == {"fixed", "state"}
    assert [one["key"] for one in told] == [one.user_attrs["plan"]["key"] for one in trials]
    by_key = {one["key"]: one for one in told}
    assert by_key[first]["outcome"] == "complete"
    assert "reason" not in by_key[first]
    assert by_key[second]["outcome"] == "not_finite"
    assert by_key[second]["reason"] == "training diverged: its loss is no number"
    assert not any("outcome" in one for key, one in by_key.items() if key not in (first, second))


@pytest.mark.parametrize("name", ["plan", "claim", "ended", "rungs", "key", "outcome", "reason"])
def test_parameter_that_is_a_word_takes_no_name_of_the_ledgers_own(name):
    assert told_of_plan("k", {name: "word", "other": "a", "number": 1}) == {"other": "a", "key": "k"}


def test_heartbeat_is_written_at_most_once_a_minute(ledger, url):
    population = ledger.open_populations()[0]
    ledger.claim(population, "driver", 0)

    def heard():
        study = optuna.load_study(study_name="tiny/digits-3-train50-test50", storage=url)
        return study.trials[0].user_attrs["claim"]["heard_ms"]

    ledger.hear(population, HEARD_EVERY_MS - 1)
    assert heard() == 0
    ledger.hear(population, HEARD_EVERY_MS)
    assert heard() == HEARD_EVERY_MS


def test_sweep_that_was_never_planned_is_said_so(url):
    with pytest.raises(UnknownSweepError, match="'tiny' was never planned"):
        _ = Ledger(url, "tiny").spec


def test_file_that_is_no_ledger_is_refused_with_its_path(tmp_path):
    (tmp_path / "ledger.db").write_bytes(b"no database" * 1000)
    with pytest.raises(HomeError, match=r"ledger\.db"):
        Ledger(f"sqlite:///{tmp_path}/ledger.db", "tiny")


ACTIONS = st.lists(st.tuples(st.sampled_from(["claim", "tell", "fail", "crash"]), st.integers(0, 20)), max_size=12)


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ACTIONS)
def test_no_history_of_crashes_loses_repeats_or_strands_a_trial(tmp_path_factory, actions):
    folder = tmp_path_factory.mktemp("history")
    live_through(actions, folder, f"sqlite:///{folder}/ledger.db")


def live_through(actions, folder, url):
    """A driver claims, tells and crashes at random; the next one finishes; every trial has its first outcome."""
    (folder / "tiny.yaml").write_text(SPEC.replace("REPLICATES", "1"))
    loaded = load_spec(folder / "tiny.yaml")
    ledger = Ledger(url, "tiny")
    ledger.plan(loaded, 2, FACTS)
    expected, claimed = {}, []
    for action, which in [*actions, ("crash", 0)]:
        waiting = [p for p in ledger.open_populations() if p.key not in {c.key for c in claimed}]
        if action == "claim" and waiting:
            claimed.append(waiting[which % len(waiting)])
            ledger.claim(claimed[-1], "driver", 0)
        elif action in {"tell", "fail"} and claimed:
            population = claimed[which % len(claimed)]
            key = population.keys[which % len(population.keys)]
            outcome = Outcome.COMPLETE if action == "tell" else Outcome.FAILED
            expected.setdefault(key, outcome)
            ledger.tell(population, key, GOOD if action == "tell" else Ended(Outcome.FAILED, "boom"))
        elif action == "crash":
            ledger, claimed = Ledger(url, "tiny"), []
    for population in ledger.open_populations():
        ledger.claim(population, "last driver", 0)
        for key in sorted(population.open):
            ledger.tell(population, key, GOOD)
    records = ledger.records()
    assert sorted(record.key for record in records) == sorted(setting.key for setting in loaded.spec.settings())
    assert {r.key: r.outcome for r in records} == {r.key: expected.get(r.key, Outcome.COMPLETE) for r in records}
    assert ledger.open_populations() == []
