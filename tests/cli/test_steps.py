"""Later looks at a sweep's networks: `sweeper steps` shows them images, `sweeper show --lesion` removes parts."""

from __future__ import annotations

import csv
import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sweeper as package
from sweeper import load_sweep, model
from sweeper.analysis.columns import SEEN, SEEN_BY_STEP, seen_unit
from sweeper.driver.sweep import Sweep
from sweeper.errors import QueryError
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.model import Window
from sweeper.model.image_files import digits
from sweeper.spec import load_spec
from sweeper.training.inputs import load_task
from tests.cli.test_run import mistaken, place, sweeper  # noqa: F401  # fixtures
from tests.model.populations import lattice_of
from tests.model.test_stimuli import drawn, encoded, written

#: Digits as images in files: grey levels of the embedded digits are sixteenths, which a PNG cannot hold.
SPEC = """
name: own
task: {data: train.parquet, test: test.parquet, classes: [3, 5, 8], validation_images: 30}
lattice: {channels: 3, layers: 2, steps: 3}
parameters: {time_pressure: {values: [0, 0.1]}}
training: {epochs: 2, batch_size: 32}
objectives: [{name: accuracy, goal: maximize}, {name: time, goal: minimize}]
reference_point: {accuracy: 0, time: 4}
probes: {blank: 1}
lesions: [lateral, "layer:1,top_down"]
"""

#: Number of images in the test file; they have all ten labels.
COUNT = 150


