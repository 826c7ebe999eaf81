"""`init` writes specs that run, from options and from answers; `validate` says what a spec would sweep."""

from __future__ import annotations

import json
import os
import pty
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.measurements import Goal
from sweeper.spec import load_spec, shipped_spaces
from sweeper.spec.draft import Aim, Draft
from sweeper.spec.yaml_source import parse_yaml
from tests.cli.test_run import mistaken, place, sweeper  # noqa: F401
from tests.model.test_stimuli import drawn, written

# --- init ---------------------------------------------------------------------------------------


def test_first_spec_has_comments_is_valid_and_names_the_schema(sweeper, place):  # noqa: F811
    said = sweeper("init")
    assert said.code == 0
    text = Path("my-sweep.yaml").read_text()
    assert text.count("#") > 5
    schema = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert json.loads(Path(schema).read_text())["title"] == "A sweep"
    spec = load_spec("my-sweep.yaml").spec
    assert (spec.name, spec.planned) == ("my-sweep", 6)
    assert "sweeper validate my-sweep.yaml" in said.out
    assert sweeper("validate", "my-sweep.yaml").code == 0


def test_options_are_in_the_spec(sweeper, place):  # noqa: F811
    words = (
        "--classes",
        "3,2",
        "--search",
        "12",
        "--minimize",
        "breadth,macs=1e6",
        "--steps",
        "4",
        "--replicates",
        "2",
    )
    assert sweeper("init", "mine.yaml", *words, "--updates", "300").code == 0
    spec = load_spec("mine.yaml").spec
    assert spec.tasks == ("digits-3", "digits-2")
    assert (spec.search.trials, spec.replicates, spec.training.updates, spec.lattice.steps) == (12, 2, 300, 4)
    assert {**spec.reference_point} == {"accuracy": 0, "breadth": 9, "macs": 1e6}
    assert list(spec.searched) == ["breadth_pressure", "time_pressure"]


def test_images_are_named_from_where_the_file_lies(sweeper, place):  # noqa: F811
    Path("my images").mkdir()
    written(Path("my images/a b.parquet"), drawn(6, 8, 8))
    assert sweeper("init", "my images/mine.yaml", "--data", "a b.parquet").code == 0
    assert load_spec("my images/mine.yaml").spec.task.data == str(Path("my images/a b.parquet").resolve())


def test_function_has_its_arguments_in_the_spec(sweeper, place):  # noqa: F811
    Path("exits.py").write_text(
        "def train(trial, hidden: int = 64, depth: int = 2, lr: float = 1e-2, epochs: int = 30):\n    ...\n"
    )
    words = ("--train", "exits:train", "--maximize", "accuracy=0", "--minimize", "macs=4e5", "--unit", "macs=per image")
    assert sweeper("init", "mine.yaml", *words, "--search", "4").code == 0
    spec = load_spec("mine.yaml").spec
    assert {"hidden", "depth", "lr", "epochs"} == {*spec.parameters} == {*spec.searched}
    assert {**spec.measures} == {"accuracy": "share", "macs": "per image"}
    assert sweeper("init", "grid.yaml", *words).code == 0
    assert load_spec("grid.yaml").spec.planned == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["b.txt"], "a spec is a file that ends in .yaml, but got b.txt. Rename it."),
        (["a b.yaml"], "name must hold letters"),
        (["b.yaml", "--classes", "10,x"], "--classes takes whole numbers with commas between them, but got 'x'"),
        (["b.yaml", "--classes", "11"], "but got classes=11 in what would be b.yaml"),
        (["b.yaml", "--data", "gone.parquet"], "gone.parquet"),
        (["b.yaml", "--minimize", "bredth"], "Did you mean 'breadth'?"),
        (["b.yaml", "--minimize", "macs"], "--minimize macs needs a value that no useful result reaches"),
        (["b.yaml", "--minimize", "macs=few"], "--minimize macs takes a number after =, but got 'few'"),
        (["b.yaml", "--minimize", "breadth,breadth"], "breadth must be given once, but got breadth twice in b.yaml"),
        (["b.yaml", "--train", "gone:train", "--maximize", "a=0"], "there is no gone.py in "),
        (["b.yaml", "--train", "python gone.py", "--maximize", "a=0"], "train must be module:function"),
        (["b.yaml", "--train", "gone:train"], "a sweep needs something to be best in"),
        (
            ["b.yaml", "--unit", "x", "--train", "gone:train", "--maximize", "a=0"],
            "--unit takes NAME=VALUE, but got 'x'",
        ),
        (["gone/b.yaml"], "gone"),
    ],
)
def test_mistake_is_refused_and_nothing_is_written(mistaken, words, says):  # noqa: F811
    assert says in mistaken("init", *words)


