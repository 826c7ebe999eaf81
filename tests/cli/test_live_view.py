"""The view of a running sweep: it fits its terminal, loses no name, and prints plain lines where asked."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.cli.live import Wait
from sweeper.cli.live_view import live_line, live_table
from sweeper.tracking.live import STALE_AFTER_S, LiveState, Note, Stage, TaskState, View, plain
from tests.cli.test_tables import shown, words_of

LONG = "mri_images_of_a_long_name-10-occluded0.25-noise0.125-train50000-test10000"


@st.composite
def views(draw, most_tasks=30):
    chance = random.Random(draw(st.integers(0, 2**32)))
    largest = draw(st.sampled_from([9, 500, 100_000]))
    names = draw(st.lists(st.from_regex(r"[A-Za-z0-9._-]{1,90}", fullmatch=True), max_size=most_tasks, unique=True))
    rows = []
    for name in names:
        parts = [chance.choice([0, chance.randint(0, largest // 9)]) for _ in range(4)]
        points = chance.choice([None, chance.randint(0, largest)])
        rows.append(
            TaskState(
                name,
                max(1, sum(parts) + chance.choice([0, 1, largest // 2])),
                *parts,
                cells=chance.choice([0, 1, 27]),
                best_accuracy=chance.choice([None, chance.random()]),
                hypervolume=None if points is None else chance.random() * 10 ** chance.randint(-8, 12),
                points=points,
                is_early=points is not None and chance.random() < 0.3,
            )
        )
    state = LiveState(
        draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True)),
        tuple(rows),
        stage=draw(st.sampled_from(Stage)),
        work=sum(row.ended for row in rows) + chance.random(),
        trials_per_minute=draw(st.none() | st.floats(0, 1e4)),
        seconds_left=draw(st.none() | st.floats(0, 1e6)),
        busy=draw(st.integers(0, 64)),
        workers=draw(st.sampled_from([0, 64])),
        written_ms=10**12,
        since_ms=draw(st.integers(0, 10**12)),
        notes=draw(st.sampled_from([(), (Note(10**12 - 5000, "a worker [bold] died " * 9),)])),
    )
    return View(
        state, draw(st.floats(0, 1e5)), draw(st.sampled_from(["", "it is away: " + "x" * 150])), "sweeper resume a"
    )


def names_and_numbers(text):
    """Return the first column of a table, joined over its lines, and the second column."""
    lines = text.splitlines()
    head = next(at for at, line in enumerate(lines) if line.startswith(" task "))
    rows = lines[head + 2 : [*lines, ""].index("", head)]
    end = lines[head].index("done") + len("done")
    numbers = [found[0] for row in rows if (found := re.findall(r"\d+/\d+$", row[:end]))]
    start = end - max(map(len, [*numbers, "done"]))
    return "".join("".join(row[:start].split()) for row in rows), numbers


@given(view=views(), width=st.integers(80, 200))
def test_table_fits_the_terminal_and_every_name_and_number_is_whole(view, width):
    text = shown(live_table(view, width), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    rows = view.state.tasks
    names, numbers = names_and_numbers(text)
    assert numbers == [f"{row.ended}/{row.planned}" for row in rows]
    assert names == "".join(row.task + (f"({row.cells}cells)" if row.cells > 1 else "") for row in rows)
    assert {f"{row.best_accuracy:.3f}" for row in rows if row.best_accuracy is not None} <= words_of(text)
    volumes = {f"{'~' * row.is_early}{row.hypervolume:.4g}" for row in rows if row.hypervolume is not None}
    assert volumes <= words_of(text)


@given(view=views(), height=st.integers(20, 60))
def test_table_is_no_higher_than_the_terminal_and_counts_what_it_folds(view, height):
    text = shown(live_table(view, 80, height), 80)
    assert len(text.splitlines()) <= height
    names, numbers = names_and_numbers(text)
    rows, folded = view.state.tasks, re.search(r"and(\d+)tasks?more$", names)
    left_out = int(folded[1]) if folded else 0
    assert len(numbers) == len(rows) - left_out + bool(left_out)
    assert sum(int(number.split("/")[1]) for number in numbers) == view.state.total.planned
    assert sum(row.task in names for row in rows) >= len(rows) - left_out


def test_small_terminal_shows_one_task_at_least():
    rows = [TaskState(f"digits-{number}", 2, running=number == 5) for number in range(9)]
    text = shown(live_table(a_view(*rows), 80, 3), 80)
    assert "digits-5" in text
    assert "and 8 tasks more" in text


def a_view(*rows, **changes):
    values = {"workers": 2, "busy": 2, "written_ms": 600_000, "since_ms": 0} | changes
    return View(LiveState("mine", rows, **values), resume="sweeper resume mine")


def test_long_name_goes_on_in_the_next_line_after_a_hyphen():
    text = shown(live_table(a_view(TaskState(LONG, 12, complete=7, running=4)), 80))
    (first,) = [line for line in text.splitlines() if re.search(r" 7/12 +4$", line)]
    assert first.split()[0].endswith("-")
    assert names_and_numbers(text) == (LONG, ["7/12"])


def test_table_says_of_a_task_what_is_known_and_nothing_else():
    view = a_view(
        TaskState("digits-10", 12, complete=7, running=4, best_accuracy=0.95149, hypervolume=42.391, points=9),
        TaskState("digits-3", 12),
    )
    text = shown(live_table(view))
    assert re.search(r"^ task +done +running +best +hypervolume +front$", text, re.M)
    assert re.search(r"^ digits-10 +7/12 +4 +0\.951 +42\.39 +9$", text, re.M)
    assert re.search(r"^ digits-3 +0/12$", text, re.M)


def test_columns_of_what_never_happened_are_left_out_and_cells_of_a_search_are_said():
    view = a_view(TaskState("digits-10", 12, complete=1, pruned=2, failed=3, cells=4))
    text = shown(live_table(view))
    assert re.search(r"^ task +done +running +pruned +failed +best +hypervolume +front$", text, re.M)
    assert re.search(r"^ digits-10 \(4 cells\) +6/12 +2 +3$", text, re.M)


def test_table_says_progress_time_left_throughput_workers_and_the_last_note():
    notes = (Note(1, "older"), Note(595_000, "the [bold]server[/bold] is away"))
    row = TaskState("digits-10", 24, complete=14, running=2, failed=1)
    text = shown(live_table(a_view(row, work=16.2, seconds_left=125.0, trials_per_minute=6.34, notes=notes), 80))
    lines = text.splitlines()
    assert lines[0] == "mine  15/24 trials done, 2 running, 1 failed · 68 % of the work"
    assert re.fullmatch("[━╸╺]{41}.*", lines[1]), "68 % of 60 columns"
    assert lines[2] == "2 min left · 6.3 trials a minute · 2 of 2 workers busy · driven for 10 min"
    assert lines[-1] == "note, 5 s before: the [bold]server[/bold] is away"
    assert "older" not in text


def test_sweep_that_has_ended_has_no_bar():
    ended = a_view(TaskState("digits-10", 24, complete=24), work=24, stage=Stage.FINISHED)
    assert "━" not in shown(live_table(ended, 80))


def test_wait_is_told_in_seconds_once_it_is_one():
    now = 0.0
    wait = Wait("starting Ray", clock=lambda: now)
    assert shown(wait.draw()).endswith(" starting Ray")
    now = 7.4
    assert shown(wait.draw()).endswith(" starting Ray · 7 s")
    late = Wait("drawing", after_s=2, clock=lambda: now)
    assert shown(late.draw()) == ""
    now = 9.5
    assert shown(late.draw()).endswith(" drawing · 2 s")


def test_slow_sweep_says_its_throughput_by_the_hour_and_a_fast_one_without_decimals():
    said = [live_line(a_view(TaskState("a", 2), trials_per_minute=rate)) for rate in (0.0, 0.05, 1.0, 417.3)]
    words = [re.search(r"· ([\d.]+ trials an? \w+) ·", line)[1] for line in said]
    assert words == ["0.0 trials a minute", "3.0 trials an hour", "1.0 trials a minute", "417 trials a minute"]


def test_sweep_without_progress_is_starting_and_one_that_only_goes_back_does_not_say_when_it_ends():
    starting = a_view(TaskState("digits-10", 8), busy=0, workers=0, written_ms=3000)
    assert live_line(starting) == ("0/8 trials done, 0 running, 0 failed · starting · driven for 3 s · digits-10 0/8")
    lost = a_view(TaskState("digits-10", 8), trials_per_minute=0.0)
    assert "time left is not known yet · 0.0 trials a minute · 2 of 2 workers busy" in live_line(lost)


# --- lines --------------------------------------------------------------------------------------------


@given(view=views())
def test_line_is_one_line_of_printable_characters_and_sums_up_what_it_leaves_out(view):
    line = live_line(view)
    assert line.isprintable()
    assert plain(line) == " ".join(line.split())
    total = view.state.total
    assert line.startswith(f"{total.ended}/{total.planned} trials done, {total.running} running, {total.failed} failed")
    said = sum(f" · {row.task} {row.ended}/{row.planned}" in line for row in view.state.tasks)
    more = re.search(r" · and (\d+) tasks? more, ", line)
    assert said >= len(view.state.tasks) - (int(more[1]) if more else 0)
    assert said == len(view.state.tasks) or said >= 4


def test_line_says_of_tasks_how_far_they_are_and_what_they_have_found():
    view = a_view(TaskState("digits-10", 12, complete=7, best_accuracy=0.97651, hypervolume=42.391, points=9), busy=1)
    assert live_line(view).endswith(
        " · 1 of 2 workers busy · driven for 10 min · digits-10 7/12, best 0.977, 9 on the front, hypervolume 42.39"
    )


# --- warnings -----------------------------------------------------------------------------------------

SILENT = "last heard of 3 min ago: its driver may be gone; continue with `sweeper resume mine`"


@pytest.mark.parametrize(
    ("stage", "age_s", "trouble", "said"),
    [
        (Stage.RUNNING, 180.0, "", SILENT),
        (Stage.RUNNING, STALE_AFTER_S, "", ""),
        (Stage.RUNNING, 180.0, "it is away", "nothing heard for 3 min, trying again: it is away"),
        (Stage.FINISHED, 7200.0, "", "finished 2.0 h ago"),
        (Stage.INTERRUPTED, 4.0, "", "interrupted 4 s ago; continue with `sweeper resume mine`"),
    ],
)
def test_silence_trouble_and_ends_are_said_with_the_way_on(stage, age_s, trouble, said):
    view = replace(a_view(TaskState("a", 2), stage=stage), age_s=age_s, trouble=trouble)
    words = " ".join(shown(live_table(view)).split())
    assert words.endswith(said or "a 0/2")
    assert live_line(view).endswith(said or "a 0/2")


def test_sweep_that_has_ended_says_how_long_it_took_and_no_time_left():
    view = a_view(TaskState("a", 2, complete=2), stage=Stage.FINISHED, seconds_left=0.0, trials_per_minute=3.0)
    assert shown(live_table(view)).splitlines()[1] == "driven for 10 min"


def test_front_of_networks_in_training_is_not_shown_as_that_of_complete_ones():
    row = TaskState("digits-10", 6, running=6, best_accuracy=0.5, hypervolume=2.5, points=3, is_early=True)
    view = a_view(row)
    assert re.search(r"digits-10 +0/6 +6 +0\.500 +~2\.5 +~3", shown(live_table(view, 80)))
    assert "digits-10 0/6, best 0.500, 3 would be on the front now, hypervolume 2.5" in live_line(view)
