"""Small random lattices for property tests."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from sweeper import model
from sweeper.model import Lattice, TrainingSettings, Window
from sweeper.model.adam import Adam
from sweeper.model.costs import scale_channels
from sweeper.model.network_file import weights_of
from sweeper.model.window import CONNECTIONS, TIME_SELECTIONS


@st.composite
def windows(draw, time_selection=None, min_layers=1, max_layers=3):
    """Draw small windows of every kind."""
    layers = draw(st.integers(min_layers, max_layers))
    bottom_up = draw(st.sampled_from(["within", "next"]))
    return Window(
        channels=tuple(draw(st.integers(1, 4)) for _ in range(layers)),
        steps=draw(st.integers(1, 4)),
        image=(draw(st.sampled_from([1, 3])), 5, 6),
        classes=draw(st.integers(2, 4)),
        kernel=draw(st.sampled_from([1, 3])),
        halve=tuple(layer for layer in range(2, layers + 1) if draw(st.booleans())),
        time_selection=time_selection or draw(st.sampled_from(TIME_SELECTIONS)),
        bottom_up=bottom_up,
        standardize=draw(st.sampled_from(["images", "each", "none"])),
        connections=draw(st.sampled_from(CONNECTIONS)) if bottom_up == "next" else "all",
    )


def training_settings(**changes) -> TrainingSettings:
    """Return settings of a short training, with some of them changed."""
    values = {
        "epochs": 3,
        "batch_size": 32,
        "learning_rate": 3e-3,
        "solver": "proximal",
        "step_loss": 0.2,
    }
    return TrainingSettings(**(values | changes))


def lattice_of(window: Window, seeds=(0,)) -> Lattice:
    """Return a lattice in float64 whose every weight, biases and hazards included, is random."""
    lattice = Lattice(window, seeds).double()
    with torch.no_grad():
        for member, seed in enumerate(seeds):
            generator = torch.Generator().manual_seed(seed + 1000)
            for parameter in lattice.parameters():
                parameter[member] += 0.3 * torch.randn(
                    parameter[member].shape, generator=generator, dtype=torch.float64
                )
        lattice.set_pixel_statistics(images_of(window, 5, seed=7))
    return lattice


def images_of(window: Window, count=3, seed=0) -> torch.Tensor:
    """Return random images that fit a window, shape (B, C, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((count, *window.image), generator=generator, dtype=torch.float64)


def embedded(lattice: Lattice, window: Window, rows: list[list[int]] | None = None) -> Lattice:
    """Return the same networks inside a larger window, whose new channels, layers and steps are dead.

    `rows[l]` holds the indices of the old channels in the larger layer l.
    """
    old = lattice.window
    rows = rows or [list(range(c)) for c in old.channels]
    larger = Lattice(window, [0] * lattice.population).double()
    with torch.no_grad():
        for parameter in larger.parameters():
            parameter.zero_()
        for l in range(old.layers):
            at = torch.tensor(rows[l])
            below = torch.tensor(rows[l - 1]) if l else torch.arange(old.image[0])
            larger.bottom_up[l][:, at[:, None], below] = lattice.bottom_up[l]
            if old.has_recurrent_weights:
                larger.lateral[l][:, at[:, None], at] = lattice.lateral[l]
            if old.has_recurrent_weights and l + 1 < old.layers:
                above = torch.tensor(rows[l + 1])
                larger.top_down[l][:, at[:, None], above] = lattice.top_down[l]
            larger.bias[l][:, at] = lattice.bias[l]
            larger.readout[l][:, :, at] = lattice.readout[l]
        larger.readout_bias.copy_(lattice.readout_bias)
        if old.is_adaptive:
            larger.hazard_bias.copy_(lattice.hazard_bias)
        if old.reads_state:
            for l in range(old.layers):
                larger.hazard[l][:, :, torch.tensor(rows[l])] = lattice.hazard[l]
        elif old.is_adaptive:
            larger.hazard_sureness.copy_(lattice.hazard_sureness)
        elif old.is_recurrent:
            larger.step_logits[:, : old.steps] = lattice.step_logits
        if old.standardize == "images":
            larger.pixel_mean.copy_(lattice.pixel_mean)
            larger.pixel_std.copy_(lattice.pixel_std)
        larger.entry.zero_()
        larger.entry[:, : old.steps] = lattice.entry
    return larger


def stopping_after(lattice: Lattice, member: int, step: int) -> None:
    """Let a member stop after a step: its later steps are absent."""
    lattice.entry[member, step:] = 0


@st.composite
def entries(draw, steps):
    """Draw how far the steps of a network are open: the first fully, and no step more than the one before."""
    shares = draw(st.lists(st.sampled_from([0.0, 1.0]) | st.floats(0.01, 0.99), min_size=steps - 1, max_size=steps - 1))
    return [1.0, *sorted(shares, reverse=True)]


@st.composite
def partly_dead(draw, **kinds):
    """Draw a window and some of its channels, as (layer, channel) from 0."""
    window = draw(windows(**kinds))
    every = [(l, c) for l, channels in enumerate(window.channels) for c in range(channels)]
    return window, draw(st.lists(st.sampled_from(every), unique=True))


def kill(lattice: Lattice, dead: list[tuple[int, int]]) -> None:
    """Set channels to zero in every network."""
    keep = [torch.ones_like(bias_PC) for bias_PC in lattice.bias]
    for l, c in dead:
        keep[l][:, c] = 0
    scale_channels(lattice, [k.detach() for k in keep])


def adam_of(lattice: Lattice, learning_rate=3e-2, squares: Lattice | None = None) -> Adam:
    """Return an Adam; with `squares` one after three steps, whose second moments are the squares of its weights."""
    optimizer = Adam(list(lattice.parameters()), learning_rate)
    if squares is not None:
        for parameter, square in zip(lattice.parameters(), squares.parameters(), strict=True):
            moments = {"exp_avg": torch.zeros_like(parameter), "exp_avg_sq": square.detach().square()}
            optimizer.state[parameter] = {"step": torch.tensor(3.0), **moments}
    return optimizer


def loss_of(lattice: Lattice, images: torch.Tensor) -> torch.Tensor:
    """Return a loss of the answers, of every open step and of the time, summed over the networks."""
    answer = lattice(images)
    labels_B = torch.arange(len(images)) % lattice.window.classes
    right = answer.log_probs_BPK[torch.arange(len(images)), :, labels_B].sum()
    each_TBP = answer.logits_TBPK.log_softmax(-1)[:, torch.arange(len(images)), :, labels_B].permute(1, 0, 2)
    return 0.1 * answer.expected_steps_BP.sum() - right - 0.2 * (each_TBP * lattice.entry.T[:, None, :]).sum()


def train_steps(lattice: Lattice, optimizer: Adam, images: torch.Tensor, steps: int) -> None:
    """Train every network for some steps on one batch."""
    for _ in range(steps):
        lattice.zero_grad()
        loss_of(lattice, images).backward()
        optimizer.step()


def graph_of(network: Lattice, step_dist) -> model.Graph:
    """Return the graph of one network, from the weights as its file holds them."""
    return model.graph_of(network.window, weights_of(network), step_dist)
