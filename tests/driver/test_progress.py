"""Counts kept while a sweep runs equal a count of everything, and the time left is right."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.driver.progress import SAMPLE_EVERY_S, WINDOW_S, EarlyFront, Pace, SweepProgress, planned_tasks
from sweeper.measurements import Goal, Objective
from sweeper.spec import load_spec
from sweeper.tracking.live import MOST_NOTES, LiveState, Stage, TaskState
from sweeper.trial import Outcome, State
from tests.analysis.test_fronts import a_trial

TASKS = ("digits-10", "digits-3")


class Clock:
    """A clock that moves only when a test moves it."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def a_progress(clock=None, planned=8, records=(), tasks=TASKS):
    clock = clock or Clock()
    return SweepProgress(
        "small", [TaskState(task, planned) for task in tasks], records, clock, lambda: int(1000 * clock.now)
    )


def an_end(number, task, outcome=Outcome.COMPLETE, accuracy=0.5):
    return a_trial(number, task=task, state=outcome.state, outcome=outcome, measurement={"accuracy": accuracy})


# --- counts -------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32), steps=st.integers(0, 80))
def test_counts_after_any_course_are_those_of_a_recount(seed, steps):
    """Populations begin, wait for a worker, report, end and go back to the queue, as a driver sees them."""
    chance, progress = random.Random(seed), a_progress(planned=500)
    running, ended, best, waits = {}, [], dict.fromkeys(TASKS, -1.0), set()
    for step in range(steps):
        what = chance.choice(["begin", "wait", "hear", "end", "back"])
        if what == "begin":
            running[f"p{step}"] = (chance.choice(TASKS), chance.randint(1, 5), 0.0)
            progress.begun(f"p{step}", *running[f"p{step}"][:2])
        elif what == "wait":
            waits = {key for key in running if chance.random() < 0.3}
            progress.wait(sorted(waits))
        elif running:
            key = chance.choice(list(running))
            task, members, _ = running[key]
            if what == "hear":
                epoch, accuracy = chance.randint(1, 4), chance.random()
                progress.heard(key, epoch, 4, [{"accuracy": accuracy}, {}])
                running[key], best[task] = (task, members, epoch / 4), max(best[task], accuracy)
                continue
            del running[key]
            progress.left(key)
            if what == "end":
                told = [an_end(step, task, chance.choice(list(Outcome)), chance.random()) for _ in range(members)]
                best[task] = max(best[task], *(record.measurement["accuracy"] for record in told))
                progress.ended(told)
                ended += told
    state = progress.state()
    states = Counter((record.task, record.state) for record in ended)
    for row in state.tasks:
        has_worker = [(task, members) for key, (task, members, _) in running.items() if key not in waits]
        assert row.running == sum(members for task, members in has_worker if task == row.task)
        assert row.complete == states[row.task, State.COMPLETE]
        assert row.pruned == states[row.task, State.PRUNED]
        assert row.failed == states[row.task, State.FAILED]
        assert row.waiting == 500 - row.running - sum(record.task == row.task for record in ended)
        assert (-1.0 if row.best_accuracy is None else row.best_accuracy) == best[row.task]
    assert state.busy == len(running.keys() - waits)
    assert state.work == pytest.approx(len(ended) + sum(members * share for _, members, share in running.values()))


def test_what_a_former_driver_left_counts_and_what_it_left_running_waits():
    records = [
        an_end(0, "digits-10", accuracy=0.75),
        an_end(1, "digits-3", Outcome.PRUNED),
        a_trial(2, task="digits-3", state=State.RUNNING, outcome=None, measurement={}),
    ]
    first, second = a_progress(records=records).state().tasks
    assert (first.complete, first.best_accuracy, first.waiting) == (1, 0.75, 7)
    assert (second.pruned, second.running, second.waiting) == (1, 0, 7)


def test_task_with_more_trials_than_planned_plans_as_many_as_it_has():
    (row, _) = a_progress(planned=2, records=[an_end(number, "digits-10") for number in range(3)]).state().tasks
    assert (row.planned, row.waiting) == (3, 0)


@pytest.mark.parametrize("name", ["smoke", "quickstart", "adaptive"])
def test_plan_of_a_shipped_space_adds_up_to_its_trials(name):
    spec = load_spec(name).spec
    rows = planned_tasks(spec)
    assert [row.task for row in rows] == list(spec.tasks)
    assert sum(row.planned for row in rows) == spec.planned
    assert sum(row.cells for row in rows) == (len(spec.cells()) if spec.search else 0)


def test_front_is_kept_from_before_until_there_is_a_newer_one():
    progress = a_progress()
    progress.recall(LiveState("small", (TaskState("digits-10", 8, hypervolume=2.5, points=3), TaskState("gone", 1))))
    assert [(row.hypervolume, row.points) for row in progress.state().tasks] == [(2.5, 3), (None, None)]
    progress.front("digits-10", 4.5, 2)
    progress.front("digits-3", float("inf"), 0)
    assert [(row.hypervolume, row.points) for row in progress.state().tasks] == [(4.5, 2), (None, 0)]


