"""New attempts: failed trials may be tried again on request, their old outcomes stay, and nothing counts twice."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweeper.checks.audit import planned_once, populations
from sweeper.errors import QueryError
from sweeper.ledger.again import REPEATABLE, attempts, repeatable
from sweeper.ledger.ledger import Ledger
from sweeper.ledger.populations import population_key
from sweeper.ledger.studies import Studies
from sweeper.spec import load_spec
from sweeper.trial import Ended, Outcome, State
from tests.ledger.test_ledger import FACTS, GOOD, SPEC

LOST, FAILED = Ended(Outcome.LOST, "the worker died"), Ended(Outcome.FAILED, "boom")


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def ledger(url, tmp_path):
    (tmp_path / "tiny.yaml").write_text(SPEC.replace("REPLICATES", "2"))
    ledger = Ledger(url, "tiny")
    ledger.plan(load_spec(tmp_path / "tiny.yaml"), 4, FACTS)
    return ledger


def end(ledger, population, *ended):
    """Claim a population, and end its open members in order."""
    ledger.claim(population, "driver", 0)
    keys = [key for key in population.keys if key in population.open]
    return ledger.tell_all(population, dict(zip(keys, ended, strict=True)))


def try_again(ledger, *outcomes):
    """Return how many trials are tried again, and the populations that begin anew."""
    anew = []
    return ledger.try_again(outcomes, anew.append), anew


def attempts_of(ledger, key):
    """Return the rows of a trial, the first attempt first."""
    return [row for row in ledger.rows() if row.name == key]


def test_lost_trial_waits_again_in_its_population_and_its_former_row_stays_as_it_was(ledger):
    first, *_ = ledger.open_populations()
    lost, kept, _ = first.keys
    end(ledger, first, LOST, GOOD, GOOD)
    before = attempts_of(ledger, lost)
    assert try_again(ledger, Outcome.LOST) == ({Outcome.LOST: 1}, []), "the checkpoint of its population stays"
    former, new = attempts_of(ledger, lost)
    assert [former] == before
    assert (new.state, new.record.outcome, new.plan["again"]) == (State.WAITING, None, former.number)
    counts = ledger.counts()
    assert (counts.planned, counts.waiting, counts.complete, counts.failed) == (12, 10, 2, 0)
    again, *_ = ledger.open_populations()
    assert (again.key, again.keys, again.open) == (first.key, first.keys, {lost}), "in the order of the checkpoint"
    (record,) = end(ledger, again, GOOD)
    assert (record.attempt, record.outcome) == (former.record.attempt + 1, Outcome.COMPLETE)
    assert try_again(ledger, *REPEATABLE) == ({}, [])
    assert {r.outcome for r in ledger.records() if r.key in {lost, kept}} == {Outcome.COMPLETE}


def test_trial_that_failed_begins_anew_in_a_population_of_its_own_and_the_others_keep_theirs(ledger):
    first, *_ = ledger.open_populations()
    failed, lost, _ = first.keys
    end(ledger, first, FAILED, LOST, GOOD)
    counted, anew = try_again(ledger, Outcome.FAILED, Outcome.LOST)
    assert counted == {Outcome.FAILED: 1, Outcome.LOST: 1}
    assert anew == [population_key([failed])]
    found = {population.key: population for population in ledger.open_populations()}
    assert found[anew[0]].keys == (failed,)
    assert (found[first.key].keys, found[first.key].open) == (first.keys, {lost}), "its checkpoint has all of them"
    rows, former = attempts(ledger.rows())
    assert not any(populations(rows, former).values())


def test_population_that_failed_as_a_whole_begins_anew_as_the_same_one(ledger):
    first, *_ = ledger.open_populations()
    end(ledger, first, FAILED, FAILED, FAILED)
    assert try_again(ledger, Outcome.FAILED) == ({Outcome.FAILED: 3}, [first.key])
    again, *_ = ledger.open_populations()
    assert (again.key, again.keys, again.open) == (first.key, first.keys, set(first.keys))


def test_retries_are_counted_from_the_start_by_a_new_attempt(ledger):
    first, *_ = ledger.open_populations()
    ledger.claim(first, "driver", 0)
    ledger.retry(first, Outcome.LOST, apart=False)
    end(ledger, first, LOST, LOST, LOST)
    assert {record.retries["lost"] for record in ledger.records_in(first)} == {1}
    try_again(ledger, Outcome.LOST)
    again, *_ = ledger.open_populations()
    assert [dict(record.retries) for record in ledger.records_in(again)] == [{}] * 3


def test_rungs_stay_passed_where_training_goes_on_and_are_reached_again_where_it_begins_anew(ledger):
    first, *_ = ledger.open_populations()
    ledger.claim(first, "driver", 0)
    ledger.pass_rung(first, 1, {key: {"accuracy": 0.5, "time": 2.0} for key in first.keys}, {})
    lost, failed, _ = first.keys
    end(ledger, first, LOST, FAILED, GOOD)
    try_again(ledger, Outcome.LOST, Outcome.FAILED)
    records = {record.key: record for record in ledger.records()}
    assert records[lost].rungs == {1: {"accuracy": 0.5, "time": 2.0}}
    assert records[failed].rungs == {}


def test_only_the_outcomes_that_are_named_are_tried_again(ledger):
    kinds = dict(zip(REPEATABLE, ledger.open_populations(), strict=False))
    for outcome, population in kinds.items():
        end(ledger, population, *[Ended(outcome, "why")] * len(population.open))
    for outcome, population in kinds.items():
        assert try_again(ledger, outcome)[0] == {outcome: len(population.keys)}
        assert try_again(ledger, outcome)[0] == {}, "what waits has not ended so"


@pytest.mark.parametrize("word", ["complete", "pruned", "Lost", "nonsense", ""])
def test_word_that_is_no_failure_is_refused_with_those_that_are(word):
    with pytest.raises(QueryError, match=f"failed, not_finite, (.|\n)*timed_out, lost; but got '{word}'"):
        repeatable(["lost", word])


def test_request_that_a_crash_cut_short_is_completed_when_it_is_asked_for_again(ledger, url, monkeypatch):
    for population in ledger.open_populations():
        end(ledger, population, *[LOST] * len(population.open))
    left, add = iter(range(1)), Studies.add

    def add_then_crash(self, *args):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return add(self, *args)

    monkeypatch.setattr(Studies, "add", add_then_crash)
    with pytest.raises(KeyboardInterrupt):
        try_again(ledger, Outcome.LOST)
    monkeypatch.undo()
    resumed = Ledger(url, "tiny")
    assert resumed.counts().waiting == 6, "one task of two"
    assert try_again(resumed, Outcome.LOST)[0] == {Outcome.LOST: 6}
    assert resumed.counts().waiting == 12


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["claim", "end", "apart", "again", "crash"]), st.integers(0, 20)), max_size=20
)
KINDS = (Outcome.COMPLETE, *REPEATABLE)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ACTIONS)
def test_no_history_of_failures_requests_and_crashes_loses_a_trial_or_repeats_a_complete_one(tmp_path_factory, actions):
    folder = tmp_path_factory.mktemp("history")
    try_again_through(actions, folder, f"sqlite:///{folder}/ledger.db")


def try_again_through(actions, folder, url):
    """A driver ends members in all ways and crashes; users ask to try again; the newest attempt of a trial counts."""
    (folder / "tiny.yaml").write_text(SPEC.replace("REPLICATES", "1"))
    loaded = load_spec(folder / "tiny.yaml")
    keys = sorted(setting.key for setting in loaded.spec.settings())
    ledger = Ledger(url, "tiny")
    ledger.plan(loaded, 3, FACTS)
    expected, former, claimed = dict.fromkeys(keys), [], []
    for action, which in [*actions, ("crash", 0)]:
        if action == "claim":
            waiting = [p for p in ledger.open_populations() if p.key not in {c.key for c in claimed}]
            claimed += waiting[which % len(waiting) :][:1] if waiting else []
            for population in claimed[-1:]:
                ledger.claim(population, "driver", 0)
        elif action == "end" and claimed:
            population = claimed.pop(which % len(claimed))
            for place, key in enumerate(sorted(population.open)):
                expected[key] = KINDS[(which + place) % len(KINDS)]
                ledger.tell(population, key, GOOD if expected[key] is Outcome.COMPLETE else Ended(expected[key], "why"))
        elif action == "apart" and claimed:
            ledger.retry(claimed.pop(which % len(claimed)), Outcome.FAILED, apart=True)
        elif action == "again":
            wanted = REPEATABLE[: which % len(REPEATABLE) + 1]
            ended = [key for key, outcome in expected.items() if outcome in wanted]
            rows = [row for row in ledger.rows() if row.state.is_finished]
            assert sum(ledger.try_again(wanted, lambda _: None).values()) == len(ended)
            former += [row for row in rows if row.name in ended]
            expected |= dict.fromkeys(ended)
            claimed = []  # the request comes from a new driver
            ledger = Ledger(url, "tiny")
        elif action == "crash":
            ledger, claimed = Ledger(url, "tiny"), []
    records = ledger.records()
    assert sorted(record.key for record in records) == keys
    assert {record.key: record.outcome for record in records} == expected
    assert {key for p in ledger.open_populations() for key in p.open} == {k for k, o in expected.items() if o is None}
    assert all(population_key(p.keys) == p.key for p in ledger.open_populations())
    rows, history = attempts(ledger.rows())
    stood = {(row.name, row.number): row for row in history}
    assert all(stood[row.name, row.number] == row for row in former), "what was is not changed"
    assert not any([*planned_once(loaded.spec, rows, history).values(), *populations(rows, history).values()])
    for row in rows:
        assert row.record.attempt >= max((r.record.attempt for r in history if r.name == row.name), default=0)
