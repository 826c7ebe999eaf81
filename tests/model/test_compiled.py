"""The compiled recurrence answers and learns as the one in torch, for all windows, and reports what it cannot do."""

from __future__ import annotations

import copy
import pickle
import platform
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.model import Lattice, Pressures, TaskDefinition, Window, compiled, load_task, train
from sweeper.model.checkpoint import load_state, save_state
from sweeper.model.lattice import geometry_of
from sweeper.model.native import build
from sweeper.model.native.library import TORCH, library, usable
from sweeper.model.recurrence import Weights
from tests.model.populations import training_settings, windows
from tests.model.vectors import LANES, NEEDS_COMPILER


def lattice_and_images(window, population, count, is_shared, seed=0):
    """Return a lattice with random weights in float32, and images for it."""
    generator = torch.Generator().manual_seed(seed)
    lattice = Lattice(window, range(population))
    with torch.no_grad():
        for parameter in lattice.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    shape = (count, *window.image) if is_shared else (count, population, *window.image)
    return lattice, torch.rand(shape, generator=generator)


def answered(lattice, images):
    """Return the features of every step, and all gradients of a loss that weighs each feature differently."""
    lattice.zero_grad()
    features = lattice(images).features_TBPF
    weights = torch.linspace(-1, 1, features.numel()).view_as(features)
    (features * weights).sum().backward()
    return features.detach(), {n: p.grad.clone() for n, p in lattice.named_parameters() if p.grad is not None}


def assert_alike(found, expected):
    """Compare features and gradients, up to rounding relative to the largest entry of each."""
    scale = float(expected[0].abs().max()) + 1e-6
    torch.testing.assert_close(found[0] / scale, expected[0] / scale, atol=1e-5, rtol=0)
    assert found[1].keys() == expected[1].keys()
    for name, slope in expected[1].items():
        scale = float(slope.abs().max()) + 1e-2  # sums may cancel out
        torch.testing.assert_close(found[1][name] / scale, slope / scale, atol=2e-4, rtol=0, msg=name)


cases = (
    windows(),
    st.integers(1, 3),
    st.sampled_from([1, 2, 16, 17, 33]),
    st.booleans(),
)


def in_double(lattice, images):
    """Return torch's features and gradients in float64, where rounding does not matter; the lattice is not changed."""
    features, slopes = answered(copy.deepcopy(lattice).double(), images.double())
    return features.float(), {name: slope.float() for name, slope in slopes.items()}


@pytest.mark.slow
@NEEDS_COMPILER
@given(st.sampled_from(LANES), *cases)
@settings(deadline=None)
def test_compiled_code_answers_and_learns_as_torch_does(codes, lanes, window, population, count, is_shared):
    lattice, images = lattice_and_images(window, population, count, is_shared)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "library", codes.get)
        lattice.recurrence = f"lanes{lanes}"
        found = answered(lattice, images)
        with torch.no_grad():  # keeps no states, and gives the same answers
            assert torch.equal(lattice(images).features_TBPF, found[0])
    assert_alike(found, in_double(lattice, images))


@pytest.mark.parametrize("image", [(1, 8, 8), (3, 13, 17), (1, 28, 28)])
@pytest.mark.parametrize("bottom_up", ["within", "next"])
def test_code_for_this_processor_answers_and_learns_as_torch_does(fast, image, bottom_up):
    window = Window((9, 6, 3), 4, image, 5, halve=(1, 3), bottom_up=bottom_up)
    lattice, images = lattice_and_images(window, 2, 20, is_shared=False)
    assert lattice.recurrence == fast
    assert_alike(answered(lattice, images), in_double(lattice, images))


