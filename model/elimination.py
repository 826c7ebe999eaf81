"""Backward elimination: channels fade one after another, and the network with the lowest total objective is kept.

A pressure is the price of keeping a channel, in nats of the training loss: times the channel's rank in its layer, or
times the layer's number.

    objective = training loss + λ_breadth · Σ_l Σ_k k · a(k)[l] + λ_depth · Σ_l l · Σ_c a[l,c] + λ_time · time

with a = 1 for a living channel and 0 for a removed one. Only a network that has learned, and has had time to adapt to
the loss of a channel, shows whether the channel is worth its price. So a training has three parts:

- up to `BEGINS` the network learns, and no channel is priced;
- up to `ENDS` its channels are eliminated in `STAGES` stages. Early in each stage the channels that are worth least for
  their price fade to nothing while the others go on learning; in the rest of the stage the others recover. At the end
  of a stage the objective that this network would reach by the end of the training is estimated, and the best network
  so far is kept aside. Once the loss alone exceeds the lowest objective found, no smaller network can be better, and
  the elimination is over;
- the best network comes back and learns to the end without any pressure on its weights, so that they are not shrunk.
  If even the best network costs more than answers by chance, none of its channels comes back.

So the objective itself decides, not the size of a weight. Backward elimination is the classical way to select
variables; fading channels while the network learns is gradual pruning (Zhu and Gupta 2017, arXiv 1710.01878).
Earlier attempts are in `benchmarks/objective.py`.
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

#: Number of stages of the elimination, limited by the number of looks at the network in that time.
STAGES = 14

#: Share of a stage in which its channels fade; in the rest of it the others recover.
FADES = 0.4

#: Share of its loss that a working network keeps until the end of its training, and the power with which this share
#: rises to 1 as the loss approaches chance. Fitted to paths whose every network was trained to the end, see
#: docs/explanation/elimination.md.
REMAINS, REMAINS_POWER = 0.5, 4

#: Least share of a network's channels that fade in a stage; more fade if few stages are left.
SHARE = 0.1

#: Share of a layer's channels, at least one, that are chosen together; the next ones are chosen once these are silent.
#: Chosen all at once they may be a whole layer but its last channel; see docs/explanation/elimination.md.
LOT = 0.25

#: Number of images that the objective is measured on after each stage, and that the worth of channels is measured on.
JUDGED_ON, CHOSEN_ON = 512, 128

#: Least worth of a channel, in nats of loss; smaller differences are noise.
_LEAST_WORTH = 1e-3


@dataclass(frozen=True)
class Schedule:
    """The stages of an elimination: when channels are chosen, and how fast they fade.

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
        # Decisions lie evenly among the looks. A single look could begin a stage, but no later look would judge it.
        if stages < 1:
            return cls(())
        return cls(tuple(within[round(i * (len(within) - 1) / stages)] for i in range(stages + 1)))

    def stages_left(self, now: int) -> int:
        """Return how many stages begin at this decision or later."""
        return max(0, len(self.decisions) - 1 - bisect_left(self.decisions, now))

    def fade(self, update: int) -> float:
        """Return the factor by which a training step shrinks the outgoing weights of a fading channel; 0 at the end.

        The weights fall linearly over the first `FADES` of the stage, and stay zero from then on.
        """
        after = bisect_right(self.decisions, update)
        if after in (0, len(self.decisions)):
            return 0.0
        begin, end = self.decisions[after - 1], self.decisions[after]
        left = begin + max(1, round(FADES * (end - begin))) - update
        return 1 - 1 / left if left > 1 else 0.0


@dataclass
class Path:
    """Progress of one network's elimination.

    Attributes:
        best: Lowest objective so far, in nats.
        is_over: Whether the best network has come back.
    """

    best: float = math.inf
    is_over: bool = False

    def to_state(self) -> dict[str, Any]:
        """Return the path as plain values."""
        return asdict(self)


