"""The state of a population in training: its networks, their windows, and its records of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

import torch

from sweeper.model.costs import counted_costs, group_norms, space_costs
from sweeper.model.counting import (
    BACKPROP_DEAD_BELOW,
    alone,
    count_space,
    evaluate,
    living_channels,
    measure,
    remove_dead,
)
from sweeper.model.elimination import CHOSEN_ON, JUDGED_ON, Path, counted_objective, expected_loss
from sweeper.model.errors import CheckpointError, WindowError
from sweeper.model.examples import Thinking, thinking_of
from sweeper.model.growth import Extent, Growth, Look, grow, shrink, walls
from sweeper.model.lattice import Lattice
from sweeper.model.native.library import TORCH, usable
from sweeper.model.own_costs import reads_channels
from sweeper.model.resize import Offer, offer_channels
from sweeper.model.settling import History, Round
from sweeper.model.shard import MOST_JUDGED, WORTH_MOVING, Course, Shard, divide, regroup, restored
from sweeper.model.tasks import Images
from sweeper.model.time_selection import LEAST_GOING_ON
from sweeper.model.window import Window

STATE_FORMAT = 4


class End(StrEnum):
    """How the training of one network ended."""

    TRAINED = "trained"  # to its planned end
    NOT_FINITE = "not_finite"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Trained:
    """One trained network.

    Attributes:
        network: The network after `cut`; None unless it was trained to its planned end.
        measurement: Values by name on the validation images, see `model.counting.measure`; for a complete network also
            values on the test images, see `_tested`. For an interrupted network only the values of an epoch; empty for
            other members without a network.
        channels_per_layer: Living channels of each living layer.
        curve: At most `CURVE_POINTS` mappings with `epoch`, the number of the round, and its values.
        reason: Why there is no network.
        step_dist: Share of the validation images that are answered after exactly step 1, 2, …; its mean is `time`.
        end: How the training ended.
        thinking: How long the network thinks about each test image; empty until it is complete.
        recurrences: Implementations that ran the recurrence, such as `avx2`, in order. There is more than one if the
            training resumed on a machine without the former one.
    """

    network: Lattice | None
    measurement: dict[str, float]
    channels_per_layer: list[int]
    curve: list[dict[str, float]]
    reason: str = ""
    step_dist: list[float] = field(default_factory=list)
    end: End = End.TRAINED
    thinking: Thinking = field(default_factory=Thinking)
    recurrences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kept:
    """A network kept aside during elimination.

    Attributes:
        shard: The network alone, with its optimizer's moments.
        extent: Its window.
    """

    shard: Shard
    extent: Extent

    def state(self) -> dict[str, Any]:
        """Return the network as tensors, numbers and lists only."""
        return {"shard": self.shard.state(), "extent": self.extent.to_state()}


@dataclass(frozen=True)
class Seen:
    """Observations of a network at the end of a stage of its elimination.

    Attributes:
        loss: Loss that it is expected to reach on the images that judge it, with the cost of its time; in nats.
        objective: That loss with the prices of its channels and of a user's own costs, in nats.
        is_empty: Whether no channel is left.
        is_last: Whether no stage is left.
    """

    loss: float
    objective: float
    is_empty: bool
    is_last: bool


class TrainingPopulation:
    """The state of a population in training.

    Members keep their numbers. A stopped member is in no shard. A member that is no longer finite stays in its shard,
    with all weights zero.

    Args:
        course: The training.
        window: Window that every network begins with.
        growth: Lets windows grow; None for fixed windows.
        like: A tensor with the device and type of the weights.
    """

    def __init__(self, course: Course, window: Window, growth: Growth | None, like: torch.Tensor) -> None:
        self.course, self.window, self.growth, self.like = course, window, growth, like
        count = len(course.members)
        self.epoch = 0  # rounds done
        self.is_interrupted = False
        self.lost_at: list[int | None] = [None] * count  # epoch at which a member stopped being finite
        self.curves: list[list[dict[str, float]]] = [[] for _ in range(count)]
        self.extents = [Extent.of(window) for _ in range(count)]
        self.ends = [course.rounds] * count  # rounds after which each member's training ends
        self.histories = [History() for _ in range(count)]
        self.paths = [Path() for _ in range(count)]
        self.bests: dict[int, Kept] = {}
        #: For each of a user's own costs, whether it is a reason to eliminate channels.
        self.own_of_channels = [reads_channels(cost, window) for cost in course.costs if course.is_eliminating]
        lattice = Lattice(window, [member.seed for member in course.members]).to(like)
        if window.standardize == "images":
            lattice.standardize_by(*course.images.statistics)
        lattice.standardize_pooled()
        is_compiled = like.dtype == torch.float32 and like.device.type == "cpu"
        self.recurrences = [lattice.recurrence if is_compiled else TORCH]
        self.shards = [Shard(course, range(count), lattice, [0] * count, [window.steps] * count)]

    @property
    def training(self) -> list[int]:
        """Numbers of the members that are finite and not stopped."""
        here = (member for shard in self.shards for member in shard.members)
        return sorted(member for member in here if self.lost_at[member] is None)

    @property
    def is_done(self) -> bool:
        """Whether every member has ended, was stopped or is no longer finite."""
        return all(self.ends[member] <= self.epoch for member in self.training)

    @property
    def _at_work(self) -> list[Shard]:
        """Shards whose networks are still trained; the networks of the others have ended."""
        return [shard for shard in self.shards if shard.end > self.epoch]

    def state(self) -> dict[str, Any]:
        """Return everything needed to resume the training here: tensors, numbers and lists only."""
        return {
            "format": STATE_FORMAT,
            "epoch": self.epoch,
            "window": asdict(self.window),
            "lost_at": list(self.lost_at),
            "curves": [list(curve) for curve in self.curves],
            "extents": [extent.to_state() for extent in self.extents],
            "ends": list(self.ends),
            "histories": [history.to_state() for history in self.histories],
            "shards": [shard.state() for shard in self.shards],
            "paths": [path.to_state() for path in self.paths],
            "bests": {member: best.state() for member, best in self.bests.items()},
            "recurrences": list(self.recurrences),
        }

    def restore(self, state: dict[str, Any], stopped: Collection[int]) -> None:
        """Resume from a state.

        Args:
            state: What `state` returned.
            stopped: Members that the state may lack.

        Raises:
            CheckpointError: If the state belongs to another population, or is damaged.
        """
        count = len(self.course.members)
        if state.get("format") != STATE_FORMAT or len(state["lost_at"]) != count:
            raise CheckpointError(
                f"the training state has format {state.get('format')} and {len(state.get('lost_at', []))} members, "
                f"but format {STATE_FORMAT} and {count} members are needed. Train from the start."
            )
        if not self._is_of_window(state.get("window")):
            raise CheckpointError(
                f"the training state is of another window: {state.get('window')}. Train from the start."
            )
        try:
            extents = [Extent.from_state(extent) for extent in state["extents"]]
            ends = [int(end) for end in state["ends"]]
            histories = [History.from_state(history) for history in state["histories"]]
            shards = [restored(self.course, shard, extents, ends, self.like) for shard in state["shards"]]
            paths = [Path(**path) for path in state["paths"]]
            bests = {member: self._kept_of(best, ends) for member, best in state["bests"].items()}
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"the training state is damaged: {str(error).splitlines()[0]}") from error
        here = {member for shard in shards for member in shard.members}
        if missing := sorted(set(range(count)) - here - set(stopped)):
            raise CheckpointError(
                f"the training state was taken after the members {', '.join(map(str, missing))} had been stopped, "
                "but they are to be trained. Train from the start."
            )
        self.extents, self.shards, self.ends, self.histories = extents, shards, ends, histories
        self.paths, self.bests = paths, bests
        self.epoch, self.lost_at = state["epoch"], list(state["lost_at"])
        self.curves = [list(curve) for curve in state["curves"]]
        # The training keeps its implementation if this machine has it. States from before compiled code name none.
        self.recurrences = [str(name) for name in state.get("recurrences", [TORCH])]
        if self.recurrences[-1] not in usable():
            self.recurrences.append(usable()[0])
        for shard in (*shards, *(best.shard for best in bests.values())):
            shard.lattice.recurrence = self.recurrences[-1]

    def _kept_of(self, state: dict[str, Any], ends: Sequence[int]) -> Kept:
        """Return the network that was kept aside, from its state."""
        extent = Extent.from_state(state["extent"])
        extents = [extent] * len(self.course.members)
        return Kept(restored(self.course, state["shard"], extents, ends, self.like), extent)

    def _is_of_window(self, stored: Any) -> bool:
        """Tell whether stored fields describe the window; fields newer than the state take their defaults."""
        try:
            return Window(**stored) == self.window
        except (TypeError, WindowError):
            return False

    def stop(self, stopped: Collection[int]) -> None:
        """Remove members from the computation at the beginning of an epoch, and assemble the others anew.

        Nothing is pruned, because channels on offer have no path to the answer yet. If all of these members are gone
        already, nothing changes, so that a later state leads to the same bits.
        """
        here = {member for shard in self.shards for member in shard.members}
        if here.isdisjoint(stopped):
            return
        for member in stopped:
            self.bests.pop(member, None)
        self._divide_anew(self.shards, here.difference(stopped))

    def _divide_anew(self, shards: Sequence[Shard], members: Collection[int], instead: Sequence[Shard] = ()) -> None:
        """Replace shards by new ones with some of their members, without pruning.

        Args:
            shards: Shards to replace.
            members: Members of the new shards.
            instead: Shards that some of the members are taken from in place of their own.
        """
        sources = [*shards, *instead]  # the last shard of a member counts
        held = {member: channels for shard in sources for member, channels in shard.held().items()}
        parts, _ = self._parts(members)
        others = [shard for shard in self.shards if shard not in shards]
        self.shards = others + regroup(sources, held, self.extents, parts, self.window, self.ends)

    def _parts(self, members: Collection[int]) -> tuple[list[list[int]], float]:
        """Divide members into parts whose trainings end together, and return the work of all parts, see `divide`."""
        found, work = list[list[int]](), 0.0
        for end in sorted({self.ends[member] for member in members}):
            alike = sorted(member for member in members if self.ends[member] == end)
            parts, least = divide(self.window, self.extents, self.course.batch_size, self.recurrences[-1], alike)
            found, work = found + parts, work + least
        return found, work

    def run_epoch(self, is_over: Callable[[], bool] = lambda: False) -> dict[int, str]:
        """Train for one round, or until `is_over` returns true.

        Returns:
            Members whose growth the memory limit began to prevent in this round, and their sizes in words.
        """
        were_full = [extent.is_full for extent in self.extents]
        sums = dict.fromkeys(self.training, (0.0, 0.0))
        for first, last in self.course.looks(self.epoch):
            if is_over():
                self.is_interrupted = True
                return {}
            for shard in self._at_work:
                shard.advance(first, last)
                self._note(shard, sums)
                for member in shard.drop_not_finite():
                    self.lost_at[member] = self.lost_at[member] or self.epoch + 1
            self._look(last, last - first)
            if last in self.course.schedule.decisions:
                self._eliminate(last)
        if self.course.may_settle:
            self._settle(sums)
        self.epoch += 1
        return {
            member: f"{' + '.join(map(str, extent.channels))} channels × {extent.steps} steps"
            for member, (extent, was_full) in enumerate(zip(self.extents, were_full, strict=True))
            if extent.is_full and not was_full
        }

    def _note(self, shard: Shard, sums: dict[int, tuple[float, float]]) -> None:
        """Add a shard's latest losses and expected times to the round's sums by member."""
        if self.course.may_settle:  # only then, since reading a number waits for a GPU
            for member, loss, steps in zip(
                shard.members, shard.loss_sum_P.tolist(), shard.steps_sum_P.tolist(), strict=True
            ):
                before = sums.get(member, (0.0, 0.0))
                sums[member] = (before[0] + loss, before[1] + steps)

    def _settle(self, sums: Mapping[int, tuple[float, float]]) -> None:
        """At the end of a round, let the learning rate of each settled network begin to fall."""
        course, done = self.course, self.epoch + 1
        updates = course.begin(done) - course.begin(self.epoch)
        shards, has_changed = self._at_work, False
        for shard in shards:
            living = living_channels(shard.lattice)
            for row, member in enumerate(shard.members):
                if self.lost_at[member] is not None or self.ends[member] < course.rounds:
                    continue
                if course.schedule.decisions and not self.paths[member].is_over:
                    continue
                counts = tuple(int(alive_PC[row].sum()) for alive_PC in living)
                loss, steps = (total / updates for total in sums[member])
                self.histories[member].add(Round(updates, loss, steps, tuple(count for count in counts if count)))
                if self.histories[member].is_settled:
                    self.ends[member] = course.end_of_settled(done)
                    has_changed |= self.ends[member] < course.rounds
        if has_changed:
            self._divide_anew(shards, [member for shard in shards for member in shard.members])

    @torch.no_grad()
    def _look(self, now: int, updates: int) -> None:
        """Look at every network's window, and regroup the networks if that is needed or saves work.

        Args:
            now: Training steps made.
            updates: Training steps since the last look.
        """
        kept: dict[int, list[torch.Tensor]] = {}
        added: dict[int, list[int]] = {}
        steps = [extent.steps for extent in self.extents]
        for shard in self._at_work:
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
                    done=now / self.course.begin(shard.end),
                    least_share=LEAST_GOING_ON ** (extent.steps - 1) if shard.lattice.is_adaptive else 0.0,
                    ends=self.course.growth_ends,
                    **self._payment(member, [len(k) for k in kept[member]], float(shard.loss_sum_P[row]) / updates),
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

    @property
    def _chance_loss(self) -> float:
        """Loss of an answer by chance, in nats, `step_loss` included."""
        return (1 + self.course.settings.step_loss) * math.log(self.window.classes)

    def _payment(self, member: int, channels: list[int], loss: float) -> dict[str, Any]:
        """Return the mean worth of a network's channels, and the prices of more; empty if channels need not pay."""
        course = self.course
        if not (self.growth and course.is_eliminating and channels):
            return {}
        pressures = course.members[member]
        of_chance = self._chance_loss + pressures.time
        counts = [*channels, 0]
        return {
            "worth": max(0.0, of_chance - loss) / sum(channels),
            "channel_prices": [
                pressures.breadth * (count + 1) + pressures.depth * layer for layer, count in enumerate(counts, start=1)
            ],
        }

    @torch.no_grad()
    def _eliminate(self, now: int) -> None:
        """Judge the stage that ends, bring back the best networks of ended eliminations, and start the next fading."""
        course, is_last = self.course, self.course.schedule.stages_left(now) == 0
        judged, back = course.sample(JUDGED_ON), list[int]()
        for shard in self._at_work:
            shard.fading = []
            on_the_way = [member for member in shard.members if not self.paths[member].is_over]
            if not on_the_way:
                continue
            living = living_channels(shard.lattice)
            seen_on = shard.seen_on(judged)
            loss_P = expected_loss(seen_on.loss_P, self._chance_loss) + shard.time_P * seen_on.time_P
            objective_P = counted_objective(loss_P, living, shard.breadth_P, shard.depth_P)
            objective_P = objective_P + shard.own_price_of(seen_on)
            for row, member in enumerate(shard.members):
                if member in on_the_way:
                    is_empty = not any(bool(alive_PC[row].any()) for alive_PC in living)
                    seen = Seen(float(loss_P[row]), float(objective_P[row]), is_empty, is_last)
                    if self._judge(shard, member, seen):
                        back.append(member)
        if back:
            shards = [shard for shard in self._at_work if not set(back).isdisjoint(shard.members)]
            instead = [self.bests.pop(member) for member in back]
            for member, best in zip(back, instead, strict=True):
                self.extents[member] = best.extent
                best.shard.catch_up(next(shard for shard in shards if member in shard.members))
            members = [member for shard in shards for member in shard.members]
            self._divide_anew(shards, members, [best.shard for best in instead])
        for shard in self._at_work:
            on_the_way_P = torch.tensor([not self.paths[member].is_over for member in shard.members])
            if on_the_way_P.any():
                shard.fading = shard.next_to_fade(
                    on_the_way_P, course.sample(CHOSEN_ON), course.schedule.stages_left(now)
                )

    def _judge(self, shard: Shard, member: int, seen: Seen) -> bool:
        """Keep a network aside if it is the best so far, and tell whether an earlier, better one must come back."""
        path, pressures = self.paths[member], self.course.members[member]
        own = any(price for price, counts in zip(pressures.own, self.own_of_channels, strict=False) if counts)
        is_free = not (pressures.breadth or pressures.depth or own)
        if is_free or self.lost_at[member] is not None:
            path.is_over = True
            self.bests.pop(member, None)
            return False
        is_best = seen.objective <= path.best
        if is_best:
            path.best = seen.objective
            self.bests[member] = self._aside(shard, member, shard.held()[member])
        path.is_over = seen.is_last or seen.is_empty or seen.loss > path.best
        if not path.is_over:
            return False
        # Without channels a network answers by chance, after one step. What it pays for a user's own costs is unknown.
        if path.best > self._chance_loss + pressures.time and not any(pressures.own):
            self.bests[member] = self._aside(shard, member, [])
        elif is_best:
            del self.bests[member]  # the best network is the current one
        return member in self.bests

    def _aside(self, shard: Shard, member: int, held: list[torch.Tensor]) -> Kept:
        """Return a copy of a network with some of its channels, given by layer."""
        extent = deepcopy(self.extents[member])
        extent.channels, extent.breadth = extent.channels[: len(held)], extent.breadth[: len(held)]
        extents = [extent] * len(self.extents)
        (alone,) = regroup([shard], {member: held}, extents, [[member]], self.window, self.ends)
        return Kept(alone, extent)

    def _move(self, kept: dict[int, list[torch.Tensor]], added: dict[int, list[int]], now: int, must: bool) -> None:
        shards = self._at_work
        parts, least = self._parts(kept)
        if not must and least > (1 - WORTH_MOVING) * sum(shard.work for shard in shards):
            return
        counts = {member: [len(k) for k in kept[member]] for member in kept}
        anew = regroup(shards, kept, self.extents, parts, self.window, self.ends)
        self.shards = [shard for shard in self.shards if shard not in shards] + anew
        for shard in anew:
            for row, member in enumerate(shard.members):
                for layer, more in enumerate(added[member]):
                    if more:
                        # Each seed, step and layer has its own stream, whatever networks train beside it.
                        seed = ((self.course.members[member].seed * 1_000_003 + now) * 1_000 + layer) * 2
                        offer_channels(shard.lattice, shard.optimizer, Offer(row, layer, counts[member], more, seed))

    @torch.no_grad()
    def values(self, images: Images) -> list[dict[str, float]]:
        """Measure the population in its current state; cheap enough for every epoch."""
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
                        **count_space(channels),
                    }
        return found

    def results(self, validation: Images, test: Images | None = None) -> list[Trained]:
        """Cut and measure every network, without changing the population.

        Args:
            validation: Images that decisions are based on.
            test: Images that complete networks are reported on; None while networks are not complete.
        """
        found = [self._unfinished(member) for member in range(len(self.curves))]
        if self.is_interrupted:
            values = self.values(validation)
            return [replace(result, measurement=values[member]) for member, result in enumerate(found)]
        for shard in self.shards:
            lattice = shard.lattice
            if self.course.is_in_loss:
                lattice = deepcopy(lattice)  # the last reported state shares its tensors, and training may resume
                remove_dead(lattice, BACKPROP_DEAD_BELOW)
            for row, member in enumerate(shard.members):
                if self.lost_at[member] is None:
                    found[member] = self._result(alone(lattice, row), member, validation, test)
        return found

    def _unfinished(self, member: int) -> Trained:
        """Return the result of a member that has no network."""
        lost_at = self.lost_at[member]
        if lost_at is not None:
            when = self.course.at(lost_at)
            reason = f"loss or weights became infinite or NaN in {when}; a lower learning_rate may help"
            end = End.NOT_FINITE
        elif member in self.training:
            reason = f"interrupted in {self.course.at(self.epoch + 1)} of {self.course.rounds}"
            end = End.INTERRUPTED
        else:
            reason, end = "stopped early", End.STOPPED
        return Trained(None, {}, [], self.curves[member], reason, end=end)

    def _result(self, network: Lattice, member: int, validation: Images, test: Images | None) -> Trained:
        priced = self._priced(network, member)
        network.fold_pooled()
        channels, seen = network.window.channels, evaluate(network, validation)
        # Time limits a network that often halts at its last step, or whose last step has a high mean probability.
        halts_last = float((seen.step == network.last_step).double().mean())
        last_share = max(halts_last, float(seen.last_step_share.mean()))
        limits = walls(self.extents[member], self.window, channels, last_share, self.growth is not None)
        halted_N = seen.step[:, 0] - 1
        step_dist = (torch.bincount(halted_N, minlength=network.window.steps) / len(halted_N)).tolist()
        updates = self.course.begin(min(self.epoch, self.ends[member]))
        used = {"updates": float(updates), "epochs": self.course.passes(updates)}
        values = {**measure(network, seen), **priced, **used, **limits}
        thinking = Thinking()
        if test is not None:
            tested = evaluate(network, test)
            values |= _tested(measure(network, tested), len(test))
            thinking = thinking_of(tested, test.labels, network.window.steps)
        return Trained(
            network,
            values,
            list(channels),
            self.curves[member],
            step_dist=step_dist,
            thinking=thinking,
            recurrences=tuple(self.recurrences),
        )

    @torch.no_grad()
    def _priced(self, network: Lattice, member: int) -> dict[str, float]:
        """Return the objective of a network's training and its parts, with the prices of its solver."""
        course, pressures = self.course, self.course.members[member]
        shard = Shard(course, [member], network, [0], [network.window.steps])
        seen = shard.seen_on(course.sample(MOST_JUDGED), with_unpaid=True)
        costs = counted_costs(living_channels(network), seen.loss_P) if course.is_eliminating else space_costs(network)
        loss, breadth, depth, time = (float(value_P[0]) for value_P in (seen.loss_P, *costs, seen.time_P))
        priced = loss + pressures.breadth * breadth + pressures.depth * depth + pressures.time * time
        return {
            "objective": priced + float(shard.own_price_of(seen)[0]),
            "training_loss": loss,
            "cost_breadth": breadth,
            "cost_depth": depth,
            "cost_time": time,
            **{f"cost_{cost.name}": float(seen.own_CP[number, 0]) for number, cost in enumerate(course.costs)},
        }


def _tested(measured: Mapping[str, float], count: int) -> dict[str, float]:
    """Return the values of a network that are reported for the test images.

    Args:
        measured: What `measure` returned for the test images.
        count: Number n of test images. The standard error is that of a share p: √(p (1 − p) / n).
    """
    share = measured["accuracy"]
    return {
        "test_accuracy": share,
        "test_accuracy_se": math.sqrt(share * (1 - share) / count),
        "test_loss": measured["loss"],
        "test_time": measured["time"],
    }
