"""The live state of a sweep, as text and back: whole if the text has room, otherwise with folded tasks."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.errors import QueryError
from sweeper.tracking.live import (
    LIVE_FORMAT,
    LONGEST_NOTE,
    LONGEST_TEXT,
    STALE_AFTER_S,
    WRITTEN_AFTER_S,
    LiveState,
    Note,
    Stage,
    TaskState,
    View,
    plain,
    shortened_note,
    together,
)

COUNTS = st.integers(0, 10_000)
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40).map(shortened_note)
TASKS = st.builds(
    TaskState, st.text("abc-0.9", max_size=30), COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, NUMBERS, NUMBERS,
    st.none() | COUNTS, st.booleans(),
)  # fmt: skip


@st.composite
def states(draw, most_tasks=8):
    return LiveState(
        sweep=draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True)),
        tasks=tuple(draw(st.lists(TASKS, max_size=most_tasks))),
        folded=draw(COUNTS),
        rest=draw(TASKS),
        stage=draw(st.sampled_from(Stage)),
        work=draw(st.floats(0, 1e5)),
        trials_per_minute=draw(NUMBERS),
        seconds_left=draw(NUMBERS),
        busy=draw(COUNTS),
        workers=draw(COUNTS),
        since_ms=draw(COUNTS),
        written_ms=draw(COUNTS),
        notes=tuple(draw(st.lists(st.builds(Note, COUNTS, TEXTS), max_size=3))),
    )


def many(tasks, **changes):
    """Return a state of so many tasks with very long names."""
    chance = random.Random(tasks)
    rows = [
        TaskState(
            f"digits-{number}-occluded0.25-noise0.1-train1000-test500",
            20,
            complete=chance.randint(0, 10),
            running=chance.choice([0, 0, 0, 4]),
            best_accuracy=chance.random(),
            hypervolume=chance.random() * 1e5,
            points=7,
        )
        for number in range(tasks)
    ]
    return LiveState("many", tuple(rows), **changes)


@given(state=states())
def test_state_reads_back_as_it_was_written(state):
    assert LiveState.from_json(state.to_json()) == state


@given(tasks=st.integers(0, 600), notes=st.integers(0, 3))
def test_state_of_any_number_of_tasks_is_short_and_loses_no_trial(tasks, notes):
    state = many(tasks, notes=(Note(1, "\U0001f600" * LONGEST_NOTE),) * notes)
    text = state.to_json()
    read = LiveState.from_json(text)
    assert len(text.encode()) <= LONGEST_TEXT
    assert read.total == state.total
    assert len(read.tasks) + read.folded == tasks
    assert read.notes == state.notes
    assert set(read.tasks) <= set(state.tasks)


def test_five_hundred_tasks_are_folded_to_those_that_are_trained_and_there_is_room_for_many():
    state = many(500)
    read = LiveState.from_json(state.to_json())
    assert len(read.tasks) > 25
    assert all(row.running for row in read.tasks)
    assert sum(bool(row.running) for row in state.tasks) > len(read.tasks), "or it would not show what is preferred"


@given(state=states(), most=st.integers(0, 9), fewer=st.integers(0, 9))
def test_folding_keeps_sums_order_and_the_most_active(state, most, fewer):
    folded = state.at_most(most)
    assert folded.total == state.total
    assert len(folded.tasks) == min(most, len(state.tasks))
    assert folded.folded - state.folded == len(state.tasks) - len(folded.tasks)
    order = iter(state.tasks)
    assert all(row in order for row in folded.tasks)  # the iterator checks the order
    kept = [row.running for row in folded.tasks]
    assert sorted(kept, reverse=True) == sorted((row.running for row in state.tasks), reverse=True)[: len(kept)]
    assert folded.at_most(fewer).total == state.at_most(fewer).total


def test_what_is_begun_is_shown_before_what_waits_and_that_before_what_has_ended():
    ended, waits, begun, runs = (
        TaskState("ended", 2, complete=2),
        TaskState("waits", 2),
        TaskState("begun", 2, failed=1),
        TaskState("runs", 2, running=1),
    )
    state = LiveState("s", (ended, waits, begun, runs))
    assert [[row.task for row in state.at_most(most).tasks] for most in (1, 2, 3)] == [
        ["runs"],
        ["begun", "runs"],
        ["waits", "begun", "runs"],
    ]


def test_sums_have_the_best_accuracy_and_no_hypervolume():
    rows = [TaskState("a", 2, best_accuracy=0.25, hypervolume=1.0, points=1), TaskState("b", 3, failed=1)]
    assert together(rows) == TaskState("", 5, failed=1, best_accuracy=0.25)
    assert together([]) == TaskState("", 0)


def test_newer_format_is_refused_with_both_numbers():
    values = json.loads(many(1).to_json())
    text = json.dumps({**values, "format": LIVE_FORMAT + 1, "columns": ["what", "is", "new"]})
    with pytest.raises(QueryError, match=rf"format {LIVE_FORMAT + 1}, .* reads up to {LIVE_FORMAT}\."):
        LiveState.from_json(text)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"format": 1}', '{"format": "x"}', "half of", "7"])
def test_damaged_state_is_refused_with_its_beginning(text):
    with pytest.raises(QueryError, match=r"cannot be read.*sweeper mirror") as refused:
        LiveState.from_json(text)
    assert repr(text) in str(refused.value)


@given(cut=st.integers(0, 300))
def test_cut_state_is_refused(cut):
    text = many(1).to_json()
    with pytest.raises(QueryError):
        LiveState.from_json(text[: min(cut, len(text) - 1)])


@given(state=states())
def test_values_for_programs_hold_all_that_is_known_and_are_json(state):
    values = json.loads(json.dumps(View(state, 3.0).to_values()))
    assert values["total"]["planned"] == sum(row["planned"] for row in values["tasks"]) + values["rest"]["planned"]
    assert [row["task"] for row in values["tasks"]] == [row.task for row in state.tasks]
    assert values["total"]["waiting"] == state.total.waiting
    assert (values["stage"], values["last_heard_s"]) == (str(state.stage), 3.0)


# --- texts with control characters ---------------------------------------------------------------------


@given(text=st.text())
def test_plain_text_is_one_line_of_what_can_be_printed(text):
    said = plain(text)
    assert said.isprintable()
    assert said == plain(said)
    said.encode()
    assert len(shortened_note(text)) <= LONGEST_NOTE


def test_plain_text_keeps_words_and_loses_colours_titles_and_line_ends():
    assert plain("\x1b[1;31mred\x1b[0m\r\n  and\tplain \x1b]0;title\x07\x9b2Jü ↑\ud800") == "red and plain 2Jü ↑?"


# --- staleness ----------------------------------------------------------------------------------------


@given(age_s=st.floats(0, 1e6), stage=st.sampled_from(Stage), trouble=st.sampled_from(["", "away"]))
def test_view_is_stale_where_a_driver_is_silent_that_should_speak_and_could_be_heard(age_s, stage, trouble):
    view = View(replace(many(1), stage=stage), age_s, trouble)
    assert view.is_stale == (stage is Stage.RUNNING and not trouble and age_s > STALE_AFTER_S)


def test_driver_that_lives_is_never_stale_by_a_single_late_word():
    assert STALE_AFTER_S >= 3 * WRITTEN_AFTER_S
    assert math.isfinite(STALE_AFTER_S)


FORMAT_1 = (
    '{"format":1,"sweep":"small","folded":0,"stage":"running","work":1.5,"trials_per_minute":null,"seconds_left":null,'
    '"busy":1,"workers":2,"since_ms":5,"written_ms":9,"columns":["task","planned","complete","pruned","failed","running",'
    '"cells","best_accuracy","hypervolume","points"],"tasks":[["digits-10",6,1,0,0,2,0,0.5,2.5,1]],'
    '"rest":["",0,0,0,0,0,0,null,null,null],"notes":[]}'
)


def test_state_of_format_1_is_read():
    (row,) = LiveState.from_json(FORMAT_1).tasks
    assert row == TaskState("digits-10", 6, 1, running=2, best_accuracy=0.5, hypervolume=2.5, points=1)