def test_company_changes_no_bit(fast):
    window = Window((5, 3), 3, (1, 8, 8), 4, halve=(2,))
    lattice, images = lattice_and_images(window, 3, 20, is_shared=False)
    features, slopes = answered(lattice, images)
    for row in range(3):
        alone, _ = lattice_and_images(window, 1, 1, is_shared=False)
        alone.load_state_dict({name: value[row : row + 1] for name, value in lattice.state_dict().items()})
        weights = torch.linspace(-1, 1, features.numel()).view_as(features)[:, :, row : row + 1]
        its = alone(images[:, row : row + 1]).features_TBPF
        assert torch.equal(its, features[:, :, row : row + 1])
        (its * weights).sum().backward()
        for name, parameter in alone.named_parameters():
            if parameter.grad is not None:
                assert torch.equal(parameter.grad[0], slopes[name][row]), name


def test_number_of_threads_changes_no_bit(fast):
    lattice, images = lattice_and_images(Window((5, 3), 3, (1, 8, 8), 4), 2, 40, is_shared=False)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(answered(lattice, images))
    finally:
        torch.set_num_threads(before)
    for features, slopes in found[1:]:
        assert torch.equal(features, found[0][0])
        assert all(torch.equal(slope, found[0][1][name]) for name, slope in slopes.items())


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 3e38])
def test_what_is_not_finite_stays_so_and_disturbs_nobody(fast, value):
    lattice, images = lattice_and_images(Window((5, 3), 3, (1, 8, 8), 4), 2, 20, is_shared=False)
    before = lattice(images).features_TBPF.detach()
    with torch.no_grad():
        lattice.lateral[0][0, 2] = value
    after = lattice(images).features_TBPF.detach()
    assert torch.equal(after[:, :, 1], before[:, :, 1])
    lattice.recurrence = TORCH
    torch_too = lattice(images).features_TBPF.detach()
    assert not torch.isfinite(torch_too[-1, :, 0]).all()
    assert not torch.isfinite(after[-1, :, 0]).all()


def test_what_it_cannot_compute_is_computed_in_torch(fast):
    lattice, images = lattice_and_images(Window((5, 3), 3, (1, 8, 8), 4), 1, 3, is_shared=True)
    answer = lattice(images.requires_grad_())
    answer.logits_TBPK.sum().backward()
    assert images.grad.abs().sum() > 0
    wide = lattice.double()(images.detach().double())
    torch.testing.assert_close(wide.logits_TBPK.float(), answer.logits_TBPK)


def test_weights_of_another_format_are_not_read_as_float32(fast):
    lattice, images = lattice_and_images(Window((5, 3), 3, (1, 8, 8), 4), 1, 3, is_shared=True)
    geometry, kinds = geometry_of(lattice.window, 1), ("bottom_up", "bias", "lateral", "top_down")
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        weights = Weights(*(list(getattr(lattice.to(dtype), kind)) for kind in kinds))
        is_served = compiled.serving(fast, geometry, images, weights) is not None
        assert is_served is (dtype == torch.float32)
    with pytest.raises(RuntimeError, match="type"):  # torch's own error: it cannot multiply two formats
        lattice(images)


def test_no_image_has_no_answer(fast):
    lattice, images = lattice_and_images(Window((5, 3), 3, (1, 8, 8), 4), 2, 3, is_shared=True)
    assert lattice(images[:0]).logits_TBPK.shape == (3, 0, 2, 4)


def test_second_way_back_through_the_same_states_is_refused_in_words(fast):
    lattice, images = lattice_and_images(Window((5, 3), 3, (1, 8, 8), 4), 1, 3, is_shared=True)
    loss = lattice(images).logits_TBPK.sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match=r"lattice\.recurrence = 'torch'"):
        loss.backward()


def test_answers_that_are_alive_at_once_do_not_share_their_states(fast):
    lattice, images = lattice_and_images(Window((5, 3), 3, (1, 8, 8), 4), 1, 3, is_shared=True)
    _, expected = answered(lattice, images)
    lattice.zero_grad()
    first, weights = lattice(images).features_TBPF, None
    lattice(1 - images).features_TBPF.sum().backward()
    lattice.zero_grad()
    weights = torch.linspace(-1, 1, first.numel()).view_as(first)
    lattice(1 - images)
    (first * weights).sum().backward()
    assert all(torch.equal(p.grad, expected[n]) for n, p in lattice.named_parameters() if n in expected)


