"""One plain loop that trains a population and hands each epoch's measurements to a callable."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from model.costs import group_norms
from model.counting import BACKPROP_DEAD_BELOW, cut, evaluate, living_channels, measure, remove_dead
from model.errors import CheckpointError
from model.growth import LOOK_EVERY, Extent, Growth, Look, grow, shrink, walls
from model.lattice import Lattice, Window
from model.resize import Offer, offer_channels
from model.settings import Pressures, TrainingSettings
from model.shard import WORTH_MOVING, Course, Shard, divide, regroup, restored, segments
from model.tasks import Images, Task

#: At most so many points of a training curve are kept, however many epochs there are.
CURVE_POINTS = 50

STATE_FORMAT = 2


@dataclass(frozen=True)
class Epoch:
    """What is handed out after each epoch.

    Attributes:
        epoch: Epochs done, from 1.
        epochs: Epochs in all.
        values: By member: `loss`, `accuracy`, `time`, `channels` on the held-out images; empty where not finite.
        full: Members whose window could not grow for want of memory, since this epoch, and their sizes in words.
        state: Returns all that is needed to go on from here; tensors, numbers and lists only.
    """

    epoch: int
    epochs: int
    values: Sequence[dict[str, float]]
    full: dict[int, str]
    state: Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Trained:
    """One trained network.

    Attributes:
        network: What is left of it, cut; None if its weights or loss became infinite or NaN.
        measurement: Values by name, see `model.counting.measure`.
        channels_per_layer: Living channels of each living layer.
        curve: At most `CURVE_POINTS` mappings with `epoch` and the epoch's values.
        reason: Why there is no network.
        step_dist: Mean over the held-out images of p(t|x), from step 1.
    """

    network: Lattice | None
    measurement: dict[str, float]
    channels_per_layer: list[int]
    curve: list[dict[str, float]]
    reason: str = ""
    step_dist: list[float] = field(default_factory=list)


def train(
    task: Task,
    window: Window,
    members: Sequence[Pressures],
    settings: TrainingSettings,
    *,
    growth: Growth | None = None,
    report: Callable[[Epoch], None] = lambda _: None,
    state: dict[str, Any] | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> list[Trained]:
    """Train one network per member, side by side.

    Each trains as it would alone, up to rounding, which training amplifies: over six epochs of digits the weights
    differed from those trained alone by 4e-16 in float64, but by up to 2e-2 in float32 (`benchmarks/rounding.py`).

    Deterministic given the seeds and torch's thread count. Every random stream is derived from the member's seed
    and the epoch, so a state taken between two epochs holds the streams and the data order by its epoch number.

    Args:
        task: Images to learn and images held out.
        window: What every network may use; where windows grow, what they begin with.
        members: Pressures and seed of each network.
        settings: Shared by all.
        growth: Lets windows grow, to a limit. None: `window` is all there is.
        report: Called after each epoch; what it raises ends the training.
        state: Where to go on, as handed to `report` before. None starts anew.
        device: Torch device.
        dtype: Type of weights and pixels.

    Returns:
        One result per member, in order.

    Raises:
        CheckpointError: If `state` belongs to another population.
    """
    course = Course(members, settings, task.train.to(device, dtype))
    test_images = task.test.to(device, dtype)
    population = _Population(course, window, growth, torch.zeros(0, device=device, dtype=dtype))
    if state is not None:
        population.restore(state)
    keep_every = math.ceil(settings.epochs / CURVE_POINTS)
    while population.epoch < settings.epochs:
        full = population.run_epoch()
        values = population.values(test_images)
        if population.epoch % keep_every == 0 or population.epoch == settings.epochs:
            for curve, value in zip(population.curves, values, strict=True):
                curve.extend([{"epoch": population.epoch, **value}] if value else [])
        report(Epoch(population.epoch, settings.epochs, values, full, population.state))
        if all(epoch is not None for epoch in population.lost_at):
            break
    return population.results(test_images)


class _Population:
    """Everything that changes while a population trains.

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
        self.lost_at: list[int | None] = [None] * count  # epoch at which a member stopped being finite
        self.curves: list[list[dict[str, float]]] = [[] for _ in range(count)]
        self.extents = [Extent.of(window) for _ in range(count)]
        lattice = Lattice(window, [member.seed for member in course.members]).to(like)
        self.shards = [Shard(course, range(count), lattice, [0] * count, [window.steps] * count)]

    def state(self) -> dict[str, Any]:
        return {
            "format": STATE_FORMAT,
            "epoch": self.epoch,
            "window": asdict(self.window),
            "lost_at": list(self.lost_at),
            "curves": [list(curve) for curve in self.curves],
            "extents": [extent.to_state() for extent in self.extents],
            "shards": [shard.state() for shard in self.shards],
        }

    def restore(self, state: dict[str, Any]) -> None:
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
        self.extents, self.shards = extents, shards
        self.epoch, self.lost_at = state["epoch"], list(state["lost_at"])
        self.curves = [list(curve) for curve in state["curves"]]

    def run_epoch(self) -> dict[int, str]:
        """Train for one epoch; return the members that the memory limit kept from growing, and their sizes."""
        steps_per_epoch = self.course.steps_per_epoch
        were_full = [extent.is_full for extent in self.extents]
        for first, last in segments(steps_per_epoch, LOOK_EVERY):
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
        parts, least = divide(self.window, self.extents, batch_size)
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
                    found[member] = {
                        "loss": -float(seen.log_likelihood[:, row].mean()),
                        "accuracy": float(seen.is_right[:, row].double().mean()),
                        "time": float(seen.expected_steps[:, row].mean()),
                        "channels": sum(int(alive_PC[row].sum()) for alive_PC in living),
                    }
        return found

    def results(self, images: Images) -> list[Trained]:
        """Cut what is left of every network, and measure it."""
        found: dict[int, Trained] = {}
        for shard in self.shards:
            if not self.course.is_proximal:
                remove_dead(shard.lattice, BACKPROP_DEAD_BELOW)
            for row, member in enumerate(shard.members):
                found[member] = self._result(shard.lattice, row, member, images)
        return [found[member] for member in range(len(found))]

    def _result(self, lattice: Lattice, row: int, member: int, images: Images) -> Trained:
        curve, lost_at = self.curves[member], self.lost_at[member]
        if lost_at is not None:
            reason = f"loss or weights became infinite or NaN in epoch {lost_at}; a lower learning_rate may help"
            return Trained(None, {}, [], curve, reason)
        network = cut(lattice, row)
        channels, seen = network.window.channels, evaluate(network, images)
        last_share = float(seen.last_step_share.mean())
        limits = walls(self.extents[member], self.window, channels, last_share, self.growth is not None)
        step_dist = seen.step_dist.mean((0, 1)).tolist()
        return Trained(network, {**measure(network, seen), **limits}, list(channels), curve, step_dist=step_dist)
