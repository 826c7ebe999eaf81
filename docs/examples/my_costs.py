"""Three costs of your own: wiring length, energy, and the distance of a network's steps from early stopping."""

import math

import torch
from torch import Tensor

from sweeper.model import Lattice, LatticeAnswer


def wiring(lattice: Lattice, answer: LatticeAnswer) -> Tensor:
    """Return the length of all wires: each weight's size times the distance that it spans, in pixels of its layer.

    Neighbouring layers are one pixel apart, and so are a layer and the answer.
    """
    half = lattice.window.kernel // 2
    away = torch.arange(-half, half + 1, device=lattice.readout_bias.device).square()
    beside = away[:, None] + away[None, :]  # squared distance of each weight of a kernel from its centre
    length = 0
    for one in lattice.connections():
        if one.name == "bias":
            continue
        is_kernel = one.weight.dim() == 5  # (P, channels to, channels of, height, width)
        distance = (beside + (one.name != "lateral")).sqrt() if is_kernel else 1.0
        length = length + (one.weight.abs() * distance).flatten(1).sum(1)
    return length


def energy(lattice: Lattice, answer: LatticeAnswer) -> Tensor:
    """Return the activity of all channels, summed over the steps taken: the energy of neurons for an image."""
    stops_before = answer.step_dist_TBP.cumsum(0) - answer.step_dist_TBP
    is_taken = (1 - stops_before).clamp(0, 1)  # (T, B, P): the probability that a step is computed at all
    return (is_taken[..., None] * answer.features_TBPF).sum((0, 3)).mean(0)


def habit(lattice: Lattice, answer: LatticeAnswer, stops: float = 0.4) -> Tensor:
    """Return the divergence of each image's steps from a geometric distribution, in nats, as in PonderNet.

    KL(p(t|x) || stops · (1 − stops)^(t − 1)): the prior has no last step, so that a larger window changes nothing.
    """
    taken = answer.step_dist_TBP
    steps = torch.arange(len(taken), device=taken.device)
    prior = math.log(stops) + steps * math.log(1 - stops)  # log, (T,)
    return (taken * (answer.log_step_dist_TBP - prior[:, None, None])).sum(0).mean(0)
