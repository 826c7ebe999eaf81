"""Moves networks into lattices of another size: dead channels are left behind, and new ones have no effect yet.

Every change of a window is the same operation. It assembles the networks of some lattices in new ones, each with its
kept channels, room for new channels, and its part of the optimizer's moments. Answers stay the same up to rounding:
kept weights are copied, and new channels begin without outgoing weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sweeper.model.adam import MOMENTS, Adam
from sweeper.model.lattice import Lattice
from sweeper.model.window import Window

#: Scale of a new channel's incoming weights relative to those of a new lattice: small, so that a useless channel dies
#: soon, but not zero, so that it has a gradient.
OFFER_SCALE = 0.25


@dataclass(frozen=True)
class Source:
    """One network of a lattice, and the channels of it that are kept.

    Attributes:
        lattice: The network's current lattice.
        row: The network's row in the lattice.
        kept: By layer, the indices of the kept channels, (n,).
    """

    lattice: Lattice
    row: int
    kept: Sequence[Tensor]


@torch.no_grad()
def assembled(window: Window, sources: Sequence[Source]) -> Lattice:
    """Return a new lattice with the networks of `sources` in order.

    Args:
        window: Has at least as many channels in each layer as are kept; the others are zero.
        sources: At least one, all over windows of the same kind.
    """
    lattice = Lattice(window, [0] * len(sources)).to(sources[0].lattice.readout_bias)
    for parameter in lattice.parameters():
        parameter.zero_()
    lattice.recurrence = sources[0].lattice.recurrence
    lattice.entry.zero_()
    for row, source in enumerate(sources):
        for new, old, piece in _pieces(lattice, source):
            _copy(new.data[row], old.data[source.row], piece)
        steps = min(window.steps, source.lattice.window.steps)
        lattice.entry[row, :steps] = source.lattice.entry[source.row, :steps]
        if window.standardize == "images":
            lattice.pixel_mean[row] = source.lattice.pixel_mean[source.row]
            lattice.pixel_std[row] = source.lattice.pixel_std[source.row]
    _move_pooled(lattice, sources)
    return lattice


def _move_pooled(lattice: Lattice, sources: Sequence[Source]) -> None:
    """Copy the statistics of pooled activations if the sources keep any; new channels get initial statistics."""
    if any(source.lattice.pooled_mean is None for source in sources):  # in a population all or none keep any
        return
    lattice.standardize_pooled()
    if lattice.pooled_mean is None:  # over a single step there is no hazard
        return
    for name in ("pooled_mean", "pooled_var"):
        for row, source in enumerate(sources):
            new_F, old_F = getattr(lattice, name)[row], getattr(source.lattice, name)[source.row]
            new, old = (
                torch.split(f, list(of.window.channels)) for f, of in ((new_F, lattice), (old_F, source.lattice))
            )
            for new_C, old_C, kept in zip(new, old, source.kept, strict=False):
                new_C[: len(kept)] = old_C[kept]


@torch.no_grad()
def move_moments(
    sources: Sequence[Source],
    optimizers: Sequence[Adam],
    lattice: Lattice,
    optimizer: Adam,
) -> None:
    """Copy the moments of the sources' optimizers to that of an assembled lattice; new weights get zero moments."""
    steps = [state["step"] for old in optimizers for state in old.state.values()]
    if not steps:
        return
    for parameter in lattice.parameters():
        moments = {name: torch.zeros_like(parameter) for name in MOMENTS}
        # All networks of a population have made the same number of steps.
        optimizer.state[parameter] = {"step": steps[0].clone(), **moments}
    for row, (source, old_optimizer) in enumerate(zip(sources, optimizers, strict=True)):
        for new, old, piece in _pieces(lattice, source):
            for name in MOMENTS:
                if old in old_optimizer.state:
                    _copy(optimizer.state[new][name][row], old_optimizer.state[old][name][source.row], piece)


_Piece = tuple[Tensor | None, Tensor | None]


