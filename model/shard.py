"""Shards: networks of similar size that train side by side in one lattice, and the division of a population into them.

The members of a population differ more and more in size as their windows grow and shrink. One lattice for all would be
as wide, deep and long as the largest member in each direction. So members are regrouped whenever that saves work. The
grouping changes rounding and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sweeper.model.adam import Adam
from sweeper.model.costs import group_norms, space_costs, time_cost, touching
from sweeper.model.counting import BACKPROP_DEAD_BELOW, living_channels, remove_dead
from sweeper.model.degradations import Degradation, degraded
from sweeper.model.elimination import (
    BEGINS,
    Schedule,
    chosen,
    fading_count,
    lot,
    may_lose,
    outgoing,
    prices,
    silent,
    weakest,
    without_fading,
)
from sweeper.model.growth import GROWTH_ENDS, LOOK_EVERY, OPENING_STEPS, Extent
from sweeper.model.images import Images, as_floats
from sweeper.model.lattice import Lattice, LatticeAnswer
from sweeper.model.learning import learn, task_loss
from sweeper.model.own_costs import OwnCost, price
from sweeper.model.proximal import proximal_step
from sweeper.model.resize import Source, assembled, fitting_window, move_moments
from sweeper.model.settings import Pressures, TrainingSettings
from sweeper.model.window import Window
from sweeper.model.work import work

#: Share of training after which the learning rate falls.
RATE_FALLS = 0.8

#: Weight of each batch in the statistics of pooled activations, which so average over about a hundred training steps.
POOLED_RATE = 0.01

#: Number of images that are answered at once without learning; bounds the memory, not the result.
EVALUATED_AT_ONCE = 500

#: Most training images that networks are judged by.
MOST_JUDGED = 5000

#: Numbers of random streams: degradations in training, and degradations of the images that networks are judged by.
_DEGRADING, _JUDGING = 2, 3

#: Least share of the work that a new division of a population must save to be worth the regrouping.
WORTH_MOVING = 0.1


@dataclass(frozen=True)
class Course:
    """The training of a population: everything that stays the same while it runs.

    Attributes:
        members: Pressures and seed of each member.
        settings: Settings shared by all members.
        images: Training images.
        degradations: Degradations of the training images, drawn anew each time an image is shown.
        costs: A user's own costs, in the order of each member's pressures on them.
    """

    members: Sequence[Pressures]
    settings: TrainingSettings
    images: Images
    degradations: Sequence[Degradation] = ()
    costs: Sequence[OwnCost] = ()

    @property
    def batch_size(self) -> int:
        """Number of images of a training step."""
        return min(self.settings.batch_size, len(self.images))

    @property
    def updates_per_pass(self) -> int:
        """Training steps of a pass over the images; images that do not fill a batch are left out of the pass."""
        return len(self.images) // self.batch_size

    @property
    def updates(self) -> int:
        """Training steps in all."""
        settings = self.settings
        return settings.updates if settings.updates is not None else (settings.epochs or 0) * self.updates_per_pass

    @property
    def rounds(self) -> int:
        """How many rounds the training steps are divided into."""
        return math.ceil(self.updates / (self.settings.round_updates or self.updates_per_pass))

    @property
    def may_settle(self) -> bool:
        """Whether a network's training may end before the budget does."""
        return self.settings.until == "settled"

    def end_of_settled(self, number: int) -> int:
        """Return the number of rounds after which the training of a network ends that settled after `number` rounds.

        Its learning rate was constant until now, and falls from here on as at the end of a training of that length.
        """
        least = self.begin(number) / RATE_FALLS
        return next((end for end in range(number, self.rounds) if self.begin(end) >= least), self.rounds)

    def begin(self, number: int) -> int:
        """Return the number of training steps before a round; rounds are numbered from 0."""
        return min(number * (self.settings.round_updates or self.updates_per_pass), self.updates)

    def passes(self, update: int) -> float:
        """Return the number of passes over the images after `update` training steps."""
        whole, part = divmod(update, self.updates_per_pass)
        return whole + part / self.updates_per_pass

    def at(self, number: int) -> str:
        """Return the name of a round, numbered from 1, for messages."""
        return f"epoch {number}" if self.settings.round_updates is None else f"round {number}"

    @property
    def is_eliminating(self) -> bool:
        """Whether the solver eliminates channels instead of putting costs on weights."""
        return self.settings.solver == "elimination"

    @property
    def is_proximal(self) -> bool:
        """Whether the costs act on the weights after each step of the optimizer."""
        return self.settings.solver == "proximal"

    @property
    def is_in_loss(self) -> bool:
        """Whether costs are part of the loss; then no weight gets exactly zero, and dead channels need a threshold."""
        return self.settings.solver == "backprop"

    @property
    def has_own_prices(self) -> bool:
        """Whether any network pays for a user's own cost; one answer for all, so that grouping has no influence."""
        return any(any(member.own) for member in self.members) if self.costs else False

    def looks(self, number: int) -> list[tuple[int, int]]:
        """Divide the training steps of a round into parts; after each part the networks are looked at."""
        return segments(self.begin(number), self.begin(number + 1), LOOK_EVERY)

    @cached_property
    def schedule(self) -> Schedule:
        """The schedule of elimination; empty for other solvers."""
        if not self.is_eliminating:
            return Schedule(())
        ends = [last for number in range(self.rounds) for _, last in self.looks(number)]
        return Schedule.of(ends, self.updates)

    @property
    def growth_ends(self) -> float:
        """Share of the training after which no window grows; no window may grow during elimination."""
        return BEGINS if self.is_eliminating else GROWTH_ENDS

    def sample(self, count: int) -> Images:
        """Return training images to judge networks by, the same for all members; fewer if there are not enough.

        Args:
            count: Number of images, at most `MOST_JUDGED`.
        """
        return self._judged.some(slice(count))

    @cached_property
    def _judged(self) -> Images:
        """Training images in a fixed random order, degraded once as in training."""
        order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(0))[:MOST_JUDGED]
        order = order.to(self.images.labels.device)
        images = self.images.some(order)
        if not self.degradations:
            return images
        drawn = degraded(self._clean(order), self.degradations, np.random.default_rng(_JUDGING))
        return Images(torch.from_numpy(drawn).to(self.images.like), images.labels)

    def order(self, member: int, number: int) -> Tensor:
        """Return the data order of a pass, numbered from 0; each seed and pass has its own random stream."""
        stream = (self.members[member].seed * 1_000_003 + number + 1) * 2 + 1
        return torch.randperm(len(self.images), generator=torch.Generator().manual_seed(stream))

    def pixels(self, members: Sequence[int], index_BP: Tensor, update: int) -> Tensor:
        """Return the images that members see in a step, shape (B, P, C, H, W).

        Each seed and step has its own random stream of degradations. So a member sees the same images whatever members
        train beside it, and wherever training resumes.

        Args:
            members: Numbers of P members.
            index_BP: Indices of the images.
            update: Number of the training step, from 0 over the whole training.
        """
        if not self.degradations:
            return self.images.shown(index_BP)
        shown = []
        for row, member in enumerate(members):
            rng = np.random.default_rng([_DEGRADING, self.members[member].seed, update])
            shown.append(degraded(self._clean(index_BP[:, row]), self.degradations, rng))
        return torch.from_numpy(np.stack(shown, 1)).to(self.images.like)

    def _clean(self, which: Tensor) -> NDArray[np.float32]:
        """Return some images as numpy arrays, because numpy draws the degradations."""
        pixels = self.images.pixels[which].cpu()
        return as_floats((pixels if self.images.are_bytes else pixels.float()).numpy())