EARLY = EarlyFront(
    (Objective("accuracy", Goal.MAXIMIZE), Objective("breadth", Goal.MINIMIZE)), {"accuracy": 0.0, "breadth": 9.0}
)


def test_before_any_network_is_complete_the_front_is_that_of_networks_in_training():
    progress = SweepProgress("small", [TaskState(task, 8) for task in TASKS], early=EARLY)
    progress.begun("p", "digits-10", 3)
    assert progress.state().tasks[0] == TaskState("digits-10", 8, running=3), "nothing was measured yet"
    progress.heard("p", 1, 4, [{"accuracy": 0.5, "breadth": 5.0}, {"accuracy": 0.25, "breadth": 7.0}, {}])
    progress.begun("q", "digits-10", 1)
    progress.heard("q", 1, 4, [{"accuracy": 0.25, "breadth": 1.0}])
    row, other = progress.state().tasks
    # Two boxes: 0.5 · (9 − 5) and, below it, 0.25 · (5 − 1).
    assert (row.is_early, row.points, row.hypervolume) == (True, 2, pytest.approx(3.0))
    assert (other.is_early, other.points, other.hypervolume) == (False, None, None)
    assert LiveState.from_json(progress.state().to_json()).tasks[0] == row
    progress.heard("q", 2, 4, [{"accuracy": 0.5, "breadth": 1.0}])
    assert (progress.state().tasks[0].points, progress.state().tasks[0].hypervolume) == (1, pytest.approx(4.0))
    for key in "pq":
        progress.left(key)
    progress.front("digits-10", 0.0, 0)
    row = progress.state().tasks[0]
    assert (row.points, row.hypervolume, row.is_early) == (0, 0.0, False), "none is in training, and none complete"
    progress.ended([an_end(0, "digits-10")])
    progress.front("digits-10", 2.5, 1)
    assert progress.state().tasks[0].is_early is False
    assert (progress.state().tasks[0].points, progress.state().tasks[0].hypervolume) == (1, 2.5)


def test_objective_that_is_not_known_while_a_network_trains_has_no_early_front():
    progress = SweepProgress("small", [TaskState("digits-10", 8)], early=EARLY)
    progress.begun("p", "digits-10", 2)
    progress.heard("p", 1, 4, [{"accuracy": 0.5}, {"accuracy": float("nan"), "breadth": 1.0}])
    assert (progress.state().tasks[0].points, progress.state().tasks[0].is_early) == (None, False)


def test_early_front_of_a_driver_that_is_gone_is_not_taken_over():
    progress = a_progress()
    progress.recall(LiveState("small", (TaskState("digits-10", 8, hypervolume=2.5, points=3, is_early=True),)))
    assert progress.state().tasks[0].points is None


def test_accuracy_that_is_no_number_is_no_best_one():
    progress = a_progress()
    progress.begun("p", "digits-10", 2)
    progress.heard("p", 1, 3, [{"accuracy": float("nan")}, {"accuracy": float("inf")}])
    assert progress.state().tasks[0].best_accuracy is None
    progress.heard("p", 2, 3, [{"accuracy": 0.0}])
    assert progress.state().tasks[0].best_accuracy == 0.0


def test_last_few_notes_are_kept_once_with_the_time_they_were_last_said():
    clock = Clock()
    progress = a_progress(clock)
    for text in ("a", "b", "", "a", "c", "d", "\x1b[31me\n"):
        clock.now += 1
        progress.say(text)
    assert [note.text for note in progress.state().notes] == ["c", "d", "e"]
    assert len(progress.state().notes) == MOST_NOTES
    progress.say("c")
    assert [(note.text, note.said_ms) for note in progress.state().notes][-1] == ("c", int(1000 * clock.now))


def test_state_can_be_asked_for_while_others_count():
    progress, wrong, is_over = a_progress(planned=10_000), [], threading.Event()

    def ask():
        while not is_over.is_set():
            total = progress.state().total
            if total.running not in (0, 4) or total.planned != 20_000:
                wrong.append(total)

    thread = threading.Thread(target=ask)
    thread.start()
    for number in range(2000):
        progress.begun(f"p{number}", TASKS[number % 2], 4)
        progress.left(f"p{number}")
        progress.ended([an_end(number, TASKS[number % 2])])
    is_over.set()
    thread.join()
    assert (wrong, progress.state().total.complete) == ([], 2000)


def test_end_has_the_times_of_the_ledger_where_nothing_has_ended_here_and_else_its_own():
    clock = Clock()
    records = [
        replace(an_end(number, TASKS[0]), started_ms=10 * number, ended_ms=10 * number + 7) for number in (3, 1, 2)
    ]
    progress = a_progress(clock, records=records)
    now_ms = int(1000 * clock.now)
    ended = progress.state(Stage.FINISHED)
    assert (ended.since_ms, ended.written_ms) == (10, 37)
    assert (progress.state().since_ms, progress.state().written_ms) == (now_ms, now_ms)
    clock.now += 60
    progress.ended([an_end(4, TASKS[0])])
    ended = progress.state(Stage.INTERRUPTED)
    assert (ended.since_ms, ended.written_ms) == (now_ms, now_ms + 60_000)