def _pieces(lattice: Lattice, source: Source) -> Iterator[tuple[nn.Parameter, nn.Parameter, _Piece]]:
    """Yield each parameter of a new lattice with the old one it comes from, and the channels to copy."""
    depth = min(len(source.kept), lattice.window.layers)
    olds = {(old.name, old.layer): old for old in source.lattice.connections()}
    for new in lattice.connections():
        old = olds.get((new.name, new.layer))
        if old is None or any(end is not None and end >= depth for end in (new.to, new.of)):
            continue
        to, of = (None if end is None else source.kept[end] for end in (new.to, new.of))
        yield new.weight, old.weight, (to, of)
    for name in ("readout_bias", "hazard_bias", "hazard_sureness", "step_logits"):
        if hasattr(lattice, name) and hasattr(source.lattice, name):
            yield getattr(lattice, name), getattr(source.lattice, name), (None, None)


def _copy(new: Tensor, old: Tensor, piece: _Piece) -> None:
    to, of = piece
    old = old if to is None else old[to]
    old = old if of is None else old[:, of]
    slots = tuple(slice(min(a, b)) for a, b in zip(new.shape, old.shape, strict=True))
    new[slots] = old[slots]


@dataclass(frozen=True)
class Offer:
    """New channels for one network of a lattice that has room for them.

    Attributes:
        row: The network's row.
        layer: Layer of the new channels, from 0.
        counts: Channels that the network has in each layer. The new ones come after those of their layer, and get
            input from all of them.
        added: Number of new channels.
        seed: Seed of their incoming weights.
    """

    row: int
    layer: int
    counts: Sequence[int]
    added: int
    seed: int

    @property
    def here(self) -> slice:
        """The indices of the new channels."""
        first = self.counts[self.layer] if self.layer < len(self.counts) else 0
        return slice(first, first + self.added)


@torch.no_grad()
def offer_channels(lattice: Lattice, optimizer: Adam, offer: Offer) -> None:
    """Give a network new channels without outgoing weights, so that they change no answer until they have learned."""
    window, generator = lattice.window, torch.Generator().manual_seed(offer.seed)
    heard: list[Tensor] = []
    # A network that stops at its first step has no recurrent weights, even if the lattice has room for them.
    unheard = {"bias"} if lattice.last_step[offer.row] > 1 else {"bias", "lateral", "top_down"}
    for connection in lattice.connections():
        if connection.to == offer.layer and connection.name not in unheard:
            others = window.image[0] if connection.of is None else [*offer.counts, 0, 0][connection.of]
            heard.append(connection.weight[offer.row, offer.here, :others])
    fan_in = window.kernel**2 * sum(weights.shape[1] for weights in heard)
    for weights in heard:
        drawn = torch.randn(weights.shape, generator=generator) * (OFFER_SCALE * math.sqrt(2.0 / fan_in))
        weights.copy_(drawn)
    _guess_moments(lattice, optimizer, offer)


def _guess_moments(lattice: Lattice, optimizer: Adam, offer: Offer) -> None:
    """Let Adam's second moment of new weights begin at the mean over the network's other weights of their kind.

    If it began at zero, with the step count of the old weights, the first steps would be over three times too long.
    """
    kinds: dict[str, list[Tensor]] = {}
    for connection in lattice.connections():
        if connection.weight in optimizer.state:
            square = optimizer.state[connection.weight]["exp_avg_sq"][offer.row]
            kinds.setdefault(connection.name, []).append(square)
            if connection.to == offer.layer:
                square[offer.here] = torch.nan
            if connection.of == offer.layer:
                square[:, offer.here] = torch.nan
    for squares in kinds.values():
        known = torch.cat([square[square > 0] for square in squares])
        mean = known.mean() if len(known) else torch.zeros_like(squares[0].sum())
        for square in squares:
            square.copy_(torch.where(square.isnan(), mean, square))


def fitting_window(window: Window, channels: Sequence[Sequence[int]], steps: Sequence[int]) -> Window:
    """Return the smallest window that holds networks of these sizes.

    Args:
        window: Any window of the networks' kind.
        channels: For each network, the channels of each layer.
        steps: For each network, its steps.
    """
    depth = max(len(sizes) for sizes in channels)
    widest = tuple(max(sizes[l] for sizes in channels if l < len(sizes)) for l in range(depth))
    return window.resized(widest, max(steps))
