"""Small random lattices for property tests."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from model import Lattice, TrainingSettings, Window


@st.composite
def windows(draw, time_selection=None, min_layers=1, max_layers=3):
    """Draw small windows of every kind."""
    layers = draw(st.integers(min_layers, max_layers))
    return Window(
        channels=tuple(draw(st.integers(1, 4)) for _ in range(layers)),
        steps=draw(st.integers(1, 4)),
        image=(draw(st.sampled_from([1, 3])), 5, 6),
        classes=draw(st.integers(2, 4)),
        kernel=draw(st.sampled_from([1, 3])),
        halve=tuple(layer for layer in range(2, layers + 1) if draw(st.booleans())),
        time_selection=time_selection or draw(st.sampled_from(["adaptive", "fixed"])),
    )


def training_settings(**changes) -> TrainingSettings:
    """Return settings of a short training, with some of them changed."""
    values = {
        "epochs": 3,
        "batch_size": 32,
        "learning_rate": 3e-3,
        "solver": "proximal",
        "step_loss": 0.2,
        "entropy_bonus": 0.1,
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
    return lattice


def images_of(window: Window, count=3, seed=0) -> torch.Tensor:
    """Return random images that fit a window, shape (B, C, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((count, *window.image), generator=generator, dtype=torch.float64)


def embedded(lattice: Lattice, window: Window, rows: list[list[int]] | None = None) -> Lattice:
    """Return the same networks inside a larger window, whose new channels, layers and steps are dead.

    `rows[l]` says at which positions of the larger layer l the old channels stand.
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
            if old.is_recurrent:
                larger.lateral[l][:, at[:, None], at] = lattice.lateral[l]
            if old.is_recurrent and l + 1 < old.layers:
                above = torch.tensor(rows[l + 1])
                larger.top_down[l][:, at[:, None], above] = lattice.top_down[l]
            larger.bias[l][:, at] = lattice.bias[l]
            larger.readout[l][:, :, at] = lattice.readout[l]
        larger.readout_bias.copy_(lattice.readout_bias)
        if lattice.is_adaptive:
            larger.hazard_bias.copy_(lattice.hazard_bias)
            larger.hazard_sureness.copy_(lattice.hazard_sureness)
        else:
            larger.step_logits[:, : old.steps] = lattice.step_logits
        larger.last_step.copy_(lattice.last_step)
    return larger
