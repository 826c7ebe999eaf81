"""Size of a network's window during training: it grows if the network fills it, and shrinks if not.

The lattice is infinite; a window shows the part that a network uses. Every `LOOK_EVERY` steps it is looked at:

- if the weakest channel of a layer is alive and does not weaken, the layer is offered half as many channels again;
- if the deepest layer is alive and its strongest channel does not weaken, another layer is added on top, provided that
  the window has enough steps for the image to reach it;
- if the last step keeps more than `WANTED_SHARE` of the probability, another step opens;
- dead channels and layers leave the window, and the last step closes if it keeps less than `DEAD_SHARE`.

New channels and steps have no effect at first and open gradually, so that no change of the window changes an answer.
After an offer that was taken, the next one follows after `PATIENCE` steps; after a refused one, the wait doubles. So a
window settles. A fixed window gets no offers, and shrinks in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sweeper.model.window import Window

#: Optimizer steps between two looks, and from an offer that was taken to the next one.
LOOK_EVERY, PATIENCE = 25, 100

#: Optimizer steps in which a step opens or closes.
OPENING_STEPS = 50

#: Probability of the last step above which another step opens, and below which the last step closes.
WANTED_SHARE, DEAD_SHARE = 0.05, 0.002

#: The last step also closes if its probability is below this factor times the least it can have.
NEARLY = 1.05

#: Share of the training after which nothing grows, so that the window can settle; and share before which no step
#: closes, so that a network keeps its steps until it has learned to use them.
GROWTH_ENDS, CLOSING_BEGINS = 0.6, 0.3

#: A channel weakens if its norm falls below this share of its norm at the last look; smaller changes are noise.
WEAKENS_BELOW = 0.99

#: Channels of each layer that a window begins with, which a new layer gets too, and steps that it begins with.
START_CHANNELS, START_STEPS = 4, 2


@dataclass(frozen=True)
class Growth:
    """Lets windows grow.

    Attributes:
        memory_bytes: Most memory that the training of one network may take; a window that needs more is not made.
    """

    memory_bytes: int


@dataclass
class Axis:
    """One direction of growth: when the next offer is due, and whether the last one was taken.

    Attributes:
        due: Optimizer step from which the next offer may be made.
        patience: Optimizer steps from an offer to the next.
        norm: Group norm, at the last look, of the channel that represents this axis.
        is_hungry: Whether the network filled everything that it was offered, so that its window limits it and not its
            pressure.
        has_offer: Whether an offer was made and no part of it has died yet.
    """

    due: int = PATIENCE
    patience: int = PATIENCE
    norm: float = 0.0
    is_hungry: bool = False
    has_offer: bool = False

    def was_taken(self, now: int) -> None:
        """Note that everything on this axis is in use, and that more is offered."""
        if self.has_offer:  # after a refused offer, everything that is left is in use too
            self.patience = PATIENCE
        self.due = now + self.patience
        self.is_hungry = self.has_offer = True

    def was_refused(self, now: int) -> None:
        """Note that something on this axis has died or is dying; one offer is refused only once."""
        if self.has_offer:
            self.patience *= 2
        self.due = now + self.patience
        self.is_hungry = self.has_offer = False


@dataclass
class Extent:
    """The current window of one network.

    Attributes:
        channels: Number of channels of each layer, those on offer included.
        steps: Steps in use, including one that opens or closes.
        opening: 1 while the last step opens, −1 while it closes, else 0.
        is_full: Whether the memory limit kept the window from growing.
    """

    channels: list[int]
    steps: int
    opening: int = 0
    breadth: list[Axis] = field(default_factory=list)
    depth: Axis = field(default_factory=Axis)
    time: Axis = field(default_factory=Axis)
    is_full: bool = False

    @classmethod
    def of(cls, window: Window) -> Extent:
        """Return the extent that a network starts with."""
        return cls(list(window.channels), window.steps, breadth=[Axis() for _ in window.channels])

    def to_state(self) -> dict[str, Any]:
        """Return the extent as plain values."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Extent:
        """Return what `to_state` wrote."""
        axes = {"depth": Axis(**state["depth"]), "time": Axis(**state["time"])}
        return cls(**{**state, **axes, "breadth": [Axis(**axis) for axis in state["breadth"]]})


@dataclass(frozen=True)
class Look:
    """Observations of one network when its window is looked at.

    Attributes:
        kept: By layer, the number of channels that are not exactly dead; layers above a dead layer are left out.
        used: By layer, the number of kept channels that count as alive.
        weakest, strongest: By layer, the smallest and the largest group norm of the used channels.
        last_share: Mean probability of the last step since the last look.
        last_entry: How far the last step is open, from 0 to 1.
        now: Optimizer steps made.
        done: Share of the training done.
        ends: Share of the training after which nothing grows.
        worth: Mean worth of the channels, in nats of the loss; infinite if channels have no price.
        channel_prices: By layer, the price of another channel; last, the price of a channel in another layer. In nats.
        least_share: The least probability that the last step can have: the bound of the hazard leaves it some.
    """

    kept: Sequence[int]
    used: Sequence[int]
    weakest: Sequence[float]
    strongest: Sequence[float]
    last_share: float
    last_entry: float
    now: int
    done: float
    ends: float = GROWTH_ENDS
    worth: float = math.inf
    channel_prices: Sequence[float] = ()

    def pays(self, layer: int) -> bool:
        """Tell whether another channel of a layer, from 0, may be worth its price: it is worth the mean at most."""
        return math.isinf(self.worth) or self.channel_prices[layer] <= self.worth

    least_share: float = 0.0