def test_lattice_can_be_copied_and_pickled(fast):
    lattice, images = lattice_and_images(Window((5, 3), 3, (1, 8, 8), 4), 1, 3, is_shared=True)
    features, _ = answered(lattice, images)
    for other in (copy.deepcopy(lattice), pickle.loads(pickle.dumps(lattice))):
        assert torch.equal(answered(other, images)[0], features)


def test_nothing_is_loaded_that_is_not_ours(tmp_path, fast):
    assert library(fast, tmp_path) is None
    (tmp_path / build.file_name(fast)).write_bytes(b"no library")
    assert library("garbage", tmp_path) is None
    shutil.copy(tmp_path / build.file_name(fast), tmp_path / build.file_name("garbage"))
    assert library("garbage", tmp_path) is None


@NEEDS_COMPILER
def test_code_of_another_source_is_not_loaded(tmp_path, monkeypatch):
    build.compile_one(tmp_path, "plain", ("-O0",))
    with monkeypatch.context() as patch:
        patch.setattr("sweeper.model.native.library.digest", lambda: "another")
        assert library("plain", tmp_path) is None
    library.cache_clear()
    assert library("plain", tmp_path) is not None


@pytest.mark.parametrize(
    ("named", "said"), [("no-such-compiler", "there is no C compiler: install one"), ("false", "false says:")]
)
def test_compiler_that_is_not_there_or_refuses_is_said_and_leaves_nothing(tmp_path, monkeypatch, named, said):
    if platform.machine() not in build.TARGETS:
        pytest.skip(f"nothing is compiled for {platform.machine()}")
    monkeypatch.setenv("CC", named)
    files, problems = build.compile_all(tmp_path)
    assert files == []
    assert all(said in problem for problem in problems)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def digits():
    return load_task(TaskDefinition(train_images=160))


def states_of(task, state=None, until=None):
    """Train two networks; return the results and the states after each epoch."""
    window, found = Window((3, 2), 3, task.image, task.classes, standardize="images"), []
    members = [Pressures(1e-3, 0, 0.1, seed) for seed in (0, 1)]
    done = train(
        task,
        window,
        members,
        training_settings(epochs=2),
        state=None if state is None else load_state(save_state(state)),
        until=until,
        report=lambda epoch: found.append(load_state(save_state(epoch.state()))),
    )
    return done, found


def test_trial_says_what_it_ran_in_and_goes_on_in_it(digits, fast):
    whole, states = states_of(digits)
    assert [one.recurrences for one in whole] == [(fast,), (fast,)]
    resumed, _ = states_of(digits, states[0])
    assert [one.recurrences for one in resumed] == [(fast,), (fast,)]
    for one, other in zip(whole, resumed, strict=True):
        for name, value in one.network.state_dict().items():
            assert torch.equal(value, other.network.state_dict()[name])


def test_training_that_began_in_torch_goes_on_in_torch(digits, fast):
    _, states = states_of(digits, until=1)
    del states[0]["recurrences"]  # as in states of versions without compiled code
    resumed, _ = states_of(digits, states[0])
    assert resumed[0].recurrences == (TORCH,)


def test_training_that_began_in_what_is_not_there_says_so_and_goes_on(digits):
    _, states = states_of(digits, until=1)
    states[0]["recurrences"] = ["another"]
    resumed, _ = states_of(digits, states[0])
    assert resumed[0].recurrences == ("another", usable()[0])
    assert resumed[0].network is not None


@given(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7), st.integers(3, 9), st.integers(1, 5))
@settings(deadline=None)
def test_torch_learns_kernels_of_one_pixel_that_halve_the_image(population, below, here, side, count):
    """Torch 2.13 itself would write out of bounds here; see `Geometry.slopes`."""
    window = Window((below, here), 2, (1, side, side), 3, kernel=1, halve=(2,))
    lattice, images = lattice_and_images(window, population, count, is_shared=False)
    lattice.recurrence = TORCH
    assert_alike(answered(lattice, images), in_double(lattice, images))
