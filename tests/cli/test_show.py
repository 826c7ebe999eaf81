"""`sweeper show`: a network in words or drawn, from a trial's key or from a file."""

from __future__ import annotations

import re
import shutil

import pytest
from PIL import Image

from sweeper import load_sweep, model
from sweeper.driver.sweep import Sweep
from sweeper.errors import QueryError
from sweeper.execution.executors import InlineExecutor
from sweeper.model import Window
from sweeper.rules import FACT, RULES
from sweeper.spec import load_spec
from sweeper.tracking.memory import MemoryRecorder
from sweeper.training.network_file import describe, describe_bytes
from tests.cli.test_run import contents, mistaken, place, sweeper  # noqa: F401  # fixtures
from tests.model.populations import lattice_of

SETTING = load_spec("quickstart").spec.settings()[0]
DESCRIPTION = {
    "key": SETTING.key,
    "setting": SETTING.flat(),
    "measurement": {"accuracy": 0.9275, "time": 1.75},
    "step_dist": [0.25, 0.75],
    FACT: RULES,
}


@pytest.fixture
def file(place):  # noqa: F811
    return written(place)


def written(folder, **changes):
    path = folder / "network.safetensors"
    model.save(lattice_of(Window((3, 2), 2, (1, 8, 8), 10)).float(), {**DESCRIPTION, **changes}, path)
    return path


def test_show_says_a_network_in_words(sweeper, file):  # noqa: F811
    said = sweeper("show", file)
    assert said.code == 0
    assert said.out.startswith(f"{SETTING.task.label} · trial {SETTING.key}")
    assert re.search(r"accuracy, validation +0.927", said.out)
    assert "2 layers of 3 + 2 channels" in said.out


@pytest.mark.parametrize(("name", "beginning"), [("a.svg", b"<?xml"), ("a.PNG", b"\x89PNG")])
def test_show_draws_a_network_into_a_file(sweeper, file, place, name, beginning):  # noqa: F811
    said = sweeper("show", file, "-o", name)
    assert (said.code, said.err) == (0, "")
    assert (place / name).read_bytes().startswith(beginning)
    assert said.out == f"{name} shows {SETTING.task.label} · trial {SETTING.key}\n"


def test_show_of_a_file_without_setting_and_key_names_the_file(sweeper, place):  # noqa: F811
    said = sweeper("show", written(place, key="", setting={"of": "another version"}, measurement=None))
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("network.safetensors\n")


@pytest.mark.parametrize("name", ["a.pdf", "a"])
def test_show_refuses_another_format_before_it_looks_for_the_network(mistaken, name):  # noqa: F811
    assert f".svg or .png, but got {name}." in mistaken("show", "nosuch", "-o", name)


def test_show_of_no_file_is_one_message(mistaken):  # noqa: F811
    assert "nosuch.safetensors does not exist" in mistaken("show", "nosuch.safetensors")


@pytest.mark.parametrize("step_dist", [None, 3, ["a", "b"]])
def test_show_of_a_file_that_says_nothing_of_steps_is_one_message(mistaken, place, step_dist):  # noqa: F811
    assert "no list of numbers named step_dist" in mistaken("show", written(place, step_dist=step_dist))


def test_show_of_a_file_whose_steps_do_not_fit_is_one_message(mistaken, place):  # noqa: F811
    assert "window of 2 steps" in mistaken("show", written(place, step_dist=[1.0]))


def test_show_finds_a_trial_by_the_beginning_of_its_key(sweeper, place):  # noqa: F811
    loaded = load_spec("smoke", name="small")
    Sweep("small").run(loaded, executor=InlineExecutor(), recorder=MemoryRecorder())
    key = loaded.spec.settings()[0].key
    said = sweeper("show", key[:8], "-o", "a.png", "--sweep", "small")
    assert (said.code, said.err) == (0, "")
    assert key in said.out
    with Image.open(place / "a.png") as picture:
        assert min(picture.size) > 500
    assert sweeper("show", key, "--home", "sweeps").out.count(key) == 1
    assert "nosuch" in sweeper("show", key, "--sweep", "nosuch").err


# The content of a file


def test_content_is_described_as_its_file_is(file):
    from_file, from_content = describe(file), describe_bytes(file.read_bytes(), file.name)
    assert from_content == from_file
    assert from_content.title == f"{SETTING.task.label} · trial {SETTING.key}"


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "is cut off, damaged or no safetensors file"), (b"x" * 99, "is cut off, damaged or no safetensors file")],
)
def test_content_that_is_no_network_is_refused_with_its_name(data, said):
    with pytest.raises(QueryError, match=f"no network can be shown: networks/some.safetensors {said}"):
        describe_bytes(data, "networks/some.safetensors")


def test_content_without_steps_is_refused_with_its_name(place):  # noqa: F811
    data = written(place, step_dist=None).read_bytes()
    with pytest.raises(QueryError, match=r"some\.safetensors cannot be shown: its description has no list"):
        describe_bytes(data, "some.safetensors")


# Networks of another machine


@pytest.fixture(scope="module")
def far(tmp_path_factory, empty_database):
    """The URI of another machine's MLflow, and the key of a network on a front."""
    home = tmp_path_factory.mktemp("far")
    shutil.copy(empty_database, home / "mlflow.db")
    sweep = Sweep("smoke", home)
    sweep.run(load_spec("smoke"), executor=InlineExecutor())
    return sweep.tracking_uri, load_sweep("smoke", sweep.tracking_uri).front().column("key")[0].as_py()


def test_network_of_another_machine_is_shown_and_exported(sweeper, far, place):  # noqa: F811
    uri, key = far
    where = ("--home", "nowhere", "--tracking-uri", uri, "--sweep", "smoke")
    said = sweeper("show", key[:8], *where)
    assert (said.code, said.err) == (0, "")
    assert f"trial {key}\n" in said.out
    assert re.search(r"median steps: right \d.*\(\d+ images?\), wrong \d", said.out)
    said = sweeper("show", key, "-o", "a.png", *where)
    assert (said.code, said.err) == (0, "")
    said = sweeper("export", key[:6], "-o", "a.safetensors", *where)
    assert (said.code, said.out) == (0, f"a.safetensors holds the network of trial {key} of sweep smoke\n")
    assert model.load("a.safetensors").description["key"] == key
    assert sweeper("show", "a.safetensors").out == sweeper("show", key, *where).out
    assert sorted(path.name for path in place.iterdir()) == ["a.png", "a.safetensors"]


def test_mlflow_of_the_environment_is_where_networks_are_looked_for_too(sweeper, far, monkeypatch):  # noqa: F811
    uri, key = far
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert sweeper("show", key, "--sweep", "smoke").code == 0


@pytest.mark.parametrize("command", ["show", "export"])
def test_network_that_is_nowhere_is_one_message_with_the_way_out(mistaken, far, command):  # noqa: F811
    uri, key = far
    output = ["-o", "a.safetensors"] if command == "export" else []
    assert "with --tracking-uri and the sweep with --sweep" in mistaken(command, key, *output)
    assert "Or name its sweep with --sweep" in mistaken(command, key, *output, "--tracking-uri", uri)
    words = (*output, "--tracking-uri", uri, "--sweep")
    assert "has not got it either" in mistaken(command, "ffffffff", *words, "smoke")
    assert "no sweep 'other'" in mistaken(command, key, *words, "other")
    assert "but got '../x'" in mistaken(command, key, *words, "../x")
    unreached = ("--tracking-uri", "http://127.0.0.1:9", "--sweep", "smoke")
    assert "127.0.0.1:9" in mistaken(command, key, *output, *unreached)
