"""All kinds of data that `data` may name, in real files as their usual writers make them."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import pickletools
import struct
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pyarrow.fs import LocalFileSystem

from sweeper.model import TaskDefinition, TaskError, array_pickle, load_task
from sweeper.model.sources import files_of
from tests.model.test_tasks import png

CLASSES = ("airplane", "cat", "dog")


def pictures(count, size=6, first=0, channels=3):
    """Return images that all differ."""
    rng = np.random.default_rng(first + 17)
    return rng.integers(0, 256, (count, size, size, channels), dtype=np.uint8)


def metadata(names=CLASSES, image="image", label="label"):
    """Return the metadata that `datasets` writes into the schema of a file."""
    features = {image: {"_type": "Image"}, label: {"_type": "ClassLabel", "names": list(names)}}
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def table(images, labels, names=CLASSES, image="image", label="label", extra=()):
    values = [{"bytes": png(one), "path": None} for one in images]
    columns = {image: values, label: labels, **dict(extra)}
    found = pa.table(columns)
    return found.replace_schema_metadata(metadata(names, image, label)) if names else found


def shards(folder, one_set, count, each=12, names=CLASSES, missing=(), first=0):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        if number not in missing:
            images = pictures(each, first=first + 1000 * number)
            rows = table(images, [row % 3 for row in range(each)], names)
            pq.write_table(rows, folder / f"{one_set}-{number:05d}-of-{count:05d}.parquet")
    return str(folder)


def load(data, **how):
    return load_task(TaskDefinition(data=str(data), **how))


def counts(task):
    return tuple(map(len, (task.train, task.validation, task.test)))


def every(task):
    """Return the set of all images of a task, so that their order does not matter."""
    return {one.numpy().tobytes() for part in (task.train, task.validation, task.test) for one in part.pixels}


# Tables and shards


def test_folder_of_the_hub_is_taken_with_all_its_shards_and_its_sets(tmp_path):
    for one_set, count, first in (("train", 3, 0), ("validation", 1, 50_000), ("test", 2, 90_000)):
        shards(tmp_path / "data", one_set, count, first=first)
    task = load(tmp_path)
    assert counts(task) == (36, 12, 24)
    assert task.names == CLASSES
    assert len(every(task)) == 72


def test_folder_with_training_shards_alone_holds_out_its_shares_of_all_of_them(tmp_path):
    task = load(shards(tmp_path, "train", 3))
    assert sum(counts(task)) == 36
    assert len(every(task)) == 36


@pytest.mark.parametrize("pattern", ["train-*.parquet", "train-*-of-00003.parquet", "../data/train-0000?-of-*.parquet"])
def test_pattern_is_all_files_that_match_it_in_order(tmp_path, pattern):
    folder = tmp_path / "data"
    shards(folder, "train", 3)
    shards(folder, "test", 2, first=70_000)
    task = load(folder / pattern)
    assert every(task) == every(load(shards(tmp_path / "same", "train", 3)))


@pytest.mark.parametrize("layout", ["{set}/0000.parquet", "plain_text/{set}-00000-of-00001.parquet", "{set}.parquet"])
def test_sets_are_told_by_folders_and_by_names_of_files(tmp_path, layout):
    for number, one_set in enumerate(("train", "test")):
        path = tmp_path / layout.format(set=one_set)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table(pictures(24, first=number), [row % 3 for row in range(24)]), path)
    task = load(tmp_path)
    assert len(task.test) == 24
    assert len(task.train) + len(task.validation) == 24


def test_folder_that_datasets_saved_to_disk_is_read_from_its_arrow_files(tmp_path):
    for one_set, first in (("train", 0), ("test", 99)):
        folder = tmp_path / one_set
        folder.mkdir()
        rows = table(pictures(24, first=first), [row % 3 for row in range(24)])
        for number in range(2):
            name = str(folder / f"data-{number:05d}-of-00002.arrow")
            with pa.OSFile(name, "wb") as file, pa.ipc.new_stream(file, rows.schema) as writer:
                writer.write_table(rows.slice(number * 12, 12), max_chunksize=5)
        (folder / "state.json").write_text("{}")
        with pa.OSFile(str(folder / "cache-1234.arrow"), "wb") as file, pa.ipc.new_stream(file, rows.schema) as writer:
            writer.write_table(rows)  # a cached result of `map` in `datasets`
    task = load(tmp_path)
    assert (len(task.test), len(task.train) + len(task.validation), task.names) == (24, 24, CLASSES)


def test_missing_shard_is_named(tmp_path):
    shards(tmp_path / "data", "train", 3, missing=[1])
    with pytest.raises(TaskError, match=r"lacks 1 of 3 parts, the first train-00001-of-00003\.parquet"):
        load(tmp_path)
    with pytest.raises(TaskError, match=r"lacks 1 of 3 parts"):
        load(tmp_path / "data" / "train-*.parquet")


def test_several_data_sets_in_one_folder_are_refused_with_their_names(tmp_path):
    for name in ("cifar10", "cifar100"):
        shards(tmp_path / name, "train", 1)
    with pytest.raises(TaskError, match="several data sets: cifar10, cifar100"):
        load(tmp_path)
    assert sum(counts(load(tmp_path / "cifar10"))) == 12


def test_files_of_a_set_beside_others_are_refused(tmp_path):
    shards(tmp_path, "train", 1)
    pq.write_table(table(pictures(6), [0, 1, 2] * 2), tmp_path / "more.parquet")
    with pytest.raises(TaskError, match=r"files of sets \(train\), and others, such as more\.parquet"):
        load(tmp_path)


def test_shards_with_other_columns_or_types_are_refused(tmp_path):
    shards(tmp_path, "train", 1)
    (tmp_path / "train-00000-of-00001.parquet").rename(tmp_path / "train-00000-of-00002.parquet")
    other = tmp_path / "train-00001-of-00002.parquet"
    pq.write_table(table(pictures(6), [0, 1, 2] * 2, label="class"), other)
    with pytest.raises(TaskError, match=r"same columns, but .*00001-of-00002.* has no column 'label'"):
        load(tmp_path)
    pq.write_table(table(pictures(6), ["a", "b", "c"] * 2, names=None), other)
    with pytest.raises(TaskError, match=r"one type, but .*int64.*string"):
        load(tmp_path)


# Columns and labels


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("img", "fine_label"),
        ("images", "labels"),
        ("Image", "Label"),
        ("pixel_values", "target"),
        ("jpg", "class"),
        ("picture", "category"),
    ],
)
@pytest.mark.parametrize("is_typed", [True, False])
def test_columns_are_found_by_the_names_they_have_in_the_wild(tmp_path, image, label, is_typed):
    names = CLASSES if is_typed else None
    path = tmp_path / "a.parquet"
    pq.write_table(table(pictures(24), [0, 1, 2] * 8, names, image, label, [("id", range(24))]), path)
    assert sum(counts(load(path))) == 24


def test_columns_of_any_name_are_found_by_the_types_of_datasets(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(table(pictures(24), [0, 1, 2] * 8, CLASSES, "scan", "diagnosis"), path)
    assert load(path).names == CLASSES


def test_columns_that_may_both_be_meant_are_refused_and_chosen_by_a_setting(tmp_path):
    path = tmp_path / "cifar100.parquet"
    coarse = ("label", [0, 1] * 12)
    rows = table(pictures(24), [0, 1, 2] * 8, None, "img", "fine_label", [("coarse_label", coarse[1])])
    pq.write_table(rows, path)
    with pytest.raises(TaskError, match=r"its labels: fine_label, coarse_label.*task\.label_column"):
        load(path)
    assert load(path, label_column="coarse_label").labels == (0, 1)
    assert load(path, label_column="fine_label").labels == (0, 1, 2)
    with pytest.raises(TaskError, match="'labl' is none of img, fine_label, coarse_label"):
        load(path, label_column="labl")


def test_labels_that_are_texts_are_classes_in_the_order_of_the_alphabet(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(table(pictures(24), ["dog", "airplane", "cat"] * 8, None), path)
    task = load(path)
    assert (task.labels, task.names) == ((0, 1, 2), CLASSES)
    dictionary = table(pictures(24), ["dog", "airplane", "cat"] * 8, None)
    dictionary = dictionary.set_column(1, "label", dictionary["label"].dictionary_encode())
    pq.write_table(dictionary, path)
    assert load(path).fingerprint == task.fingerprint


def test_texts_that_are_numbers_are_these_numbers(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(table(pictures(24), ["10", "9", "2"] * 8, None), path)
    task = load(path)
    assert (task.labels, task.names) == ((2, 9, 10), ())
    assert any("begin at 2" in note for note in task.notes)
    assert any("gaps" in note for note in task.notes)


def test_names_of_two_files_are_matched_whatever_their_numbers(tmp_path):
    train, test = tmp_path / "train.parquet", tmp_path / "test.parquet"
    pq.write_table(table(pictures(30), [0, 1, 2] * 10), train)
    images = np.stack([np.full((6, 6, 3), value, np.uint8) for value in (1, 2, 3)])
    pq.write_table(table(images, [2, 0, 1], names=("cat", "dog", "airplane")), test)  # airplane, cat, dog
    task = load(train, test=str(test))
    assert dict(zip(task.test.labels.tolist(), task.test.pixels[:, 0, 0, 0].tolist(), strict=True)) == {
        0: 1,
        1: 2,
        2: 3,
    }


def test_classes_are_chosen_by_their_names(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(table(pictures(24), [0, 1, 2] * 8), path)
    task = load(path, classes=("cat", "airplane"))
    assert (task.labels, task.names) == ((0, 1), ("airplane", "cat"))
    with pytest.raises(TaskError, match=r"label horse, but .*\[0 \(airplane\), 1 \(cat\), 2 \(dog\)\]"):
        load(path, classes=("cat", "horse"))


def test_class_that_a_file_lacks_is_called_by_its_name(tmp_path):
    train, test = tmp_path / "train.parquet", tmp_path / "test.parquet"
    pq.write_table(table(pictures(30), [0, 1, 2] * 10), train)
    pq.write_table(table(pictures(30), [0, 1] * 15), test)
    with pytest.raises(TaskError, match=r"test\.parquet hold none of class 2 \(dog\)"):
        load(train, test=str(test))


def test_name_that_would_change_a_terminal_is_shown_without_that(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(table(pictures(24), ["a\x1b[2J", "b"] * 12, None), path)
    assert load(path).names == ("a�[2J", "b")


def test_images_that_are_lists_of_numbers_are_read(tmp_path):
    path, images = tmp_path / "a.parquet", pictures(24, channels=1)[..., 0]
    pq.write_table(pa.table({"pixels": images.tolist(), "label": [0, 1] * 12}), path)
    assert every(load(path)) == {one.tobytes() for one in images}
    pq.write_table(pa.table({"pixels": images.reshape(24, -1).tolist(), "label": [0, 1] * 12}), path)
    with pytest.raises(TaskError, match=r"row \d+ of .* holds a list of numbers that is no picture"):
        load(path)


def test_rows_that_hold_paths_and_no_images_are_refused_with_the_way_out(tmp_path):
    path = tmp_path / "a.parquet"
    values = pa.array(
        [{"bytes": None, "path": "/etc/passwd"}] * 8, pa.struct([("bytes", pa.binary()), ("path", "str")])
    )
    pq.write_table(pa.table({"image": values, "label": [0, 1] * 4}), path)
    with pytest.raises(TaskError, match=r"row \d of .* holds the path of an image and no image"):
        load(path)


def test_only_rows_that_are_wanted_are_decoded_from_many_row_groups(tmp_path):
    path = tmp_path / "a.parquet"
    rows = table(pictures(600), [0, 1] * 300, None).to_pylist()
    for row in rows[400:]:
        row["image"]["bytes"] = b"broken"
        row["label"] = 7
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=37)
    assert sum(counts(load(path, classes=(0, 1)))) == 400
    with pytest.raises(TaskError, match=r"row \d{3} of .* is no readable image: its bytes are of no known format"):
        load(path)


# Folders of images


def folder_of_images(root, classes=CLASSES, each=8, kind="png", first=0):
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for image in range(each):
            Image.fromarray(pictures(1, first=first + 100 * number + image)[0]).save(root / name / f"{image}.{kind}")
    return root


def test_folder_with_one_folder_for_each_class_is_read(tmp_path):
    folder_of_images(tmp_path / "pets")
    (tmp_path / "pets" / ".DS_Store").write_bytes(b"")
    (tmp_path / "pets" / "cat" / "notes.txt").write_text("no image")
    task = load(tmp_path / "pets")
    assert (sum(counts(task)), task.names) == (24, CLASSES)
    assert any("1 files of" in note and "notes.txt" in note for note in task.notes)


def test_folder_with_a_folder_for_each_set_is_read(tmp_path):
    folder_of_images(tmp_path / "train")
    folder_of_images(tmp_path / "val", first=5000)
    folder_of_images(tmp_path / "test", first=9000)
    assert counts(load(tmp_path)) == (24, 24, 24)


def test_classes_may_be_called_as_sets_are(tmp_path):
    task = load(folder_of_images(tmp_path, ("bus", "car", "train")))
    assert task.names == ("bus", "car", "train")


def test_folders_that_are_numbers_are_these_labels(tmp_path):
    task = load(folder_of_images(tmp_path, ("10", "2", "1")))
    assert (task.labels, task.names) == ((1, 2, 10), ())


def test_images_without_folders_for_classes_are_refused(tmp_path):
    Image.fromarray(pictures(1)[0]).save(tmp_path / "a.png")
    with pytest.raises(TaskError, match=r"a\.png, and no folders for their classes"):
        load(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(TaskError, match="is empty"):
        load(tmp_path)


def test_broken_file_among_images_is_named(tmp_path):
    folder_of_images(tmp_path)
    whole = (tmp_path / "dog" / "3.png").read_bytes()
    (tmp_path / "dog" / "3.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TaskError, match=r"dog/3\.png is no readable image: "):
        load(tmp_path)


# Arrays


def test_npz_is_read_with_one_set_and_with_several(tmp_path):
    path, images = tmp_path / "a.npz", pictures(24)
    np.savez_compressed(path, images=images, labels=np.arange(24) % 3, class_names=np.array(CLASSES))
    task = load(path)
    assert (sum(counts(task)), task.names, task.image) == (24, CLASSES, (3, 6, 6))
    np.savez(
        path, x_train=images[:12, ..., 0], y_train=np.arange(12) % 3, x_test=images[12:, ..., 0], y_test=[[0], [1]] * 6
    )
    with pytest.raises(TaskError, match="hold none of class 2"):
        load(path)
    assert len(load(path, classes=(0, 1)).test) == 12
    sets = {f"{name}_{what}": value for name, first in (("train", 0), ("val", 8), ("test", 16)) for what, value in
            (("images", images[first : first + 8]), ("labels", np.arange(8)[:, None] % 2))}  # fmt: skip
    np.savez(path, **sets)
    assert counts(load(path)) == (8, 8, 8)


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (np.zeros((8, 6, 6), np.float64) - 1, "from 0 to 1, but .* from -1 to -1"),
        (np.zeros((8, 3, 6, 3), np.uint8), r"\(8, 3, 6, 3\), in which the channels may stand second or last"),
        (np.zeros((8, 6, 6, 4), np.uint8), "4 channels, of which the last may be their transparency"),
        (np.zeros((8, 6), np.uint8), r"uint8 of \(8, 6\)"),
        (np.full((8, 6, 6), 70_000), "int64 from 70000 to 70000"),
        (np.full((8, 6, 6), np.nan), "from 0 to 1, but .* nan"),
        (np.zeros((7, 6, 6), np.uint8), "7 images and 8 labels"),
        (np.array([{}] * 8, object), "allow_pickle|Object arrays"),
    ],
)
def test_arrays_that_are_no_images_are_refused_with_the_reason(tmp_path, images, told):
    path = tmp_path / "a.npz"
    np.savez(path, images=images, labels=np.arange(8) % 2)
    with pytest.raises(TaskError, match=told):
        load(path)


def test_floats_are_kept_as_they_are_and_sixteen_bits_are_rounded(tmp_path):
    path = tmp_path / "a.npz"
    floats = np.random.default_rng(0).random((16, 5, 4))
    np.savez(path, images=floats, labels=np.arange(16) % 2)
    assert every(load(path)) == {one.astype(np.float32).tobytes() for one in floats}
    np.savez(
        path, images=(np.arange(16)[:, None, None] * 4369 * np.ones((1, 4, 4))).astype(np.uint16), labels=[0, 1] * 8
    )
    task = load(path)
    assert every(task) == {np.full((4, 4), 17 * value, np.uint8).tobytes() for value in range(16)}
    assert any("16 images" in note and "16 bits" in note for note in task.notes)


def test_npz_that_says_it_fills_the_memory_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "bomb.npz"
    import zipfile

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("images.npy", b"x")
    data = path.read_bytes().replace(
        struct.pack("<III", *sizes(path)), struct.pack("<III", sizes(path)[0], 1, 2**32 - 2)
    )
    path.write_bytes(data)
    with pytest.raises(TaskError, match=r"bomb\.npz"):
        load(path)


def sizes(path):
    import zipfile

    with zipfile.ZipFile(path) as packed:
        one = packed.infolist()[0]
        return one.CRC, one.compress_size, one.file_size


# MNIST and CIFAR as torchvision keeps them


def idx(array, is_packed):
    data = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    return gzip.compress(data) if is_packed else data


def mnist(root, is_packed=True, size=6):
    root.mkdir(parents=True, exist_ok=True)
    end = ".gz" if is_packed else ""
    for name, count, first in (("train", 40, 0), ("t10k", 20, 7)):
        images = pictures(count, size, first, 1)[..., 0]
        (root / f"{name}-images-idx3-ubyte{end}").write_bytes(idx(images, is_packed))
        (root / f"{name}-labels-idx1-ubyte{end}").write_bytes(idx((np.arange(count) % 10).astype(np.uint8), is_packed))


@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize("named", ["", "MNIST", "MNIST/raw"])
def test_mnist_is_read_from_the_folder_of_torchvision(tmp_path, is_packed, named):
    mnist(tmp_path / "MNIST" / "raw", is_packed)
    task = load(tmp_path / named)
    assert (len(task.test), len(task.train) + len(task.validation), task.classes) == (20, 40, 10)


def test_one_file_of_mnist_is_read_with_the_labels_beside_it(tmp_path):
    mnist(tmp_path)
    task = load(tmp_path / "train-images-idx3-ubyte.gz", test=str(tmp_path / "t10k-images-idx3-ubyte.gz"))
    assert (len(task.test), len(task.train) + len(task.validation)) == (20, 40)


def test_damaged_idx_files_are_refused(tmp_path):
    mnist(tmp_path, is_packed=False)
    path = tmp_path / "train-images-idx3-ubyte"
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with pytest.raises(TaskError, match=r"says that it holds 1440 bytes, but it holds 1435"):
        load(tmp_path)
    path.write_bytes(whole + b"x")
    with pytest.raises(TaskError, match="but it holds more"):
        load(tmp_path)
    path.write_bytes(struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**10, 2**10))
    with pytest.raises(TaskError, match="GiB when it is unpacked"):
        load(tmp_path)
    path.write_bytes(b"\0\0\x0d\3" + whole[4:])
    with pytest.raises(TaskError, match="no idx file with 3 dimensions of bytes"):
        load(tmp_path)


def old_pickle(value):
    """Pickle as Python 2 did, which wrote CIFAR's files: bytes are STRINGs."""
    out = io.BytesIO()
    out.write(b"\x80\x02")

    def put(one):
        if isinstance(one, dict):
            out.write(b"}(")
            for key, item in one.items():
                put(key)
                put(item)
            out.write(b"u")
        elif isinstance(one, list):
            out.write(b"](")
            for item in one:
                put(item)
            out.write(b"e")
        elif isinstance(one, bytes):
            out.write(b"U" + bytes([len(one)]) + one if len(one) < 256 else b"T" + struct.pack("<i", len(one)) + one)
        elif isinstance(one, int):
            out.write(b"J" + struct.pack("<i", one))
        else:
            out.write(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01")
            out.write(b"(" + b"".join(b"J" + struct.pack("<i", side) for side in one.shape) + b"t")
            out.write(b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb")
            out.write(b"\x89T" + struct.pack("<i", one.nbytes) + one.tobytes() + b"tb")

    put(value)
    out.write(b".")
    return out.getvalue()


def cifar10(root, dump=old_pickle):
    root.mkdir(parents=True)
    for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        images = pictures(20, 32, number).transpose(0, 3, 1, 2).reshape(20, -1)
        (root / name).write_bytes(dump({b"data": np.ascontiguousarray(images), b"labels": [n % 3 for n in range(20)]}))
    (root / "batches.meta").write_bytes(dump({b"label_names": [name.encode() for name in CLASSES]}))
    return root


@pytest.mark.parametrize("dump", [old_pickle, *(lambda value, p=p: pickle.dumps(value, p) for p in (2, 4, 5))])
def test_cifar_is_read_from_the_folder_of_torchvision_without_unpickling(tmp_path, dump):
    cifar10(tmp_path / "root" / "cifar-10-batches-py", dump)
    task = load(tmp_path / "root")
    assert (len(task.test), len(task.train) + len(task.validation), task.image) == (20, 100, (3, 32, 32))
    assert task.names == CLASSES
    first = pictures(20, 32, 5).transpose(0, 3, 1, 2)
    assert np.array_equal(task.test.pixels.numpy(), first)


def test_cifar_100_has_fine_labels_and_coarse_ones(tmp_path):
    root = tmp_path / "cifar-100-python"
    root.mkdir()
    for number, name in enumerate(("train", "test")):
        images = pictures(20, 32, number).transpose(0, 3, 1, 2).reshape(20, -1)
        labels = {b"fine_labels": [n % 4 for n in range(20)], b"coarse_labels": [n % 2 for n in range(20)]}
        (root / name).write_bytes(old_pickle({b"data": np.ascontiguousarray(images), **labels}))
    names = {b"fine_label_names": [b"a", b"b", b"c", b"d"], b"coarse_label_names": [b"x", b"y"]}
    (root / "meta").write_bytes(old_pickle(names))
    assert load(root).names == ("a", "b", "c", "d")
    assert load(root, label_column="coarse_labels").names == ("x", "y")
    with pytest.raises(TaskError, match="must be fine_labels or coarse_labels"):
        load(root, label_column="labels")


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("protocol", range(6))
def test_pickle_that_would_run_something_is_refused_and_not_run(tmp_path, protocol):
    root = cifar10(tmp_path / "cifar-10-batches-py")
    trap = tmp_path / "trap"
    (root / "test_batch").write_bytes(pickle.dumps({b"data": Trap(trap)}, protocol))
    with pytest.raises(TaskError, match=r"test_batch is none of CIFAR's files: it (names|holds)"):
        load(root)
    assert not trap.exists()


def test_pickle_that_is_nested_upon_itself_ends(tmp_path):
    laughs = [b"lol"]
    for _ in range(60):
        laughs = [laughs, laughs]
    assert isinstance(array_pickle.read(pickle.dumps({b"a": laughs})), dict)
    endless = []
    endless.append(endless)
    with pytest.raises(array_pickle.PickleError):
        array_pickle.read(pickle.dumps(endless))


def read_or_refused(data):
    """Return what a pickle holds, or one line that says why it is refused."""
    try:
        return array_pickle.read(data)
    except array_pickle.PickleError as error:
        return str(error)


@given(st.binary(max_size=80))
def test_any_bytes_are_refused_in_one_line_or_plain_values(data):
    found = read_or_refused(b"\x80\x02" + data)
    assert not isinstance(found, str) or found.isprintable()


@given(st.data())
def test_damaged_pickle_is_refused_in_one_line_or_read(data):
    whole = bytearray(old_pickle({b"data": np.zeros((1, 4), np.uint8), b"labels": [1, 2], b"names": [b"a"]}))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    found = read_or_refused(bytes(whole))
    assert isinstance(found, str | dict | list | tuple | bytes | int | float | None | np.ndarray)


def test_old_pickles_of_this_file_are_what_python_reads(tmp_path):
    value = {b"data": np.arange(12, dtype=np.uint8).reshape(3, 4), b"labels": [1, 2, 3]}
    assert pickletools.dis(old_pickle(value), io.StringIO()) is None
    theirs, ours = pickle.loads(old_pickle(value), encoding="bytes"), array_pickle.read(old_pickle(value))
    assert np.array_equal(theirs[b"data"], ours[b"data"])
    assert theirs[b"labels"] == ours[b"labels"] == [1, 2, 3]


# Functions and URIs


FUNCTION = """
import numpy as np
from helping import LABELS

def pictures():
    images = np.random.default_rng(0).integers(0, 256, (30, 6, 6), dtype=np.uint8)
    return images, LABELS, ["a", "b", "c"]

def sets():
    images, labels, names = pictures()
    return {"train": (images[:20], labels[:20], names), "test": (images[20:], labels[20:], names)}

def texts():
    return {"images": pictures()[0], "labels": ["x", "y"] * 15}

def wrong():
    return 3

def raises():
    raise ValueError("no such disk")
"""


@pytest.fixture
def module(tmp_path):
    (tmp_path / "mine.py").write_text(FUNCTION)
    (tmp_path / "helping.py").write_text("LABELS = [n % 3 for n in range(30)]\n")
    return f"{tmp_path / 'mine.py'}:"


def test_function_of_a_file_returns_arrays_and_names(module):
    task = load(module + "pictures")
    assert (sum(counts(task)), task.names, task.image) == (30, ("a", "b", "c"), (1, 6, 6))
    assert len(load(module + "sets").test) == 10
    assert load(module + "texts").names == ("x", "y")
    assert [file.name for file in files_of(module + "sets")] == ["mine.py"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("wrong", r"mine\.py:wrong must return images and labels, .*but returned int"),
        ("raises", r"mine\.py:raises raised ValueError: no such disk"),
        ("gone", r"has no function gone: it has pictures, raises, sets, texts, wrong"),
    ],
)
def test_function_that_returns_something_else_is_refused(module, name, told):
    with pytest.raises(TaskError, match=told):
        load(module + name)


@contextmanager
def reached(uri):
    """Yield the local folder of a URI, in place of a remote store."""
    yield LocalFileSystem(), uri.removeprefix("here://")


def test_images_at_a_uri_are_read_through_its_file_system(tmp_path):
    shards(tmp_path / "data", "train", 2)
    shards(tmp_path / "data", "test", 1, first=4000)
    for place in (tmp_path, tmp_path / "data" / "train-*.parquet"):
        here = load(place)
        there = load_task(TaskDefinition(data=f"here://{place}"), reach=reached)
        assert torch.equal(here.train.pixels, there.train.pixels)
        assert here.fingerprint == there.fingerprint
    np.savez(tmp_path / "a.npz", images=pictures(24), labels=np.arange(24) % 3)
    assert sum(counts(load_task(TaskDefinition(data=f"here://{tmp_path}/a.npz"), reach=reached))) == 24
    with pytest.raises(TaskError, match="there is nothing"):
        load_task(TaskDefinition(data=f"here://{tmp_path}/gone"), reach=reached)
