"""What `sweeper plan` says about images before training: how many, which classes, and what looks wrong."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from sweeper.cli import run as cli
from tests.model.test_sources import folder_of_images, shards
from tests.model.test_tasks import SHARED

REST = """lattice: {channels: 2, layers: 1, steps: 2}
parameters: {breadth_pressure: {values: [0]}, PARAMETERS}
training: {epochs: 1, batch_size: 8}
objectives: [{name: accuracy, goal: maximize}, {name: breadth, goal: minimize}]
reference_point: {accuracy: 0, breadth: 3}
"""


@pytest.fixture
def plan(tmp_path, monkeypatch, capsys):
    """Plan a sweep of a task; return the exit code and the output, with runs of spaces collapsed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def planned(task, *words, parameters=""):
        (tmp_path / "spec.yaml").write_text(f"task: {{{task}}}\n{REST.replace('PARAMETERS', parameters)}")
        monkeypatch.setattr(sys, "argv", ["sweeper", "plan", "spec.yaml", "--workers", "1", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out if words else " ".join((said.out + said.err).split())

    return planned


def test_plan_tells_images_per_set_classes_size_channels_and_brightness(tmp_path, plan):
    folder_of_images(tmp_path / "pets", each=16)
    code, said = plan("data: pets")
    assert code == 0
    assert "30 for training, 6 for validation, 12 for test; 6×6 pixels, colour; mean pixel 0.5" in said
    assert "classes 3: airplane, cat, dog" in said
    assert "warning" not in said
    _, found = plan("data: pets", "--json")
    (facts,) = json.loads(found)["images"].values()
    assert (facts["train_images"], facts["names"], facts["image"]) == (30, ["airplane", "cat", "dog"], [3, 6, 6])
    assert facts["brightness"] == pytest.approx(0.5, abs=0.02)


def test_plan_warns_of_what_looks_wrong(tmp_path, plan):
    images = np.zeros((60, 6, 6), np.uint8)
    np.savez(tmp_path / "black.npz", images=images, labels=np.arange(60) % 3 + 1)
    code, said = plan("data: black.npz")
    assert code == 0
    assert "warning each of the 36 training images has one value throughout" in said
    assert "begin at 1" in said
    images[:, 0, 0] = 4
    np.savez(tmp_path / "black.npz", images=images, labels=np.arange(60) % 3)
    _, said = plan("data: black.npz")
    assert "warning all 36 training images are equal" in said
    assert "warning the test images are nearly black: their mean pixel is 0.000" in said


def test_plan_warns_of_a_class_that_no_chosen_image_has(tmp_path, plan):
    folder_of_images(tmp_path / "pets", each=16)
    _, said = plan("data: pets, train_images: 2")
    assert "warning the training images hold none of 1 class: " in said


def test_facts_stand_once_below_the_tasks_that_share_them(tmp_path, plan):
    folder_of_images(tmp_path / "pets", each=16)
    _, said = plan("data: pets", parameters="classes: {values: [2, 3]}, noise: {values: [0, 0.5]}")
    two, three = said.split("task pets-3 ")
    assert "task pets-2 1 trial task pets-2-noise0.5 1 trial images 20 for training" in two
    assert two.count(" images ") == two.count(" classes 2: ") == 1
    assert "1 trial task pets-3-noise0.5 1 trial images 30 for training" in three
    assert three.count(" images ") == three.count(" classes 3: airplane, cat, dog") == 1


def test_plan_tells_of_data_with_sets_of_their_own_and_refuses_one_shard(tmp_path, plan):
    shards(tmp_path / "hub" / "data", "train", 3)
    shards(tmp_path / "hub" / "data", "test", 1, first=9000)
    _, said = plan("data: hub")
    assert "12 for test" in said
    code, said = plan("data: hub/data/train-00000-of-00003.parquet")
    assert code == 2
    assert "is one of 3 parts" in said


def test_name_like_markup_is_shown_as_it_is(tmp_path, plan):
    folder_of_images(tmp_path / "pets", ("[red]cat", "dog"), each=16)
    _, said = plan("data: pets")
    assert "[red]cat, dog" in said


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder with real image files is not beside this checkout")
def test_plan_tells_the_names_of_real_classes(plan):
    _, said = plan(f"data: {SHARED}/cifar10_test.parquet, train_images: 60, validation_images: 30, test_images: 30")
    assert "classes 10: airplane, automobile, bird" in said
    assert "32×32 pixels, colour" in said