@pytest.fixture(scope="module")
def swept(tmp_path_factory, empty_database):
    """A folder with a sweep that was trained and mirrored, and with the files of its images."""
    folder = tmp_path_factory.mktemp("own")
    source = digits()
    pixels = np.round(source.pixels(np.arange(450 + COUNT))[:, 0] * 255).astype(np.uint8)
    written(folder / "train.parquet", pixels[:450], label=source.labels[:450])
    beside = {"condition": ["low", "middle", "high"] * (COUNT // 3), "stimulus": list(range(COUNT, 0, -1))}
    written(folder / "test.parquet", pixels[450:], label=source.labels[450 : 450 + COUNT], **beside)
    (folder / "own.yaml").write_text(SPEC)
    (folder / "sweeps").mkdir()
    shutil.copy(empty_database, folder / "sweeps" / "mlflow.db")
    Sweep.load(folder / "own.yaml", home=folder / "sweeps").run(executor=InlineExecutor())
    return folder


@pytest.fixture
def uri(swept):
    return Home(swept / "sweeps").tracking_uri


@pytest.fixture
def key(uri):
    return load_sweep("own", uri).trials()["key"][0].as_py()


@pytest.fixture
def at(swept):
    return ("--home", swept / "sweeps")


@pytest.fixture
def images(swept):
    return swept / "test.parquet"


# --- images


def test_answers_to_the_test_images_are_those_that_the_sweep_measured(sweeper, swept, uri, at, images, place):  # noqa: F811
    loaded = load_sweep("own", uri)
    for trial in loaded.trials().to_pylist():
        said = sweeper("steps", trial["key"], images, "-o", "a.parquet", *at)
        assert (said.code, said.err) == (0, "")
        assert said.out == f"a.parquet says what trial {trial['key']} of sweep own does with {images}, in 150 rows\n"
        rows = pq.read_table(place / "a.parquet")
        known = rows.filter(pa.compute.is_valid(rows["right"]))
        assert set(known["label"].to_pylist()) == {3, 5, 8}
        measured = loaded.probes(where=[f"key = '{trial['key']}'", "probe = whole"])
        same = [name for name in measured.column_names if name in known.column_names and name != "image"]
        assert {"answer", "right", "confidence", "uncertainty", "edges"} < set(same)
        for name in same:
            exact = not pa.types.is_floating(known[name].type)
            expected = measured[name].to_pylist()
            # Some processors round by the number of images at once, which differs here.
            assert known[name].to_pylist() == (expected if exact else pytest.approx(expected, rel=1e-5, abs=1e-5)), name
        assert sum(known["right"].to_pylist()) / len(known) == trial["test_accuracy"]


def test_table_joins_to_the_experiment_and_says_what_it_is(sweeper, swept, key, at, images, place):  # noqa: F811
    assert sweeper("steps", key[:8], images, "-o", "a.parquet", "--lesion", "top_down,lateral", *at).code == 0
    rows, given = pq.read_table(place / "a.parquet"), pq.read_table(images)
    for name in ("condition", "stimulus", "label"):
        assert rows[name].equals(given[name])
    assert rows["image"].to_pylist() == list(range(COUNT))
    facts = json.loads(rows.schema.metadata[b"sweeper"])
    assert (facts["key"], facts["sweep"]) == (key, "own")
    assert (facts["lesion"], facts["labels"], facts["images"]) == ("lateral,top-down", [3, 5, 8], "test.parquet")
    units = {field.name: (field.metadata or {}).get(b"unit", b"").decode() for field in rows.schema}
    assert units == {name: "" if name in ("condition", "stimulus") else seen_unit(name) for name in rows.column_names}
    assert (units["steps"], units["confidence"], units["uncertainty"]) == ("steps", "share", "steps")


def test_columns_are_those_of_the_reference(sweeper, key, at, images, place):  # noqa: F811
    assert sweeper("steps", key, images, "-o", "a.parquet", "--all-steps", *at).code == 0
    rows = pq.read_table(place / "a.parquet")
    assert rows.num_rows == 3 * COUNT
    own = [name for name in rows.column_names if name not in ("condition", "stimulus")]
    named = dict.fromkeys("probability.LABEL" if name.startswith("probability.") else name for name in own)
    assert [*named] == [name for name in (*SEEN, *SEEN_BY_STEP) if name != "path"]
    assert own[-3:] == ["probability.3", "probability.5", "probability.8"]


def test_csv_holds_the_same_as_parquet(sweeper, key, at, images, place):  # noqa: F811
    for name in ("a.csv", "a.parquet"):
        assert sweeper("steps", key, images, "-o", name, *at).code == 0
    with (place / "a.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    rows = pq.read_table(place / "a.parquet").to_pylist()
    words = {None: "", True: "true", False: "false"}
    for line, row in zip(read, rows, strict=True):
        assert line == {name: words[v] if v is None or isinstance(v, bool) else str(v) for name, v in row.items()}


def test_file_of_a_network_and_its_sweep_in_mlflow_answer_alike(sweeper, key, at, uri, images, place):  # noqa: F811
    assert sweeper("export", key, "-o", "a.safetensors", *at).code == 0
    far = ("--home", "nowhere", "--tracking-uri", uri, "--sweep", "own")
    for name, where in {"home": (key, *at), "file": ("a.safetensors",), "far": (key, *far)}.items():
        network, *options = where
        assert sweeper("steps", network, images, "-o", f"{name}.parquet", *options).code == 0
    home, file, far_away = (pq.read_table(place / f"{name}.parquet") for name in ("home", "file", "far"))
    assert home.equals(file)
    assert home.equals(far_away, check_metadata=True)
    assert package.steps("a.safetensors", images).equals(home)
    network = package.load_network("a.safetensors")
    assert package.steps(network, images).equals(home)
    taken_out = package.steps(network, images, lesion="deepest", all_steps=True)
    assert package.steps(network.without("deepest"), images, all_steps=True).equals(taken_out, check_metadata=True)


def test_summary_says_accuracy_and_steps_and_how_to_get_all(sweeper, key, at, images, place):  # noqa: F811
    said = sweeper("steps", key, images, *at)
    assert (said.code, said.err) == (0, "")
    rows = package.steps(key, images, home=at[1]).to_pylist()
    right = [row["right"] for row in rows if row["right"] is not None]
    steps = sum(row["steps"] for row in rows) / COUNT
    accuracy = sum(right) / len(right)
    assert f"150 images, accuracy {accuracy:.4f} over {len(right)} of them, {steps:.3f} steps in the mean" in said.out
    assert "140 more images, and more of each: with -o FILE.parquet or -o FILE.csv" in said.out
    few = written(place / "few.parquet", drawn(2, 8, 8))
    said = sweeper("steps", key, few, *at)
    assert re.search(r"2 images, \d\.\d{3} steps in the mean", said.out)
    assert "images, accuracy" not in said.out


def test_columns_that_are_called_otherwise_or_left_out_are_said(sweeper, key, at, place):  # noqa: F811
    columns = {"noise": [0.1, 0.2], "steps": [1, 2], "seen": [[1], [2]]}
    own = written(place / "own.parquet", drawn(2, 8, 8), **columns)
    said = sweeper("steps", key, own, "-o", "a.parquet", *at)
    assert said.err.splitlines() == [
        f"note: column 'steps' of {own} is called 'input_steps'",
        f"note: columns of {own} that hold no single values are left out: seen",
    ]
    table = pq.read_table(place / "a.parquet")
    assert table["input_steps"].to_pylist() == [1, 2]
    assert table.schema.field("noise").metadata is None, "what the noise of an experiment is measured in is not known"


def test_one_damaged_image_is_one_message_and_no_file(mistaken, key, at, place):  # noqa: F811
    whole, broken = encoded(drawn(1, 8, 8)[0]), encoded(drawn(1, 8, 8)[0])[:30]
    pq.write_table(pa.table({"image": [whole, broken]}), place / "own.parquet")
    assert "row 1 of own.parquet is no readable image" in mistaken("steps", key, "own.parquet", "-o", "a.csv", *at)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "a.json"], ["a .parquet or .csv file, but got -o a.json"]),
        (["-o", "a"], ["but got -o a."]),
        (["--all-steps"], ["--all-steps", "-o FILE"]),
        (["--lesion", "laterals"], ["--lesion must be lateral", "got 'laterals'"]),
        (["--lesion", "lateral", "--lesion", "deepest"], ["2 times", "--lesion lateral,deepest"]),
        (["--lesion", "layer:3"], ["no layer:3", "layer:1 to layer:2"]),
        (["-o", "here.parquet"], ["here.parquet would take the place of the images"]),
    ],
)
def test_what_steps_cannot_do_is_one_message(mistaken, swept, key, at, images, place, words, said):  # noqa: F811
    if "here.parquet" in words:
        (place / "here.parquet").symlink_to(images)
    message = " ".join(mistaken("steps", key, images, *words, *at).split())
    assert all(part in message for part in said), message


