"""A population trains as its members would alone, and an interrupted training ends as an uninterrupted one."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch

from model import CheckpointError, Images, Pressures, Task, TaskDefinition, Window, load_task, train
from model.checkpoint import load_state, save_state
from model.training import moments
from tests.model.populations import training_settings

SHORT = training_settings()


class StoppedError(Exception):
    """Stands for whatever ends a training between two epochs."""


@pytest.fixture(scope="module")
def task():
    return load_task(TaskDefinition(classes=3, train_images=160, test_images=60))


def window_for(task, time_selection="adaptive", steps=3):
    return Window((4, 3), steps, task.image, task.classes, halve=(2,), time_selection=time_selection)


MEMBERS = [Pressures(0.0, 0.0, 0.02, 0), Pressures(0.5, 0.0, 0.2, 1), Pressures(0.2, 2.0, 0.05, 2)]


def states_of(task, members, settings=SHORT, state=None, stop_after=None, dtype=torch.float32, **window):
    """Train and return the results and the state after each epoch."""
    states = []

    def keep(epoch):
        saved = epoch.state()
        states.append({**saved, "lattice": {k: v.clone() for k, v in saved["lattice"].items()}})
        if epoch.epoch == stop_after:
            raise StoppedError

    results = []
    with suppress(StoppedError):
        results = train(task, window_for(task, **window), members, settings, report=keep, state=state, dtype=dtype)
    return results, states


@pytest.mark.parametrize("solver", ["proximal", "backprop"])
@pytest.mark.parametrize("time_selection", ["adaptive", "fixed"])
@pytest.mark.parametrize("steps", [1, 3])
def test_member_of_a_population_trains_to_the_same_weights_as_alone(task, solver, time_selection, steps):
    """In float64, where training has too little rounding to amplify: any other difference shows."""
    settings = training_settings(epochs=6, solver=solver, learning_rate=3e-2)  # channels die on the way
    how = {"dtype": torch.float64, "time_selection": time_selection, "steps": steps}
    together, states = states_of(task, MEMBERS, settings, **how)
    assert states[-1]["lattice"]["readout_bias"].dtype == torch.float64
    for i, member in enumerate(MEMBERS):
        alone, alone_states = states_of(task, [member], settings, **how)
        for epoch, alone_epoch in zip(states, alone_states, strict=True):
            assert_same_weights(epoch, i, alone_epoch, rtol=1e-9, atol=1e-12)
        assert together[i].channels_per_layer == alone[0].channels_per_layer
        assert together[i].measurement == pytest.approx(alone[0].measurement, rel=1e-9)


@pytest.mark.parametrize("solver", ["proximal", "backprop"])
def test_member_of_a_population_takes_the_same_first_epoch_as_alone_in_float32(task, solver):
    settings = training_settings(epochs=6, solver=solver)
    _, states = states_of(task, MEMBERS, settings, stop_after=1)
    for i, member in enumerate(MEMBERS):
        _, alone_states = states_of(task, [member], settings, stop_after=1)
        assert_same_weights(states[0], i, alone_states[0], rtol=1e-4, atol=1e-5)


def assert_same_weights(state, member, alone_state, **tolerance):
    for name, weight in state["lattice"].items():
        torch.testing.assert_close(weight[member], alone_state["lattice"][name][0], **tolerance)


@pytest.mark.parametrize("stop_after", [1, 2])
def test_training_that_went_on_from_a_checkpoint_ends_with_the_same_weights(task, tmp_path, stop_after):
    whole, whole_states = states_of(task, MEMBERS)
    path = tmp_path / "population.pt"

    def save_then_stop(epoch):
        save_state(epoch.state(), path)
        if epoch.epoch == stop_after:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(task, window_for(task), MEMBERS, SHORT, report=save_then_stop)
    rest, rest_states = states_of(task, MEMBERS, state=load_state(path))
    assert len(rest_states) == SHORT.epochs - stop_after
    for name, weight in whole_states[-1]["lattice"].items():
        assert torch.equal(weight, rest_states[-1]["lattice"][name])
    assert [r.measurement for r in rest] == [r.measurement for r in whole]
    assert [r.curve for r in rest] == [r.curve for r in whole]


def test_training_twice_gives_the_same_measurements(task):
    one, other = (train(task, window_for(task), MEMBERS, SHORT) for _ in range(2))
    assert [r.measurement for r in one] == [r.measurement for r in other]


@pytest.mark.parametrize("time_selection", ["adaptive", "fixed"])
def test_step_distribution_of_a_result_is_the_mean_over_test_images_and_has_the_measured_time(task, time_selection):
    for result in train(task, window_for(task, time_selection), MEMBERS, SHORT):
        answer = result.network(task.test.pixels)
        assert result.step_dist == pytest.approx(answer.step_dist_TBP[..., 0].mean(1).tolist(), abs=1e-6)
        steps = range(1, result.network.window.steps + 1)
        expected = sum(step * share for step, share in zip(steps, result.step_dist, strict=True))
        assert expected == pytest.approx(result.measurement["time"], abs=1e-5)


@pytest.mark.parametrize("steps", [1, 3])
def test_pressure_leaves_exact_zeros_and_the_reported_channels_are_what_is_left(task, steps):
    settings = training_settings(epochs=6, learning_rate=3e-2)
    result, states = states_of(task, [Pressures(1.0, 0.0, 0.05, 0)], settings, steps=steps)
    channels = result[0].channels_per_layer
    assert sum(channels) < 7
    alive = states[-1]["lattice"]["bottom_up.0"][0].flatten(1).ne(0).any(1).sum().item()
    assert alive == (channels[0] if channels else 0)


@pytest.mark.parametrize("steps", [1, 3])
def test_member_that_becomes_not_finite_is_told_apart_and_disturbs_no_other(task, steps):
    broken = Pressures(float("nan"), 0.0, 0.05, 5)
    with_it = train(task, window_for(task, steps=steps), [MEMBERS[0], broken, MEMBERS[1]], SHORT)
    without = train(task, window_for(task, steps=steps), [MEMBERS[0], MEMBERS[0], MEMBERS[1]], SHORT)
    assert with_it[1].network is None
    assert "epoch 1" in with_it[1].reason
    assert with_it[1].curve == []
    assert [with_it[i].measurement for i in (0, 2)] == [without[i].measurement for i in (0, 2)]


def test_parameter_without_a_gradient_yet_has_no_moments():
    used, unused = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = torch.optim.Adam([used, unused])
    used.sum().backward()
    optimizer.step()
    assert [len(moments(optimizer, parameter)) for parameter in (used, unused)] == [2, 0]


def test_population_of_which_nothing_is_finite_stops_early(task):
    seen = []
    train(task, window_for(task), [Pressures(0, 0, float("inf"), 0)], SHORT, report=lambda epoch: seen.append(epoch))
    assert [epoch.epoch for epoch in seen] == [1]
    assert seen[0].values == [{}]


def test_curve_is_bounded_however_many_epochs_there_are(task):
    few = Task(
        Images(task.train.pixels[:8], task.train.labels[:8]), Images(task.test.pixels[:4], task.test.labels[:4]), 3, ""
    )
    result = train(few, Window((1,), 1, task.image, 3), [MEMBERS[0]], training_settings(epochs=120, batch_size=8))
    epochs = [point["epoch"] for point in result[0].curve]
    assert len(epochs) <= 50
    assert epochs[-1] == 120


def test_torn_or_foreign_checkpoint_is_refused(task, tmp_path):
    path = tmp_path / "population.pt"
    assert load_state(path) is None
    for content in (b"", b"garbage", b"PK\x03\x04 half a zip file"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"population\.pt"):
            load_state(path)
    _, states = states_of(task, MEMBERS, stop_after=1)
    with pytest.raises(CheckpointError, match="3 members"):
        train(task, window_for(task), MEMBERS[:2], SHORT, state=states[0])


def test_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    path = tmp_path / "population.pt"
    torch.save({"epoch": Evil()}, path)
    with pytest.raises(CheckpointError):
        load_state(path)
