"""The command line: help, exit codes, one message for each mistake; a refused command leaves nothing behind."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sweeper import model
from sweeper.cli import live
from sweeper.cli import run as cli
from sweeper.cli.groups import GROUPS
from sweeper.cli.options import print_commands
from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.job import Progress
from sweeper.ledger.home import Home
from sweeper.ledger.ledger import Ledger
from sweeper.measurements import MEASUREMENTS
from sweeper.provenance import own_version
from sweeper.spec import load_spec
from sweeper.tracking.memory import MemoryRecorder
from sweeper.tracking.mlflow.recorder import MlflowRecorder
from sweeper.training.train import train_population
from sweeper.trial import Ended, Outcome
from tests.support.stuck import a_stuck_driver

COMMANDS = (
    "init",
    "validate",
    "plan",
    "run",
    "resume",
    "mirror",
    "submit",
    "stop",
    "logs",
    "pareto",
    "trials",
    "findings",
    "plot",
    "report",
    "list",
    "status",
    "watch",
    "ui",
    "show",
    "steps",
    "export",
    "audit",
    "doctor",
    "archive",
    "rename",
    "unarchive",
    "clean",
    "delete",
)
READING = ("validate", "plan", "list", "status", "watch", "pareto", "trials", "findings", "audit", "doctor")
SCRIPT = Path(sys.executable).with_name("sweeper")

SPEC = """\
name: tiny
task: {data: digits, train_images: 50, test_images: 50}
parameters:
  time_pressure: {values: [0, 0.1]}
objectives:
  - {name: accuracy, goal: maximize}
  - {name: time, goal: minimize}
reference_point: {accuracy: 0, time: 7}
"""


def train_at_once(job, report):
    """Stand in for training: networks that pay for accuracy with time, each after one epoch."""
    pressures = [float(setting["time_pressure"]) for setting in job.settings]
    report(Progress(1, 1, [{"accuracy": 0.5}] * len(job.wanted_keys)))
    return [
        Ended(
            Outcome.COMPLETE,
            "",
            dict.fromkeys(MEASUREMENTS, 1.0) | {"accuracy": 0.9 - pressure, "time": 3 - 10 * pressure},
            {"channels_per_layer": [4, 2]},
            [{"epoch": 1, "accuracy": 0.5}],
        )
        for pressure, is_wanted in zip(pressures, job.wanted, strict=True)
        if is_wanted
    ]


def fail_at_once(job, report):
    return [Ended(Outcome.FAILED, "Traceback:\nValueError: no")] * len(job.wanted_keys)


@dataclass(frozen=True)
class Said:
    """A command's exit code and outputs."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty working folder, and an environment without the user's own settings."""
    for name in ("SWEEPER_HOME", "SWEEPER_STORAGE", "SWEEPER_LEDGER", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(live, "_SERVER_PATIENCE_S", 0.0)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def sweeper(monkeypatch, capsys):
    """The command line in this process, through the `main` of the script: heavy imports happen once."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["sweeper", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return Said(int(ended.value.code or 0), out, err)

    return call


@pytest.fixture
def mistaken(sweeper, place):
    """A command that must be refused: returns its one message, and checks that nothing was made or changed."""

    def call(*words):
        before = contents(place)
        said = sweeper(*words)
        assert (said.code, said.out) == (2, "")
        assert "Traceback" not in said.err
        assert said.err.startswith("sweeper: ")
        assert said.err.count("sweeper: ") == 1
        assert contents(place) == before
        return said.err

    return call


def contents(folder):
    """Return every file's bytes, except notes of the last driver and the temporary files beside a SQLite database."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "driver.json"]
    paths = [path for path in paths if not path.name.endswith((".db-shm", ".db-wal"))]
    return {path: said_in(path) if path.suffix == ".db" else path.read_bytes() for path in paths}


def said_in(database):
    """Return a database's content as SQL; the bytes of its file change when a driver opens it."""
    try:
        with closing(sqlite3.connect(database)) as opened:
            return list(opened.iterdump())
    except sqlite3.DatabaseError:
        return database.read_bytes()


def run_here(name="smoke", loaded=None, home="sweeps", recorder=None, work=train_at_once):
    """Run a sweep through the Python API, without Ray and training."""
    loaded = loaded or load_spec("smoke", name=name)
    return Sweep(name, home).run(loaded, executor=InlineExecutor(), recorder=recorder or MemoryRecorder(), work=work)


