"""A user's own images: what a network does with each of them, beside the other columns of their file."""

from __future__ import annotations

import io
import random
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sweeper.model import Lattice, TaskError
from sweeper.model import stimuli as stimuli_file
from sweeper.model.image_files import decoded
from sweeper.model.probing import LOOK, look, pictures
from sweeper.model.stimuli import labelled, shown, stimuli
from tests.model.populations import lattice_of, windows

#: Labels of up to four classes in some data.
LABELS = (3, 5, 8, 40)


def encoded(array, format="PNG"):
    """Return the bytes of pixels of 8 bits, shape (H, W) or (H, W, 3)."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format)
    return buffer.getvalue()


def drawn(count, *shape, seed=0):
    """Return random pixels of 8 bits, which a lossless file can hold."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def written(path, images, column="image", paths=None, **columns):
    values = [
        {"bytes": encoded(image), "path": name}
        for image, name in zip(images, paths or [None] * len(images), strict=True)
    ]
    pq.write_table(pa.table({column: values, **columns}), path, row_group_size=4)
    return path


def network_of(window):
    return lattice_of(window).float()


@settings(max_examples=30, deadline=None)
@given(window=windows(min_layers=0), seed=st.integers(0, 2**31), batch=st.integers(1, 9))
def test_rows_are_what_the_network_does_with_the_pixels_themselves(tmp_path_factory, window, seed, batch):
    count, (channels, *side) = 7, window.image
    images = drawn(count, *side, *([3] if channels == 3 else []), seed=seed)
    path = written(tmp_path_factory.mktemp("own") / "own.parquet", images)
    network, labels = network_of(window), LABELS[: window.classes]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stimuli_file, "_BATCH", batch)
        table = shown(network, labels, stimuli(path))
    pixels = torch.from_numpy(images.reshape(count, *side, channels).transpose(0, 3, 1, 2) / np.float32(255))
    seen = look(network, pixels)
    assert table["image"].to_pylist() == list(range(count))
    assert table["answer"].to_pylist() == [labels[k] for k in seen["answer"]]
    assert table["steps"].to_pylist() == seen["steps"].tolist()
    for name in LOOK.names[2:]:
        assert np.allclose(table[name], seen[name], atol=1e-6), name
    for name, values in pictures(pixels.numpy()).items():
        assert np.allclose(table[name], values, atol=1e-6), name
    assert {"path", "label", "right"}.isdisjoint(table.column_names)


@settings(max_examples=30, deadline=None)
@given(window=windows(min_layers=0), seed=st.integers(0, 2**31))
def test_steps_of_an_image_add_up_to_its_row(tmp_path_factory, window, seed):
    count, (channels, *side) = 5, window.image
    images = drawn(count, *side, *([3] if channels == 3 else []), seed=seed)
    known = LABELS[: window.classes]
    path = written(tmp_path_factory.mktemp("own") / "own.parquet", images, label=[3, 5, 99, None, 3])
    network = network_of(window)
    rows = shown(network, known, stimuli(path)).to_pylist()
    by_step = shown(network, known, stimuli(path), by_step=True).to_pylist()
    assert [(row["image"], row["step"]) for row in by_step] == [
        (image, step) for image in range(count) for step in range(1, window.steps + 1)
    ]
    for row in rows:
        steps = [one for one in by_step if one["image"] == row["image"]]
        assert all({**one, **row} == one for one in steps), "every step repeats what is said of the image"
        assert sum(one["step_probability"] for one in steps) == pytest.approx(1, abs=1e-5)
        assert sum(one["step"] * one["step_probability"] for one in steps) == pytest.approx(
            row["expected_steps"], abs=1e-4
        )
        assert sum(one["step_uncertainty"] for one in steps) == pytest.approx(row["uncertainty"], abs=1e-4)
        halted = steps[row["steps"] - 1]
        assert halted["step_answer"] == row["answer"]
        assert halted["step_right"] == row["right"]
        assert halted["step_confidence"] == pytest.approx(row["confidence"], abs=1e-5)
        assert steps[0]["step_confidence"] == row["first_confidence"]
        assert steps[-1]["step_confidence"] == row["last_confidence"]
        for one in steps:
            shares = {label: one[f"probability.{label}"] for label in known}
            assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
            assert one["step_confidence"] == max(shares.values())
            assert shares[one["step_answer"]] == max(shares.values())


