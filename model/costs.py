"""Differentiable costs of breadth, depth and time, and the proximal step that makes weights exactly zero.

The group g[l,c] of a channel is the L2 norm over all weights that touch it: bottom-up, lateral and top-down,
incoming and outgoing, and its readout. Counting the incoming weights alone would let a
network shrink those and grow the outgoing ones: the cost would fall and nothing be saved. A bias is not a
connection: it is outside the norm, but shrinks and dies with its channel.

    breadth = Σ_l Σ_k k · g(k)[l]     g(1)[l] ≥ g(2)[l] ≥ … are the groups of layer l, sorted
    depth   = Σ_l l · Σ_c g[l,c]
    time    = mean over inputs of Σ_t t · p(t|x)
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.lattice import Answer, Lattice


def group_norms(lattice: Lattice) -> list[Tensor]:
    """Return g[l,c] of every layer, each of shape (P, C_l).

    Differentiable; the gradient at a dead channel (norm 0) is 0, the subgradient of least norm.
    """
    squares: list[Tensor] = []
    is_recurrent = lattice.window.is_recurrent
    for l in range(lattice.window.layers):
        total_PC = torch.zeros_like(lattice.bias[l])
        if is_recurrent:
            lateral_PCC = _kernel_squares(lattice.lateral[l])
            itself_PC = lateral_PCC.diagonal(dim1=1, dim2=2)  # a channel's weight on itself counts once
            total_PC = total_PC + (lateral_PCC.sum(1) + lateral_PCC.sum(2) - itself_PC)
        total_PC = total_PC + _kernel_squares(lattice.bottom_up[l]).sum(2)
        total_PC = total_PC + lattice.readout[l].square().sum(1)
        if is_recurrent and l > 0:
            total_PC = total_PC + _kernel_squares(lattice.top_down[l - 1]).sum(1)
        if l + 1 < lattice.window.layers:
            total_PC = total_PC + _kernel_squares(lattice.bottom_up[l + 1]).sum(1)
        if is_recurrent and l + 1 < lattice.window.layers:
            total_PC = total_PC + _kernel_squares(lattice.top_down[l]).sum(2)
        squares.append(total_PC)
    return [_sqrt_safe(s) for s in squares]


def _kernel_squares(weight: Tensor) -> Tensor:
    """Sum the squares over the kernel: (P, O, I, k, k) to (P, O, I)."""
    return weight.square().sum(dim=(-2, -1))


def _sqrt_safe(square: Tensor) -> Tensor:
    is_zero = square == 0
    return torch.where(is_zero, 0.0, torch.where(is_zero, 1.0, square).sqrt())


def space_costs(lattice: Lattice) -> tuple[Tensor, Tensor]:
    """Return what the channels and layers of each network cost; without a layer, 0.

    Returns:
        Breadth Σ_l Σ_k k · g(k)[l] and depth Σ_l l · Σ_c g[l,c], layers numbered from 1; each of shape (P,).
    """
    groups = group_norms(lattice)
    if not groups:
        nothing_P = torch.zeros_like(lattice.readout_bias[:, 0])
        return nothing_P, nothing_P
    breadth = [group_PC.sort(dim=1, descending=True).values @ _count(group_PC) for group_PC in groups]
    depth = [layer * group_PC.sum(1) for layer, group_PC in enumerate(groups, start=1)]
    return torch.stack(breadth).sum(0), torch.stack(depth).sum(0)


def time_cost(answer: Answer) -> Tensor:
    """Return the mean over inputs of Σ_t t · p(t|x), in steps; shape (P,)."""
    return answer.expected_steps_BP.mean(0)


def _count(group_PC: Tensor) -> Tensor:
    return torch.arange(1, group_PC.shape[1] + 1, device=group_PC.device, dtype=group_PC.dtype)


@torch.no_grad()
def proximal_step(
    lattice: Lattice, breadth_pressure_P: Tensor, depth_pressure_P: Tensor, learning_rate: float
) -> list[Tensor]:
    """Shrink every channel's weights towards zero, in place, down to exactly zero.

    Each weight of channel c is scaled by max(0, 1 − lr · (λ_breadth · k + λ_depth · l) / g[l,c]), where k is the
    channel's rank in its layer and l its layer, decoupled from the gradient as AdamW's weight decay is.

    This is a group-wise shrinkage in the manner of a proximal step, not the proximal operator of the two costs:
    the groups overlap, so that a weight between two channels is shrunk by both; and the weaker channels of a layer
    are the dearer ones, so that the breadth cost is not convex. The ranks are held fixed within a step.

    Args:
        lattice: Changed in place.
        breadth_pressure_P, depth_pressure_P: Pressures of each network, shape (P,).
        learning_rate: The step size of the optimizer step just made.

    Returns:
        By layer, shape (P, C_l): True where the channel is dead.
    """
    groups = group_norms(lattice)
    scales: list[Tensor] = []
    for layer, group_PC in enumerate(groups, start=1):
        rank_PC = group_PC.argsort(dim=1, descending=True, stable=True).argsort(dim=1) + 1
        threshold_PC = learning_rate * (breadth_pressure_P[:, None] * rank_PC + depth_pressure_P[:, None] * layer)
        # A dead channel (g = 0) stays dead; the clamp only avoids 0/0.
        scale_PC = (1 - threshold_PC / group_PC.clamp_min(1e-30)).clamp_min(0)
        scales.append(torch.where(group_PC > 0, scale_PC, 0.0))
    scale_channels(lattice, scales)
    return [scale_PC == 0 for scale_PC in scales]


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

    def pair(weight: Tensor, factor: Tensor) -> None:
        pairs.append((weight, factor.reshape(*factor.shape, *([1] * (weight.dim() - factor.dim())))))

    for l, scale_PC in enumerate(scales):
        both_PCC = scale_PC[:, :, None] * scale_PC[:, None, :]
        both_PCC.diagonal(dim1=1, dim2=2).copy_(scale_PC)  # a channel's weight on itself has one end
        if lattice.window.is_recurrent:
            pair(lattice.lateral[l], both_PCC)
        # The image's channels are not the network's to scale.
        below = scales[l - 1][:, None, :] if l else 1.0
        pair(lattice.bottom_up[l], scale_PC[:, :, None] * below)
        if lattice.window.is_recurrent and l + 1 < len(scales):
            pair(lattice.top_down[l], scale_PC[:, :, None] * scales[l + 1][:, None, :])
        pair(lattice.readout[l], scale_PC[:, None, :])
        pair(lattice.bias[l], scale_PC)
    return pairs