@pytest.fixture(scope="module")
def mirrored_home(tmp_path_factory, empty_database):
    """A home with a sweep that is complete and mirrored."""
    home = tmp_path_factory.mktemp("mirrored")
    shutil.copy(empty_database, home / "mlflow.db")
    run_here(home=home, recorder=MlflowRecorder(Home(home).tracking_uri))
    return home


# --- help -------------------------------------------------------------------------------------------


def test_help_lists_every_command_once_in_its_group_and_cuts_no_sentence(sweeper):
    said = sweeper("--help")
    assert said.code == 0
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(COMMANDS)
    for title, names in GROUPS.items():
        assert f"\n{title}:\n" in said.out
        for name in names:
            assert len(re.findall(rf"^  {name} ", said.out, re.M)) == 1
    assert "..." not in said.out.partition("Options:")[2]
    assert "More:" not in said.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_says_what_it_does_and_gives_an_example(sweeper, command):
    said = sweeper(command, "--help")
    assert said.code == 0
    assert re.search(rf"\n\n  [A-Z](.+\n)+\n(.|\n)*\n  Examples?:\n    sweeper {command}\s", said.out)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_what_is_to_be_written_and_no_types_of_python(sweeper, command):
    text = sweeper(command, "--help").out
    assert re.findall(r"<\w[\w\[\]]*>|[{}]", text) == []
    assert re.search(rf"^Usage: \S+( -m \S+)? {command} \[OPTIONS\]( \[?[A-Z|]+\]?)*$", text, re.M)


@pytest.mark.parametrize("command", READING)
def test_every_reading_command_can_print_json(sweeper, command):
    assert "--json" in sweeper(command, "--help").out


@pytest.mark.parametrize(
    "command",
    ["run", "resume", "status", "watch", "ui", "pareto", "trials", "findings", "export", "mirror", "audit", "doctor"],
)
def test_every_command_on_stored_sweeps_takes_a_home(sweeper, command):
    assert "SWEEPER_HOME" in sweeper(command, "--help").out


# --- mistakes: one message, exit code 2, nothing made ------------------------------------------------


@pytest.mark.parametrize("command", ["status", "resume", "mirror", "audit"])
def test_unknown_sweep_is_refused_with_the_known_ones(mistaken, command):
    for name in ("alpha", "beta"):
        folder = Home(Path("sweeps")).sweep(name)
        folder.path.mkdir(parents=True)
        (folder.path / "ledger.db").touch()
    message = mistaken(command, "gamma")
    assert "'gamma' in the home sweeps (sweeps there: alpha, beta)" in message
    assert "--home or SWEEPER_HOME" in message
    assert "Did you mean 'alpha'?" in mistaken(command, "alpa")


@pytest.mark.parametrize("command", ["status", "resume", "mirror", "pareto", "audit"])
@pytest.mark.parametrize("name", ["../x", "/etc", "", ".", "a b", "x" * 101])
def test_name_that_leads_elsewhere_is_refused_by_every_command(mistaken, command, name):
    assert f"but got {name!r}. Choose another name" in mistaken(command, "--", name)


def test_name_that_leads_elsewhere_is_refused_for_a_new_sweep(mistaken, place):
    assert "but got '../x'. Choose another name" in mistaken("run", "smoke", "--name", "../x")
    assert not (place.parent / "x").exists()


def test_spec_that_does_not_exist_is_refused_with_the_shipped_ones(mistaken):
    for command in ("run", "plan"):
        assert "'quickstrat.yaml', which does not exist. Check the path. Did you mean 'quickstart'?" in mistaken(
            command, "quickstrat.yaml"
        )
        message = mistaken(command, "mine.yaml")
        assert "quickstart, reaction-time, reaction-time-full, smoke" in message


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("[0, 0.1]", "[0, -0.1]", "time_pressure=-0.1 in tiny.yaml, line 4, parameters.time_pressure.values[1]"),
        ("{values: [0, 0.1]}", "{min: 0, max: 0.1}", "search is required because time_pressure has a range"),
        ("task: {", "task: {clases: 3, ", "'clases' is not a known key"),
        ("name: accuracy", "name: acuracy", "Did you mean 'accuracy'?"),
        ("objectives:", "objectives: [", "in tiny.yaml, line "),
        ("50}", "50, test: x.parquet}", "test must go with images of your own"),
    ],
)
def test_broken_spec_is_refused_with_value_place_and_way_out(mistaken, place, right, wrong, said):
    (place / "tiny.yaml").write_text(SPEC.replace(right, wrong, 1))
    for command in ("run", "plan"):
        message = mistaken(command, "tiny.yaml")
        assert said in message
        assert "tiny.yaml" in message


