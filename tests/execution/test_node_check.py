"""The problems that a node reports about itself, checked in this process."""

from __future__ import annotations

import sys

import pytest

from sweeper import storage
from sweeper.execution.node_check import look
from sweeper.execution.resources import Shared
from sweeper.provenance import software


@pytest.fixture
def probe(tmp_path):
    """Location of a probe file that a driver has written."""
    location = storage.join(str(tmp_path), "sweep", "probe-1234")
    storage.write_bytes(location, b"probe-1234")
    return location


def problem(probe="", **shared):
    return look(Shared(**shared), probe, 0)["problem"]


def test_node_that_finds_everything_has_no_problem_and_leaves_nothing(probe, tmp_path):
    images = tmp_path / "images.parquet"
    images.write_bytes(b"12345")
    assert problem(probe, files={str(images): 5}, software=software()) == ""
    assert sorted(path.name for path in (tmp_path / "sweep").iterdir()) == ["probe-1234"]


def test_node_that_reads_an_object_store_finds_the_drivers_file(s3):
    location = storage.join(s3, "sweep", "probe-1234")
    storage.write_bytes(location, b"probe-1234")
    assert problem(location) == ""
    storage.delete(location)
    assert "s3://bucket/sweep there is not the driver's" in problem(location)


def test_file_that_is_not_there_means_that_the_folder_is_another_one(probe, tmp_path):
    storage.delete(probe)
    assert f"the folder {tmp_path}/sweep there is not the driver's" in problem(probe)
    assert "--storage" in problem(probe)


def test_file_of_somebody_else_means_the_same(probe):
    storage.write_bytes(probe, b"another driver's")
    assert "is not the driver's" in problem(probe)


def test_storage_that_cannot_be_written_is_said_with_the_reason(probe, monkeypatch):
    def full(location, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "write_bytes", full)
    assert "cannot be used there: No space left on device" in problem(probe)


@pytest.mark.parametrize(
    ("name", "drivers", "is_same"),
    [
        ("torch", "0.1.2", False),
        ("torch", f"{software()['torch'].partition('+')[0]}+cu128", True),
        ("ray", "1.0.0", False),
        ("sweeper", "99.0", False),
        ("python", "3.1.0", False),
        ("python", f"{sys.version_info.major}.{sys.version_info.minor}.99", True),
        ("numpy", "0.1", True),
    ],
)
def test_software_must_be_the_drivers_but_for_builds_and_mended_errors(name, drivers, is_same):
    found = problem(software={**software(), name: drivers})
    assert (found == "") is is_same
    if not is_same:
        assert found == f"it has {name} {software()[name]}, and the driver {drivers}; install the same there"


def test_images_that_are_missing_or_of_another_size_are_named_each(tmp_path):
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(b"1")
    found = problem(files={f"{tmp_path}/gone.parquet": 5, str(cut): 9})
    assert f"the images {tmp_path}/gone.parquet are not there (No such file or directory)" in found
    assert f"the images {cut} have 1 bytes there, and 9 at the driver" in found


@pytest.mark.slow
def test_gpus_that_ray_says_and_torch_does_not_see_are_a_problem_of_their_own():
    pytest.importorskip("torch")
    found = look(Shared(), "", 64)
    assert found["problem"] == ""
    assert "Ray says it has 64 GPUs" in found["gpu_problem"]
    assert "placement.gpus" in found["gpu_problem"]


def test_node_imports_what_training_begins_with_and_says_what_is_raised():
    assert problem(imports=["json"]) == ""
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        problem(imports=["nothing_of_this_name"])


def test_node_with_other_software_is_told_of_that_and_not_of_what_it_lacks_for_it():
    assert "it has torch" in problem(software={"torch": "1.2.3"}, imports=["nothing_of_this_name"])
