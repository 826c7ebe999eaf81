"""Costs of a user's own: what a network pays for beside breadth, depth and time.

A cost is a function of a lattice and of what it has just answered, (lattice, answer) -> (P,): what each network of the
population costs. It joins the loss with a pressure of its own, so that its slopes come from torch, through the answer
too; the recurrence stays in compiled code. What it must hold to is what the built-in costs hold to, see `model.costs`:
each network pays for itself alone, and channels, layers and steps that are not there cost nothing.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sweeper.model.errors import CostError
from sweeper.model.images import Images
from sweeper.model.lattice import Lattice, LatticeAnswer
from sweeper.model.native.library import TORCH
from sweeper.model.resize import Source, assembled
from sweeper.model.window import Window

#: Images that a cost is tried on.
_TRIED_ON = 16

#: Costs that differ by a smaller share are equal but for rounding.
_SAME = 1e-3


@dataclass(frozen=True)
class OwnCost:
    """A cost that somebody else has written.

    Attributes:
        name: What it is called.
        function: Takes a lattice and its answer to a batch, and returns what each network costs, shape (P,).
    """

    name: str
    function: Callable[[Lattice, LatticeAnswer], Tensor]

    def __call__(self, lattice: Lattice, answer: LatticeAnswer) -> Tensor:
        """Return what each network costs, shape (P,).

        Raises:
            CostError: If the function returns anything else.
        """
        cost_P = self.function(lattice, answer)
        shape = (lattice.population,)
        if not lattice.window.layers and isinstance(cost_P, int | float):  # a sum over layers that has no part
            return torch.full_like(lattice.readout_bias[:, 0], cost_P)
        if not isinstance(cost_P, Tensor):
            raise CostError(
                f"cost {self.name!r} must return a tensor of shape {shape}, a number for each network, but returned "
                f"{type(cost_P).__name__} {cost_P!r:.60}"
            )
        if tuple(cost_P.shape) != shape or not cost_P.is_floating_point():
            raise CostError(
                f"cost {self.name!r} must return a tensor of shape {shape}, a number for each network, but returned "
                f"shape {tuple(cost_P.shape)} of {cost_P.dtype}. Sum over everything but the axis P"
            )
        return cost_P


def price(costs: Sequence[OwnCost], pressure_CP: Tensor, lattice: Lattice, answer: LatticeAnswer) -> Tensor:
    """Return what all costs add to each network's loss, in nats; shape (P,).

    Args:
        costs: C of them.
        pressure_CP: The pressure of each cost on each network. A cost that no network pays is not asked for.
        lattice: The population.
        answer: What it has just answered.
    """
    price_P = torch.zeros_like(answer.step_dist_TBP[0, 0])
    for cost, pressure_P in zip(costs, pressure_CP, strict=True):
        if bool(pressure_P.any()):
            price_P = price_P + pressure_P * cost(lattice, answer)
    return price_P


def reads_channels(cost: OwnCost, window: Window) -> bool:
    """Tell whether a cost is of channels: made of their weights, or of their activations, and not of steps alone.

    Where it is, it is a reason to take channels out, as breadth and depth are. What is looked at is what the cost is
    computed from, never numbers: the answer is the same whenever a training goes on.
    """
    lattice = Lattice(window, [0])
    with torch.no_grad():
        said = lattice(torch.zeros(2, *window.image))
    given = LatticeAnswer(*(part.clone().requires_grad_() for part in _parts(said)))
    read = [*(connection.weight for connection in lattice.connections()), given.features_TBPF]
    cost_P = cost(lattice, given)
    if not cost_P.requires_grad:
        return False
    slopes = torch.autograd.grad(cost_P.sum(), read, allow_unused=True)
    return any(slope is not None for slope in slopes)


def try_cost(cost: OwnCost, window: Window, images: Images) -> None:
    """Try a cost on two new networks, and refuse one that cannot be trained with.

    Args:
        cost: What is tried.
        window: What networks begin with.
        images: Training images; a few of them are shown.

    Raises:
        CostError: If it raises, is no number for each network, has no slope, mixes networks that are trained side by
            side, or charges for channels, layers and steps that are not there, or by the numbers of channels.
    """
    lattice = Lattice(window, [0, 1])
    lattice.recurrence = TORCH  # compiled code goes back once
    if window.standardize == "images":
        lattice.standardize_by(*images.statistics)
    lattice.standardize_pooled()
    pixels = images.shown(slice(0, _TRIED_ON)).to(lattice.readout_bias)
    cost_P = _asked(cost, lattice, pixels, "new networks")
    if not bool(torch.isfinite(cost_P).all()):
        raise CostError(f"cost {cost.name!r} must be finite, but is {_told(cost_P)} for new networks")
    if not cost_P.requires_grad and window.is_recurrent:  # over a single step there is no choice of steps to price
        raise CostError(
            f"cost {cost.name!r} has no gradient, so that no pressure can make it smaller: it is not made of the "
            "lattice's weights and the answer's tensors by differentiable operations, or it is detached from them"
        )
    slopes = _slopes(cost_P[0], lattice)
    _refuse_infinite(cost, slopes, "new networks")
    if any(bool(slope[1:].any()) for slope in slopes):
        raise CostError(
            f"cost {cost.name!r} mixes networks that are trained side by side: what the first one costs depends on the "
            "weights of the second. Sum over everything but the axis P"
        )
    wider_P, wider_slopes = _in_a_larger_window(cost, lattice, pixels)
    if not torch.allclose(wider_P, cost_P.detach(), rtol=_SAME, atol=_SAME * float(cost_P.detach().abs().max())):
        raise CostError(
            f"cost {cost.name!r} is of more than the network: the same two networks cost {_told(cost_P)}, and "
            f"{_told(wider_P)} with their channels in another order and in a window that is larger than they are. Take "
            "sums over channels, layers and steps, not means, weigh each step by how probable it is, and charge for no "
            "channel by its number"
        )
    _refuse_infinite(cost, wider_slopes, "networks with channels that are not there, whose weights are all 0")
    with torch.no_grad():  # a network that has lost all its channels
        _asked(cost, Lattice(window.resized((), window.steps), [0, 1]), pixels, "networks without a layer")


def _in_a_larger_window(cost: OwnCost, lattice: Lattice, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return what networks cost, renumbered, in a window with more than they use, and the slopes there."""
    window = lattice.window
    more = (*(c + 1 for c in window.channels), 1)
    larger = window.resized(more, window.steps + 1 if window.is_recurrent else window.steps)
    every = [torch.arange(c).flip(0) for c in window.channels]
    wide = assembled(larger, [Source(lattice, row, every) for row in range(lattice.population)])
    wide.recurrence = TORCH
    cost_P = _asked(cost, wide, pixels, "networks in a window that is larger than they are")
    return cost_P.detach(), _slopes(cost_P.sum(), wide)


