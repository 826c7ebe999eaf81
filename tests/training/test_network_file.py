"""Recurrent steps in a network's file: read with types, absent in older files, refused if they cannot be true."""

from __future__ import annotations

import base64
import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweeper import model
from sweeper.errors import QueryError
from sweeper.model import Window
from sweeper.model.examples import png_of
from sweeper.model.picture import LONGEST_SIDE
from sweeper.network import ExampleImage, StepHistogram
from sweeper.spec import load_spec
from sweeper.training.network_file import Described, describe, describe_bytes
from tests.model.populations import lattice_of
from tests.model.test_examples import a_png

WINDOW = Window((3, 2), 2, (1, 8, 8), 10)
PNG = a_png(8, 8)
STEPS = {"edges": [1, 1.25, 1.5, 1.75, 2], "right": [5, 0, 2, 1], "wrong": [0, 1, 0, 1]}
EXAMPLE = {
    "kind": "slowest",
    "is_right": False,
    "image": 7,
    "label": 3,
    "answer": 9,
    "steps": 1.5,
    "png": base64.b64encode(PNG).decode(),
}


def content(**description):
    """Return the content of a network's file with this description."""
    return model.encode(lattice_of(WINDOW).float(), {"key": "0123", "step_dist": [0.25, 0.75], **description})


def described(**description):
    return describe_bytes(content(**description), "some.safetensors")


def refusal(**description):
    """Return the message about an impossible description: one line that names the file and a way out."""
    with pytest.raises(QueryError) as refused:
        described(**description)
    message = str(refused.value)
    assert message.startswith("some.safetensors cannot be shown: ")
    assert message.endswith("with `sweeper export`.")
    assert "\n" not in message
    assert len(message) < 400
    return message


def test_entries_are_read_with_their_types():
    found = described(steps=STEPS, examples=[EXAMPLE])
    assert found.steps == StepHistogram((1.0, 1.25, 1.5, 1.75, 2.0), (5, 0, 2, 1), (0, 1, 0, 1))
    assert found.steps.images == 10
    assert found.examples == (ExampleImage("slowest", False, 7, 3, 9, 1.5, PNG),)
    assert {type(edge) for edge in found.steps.edges} == {float}


def test_largest_and_noisiest_picture_that_is_written_is_read():
    pixels = torch.rand((3, LONGEST_SIDE, LONGEST_SIDE), generator=torch.Generator().manual_seed(0))
    png = png_of(pixels)
    (found,) = described(examples=[{**EXAMPLE, "png": base64.b64encode(png).decode()}]).examples
    assert found.png == png


@pytest.mark.parametrize("description", [{}, {"steps": None, "examples": None}, {"examples": []}])
def test_older_file_has_neither(description):
    found = described(**description)
    assert (found.steps, found.examples) == (None, ())
    assert isinstance(found, Described)


def test_fields_that_a_later_version_may_add_are_passed_over():
    found = described(steps={**STEPS, "unit": "steps"}, examples=[{**EXAMPLE, "class": "seven"}])
    assert (found.steps.images, len(found.examples)) == (10, 1)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"edges": None}, "steps.edges of its description must be a list of 2 to 1001 numbers, but got None"),
        ({"edges": [1]}, "but got [1]"),
        ({"edges": [1, "2"]}, "but got [1, '2']"),
        ({"edges": [1, True]}, "but got [1, True]"),
        ({"edges": [1, 10**400]}, "steps.edges"),
        ({"edges": list(range(1002))}, "2 to 1001 numbers"),
        ({"edges": [1, 1.5, 1.25, 1.75, 2]}, "steps.edges of its description must be ascending, but got [1, 1.5, 1.25"),
        ({"edges": [1, 1, 1.5, 1.75, 2]}, "must be ascending"),
        ({"right": [1, 2, 3]}, "steps.right of its description must be a list of 4 counts, but got [1, 2, 3]"),
        ({"right": None}, "steps.right"),
        ({"wrong": [1, 2, 3, -1]}, "steps.wrong of its description must be a list of 4 counts, but got [1, 2, 3, -1]"),
        ({"wrong": [1, 2, 3, 0.5]}, "0.5"),
        ({"wrong": [1, 2, 3, True]}, "True"),
        ({"wrong": [1, 2, 3, 2**54]}, "steps.wrong"),
    ],
)
def test_histogram_that_cannot_be_is_refused_with_its_value(changes, named):
    assert named in refusal(steps={**STEPS, **changes})


