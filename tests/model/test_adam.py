"""Adam is torch's Adam, to the bit, and does not load torch's compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from sweeper.model.adam import Adam

SHAPES = ((2, 3, 4, 3, 3), (2, 3), (2, 5))


def weights(seed=0):
    generator = torch.Generator().manual_seed(seed)
    found = [torch.randn(shape, generator=generator) for shape in SHAPES]
    found[0] = found[0].transpose(1, 2)  # not contiguous
    return [torch.nn.Parameter(one) for one in found]


def slopes(step):
    """Return gradients of all magnitudes; that of the last weight comes late, and is missing in most steps."""
    generator = torch.Generator().manual_seed(1000 + step)
    found = [torch.randn(shape, generator=generator) * 10.0 ** (step % 7 - 4) for shape in SHAPES]
    found[0] = found[0].transpose(1, 2)
    return [*found[:2], found[2] if step % 3 == 2 else None]


def train(parameters, optimizer, rate, steps):
    for step in steps:
        for parameter, slope in zip(parameters, slopes(step), strict=True):
            parameter.grad = slope
        rate(0.03 / (1 + step))
        optimizer.step()


def ours(steps, state=None):
    parameters = weights()
    optimizer = Adam(parameters, 1.0)
    if state:
        optimizer.load_state_dict(state)
    train(parameters, optimizer, lambda rate: setattr(optimizer, "learning_rate", rate), steps)
    return parameters, optimizer


def theirs(steps):
    parameters = weights()
    optimizer = torch.optim.Adam(parameters, lr=1.0, fused=True)
    train(parameters, optimizer, lambda rate: optimizer.param_groups[0].update(lr=rate), steps)
    return parameters, optimizer


def test_weights_and_moments_are_those_of_torch():
    (mine, optimizer), (reference, other) = ours(range(20)), theirs(range(20))
    for one, same in zip(mine, reference, strict=True):
        assert torch.equal(one, same)
        for moment, name in zip(optimizer.moments(one), ("exp_avg", "exp_avg_sq"), strict=True):
            assert torch.equal(moment, other.state[same][name])


@pytest.mark.parametrize("of", [ours, theirs])
def test_state_of_either_is_taken_over_as_a_copy(of):
    parameters, optimizer = of(range(5))
    state = optimizer.state_dict()
    again, taken = ours((), state)
    for mine, given in zip(again, parameters, strict=True):
        assert all(
            map(torch.equal, taken.moments(mine), [optimizer.state[given][n] for n in ("exp_avg", "exp_avg_sq")])
        )
        mine.data.copy_(given)
    train(again, taken, lambda rate: setattr(taken, "learning_rate", rate), range(5, 9))
    assert all(map(torch.equal, again, ours(range(9))[0]))
    assert all(float(known["step"]) <= 5 for known in state["state"].values())


def test_weight_that_had_no_slope_yet_has_no_moments_and_stays():
    parameters, optimizer = ours(range(2))
    assert [len(optimizer.moments(parameter)) for parameter in parameters] == [2, 2, 0]
    assert torch.equal(parameters[2], weights()[2])


def test_training_loads_no_compiler_of_torch():
    """A worker would pay 2 s for it."""
    code = (
        "import sys\n"
        "from sweeper.model import Pressures, TaskDefinition, TrainingSettings, Window, load_task, train\n"
        "task = load_task(TaskDefinition(train_images=32))\n"
        "window = Window((2, 2), 2, task.image, task.classes)\n"
        "settings = TrainingSettings(1, 16, 0.01, 'elimination', 0.2)\n"
        "train(task, window, [Pressures(0.01, 0.01, 0.01, 0)], settings, report=lambda epoch: epoch.state())\n"
        "print(sorted({'torch._dynamo', 'sympy', 'torch.onnx', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]"]
