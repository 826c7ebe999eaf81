"""How far the window of a network reaches while it trains: it grows where the network fills it, and shrinks where not.

The lattice is infinite; a window shows the part that a network uses. Every `LOOK_EVERY` steps it is looked at:

- the weakest channel of a layer is alive and does not weaken: the layer is offered half as many channels again;
- the deepest layer is alive, and its strongest channel does not weaken: another one is laid on top, once the steps
  are there in which the image reaches it;
- the last step keeps more than `WANTED_SHARE` of the probability: another step opens;
- channels and layers that are dead leave the window, and the last step closes when it keeps less than `DEAD_SHARE`.

What is offered has no effect yet and opens gradually, so that no change of the window changes an answer. An offer
that was taken is followed by the next one after `PATIENCE` steps; one that was not, after twice as long as before: so a
window settles. A fixed window is never offered anything, and shrinks in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sweeper.model.window import Window

#: Optimizer steps between two looks, and between an offer that was taken and the next one.
LOOK_EVERY, PATIENCE = 25, 100

#: Optimizer steps in which a step opens or closes.
OPENING_STEPS = 50

#: Share of the probability with which the last step is wanted, and below which it is as good as dead.
WANTED_SHARE, DEAD_SHARE = 0.05, 0.002

#: A last step that has no more than this times the least it can have is as good as dead: all halt as soon as they may.
NEARLY = 1.05

#: Share of the training after which nothing grows, so that what there is can settle; and before which no step closes,
#: so that a network is not cut short before it has learned what its steps are good for.
GROWTH_ENDS, CLOSING_BEGINS = 0.6, 0.3

#: A channel weakens when its norm falls below this share of what it was at the last look: less is noise.
WEAKENS_BELOW = 0.99

#: What a window begins with, and how many channels a new layer gets.
START_CHANNELS, START_STEPS = 4, 2


@dataclass(frozen=True)
class Growth:
    """Lets windows grow.

    Attributes:
        memory_bytes: A window that would take more than this to train, per network, is not made.
    """

    memory_bytes: int


@dataclass
class Axis:
    """One direction of growth: when the next offer is due, and whether the last one was taken.

    Attributes:
        due: Optimizer step from which the next offer may be made.
        patience: Optimizer steps from an offer to the next.
        norm: Group norm at the last look of the channel that speaks for this axis.
        is_hungry: Whether the network filled all that it was offered: its window and not its pressure limits it.
        has_offer: Whether an offer was made of which nothing has died yet.
    """

    due: int = PATIENCE
    patience: int = PATIENCE
    norm: float = 0.0
    is_hungry: bool = False
    has_offer: bool = False

    def was_taken(self, now: int) -> None:
        """Note that everything on this axis is in use, and that it is offered more."""
        if self.has_offer:  # after one that was refused, everything that is left is in use too
            self.patience = PATIENCE
        self.due = now + self.patience
        self.is_hungry = self.has_offer = True

    def was_refused(self, now: int) -> None:
        """Note that something on this axis has died or is dying; what was offered together is refused once."""
        if self.has_offer:
            self.patience *= 2
        self.due = now + self.patience
        self.is_hungry = self.has_offer = False


@dataclass
class Extent:
    """The window of one network as it stands.

    Attributes:
        channels: By layer: those in use, and those on offer.
        steps: Steps in use, the one that opens or closes included.
        opening: 1 while the last step opens, −1 while it closes.
        is_full: Whether the memory limit kept it from growing.
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
        """Return it as plain values."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Extent:
        """Return what `to_state` wrote."""
        axes = {"depth": Axis(**state["depth"]), "time": Axis(**state["time"])}
        return cls(**{**state, **axes, "breadth": [Axis(**axis) for axis in state["breadth"]]})


@dataclass(frozen=True)
class Look:
    """What is seen of one network when its window is looked at.

    Attributes:
        kept: By layer, channels that are not exactly dead; layers above one without are left out.
        used: By layer, those of them that count as alive.
        weakest, strongest: By layer, the least and the largest group norm of these.
        last_share: Mean probability of its last step since the last look.
        last_entry: How far its last step is open.
        now: Optimizer steps made.
        done: Share of the training done.
        ends: Share of it after which nothing grows.
        worth: What its channels are worth on average, in nats of the loss; infinite where they need not pay.
        channel_prices: By layer, what another channel costs, and last what one of another layer does; in nats.
        least_share: The least probability that the last step can have; a hazard with a bound leaves it some.
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
        """Tell whether another channel of a layer, from 0, may be worth its price; it will hardly be above the mean."""
        return math.isinf(self.worth) or self.channel_prices[layer] <= self.worth

    least_share: float = 0.0


def shrink(extent: Extent, look: Look) -> None:
    """Take out of a window what has died, in place."""
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
    """Offer a network what it may need, in place, as far as the memory allows.

    Args:
        extent: After `shrink`.
        look: What was seen.
        window: Of the network's kind.
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
            axis.is_hungry = False  # its price limits it, and not the window
        elif look.now >= axis.due and is_wanted:
            axis.was_taken(look.now)
            wider = [c + (c + 1) // 2 if i == l else c for i, c in enumerate(extent.channels)]
            if fits(wider, extent.steps):
                extent.channels = wider
    has_depth = bool(look.used) and look.used[-1] > 0 and _holds(extent.depth, look.strongest[-1], look.now)
    lasting_steps = extent.steps - (extent.opening < 0)
    if not window.reaches(len(extent.channels) + 1, lasting_steps):
        extent.depth.is_hungry = False  # it is the network's steps that limit it, and those have an axis of their own
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
    """Tell whether the channel that speaks for an axis has not weakened since the last look.

    What dies slowly is alive for long: under pressure a window would else outgrow by far what is left in the end.
    """
    holds, axis.norm = norm >= WEAKENS_BELOW * axis.norm, norm
    if not holds and now >= axis.due:
        axis.was_refused(now)
    return holds


def walls(extent: Extent, window: Window, channels: Sequence[int], last_share: float, grows: bool) -> dict[str, float]:
    """Tell in which directions the window, and not the pressures, limits a trained network, and whether memory does.

    Args:
        extent: Its window at the end.
        window: The window it began with, which is all it has where nothing grows.
        channels: Living channels by layer.
        last_share: How much it uses its last step: the share of images that are answered there, or its mean probability
            where that is more.
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