def test_images_and_networks_that_are_not_there_are_one_message(mistaken, key, at, images, place):  # noqa: F811
    assert "nosuch.parquet" in mistaken("steps", key, "nosuch.parquet", *at)
    assert "nosuch.safetensors does not exist" in mistaken("steps", "nosuch.safetensors", images)
    assert "no trial has a key that begins with 'nosuch'" in mistaken("steps", "nosuch", images, *at)
    written(place / "large.parquet", drawn(1, 28, 28))
    assert "28×28 pixels" in mistaken("steps", key, "large.parquet", *at)


# --- lesions


def means_in(out):
    """Return the rows of the table of lesions: accuracy, steps and confidence by the row's name."""
    found = re.findall(r"^ (\S.*?) +([\d.]+) +([\d.]+) +([\d.]+) *$", out, re.MULTILINE)
    return {name: tuple(map(float, values)) for name, *values in found}


def test_lesions_are_measured_as_the_sweep_measured_them(sweeper, swept, uri, at):  # noqa: F811
    lesions = ("--lesion", "lateral", "--lesion", "top_down,layer:1", "--lesion", "deepest")
    for trial in load_sweep("own", uri).trials().to_pylist():
        said = sweeper("show", trial["key"], *lesions, *at)
        assert (said.code, said.err) == (0, "")
        assert "Measured on the test images of train-3.5.8-validation30: 43 images" in said.out
        means = means_in(said.out)
        assert list(means)[-4:] == ["whole", "without lateral", "without layer:1, top-down", "without deepest"]
        for row, column in {
            "whole": "probe.whole.0",
            "without lateral": "lesion.lateral",
            "without layer:1, top-down": "lesion.layer1.top_down",
        }.items():
            wanted = [trial[f"{column}.{what}"] for what in ("accuracy", "time", "confidence")]
            assert means[row] == pytest.approx(wanted, abs=6e-4), row


def test_network_is_said_as_without_lesions_and_then_measured(sweeper, key, at):  # noqa: F811
    whole, lesioned = sweeper("show", key, *at).out, sweeper("show", key, "--lesion", "lateral", *at).out
    assert lesioned.startswith(whole)
    assert "lateral" not in whole


def test_other_images_are_measured_on_where_they_are_named(sweeper, key, at, images, place):  # noqa: F811
    said = sweeper("show", key, "--lesion", "deepest", "--images", images, *at)
    assert "43 images" in " ".join(said.out.split("Measured on")[1].split())
    own = sweeper("show", key, "--lesion", "deepest", *at)
    assert means_in(said.out) == means_in(own.out), "the test images are those of this file that the network knows"