def test_file_that_is_there_is_kept_unless_its_place_is_to_be_taken(sweeper, mistaken, place):  # noqa: F811
    Path("mine.yaml").write_text("precious")
    assert "mine.yaml is there already. Name another file, or take its place with --force." in mistaken(
        "init", "mine.yaml"
    )
    assert sweeper("init", "mine.yaml", "--force").code == 0
    assert load_spec("mine.yaml").spec.name == "mine"


def asked(answers):
    """Answer the questions of `init` on a terminal; return its exit code and output."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-m", "sweeper", "init", "mine.yaml"])
    said = ""
    for answer in answers:
        while not said.rstrip(" ").endswith((":", "]:")):
            said += os.read(terminal, 4096).decode()
        os.write(terminal, answer.encode())
        said += "|"
    while True:
        try:
            read = os.read(terminal, 4096)
        except OSError:  # the terminal is closed
            break
        said += read.decode()
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def test_questions_on_a_terminal_are_answered_into_the_spec(place):  # noqa: F811
    code, said = asked(["\n", "\n", "10,3\n", "breadth,time\n", "many\n", "6\n"])
    assert code == 0, said
    assert "'many' is no whole number" in said
    spec = load_spec("mine.yaml").spec
    assert (spec.tasks, spec.search.trials) == (("digits-10", "digits-3"), 6)
    assert [one.name for one in spec.objectives] == ["accuracy", "breadth", "time"]


def test_questions_that_are_not_answered_to_the_end_write_nothing(place):  # noqa: F811
    code, said = asked(["\n", "\x04"])
    assert (code, Path("mine.yaml").exists()) == (2, False)
    assert "not all was answered, so nothing is written" in said


NAMES = st.sampled_from(["accuracy", "yes", "off", "a-b", "on_1", "null", "Ünit", "a: b", "x'y", "1", "# no"])


@given(
    data=st.text(min_size=1, max_size=20).filter(str.isprintable),
    units=st.lists(NAMES, min_size=1, max_size=3, unique=True),
    worst=st.floats(-1e9, 1e9) | st.integers(-(10**6), 10**6),
    defaults=st.lists(st.none() | st.booleans() | st.integers(0, 10**9) | st.floats(1e-9, 1e9) | st.text(max_size=5)),
    search=st.integers(0, 9),
)
def test_text_is_yaml_that_says_what_was_meant(data, units, worst, defaults, search):
    aims = [Aim(name, Goal.MAXIMIZE, worst, name) for name in units]
    window = {"channels": 4, "layers": 2, "steps": 3}
    lattice = parse_yaml(Draft("mine", aims, data, (3, 2), window, search=search).text(), "mine.yaml").data
    assert (lattice["task"]["data"], lattice["lattice"]) == (data, window)
    assert [one["name"] for one in lattice["objectives"]] == units
    assert {*lattice["reference_point"]} == {*units}
    assert lattice["reference_point"][units[0]] == pytest.approx(worst, rel=5e-3)
    arguments = {f"a{number}": default for number, default in enumerate(defaults)}
    own = parse_yaml(Draft("mine", aims, train="a:b", arguments=arguments, search=search).text(), "mine.yaml").data
    assert own["measures"] == {name: name for name in units}
    assert {*own["parameters"]} == {*arguments}
    for name, default in arguments.items():
        form = own["parameters"][name]
        if "value" in form:
            assert form["value"] == (1 if default is None else default)
        else:
            assert (search and form["min"] < default < form["max"]) or form["min"] <= default


# --- validate -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["smoke", "quickstart", "adaptive"])
def test_shipped_space_is_told_in_a_few_lines(sweeper, name):  # noqa: F811
    assert name in shipped_spaces()
    said = sweeper("validate", name)
    spec = load_spec(name).spec
    assert said.code == 0
    assert said.out.startswith(f"{name} is a sweep: {name}, {spec.planned} trials\n")
    told = json.loads(sweeper("validate", name, "--json").out)
    assert (told["trials"], told["tasks"]) == (spec.planned, list(spec.tasks))
    assert told["searched"] == list(spec.searched)


def test_every_mistake_of_a_file_is_said_at_once_with_its_line(mistaken, tmp_path):  # noqa: F811
    text = (Path(__file__).parents[2] / "search_spaces" / "smoke.yaml").read_text()
    file = tmp_path / "wrong.yaml"
    file.write_text(text + "\nreplicates: 0\nsede: 1\n")
    message = mistaken("validate", file)
    assert "replicates" in message
    assert "'sede' is not a known key" in message
    assert "Did you mean 'seed'?" in message
