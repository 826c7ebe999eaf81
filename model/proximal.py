"""The proximal step: after each step of the optimizer it shrinks weights by their pressures, down to exactly zero.

Adam moves a weight by lr · m / d with d = √v̂ + ε, so that lr / d is the weight's own step size. The proximal step uses
the same metric: each channel's group w of weights becomes

    argmin over w' of  ½ Σ_i d_i (w'_i − w_i)² + τ ‖w'‖,   τ = lr · (λ_breadth · k + λ_depth · l)

with the channel's rank k in its layer and its layer l, as in `costs.Prices`. The minimum is exactly zero if
‖d·w‖ ≤ τ, and otherwise w_i · d_i / (d_i + τ / n), where the new norm n solves Σ_i (d_i w_i / (d_i n + τ))² = 1 (Yun,
Lozano, Yang 2021, arXiv 2007.06173, for adaptive metrics). So a pressure is weighed against the loss itself, as λ_time
is, and not against the optimizer's steps.

This is not the proximal operator of both costs together. Groups overlap, so that a weight between two channels is
shrunk by both. And the weaker channels of a layer have the higher prices, so that the breadth cost is not convex. Ranks
are held fixed within a step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sweeper.model.adam import BETAS, EPS, Adam
from sweeper.model.costs import Prices, group_norms, scale_channels
from sweeper.model.lattice import Lattice, Projection

#: Number of Newton's steps for the new norms. Four reach rounding error if the metric varies little within a group;
#: eight are needed if it spans several powers of ten.
NEWTON_STEPS = 8

_TINY = 1e-30


@torch.no_grad()
def proximal_step(
    lattice: Lattice, breadth_pressure_P: Tensor, depth_pressure_P: Tensor, optimizer: Adam
) -> list[Tensor]:
    """Shrink every channel's weights, in place.

    Args:
        lattice: Changed in place.
        breadth_pressure_P, depth_pressure_P: Pressures of each network, shape (P,).
        optimizer: The optimizer, right after its step.

    Returns:
        By layer, shape (P, C_l): True where the channel is dead.
    """
    metric = {(c.name, c.layer): _metric(c.weight, optimizer) for c in lattice.connections() if c.name != "bias"}
    learning_rate = optimizer.learning_rate
    dead: list[Tensor] = []
    pulls: list[Tensor] = []  # by layer, τ / n of each channel
    shrunk: list[Tensor] = []  # by layer, n / ‖w‖
    for l, group_PC in enumerate(group_norms(lattice)):
        threshold_PC = learning_rate * Prices.of(group_PC, l + 1).under(breadth_pressure_P, depth_pressure_P)
        d_PCN, dw_PCN = _group(lattice, l, metric)
        dead.append((dw_PCN.norm(dim=2) <= threshold_PC) | (group_PC == 0))
        norm_PC = _new_norm(d_PCN, dw_PCN, threshold_PC, group_PC)
        pulls.append(threshold_PC / norm_PC)
        shrunk.append(norm_PC / group_PC.clamp_min(_TINY))
    for connection in lattice.connections():
        if connection.name == "bias":
            connection.weight.mul_(shrunk[connection.layer])
        else:
            _shrink(connection, metric[connection.name, connection.layer], pulls)
    scale_channels(lattice, [(~d).to(lattice.readout_bias) for d in dead])
    return dead


def _metric(weight: Tensor, optimizer: Adam) -> Tensor:
    """Return d = √v̂ + ε of a weight."""
    state = optimizer.state[weight]
    correction = 1 - BETAS[1] ** float(state["step"])
    d: Tensor = (state["exp_avg_sq"] / correction).sqrt_().add_(EPS)
    return d


def _group(lattice: Lattice, l: int, metric: dict[tuple[str, int], Tensor]) -> tuple[Tensor, Tensor]:
    """Return d and d·w of all weights that touch a layer's channels, each (P, C_l, N)."""
    ds: list[Tensor] = []
    dws: list[Tensor] = []
    for connection in lattice.connections():
        if connection.name == "bias" or l not in (connection.to, connection.of):
            continue
        d, w = metric[connection.name, connection.layer], connection.weight
        if connection.to == l:
            ds.append(d.flatten(2))
            dws.append((d * w).flatten(2))
        if connection.of == l:
            dw = d * w
            if connection.to == l:  # a channel's weight on itself counts once
                dw.diagonal(dim1=1, dim2=2).zero_()
            ds.append(d.transpose(1, 2).flatten(2))
            dws.append(dw.transpose(1, 2).flatten(2))
    return torch.cat(ds, 2), torch.cat(dws, 2)


def _new_norm(d_PCN: Tensor, dw_PCN: Tensor, threshold_PC: Tensor, start_PC: Tensor) -> Tensor:
    """Return n, the root of Σ (d·w / (d·n + τ))² = 1 if there is one, and a positive number otherwise.

    Newton's method is applied to 1/√Σ, which is linear in n if all d are equal, and starts at the former norm.
    """
    norm_PC = start_PC
    for _ in range(NEWTON_STEPS):
        below_PCN = d_PCN * norm_PC[..., None] + (threshold_PC[..., None] + _TINY)
        ratio_PCN = (dw_PCN / below_PCN).square_()
        sum_PC = ratio_PCN.sum(2)
        slope_PC = (ratio_PCN * d_PCN / below_PCN).sum(2)
        step_PC = sum_PC * (sum_PC.sqrt() - 1) / slope_PC.clamp_min(_TINY)
        norm_PC = (norm_PC + step_PC).clamp_min(0).minimum(start_PC)
    return norm_PC.clamp_min(1e-8)


def _shrink(connection: Projection, d: Tensor, pulls: list[Tensor]) -> None:
    """Scale a weight by d / (d + τ / n) of each channel it touches; a channel's weight on itself is scaled once."""
    extra = [1] * (d.dim() - 3)
    if connection.to is not None:
        connection.weight.mul_(d / (d + pulls[connection.to].reshape(*d.shape[:2], 1, *extra)))
    if connection.of is not None:
        factor = d / (d + pulls[connection.of].reshape(d.shape[0], 1, d.shape[2], *extra))
        if connection.to == connection.of:
            factor.diagonal(dim1=1, dim2=2).fill_(1)
        connection.weight.mul_(factor)
