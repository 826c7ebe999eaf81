"""Searches through the whole system, with an executor in this process: ledger, growth, crashes and rungs."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event

from sweeper.driver.estimate import estimate as estimated
from sweeper.driver.sweep import Sweep
from sweeper.errors import SpecError, SpecMismatchError, UnknownSweepError
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.ledger.ledger import Ledger
from sweeper.spec import load_spec
from sweeper.tracking.memory import MemoryRecorder
from sweeper.training import forecast
from sweeper.trial import Ended, Outcome, State

SPEC = """
name: found
task: {data: digits, train_images: 50, test_images: 50}
parameters:
  classes: {values: [3, 2]}
  depth_pressure: {values: [0, 1e-4]}
  breadth_pressure: {distribution: log_uniform_values, min: 1e-5, max: 1e-2}
  time_pressure: {min: 0, max: 0.5}
training: {epochs: 9}
search: {trials: 5}
replicates: 2
placement: {population: 4}
objectives: [{name: accuracy, goal: maximize}, {name: time, goal: minimize}]
reference_point: {accuracy: 0, time: 7}
"""

#: The end of the spec, which some tests replace.
AND_TIME = "{name: time, goal: minimize}]\nreference_point: {accuracy: 0, time: 7}"


def write(folder, *changes, name="found.yaml"):
    text = SPEC
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / name).write_text(text)
    return load_spec(folder / name)


def measured(setting):
    """Return a trade-off that depends a little on the seed, so that means differ from single values."""
    x = setting["breadth_pressure"] * 100
    return {
        "accuracy": 1 - x / 2 + setting["seed"] / 1000,
        "time": 6 - 4 * x - setting["time_pressure"],
        "breadth": 1.0,
    }


def good(job, report):
    wanted = [s for s, is_wanted in zip(job.settings, job.wanted, strict=True) if is_wanted]
    if job.until:
        return [Ended(None, "", measured(setting)) for setting in wanted]
    return [Ended(Outcome.COMPLETE, "", measured(setting)) for setting in wanted]


def run(folder, loaded=None, work=good, **options):
    sweep = Sweep("found", folder / "sweeps")
    return sweep.run(loaded, executor=InlineExecutor(), recorder=MemoryRecorder(), work=work, **options)


def ledger_of(folder, name="found"):
    return Ledger(Home(folder / "sweeps").sweep(name).ledger_url, name)


def settings_by_cell(records):
    cells = {}
    for record in records:
        cell = (record.task, record.axes["depth_pressure"])
        cells.setdefault(cell, {}).setdefault(record.setting_key, set()).add(record.seed)
    return cells


def test_every_cell_gets_its_settings_and_every_setting_its_replicates(tmp_path):
    summary = run(tmp_path, write(tmp_path))
    assert summary.is_finished
    assert summary.counts.complete == summary.counts.planned == 2 * 2 * 5 * 2
    cells = settings_by_cell(ledger_of(tmp_path).records())
    assert len(cells) == 4
    assert all(list(its.values()) == [{0, 1}] * 5 for its in cells.values())
    for front in summary.fronts:
        assert set(front.table["replicates"].to_pylist()) == {2}


def test_cells_take_turns(tmp_path):
    order = []

    def watching(job, report):
        order.append((job.task, job.settings[0]["depth_pressure"]))
        return good(job, report)

    run(tmp_path, write(tmp_path), watching)
    assert len(set(order[:4])) == 4
    assert len(set(order[4:8])) == 4


def test_sampler_learns_within_its_cell_and_from_means(tmp_path, monkeypatch):
    asked = []
    from sweeper.search import cells

    propose = cells.propose
    monkeypatch.setattr(cells, "propose", lambda question, count: asked.append(question) or propose(question, count))
    run(tmp_path, write(tmp_path))
    last = max((q for q in asked), key=lambda q: len(q.known))
    assert {q.cell for q in asked} == {q.cell for q in asked if not q.known}
    for known in last.known:
        assert known.state is State.COMPLETE
        expected = [measured({**known.values, "seed": seed})["accuracy"] for seed in (0, 1)]
        assert known.measurement["accuracy"] == pytest.approx(sum(expected) / 2)


@pytest.mark.slow
def test_search_that_is_stopped_anywhere_ends_with_the_search_of_one_that_was_not(tmp_path):
    """Populations run one after another here, so proposals depend only on the ledger."""
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    run(tmp_path / "a", write(tmp_path / "a"))
    loaded, finished = write(tmp_path / "b"), []
    while not any(finished):
        left = iter([False] * 4)
        finished.append(run(tmp_path / "b", loaded, should_stop=lambda left=left: next(left, True)).is_finished)
        assert len(finished) < 30
    assert len(finished) > 2
    once, often = (ledger_of(tmp_path / folder).records() for folder in "ab")
    assert [(r.key, r.number, r.population, r.note) for r in once] == [
        (r.key, r.number, r.population, r.note) for r in often
    ]


def die_after(statements):
    """Return a listener that lets so many statements reach the database and then ends the driver."""
    left = iter(range(statements))

    def execute_or_die(*_):
        if next(left, None) is None:
            raise KeyboardInterrupt

    return execute_or_die


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 150), max_size=6))
def test_crash_between_any_two_writes_loses_and_repeats_nothing(tmp_path_factory, crashes):
    """The driver dies before any statement, also within a transaction; the next driver goes on."""
    folder = tmp_path_factory.mktemp("crash")
    loaded = write(folder, ("[3, 2]", "[2]"), ("[0, 1e-4]", "[0]"))
    worked = Counter()

    def counting(job, report):
        worked.update(job.wanted_keys)
        return good(job, report)

    for statements in crashes:
        die = die_after(statements)
        event.listen(Engine, "before_cursor_execute", die)
        try:
            with suppress(KeyboardInterrupt):
                run(folder, loaded, counting)
        finally:
            event.remove(Engine, "before_cursor_execute", die)
        if (folder / "sweeps" / "found" / "ledger.db").exists():
            assert_populations_are_whole(ledger_of(folder).rows())
    summary = run(folder, loaded, counting)
    assert summary.is_finished
    records = ledger_of(folder).records()
    assert len({record.key for record in records}) == len(records) == 10
    assert [len(seeds) for its in settings_by_cell(records).values() for seeds in its.values()] == [2] * 5
    assert {record.outcome for record in records} == {Outcome.COMPLETE}


def assert_populations_are_whole(rows):
    """Check that all members of a population share their state, and that finished members have an outcome."""
    populations = {}
    for row in rows:
        assert row.state.is_finished == bool(row.ended)
        populations.setdefault(row.plan["population"], []).append(row)
    for its in populations.values():
        assert len({(row.state, row.claim.get("attempt")) for row in its}) == 1
        assert len(its) in {2, 4}, "two settings with two seeds each, or the one that is left"


# --- growth -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "more"),
    [
        (("trials: 5", "trials: 8"), 2 * 2 * 3 * 2),
        (("replicates: 2", "replicates: 3"), 2 * 2 * 5),
        (("classes: {values: [3, 2]}", "classes: {values: [3, 4, 2]}"), 2 * 5 * 2),
        (("[0, 1e-4]", "[1e-3, 0, 1e-4]"), 2 * 5 * 2),
        (("min: 1e-5, max: 1e-2", "min: 1e-6, max: 1"), 0),
        (("trials: 5}\nreplicates: 2", "trials: 6}\nreplicates: 3"), 2 * 2 * 8),
    ],
)
def test_search_that_grows_trains_only_what_is_new(tmp_path, change, more):
    run(tmp_path, write(tmp_path))
    before = {record.key: record for record in ledger_of(tmp_path).records()}
    worked = []

    def counting(job, report):
        worked.extend(job.wanted_keys)
        return good(job, report)

    notes = set()
    summary = run(tmp_path, write(tmp_path, change), counting, observe=lambda snapshot: notes.add(snapshot.note))
    assert any(note.startswith("the spec has grown since this sweep was planned: ") for note in notes)
    assert summary.is_finished
    assert len(worked) == len(set(worked)) == more
    after = {record.key: record for record in ledger_of(tmp_path).records()}
    assert before.items() <= after.items()
    assert len(after) == 40 + more == summary.counts.complete
    assert run(tmp_path).counts.complete == 40 + more, "resuming takes the grown spec"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("trials: 5", "trials: 4"), "search.trials: 5 -> 4"),
        (("replicates: 2", "replicates: 1"), "replicates: 2 -> 1"),
        (("[0, 1e-4]", "[0]"), r"depth_pressure.values: \[0.0, 0.0001\] -> \[0.0\]"),
        (("max: 1e-2", "max: 1e-3"), "breadth_pressure.max: 0.01 -> 0.001"),
        (
            ("distribution: log_uniform_values", "distribution: uniform"),
            'distribution: "log_uniform_values" -> "uniform"',
        ),
        (("{trials: 5}", "{trials: 9, sampler: random}"), 'search.sampler: "tpe" -> "random"'),
        (("epochs: 9", "epochs: 10"), "training.epochs: 9 -> 10"),
    ],
)
def test_search_that_shrinks_or_changes_is_refused_with_the_difference(tmp_path, change, told):
    run(tmp_path, write(tmp_path))
    before = ledger_of(tmp_path).records()
    with pytest.raises(SpecMismatchError, match=f"(?s)planned -> given.*{told}.*--name"):
        run(tmp_path, write(tmp_path, change))
    assert ledger_of(tmp_path).records() == before


def test_growth_that_is_cut_short_is_completed_by_resuming(tmp_path):
    run(tmp_path, write(tmp_path))
    grown = write(tmp_path, ("replicates: 2", "replicates: 4"))
    left = iter([False] * 12)
    summary = run(tmp_path, grown, should_stop=lambda: next(left, True))
    assert not summary.is_finished
    summary = run(tmp_path)
    assert summary.is_finished
    assert summary.counts.complete == 2 * 2 * 5 * 4


# --- warm start -----------------------------------------------------------------------------------------


def test_warm_start_tells_the_sampler_what_another_sweep_found_and_keeps_it(tmp_path, monkeypatch):
    Sweep("first", tmp_path / "sweeps").run(
        write(tmp_path, ("name: found", "name: first")), executor=InlineExecutor(), recorder=MemoryRecorder(), work=good
    )
    asked = []
    from sweeper.search import cells

    propose = cells.propose
    monkeypatch.setattr(cells, "propose", lambda question, count: asked.append(question) or propose(question, count))
    loaded = write(tmp_path, ("trials: 5", "trials: 2, warm_start: first"), ("epochs: 9", "epochs: 3"))
    run(tmp_path, loaded)
    assert {len(question.warm) for question in asked} == {5}
    assert {one.state for one in asked[0].warm} == {State.COMPLETE}
    (tmp_path / "sweeps" / "first" / "ledger.db").unlink()
    run(tmp_path, write(tmp_path, ("trials: 5", "trials: 3, warm_start: first"), ("epochs: 9", "epochs: 3")))
    assert len(asked[-1].warm) == 5


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (None, "there is no sweep 'first'"),
        ((AND_TIME, AND_TIME.replace("time", "depth")), "same objectives.*minimize depth"),
        (("classes: {values: [3, 2]}", "classes: {values: [5]}"), "same tasks.*digits-5"),
    ],
)
def test_warm_start_from_what_does_not_fit_is_refused_before_anything_is_written(tmp_path, first, told):
    if first:
        loaded = write(tmp_path, ("name: found", "name: first"), first)
        Sweep("first", tmp_path / "sweeps").run(loaded, executor=InlineExecutor(), recorder=MemoryRecorder(), work=good)
    with pytest.raises((SpecMismatchError, UnknownSweepError), match=told):
        run(tmp_path, write(tmp_path, ("trials: 5", "trials: 2, warm_start: [first]")))
    assert not (tmp_path / "sweeps" / "found").exists()


def test_choice_that_settings_leave_out_is_searched_as_any_other_and_told_of_sweeps_from_before_it(tmp_path):
    """A setting leaves out `connections` if it is `all`, as every setting did before the choice existed."""
    within = ("training: {epochs: 9}", "training: {epochs: 9}\nlattice: {bottom_up: next}")
    Sweep("first", tmp_path / "sweeps").run(
        write(tmp_path, ("name: found", "name: first"), within),
        executor=InlineExecutor(),
        recorder=MemoryRecorder(),
        work=good,
    )
    chosen = "connections: {distribution: categorical, values: [all, feed_forward]}"
    search = ("trials: 5", "trials: 8, warm_start: first")
    range_ = "  time_pressure: {min: 0, max: 0.5}"
    run(tmp_path, write(tmp_path, within, search, (range_, f"{range_}\n  {chosen}")))
    records = ledger_of(tmp_path).records()
    assert {record.state for record in records} == {State.COMPLETE}
    assert {record.axes["connections"] for record in records} == {"all", "feed_forward"}
    for record in records:
        assert record.setting.get("lattice.connections", "all") == record.axes["connections"]


# --- early stopping -------------------------------------------------------------------------------------

ONE_TASK = (("[3, 2]", "[2]"), ("[0, 1e-4]", "[0]"))
STOPPING = ("replicates: 2", "replicates: 2\nearly_stopping: {min_epochs: 2, factor: 2}")


def test_stopped_trials_are_pruned_keep_their_measurements_and_enter_no_front(tmp_path):
    summary = run(tmp_path, write(tmp_path, STOPPING, *ONE_TASK, ("trials: 5", "trials: 12")))
    assert summary.is_finished
    records = ledger_of(tmp_path).records()
    pruned = [record for record in records if record.state is State.PRUNED]
    assert summary.counts.pruned == len(pruned) > 0
    assert summary.counts.failed == 0
    for record in pruned:
        assert record.outcome is Outcome.PRUNED
        assert record.measurement["accuracy"] == measured(record.setting)["accuracy"]
        assert f"after epoch {max(record.rungs)}" in record.reason
    on_front = {key for front in summary.fronts for keys in front.table["keys"].to_pylist() for key in keys}
    assert on_front
    assert not on_front & {record.key for record in pruned}
    by_setting = {}
    for record in records:
        by_setting.setdefault(record.setting_key, set()).add((record.state, tuple(sorted(record.rungs))))
    assert all(len(ends) == 1 for ends in by_setting.values()), "replicates end alike"


def test_stopped_members_of_a_population_are_trained_no_further(tmp_path):
    seen = []

    def watching(job, report):
        seen.append(job)
        return good(job, report)

    run(tmp_path, write(tmp_path, STOPPING, *ONE_TASK, ("trials: 5", "trials: 12")), watching)
    assert [job.until for job in seen if job.key == seen[0].key] == [2, 4, 8, None]
    again = [job for job in seen if any(job.stopped)]
    assert again
    for job in again:
        assert not any(stopped and wanted for stopped, wanted in zip(job.stopped, job.wanted, strict=True))


@pytest.mark.slow
def test_search_with_rungs_that_is_stopped_anywhere_goes_on_where_it_was(tmp_path):
    loaded = write(tmp_path, STOPPING)
    for stop_after in (7, 8, 9, 11, 14):
        left = iter([False] * stop_after)
        run(tmp_path, loaded, should_stop=lambda left=left: next(left, True))
    summary = run(tmp_path)
    assert summary.is_finished
    assert summary.counts.complete + summary.counts.pruned == 40
    assert {record.attempt for record in ledger_of(tmp_path).records()} <= {1, 2, 3, 4, 5, 6}


# --- retries ----------------------------------------------------------------------------------------------

ONE_CELL = (("[3, 2]", "[2]"), ("[0, 1e-4]", "[0]"), ("replicates: 2", "replicates: 1"), ("trials: 5", "trials: 4"))


@pytest.mark.parametrize("kind", [Outcome.OUT_OF_MEMORY, Outcome.FAILED, Outcome.LOST])
def test_one_bad_member_does_not_take_the_others_with_it(tmp_path, kind):
    bad, tries = [], Counter()

    def poisoned(job, report):
        bad[:] = bad or [job.keys[1]]
        tries.update(job.wanted_keys)
        if bad[0] in job.keys:
            return [Ended(kind, "boom")] * len(job.wanted_keys)
        return good(job, report)

    summary = run(tmp_path, write(tmp_path, *ONE_CELL), poisoned)
    assert summary.is_finished
    assert (summary.counts.complete, summary.counts.outcomes[kind]) == (3, 1)
    (failed,) = [record for record in ledger_of(tmp_path).records() if record.state is State.FAILED]
    assert failed.key == bad[0]
    assert tries[bad[0]] == failed.attempt == 3 + 3 * (kind is Outcome.LOST)


def test_limits_of_retries_are_the_specs_and_counters_are_apart(tmp_path):
    kinds = iter([Outcome.LOST, Outcome.OUT_OF_MEMORY, Outcome.LOST, Outcome.FAILED, Outcome.FAILED])
    placement = "placement: {population: 1, retries: {lost: 2, out_of_memory: 1, failed: 2}}"

    def unlucky(job, report):
        kind = next(kinds, None)
        return [Ended(kind, "why")] if kind else good(job, report)

    changes = (*ONE_CELL[:3], ("trials: 5", "trials: 1"), ("placement: {population: 4}", placement))
    summary = run(tmp_path, write(tmp_path, *changes), unlucky)
    assert summary.counts.complete == 1
    (record,) = ledger_of(tmp_path).records()
    assert dict(record.retries) == {"lost": 2, "out_of_memory": 1, "failed": 2}
    assert record.attempt == 6


def test_retries_outlive_the_driver(tmp_path):
    changes = (*ONE_CELL, ("population: 4", "population: 1"))
    loaded, deaths = write(tmp_path, *changes), Counter()

    def dying(job, report):
        deaths.update(job.keys)
        return [Ended(Outcome.LOST, "gone")]

    left = iter([False] * 13)
    run(tmp_path, loaded, dying, should_stop=lambda: next(left, True))
    summary = run(tmp_path, None, dying)
    assert summary.counts.outcomes["lost"] == 4
    assert set(deaths.values()) <= {4, 5}, "three retries in all, and one more for what was interrupted"


# --- estimates and refusals before a run ------------------------------------------------------------------


def test_estimate_of_a_search_counts_what_it_will_try(tmp_path):
    estimate = estimated(write(tmp_path), 2)
    assert estimate.cells == {"digits-3-train50-test50": 20, "digits-2-train50-test50": 20}
    assert estimate.train_s > 0


@pytest.mark.slow
def test_estimate_of_a_search_with_as_many_kinds_as_settings_measures_a_few(tmp_path, monkeypatch):
    asked, measure = [], forecast.seconds
    monkeypatch.setattr(forecast, "seconds", lambda *args: asked.append(args) or measure(*args))
    searched = ("time_pressure: {min: 0, max: 0.5}", "learning_rate: {min: 1e-3, max: 1e-2}")
    estimate = estimated(write(tmp_path, searched), 2)
    assert estimate.populations == 20
    assert 1 <= len(asked) <= 6
    assert estimate.train_s > 0


def test_range_whose_end_fits_no_image_is_refused_before_anything_is_written(tmp_path):
    wide = ("time_pressure: {min: 0, max: 0.5}", "layers: {min: 2, max: 6}")
    halved = ("training:", "lattice: {halve: [2]}\ntraining:")
    run(tmp_path, write(tmp_path, wide, halved), work=lambda job, report: [
        replace(Ended(Outcome.COMPLETE), measurement={"accuracy": 1.0, "time": 1.0}) for _ in job.wanted_keys
    ])  # fmt: skip
    with pytest.raises(SpecError, match="halve"):
        run(tmp_path, write(tmp_path, wide, ("training:", "lattice: {halve: [2, 3]}\ntraining:"), name="x.yaml"))
