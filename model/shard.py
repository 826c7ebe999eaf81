"""Networks of about one size that are trained side by side in one lattice, and how a population is divided into them.

The members of a population differ more and more in size as their windows grow and shrink. One lattice for all would be
as wide, deep and long as the largest in each direction; so they are assembled again where that saves work. Who trains
beside whom changes rounding and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from sweeper.model.costs import group_norms, space_costs, time_cost, touching
from sweeper.model.counting import BACKPROP_DEAD_BELOW, remove_dead
from sweeper.model.growth import OPENING_STEPS, Extent
from sweeper.model.lattice import Lattice, LatticeAnswer, Window
from sweeper.model.proximal import proximal_step
from sweeper.model.resize import MOMENTS, Source, assembled, fitting_window, move_moments
from sweeper.model.settings import Pressures, TrainingSettings
from sweeper.model.tasks import Images

#: Share of training after which the learning rate falls.
RATE_FALLS = 0.8

#: Another division of a population must save this share of the work to be worth the moving.
WORTH_MOVING = 0.1

#: Work of one state's update that does not depend on its size, in units of one channel on one pixel of one image;
#: fitted to the times of `benchmarks/population.py`.
_FIXED_WORK = 24_000


@dataclass(frozen=True)
class Course:
    """What all networks of a population are trained with.

    Attributes:
        members: Pressures and seed of each.
        settings: Shared by all.
        images: What they learn.
    """

    members: Sequence[Pressures]
    settings: TrainingSettings
    images: Images

    @property
    def batch_size(self) -> int:
        """Images of a training step."""
        return min(self.settings.batch_size, len(self.images))

    @property
    def steps_per_epoch(self) -> int:
        """Training steps of an epoch; what is left of the images waits for the next one."""
        return len(self.images) // self.batch_size

    @property
    def is_proximal(self) -> bool:
        """Whether the costs act after each step of the optimizer, not through the loss."""
        return self.settings.solver == "proximal"

    def order(self, member: int, epoch: int) -> Tensor:
        """Return the data order of an epoch: a stream of its own for each seed and epoch."""
        stream = (self.members[member].seed * 1_000_003 + epoch + 1) * 2 + 1
        return torch.randperm(len(self.images), generator=torch.Generator().manual_seed(stream))


class Shard:
    """Some networks of a population, in one lattice.

    Args:
        course: What they are trained with.
        members: Their numbers in the population, a row of the lattice each.
        lattice: Their weights.
        openings: By row: 1 while the network's last step opens, −1 while it closes, else 0.
        steps: By row: the network's steps, the one that opens included.
    """

    def __init__(
        self, course: Course, members: Sequence[int], lattice: Lattice, openings: Sequence[int], steps: Sequence[int]
    ) -> None:
        self.course, self.members, self.lattice = course, list(members), lattice
        self.optimizer = torch.optim.Adam(lattice.parameters(), lr=course.settings.learning_rate, fused=True)
        reference = lattice.readout_bias
        self.breadth_P, self.depth_P, self.time_P = (
            reference.new_tensor([getattr(course.members[m], axis) for m in members])
            for axis in ("breadth", "depth", "time")
        )
        self.has_space_pressure = bool(torch.any(self.breadth_P > 0) | torch.any(self.depth_P > 0))
        self.dead: list[Tensor] = []
        self.loss_sum_P, self.last_share_P = torch.zeros_like(self.time_P), torch.zeros_like(self.time_P)
        self.ramp_PT = torch.zeros_like(lattice.entry)
        for row, (opening, step) in enumerate(zip(openings, steps, strict=True)):
            self.set_opening(row, step, opening)

    @property
    def work(self) -> float:
        """About how much work a training step is, see `work`."""
        window, count = self.lattice.window, len(self.members)
        return work(window, [window.channels] * count, [window.steps] * count, self.course.batch_size)

    def set_opening(self, row: int, step: int, opening: int) -> None:
        """Let a network's step open (1), close (−1) or stay (0) from now on."""
        self.ramp_PT[row] = 0
        if step <= self.ramp_PT.shape[1]:  # a step that is new comes with the next lattice
            self.ramp_PT[row, step - 1] = opening / OPENING_STEPS

    def state(self) -> dict[str, Any]:
        """Return all that is needed to go on from here; tensors, numbers and lists only."""
        return {
            "members": self.members,
            "window": asdict(self.lattice.window),
            "lattice": self.lattice.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def advance(self, epoch: int, first: int, last: int) -> None:
        """Make the training steps from `first` to before `last` of an epoch."""
        course, images = self.course, self.course.images
        order_NP = torch.stack([course.order(member, epoch) for member in self.members], dim=1)
        order_NP = order_NP.to(images.labels.device)
        self.loss_sum_P.zero_()
        self.last_share_P.zero_()
        for step in range(first, last):
            done = (epoch + step / course.steps_per_epoch) / course.settings.epochs
            learning_rate = course.settings.learning_rate * _rate(done)
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate
            index_BP = order_NP[step * course.batch_size : (step + 1) * course.batch_size]
            answer = self.lattice(images.pixels[index_BP])
            loss_P = self._loss(answer, images.labels[index_BP])
            self.optimizer.zero_grad()
            loss_P.sum().backward()  # type: ignore[no-untyped-call]  # networks share no weight: each gets its own gradient
            self.optimizer.step()
            if course.is_proximal and self.has_space_pressure:
                self._bury(proximal_step(self.lattice, self.breadth_P, self.depth_P, self.optimizer))
            self.loss_sum_P += loss_P.detach()
            self._open_steps(answer, last - first)

    def _loss(self, answer: LatticeAnswer, labels_BP: Tensor) -> Tensor:
        """Return each network's loss, shape (P,)."""
        settings = self.course.settings
        label_BP1 = labels_BP[..., None]
        if self.lattice.window.reads_state:
            # The mixture's loss rewards a step that is right for a few images so little that all settle on one step.
            label_TBP1 = label_BP1.expand(len(answer.logits_TBPK), -1, -1, -1)
            step_loss_TBP = -answer.logits_TBPK.log_softmax(-1).gather(3, label_TBP1)[..., 0]
            loss_P = (answer.step_dist_TBP * step_loss_TBP).sum(0).mean(0)
        else:
            loss_P = -answer.log_probs_BPK.gather(2, label_BP1)[..., 0].mean(0)
        if settings.step_loss:
            log_probs_TBPK = answer.logits_TBPK.log_softmax(-1)
            label_TBP1 = label_BP1.expand(len(log_probs_TBPK), -1, -1, -1)
            loss_TP = -log_probs_TBPK.gather(3, label_TBP1)[..., 0].mean(1)
            # A step that is not there has no loss, and adds none to the mean over the steps that are.
            weight_TP = self.lattice.entry.T / self.lattice.entry.sum(1)
            loss_P = loss_P + settings.step_loss * (loss_TP * weight_TP).sum(0)
        loss_P = loss_P + self.time_P * time_cost(answer)
        if not self.course.is_proximal and self.has_space_pressure:
            breadth_cost_P, depth_cost_P = space_costs(self.lattice)
            loss_P = loss_P + self.breadth_P * breadth_cost_P + self.depth_P * depth_cost_P
        return loss_P

    @torch.no_grad()
    def _open_steps(self, answer: LatticeAnswer, steps: int) -> None:
        """Note what the last steps keep, and open or close those that are to be."""
        last_1P = (self.lattice.last_step - 1)[None]
        self.last_share_P += answer.step_dist_TBP.mean(1).gather(0, last_1P)[0] / steps
        self.lattice.entry.add_(self.ramp_PT).clamp_(0, 1)

    @torch.no_grad()
    def prune(self) -> list[Tensor]:
        """Take out what is dead and what no path leads to, and return what is kept: by layer, bool, (P, C_l)."""
        self._clear_closed_steps()
        # Without a path from the image or to the answer a channel is dead too; see docs/explanation/lattice.md.
        kept = remove_dead(self.lattice)
        self._bury([~alive_PC for alive_PC in kept])
        return kept

    def _clear_closed_steps(self) -> None:
        """Clear what only steps that have closed make use of: it is not there in a lattice without them."""
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
            for tensor in (weight.data, *moments(self.optimizer, weight)):
                tensor.mul_(keep.reshape(*keep.shape, *[1] * (tensor.dim() - keep.dim())))

    @torch.no_grad()
    def held(self) -> dict[int, list[Tensor]]:
        """Return by member and layer the numbers of its channels, those on offer included; without its dead ends."""
        norms = group_norms(self.lattice)
        every = {m: [norm_PC[row].nonzero().flatten() for norm_PC in norms] for row, m in enumerate(self.members)}
        return {member: [channels for channels in layers if len(channels)] for member, layers in every.items()}

    def used(self, kept: list[Tensor], norms: list[Tensor]) -> list[Tensor]:
        """Return which of the kept channels count as alive, given the group norms of all."""
        if self.course.is_proximal:
            return kept
        return [k & (norm_PC > BACKPROP_DEAD_BELOW) for k, norm_PC in zip(kept, norms, strict=True)]

    @torch.no_grad()
    def _bury(self, dead: list[Tensor]) -> None:
        """Clear the optimizer's moments of channels that died: momentum must not bring one back to life."""
        is_news = [d & ~known for d, known in zip(dead, self.dead, strict=True)] if self.dead else dead
        self.dead = dead
        if not any(bool(died_PC.any()) for died_PC in is_news):
            return
        for parameter, keep in touching(self.lattice, [(~d).to(self.time_P) for d in dead]):
            for moment in moments(self.optimizer, parameter):
                moment.mul_(keep)

    @torch.no_grad()
    def drop_not_finite(self) -> list[int]:
        """Set networks that stopped being finite to zero, so that nothing else is disturbed; return which."""
        finite_P = torch.isfinite(self.loss_sum_P)
        for parameter in self.lattice.parameters():
            finite_P = finite_P & torch.isfinite(parameter.detach().view(len(finite_P), -1)).all(1)
        rows = (~finite_P).nonzero().flatten().tolist()
        for row in rows:
            for parameter in self.lattice.parameters():
                parameter.data[row] = 0
                for moment in moments(self.optimizer, parameter):
                    moment[row] = 0
        return [self.members[row] for row in rows]


def restored(course: Course, state: dict[str, Any], extents: Sequence[Extent], like: Tensor) -> Shard:
    """Return the shard of a state."""
    window = Window(**state["window"])
    lattice = Lattice(window, [0] * len(state["members"])).to(like)
    lattice.load_state_dict(state["lattice"])
    its = [extents[member] for member in state["members"]]
    shard = Shard(course, state["members"], lattice, [e.opening for e in its], [e.steps for e in its])
    shard.optimizer.load_state_dict(state["optimizer"])
    return shard


def work(window: Window, channels: Sequence[Sequence[int]], steps: Sequence[int], batch_size: int) -> float:
    """Return about how much work a training step of networks of these sizes is in one lattice."""
    whole = fitting_window(window, channels, steps)
    states = 0.0
    for layer, c in enumerate(whole.channels, start=1):
        height, width = whole.side(layer)
        states += _FIXED_WORK / batch_size + len(channels) * height * width * (c + 1)
    return whole.steps * states


def divide(
    window: Window, extents: Sequence[Extent], batch_size: int, members: Sequence[int] | None = None
) -> tuple[list[list[int]], float]:
    """Divide a population so that the least work is done for nothing.

    Members are sorted by size, and the best cuts between them are found by dynamic programming.

    Args:
        window: Of the networks' kind.
        extents: By member.
        batch_size: Images of a training step.
        members: Those that are there. None: all.

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
            cost = work(window, [e.channels for e in part], [e.steps for e in part], batch_size)
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
) -> list[Shard]:
    """Assemble a population anew.

    Args:
        shards: As it is.
        kept: By member and layer, the numbers of the channels that are kept.
        extents: By member, the size it is to have.
        parts: Members of each new shard.
        window: Of the networks' kind.
    """
    places = {member: (shard, row) for shard in shards for row, member in enumerate(shard.members)}
    found = []
    for part in parts:
        whole = fitting_window(window, [extents[m].channels for m in part], [extents[m].steps for m in part])
        sources = [Source(places[m][0].lattice, places[m][1], kept[m]) for m in part]
        lattice = assembled(whole, sources)
        openings, steps = [extents[m].opening for m in part], [extents[m].steps for m in part]
        shard = Shard(shards[0].course, part, lattice, openings, steps)
        move_moments(sources, [places[m][0].optimizer for m in part], lattice, shard.optimizer)
        found.append(shard)
    return found


def moments(optimizer: torch.optim.Optimizer, parameter: Tensor) -> list[Tensor]:
    """Return Adam's two moments of a parameter; none where it had no gradient yet."""
    state = optimizer.state.get(parameter, {})
    return [state[name] for name in MOMENTS if name in state]


def _rate(done: float) -> float:
    """Return the factor on the learning rate: constant, then falling linearly to a twentieth in the last fifth."""
    return 1.0 if done < RATE_FALLS else 1 - 0.95 * (done - RATE_FALLS) / (1 - RATE_FALLS)


def segments(steps_per_epoch: int, every: int) -> list[tuple[int, int]]:
    """Divide an epoch into about equal parts of at most `every` steps."""
    parts = math.ceil(steps_per_epoch / every)
    ends = [steps_per_epoch * part // parts for part in range(parts + 1)]
    return list(pairwise(ends))