def _slopes(of: Tensor, lattice: Lattice) -> list[Tensor]:
    if not of.requires_grad:
        return []
    found = torch.autograd.grad(of, list(lattice.parameters()), retain_graph=True, allow_unused=True)
    return [slope for slope in found if slope is not None]


def _asked(cost: OwnCost, lattice: Lattice, pixels: Tensor, of: str) -> Tensor:
    """Return what networks cost; what its function raises is said as it is of costs that cannot be used."""
    try:
        return cost(lattice, lattice(pixels))
    except CostError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(frame.filename)}, line {frame.lineno}"
        raise CostError(f"cost {cost.name!r} raised {type(error).__name__}: {error} for {of} ({where})") from error


def _refuse_infinite(cost: OwnCost, slopes: Sequence[Tensor], of: str) -> None:
    if not all(bool(torch.isfinite(slope).all()) for slope in slopes):
        raise CostError(
            f"cost {cost.name!r} has a gradient that is infinite or NaN for {of}; a root or a logarithm of 0 has one, "
            "and torch.linalg.vector_norm and clamp_min(1e-12) before it have none"
        )


def _parts(answer: LatticeAnswer) -> tuple[Tensor, Tensor, Tensor]:
    return answer.logits_TBPK, answer.step_dist_TBP, answer.features_TBPF


def _told(cost_P: Tensor) -> str:
    return " and ".join(f"{value:.6g}" for value in cost_P.detach().tolist())