@pytest.fixture
def moved(swept, at, key, sweeper, place):  # noqa: F811
    """The folder of an exported network's data, which a test may change; it is restored afterwards."""
    sweeper("export", key, "-o", "a.safetensors", *at)
    kept = place.parent / "kept"
    shutil.copytree(swept, kept, ignore=shutil.ignore_patterns("sweeps"))
    yield swept
    for name in ("train.parquet", "test.parquet"):
        shutil.copy(kept / name, swept / name)


def test_test_images_that_are_gone_or_others_are_one_message_with_a_way_out(mistaken, sweeper, moved, place):  # noqa: F811
    shutil.copy(moved / "test.parquet", place / "mine.parquet")
    written(moved / "test.parquet", drawn(30, 8, 8), label=[3, 5, 8] * 10)
    message = mistaken("show", "a.safetensors", "--lesion", "lateral")
    assert re.search(r"are not those that a\.safetensors was trained on: their hash is \w+, and was \w+", message)
    (moved / "test.parquet").unlink()
    message = mistaken("show", "a.safetensors", "--lesion", "lateral")
    assert "the test images of a.safetensors cannot be had" in message
    assert str(moved / "test.parquet") in message
    assert message.endswith("Name other labelled images with --images FILE.\n")
    said = sweeper("show", "a.safetensors", "--lesion", "lateral", "--images", "mine.parquet")
    assert (said.code, said.err) == (0, "")


@pytest.mark.parametrize(
    ("window", "changes", "said"),
    [
        ((1, 8, 8), {"setting": {"of": "another version"}}, "a.safetensors does not say what task it was trained on"),
        ((1, 8, 8), {"setting": None}, "a.safetensors does not say what task it was trained on"),
        ((1, 8, 8), {"data": None}, "was None"),
        ((1, 8, 8), {}, "was not written down"),
        ((1, 9, 8), {"data": "digits"}, "takes images of (1, 9, 8) (channels, height, width)"),
    ],
)
def test_file_whose_task_is_not_known_is_one_message(mistaken, place, window, changes, said):  # noqa: F811
    setting = load_spec("quickstart").spec.settings()[0]
    if changes.get("data"):
        changes = {"data": load_task(setting.task).fingerprint}
    network = lattice_of(Window((3, 2), 2, window, 10)).float()
    description = {"setting": setting.flat(), "step_dist": [0.5, 0.5], **changes}
    model.save(network, description, place / "a.safetensors")
    message = mistaken("show", "a.safetensors", "--lesion", "lateral")
    assert said in message
    assert message.endswith("Name other labelled images with --images FILE.\n")


@pytest.mark.parametrize("data", ["HERE/mine.py:images", "os:getcwd", "s3://bucket/images"])
def test_what_a_network_file_names_is_neither_run_nor_fetched(mistaken, place, data):  # noqa: F811
    (place / "mine.py").write_text(f"open({str(place / 'trap')!r}, 'w')\n")
    setting = load_spec("quickstart").spec.settings()[0].flat() | {"task.data": data.replace("HERE", str(place))}
    del setting["task.classes"]
    network = lattice_of(Window((3, 2), 2, (1, 8, 8), 10)).float()
    model.save(network, {"setting": setting, "step_dist": [0.5, 0.5]}, place / "a.safetensors")
    message = mistaken("show", "a.safetensors", "--lesion", "lateral")
    assert "for a network's file" in message
    assert message.endswith("Name other labelled images with --images FILE.\n")
    assert not (place / "trap").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lesion", "layer:3"], ["no layer:3", "layer:1 to layer:2"]),
        (["--lesion", "layer:0"], ["N from 1", "got 'layer:0'"]),
        (["--lesion", ""], ["got ''"]),
        (["--lesion", "lateral", "-o", "a.svg"], ["-o a.svg draws it whole", "Leave one of them out"]),
        (["--images", "a.parquet"], ["--images a.parquet", "--lesion"]),
        (["--lesion", "lateral", "--images", "nosuch.parquet"], ["nosuch.parquet"]),
    ],
)
def test_what_lesions_cannot_be_is_one_message(mistaken, key, at, words, said):  # noqa: F811
    message = " ".join(mistaken("show", key, *words, *at).split())
    assert all(part in message for part in said), message


def test_python_refuses_as_the_command_does(key, at, images):
    with pytest.raises(QueryError, match="no layer:3"):
        package.steps(key, images, lesion="layer:3", home=at[1])
    with pytest.raises(QueryError, match=r"cannot read images from nosuch\.parquet"):
        package.steps(key, "nosuch.parquet", home=at[1])