def fading_count(channels: int, stages: int) -> int:
    """Return how many of a network's channels fade in the next stage, so that few are left after the last stage."""
    share = max(SHARE, 1 - math.pow(channels, -1 / max(1, stages)))
    return max(1, round(channels * share))


def outgoing(lattice: Lattice, l: int) -> list[Tensor]:
    """Return the outgoing weights of a layer, each (P, outputs, C_l, …)."""
    return [connection.weight for connection in lattice.connections() if connection.of == l]


def without_fading(weight: Tensor, fading_PC: Tensor, share: float) -> Tensor:
    """Return the factor of outgoing weights: `share` for channels that fade and 1 for the others."""
    factor_PC = torch.where(fading_PC, share, 1.0).to(weight)
    return factor_PC[:, None].reshape(factor_PC.shape[0], 1, factor_PC.shape[1], *[1] * (weight.dim() - 3))


@contextmanager
def silent(lattice: Lattice, l: int, silent_PC: Tensor) -> Iterator[None]:
    """Set the outgoing weights of some channels of a layer to zero, and restore them at the end."""
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
    """Return the order of each layer's channels from the weakest, removed ones last; (P, C_l)."""
    return [
        torch.where(norm_PC > 0, norm_PC, torch.inf).argsort(dim=1, stable=True) for norm_PC in group_norms(lattice)
    ]


def prices(living: Sequence[Tensor], breadth_P: Tensor, depth_P: Tensor) -> list[Tensor]:
    """Return what a network saves without the last channel of each layer, in nats; (P,).

    This is λ_breadth · the channel's rank + λ_depth · its layer's number.
    """
    return [breadth_P * alive_PC.sum(1) + depth_P * layer for layer, alive_PC in enumerate(living, start=1)]


def may_lose(living: Sequence[Tensor]) -> list[Tensor]:
    """Return whether each layer may lose a channel; bool, (P,).

    The last channel of a layer stays as long as a layer above has any, because nothing else reaches that layer. So
    layers go from the top, and one stage cannot cut off what the next ones would have shown to be worth its price.
    """
    counts = [alive_PC.sum(1) for alive_PC in living]
    above = [*counts[1:], torch.zeros_like(counts[-1])]
    return [(count_P > 1) | ((count_P == 1) & (above_P == 0)) for count_P, above_P in zip(counts, above, strict=True)]


def chosen(worth_LP: Tensor, price_LP: Tensor) -> Tensor:
    """Return for each network the layer, from 0, whose weakest channel is worth least for its price; shape (P,).

    Args:
        worth_LP: Rise of the loss without that channel, in nats; infinite for a layer that may lose none.
        price_LP: What the network saves without it, in nats.
    """
    return (worth_LP.clamp_min(_LEAST_WORTH) / price_LP.clamp_min(1e-30)).argmin(0)


def lot(channels: int) -> int:
    """Return how many of a layer's channels are chosen together."""
    return max(1, int(LOT * channels))


def expected_loss(loss_P: Tensor, chance: float) -> Tensor:
    """Return the loss that networks are expected to reach by the end of their training; (P,).

    Further updates and the falling learning rate remove about half of the loss of a network that works, and nothing of
    the loss of one that answers by chance. Without this correction losses would weigh too much against channels, and
    too many channels would be kept.

    Args:
        loss_P: The loss now, in nats, without any cost.
        chance: The loss of an answer by chance, in nats.
    """
    remains_P = REMAINS + (1 - REMAINS) * (loss_P / chance).clamp(max=1) ** REMAINS_POWER
    return loss_P * remains_P


def counted_objective(loss_P: Tensor, living: Sequence[Tensor], breadth_P: Tensor, depth_P: Tensor) -> Tensor:
    """Return the sum of a loss, which includes the cost of time, and the prices of the living channels; (P,)."""
    breadth_cost_P, depth_cost_P = counted_costs(living, like=loss_P)
    return loss_P + breadth_P * breadth_cost_P + depth_P * depth_cost_P