GREY = (1, 8, 8)


@pytest.fixture
def network():
    from sweeper.model import Window

    return network_of(Window((3, 2), 3, GREY, 3))


def shown_to(network, path, **options):
    return shown(network, LABELS[:3], stimuli(path), **options)


def test_answer_is_right_where_it_is_the_label_and_unknown_where_there_is_none(tmp_path, network):
    labels = [3, 5, 8, 40, -1, None, 3, 5, 8]
    table = shown_to(network, written(tmp_path / "a.parquet", drawn(9, 8, 8), label=pa.array(labels, pa.int16())))
    for row, label in zip(table.to_pylist(), labels, strict=True):
        assert row["label"] == label
        assert row["right"] is (row["answer"] == label if label in (3, 5, 8) else None)
    assert table.schema.field("label").type == pa.int16()


def test_columns_of_the_experiment_are_carried_through_and_taken_names_get_another(tmp_path, network):
    columns = {
        "condition": pa.array(["a", None, "b"]),
        "subject": pa.array(["s1", "s2", "s1"]).dictionary_encode(),
        "shown_at": pa.array([1, 2, 3], pa.timestamp("ms")),
        "probe.level": pa.array([0.1, 0.2, 0.3]),
        "image.id": pa.array([7, 8, 9]),
        "steps": pa.array([1.5, 2.5, 3.5]),
        "probability.3": pa.array([True, False, None]),
        "masks": pa.array([b"a", b"b", b"c"]),
        "fixations": pa.array([[1, 2], [], None]),
    }
    path = written(tmp_path / "a.parquet", drawn(3, 8, 8), "img", ["x/a.png", None, "x/b.png"], **columns)
    images = stimuli(path)
    assert images.renamed == {"steps": "input_steps", "probability.3": "input_probability.3"}
    assert images.left_out == ("masks", "fixations")
    table = shown_to(network, path)
    assert table.column_names[:9] == [
        *("image", "path", "condition", "subject", "shown_at", "probe.level", "image.id"),
        *("input_steps", "input_probability.3"),
    ]
    for old, values in list(columns.items())[:-2]:
        assert table[images.carried[old]].combine_chunks().equals(values), old
    assert table["path"].to_pylist() == ["x/a.png", None, "x/b.png"]
    by_step = shown_to(network, path, by_step=True)
    assert by_step["input_steps"].to_pylist() == [value for value in (1.5, 2.5, 3.5) for _ in range(3)]


def test_grey_is_shown_to_a_network_of_colours_as_equal_colours_and_back(tmp_path, network):
    images = drawn(6, 8, 8)
    grey = written(tmp_path / "grey.parquet", images)
    coloured = written(tmp_path / "coloured.parquet", np.repeat(images[..., None], 3, -1))
    in_colours = network_of(replace(network.window, image=(3, 8, 8)))
    for one in (network, in_colours):
        assert shown_to(one, grey).equals(shown_to(one, coloured))


@pytest.mark.parametrize(
    ("images", "columns", "said"),
    [
        (drawn(3, 8, 9), {}, ["row 0 of", "8×9 pixels", "takes 8×8", "Resize"]),
        (drawn(3, 8, 8, 3), {}, ["row 0 of", "in colour", "1 channel.", "grey"]),
        (drawn(3, 8, 8), {"label": ["a", "b", "c"]}, ["labels must be integers", "string", "another name"]),
        (drawn(3, 8, 8), {"label": [1.0, 2.0, None]}, ["labels must be integers", "double"]),
        (drawn(3, 8, 8), {"steps": [1, 2, 3], "input_steps": [1, 2, 3]}, ["'steps'", "'input_steps'", "Rename"]),
        (drawn(0, 8, 8), {}, ["needs an image column", "holds no images"]),
    ],
)
def test_images_that_cannot_be_shown_are_refused_with_the_reason(tmp_path, network, images, columns, said):
    path = written(tmp_path / "a.parquet", images, **columns)
    with pytest.raises(TaskError) as caught:
        shown_to(network, path)
    message = str(caught.value)
    assert str(path) in message
    assert any(word in message for word in said) if len(images) == 0 else all(word in message for word in said), message


