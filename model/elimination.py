"""Backward elimination: channels fade one after another, and the network with the lowest total objective is kept.

A pressure is the price of keeping a channel, in nats of the training loss: times the channel's rank in its layer, or
times the layer's number.

    objective = training loss + λ_breadth · Σ_l Σ_k k · a(k)[l] + λ_depth · Σ_l l · Σ_c a[l,c] + λ_time · time

with a = 1 for a channel that is there and 0 for one that is gone. Whether a channel is worth its price can only be told
from a network that has learned, and that has had the time to do without it. So a training goes through three parts:

- up to `BEGINS` the network learns, and no channel is priced;
- up to `ENDS` it is taken apart: early in each of `STAGES` the channels that cost most for what they are worth fade to
  nothing while the others go on learning, and the rest of the stage is for those to recover. At its end the objective
  is estimated that this network would reach by the end of the training, and the best network so far is kept aside.
  Once the loss alone is above the lowest objective found, nothing smaller can be better, and it is over;
- the best network comes back, and learns to the end without any pressure on its weights: what is left is not shrunk.

So what decides is the objective itself and not the size of a weight. Backward elimination is the classical way to
select variables; that channels fade while the network learns is gradual pruning (Zhu and Gupta 2017, arXiv 1710.01878).
What was tried before it is in `benchmarks/objective.py`.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from sweeper.model.costs import counted_costs, group_norms
from sweeper.model.lattice import Lattice

#: Shares of the training between which channels are eliminated.
BEGINS, ENDS = 0.2, 0.75

#: Stages of the elimination; with fewer looks at the network in that time there are as many as looks.
STAGES = 14

#: Share of a stage in which its channels fade; in the rest the others recover, as they would until the end.
FADES = 0.4

#: Share of its loss that a network keeps which works when it is judged, and how late that rises towards chance: as
#: measured where every network of a path was trained to the end, see docs/explanation/elimination.md.
REMAINS, REMAINS_POWER = 0.5, 4

#: Share of a network's channels that fade in a stage, at least one: more where few stages are left.
SHARE = 0.1

#: Images that the objective is measured on after each stage, and that say what the weakest channels are worth.
JUDGED_ON, CHOSEN_ON = 512, 128

#: The least that a channel is taken to be worth, in nats: less is noise.
_LEAST_WORTH = 1e-3


@dataclass(frozen=True)
class Schedule:
    """When channels are chosen, and by when they have faded.

    Attributes:
        decisions: Training steps after which a stage begins and the one before is judged, ascending.
    """

    decisions: tuple[int, ...]

    @classmethod
    def of(cls, looks: Sequence[int], updates: int) -> Schedule:
        """Return the schedule of a training.

        Args:
            looks: Training steps after which networks are looked at, ascending.
            updates: Training steps in all.
        """
        within = [now for now in looks if BEGINS * updates <= now <= ENDS * updates]
        stages = min(STAGES, len(within) - 1)
        # As far apart as the looks allow; a single look begins nothing that another one could judge.
        if stages < 1:
            return cls(())
        return cls(tuple(within[round(i * (len(within) - 1) / stages)] for i in range(stages + 1)))

    def stages_left(self, now: int) -> int:
        """Return how many stages begin at this decision or later."""
        return max(0, len(self.decisions) - 1 - bisect_left(self.decisions, now))

    def fade(self, update: int) -> float:
        """Return what is left, after a training step, of what was there of a fading channel before it; 0 at the end.

        The channel's weight falls linearly over the first `FADES` of its stage, and stays at nothing then.
        """
        after = bisect_right(self.decisions, update)
        if after in (0, len(self.decisions)):
            return 0.0
        begin, end = self.decisions[after - 1], self.decisions[after]
        left = begin + max(1, round(FADES * (end - begin))) - update
        return 1 - 1 / left if left > 1 else 0.0


@dataclass
class Path:
    """How far one network has been taken apart.

    Attributes:
        best: Lowest objective so far, in nats.
        is_over: Whether the best network has come back.
    """

    best: float = math.inf
    is_over: bool = False

    def to_state(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def fading_count(channels: int, stages: int) -> int:
    """Return how many of a network's channels fade in the next stage, so that few are left after so many stages."""
    share = max(SHARE, 1 - math.pow(channels, -1 / max(1, stages)))
    return max(1, round(channels * share))


def outgoing(lattice: Lattice, l: int) -> list[Tensor]:
    """Return the weights through which a layer is heard, each (P, outputs, C_l, …)."""
    return [connection.weight for connection in lattice.connections() if connection.of == l]


def without_fading(weight: Tensor, fading_PC: Tensor, share: float) -> Tensor:
    """Return the factor of outgoing weights: `share` for channels that fade and 1 for the others."""
    factor_PC = torch.where(fading_PC, share, 1.0).to(weight)
    return factor_PC[:, None].reshape(factor_PC.shape[0], 1, factor_PC.shape[1], *[1] * (weight.dim() - 3))


@contextmanager
def silent(lattice: Lattice, l: int, silent_PC: Tensor) -> Iterator[None]:
    """Let nothing be heard of some channels of a layer, and put everything back at the end."""
    weights = outgoing(lattice, l)
    before = [weight.detach().clone() for weight in weights]
    try:
        for weight in weights:
            weight.data.mul_(without_fading(weight, silent_PC, 0.0))
        yield
    finally:
        for weight, value in zip(weights, before, strict=True):
            weight.data.copy_(value)


@torch.no_grad()
def weakest(lattice: Lattice) -> list[Tensor]:
    """Return the order of each layer's channels from the weakest, those that are gone last; (P, C_l)."""
    return [
        torch.where(norm_PC > 0, norm_PC, torch.inf).argsort(dim=1, stable=True) for norm_PC in group_norms(lattice)
    ]


def prices(living: Sequence[Tensor], breadth_P: Tensor, depth_P: Tensor) -> list[Tensor]:
    """Return what the last channel of each layer costs, (P,): λ_breadth · its rank + λ_depth · its layer's number."""
    return [breadth_P * alive_PC.sum(1) + depth_P * layer for layer, alive_PC in enumerate(living, start=1)]


def chosen(worth_LP: Tensor, price_LP: Tensor) -> Tensor:
    """Return for each network the layer whose weakest channel is worth least for its price, from 0; shape (P,).

    Args:
        worth_LP: By how much the loss rises without it, in nats; infinite where a layer has none.
        price_LP: What it costs, in nats.
    """
    return (worth_LP.clamp_min(_LEAST_WORTH) / price_LP.clamp_min(1e-30)).argmin(0)


def expected_loss(loss_P: Tensor, chance: float) -> Tensor:
    """Return the loss that networks are expected to reach by the end of their training; (P,).

    What a network still learns depends on how well it works already: further updates and the falling learning rate
    take about half of the loss of one that works, and nothing of one that answers by chance. Where that is not
    reckoned with, losses count for too much beside channels, and too many are kept.

    Args:
        loss_P: What is seen now, in nats, without any cost.
        chance: That of an answer by chance.
    """
    remains_P = REMAINS + (1 - REMAINS) * (loss_P / chance).clamp(max=1) ** REMAINS_POWER
    return loss_P * remains_P


def counted_objective(loss_P: Tensor, living: Sequence[Tensor], breadth_P: Tensor, depth_P: Tensor) -> Tensor:
    """Return the total of a loss, expected time included, and the prices of the channels that are there; (P,)."""
    breadth_cost_P, depth_cost_P = counted_costs(living, like=loss_P)
    return loss_P + breadth_P * breadth_cost_P + depth_P * depth_cost_P