@pytest.mark.parametrize("entry", [3, "steps", [1, 2], True])
def test_histogram_of_another_kind_is_refused(entry):
    assert f"steps of its description must be an object with the lists edges, right and wrong, but got {entry!r}" in (
        refusal(steps=entry)
    )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"kind": "median"}, "examples[1].kind of its description must be 'fastest' or 'slowest', but got 'median'"),
        ({"kind": ["fastest"]}, "but got ['fastest']"),
        ({"kind": {"fastest": 1}}, "examples[1].kind"),
        ({"is_right": True}, "examples[1].is_right of its description must be whether answer is label, but got True"),
        ({"is_right": 0}, "but got 0"),
        ({"image": -1}, "examples[1].image of its description must be a whole number of at least 0, but got -1"),
        ({"image": 1.0}, "but got 1.0"),
        ({"image": None}, "but got None"),
        ({"label": 10}, "examples[1].label of its description must be a class from 0 to 9, but got 10"),
        ({"label": True}, "but got True"),
        ({"answer": -1}, "examples[1].answer of its description must be a class from 0 to 9, but got -1"),
        ({"steps": 2.5}, "examples[1].steps of its description must be a number from 1 to 2, but got 2.5"),
        ({"steps": 0.5}, "but got 0.5"),
        ({"steps": "1"}, "but got '1'"),
        ({"steps": 10**400}, "examples[1].steps"),
        ({"png": None}, "examples[1].png of its description must be a text of at most 20000 characters, but got None"),
        ({"png": "A" * 20_004}, "at most 20000 characters"),
        ({"png": "not base64!"}, "examples[1].png of its description must be base64"),
        ({"png": "é" * 8}, "examples[1].png of its description must be base64"),
        ({"png": ""}, "must be a small PNG, but it is no readable PNG"),
        ({"png": base64.b64encode(b"<script>alert(1)</script>").decode()}, "is no readable PNG"),
        ({"png": base64.b64encode(PNG[:40]).decode()}, "is no readable PNG"),
        ({"png": base64.b64encode(a_png(300, 300)).decode()}, "has 300 × 300 pixels of kind L"),
        ({"png": base64.b64encode(a_png(kind=6)).decode()}, "of kind RGBA"),
    ],
)
def test_example_that_cannot_be_is_refused_with_its_place_and_value(changes, named):
    assert named in refusal(examples=[EXAMPLE, {**EXAMPLE, **changes}])


@pytest.mark.parametrize("field", EXAMPLE)
def test_example_without_a_field_is_refused(field):
    assert f"examples[0].{field}" in refusal(examples=[{name: EXAMPLE[name] for name in EXAMPLE if name != field}])


@pytest.mark.parametrize("entry", [{}, "many", 8, [EXAMPLE] * 9])
def test_examples_that_are_no_short_list_are_refused(entry):
    assert "examples of its description must be a list of at most 8 objects" in refusal(examples=entry)


def test_example_of_another_kind_is_refused():
    assert "examples[0] of its description must be an object, but got 3" in refusal(examples=[3])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_description_is_described_or_refused_in_words(data):
    steps, example = dict(STEPS), dict(EXAMPLE)
    for entry in (steps, example):
        for name in data.draw(st.lists(st.sampled_from(sorted(entry)), max_size=2)):
            entry[name] = data.draw(JSON)
    whole = {"steps": data.draw(JSON | st.just(steps)), "examples": data.draw(JSON | st.just([example]))}
    whole |= {"measurement": data.draw(JSON), "step_dist": data.draw(JSON | st.just([0.25, 0.75]))}
    found, said = None, "some.safetensors"
    try:
        found = described(**whole)
    except QueryError as refused:
        said = str(refused)
    assert "\n" not in said
    assert "some.safetensors" in said or "step probabilit" in said
    if found and found.steps:
        assert found.steps == StepHistogram(*(tuple(steps[name]) for name in ("edges", "right", "wrong")))


def test_numbers_too_large_for_any_measurement_are_passed_over_or_refused():
    assert described(measurement={"time": 10**400, "accuracy": 0.5}).measurement == {"accuracy": 0.5}
    with pytest.raises(QueryError, match="no list of numbers named step_dist"):
        described(step_dist=[10**400, 0])


def test_file_of_a_trained_network_says_what_was_counted(tmp_path):
    """Follows the counts from a worker's training to `describe`, and checks that a second training gives the same."""
    from sweeper.job import Job
    from sweeper.training.train import train_population

    chosen = [setting for setting in load_spec("smoke").spec.settings() if setting.task.classes == 3]
    keys = tuple(setting.key for setting in chosen)
    flat = tuple({**setting.flat(), "training.learning_rate": 3e-2, "training.epochs": 12} for setting in chosen)

    def trained(folder):
        files = tuple(str(tmp_path / folder / f"{key}.safetensors") for key in keys)
        job = Job("population", "digits-3", keys, flat, (True,) * len(keys), networks=files)
        return train_population(job, lambda _: None), [tmp_path / folder / f"{key}.safetensors" for key in keys]

    (ended, files), (again, others) = trained("one"), trained("two")
    assert again == ended
    assert [file.read_bytes() for file in files] == [other.read_bytes() for other in others]
    for member, file in zip(ended, files, strict=True):
        shown = describe(file)
        assert shown.steps.images == 100
        assert sum(shown.steps.right) == round(100 * member.measurement["test_accuracy"])
        assert shown.examples == described_by_hand(file)
    assert any(describe(file).examples for file in files)


def described_by_hand(file):
    description = model.load(file).description
    entries, labels = description["examples"], description["labels"]
    assert json.dumps(entries)
    said = [{**entry, **{name: labels[entry[name]] for name in ("label", "answer")}} for entry in entries]
    return tuple(ExampleImage(**{**entry, "png": base64.b64decode(entry["png"])}) for entry in said)


def test_classes_of_examples_are_called_by_their_names_where_the_data_have_any():
    names = [f"class {number}" for number in range(WINDOW.classes)]
    (found,) = described(examples=[EXAMPLE], labels=list(range(10, 10 + WINDOW.classes)), names=names).examples
    assert (found.label, found.answer) == ("class 3", "class 9")


@pytest.mark.parametrize("names", ["cats", ["cat"], [3] * 40, ["a\x1b"] * 40, ["a" * 300] * 40])
def test_names_that_cannot_be_are_refused(names):
    names = names[: WINDOW.classes] if len(names) == 40 else names
    assert "names of its description must be a list of 10 short texts" in refusal(examples=[EXAMPLE], names=names)
