"""A user's own measures are taken of the trained network, also at a pause, and never see the test images."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace

import pytest
import torch

from sweeper import model
from sweeper.job import Job, job_from_json
from sweeper.spec import LatticeSetting, LatticeSpec, TaskSpec, TrainingSpec
from sweeper.training.inputs import load_task
from sweeper.training.own_measures import OwnMeasure, try_measure
from sweeper.training.own_source import SourceError
from sweeper.training.train import train_population
from sweeper.trial import Outcome

SETTING = LatticeSetting(
    task=TaskSpec(classes=3, train_images=96, validation_images=50, test_images=40),
    lattice=LatticeSpec(channels=3, layers=2, steps=3),
    training=TrainingSpec(epochs=4, batch_size=32),
)

CODE = """
import torch


def noisy(network, task):
    images = task.validation.shown()
    assert len(task.test) == 0
    answer = network.halting(images + torch.randn(images.shape))
    return (answer.log_probs.argmax(1) == task.validation.labels).double().mean()


def breaking(network, task):
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    return 1.5


def fails(network, task):
    raise ArithmeticError("no such image")
"""

modules = itertools.count()


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A function that makes a job of two networks, which functions of a new module measure."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def make(*functions, **changes):
        module = f"measuring{next(modules)}"
        (tmp_path / f"{module}.py").write_text(CODE)
        settings = [SETTING.model_copy(update={"seed": seed}) for seed in (0, 1)]
        given = Job(
            key="population",
            task="digits",
            keys=tuple(setting.key for setting in settings),
            settings=tuple(setting.flat() for setting in settings),
            wanted=(True, True),
            networks=tuple(str(tmp_path / f"{setting.key}.safetensors") for setting in settings),
            own_folder=str(tmp_path),
            own_measures={name: f"{module}:{name}" for name in functions},
        )
        return replace(given, **changes)

    return make


def trained(job):
    return train_population(job, lambda progress: None)


def test_network_is_measured_and_nothing_else_changes(job):
    plain, measured = trained(job()), trained(job("noisy", "breaking"))
    for one, other in zip(plain, measured, strict=True):
        added = {name: other.measurement[name] for name in other.measurement.keys() - one.measurement.keys()}
        assert added.keys() == {"noisy", "breaking"}
        assert added["breaking"] == 1.5
        assert 0 <= added["noisy"] <= 1
        assert {name: other.measurement[name] for name in one.measurement} == one.measurement
    again = trained(job("noisy"))
    assert [one.measurement["noisy"] for one in again] == [one.measurement["noisy"] for one in measured]


def test_stored_network_is_not_what_a_measure_made_of_it(job):
    asked = job("breaking")
    trained(asked)
    for path in asked.networks:
        network = model.load(path)
        assert any(bool(weight.any()) for weight in network.parameters())
        assert network.description["measurement"]["breaking"] == 1.5


def test_pause_measures_too(job):
    paused = trained(job("noisy", until=2))
    assert [one.outcome for one in paused] == [None, None]
    assert all("noisy" in one.measurement for one in paused)


def test_measure_that_raises_is_an_outcome_that_would_be_the_same_again(job, tmp_path):
    ended = trained(job("noisy", "fails"))
    assert [(one.outcome, one.is_final) for one in ended] == [(Outcome.FAILED, True)] * 2
    assert all(one.reason.endswith("ArithmeticError: no such image\n") for one in ended)
    assert all("fails" in one.reason for one in ended)
    assert "accuracy" in ended[0].measurement
    assert list(tmp_path.glob("*.safetensors")) == []


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (
            lambda network, task: "high",
            "measure 'mine' must return a number, but returned str 'high', for a new network",
        ),
        (lambda network, task: torch.zeros(3), "must return a number, but returned Tensor tensor([0., 0., 0.])"),
        (
            lambda network, task: 1 / 0,
            "measure 'mine' raised ZeroDivisionError: division by zero for a new network (test",
        ),
        (lambda network, task: 1 / network.window.layers, "division by zero for a network without a layer"),
    ],
)
def test_function_that_is_no_measure_is_refused_in_a_sentence(function, says):
    task = load_task(SETTING.task)
    with pytest.raises(SourceError) as refused:
        try_measure(OwnMeasure("mine", function), model.Window((2,), 2, task.image, task.classes), task)
    assert says in str(refused.value)


def test_job_with_measures_is_read_back(job):
    from dataclasses import asdict
    from json import dumps

    asked = job("noisy")
    assert job_from_json(dumps(asdict(asked))) == asked
