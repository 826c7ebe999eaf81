"""`sweeper pareto` and `sweeper trials`: questions to stored sweeps, and one message for every mistake in them."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from sweeper.analysis.trials import records_of
from sweeper.measurements import Goal, Objective
from sweeper.tracking.mlflow.recorder import MlflowRecorder
from tests.analysis.test_fronts import OBJECTIVES, REFERENCE, a_trial, stored_with_facts
from tests.cli.test_run import mistaken, place, sweeper  # noqa: F401  # fixtures
from tests.contracts.recorder import FACTS, a_failed_trial
from tests.support.stored import store

THREE = (*OBJECTIVES, Objective("macs", Goal.MINIMIZE))
THREE_REFERENCE = {**REFERENCE, "macs": 100.0}

#: Number -> accuracy, time, macs. 0, 1 and 2 are the front, 1 dominates 3, and 3 and 4 are equal.
VALUES = {0: (0.5, 1.0, 30), 1: (0.9, 2.0, 20), 2: (0.95, 4.0, 10), 3: (0.8, 2.5, 40), 4: (0.8, 2.5, 40)}


def a_key(number, seed=0):
    return f"{number}{seed}aaaaaaaaaaaaaa"


def some_trials(values=None, task="digits-10", seeds=(0, 1)):
    """Return complete trials, two replicates of each setting; replicates differ in accuracy by 0.02."""
    found = []
    for number, (accuracy, time, macs) in (VALUES if values is None else values).items():
        for seed in seeds:
            measured = {
                "accuracy": accuracy + 0.02 * (seed - 0.5),
                "time": time,
                "macs": macs,
                "breadth": 2.0,
                "depth": 1,
            }
            found.append(
                a_trial(
                    2 * number + seed,
                    key=a_key(number, seed) if task == "digits-10" else f"{task}-{number}-{seed}",
                    setting=f"s{number}",
                    seed=seed,
                    task=task,
                    axes={"time_pressure": 0.1 * number, "solver": "proximal"},
                    measurement={name: float(value) for name, value in measured.items()},
                )
            )
    return found


@pytest.fixture(scope="module")
def uri(tmp_path_factory, empty_database):
    """A database with sweeps of every kind."""
    folder = tmp_path_factory.mktemp("stored")
    shutil.copy(empty_database, folder / "mlflow.db")
    uri = f"sqlite:///{folder}/mlflow.db"
    failed = [
        a_failed_trial(20, key="bad0bad0bad0bad0", axes={"time_pressure": 2.0, "solver": "proximal"}),
        a_failed_trial(21, key="bad1bad1bad1bad1", reason="Traceback:\n  File x\nValueError: \x1b[31mno\n", axes={}),
    ]
    three = {"objectives": THREE, "reference_point": THREE_REFERENCE}
    store(
        uri,
        "mine",
        [*some_trials(), *failed, *some_trials({0: (0.7, 1.0, 30)}, "digits-3")],
        chosen=[("time", "accuracy")],
        **three,
    )
    store(uri, "other", some_trials({1: (0.9, 2.0, 20), 3: (0.6, 3.0, 5), 7: (0.5, 0.5, 50)}), **three)
    store(uri, "two-objectives", some_trials())
    store(uri, "other-corner", some_trials(), THREE, {**THREE_REFERENCE, "time": 20.0})
    store(uri, "another-task", some_trials(task="fashion-10"), **three)
    store(uri, "all-failed", failed, **three)
    store(uri, "one", some_trials({0: (0.7, 1.0, 30)}, seeds=(0,)), **three)
    store(uri, "alike", some_trials(dict.fromkeys(range(3), (0.5, 1.0, 5)), seeds=(0,)), **three)
    recorder = MlflowRecorder(uri)
    recorder.open(
        replace(
            FACTS,
            name="empty",
            aims='{"objectives": [["accuracy", "maximize"], ["time", "minimize"]], "reference_point": {"accuracy": 0, "time": 9}}',
        )
    )
    return uri


@pytest.fixture
def ask(sweeper, uri):  # noqa: F811
    """A command that must succeed: returns what it printed."""

    def call(command, name, *words):
        said = sweeper(command, name, "--tracking-uri", uri, *words)
        assert (said.code, said.err) == (0, "")
        return said.out

    return call


@pytest.fixture
def refused(mistaken, uri):  # noqa: F811
    """A command that must be refused: returns its one message."""
    return lambda command, name, *words: mistaken(command, name, "--tracking-uri", uri, *words)


DIGITS = ("--task", "digits-10")
ORIGIN = "Front version 1 · reference point: accuracy 0, time 10, macs 100"


# --- fronts over some objectives ------------------------------------------------------------------


def test_front_over_objectives_that_the_spec_chose_is_the_stored_one_in_any_order(ask):
    for names in ("accuracy,time", "time, accuracy"):
        text = ask("pareto", "mine", *DIGITS, "--objectives", names)
        assert "mine, digits-10: 3 non-dominated networks in time and accuracy" in text
        assert "front version 1 · reference point: time 10, accuracy 0" in text


def test_front_over_objectives_that_nobody_chose_is_computed_with_its_part_of_the_reference_point(ask):
    text = ask("pareto", "mine", *DIGITS, "--objectives", "accuracy,macs")
    assert "1 non-dominated network in accuracy and macs" in text
    origin = "front computed from the trials, not stored · reference point: accuracy 0, macs 100"
    assert origin in " ".join(text.split())
    (row,) = json.loads(ask("pareto", "mine", *DIGITS, "--objectives", "accuracy,macs", "--json"))
    assert (row["key"], row["front_version"]) == (a_key(2), 0)
    assert row["reference_point"] == {"accuracy": 0.0, "macs": 100.0}


def test_all_objectives_are_the_front_itself(ask):
    assert ask("pareto", "mine", "--objectives", "macs,time,accuracy") == ask("pareto", "mine")


def test_exported_front_carries_sweep_version_and_reference_point_in_every_row(ask, place):  # noqa: F811
    rows = json.loads(ask("pareto", "mine", "--json"))
    assert len(rows) == 4
    assert {(row["sweep"], row["front_version"]) for row in rows} == {("mine", 1)}
    assert [row["reference_point"] for row in rows] == [THREE_REFERENCE] * 4
    cells = list(csv.DictReader(io.StringIO(ask("pareto", "mine", "--format", "csv"))))
    assert {row["reference_point"] for row in cells} == {"accuracy=0.0;time=10.0;macs=100.0"}
    assert [float(row["accuracy"]) for row in cells] == [row["accuracy"] for row in rows]
    ask("pareto", "mine", "--format", "parquet", "-o", "front.parquet")
    table = pq.read_table("front.parquet")
    assert table.to_pylist() == rows
    assert table.schema.field("time").metadata[b"unit"] == b"steps"
    assert [path.name for path in place.iterdir()] == ["front.parquet"]


def test_conditions_with_or_choose_points_of_the_front(ask):
    rows = json.loads(
        ask("pareto", "mine", *DIGITS, "--json", "--where", "time < 2 or (macs <= 10 and accuracy > 0.9)")
    )
    assert [row["key"] for row in rows] == [a_key(0), a_key(2)]


def test_latex_of_fronts_is_a_table_each_with_its_origin(ask):
    text = ask("pareto", "mine", "--format", "latex")
    assert text.count("\\begin{tabular}") == 2
    assert r"\caption{Sweep mine, task digits-10: 3 non-dominated networks. Front version 1 $\cdot$ reference" in text
    assert "\\label{tab:mine-digits-10-v1}" in text
    assert a_key(1) in text


# --- the best that meets a condition --------------------------------------------------------------


def test_cheapest_network_that_is_accurate_enough_comes_with_the_next_best_and_the_gap(ask):
    words = ("--at", "accuracy >= 0.79", "--minimize", "time")
    text = ask("pareto", "mine", *DIGITS, *words)
    headline = "Sweep mine, task digits-10: the least time with accuracy >= 0.79 is 2.00 steps; the next best is 2.50, a gap of 0.5"
    assert headline in " ".join(text.split())
    assert ORIGIN in text
    (answer,) = json.loads(ask("pareto", "mine", *DIGITS, *words, "--json"))
    assert (answer["best"], answer["next"], answer["gap"]) == (2.0, 2.5, 0.5)
    assert [(row["role"], row["key"], row["on_front"]) for row in answer["points"]] == [
        ("best", a_key(1), True),
        ("next", a_key(3), False),
        ("next", a_key(4), False),
    ]
    assert (answer["sweep"], answer["front_version"], answer["reference_point"]) == ("mine", 1, THREE_REFERENCE)


def test_most_accurate_network_at_a_cost(ask):
    (answer,) = json.loads(ask("pareto", "mine", *DIGITS, "--at", "time <= 2.5", "--maximize", "accuracy", "--json"))
    assert answer["maximize"] == "accuracy"
    assert answer["points"][0]["key"] == a_key(1)
    rows = list(
        csv.DictReader(
            io.StringIO(ask("pareto", "mine", "--at", "time <= 2.5", "--maximize", "accuracy", "--format", "csv"))
        )
    )
    assert {(row["task"], row["sweep"], row["front_version"]) for row in rows} == {
        ("digits-10", "mine", "1"),
        ("digits-3", "mine", "1"),
    }


def test_what_nothing_reaches_is_refused_with_the_nearest_value(refused):
    message = refused("pareto", "mine", *DIGITS, "--at", "accuracy >= 0.99", "--minimize", "time")
    assert (
        "task 'digits-10': none of 5 settings has accuracy >= 0.99: the nearest accuracy is 0.950, of 20aaaa" in message
    )
    message = refused("pareto", "mine", "--at", "accuracy >= 0.99", "--minimize", "time")
    assert "'digits-3': none of 1 setting has accuracy >= 0.99: the nearest accuracy is 0.700" in message


def test_task_that_reaches_nothing_is_said_beside_one_that_does(ask):
    text = " ".join(ask("pareto", "mine", "--at", "accuracy >= 0.75", "--minimize", "time").split())
    assert "task digits-10: the least time with accuracy >= 0.75 is 2.00 steps" in text
    assert "task digits-3: none of 1 setting has accuracy >= 0.75: the nearest accuracy is 0.700" in text


# --- dominance, seeds -----------------------------------------------------------------------------


def test_settings_that_a_network_dominates_and_those_that_dominate_it(ask):
    (answer,) = json.loads(ask("pareto", "mine", "--dominated-by", a_key(1)[:6], "--json"))
    assert [(row["role"], row["key"]) for row in answer["points"]] == [
        ("asked", a_key(1)),
        ("dominated", a_key(3)),
        ("dominated", a_key(4)),
    ]
    text = " ".join(ask("pareto", "mine", "--dominating", a_key(3, 1)).split())
    assert f"{a_key(3, 1)}, not on the front, is dominated by 1 of 4 other settings" in text
    assert ORIGIN in text
    text = " ".join(ask("pareto", "mine", "--dominating", a_key(1)).split())
    assert f"{a_key(1)}, on the front, is dominated by 0 of 4 other settings" in text


def test_dominance_over_some_objectives(ask):
    (answer,) = json.loads(ask("pareto", "mine", "--dominating", a_key(0), "--objectives", "accuracy,macs", "--json"))
    assert [row["key"] for row in answer["points"][1:]] == [a_key(1), a_key(2)]


def test_seeds_are_shown_with_mean_spread_and_number(ask):
    text = ask("pareto", "mine", *DIGITS, "--seeds")
    assert "3 non-dominated settings with 2 seeds, mean ± standard deviation" in " ".join(text.split())
    assert ORIGIN in text
    rows = [line.split() for line in text.splitlines() if "±0.0" in line]
    assert [row[:2] for row in rows] == [["0.500", "±0.014"], ["0.900", "±0.014"], ["0.950", "±0.014"]]
    assert [row[-2:] for row in rows] == [["2", a_key(n)] for n in (0, 1, 2)]
    (answer,) = json.loads(ask("pareto", "mine", *DIGITS, "--seeds", "--json"))
    assert {tuple(row["seeds"]) for row in answer["points"]} == {(0, 1)}
    assert {row["macs_sd"] for row in answer["points"]} == {0.0}


# --- two sweeps -----------------------------------------------------------------------------------


def test_comparison_says_what_was_gained_and_lost(ask):
    (answer,) = json.loads(ask("pareto", "mine", "--compare", "other", "--json"))
    assert answer["compared_with"] == {"sweep": "other", "front_version": 1}
    assert answer["hypervolume_difference"] == answer["hypervolume"] - answer["other_hypervolume"]
    assert [(row["role"], row["sweep"], row["key"], row["why"]) for row in answer["points"]] == [
        ("gained", "mine", a_key(0), "not in other"),
        ("gained", "mine", a_key(2), "not in other"),
        ("lost", "other", a_key(7), "not in mine"),
        ("lost", "other", a_key(3), "not on the front of mine"),
    ]
    assert (answer["coverage"], answer["coverage_by_other"], answer["kept"]) == (
        pytest.approx(1 / 3),
        pytest.approx(1 / 3),
        1,
    )
    text = " ".join(ask("pareto", "mine", "--compare", "other").split())
    assert "against sweep other, front version 1: hypervolume" in text
    assert "covers 33% of the other front, which covers 33% of this one; 2 settings gained, 2 lost, 1 on both" in text


def test_sweep_compared_with_itself_differs_in_nothing(ask):
    for answer in json.loads(ask("pareto", "mine", "--compare", "mine", "--json")):
        assert (answer["hypervolume_difference"], answer["coverage"], answer["points"]) == (0.0, 1.0, [])


def test_sweeps_with_other_objectives_or_corners_are_not_compared(refused, ask):
    message = refused("pareto", "mine", "--compare", "two-objectives")
    assert (
        "(mine: maximize accuracy from 0, minimize time from 10, minimize macs from 100; two-objectives: maximize"
        in message
    )
    assert "--objectives accuracy,time" in message
    message = refused("pareto", "mine", "--compare", "other-corner")
    assert "minimize time from 10" in message
    assert "minimize time from 20" in message
    words = ("--objectives", "accuracy,time", "--json")
    assert len(json.loads(ask("pareto", "mine", "--compare", "two-objectives", *words))) == 1


def test_sweeps_without_a_common_task_are_not_compared(refused):
    message = refused("pareto", "mine", "--compare", "another-task")
    assert "no task in common (mine: digits-10, digits-3; another-task: fashion-10)" in message
    assert "no finished trial of task 'digits-3' (it has: digits-10)" in refused(
        "pareto", "mine", "--compare", "other", "--task", "digits-3"
    )
    assert "there is no sweep 'nobody'" in refused("pareto", "mine", "--compare", "nobody")
    assert "but got '../x'" in refused("pareto", "mine", "--compare", "../x")


# --- options that contradict each other, and mistakes ---------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--at", "time < 2", "--minimize", "time", "--seeds"], "--at and --seeds ask different questions"),
        (["--compare", "other", "--dominated-by", "abcdef"], "--compare and --dominated-by ask different questions"),
        (["--dominating", "a", "--dominated-by", "a"], "--dominated-by and --dominating ask different questions"),
        (["--minimize", "time"], '--minimize time needs a condition: add --at, such as --at "accuracy >= 0.95"'),
        (["--at", "time < 2"], '--at "time < 2" needs a wish: add --minimize or --maximize'),
        (
            ["--at", "a < 2", "--minimize", "time", "--maximize", "macs"],
            "--minimize time and --maximize macs are two wishes",
        ),
        (
            ["--compare", "other", "--where", "time < 3"],
            "--compare other compares whole fronts, but got --where 'time < 3'",
        ),
        (["--objectives", "time"], "needs two objectives or more, but got only 'time'"),
        (["--objectives", "time,"], "takes names with commas between them, but got 'time,'"),
        (["--objectives", "time,accurcy"], "'accurcy' is no objective of sweep 'mine'"),
        (
            ["--seeds", "--objectives", "time,depth"],
            "'depth' is no objective of sweep 'mine' (its objectives: accuracy, time, macs)",
        ),
        (["--dominated-by", "10aa"], "at least 6 characters of its key, but got '10aa'"),
        (["--dominated-by", "ffffffff"], "no finished trial of sweep 'mine' has a key that begins with 'ffffffff'"),
        (["--dominating", "bad0bad0"], "trial bad0bad0bad0bad0 of sweep 'mine' is failed, not complete"),
        (["--dominating", a_key(1), "--task", "digits-3"], "is of task 'digits-10', but got --task digits-3"),
        (["--at", "accuracy >= 0.9 or", "--minimize", "time"], "cannot read the condition 'accuracy >= 0.9 or'"),
        (["--at", "acc >= 0.9", "--minimize", "time"], "no column 'acc', named in the condition"),
        (["--at", "time > 0", "--minimize", "tme"], "no column 'tme', named by --minimize. Did you mean 'time'"),
        (["--seeds", "--task", "digits-4"], "no finished trial of task 'digits-4' (it has: digits-10, digits-3)"),
        (["--seeds", "--format", "xls"], "table, json, csv, parquet or latex, but got --format xls"),
        (["--seeds", "--format", "latex", "--json"], "--json and --format latex ask for two formats"),
    ],
)
def test_mistake_is_refused_with_its_value(refused, words, message):
    assert message in refused("pareto", "mine", *words)


# --- trials ---------------------------------------------------------------------------------------


def test_trials_are_listed_with_outcome_axes_objectives_and_reason(ask, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    text = ask("trials", "mine", *DIGITS)
    assert "Sweep mine, task digits-10: 12 finished trials; 10 complete, 2 out of memory" in text
    (line,) = [line for line in text.splitlines() if line.startswith(f" {a_key(1, 1)}")]
    assert line.split() == [a_key(1, 1), "complete", "0.1", "proximal", "1", "0.910", "2.00", "20"]
    (line,) = [line for line in text.splitlines() if line.startswith(" bad1bad1bad1bad1")]
    assert line.split() == [
        "bad1bad1bad1bad1",
        "out",
        "of",
        "memory",
        "-",
        "-",
        "0",
        "-",
        "-",
        "-",
        "ValueError:",
        "[31mno",
    ]
    assert "\x1b" not in text
    assert "Reference point: accuracy 0, time 10, macs 100" in text
    assert "task digits-3: 2 finished trials; 2 complete" in ask("trials", "mine")


@pytest.mark.parametrize("columns", ["40", "80", "120", "200"])
def test_keys_of_trials_are_whole_at_any_width(ask, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    words = set(ask("trials", "mine", *DIGITS).split())
    assert {a_key(number, seed) for number in VALUES for seed in (0, 1)} <= words
    assert "bad0bad0bad0bad0" in words


def test_exported_trials_are_all_of_them_with_every_digit(ask):
    rows = json.loads(ask("trials", "mine", "--json"))
    assert len(rows) == 14
    assert {row["sweep"] for row in rows} == {"mine"}
    assert [row["reason"] for row in rows if row["state"] == "failed"] == [
        "too large",
        "Traceback:\n  File x\nValueError: \x1b[31mno\n",
    ]
    cells = list(csv.DictReader(io.StringIO(ask("trials", "mine", "--format", "csv"))))
    assert [row["key"] for row in cells] == [row["key"] for row in rows]
    assert [row["accuracy"] and float(row["accuracy"]) for row in cells] == [row["accuracy"] or "" for row in rows]
    ask("trials", "mine", "--format", "parquet", "-o", "trials.parquet")
    table = pq.read_table("trials.parquet")
    assert table.to_pylist() == rows
    assert len(records_of(table, "mine")) == 14
    assert table.schema.field("time").metadata[b"unit"] == b"steps"


def test_trials_keep_to_the_task_and_the_conditions(ask):
    words = ("--where", "outcome = complete and (seed = 1 or time < 1.5)", "--where", "accuracy < 0.9")
    rows = json.loads(ask("trials", "mine", *DIGITS, *words, "--json"))
    assert [row["key"] for row in rows] == [a_key(0, 0), a_key(0, 1), a_key(3, 1), a_key(4, 1)]
    text = ask("trials", "mine", "--where", "accuracy > 2")
    assert text == "Sweep mine: none of 14 finished trials meets accuracy > 2\n"
    assert json.loads(ask("trials", "mine", "--where", "accuracy > 2", "--json")) == []


def test_trials_as_latex_say_what_they_are(ask):
    text = ask("trials", "mine", "--format", "latex", *DIGITS)
    assert "% \\usepackage{booktabs}" in text
    assert "\\label{tab:mine-digits-10-trials}" in text
    assert "time\\_pressure" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {8}


def test_conditions_that_no_network_of_a_front_meets_are_said_with_the_nearest_value(ask, refused):
    message = refused("pareto", "mine", *DIGITS, "--where", "accuracy > 2", "--where", "time < 9", "--json")
    assert (
        "no non-dominated network meets accuracy > 2 and time < 9: the nearest accuracy with time < 9 is 0.9" in message
    )
    assert "tasks digits-10, digits-3: no non-dominated" in refused("pareto", "mine", "--where", "accuracy > 2")
    assert len(json.loads(ask("pareto", "mine", "--where", "accuracy > 0.94", "--json"))) == 1, "one task has some"


def test_mistakes_about_trials_are_refused_with_their_values(refused):
    assert "'digits-4' (it has: digits-10, digits-3)" in refused("trials", "mine", "--task", "digits-4")
    assert "no column 'acuracy'" in refused("trials", "mine", "--where", "acuracy > 0.5")
    assert "trials are printed as table, json, csv, parquet or latex, but got --format xlsx" in refused(
        "trials", "mine", "--format", "xlsx"
    )
    assert "there is no sweep 'mime' in " in refused("trials", "mime")
    assert "but got '../x'" in refused("trials", "../x")
    assert "cannot write nowhere/a.csv" in refused("trials", "mine", "--format", "csv", "-o", "nowhere/a.csv")


# --- sweeps with little or nothing in them --------------------------------------------------------

QUESTIONS = [("--at", "accuracy > 0", "--minimize", "time"), ("--seeds",)]


def test_sweep_without_a_finished_trial_is_refused_with_the_way_on(refused):
    for words in [(), ("--objectives", "accuracy,time"), *QUESTIONS]:
        assert "sweep 'empty' has no front yet" in refused("pareto", "empty", *words)
    assert "sweep 'empty' has no finished trial yet" in refused("trials", "empty")
    assert "`sweeper resume empty`" in refused("trials", "empty")
    assert "begins with 'abcdef'" in refused("pareto", "empty", "--dominated-by", "abcdef")
    assert "no task in common" in refused("pareto", "empty", "--compare", "empty")


def test_sweep_without_a_complete_trial_says_how_they_ended(refused, ask):
    assert "0 non-dominated networks" in ask("pareto", "all-failed")
    for words in QUESTIONS:
        message = refused("pareto", "all-failed", *words)
        assert "no trial of sweep 'all-failed', task 'digits-10', is complete: all 2 finished trials ended" in message
    assert "2 finished trials; 2 out of memory" in ask("trials", "all-failed")
    assert "hypervolume 0 against 0" in ask("pareto", "all-failed", "--compare", "all-failed").replace("\n", " ")
    assert "is failed, not complete" in refused("pareto", "all-failed", "--dominating", "bad0bad0")


def test_sweep_of_one_trial_answers_every_question(ask):
    assert "1 non-dominated network" in ask("pareto", "one")
    (answer,) = json.loads(ask("pareto", "one", "--at", "accuracy > 0", "--minimize", "time", "--json"))
    assert (answer["best"], answer["next"], len(answer["points"])) == (1.0, None, 1)
    assert "dominates 0 of 0 other settings" in " ".join(ask("pareto", "one", "--dominated-by", a_key(0)).split())
    assert "with one seed each, so without a spread" in " ".join(ask("pareto", "one", "--seeds").split())
    assert "1 finished trial;" in ask("trials", "one")


def test_sweep_whose_settings_are_all_alike_shows_all_of_them(ask):
    assert "3 non-dominated networks" in ask("pareto", "alike")
    (answer,) = json.loads(ask("pareto", "alike", "--at", "time = 1", "--maximize", "accuracy", "--json"))
    assert [row["role"] for row in answer["points"]] == ["best"] * 3
    assert "is dominated by 0 of 2" in " ".join(ask("pareto", "alike", "--dominating", a_key(0)).split())


@pytest.mark.parametrize(
    "words", [("trials",), *[("pareto", *question) for question in QUESTIONS], ("pareto", "--compare", "x")]
)
def test_server_that_does_not_answer_is_named(mistaken, words):  # noqa: F811
    command, *rest = words
    assert "could not reach MLflow at http://127.0.0.1:9" in mistaken(
        command, "mine", "--tracking-uri", "http://127.0.0.1:9", *rest
    )


def test_sweep_stored_by_a_newer_version_is_refused_by_its_format(mistaken, empty_database, tmp_path):  # noqa: F811
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    store(uri, "newer", some_trials(), THREE, THREE_REFERENCE)
    front, *_ = tmp_path.rglob("fronts/**/*.parquet")
    front.write_bytes(stored_with_facts(format=99))
    for words in ((), ("--seeds",), ("--where", "time < 3")):
        message = mistaken("pareto", "newer", "--tracking-uri", uri, *words)
        assert "this front has format 99, but this sweeper reads formats up to 1. Update sweeper" in message
    (part,) = tmp_path.rglob("trials/*.parquet")
    part.write_bytes(stored_with_facts(format=99))
    message = mistaken("trials", "newer", "--tracking-uri", uri)
    assert "these trials have format 99, but this sweeper reads formats up to 1" in message