def test_row_that_is_named_counts_from_the_beginning_of_the_file(tmp_path, network, monkeypatch):
    monkeypatch.setattr(stimuli_file, "_BATCH", 3)
    images = [*drawn(8, 8, 8), *drawn(1, 9, 9)]
    with pytest.raises(TaskError, match=r"row 8 of .*9×9 pixels"):
        shown_to(network, written(tmp_path / "a.parquet", images))


def test_files_that_hold_no_images_are_refused(tmp_path):
    pq.write_table(pa.table({"picture": [b""], "label": [1]}), tmp_path / "other.parquet")
    (tmp_path / "text.parquet").write_text("no Parquet")
    images = pa.array([b"x"])
    pq.write_table(pa.Table.from_arrays([images, images], ["image", "image"]), tmp_path / "twice.parquet")
    for name, said in {
        "other": r"other.parquet needs an image column 'image' or 'img', but has picture, label",
        "text": r"cannot read images from .*text.parquet: .*[^.]\. Give a Parquet file",
        "gone": r"cannot read images from .*gone.parquet",
        "twice": r"twice.parquet has several columns called 'image'",
    }.items():
        with pytest.raises(TaskError, match=said):
            stimuli(tmp_path / f"{name}.parquet")
    with pytest.raises(TaskError, match="cannot read images from"):
        stimuli(tmp_path)


def test_file_that_is_cut_off_in_the_middle_is_refused(tmp_path, network):
    path = written(tmp_path / "a.parquet", drawn(40, 8, 8))
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    path.write_bytes(data)
    with pytest.raises(TaskError, match=r"a\.parquet"):
        shown_to(network, path)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of some damage as well
@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM"])
def test_damaged_image_is_refused_with_its_row_or_read(tmp_path, format):
    rng, whole = random.Random(0), encoded(drawn(16, 16)[:, :16], format)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 2, 5])):
            damaged[rng.randrange(min(len(damaged), rng.choice([40, 200, 10**9])))] = rng.randrange(256)
        if rng.random() < 0.3:
            del damaged[rng.randrange(len(damaged)) :]
        try:
            pixels = decoded(bytes(damaged), tmp_path / "a.parquet", 17)
        except TaskError as error:
            assert "row 17 of" in str(error)  # noqa: PT017  # whether it is refused is up to the damage
        else:
            assert pixels.dtype == np.float32
            assert 0 <= pixels.min() <= pixels.max() <= 1


def test_labelled_images_are_those_whose_label_the_network_knows(tmp_path):
    pixels = drawn(6, 8, 8)
    path = written(tmp_path / "a.parquet", pixels, label=[8, 1, None, 3, 5, -1])
    images = labelled(stimuli(path), LABELS[:3], GREY)
    assert images.labels.tolist() == [2, 0, 1]
    assert torch.equal(images.pixels[:, 0], torch.from_numpy(pixels[[0, 3, 4]] / np.float32(255)))
    with pytest.raises(TaskError, match="none of the labels that the network knows: 6, 7"):
        labelled(stimuli(path), (6, 7), GREY)
    with pytest.raises(TaskError, match="no column 'label'"):
        labelled(stimuli(written(tmp_path / "b.parquet", pixels)), LABELS, GREY)


def test_network_stays_as_it_is(tmp_path, network):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    shown_to(network, written(tmp_path / "a.parquet", drawn(3, 8, 8)), by_step=True)
    assert isinstance(network, Lattice)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_labels_that_are_names_are_those_of_the_network_by_their_names(tmp_path, network):
    labels, names = LABELS[: network.window.classes], ("cat", "dog", "emu", "fox")[: network.window.classes]
    count, (_, *side) = 9, network.window.image
    images = drawn(count, *side, *([3] if network.window.image[0] == 3 else []))
    said = [*names, "unknown", None, *names, *names][:count]
    path = written(tmp_path / "own.parquet", images, label=said)
    table = shown(network, labels, stimuli(path, labels, names), by_step=True)
    assert table.schema.field("label").type == "string"
    by_name = dict(zip(names, labels, strict=True))
    for row in table.to_pylist():
        known = by_name.get(row["label"])
        assert row["right"] == (None if known is None else row["answer"] == known)
        assert row["step_right"] == (None if known is None else row["step_answer"] == known)
    kept = labelled(stimuli(path, labels, names), labels, network.window.image)
    assert kept.labels.tolist() == [names.index(one) for one in said if one in names]
    with pytest.raises(TaskError, match="labels must be integers"):
        stimuli(path, labels)