def shrink(extent: Extent, look: Look) -> None:
    """Remove the dead parts of a window, in place."""
    for l, kept in enumerate(look.kept):
        if kept < extent.channels[l]:
            extent.breadth[l].was_refused(look.now)
        elif look.used[l] < kept:
            extent.breadth[l].is_hungry = False
    if len(look.kept) < len(extent.channels):
        extent.depth.was_refused(look.now)
    elif look.used and not look.used[-1]:
        extent.depth.is_hungry = False
    extent.channels = list(look.kept)
    del extent.breadth[len(look.kept) :]
    if extent.opening < 0 and look.last_entry <= 0:
        extent.steps, extent.opening = extent.steps - 1, 0
        extent.time.was_refused(look.now)
    elif extent.opening > 0 and look.last_entry >= 1:
        extent.opening = 0
    may_close = extent.steps > 1 and not extent.opening and look.done >= CLOSING_BEGINS
    if may_close and look.last_share < max(DEAD_SHARE, NEARLY * look.least_share):
        extent.opening = -1


def grow(extent: Extent, look: Look, window: Window, batch_size: int, growth: Growth) -> None:
    """Offer a network more channels, layers and steps if it may need them, in place, as far as the memory allows.

    Args:
        extent: The network's window after `shrink`.
        look: What was observed.
        window: Any window of the network's kind.
        batch_size: Images of a training step.
        growth: The limit.
    """
    if look.done >= look.ends:
        return

    def fits(channels: Sequence[int], steps: int) -> bool:
        fits = window.resized(tuple(channels), steps).training_bytes(batch_size) <= growth.memory_bytes
        extent.is_full = extent.is_full or not fits
        return fits

    for l, axis in enumerate(extent.breadth):
        is_wanted = _holds(axis, look.weakest[l], look.now) and look.used[l] == extent.channels[l]
        if not look.pays(l):
            axis.is_hungry = False  # its price limits the layer, not the window
        elif look.now >= axis.due and is_wanted:
            axis.was_taken(look.now)
            wider = [c + (c + 1) // 2 if i == l else c for i, c in enumerate(extent.channels)]
            if fits(wider, extent.steps):
                extent.channels = wider
    has_depth = bool(look.used) and look.used[-1] > 0 and _holds(extent.depth, look.strongest[-1], look.now)
    lasting_steps = extent.steps - (extent.opening < 0)
    if not window.reaches(len(extent.channels) + 1, lasting_steps):
        extent.depth.is_hungry = False  # the steps limit the depth, and they have their own axis
    elif not look.pays(len(look.used)):
        extent.depth.is_hungry = False
    elif look.now >= extent.depth.due and has_depth:
        extent.depth.was_taken(look.now)
        if fits([*extent.channels, START_CHANNELS], extent.steps):
            extent.channels.append(START_CHANNELS)
            extent.breadth.append(Axis(due=look.now + PATIENCE))
    is_wanted = bool(look.used) and look.last_share > WANTED_SHARE and not extent.opening
    if is_wanted and look.now >= extent.time.due:
        extent.time.was_taken(look.now)
        if fits(extent.channels, extent.steps + 1):
            extent.steps, extent.opening = extent.steps + 1, 1
    elif not is_wanted and not extent.opening:
        extent.time.is_hungry = False


def _holds(axis: Axis, norm: float, now: int) -> bool:
    """Tell whether the channel that represents an axis has not weakened since the last look.

    A channel that dies slowly stays alive for long. Without this test a window under pressure would grow far beyond the
    size of the final network.
    """
    holds, axis.norm = norm >= WEAKENS_BELOW * axis.norm, norm
    if not holds and now >= axis.due:
        axis.was_refused(now)
    return holds


def walls(extent: Extent, window: Window, channels: Sequence[int], last_share: float, grows: bool) -> dict[str, float]:
    """Tell in which directions the window limits a trained network, and not its pressures, and whether memory does.

    Args:
        extent: The network's window at the end.
        window: The window it began with, which it keeps if nothing grows.
        channels: Living channels by layer.
        last_share: Use of the last step: the share of images that are answered there or the step's mean probability,
            whichever is larger.
        grows: Whether windows grow.
    """
    if grows:
        limits = (any(axis.is_hungry for axis in extent.breadth), extent.depth.is_hungry, extent.time.is_hungry)
    else:
        limits = (
            any(a == b for a, b in zip(channels, window.channels, strict=False)),
            len(channels) == window.layers,
            extent.steps == window.steps and last_share > WANTED_SHARE,
        )
    names = ("limited_breadth", "limited_depth", "limited_time", "limited_memory")
    return dict(zip(names, map(float, (*limits, extent.is_full and any(limits))), strict=True))
