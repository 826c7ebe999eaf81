"""Everything that changes while a population trains: its networks, their windows, and what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

import torch

from sweeper.model.costs import group_norms
from sweeper.model.counting import BACKPROP_DEAD_BELOW, cut, evaluate, living_channels, measure, remove_dead
from sweeper.model.errors import CheckpointError
from sweeper.model.examples import Thinking, thinking_of
from sweeper.model.growth import LOOK_EVERY, Extent, Growth, Look, grow, shrink, walls
from sweeper.model.lattice import Lattice, Window
from sweeper.model.resize import Offer, offer_channels
from sweeper.model.shard import WORTH_MOVING, Course, Shard, divide, regroup, restored, segments
from sweeper.model.tasks import Images
from sweeper.model.time_selection import LEAST_GOING_ON

STATE_FORMAT = 2


class End(StrEnum):
    """How the training of one network ended."""

    TRAINED = "trained"  # as far as it was to be
    NOT_FINITE = "not_finite"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Trained:
    """One trained network.

    Attributes:
        network: What is left of it, cut; None unless it was trained as far as it was to be.
        measurement: Values by name, see `model.counting.measure`; of a network that was interrupted only those of an
            epoch, and otherwise empty where there is no network.
        channels_per_layer: Living channels of each living layer.
        curve: At most `CURVE_POINTS` mappings with `epoch` and the epoch's values.
        reason: Why there is no network.
        step_dist: Share of the held-out images that are answered after exactly step 1, 2, …; its mean is `time`.
        end: How its training ended.
        thinking: How long it thinks about which held-out image.
    """

    network: Lattice | None
    measurement: dict[str, float]
    channels_per_layer: list[int]
    curve: list[dict[str, float]]
    reason: str = ""
    step_dist: list[float] = field(default_factory=list)
    end: End = End.TRAINED
    thinking: Thinking = field(default_factory=Thinking)


class TrainingPopulation:
    """Everything that changes while a population trains.

    Members keep their numbers. One that was stopped is in no shard; one that is not finite stays in its, as zeros.

    Args:
        course: What it trains with.
        window: What every network begins with.
        growth: Lets windows grow.
        like: Device and type of the weights.
    """

    def __init__(self, course: Course, window: Window, growth: Growth | None, like: torch.Tensor) -> None:
        self.course, self.window, self.growth, self.like = course, window, growth, like
        count = len(course.members)
        self.epoch = 0
        self.is_interrupted = False
        self.lost_at: list[int | None] = [None] * count  # epoch at which a member stopped being finite
        self.curves: list[list[dict[str, float]]] = [[] for _ in range(count)]
        self.extents = [Extent.of(window) for _ in range(count)]
        lattice = Lattice(window, [member.seed for member in course.members]).to(like)
        self.shards = [Shard(course, range(count), lattice, [0] * count, [window.steps] * count)]

    @property
    def training(self) -> list[int]:
        """Numbers of the members that are neither stopped nor not finite."""
        here = (member for shard in self.shards for member in shard.members)
        return sorted(member for member in here if self.lost_at[member] is None)

    def state(self) -> dict[str, Any]:
        """Return all that is needed to go on from here; tensors, numbers and lists only."""
        return {
            "format": STATE_FORMAT,
            "epoch": self.epoch,
            "window": asdict(self.window),
            "lost_at": list(self.lost_at),
            "curves": [list(curve) for curve in self.curves],
            "extents": [extent.to_state() for extent in self.extents],
            "shards": [shard.state() for shard in self.shards],
        }

    def restore(self, state: dict[str, Any], stopped: Collection[int]) -> None:
        """Go on from a state.

        Args:
            state: What `state` returned.
            stopped: Members that it need not have.

        Raises:
            CheckpointError: If it belongs to another population, or is damaged.
        """
        count = len(self.course.members)
        if state.get("format") != STATE_FORMAT or len(state["lost_at"]) != count:
            raise CheckpointError(
                f"the training state has format {state.get('format')} and {len(state.get('lost_at', []))} members, "
                f"but format {STATE_FORMAT} and {count} members are needed. Train from the start."
            )
        if state.get("window") != asdict(self.window):
            raise CheckpointError(
                f"the training state is of another window: {state.get('window')}. Train from the start."
            )
        try:
            extents = [Extent.from_state(extent) for extent in state["extents"]]
            shards = [restored(self.course, shard, extents, self.like) for shard in state["shards"]]
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"the training state is damaged: {str(error).splitlines()[0]}") from error
        here = {member for shard in shards for member in shard.members}
        if missing := sorted(set(range(count)) - here - set(stopped)):
            raise CheckpointError(
                f"the training state was taken after the members {', '.join(map(str, missing))} had been stopped, "
                "but they are to be trained. Train from the start."
            )
        self.extents, self.shards = extents, shards
        self.epoch, self.lost_at = state["epoch"], list(state["lost_at"])
        self.curves = [list(curve) for curve in state["curves"]]

    def stop(self, stopped: Collection[int]) -> None:
        """Take members out of the computation, at the beginning of an epoch; the others are assembled anew.

        Nothing is pruned: channels on offer have no path to the answer yet. Where none of them is here any more,
        nothing at all is done, so that a state from later on leads to the same bits.
        """
        here = {member for shard in self.shards for member in shard.members}
        if here.isdisjoint(stopped):
            return
        held = {member: channels for shard in self.shards for member, channels in shard.held().items()}
        left = sorted(here.difference(stopped))
        parts, _ = divide(self.window, self.extents, self.course.batch_size, left)
        self.shards = regroup(self.shards, held, self.extents, parts, self.window)

    def run_epoch(self, is_over: Callable[[], bool] = lambda: False) -> dict[int, str]:
        """Train for one epoch, or until it is over.

        Returns:
            Members that the memory limit kept from growing in this epoch, and their sizes in words.
        """
        steps_per_epoch = self.course.steps_per_epoch
        were_full = [extent.is_full for extent in self.extents]
        for first, last in segments(steps_per_epoch, LOOK_EVERY):
            if is_over():
                self.is_interrupted = True
                return {}
            for shard in self.shards:
                shard.advance(self.epoch, first, last)
                for member in shard.drop_not_finite():
                    self.lost_at[member] = self.lost_at[member] or self.epoch + 1
            self._look(self.epoch * steps_per_epoch + last)
        self.epoch += 1
        return {
            member: f"{' + '.join(map(str, extent.channels))} channels × {extent.steps} steps"
            for member, (extent, was_full) in enumerate(zip(self.extents, were_full, strict=True))
            if extent.is_full and not was_full
        }

    @torch.no_grad()
    def _look(self, now: int) -> None:
        """Look at every network's window, and move the networks where that is needed or saves work."""
        kept: dict[int, list[torch.Tensor]] = {}
        added: dict[int, list[int]] = {}
        steps = [extent.steps for extent in self.extents]
        for shard in self.shards:
            alive = shard.prune()
            norms = group_norms(shard.lattice)
            used = shard.used(alive, norms)
            for row, member in enumerate(shard.members):
                lengths = [norm_PC[row][used_PC[row]] for norm_PC, used_PC in zip(norms, used, strict=True)]
                indices = [alive_PC[row].nonzero().flatten() for alive_PC in alive]
                kept[member] = [k for k in indices if len(k)]  # the living layers are a prefix
                extent = self.extents[member]
                look = Look(
                    kept=[len(k) for k in kept[member]],
                    used=[int(used_PC[row].sum()) for used_PC in used][: len(kept[member])],
                    weakest=[float(n.min()) if len(n) else 0.0 for n in lengths],
                    strongest=[float(n.max()) if len(n) else 0.0 for n in lengths[: len(kept[member])]],
                    last_share=float(shard.last_share_P[row]),
                    last_entry=float(shard.lattice.entry[row, extent.steps - 1]),
                    now=now,
                    least_share=LEAST_GOING_ON ** (extent.steps - 1) if shard.lattice.is_adaptive else 0.0,
                    done=now / (self.course.steps_per_epoch * self.course.settings.epochs),
                )
                before = (extent.steps, extent.opening)
                shrink(extent, look)
                if self.growth and self.lost_at[member] is None:
                    grow(extent, look, self.window, self.course.batch_size, self.growth)
                if (extent.steps, extent.opening) != before:
                    shard.set_opening(row, extent.steps, extent.opening)
                kept_here = [*look.kept, 0][: len(extent.channels)]
                added[member] = [c - k for c, k in zip(extent.channels, kept_here, strict=True)]
        has_grown = any(any(more) for more in added.values())
        has_opened = any(extent.steps > before for extent, before in zip(self.extents, steps, strict=True))
        self._move(kept, added, now, must=has_grown or has_opened)

    def _move(self, kept: dict[int, list[torch.Tensor]], added: dict[int, list[int]], now: int, must: bool) -> None:
        batch_size = self.course.batch_size
        parts, least = divide(self.window, self.extents, batch_size, sorted(kept))
        if not must and least > (1 - WORTH_MOVING) * sum(shard.work for shard in self.shards):
            return
        counts = {member: [len(k) for k in kept[member]] for member in kept}
        self.shards = regroup(self.shards, kept, self.extents, parts, self.window)
        for shard in self.shards:
            for row, member in enumerate(shard.members):
                for layer, more in enumerate(added[member]):
                    if more:
                        # A stream of its own for each seed, step and layer, whoever trains beside.
                        seed = ((self.course.members[member].seed * 1_000_003 + now) * 1_000 + layer) * 2
                        offer_channels(shard.lattice, shard.optimizer, Offer(row, layer, counts[member], more, seed))

    @torch.no_grad()
    def values(self, images: Images) -> list[dict[str, float]]:
        """Measure the population as it is; cheap enough for every epoch."""
        found: list[dict[str, float]] = [{} for _ in self.course.members]
        for shard in self.shards:
            seen = evaluate(shard.lattice, images)
            living = living_channels(shard.lattice)
            for row, member in enumerate(shard.members):
                if self.lost_at[member] is None:
                    channels = [n for alive_PC in living if (n := int(alive_PC[row].sum()))]
                    found[member] = {
                        "loss": -float(seen.log_likelihood[:, row].mean()),
                        "accuracy": float(seen.is_right[:, row].double().mean()),
                        "time": float(seen.step[:, row].double().mean()),
                        "breadth": sum(channels) / len(channels) if channels else 0.0,
                        "depth": len(channels),  # no layer lives above a dead one: it would see no image
                        "channels": sum(channels),
                    }
        return found

    def results(self, images: Images) -> list[Trained]:
        """Cut what is left of every network, and measure it; nothing here is changed."""
        found = [self._unfinished(member) for member in range(len(self.curves))]
        if self.is_interrupted:
            values = self.values(images)
            return [replace(result, measurement=values[member]) for member, result in enumerate(found)]
        for shard in self.shards:
            lattice = shard.lattice
            if not self.course.is_proximal:
                lattice = deepcopy(lattice)  # whoever holds the state that was reported last may go on from it
                remove_dead(lattice, BACKPROP_DEAD_BELOW)
            for row, member in enumerate(shard.members):
                if self.lost_at[member] is None:
                    found[member] = self._result(lattice, row, member, images)
        return found

    def _unfinished(self, member: int) -> Trained:
        """Return the result of a member that has no network."""
        lost_at = self.lost_at[member]
        if lost_at is not None:
            reason = f"loss or weights became infinite or NaN in epoch {lost_at}; a lower learning_rate may help"
            end = End.NOT_FINITE
        elif member in self.training:
            reason = f"interrupted in epoch {self.epoch + 1} of {self.course.settings.epochs}"
            end = End.INTERRUPTED
        else:
            reason, end = "stopped early", End.STOPPED
        return Trained(None, {}, [], self.curves[member], reason, end=end)

    def _result(self, lattice: Lattice, row: int, member: int, images: Images) -> Trained:
        network = cut(lattice, row)
        channels, seen = network.window.channels, evaluate(network, images)
        # Limited in time is who would go on: by what it does, or by what it would rather do.
        halts_last = float((seen.step == network.last_step).double().mean())
        last_share = max(halts_last, float(seen.last_step_share.mean()))
        limits = walls(self.extents[member], self.window, channels, last_share, self.growth is not None)
        halted_N = seen.step[:, 0] - 1
        step_dist = (torch.bincount(halted_N, minlength=network.window.steps) / len(halted_N)).tolist()
        values, curve = {**measure(network, seen), **limits}, self.curves[member]
        thinking = thinking_of(seen, images.labels, network.window.steps)
        return Trained(network, values, list(channels), curve, step_dist=step_dist, thinking=thinking)
