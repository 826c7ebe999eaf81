"""Differentiable costs of breadth, depth and time.

The group g[l,c] of a channel is the L2 norm over all weights that touch it: bottom-up, lateral and top-down,
incoming and outgoing, and its readout. Counting the incoming weights alone would let a network shrink those and
grow the outgoing ones: the cost would fall and nothing be saved. A bias is not a connection: it is outside the norm,
but shrinks and dies with its channel.

    breadth = Σ_l Σ_k k · g(k)[l]     g(1)[l] ≥ g(2)[l] ≥ … are the groups of layer l, sorted
    depth   = Σ_l l · Σ_c g[l,c]
    time    = mean over inputs of Σ_t t · p(t|x)

The solvers `backprop` and `proximal` put these costs on weights. The solver `elimination` counts channels instead: a
living channel costs as much as one of norm 1, and a removed channel costs nothing.

Only `Prices` says what a channel of norm 1 costs, k and l. The measurements and every solver use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sweeper.model.lattice import Lattice, LatticeAnswer


def group_norms(lattice: Lattice) -> list[Tensor]:
    """Return g[l,c] of every layer, each of shape (P, C_l).

    Differentiable; the gradient at a dead channel (norm 0) is 0, the subgradient of least norm.
    """
    squares = [torch.zeros_like(bias_PC) for bias_PC in lattice.bias]
    for connection in lattice.connections():
        if connection.name == "bias":
            continue
        square = _kernel_squares(connection.weight)
        if connection.to is not None:
            squares[connection.to] = squares[connection.to] + square.sum(2)
        if connection.of is not None:
            squares[connection.of] = squares[connection.of] + square.sum(1)
        if connection.to == connection.of:  # a channel's weight on itself counts once
            squares[connection.layer] = squares[connection.layer] - square.diagonal(dim1=1, dim2=2)
    return [_sqrt_safe(s) for s in squares]


def _kernel_squares(weight: Tensor) -> Tensor:
    """Sum the squares over the kernel, if there is one: (P, O, I, …) to (P, O, I)."""
    return weight.square().flatten(3).sum(-1) if weight.dim() > 3 else weight.square()


def _sqrt_safe(square: Tensor) -> Tensor:
    is_zero = square == 0
    return torch.where(is_zero, 0.0, torch.where(is_zero, 1.0, square).sqrt())


@dataclass(frozen=True)
class Prices:
    """Cost of a norm of 1 in each channel of a layer.

    Attributes:
        order_PC: For each network the channels' indices from the strongest down; among equals the lower index first.
        breadth_C: Breadth cost by place in that order: k, from 1.
        depth: Depth cost of every channel: l, layers numbered from 1.
    """

    order_PC: Tensor
    breadth_C: Tensor
    depth: int

    @classmethod
    def of(cls, group_PC: Tensor, layer: int) -> Prices:
        """Return the prices in a layer whose groups are given; layers are numbered from 1."""
        order_PC = group_PC.detach().argsort(dim=1, descending=True, stable=True)
        count = group_PC.shape[1]
        breadth_C = torch.arange(1, count + 1, device=group_PC.device, dtype=group_PC.dtype)
        return cls(order_PC, breadth_C, layer)

    def costs(self, group_PC: Tensor) -> tuple[Tensor, Tensor]:
        """Return the layer's breadth and depth cost, each of shape (P,); differentiable with the ranks held fixed."""
        return group_PC.gather(1, self.order_PC) @ self.breadth_C, self.depth * group_PC.sum(1)

    def under(self, breadth_pressure_P: Tensor, depth_pressure_P: Tensor) -> Tensor:
        """Return λ_breadth · k + λ_depth · l of each channel, shape (P, C): the slope of the costs in its norm."""
        order_PC = self.order_PC
        breadth_PC = self.breadth_C.new_empty(order_PC.shape).scatter_(1, order_PC, self.breadth_C.expand_as(order_PC))
        return breadth_pressure_P[:, None] * breadth_PC + depth_pressure_P[:, None] * self.depth


def space_costs(lattice: Lattice) -> tuple[Tensor, Tensor]:
    """Return the breadth and depth cost of each network; 0 for a network without layers.

    Returns:
        Breadth Σ_l Σ_k k · g(k)[l] and depth Σ_l l · Σ_c g[l,c], layers numbered from 1; each of shape (P,).
    """
    groups = group_norms(lattice)
    if not groups:
        nothing_P = torch.zeros_like(lattice.readout_bias[:, 0])
        return nothing_P, nothing_P
    costs = [Prices.of(group_PC, layer).costs(group_PC) for layer, group_PC in enumerate(groups, start=1)]
    breadth, depth = zip(*costs, strict=True)
    return torch.stack(breadth).sum(0), torch.stack(depth).sum(0)


def counted_costs(living: Sequence[Tensor], like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the costs of counted channels: each living channel costs as much as one of norm 1.

    Args:
        living: By layer, which channels live, bool, shape (P, C_l).
        like: Shape (P,); the costs get its type and device.

    Returns:
        Breadth Σ_l Σ_k k and depth Σ_l l · n_l over the n_l living channels of each layer; each of shape (P,).
    """
    breadth_P, depth_P = torch.zeros_like(like), torch.zeros_like(like)
    for layer, alive_PC in enumerate(living, start=1):
        presence_PC = alive_PC.to(like)
        costs = Prices.of(presence_PC, layer).costs(presence_PC)
        breadth_P, depth_P = breadth_P + costs[0], depth_P + costs[1]
    return breadth_P, depth_P


def time_cost(answer: LatticeAnswer) -> Tensor:
    """Return the mean over inputs of Σ_t t · p(t|x), in steps; shape (P,)."""
    return answer.expected_steps_BP.mean(0)


@torch.no_grad()
def scale_channels(lattice: Lattice, scales: list[Tensor]) -> None:
    """Multiply every weight by the scales of the channels it touches, in place.

    Args:
        lattice: Changed in place.
        scales: By layer, shape (P, C_l), non-negative; 0 removes the channel.
    """
    for weight, factor in touching(lattice, scales):
        weight.mul_(factor)


def touching(lattice: Lattice, scales: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Pair each weight of a channel with the product of the scales of its two ends, broadcastable to it."""
    pairs: list[tuple[Tensor, Tensor]] = []
    for connection in lattice.connections():
        # The image's channels and the classes have no scale.
        ends = (connection.to, connection.of)
        to, of = (torch.ones_like(scales[0][:, :1]) if end is None else scales[end] for end in ends)
        factor = to if connection.name == "bias" else to[:, :, None] * of[:, None, :]
        if connection.name == "lateral":  # a channel's weight on itself has one end
            factor.diagonal(dim1=1, dim2=2).copy_(to)
        kernel = [1] * (connection.weight.dim() - factor.dim())
        pairs.append((connection.weight, factor.reshape(*factor.shape, *kernel)))
    return pairs
