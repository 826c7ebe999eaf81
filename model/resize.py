"""Networks moved into lattices of another size: what is dead is left behind, what is new has no effect yet.

Every change of a window is one operation: the networks of some lattices are assembled in new ones, each with the
channels that are kept, room for those that are added, and its part of the optimizer's moments. Answers stay as they
were, to rounding: kept weights are copied, and new channels begin without outgoing weights.
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

#: Incoming weights of new channels, as a share of those of a new lattice: small, so that a channel which is of no use
#: is soon gone, and not zero, so that it has a gradient.
OFFER_SCALE = 0.25


@dataclass(frozen=True)
class Source:
    """One network of a lattice, and what of it is kept.

    Attributes:
        lattice: Where it is now.
        row: Its place there.
        kept: By layer, the numbers of the channels that are kept, (n,).
    """

    lattice: Lattice
    row: int
    kept: Sequence[Tensor]


@torch.no_grad()
def assembled(window: Window, sources: Sequence[Source]) -> Lattice:
    """Return a new lattice with the networks of `sources` in order.

    Args:
        window: At least as many channels in each layer as are kept; whatever is beyond them is zero.
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
    """Take over the statistics of pooled activations, where the sources keep any; new channels begin as in training."""
    if any(source.lattice.pooled_mean is None for source in sources):  # of a population all do, or none
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
    """Give the optimizer of an assembled lattice what those of its sources know; new weights start without moments."""
    steps = [state["step"] for old in optimizers for state in old.state.values()]
    if not steps:
        return
    for parameter in lattice.parameters():
        moments = {name: torch.zeros_like(parameter) for name in MOMENTS}
        # Networks of a population have all made the same number of steps.
        optimizer.state[parameter] = {"step": steps[0].clone(), **moments}
    for row, (source, old_optimizer) in enumerate(zip(sources, optimizers, strict=True)):
        for new, old, piece in _pieces(lattice, source):
            for name in MOMENTS:
                if old in old_optimizer.state:
                    _copy(optimizer.state[new][name][row], old_optimizer.state[old][name][source.row], piece)


_Piece = tuple[Tensor | None, Tensor | None]


def _pieces(lattice: Lattice, source: Source) -> Iterator[tuple[nn.Parameter, nn.Parameter, _Piece]]:
    """Yield each parameter of a new lattice with the old one it comes from, and which channels of that are taken."""
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
        row: The network's place.
        layer: Their layer, from 0.
        counts: Channels that the network has by layer; the new ones come behind those of their layer, and hear all.
        added: How many.
        seed: Of their incoming weights.
    """

    row: int
    layer: int
    counts: Sequence[int]
    added: int
    seed: int

    @property
    def here(self) -> slice:
        """The numbers of the new channels."""
        first = self.counts[self.layer] if self.layer < len(self.counts) else 0
        return slice(first, first + self.added)


@torch.no_grad()
def offer_channels(lattice: Lattice, optimizer: Adam, offer: Offer) -> None:
    """Give a network new channels that listen but are not heard: they change no answer until they have learned."""
    window, generator = lattice.window, torch.Generator().manual_seed(offer.seed)
    heard: list[Tensor] = []
    # A network that stops at its first step has no recurrent weights, whatever the lattice has room for.
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
    """Let Adam's second moment of new weights begin at the mean of the network's other ones of their kind.

    From zero, with the count of steps of the old ones, the first steps would be over three times too long.
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
    """Return the least window that holds networks of these sizes.

    Args:
        window: What all have in common.
        channels: Channels by layer, of each network.
        steps: Of each network.
    """
    depth = max(len(sizes) for sizes in channels)
    widest = tuple(max(sizes[l] for sizes in channels if l < len(sizes)) for l in range(depth))
    return window.resized(widest, max(steps))