# --- time left ----------------------------------------------------------------------------------------


@given(populations=st.integers(1, 4), members=st.integers(1, 5), epochs=st.integers(2, 12), pace=st.integers(1, 7))
def test_time_left_of_a_linear_course_is_right_from_the_second_epoch_and_falls_to_zero(
    populations, members, epochs, pace
):
    """Populations train one after another, an epoch every `pace` seconds."""
    clock = Clock()
    progress = a_progress(clock, planned=populations * members, tasks=TASKS[:1])
    clock.now += 17  # start-up is no training and must not count
    for population in range(populations):
        progress.begun(f"p{population}", TASKS[0], members)
        for epoch in range(1, epochs + 1):
            clock.now += pace
            progress.heard(f"p{population}", epoch, epochs, [])
            remaining = ((populations - population) * epochs - epoch) * pace
            left = progress.state().seconds_left
            assert left is None if population == 0 and epoch == 1 else left == pytest.approx(remaining, abs=1e-6)
        progress.left(f"p{population}")
        progress.ended([an_end(number, TASKS[0]) for number in range(members)])
    assert progress.state().seconds_left == pytest.approx(0)


def test_time_left_of_populations_side_by_side_counts_all_of_them():
    clock = Clock()
    progress = a_progress(clock)
    for key, task in zip("ab", TASKS, strict=True):
        progress.begun(key, task, 4)
    for epoch in range(1, 4):
        clock.now += 5
        for key in "ab":
            progress.heard(key, epoch, 4, [])
        if epoch == 1:
            before = progress.state().work
    # Two populations of four epochs take 20 s; one epoch of these is left, and two more populations.
    assert before == 2
    assert progress.state().seconds_left == pytest.approx(10 / (6 - 1) * (16 - 6))


def test_time_left_of_a_resumed_sweep_does_not_count_what_was_done_before():
    clock = Clock()
    progress = a_progress(clock, planned=12, tasks=TASKS[:1], records=[an_end(number, TASKS[0]) for number in range(8)])
    progress.begun("p", TASKS[0], 4)
    for epoch in (1, 2):
        clock.now += 10
        progress.heard("p", epoch, 4, [])
    assert progress.state().seconds_left == pytest.approx(20)


def test_time_left_of_a_stalled_sweep_grows():
    clock = Clock()
    progress = a_progress(clock, planned=1, tasks=TASKS[:1])
    progress.begun("p", TASKS[0], 1)
    lefts = []
    for epoch in (1, 2, None, None):
        clock.now += 1
        if epoch:
            progress.heard("p", epoch, 4, [])
        lefts.append(progress.state().seconds_left)
    assert lefts == [None, 2, 4, 6]


def test_sweep_whose_trials_report_no_epochs_has_a_pace_all_the_same():
    clock = Clock()
    progress = a_progress(clock, planned=10, tasks=TASKS[:1])
    for number in range(5):
        progress.ended([an_end(number, TASKS[0])])
        clock.now += 6
    state = progress.state()
    assert state.seconds_left == pytest.approx(30 * 5 / 4)
    assert state.trials_per_minute == pytest.approx(4 / 0.5)


# --- throughput ---------------------------------------------------------------------------------------


@given(pace_s=st.floats(0.5, 120), steps=st.integers(20, 60))
def test_throughput_of_a_steady_course_is_its_pace(pace_s, steps):
    clock = Clock()
    pace = Pace(clock)
    for step in range(steps):
        pace.note(float(step))
        if step < steps - 1:
            clock.now += pace_s
    assert pace.per_minute(float(steps - 1)) == pytest.approx(60 / pace_s)


def test_throughput_follows_the_last_minutes_and_falls_to_nothing_in_silence():
    clock = Clock()
    pace, work = Pace(clock), 0.0
    for _ in range(400):  # one unit of work a second, then one in ten seconds
        pace.note(work)
        clock.now, work = clock.now + 1, work + 1
    assert pace.per_minute(work) == pytest.approx(60, rel=0.05)
    for _ in range(100):
        pace.note(work)
        clock.now, work = clock.now + 10, work + 1
    assert pace.per_minute(work) == pytest.approx(6, rel=0.05)
    clock.now += WINDOW_S
    assert pace.per_minute(work) <= 60 / WINDOW_S * 2
    clock.now += 3 * WINDOW_S
    assert pace.per_minute(work) < 0.1


def test_throughput_is_not_known_at_first_and_never_negative():
    clock = Clock()
    pace = Pace(clock)
    assert pace.per_minute(0.0) is None
    pace.note(3.0)
    clock.now += SAMPLE_EVERY_S - 0.1
    assert pace.per_minute(3.0) is None
    clock.now += 0.2
    assert pace.per_minute(1.0) == 0.0, "a population that was lost goes back"


def test_samples_stay_few_however_long_it_takes():
    clock = Clock()
    pace = Pace(clock)
    for step in range(50_000):
        clock.now += 0.1
        pace.note(float(step))
    assert len(pace._samples) <= WINDOW_S / SAMPLE_EVERY_S + 2