@dataclass(frozen=True)
class Costs:
    """Loss and costs of a shard's networks on some images, before pressures are applied.

    Attributes:
        loss_P: Their loss, in nats.
        time_P: Their cost of time, in steps.
        own_CP: Their cost by each of a user's own costs.
    """

    loss_P: Tensor
    time_P: Tensor
    own_CP: Tensor


class Shard:
    """Some networks of a population, in one lattice.

    Args:
        course: The training.
        members: Their numbers in the population, one for each row of the lattice.
        lattice: Their weights.
        openings: By row: 1 while the network's last step opens, −1 while it closes, else 0.
        steps: By row: the network's steps, including one that opens.
        end: Rounds after which the training of all of them ends; None for the whole course.
    """

    def __init__(
        self,
        course: Course,
        members: Sequence[int],
        lattice: Lattice,
        openings: Sequence[int],
        steps: Sequence[int],
        end: int | None = None,
    ) -> None:
        self.course, self.members, self.lattice = course, list(members), lattice
        self.end = course.rounds if end is None else end
        self.optimizer = Adam(list(lattice.parameters()), course.settings.learning_rate)
        reference = lattice.readout_bias
        self.breadth_P, self.depth_P, self.time_P = (
            reference.new_tensor([getattr(course.members[m], axis) for m in members])
            for axis in ("breadth", "depth", "time")
        )
        own = [course.members[m].own if course.costs else () for m in members]
        self.own_CP = reference.new_tensor(own).reshape(len(members), len(course.costs)).T
        self.fading: list[Tensor] = []  # by layer, which channels fade in this stage, (P, C_l); empty if none do
        self.has_space_pressure = bool(torch.any(self.breadth_P > 0) | torch.any(self.depth_P > 0))
        self.dead: list[Tensor] = []
        self.loss_sum_P, self.last_share_P = torch.zeros_like(self.time_P), torch.zeros_like(self.time_P)
        self.steps_sum_P = torch.zeros_like(self.time_P)
        self.ramp_PT = torch.zeros_like(lattice.entry)
        for row, (opening, step) in enumerate(zip(openings, steps, strict=True)):
            self.set_opening(row, step, opening)

    @property
    def work(self) -> float:
        """Approximate work of a training step for each image, see `model.work`."""
        window, count = self.lattice.window, len(self.members)
        sizes = ([window.channels] * count, [window.steps] * count)
        return work(window, *sizes, self.course.batch_size, self.lattice.recurrence)

    def set_opening(self, row: int, step: int, opening: int) -> None:
        """Let a network's step open (1), close (−1) or stay (0) from now on."""
        self.ramp_PT[row] = 0
        if step <= self.ramp_PT.shape[1]:  # the next lattice has room for a new step
            self.ramp_PT[row, step - 1] = opening / OPENING_STEPS

    def state(self) -> dict[str, Any]:
        """Return everything needed to resume here: tensors, numbers and lists only."""
        return {
            "members": self.members,
            "window": asdict(self.lattice.window),
            "lattice": self.lattice.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "fading": self.fading,
        }

    def advance(self, first: int, last: int) -> None:
        """Make the training steps from `first` to before `last`, numbered from 0 over the whole training."""
        course, images = self.course, self.course.images
        self.loss_sum_P.zero_()
        self.steps_sum_P.zero_()
        self.last_share_P.zero_()
        whole = course.passes(course.begin(self.end))
        for update in range(first, last):
            step = update % course.updates_per_pass
            if update == first or step == 0:
                order_NP = self._order(update // course.updates_per_pass)
            self.optimizer.learning_rate = course.settings.learning_rate * _rate(course.passes(update) / whole)
            index_BP = order_NP[step * course.batch_size : (step + 1) * course.batch_size]
            pixels, labels_BP = course.pixels(self.members, index_BP, update), images.labels[index_BP]
            own_price = self._own_price if course.has_own_prices else None
            learned = learn(self.lattice, pixels, labels_BP, course.settings.step_loss, self.time_P, own_price)
            self.loss_sum_P += learned.loss_P
            if course.is_in_loss and self.has_space_pressure:
                self.loss_sum_P += self._price_space()
            self.optimizer.step()
            if course.is_proximal and self.has_space_pressure:
                self._bury(proximal_step(self.lattice, self.breadth_P, self.depth_P, self.optimizer))
            if self.fading:
                self._fade(course.schedule.fade(update))
            self.steps_sum_P += learned.steps_P
            # The statistics start as the mean over all batches, and become a running mean.
            self.lattice.follow_pooled(learned.features_TBPF, max(POOLED_RATE, 1 / (update + 1)))
            self._open_steps(learned.step_share_TP, last - first)

    def _order(self, number: int) -> Tensor:
        """Return the data order of a pass, shape (N, P)."""
        order_NP = torch.stack([self.course.order(member, number) for member in self.members], dim=1)
        return order_NP.to(self.course.images.labels.device)

    @torch.no_grad()
    def _fade(self, share: float) -> None:
        """Multiply the outgoing weights of fading channels by a share."""
        for l, fading_PC in enumerate(self.fading):
            if bool(fading_PC.any()):
                for weight in outgoing(self.lattice, l):
                    weight.mul_(without_fading(weight, fading_PC, share))

    def catch_up(self, other: Shard) -> None:
        """Set the optimizer's step count to another's, so that a network kept aside fits those that trained on."""
        (step,) = {float(state["step"]) for state in other.optimizer.state.values()}
        for state in self.optimizer.state.values():
            state["step"].fill_(step)

    @torch.no_grad()
    def next_to_fade(self, may_fade_P: Tensor, images: Images, stages: int) -> list[Tensor]:
        """Return which channels fade next: by layer, bool, (P, C_l).

        Args:
            may_fade_P: Networks whose channels may fade.
            images: Images to measure the worth of channels on.
            stages: Number of stages left.
        """
        living, order = living_channels(self.lattice), weakest(self.lattice)
        fading = [torch.zeros_like(alive_PC) for alive_PC in living]
        channels = [alive_PC.sum(1).tolist() for alive_PC in living]  # of each layer of each network
        counts = [sum(its) for its in zip(*channels, strict=True)]
        left = [
            fading_count(count, stages) if count and may_fade else 0
            for count, may_fade in zip(counts, may_fade_P.tolist(), strict=False)
        ]
        while any(left):
            # Together channels are worth more than each of them alone: so they are chosen lot by lot.
            for row, l in enumerate(self._least_worth(living, order, fading, images).tolist()):
                gone = int(fading[l][row].sum())
                # The last channel of a layer is a lot of its own, since it may have to stay.
                count = min(left[row], lot(channels[l][row]), max(1, channels[l][row] - gone - 1))
                fading[l][row, order[l][row, gone : gone + count]] = True
                left[row] -= count
        return fading

    def _least_worth(
        self, living: Sequence[Tensor], order: Sequence[Tensor], fading: Sequence[Tensor], images: Images
    ) -> Tensor:
        """Return the layer of each network whose next channel to fade is worth least for its price, from 0; (P,)."""
        with ExitStack() as stack:
            for l, fading_PC in enumerate(fading):
                if bool(fading_PC.any()):
                    stack.enter_context(silent(self.lattice, l, fading_PC))
            loss_P, worth = self.loss_on(images), []
            still = [alive_PC & ~fading_PC for alive_PC, fading_PC in zip(living, fading, strict=True)]
            for l, (still_PC, may_lose_P) in enumerate(zip(still, may_lose(still), strict=True)):
                next_P1 = order[l].gather(1, fading[l].sum(1, keepdim=True).clamp_max(order[l].shape[1] - 1))
                with silent(self.lattice, l, torch.zeros_like(still_PC).scatter_(1, next_P1, True)):
                    worth.append(torch.where(may_lose_P, self.loss_on(images) - loss_P, torch.inf))
        return chosen(torch.stack(worth), torch.stack(prices(still, self.breadth_P, self.depth_P)))

    @torch.no_grad()
    def loss_on(self, images: Images) -> Tensor:
        """Return each network's loss on images, with the prices of its time and of a user's own costs; (P,)."""
        seen = self.seen_on(images)
        return seen.loss_P + self.time_P * seen.time_P + self.own_price_of(seen)

    def own_price_of(self, seen: Costs) -> Tensor:
        """Return each network's price of a user's own costs, in nats; shape (P,)."""
        # A cost without pressure may be infinite, and 0 · ∞ would be NaN.
        return torch.where(self.own_CP > 0, self.own_CP * seen.own_CP, 0.0).sum(0)

    def _own_price(self, lattice: Lattice, answer: LatticeAnswer) -> Tensor:
        return price(self.course.costs, self.own_CP, lattice, answer)

    @torch.no_grad()
    def seen_on(self, images: Images, *, with_unpaid: bool = False) -> Costs:
        """Return each network's loss on images without any cost, and its costs of time and of a user's own.

        Args:
            images: Images to answer.
            with_unpaid: Whether to compute own costs that none of these networks pays; otherwise they are 0.
        """
        loss_P, steps_P = torch.zeros_like(self.time_P), torch.zeros_like(self.time_P)
        own_CP = torch.zeros_like(self.own_CP)
        for start in range(0, len(images), EVALUATED_AT_ONCE):
            labels_B = images.labels[start : start + EVALUATED_AT_ONCE]
            answer = self.lattice(images.shown(slice(start, start + EVALUATED_AT_ONCE)))
            share = len(labels_B) / len(images)
            labels_BP = labels_B[:, None].expand(-1, len(self.members))
            loss_P += task_loss(self.lattice, answer, labels_BP, self.course.settings.step_loss) * share
            steps_P += time_cost(answer) * share
            for number, cost in enumerate(self.course.costs):
                if with_unpaid or bool(self.own_CP[number].any()):
                    own_CP[number] += cost(self.lattice, answer) * share
        return Costs(loss_P, steps_P, own_CP)

    def _price_space(self) -> Tensor:
        """Add the gradients of the breadth and depth costs to those of the loss; return the price, shape (P,)."""
        breadth_cost_P, depth_cost_P = space_costs(self.lattice)
        price_P = self.breadth_P * breadth_cost_P + self.depth_P * depth_cost_P
        price_P.sum().backward()  # type: ignore[no-untyped-call]
        return price_P.detach()

    @torch.no_grad()
    def _open_steps(self, step_share_TP: Tensor, steps: int) -> None:
        """Record the probability of the last steps, and open or close steps further."""
        last_1P = (self.lattice.last_step - 1)[None]
        self.last_share_P += step_share_TP.gather(0, last_1P)[0] / steps
        self.lattice.entry.add_(self.ramp_PT).clamp_(0, 1)

    @torch.no_grad()
    def prune(self) -> list[Tensor]:
        """Remove dead and unreachable channels, and return the kept ones: by layer, bool, (P, C_l)."""
        self._clear_closed_steps()
        # A channel without a path from the image or to the answer is dead too; see docs/explanation/lattice.md.
        kept = remove_dead(self.lattice)
        self._bury([~alive_PC for alive_PC in kept])
        return kept

    def _clear_closed_steps(self) -> None:
        """Set weights to zero that only closed steps use, since a lattice without these steps lacks them."""
        lattice = self.lattice
        if not lattice.window.is_recurrent:
            return
        goes_on_P = lattice.last_step > 1
        kept = [(weight, goes_on_P) for weight in (*lattice.lateral, *lattice.top_down)]
        if lattice.window.reads_state:
            kept += [(weight, goes_on_P) for weight in (lattice.hazard_bias, *lattice.hazard)]
        elif lattice.is_adaptive:
            kept += [(lattice.hazard_bias, goes_on_P), (lattice.hazard_sureness, goes_on_P)]
        else:
            kept.append((lattice.step_logits, (lattice.entry > 0) & goes_on_P[:, None]))
        for weight, keep in kept:
            for tensor in (weight.data, *self.optimizer.moments(weight)):
                tensor.mul_(keep.reshape(*keep.shape, *[1] * (tensor.dim() - keep.dim())))

    @torch.no_grad()
    def held(self) -> dict[int, list[Tensor]]:
        """Return by member and layer the indices of its channels with any weights, including those on offer."""
        norms = group_norms(self.lattice)
        every = {m: [norm_PC[row].nonzero().flatten() for norm_PC in norms] for row, m in enumerate(self.members)}
        return {member: [channels for channels in layers if len(channels)] for member, layers in every.items()}

    def used(self, kept: list[Tensor], norms: list[Tensor]) -> list[Tensor]:
        """Return which of the kept channels count as alive, given the group norms of all."""
        if not self.course.is_in_loss:
            return kept
        return [k & (norm_PC > BACKPROP_DEAD_BELOW) for k, norm_PC in zip(kept, norms, strict=True)]

    @torch.no_grad()
    def _bury(self, dead: list[Tensor]) -> None:
        """Clear the optimizer's moments of channels that died: momentum must not bring one back to life."""
        is_news = [d & ~known for d, known in zip(dead, self.dead, strict=True)] if self.dead else dead
        self.dead = dead
        if not any(bool(died_PC.any()) for died_PC in is_news):
            return
        self.lattice.forget_pooled(dead)
        for parameter, keep in touching(self.lattice, [(~d).to(self.time_P) for d in dead]):
            for moment in self.optimizer.moments(parameter):
                moment.mul_(keep)

    @torch.no_grad()
    def drop_not_finite(self) -> list[int]:
        """Set networks that are no longer finite to zero, so that they disturb no others; return their numbers."""
        finite_P = torch.isfinite(self.loss_sum_P)
        for parameter in self.lattice.parameters():
            finite_P = finite_P & torch.isfinite(parameter.detach().view(len(finite_P), -1)).all(1)
        rows = (~finite_P).nonzero().flatten().tolist()
        for row in rows:
            for parameter in self.lattice.parameters():
                parameter.data[row] = 0
                for moment in self.optimizer.moments(parameter):
                    moment[row] = 0
            for statistics_PF in (self.lattice.pooled_mean, self.lattice.pooled_var):
                if statistics_PF is not None:
                    statistics_PF[row] = 0
        return [self.members[row] for row in rows]


def restored(
    course: Course, state: dict[str, Any], extents: Sequence[Extent], ends: Sequence[int], like: Tensor
) -> Shard:
    """Return the shard from its state."""
    window = Window(**state["window"])
    lattice = Lattice(window, [0] * len(state["members"])).to(like)
    lattice.load_state_dict(state["lattice"])
    its = [extents[member] for member in state["members"]]
    openings, steps = [extent.opening for extent in its], [extent.steps for extent in its]
    shard = Shard(course, state["members"], lattice, openings, steps, ends[state["members"][0]])
    shard.optimizer.load_state_dict(state["optimizer"])
    shard.fading = list(state["fading"])
    return shard


def divide(
    window: Window, extents: Sequence[Extent], batch_size: int, recurrence: str, members: Sequence[int] | None = None
) -> tuple[list[list[int]], float]:
    """Divide a population into the parts that need the least work.

    Members are sorted by size, and dynamic programming finds the best cuts between them.

    Args:
        window: Any window of the networks' kind.
        extents: Window of each member.
        batch_size: Images of a training step.
        recurrence: Implementation of the recurrence.
        members: Members to divide. None for all.

    Returns:
        Numbers of the members of each part, and the work of all parts.
    """

    def size(member: int) -> tuple[int, list[int], int]:
        extent = extents[member]
        return extent.steps * sum(extent.channels), extent.channels, member

    order = sorted(range(len(extents)) if members is None else members, key=size)
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(order) + 1):
        options = []
        for start in range(end):
            part = [extents[m] for m in order[start:end]]
            cost = work(window, [e.channels for e in part], [e.steps for e in part], batch_size, recurrence)
            options.append((best[start][0] + cost, start))
        best.append(min(options))
    parts, end = [], len(order)
    while end:
        parts.append(sorted(order[best[end][1] : end]))
        end = best[end][1]
    return sorted(parts), best[-1][0]


