"""A task's keys about images: their place, columns and classes, and how images of different kinds become alike."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.errors import SpecError
from sweeper.spec import LatticeSetting, TaskSpec, load_spec
from sweeper.spec.images import name_of

REST = """parameters: {breadth_pressure: {values: [0, 1e-3]}}
objectives: [{name: accuracy, goal: maximize}, {name: breadth, goal: minimize}]
reference_point: {accuracy: 0, breadth: 9}
"""


def load(folder, task, **how):
    (folder / "small.yaml").write_text(f"task: {{{task}}}\n{REST}")
    return load_spec(folder / "small.yaml", **how).spec.task


def refusal(folder, task):
    with pytest.raises(SpecError) as refused:
        load(folder, task)
    return str(refused.value)


@pytest.fixture
def place(tmp_path):
    """A folder with images of every kind, by name only."""
    (tmp_path / "data" / "pets" / "cat").mkdir(parents=True)
    for name in ("a.parquet", "a.npz", "train-images-idx3-ubyte.gz", "notes.txt", "train-00000-of-00003.parquet"):
        (tmp_path / "data" / name).touch()
    (tmp_path / "mine.py").write_text("raise SystemExit('this was run')\n")
    return tmp_path.resolve()


@pytest.mark.parametrize(
    ("data", "stored", "name"),
    [
        ("data/a.parquet", "{}/data/a.parquet", "a"),
        ("data/a.npz", "{}/data/a.npz", "a"),
        ("data/pets", "{}/data/pets", "pets"),
        ("data/train-images-idx3-ubyte.gz", "{}/data/train-images-idx3-ubyte.gz", "train-images-idx3-ubyte"),
        ("data/train-*.parquet", "{}/data/train-*.parquet", None),
        ("data/train-00000-of-*.parquet", "{}/data/train-00000-of-*.parquet", None),
        ("mine:images", "{}/mine.py:images", "mine.images"),
        ("./mine.py:images", "{}/mine.py:images", "mine.images"),
        ("json:loads", "json:loads", "json.loads"),
        ("s3://bucket/cells/data?region=eu-west-1", "s3://bucket/cells/data?region=eu-west-1", "cells"),
    ],
)
def test_data_is_stored_as_it_is_found_from_everywhere_and_names_the_task(place, data, stored, name):
    task = load(place, f'data: "{data}"')
    assert task.data == stored.format(place)
    assert name is None or task.label == name
    assert LatticeSetting.from_flat(LatticeSetting(task=task).flat()).task == task, "what is stored is read as it is"


def test_function_is_not_run_by_reading_a_spec(place):
    assert load(place, "data: mine:images").data == f"{place}/mine.py:images"
    assert "mine" not in sys.modules


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            "data/train-00000-of-00003.parquet",
            ["one of 3 parts", "train-*-of-00003.parquet", "train-00000-of-*.parquet"],
        ),
        ("data/gone.parquet", ["exists", "looked for {}/data/gone.parquet"]),
        ("data/none-*.parquet", ["exists", "nothing matches {}/data/none-*.parquet"]),
        ("data/notes.txt", [".parquet or .npz"]),
        ("digit", ["Did you mean 'digits'?"]),
        ("gone:images", ["looked for {}/gone.py", "installed"]),
        ("./gone.py:images", ["looked for {}/gone.py"]),
        ("https://example.org/a.parquet", ["s3://", "Download"]),
        ("file:///a.parquet", ["without file://"]),
        ("s3://me:hidden@bucket/a", ["environment"]),
        ("s3://bucket/a?secret_key=hidden", ["environment"]),
    ],
)
def test_data_that_cannot_be_is_refused_with_the_way_out(place, data, words):
    said = refusal(place, f'data: "{data}"')
    assert all(word.format(place) in said for word in words), said
    assert "task.data" in said
    assert "\n  " not in said.strip()


def test_shard_of_a_stored_spec_is_what_it_was(place):
    stored = TaskSpec(data="/d/train-00000-of-00003.parquet")
    assert LatticeSetting.from_flat(LatticeSetting(task=stored).flat()).task == stored


@pytest.mark.parametrize(
    ("written", "value", "label"),
    [
        ("resize: 32", 32, "a-resized32"),
        ("resize: [32, 48]", "32,48", "a-resized32x48"),
        ("crop: [7]", 7, "a-cropped7"),
        ("background: white", "white", "a-on.white"),
        ("background: [1, 2, 255]", "1,2,255", "a-on.1.2.255"),
        ("label_column: fine label", "fine label", "a-fine_label"),
        ("image_column: scan", "scan", "a"),
        ("classes: [dog, cat]", "cat,dog", "a-cat.dog"),
        ("classes: [dog, 3, 12]", "3,12,dog", "a-3.12.dog"),
    ],
)
def test_settings_of_images_are_in_key_and_name_once_they_are_set(place, written, value, label):
    plain, task = load(place, "data: data/a.parquet"), load(place, f"data: data/a.parquet, {written}")
    assert getattr(task, written.partition(":")[0]) == value
    assert task.label == label
    assert LatticeSetting(task=task).key != LatticeSetting(task=plain).key
    assert LatticeSetting.from_flat(LatticeSetting(task=task).flat()) == LatticeSetting(task=task)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("resize: 0", ["resize", "1 to 4096"]),
        ("resize: [1, 2, 3]", ["one side in pixels, or height and width"]),
        ("crop: big", ["one side in pixels"]),
        ("crop: 2.5", ["one side in pixels"]),
        ("background: pink", ["black, grey, white"]),
        ("background: [0, 0, 256]", ["from 0 to 255"]),
        ('label_column: ""', ["label_column"]),
        ("classes: [cat, cat]", ["each label once"]),
        ('classes: ["cat,dog", x]', ["two or more labels"]),
    ],
)
def test_settings_that_cannot_be_are_refused(place, written, words):
    said = refusal(place, f"data: data/a.parquet, {written}")
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    "written", ["resize: 4", "crop: 4", "background: white", "label_column: a", "classes: [cat, dog]"]
)
def test_settings_of_own_images_are_refused_for_digits(tmp_path, written):
    assert "digits" in refusal(tmp_path, f"data: digits, {written}")


def test_keys_of_before_are_what_they_were():
    settings = [
        LatticeSetting(),
        LatticeSetting(
            task=TaskSpec(data="/images/mnist_train.parquet", test="/images/mnist_test.parquet", classes=[3, 8])
        ),
        LatticeSetting(task=TaskSpec(classes=3, train_images=100, noise=0.1), time_pressure=0.01, seed=4),
    ]
    assert [setting.key for setting in settings] == PINNED


#: Keys of the settings above in the version before tasks could describe their images.
PINNED = ["ae8ccf47922d278d", "43e5a72c052abe82", "b19b7692f245b6eb"]


@given(st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=60))
def test_any_place_has_a_name(text):
    assert name_of(f"/{text}")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("/d/cifar10/data/train-*.parquet", "cifar10"),
        ("/d/cifar10/data", "cifar10"),
        ("/d/MNIST/raw", "MNIST"),
        ("/d/cifar-10-batches-py", "cifar-10-batches-py"),
        ("/d/birds/train", "birds"),
        ("/d/birds_train-*-of-00003.parquet", "birds"),
        ("/d/a/train-00000-of-*.parquet", "a"),
        ("/d/mnist_train.parquet", "mnist"),
        ("/d/train-00000-of-00003.parquet", "train-00000-of-00003"),
        ("s3://bucket/birds/data/train-*.parquet", "birds"),
        ("s3://bucket", "bucket"),
    ],
)
def test_task_is_called_after_what_says_something(data, name):
    assert name_of(data) == name
