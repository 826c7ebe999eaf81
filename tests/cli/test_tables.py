"""Tables on a terminal: fronts are never cut, and counts are in words."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from io import StringIO

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sweeper.analysis.fronts import Front, compute_front
from sweeper.cli.network_table import network_summary
from sweeper.cli.status_tables import duration, outcome_line, status_table, sweeps_table
from sweeper.cli.tables import estimate_table, front_table
from sweeper.driver.estimate import Estimate
from sweeper.ledger.counts import Counts
from sweeper.ledger.standing import Standing
from sweeper.measurements import DECIDING, MEASUREMENTS, WALLS, Goal, Objective
from sweeper.model import Graph
from sweeper.network import StepHistogram
from sweeper.trial import Outcome
from tests.analysis.test_fronts import a_trial

NETWORKS = 3
USUAL = ("accuracy", "breadth", "depth", "time")


def a_key(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def a_front(names=USUAL, *, seeds=1, layers=(8, 8, 8), scale=1.0, walls=(), version=1, tested=None):
    """Return a front whose networks buy accuracy with everything else, with keys as the ledger makes them."""
    objectives = [Objective(name, Goal.MAXIMIZE if "accuracy" in name else Goal.MINIMIZE) for name in names]
    trials = []
    for number in range(NETWORKS):
        for seed in range(seeds):
            values = dict.fromkeys(DECIDING if tested is None else MEASUREMENTS, scale * (number + 1) + seed / 8)
            values["accuracy"] = 0.25 * (number + 1) + seed / 100
            values |= tested or {}
            trials.append(
                a_trial(
                    number * seeds + seed,
                    setting=f"s{number}",
                    seed=seed,
                    key=a_key(f"{number} {seed}"),
                    measurement=values | dict.fromkeys(walls, 1.0),
                    details={"channels_per_layer": list(layers)},
                )
            )
    return compute_front(
        trials,
        sweep="small",
        task="digits-10",
        objectives=objectives,
        reference_point={name: 0.0 if "accuracy" in name else 1e12 for name in names},
        version=version,
    )


def shown(renderable, width=80, **options):
    """Return the text on a terminal of so many columns, without the spaces at line ends."""
    file = StringIO()
    Console(width=width, file=file).print(renderable, **options)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def words_of(text):
    return set(text.split())


# --- fronts -----------------------------------------------------------------------------------------


@given(
    seeds=st.integers(1, 4),
    layers=st.lists(st.integers(0, 1024), max_size=12),
    walls=st.sets(st.sampled_from(list(WALLS))),
    width=st.integers(80, 200),
)
def test_front_of_the_usual_objectives_fits_the_terminal_and_nothing_is_cut(seeds, layers, walls, width):
    front = a_front(seeds=seeds, layers=layers, walls=walls)
    text = shown(front_table(front, width), width)
    keys = set(front.table["key"].to_pylist())
    assert len(keys) == NETWORKS
    assert keys <= words_of(text)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert {str(channels) for channels in layers} <= words_of(text)


@given(
    names=st.permutations(list(DECIDING)).flatmap(lambda names: st.integers(1, 14).map(lambda n: names[:n])),
    seeds=st.integers(1, 3),
    layers=st.lists(st.integers(0, 1024), max_size=12),
    scale=st.sampled_from([1.0, 1e3, 1e8]),
)
def test_front_of_any_objectives_shows_every_key_whole_and_names_in_parts_at_most_where_it_is_not_cropped(
    names, seeds, layers, scale
):
    front = a_front(("accuracy", "time", *(set(names) - {"accuracy", "time"})), seeds=seeds, layers=layers, scale=scale)
    text = shown(front_table(front, 80), 80, crop=False)
    words = words_of(text)
    assert set(front.table["key"].to_pylist()) | {"layers", "wall", "key"} <= words
    assert all(name in words or set(re.findall("[^_]+_?", name)) <= words for name in names)
    assert "…" not in text
    assert set(names) <= words_of(shown(front_table(front, 1000), 1000))


def test_front_says_task_volume_version_and_reference_point():
    front = a_front(("accuracy", "time"), version=7)
    text = shown(front_table(front))
    assert f"digits-10: 3 non-dominated networks, hypervolume {front.hypervolume:.4g}" in text
    assert "front version 7 · reference point: accuracy 0, time 1e+12" in text


def test_front_marks_the_direction_of_its_objectives_only():
    text = shown(front_table(a_front(("accuracy", "time")), 120), 120)
    assert re.search(r"accuracy ↑ +breadth +depth +time ↓ +time_pressure +layers", text)


def test_front_shows_what_made_its_networks_where_the_width_allows():
    front = a_front()
    pressures = front.table["time_pressure"].to_pylist()
    assert len(set(pressures)) == NETWORKS
    text = shown(front_table(front, 120), 120)
    assert re.search(r"time ↓ +time_pressure +layers", text), text
    assert all(f" {pressure:g} " in text for pressure in pressures)
    narrow = shown(front_table(front, 50), 50, crop=False)
    assert "pressure" not in narrow
    assert set(front.table["key"].to_pylist()) <= words_of(narrow)


def test_front_of_an_earlier_version_shows_the_axes_in_which_its_rows_differ():
    front = replace(a_front(), varied=None)
    assert "time_pressure" in shown(front_table(front, 120), 120)
    one = replace(front, table=front.table.slice(0, 1))
    assert "time_pressure" in shown(front_table(one, 120), 120), "of one row all pressures are shown"
    assert front_table(replace(front, table=front.table.slice(0, 0)), 120)


def test_axis_of_a_sweep_is_shown_though_all_of_its_front_have_one_value():
    front = a_front()
    assert front.varied == ("time_pressure",)
    same = replace(front, table=pa.concat_tables([front.table.slice(0, 1)] * 2))
    assert "time_pressure" in shown(front_table(same, 120), 120)
    assert Front.from_parquet_bytes(front.to_parquet_bytes()).varied == front.varied


def test_front_shows_a_network_in_one_row_with_its_walls_and_layers():
    front = a_front(layers=(4, 0, 2), walls=("limited_breadth", "limited_time"))
    (line, _, _) = (line for line in shown(front_table(front)).splitlines() if "4 0 2" in line)
    assert line.split() == ["0.250", "1.0", "1.0", "1.00", "0", "4", "0", "2", "bt", front.table["key"][0].as_py()]


def test_front_shows_test_accuracy_with_its_standard_error_beside_what_was_decided_by():
    tested = {"test_accuracy": 0.95, "test_accuracy_se": 0.0103}
    text = shown(front_table(a_front(("accuracy", "time"), tested=tested), 110), 110)
    assert re.search(r"accuracy ↑ +breadth +depth +time ↓ +test_accuracy +time_pressure +layers", text)
    assert text.count("0.950 ±0.010") == NETWORKS
    assert "measured on validation images; test_accuracy ± its standard error on test images" in text


def test_front_of_one_replicate_has_no_spread_and_of_several_says_how_many():
    assert not re.search(r"±\d", shown(front_table(a_front())))
    wide = shown(front_table(a_front(seeds=3), 200), 200)
    assert re.search(r"0\.260 ±0\.010 .* 3  8 8 8", wide)


def test_front_of_replicates_in_a_narrow_terminal_shows_spreads_below_their_means():
    lines = shown(front_table(a_front(seeds=3))).splitlines()
    (at,) = (number for number, line in enumerate(lines) if "0.260" in line)
    assert lines[at].index("0.260") + len("0.260") == lines[at + 1].index("±0.010") + len("±0.010")


def test_front_that_fits_with_its_titles_in_lines_alone_has_them_so():
    front = a_front(("accuracy", "time", "cost_breadth", "last_accuracy"))
    text = shown(front_table(front, 80), 80, crop=False)
    assert max(map(len, text.splitlines())) <= 80
    assert {"cost_", "last_", "↑", *front.table["key"].to_pylist()} <= words_of(text)
    assert {"cost_breadth", "last_accuracy"} <= words_of(shown(front_table(front, 100), 100))


def test_front_has_its_task_in_bold_and_no_markup():
    front = replace(a_front(), task="[red]a")
    headline = front_table(front).renderables[0]
    (span,) = headline.spans
    assert (headline.plain[span.start : span.end], span.style) == ("[red]a", "bold")


def test_front_without_networks_still_shows_its_columns():
    front = a_front(("accuracy", "time"))
    empty = compute_front(
        [], sweep="small", task="digits-10", objectives=front.objectives, reference_point=front.reference_point
    )
    text = shown(front_table(empty))
    assert "digits-10: 0 non-dominated networks, hypervolume 0" in text
    assert {*USUAL, "layers", "wall", "key"} <= words_of(text)


def test_front_without_known_layers_or_values_says_so():
    trial = a_trial(details={}, measurement={"accuracy": 0.5, "time": 2.0})
    objectives = (Objective("accuracy", Goal.MAXIMIZE),)
    front = compute_front(
        [trial], sweep="small", task="digits-10", objectives=objectives, reference_point={"accuracy": 0}
    )
    (line,) = (line for line in shown(front_table(front)).splitlines() if trial.key in line)
    assert line.split() == ["0.500", "-", "-", "2.00", "none", trial.key]


# --- time spans -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3, "0 s"),
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (60, "1 min"),
        (3569, "59 min"),
        (3599, "1.0 h"),
        (5400, "1.5 h"),
        (359_000, "99.7 h"),
        (360_000, "4 days"),
        (86_400_000, "1000 days"),
    ],
)
def test_duration_is_said_as_people_say_it(seconds, said):
    assert duration(seconds) == said


@given(seconds=st.floats(0, 1e7))
def test_duration_is_within_a_rounding_of_the_truth_and_never_says_sixty(seconds):
    number, unit = duration(seconds).split()
    size = {"s": 1, "min": 60, "h": 3600, "days": 86400}[unit]
    assert abs(float(number) * size - seconds) <= size / 2 + 1e-6
    assert unit in ("h", "days") or float(number) < 60


# --- counts in words --------------------------------------------------------------------------------


def counts_of(planned, complete=0, running=0, failed=0):
    outcomes = dict.fromkeys(map(str, Outcome), 0) | {"complete": complete, "failed": failed}
    return Counts(planned, complete, running, planned - complete - running - failed, outcomes)


def test_outcome_line_names_every_kind_that_happened_and_no_other():
    outcomes = dict.fromkeys(map(str, Outcome), 0) | {"complete": 5, "not_finite": 2, "out_of_memory": 1}
    assert outcome_line(Counts(12, 5, 3, 1, outcomes)) == (
        "12 trials: 5 complete, 2 not finite, 1 out of memory, 3 running, 1 waiting"
    )
    assert outcome_line(counts_of(3, complete=3)) == "3 trials: 3 complete"


@given(numbers=st.lists(st.integers(0, 9), min_size=2 + len(Outcome), max_size=2 + len(Outcome)).filter(any))
def test_outcome_line_adds_up(numbers):
    running, waiting, *ended = numbers
    outcomes = dict(zip(map(str, Outcome), ended, strict=True))
    planned, *parts = map(
        int, re.findall(r"\d+", outcome_line(Counts(sum(numbers), ended[0], running, waiting, outcomes)))
    )
    assert sum(parts) == planned == sum(numbers)
    assert 0 not in parts


def test_status_shows_every_kind_of_failure_and_the_driver():
    counts = counts_of(9, complete=3, running=2, failed=4)
    text = shown(status_table(Standing("mine", counts, "process 12 on host since now", None)))
    rows = dict(re.findall(r"^ *(\w[\w ]*?) {2,}(\d+)$", text, re.MULTILINE))
    expected = {"planned": "9", "complete": "3", "running": "2", "waiting": "0", "failed": "4"}
    others = dict.fromkeys(("pruned", "not finite", "missing objective", "out of memory", "timed out", "lost"), "0")
    assert rows == expected | others
    assert " ".join(text.split()).startswith("sweep mine: running, driven by process 12 on host since now trials")


@pytest.mark.parametrize(
    ("counts", "is_begun", "says"),
    [
        (counts_of(9, complete=5, failed=4), True, "sweep mine: finished"),
        (counts_of(9, complete=5), True, "sweep mine: interrupted; continue with `sweeper resume mine`"),
        (counts_of(9), True, "sweep mine: interrupted; continue with `sweeper resume mine`"),
        (counts_of(9), False, "sweep mine: idle, no trial has begun; start it with `sweeper resume mine`"),
    ],
)
def test_first_line_of_status_says_how_a_sweep_stands(counts, is_begun, says):
    assert shown(status_table(Standing("mine", counts, None, None, is_begun))).splitlines()[0] == says


def test_sweep_that_cannot_be_driven_is_not_offered_to_be_resumed():
    standing = Standing("mine", counts_of(9, complete=5), None, None)
    assert shown(status_table(standing, None)).splitlines()[0] == "sweep mine: interrupted"
    assert "`sweeper resume mine --home there`" in shown(status_table(standing, " --home there"))


def test_sweeps_are_shown_a_row_each_with_long_names_whole():
    name = "n" * 100
    text = shown(
        sweeps_table([
            Standing("mine", counts_of(9, complete=3), None, None),
            Standing(name, counts_of(1, running=1), "process 12", None),
        ]),
        crop=False,
    )
    assert re.search(r"mine +interrupted +9 +3 +0 +6\n", text)
    assert re.search(rf"^ ?{name} +running +1 +0 +1 +0 *$", text, re.MULTILINE), "it is what other commands take"


def test_estimate_says_its_numbers_with_units_and_that_it_is_one():
    estimate = Estimate(
        {"digits-10": 6, "digits-3": 2},
        {},
        "tpe tries 4 settings",
        4,
        2,
        5400.0,
        5600.0,
        False,
        False,
        0.2,
        3 * 2**30,
        5 * 2**20,
    )
    text = shown(estimate_table(estimate, 2))
    assert not any(said in text for said in ("at least 1.5 h", "at most 1.5 h", "others want"))
    grows, ends_early = (shown(estimate_table(replace(estimate, **{it: True}), 2)) for it in ("grows", "ends_early"))
    assert "at least 1.5 h" in grows
    assert "at most 1.5 h" in ends_early
    busy = shown(estimate_table(replace(estimate, load=3.2, train_s=720_000), 2))
    assert "3 others want a processor now; beside them it would take 8 days" in " ".join(busy.split())
    for said in (
        "task digits-10",
        "tpe tries 4 settings",
        "6 trials",
        "4 of at most 2 networks",
        "1.5 h of training on 2 workers",
        "estimated memory",
        "3.0 GiB",
        "estimated disk",
        "5 MiB",
    ):
        assert said in text


# Networks


def a_graph(channels=(3, 2), step_dist=(0.25, 0.75)):
    image, sides = (1, 8, 8), ((8, 8), (4, 4))[: len(channels)]
    return Graph(image, 10, tuple(channels), sides, tuple(step_dist), (), (), (), (), 321)


def test_network_summary_lists_layers_from_the_deepest_and_a_bar_for_each_step():
    text = shown(network_summary(a_graph(), "digits-10 · trial abc", {"accuracy": 0.9275}))
    for line in (
        r"digits-10 · trial abc",
        r"2 layers of 3 \+ 2 channels",
        r"accuracy, validation +0.927",
        r"breadth, channels +3\b",
        r"time, steps +1.75",
        r"parameters +321",
        r"2 +2 +4×4\s+1 +3 +8×8\s+image +1 +8×8",
        r"1 +25 % +█{8}\s",
        r"2 +75 % +█{22}\s",
    ):
        assert re.search(line, text), line


def test_network_summary_says_what_made_the_network_as_far_as_its_file_tells():
    setting = {"lattice.channels": 8, "lattice.layers": 3, "lattice.steps": 4, "lattice.time_selection": "state"}
    setting |= {
        "training.updates": 1200,
        "breadth_pressure": 0.003,
        "depth_pressure": 0.0,
        "wiring_pressure": 2.0,
        "seed": 1,
    }
    text = shown(network_summary(a_graph(), "digits-10", {}, None, setting), 200)
    assert "made by breadth_pressure 0.003, wiring_pressure 2, seed 1\n" in text
    assert "in a window of 8 channels × 3 layers × 4 steps, halting by state, 1200 updates\n" in text
    growing = shown(network_summary(a_graph(), "digits-10", {}, None, {"lattice.window": "auto", "seed": 0}), 200)
    assert "made by seed 0\n" in growing
    assert "window" not in growing
    assert "made by" not in shown(network_summary(a_graph(), "digits-10", {}))
    odd = {"lattice.channels": "eight", "seed": "none", "breadth_pressure": "[red]", "training.updates": 10**18}
    assert "eight" not in shown(network_summary(a_graph(), "digits-10", {}, None, odd), 200), "it comes from a file"


def test_network_that_its_window_limited_says_in_which_directions_and_whether_memory_did():
    measured = {"limited_depth": 1.0, "limited_time": 1.0, "limited_breadth": 0.0, "limited_memory": 1.0}
    text = shown(network_summary(a_graph(), "digits-10", measured), 200)
    assert "limited by its window in depth, time and the window by memory" in text
    assert "limited" not in shown(network_summary(a_graph(), "digits-10", {"accuracy": 0.9}))


def test_network_summary_of_no_layer_says_so():
    text = shown(network_summary(a_graph((), (1.0,)), "[bold]", {}))
    assert "[bold]" in text  # a title may look like markup
    assert "no living layer · 10 classes" in text
    assert "accuracy" not in text


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_network_summary_says_the_medians_of_right_and_wrong_answers(counts):
    right, wrong = zip(*counts, strict=True)
    edges = tuple(0.5 + part for part in range(len(counts) + 1))
    text = shown(network_summary(a_graph(), "digits-10", {}, StepHistogram(edges, right, wrong)), 200)
    for how, its in (("right", right), ("wrong", wrong)):
        images = sorted(part for part, count in enumerate(its) for _ in range(count))
        if images:
            median = images[(len(images) - 1) // 2]
            noun = "image" if len(images) == 1 else "images"
            assert f"{how} {median + 1} ({len(images)} {noun})" in text
        else:
            assert f"{how} " not in text.rpartition("median steps")[2]
    assert ("median steps" in text) is (sum(right) + sum(wrong) > 0)


def test_network_of_an_older_file_has_no_line_about_medians():
    assert "median" not in shown(network_summary(a_graph(), "digits-10", {}))


@pytest.mark.parametrize(
    ("edges", "said"),
    [
        ((0.5, 1.5, 2.5), ("1", "2")),
        ((0.5, 2.5, 4.5), ("1–2", "3–4")),
        ((1.0, 1.25, 1.5), ("1–1.25", "1.25–1.5")),  # older files count expected steps
        ((1.0, 1.5, 2.0), ("1–1.5", "1.5–2")),
    ],
)
def test_medians_are_whole_steps_but_in_older_files_which_count_expected_ones(edges, said):
    text = shown(network_summary(a_graph(), "digits-10", {}, StepHistogram(edges, (2, 0), (0, 2))), 200)
    assert f"median steps: right {said[0]} (2 images), wrong {said[1]} (2 images)" in text


def test_line_about_medians_fits_the_terminal():
    thought = StepHistogram((1.0, 1.25, 1.5), (9000, 0), (0, 1000))
    lines = shown(network_summary(a_graph(), "digits-10", {}, thought)).splitlines()
    assert lines[-1] == "median steps: right 1–1.25 (9,000 images), wrong 1.25–1.5 (1,000 images)"