def regroup(
    shards: Sequence[Shard],
    kept: dict[int, list[Tensor]],
    extents: Sequence[Extent],
    parts: Sequence[Sequence[int]],
    window: Window,
    ends: Sequence[int] | None = None,
) -> list[Shard]:
    """Assemble a population anew.

    Args:
        shards: The current shards.
        kept: By member and layer, the indices of the channels to keep.
        extents: By member, its new window.
        parts: Members of each new shard.
        window: Any window of the networks' kind.
        ends: By member, the rounds after which its training ends, equal within a part. None for the whole course.
    """
    places = {member: (shard, row) for shard in shards for row, member in enumerate(shard.members)}
    found = []
    for part in parts:
        whole = fitting_window(window, [extents[m].channels for m in part], [extents[m].steps for m in part])
        sources = [Source(places[m][0].lattice, places[m][1], kept[m]) for m in part]
        lattice = assembled(whole, sources)
        openings, steps = [extents[m].opening for m in part], [extents[m].steps for m in part]
        shard = Shard(shards[0].course, part, lattice, openings, steps, ends[part[0]] if ends else None)
        move_moments(sources, [places[m][0].optimizer for m in part], lattice, shard.optimizer)
        shard.fading = _moved([places[m] for m in part], [kept[m] for m in part], lattice)
        found.append(shard)
    return found


def _moved(places: Sequence[tuple[Shard, int]], kept: Sequence[list[Tensor]], lattice: Lattice) -> list[Tensor]:
    """Return which channels fade in an assembled lattice; empty if none do."""
    if not any(shard.fading for shard, _ in places):
        return []
    fading = [torch.zeros_like(bias_PC, dtype=torch.bool) for bias_PC in lattice.bias]
    for row, ((shard, old_row), its) in enumerate(zip(places, kept, strict=True)):
        for l, channels in enumerate(its if shard.fading else []):
            fading[l][row, : len(channels)] = shard.fading[l][old_row][channels]
    return fading


def _rate(done: float) -> float:
    """Return the factor on the learning rate: constant, then falling linearly to a twentieth in the last fifth."""
    return 1.0 if done < RATE_FALLS else 1 - 0.95 * (done - RATE_FALLS) / (1 - RATE_FALLS)


def segments(begin: int, end: int, every: int) -> list[tuple[int, int]]:
    """Divide the training steps from `begin` to before `end` into about equal parts of at most `every`."""
    steps = end - begin
    parts = math.ceil(steps / every)
    ends = [begin + steps * part // parts for part in range(parts + 1)]
    return list(pairwise(ends))
