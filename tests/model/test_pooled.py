"""In training, a hazard that reads the state reads it standardised, by each network's own statistics."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sweeper.model import Images, Pressures, TaskDefinition, Window, evaluate, load_task, train
from sweeper.model.checkpoint import load_state, save_state
from sweeper.model.counting import alone, cut, remove_dead
from sweeper.model.lattice import pooled_std
from sweeper.model.network_file import decode, encode
from sweeper.model.population import TrainingPopulation
from sweeper.model.shard import Course
from tests.model.populations import images_of, kill, lattice_of, partly_dead, training_settings, windows


def following(lattice, images):
    """Let a lattice's hazard read activations standardised by their statistics over these images."""
    lattice.standardize_pooled()
    with torch.no_grad():
        lattice.follow_pooled(lattice(images).features_TBPF, rate=1.0)
    return lattice


@given(windows(time_selection="state"), st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_statistics_that_follow_at_a_falling_rate_are_those_of_all_that_was_seen(window, batches, data):
    lattice = lattice_of(window, seeds=(0, 1))
    lattice.standardize_pooled()
    lattice.entry[1, data.draw(st.integers(1, window.steps)) :] = 0
    images, seen = images_of(window, sum(batches)), 0
    with torch.no_grad():
        for number, part in enumerate(images.split(batches)):
            # The rate weighs each batch by its number of images.
            seen += len(part)
            lattice.follow_pooled(lattice(part).features_TBPF, len(part) / seen)
            assert (lattice.pooled_mean is None) is not window.is_recurrent, number
        if not window.is_recurrent:
            return
        features_TBPF = lattice(images).features_TBPF
    for row in range(2):
        shown = features_TBPF[: int(lattice.last_step[row]), :, row]
        # The statistics ignore a batch in which a channel is silent for all images.
        spoke_F = torch.stack([(part != 0).flatten(0, 1).any(0) for part in shown.split(batches, 1)]).all(0)
        var_F, mean_F = torch.var_mean(shown.flatten(0, 1), 0, correction=0)
        torch.testing.assert_close(lattice.pooled_mean[row, spoke_F], mean_F[spoke_F])
        torch.testing.assert_close(lattice.pooled_var[row, spoke_F], var_F[spoke_F])


def test_channel_that_died_is_forgotten():
    """Otherwise the hazard would read its old statistics, and its weight would learn from them."""
    window = Window((3, 2), 3, (1, 5, 5), 3, time_selection="state")
    lattice = following(lattice_of(window), images_of(window, 6))
    dead = [torch.tensor([[False, True, False]]), torch.tensor([[False, False]])]
    kill(lattice, [(0, 1)])
    lattice.forget_pooled(dead)
    features = lattice(images_of(window)).features_TBPF
    assert torch.all(lattice.standardized_pooled(features)[..., 1] == 0)
    before = lattice.pooled_var.clone()
    lattice.follow_pooled(features.detach(), 0.5)
    assert lattice.pooled_var[0, 1] == 1
    assert torch.all(lattice.pooled_var[0, [0, 2, 3, 4]] != before[0, [0, 2, 3, 4]])


@given(windows(time_selection="state"))
def test_hazard_reads_activations_of_mean_zero_and_deviation_one(window):
    lattice = lattice_of(window)
    images = images_of(window, 6)
    following(lattice, images)
    if lattice.pooled_mean is None:
        return
    with torch.no_grad():
        features = lattice(images).features_TBPF
    read = (features - lattice.pooled_mean) / pooled_std(lattice.pooled_var)
    assert float(read.mean((0, 1)).abs().max()) < 1e-9
    assert float(read.std((0, 1), correction=0).max()) <= 1


@given(partly_dead(time_selection="state"))
def test_cut_network_answers_as_the_one_in_training_did_and_needs_no_statistics(drawn):
    window, dead = drawn
    lattice, images = lattice_of(window, seeds=(0, 1)), images_of(window)
    kill(lattice, dead)
    following(lattice, images)
    remove_dead(lattice)
    with torch.no_grad():
        before, same, network = lattice(images), alone(lattice, 1), cut(lattice, 1)
        assert network.pooled_mean is None
        assert (same.pooled_mean is not None) is same.window.reads_state
        for one in (same, network):
            answer, steps = one(images), one.window.steps
            torch.testing.assert_close(answer.logits_TBPK[:, :, 0], before.logits_TBPK[:steps, :, 1])
            torch.testing.assert_close(answer.step_dist_TBP[:, :, 0], before.step_dist_TBP[:steps, :, 1])
        again = decode(encode(network.float(), {}), "same")
        assert again.lattice.state_dict().keys() == network.state_dict().keys()


@pytest.fixture(scope="module")
def digits():
    task = load_task(TaskDefinition())
    return Images(task.train.pixels[:128], task.train.labels[:128])


def population_of(digits, state=None):
    window = Window((3, 2), 3, tuple(digits.pixels.shape[1:]), 10, time_selection="state", standardize="images")
    course = Course([Pressures(1e-3, 0, 0.1, seed) for seed in (0, 1)], training_settings(epochs=2), digits)
    population = TrainingPopulation(course, window, None, torch.zeros(0))
    if state:
        population.restore(load_state(save_state(state)), ())
    return population


def test_training_that_went_on_has_the_same_statistics(digits):
    whole = population_of(digits)
    whole.run_epoch()
    resumed = population_of(digits, whole.state())
    whole.run_epoch()
    resumed.run_epoch()
    (shard,), (other,) = whole.shards, resumed.shards
    assert torch.all(shard.lattice.pooled_var > 0)
    for name, tensor in shard.lattice.state_dict().items():
        assert torch.equal(tensor, other.lattice.state_dict()[name]), name


def test_training_that_began_without_statistics_goes_on_without(digits):
    population = population_of(digits)
    population.run_epoch()
    state = population.state()
    for shard in state["shards"]:
        for name in ("pooled_mean", "pooled_var"):
            del shard["lattice"][name]
    resumed = population_of(digits, state)
    resumed.run_epoch()
    assert resumed.shards[0].lattice.pooled_mean is None
    assert all(one.network is not None for one in resumed.results(digits))


def test_network_that_is_not_finite_leaves_no_statistics_behind(digits):
    population = population_of(digits)
    (shard,) = population.shards
    with torch.no_grad():
        shard.lattice.bias[0][1] = torch.nan
    population.run_epoch()
    assert population.lost_at == [None, 1]
    for shard in population.shards:
        assert all(bool(torch.isfinite(tensor).all()) for tensor in shard.lattice.state_dict().values())


@pytest.mark.slow
def test_steps_differ_between_images_with_standardised_pixels():
    task = load_task(TaskDefinition())
    window = Window((8, 8), 6, task.image, task.classes, time_selection="state", standardize="images")
    settings = training_settings(epochs=20, batch_size=64)
    (one,) = train(task, window, [Pressures(0, 0, 0.1, 0)], settings)
    assert one.measurement["accuracy"] > 0.85
    # Without the statistics all images take the sixth step, in every seed tried; see benchmarks/README.md.
    assert float(evaluate(one.network, task.test).step.double().std()) > 0.1