def test_classes_that_the_images_do_not_have_are_refused_before_anything_is_made(mistaken, place):
    (place / "tiny.yaml").write_text(SPEC.replace("digits,", "digits, classes: 11,"))
    assert "classes=11" in mistaken("run", "tiny.yaml")


def test_second_spec_under_the_same_name_is_refused_with_the_difference(mistaken, place):
    (place / "tiny.yaml").write_text(SPEC)
    run_here("tiny", load_spec("tiny.yaml"))
    (place / "tiny.yaml").write_text(SPEC.replace("0.1]", "0.2]"))
    message = mistaken("run", "tiny.yaml")
    assert "parameters.time_pressure.values: [0.0, 0.1] -> [0.0, 0.2]" in message
    assert "--name" in message
    assert "`sweeper resume tiny`" in message


def test_tracking_server_that_does_not_answer_is_named_and_nothing_is_planned(mistaken, sweeper, place):
    message = mistaken("run", "smoke", "--tracking-uri", "http://127.0.0.1:9")
    assert "could not reach MLflow at http://127.0.0.1:9" in message
    assert list(place.rglob("smoke")) == [], "not even an empty folder is left"
    assert "no sweeps in sweeps" in sweeper("status").out


def test_tracking_server_that_does_not_answer_is_named_without_its_password(mistaken, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:9")
    for words in (("run", "smoke"), ("pareto", "smoke")):
        message = mistaken(*words)
        assert "http://***@127.0.0.1:9" in message
        assert "hunter2" not in message


def test_tracking_uri_that_names_a_folder_is_refused(mistaken, place):
    assert "'mlruns' names a folder" in mistaken("run", "smoke", "--tracking-uri", "mlruns")
    assert list(place.rglob("smoke")) == []


@pytest.mark.parametrize("address", ["head", "head:port", "ray://head"])
def test_address_without_a_port_is_refused_before_anything_is_made(mistaken, place, address):
    message = mistaken("run", "smoke", "--address", address)
    assert f"HOST:PORT or 'auto', but got '{address}'. A Ray head listens on port 6379" in message
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("address", ["http://head:8265", "https://head:8265"])
def test_address_for_submitting_jobs_is_refused_before_anything_is_made(mistaken, monkeypatch, place, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    message = mistaken("run", "smoke")
    assert f"RAY_ADDRESS, takes the address of a running cluster, HOST:PORT or 'auto', but got '{address}'." in message
    assert list(place.iterdir()) == []


def test_home_that_cannot_be_made_is_named(mistaken, place):
    (place / "plain").touch()
    assert f"{place}/plain/home/smoke cannot be written: Not a directory" in mistaken(
        "run", "smoke", "--home", "plain/home"
    )
    assert "got the file plain. Name a folder with --home" in mistaken("resume", "mine", "--home", "plain")
    assert "got the file plain. Name a folder with --home, or an archive" in mistaken("status", "--home", "plain")


def test_ledger_that_is_no_database_is_named(mistaken, place):
    folder = Home(place / "sweeps").sweep("mine")
    folder.path.mkdir(parents=True)
    (folder.path / "ledger.db").write_bytes(b"not a database at all" * 100)
    message = mistaken("status", "mine")
    file = f"{place}/sweeps/mine/ledger.db"
    assert f"the ledger {file} of sweep 'mine' is damaged: it is no SQLite database" in message


@pytest.mark.parametrize("workers", ["0", "-1", "two", "1.5"])
@pytest.mark.parametrize("words", [("plan", "smoke"), ("run", "smoke"), ("resume", "smoke")])
def test_number_of_workers_that_is_none_is_refused(sweeper, place, words, workers):
    said = sweeper(*words, "--workers", workers)
    assert (said.code, said.out) == (2, "")
    assert f"'--workers': workers must be a whole number of at least 1, but got {workers}." in said.err
    assert list(place.iterdir()) == []


def test_unknown_option_and_command_are_refused_by_name(sweeper):
    for words, said in ((("status", "--jsn"), "--jsn"), (("stats",), "'stats'"), (("pareto",), "Missing argument")):
        answer = sweeper(*words)
        assert answer.code == 2
        assert said in answer.err
        assert "Traceback" not in answer.err


# --- status -----------------------------------------------------------------------------------------


def test_status_counts_all_trials_of_one_sweep_and_of_all(sweeper):
    run_here("first")
    run_here("second", work=fail_at_once)
    one = json.loads(sweeper("status", "first", "--json").out)
    outcomes = dict.fromkeys(map(str, Outcome), 0)
    assert one == {
        "name": "first",
        "planned": 8,
        "complete": 8,
        "running": 0,
        "waiting": 0,
        "outcomes": outcomes | {"complete": 8},
        "repeats": 0,
        "driver": None,
        "state": "finished",
    }
    both = json.loads(sweeper("status", "--json").out)
    assert [(found["name"], found["complete"], found["outcomes"]["failed"]) for found in both] == [
        ("first", 8, 0),
        ("second", 0, 8),
    ]
    table = sweeper("status").out
    assert re.search(r"first +finished +8 +8 +0 *\n *second +finished +8 +0 +8 *\n", table)
    assert re.search(r"failed +8 *\n", sweeper("status", "second").out)


def test_status_of_all_sweeps_tolerates_folders_with_odd_names(sweeper):
    run_here("first")
    shutil.copytree("sweeps/first", "sweeps/first (copy) [red]")
    said = sweeper("status")
    assert re.search(r"first +finished +8 +8 ", said.out)
    assert said.code == 2  # the copied folder counts as damaged, not as a sweep without trials
    assert re.search(
        r"the ledger .* of sweep 'first \(copy\) \[red\]' is damaged: it is that of sweep 'first'", said.err
    )


def test_status_without_sweeps_says_how_to_start_one(sweeper, place):
    said = sweeper("status", "--home", "elsewhere")
    assert (said.code, said.out) == (0, "no sweeps in elsewhere. Start one with `sweeper run quickstart`.\n")
    assert json.loads(sweeper("status", "--json").out) == []
    assert list(place.iterdir()) == []


@pytest.mark.slow
def test_sweep_of_a_killed_driver_counts_what_it_left_running_as_waiting_and_can_be_finished(sweeper, mistaken):
    home = Path("sweeps")
    with a_stuck_driver(home.absolute(), "smoke") as pid:
        alive = json.loads(sweeper("status", "smoke", "--json").out)
        message = mistaken("run", "smoke")
    assert alive["running"] == 4
    assert (alive["waiting"], alive["planned"]) == (4, 8)
    assert alive["driver"].startswith(f"process {pid} on ")
    assert f"sweep 'smoke' is being driven by process {pid} on " in message
    dead = json.loads(sweeper("status", "smoke", "--json").out)
    assert (dead["running"], dead["waiting"], dead["driver"]) == (0, 8, None)
    assert re.search(r"smoke +interrupted +8 +0 +8 *\n", sweeper("status").out)
    assert run_here().is_finished
    assert json.loads(sweeper("status", "smoke", "--json").out)["complete"] == 8


# --- plan -------------------------------------------------------------------------------------------


def test_plan_says_what_a_sweep_needs_and_makes_nothing(sweeper, place):
    plan = json.loads(sweeper("plan", "smoke", "--workers", "2", "--json").out)
    assert plan["cells"] == {"digits-3-train200-test100": 4, "digits-2-train200-test100": 4}
    assert (plan["trials"], plan["workers"], plan["is_estimate"]) == (8, 2, True)
    assert plan["populations"] * plan["population_size"] >= plan["trials"]
    assert min(plan["train_s"], plan["memory_bytes"], plan["disk_bytes"]) > 0
    assert list(place.iterdir()) == []


# --- pareto -----------------------------------------------------------------------------------------


def test_pareto_prints_the_same_points_in_every_format(sweeper, mirrored_home, place):
    def pareto(*words):
        said = sweeper("pareto", "smoke", "--home", mirrored_home, *words)
        assert (said.code, said.err) == (0, "")
        return said.out

    points = json.loads(pareto("--json"))
    keys = [point["key"] for point in points]
    assert len(keys) == 8, "all of them pay for accuracy with time"
    assert json.loads(pareto("--format", "json")) == points
    assert [row["key"] for row in csv.DictReader(io.StringIO(pareto("--format", "csv")))] == keys
    assert [word for word in pareto().split() if word in keys] == keys
    assert pareto("-o", "front.parquet", "--format", "parquet") == ""
    assert pq.read_table("front.parquet").to_pylist() == points
    pareto("-o", "front.txt")
    assert (place / "front.txt").read_text().split() == pareto().split()
    assert sorted(path.name for path in place.iterdir()) == ["front.parquet", "front.txt"]


def test_pareto_keeps_to_the_task_and_the_conditions(sweeper, mirrored_home):
    task = "digits-2-train200-test100"
    words = ("--task", task, "--where", "accuracy >= 0.85", "--where", "time > 0")
    said = sweeper("pareto", "smoke", "--home", mirrored_home, "--json", *words)
    points = json.loads(said.out)
    assert points
    assert {point["task"] for point in points} == {task}
    assert min(point["accuracy"] for point in points) == pytest.approx(0.89)


def test_mistakes_in_a_question_are_refused_with_the_value_and_the_known_words(mistaken, mirrored_home):
    def message(*words, name="smoke"):
        return mistaken("pareto", name, "--home", mirrored_home, *words)

    assert "table, json, csv, parquet or latex, but got --format xlsx" in message("--format", "xlsx")
    assert "'digits-9' (it has: digits-" in message("--task", "digits-9")
    assert "'acuracy'" in message("--where", "acuracy > 0.5")
    assert "accuracy is 1" in message("--where", "accuracy is 1")
    assert "there is no sweep 'smok' in " in message(name="smok")


def test_output_that_cannot_be_written_is_named_and_leaves_nothing(mistaken, mirrored_home, place):
    def message(output):
        return mistaken("pareto", "smoke", "--home", mirrored_home, "--format", "csv", "-o", output)

    assert "cannot write nowhere/front.csv: No such file or directory. Name another file with -o." in message(
        "nowhere/front.csv"
    )
    assert f"cannot write {place}: it is a folder" in message(place)
    assert "cannot write .: it is a folder" in message(".")
    assert list(place.iterdir()) == []


def test_pareto_of_a_sweep_that_was_never_mirrored_is_refused(mistaken, place):
    run_here()
    assert f"no MLflow database at {place}/sweeps/mlflow.db" in mistaken("pareto", "smoke")


def test_pareto_of_a_sweep_without_a_front_says_what_to_do(mistaken, empty_database, place):
    """A sweep that was killed before its first population ended has an experiment, and no front."""

    class Killed(BaseException):
        pass

    def die(job, report):
        raise Killed

    (place / "sweeps").mkdir()
    shutil.copy(empty_database, place / "sweeps" / "mlflow.db")
    with pytest.raises(Killed):
        run_here(recorder=MlflowRecorder(Home(place / "sweeps").tracking_uri), work=die)
    for words in ((), ("--json",)):
        message = mistaken("pareto", "smoke", *words)
        assert "sweep 'smoke' has no front yet" in message
        assert "`sweeper resume smoke`" in message


def test_pareto_of_a_sweep_whose_trials_all_failed_is_empty(sweeper, empty_database, place):
    (place / "sweeps").mkdir()
    shutil.copy(empty_database, place / "sweeps" / "mlflow.db")
    summary = run_here(recorder=MlflowRecorder(Home(place / "sweeps").tracking_uri), work=fail_at_once)
    assert summary.counts.failed == 8
    said = sweeper("pareto", "smoke", "--json")
    assert (said.code, json.loads(said.out)) == (0, [])
    assert "0 non-dominated networks" in sweeper("pareto", "smoke").out


# --- export -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained_home(tmp_path_factory):
    """A home with a sweep whose networks were really trained, and the key of one."""
    home = tmp_path_factory.mktemp("trained")
    run_here(home=home, work=train_population)
    return home, next((home / "smoke" / "networks").iterdir()).stem


def test_export_writes_a_network_that_model_loads(sweeper, trained_home, place):
    home, key = trained_home
    (place / "mine.safetensors").write_text("the former one")
    for words in ((key,), (key[:6], "--sweep", "smoke")):
        said = sweeper("export", *words, "-o", "mine.safetensors", "--home", home)
        assert (said.code, said.out) == (0, f"mine.safetensors holds the network of trial {key} of sweep smoke\n")
    assert model.load("mine.safetensors").description["key"] == key
    assert [path.name for path in place.iterdir()] == ["mine.safetensors"]


@pytest.mark.parametrize("output", ["network", "network.pt", "safetensors", "a.safetensors.gz"])
def test_export_to_a_name_that_hides_what_it_is_is_refused(mistaken, trained_home, output):
    home, key = trained_home
    assert f"ends in .safetensors, but got -o {output}." in mistaken("export", key, "-o", output, "--home", home)


def test_export_that_cannot_be_written_is_refused_with_its_name(mistaken, trained_home, place):
    home, key = trained_home
    (place / "folder.safetensors").mkdir()
    message = mistaken("export", key, "-o", "folder.safetensors", "--home", home)
    assert "cannot write folder.safetensors: it is a folder. Name a file with -o." in message
    message = mistaken("export", key, "-o", "nowhere/a.safetensors", "--home", home)
    assert "cannot write nowhere/a.safetensors: No such file or directory." in message


def test_export_of_what_is_not_there_is_refused_in_one_message(mistaken, trained_home):
    home, key = trained_home

    def message(*words):
        return mistaken("export", *words, "-o", "a.safetensors", "--home", home)

    assert "begins with 'ffffffffffff'" in message("ffffffffffff")
    assert "but got 'abc'" in message("abc")
    assert "no sweep 'other'" in message(key, "--sweep", "other")
    assert "but got '../x'. Choose another name" in message(key, "--sweep", "../x")
    assert "sweeps looked through: none" in mistaken("export", key, "-o", "a.safetensors", "--home", "nowhere")


def test_export_of_a_sweep_that_kept_no_networks_says_so(mistaken):
    run_here()
    key = Ledger(Home(Path("sweeps")).sweep("smoke").ledger_url, "smoke").records()[0].key
    assert f"{key}.safetensors: it was removed" in mistaken("export", key, "-o", "a.safetensors")


# --- mirror -----------------------------------------------------------------------------------------


def test_mirror_brings_the_front_of_the_ledger_to_mlflow(sweeper, empty_database, place):
    run_here()
    shutil.copy(empty_database, place / "elsewhere.db")
    uri = f"sqlite:///{place}/elsewhere.db"
    said = sweeper("mirror", "smoke", "--tracking-uri", uri)
    assert (said.code, said.out) == (0, f"8 trials: 8 complete; mirrored to {uri}\n")
    assert len(json.loads(sweeper("pareto", "smoke", "--tracking-uri", uri, "--json").out)) == 8


# --- the installed script ---------------------------------------------------------------------------


def test_script_ends_with_2_and_one_message_on_the_error_output():
    done = subprocess.run(
        [SCRIPT, "resume", "../x"], capture_output=True, text=True, env={**os.environ, "COLUMNS": "80"}
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"sweeper: name must .* but got '\.\./x'\. .*\n", done.stderr)


def test_script_without_a_command_shows_its_help_and_loads_nothing_heavy():
    code = "import sys; sys.argv = ['sweeper', '--help']\nfrom sweeper.cli.run import main\ntry: main()\nexcept SystemExit: print(sorted({'torch', 'ray', 'mlflow', 'optuna'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("[]\n")
    assert "Run a sweep:" in done.stdout


@pytest.mark.parametrize(("found", "lines"), [("/bin/sweeper", 2), (None, 3)])
def test_printed_commands_say_how_to_reach_the_program_where_it_is_not_on_the_path(capsys, monkeypatch, found, lines):
    monkeypatch.setattr("sweeper.cli.options.shutil.which", lambda name: found)
    print_commands("continue with:", ["sweeper resume mine"])
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == lines
    assert ("/bin/activate" in printed[1]) == (found is None)


def test_version_names_the_program_and_its_version(sweeper):
    said = sweeper("--version")
    assert said.code == 0
    assert re.fullmatch(rf"sweeper {re.escape(own_version())}( \([0-9a-f]{{12}}\))?\n", said.out)


@pytest.mark.parametrize(
    ("words", "offered"),
    [("sweeper resume ti", ["tiny"]), ("sweeper run smo", ["smoke"]), ("sweeper plan mi", ["mine.yaml"])],
)
def test_shell_completes_sweeps_shipped_spaces_and_files(tmp_path, monkeypatch, words, offered):
    (tmp_path / "mine.yaml").touch()
    (tmp_path / "homes" / "tiny").mkdir(parents=True)
    (tmp_path / "homes" / "tiny" / "ledger.db").touch()
    done = subprocess.run(
        [SCRIPT],
        cwd=tmp_path,
        env=os.environ
        | {
            "_SWEEPER_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": "2",
            "SWEEPER_HOME": str(tmp_path / "homes"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == offered, done.stderr
