"""A user's own costs, which networks pay for in addition to breadth, depth and time.

A cost is a function of a lattice and its answer to a batch, (lattice, answer) -> (P,), that returns the cost of each
network of the population. It is added to the loss, times its own pressure. Torch computes its gradients, also those
through the answer, while the recurrence stays in compiled code. A user's cost must obey the same rules as the built-in
costs, see `model.costs`: each network pays for itself alone, and absent channels, layers and steps cost nothing.
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

#: Number of images that a cost is tried on.
_TRIED_ON = 16

#: Relative difference below which two costs count as equal, since rounding alone may cause it.
_SAME = 1e-3


@dataclass(frozen=True)
class OwnCost:
    """A user's cost.

    Attributes:
        name: Name of the cost.
        function: Takes a lattice and its answer to a batch, and returns the cost of each network, shape (P,).
    """

    name: str
    function: Callable[[Lattice, LatticeAnswer], Tensor]

    def __call__(self, lattice: Lattice, answer: LatticeAnswer) -> Tensor:
        """Return the cost of each network, shape (P,).

        Raises:
            CostError: If the function returns anything else.
        """
        cost_P = self.function(lattice, answer)
        shape = (lattice.population,)
        if not lattice.window.layers and isinstance(cost_P, int | float):  # an empty sum over layers
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
    """Return the price of all costs for each network, in nats; shape (P,).

    Args:
        costs: C costs.
        pressure_CP: Pressure of each cost on each network. A cost that no network pays is not computed.
        lattice: The population.
        answer: Its answer to a batch.
    """
    price_P = torch.zeros_like(answer.step_dist_TBP[0, 0])
    for cost, pressure_P in zip(costs, pressure_CP, strict=True):
        if bool(pressure_P.any()):
            price_P = price_P + pressure_P * cost(lattice, answer)
    return price_P


def reads_channels(cost: OwnCost, window: Window) -> bool:
    """Tell whether a cost depends on weights or activations of channels, and not on steps alone.

    Such a cost is a reason to eliminate channels, as breadth and depth are. The test looks at what the cost is computed
    from, never at values, so that its result is the same whenever a training resumes.
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
    """Try a cost on two new networks, and refuse a cost that cannot be trained with.

    Args:
        cost: The cost.
        window: Window that networks begin with.
        images: Training images; a few of them are used.

    Raises:
        CostError: If the cost raises, returns no number for each network, has no gradient, mixes networks that are
            trained side by side, charges for absent channels, layers or steps, or depends on the order of channels.
    """
    lattice = Lattice(window, [0, 1])
    lattice.recurrence = TORCH  # compiled code runs backward only once
    if window.standardize == "images":
        lattice.standardize_by(*images.statistics)
    lattice.standardize_pooled()
    pixels = images.shown(slice(0, _TRIED_ON)).to(lattice.readout_bias)
    cost_P = _asked(cost, lattice, pixels, "new networks")
    if not bool(torch.isfinite(cost_P).all()):
        raise CostError(f"cost {cost.name!r} must be finite, but is {_told(cost_P)} for new networks")
    if not cost_P.requires_grad and window.is_recurrent:  # with a single step, a cost of steps is constant
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
    """Return costs and gradients of the networks with reordered channels, in a window larger than they need."""
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
    """Return the costs of networks; errors of the user's function become a `CostError`."""
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
