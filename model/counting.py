"""Cuts a trained network down to its living channels, and measures its costs.

Dead channels and unreachable ones (without a path from the image or to the answer) are cut away. Every figure is
measured on the cut network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from sweeper.model.costs import group_norms, scale_channels
from sweeper.model.images import Images
from sweeper.model.lattice import Lattice
from sweeper.model.resize import Source, assembled
from sweeper.model.time_selection import halting_step, sureness
from sweeper.model.window import Window

#: Group norm below which the `backprop` solver calls a channel dead: with plain gradients weights hover near zero and
#: never reach it. The proximal solver needs no threshold: its dead channels are exactly zero.
BACKPROP_DEAD_BELOW = 0.1


@torch.no_grad()
def living_channels(lattice: Lattice, dead_below: float = 0.0) -> list[Tensor]:
    """Tell which channels are alive and on a path from the image to the answer.

    A path must fit into the steps that the network may take. Bottom-up input takes no step, or one if the window says
    so; lateral and top-down input take one step each.

    Args:
        lattice: Any population.
        dead_below: A channel whose group norm is not above this is dead.

    Returns:
        By layer, bool, shape (P, C_l).
    """
    alive = [group_PC > dead_below for group_PC in group_norms(lattice)]
    if not alive:
        return []
    joins = _joins(lattice)
    sees_image = [torch.zeros_like(alive_PC) for alive_PC in alive]
    sees_image[0] = _any(lattice.bottom_up[0]).any(2)
    is_read = [(readout != 0).any(1) for readout in lattice.readout]
    first_steps = _least_steps(sees_image, alive, joins, 1)
    back = [_Join(j.source, j.target, j.steps, j.is_PTS.mT) for j in joins]
    steps_left = _least_steps(is_read, alive, back, 0)
    if lattice.window.reads_state:  # a channel that the hazard reads before the last step affects the answer too
        decides = _least_steps([(hazard != 0).any(1) for hazard in lattice.hazard], alive, back, 1)
        steps_left = [torch.minimum(a, b) for a, b in zip(steps_left, decides, strict=True)]
    last_P1 = lattice.last_step[:, None]
    return [first_PC + left_PC <= last_P1 for first_PC, left_PC in zip(first_steps, steps_left, strict=True)]


def _any(weight: Tensor) -> Tensor:
    return (weight != 0).any(-1).any(-1)


class _Join(NamedTuple):
    """Connections of one kind between two layers: which exist, (P, target, source), and their delay in steps."""

    target: int
    source: int
    steps: int
    is_PTS: Tensor


def _joins(lattice: Lattice) -> list[_Join]:
    layers, up_delay = range(lattice.window.layers), lattice.window.up_delay
    joins = [_Join(l, l - 1, up_delay, _any(lattice.bottom_up[l])) for l in layers[1:]]
    if lattice.window.has_recurrent_weights:
        joins += [_Join(l, l, 1, _any(lattice.lateral[l])) for l in layers]
        joins += [_Join(l, l + 1, 1, _any(lattice.top_down[l])) for l in layers[:-1]]
    return joins


def _least_steps(starts: list[Tensor], alive: list[Tensor], joins: list[_Join], first: int) -> list[Tensor]:
    """Return the length in steps of the shortest path from `starts` to each channel, through living channels only.

    Args:
        starts: By layer, bool, (P, C): where a path may begin.
        alive: By layer, bool, (P, C).
        joins: The connections that a path may follow.
        first: Length of a path at its start.

    Returns:
        By layer, (P, C); infinite for channels that no path reaches.
    """
    steps = [
        torch.where(start_PC & alive_PC, float(first), math.inf)
        for start_PC, alive_PC in zip(starts, alive, strict=True)
    ]
    while True:
        before = steps.copy()
        for join in joins:
            arrives_PT = torch.where(join.is_PTS, steps[join.source][:, None, :], math.inf).amin(2) + join.steps
            arrives_PT = torch.where(alive[join.target], arrives_PT, math.inf)
            steps[join.target] = torch.minimum(steps[join.target], arrives_PT)
        if all(torch.equal(a, b) for a, b in zip(steps, before, strict=True)):
            return steps


@torch.no_grad()
def remove_dead(lattice: Lattice, dead_below: float = 0.0) -> list[Tensor]:
    """Set every weight of dead and unreachable channels to exactly zero, in place.

    Returns:
        By layer, bool, shape (P, C_l): the channels that stay alive.
    """
    living = living_channels(lattice, dead_below)
    scale_channels(lattice, [alive_PC.to(lattice.readout_bias.dtype) for alive_PC in living])
    return living


@torch.no_grad()
def cut(lattice: Lattice, member: int = 0) -> Lattice:
    """Return the network of one member without its zero channels, layers and steps.

    Call `remove_dead` first: reachable channels that are not exactly zero are kept.

    Args:
        lattice: A population.
        member: Index of the network.

    Returns:
        A lattice with P = 1 that gives the same answers.
    """
    network = alone(lattice, member)
    network.fold_pooled()
    return network


@torch.no_grad()
def alone(lattice: Lattice, member: int) -> Lattice:
    """Return what `cut` returns, but a hazard that reads standardised activations in training still does so."""
    kept = [alive_PC[member].nonzero().flatten() for alive_PC in living_channels(lattice)]
    # Above a layer without living channels nothing is reachable, so the living layers are a prefix.
    kept = [k for k in kept if len(k)]
    window = lattice.window.resized(tuple(len(k) for k in kept), int(lattice.last_step[member]))
    return assembled(window, [Source(lattice, member, kept)])


def count_space(channels: Sequence[int]) -> dict[str, float]:
    """Return the breadth and depth of a network, and its number of channels.

    Breadth is the used extent of the window, as depth and time are. None of them falls when a channel, a layer or a
    step is added. (The mean over layers, for example, would fall when a thin layer is added on top.)

    Args:
        channels: Living channels of each living layer.
    """
    return {
        "breadth": float(max(channels, default=0)),
        "depth": float(len(channels)),  # no layer lives above a dead one: it would see no image
        "channels": float(sum(channels)),
    }


def count_parameters(lattice: Lattice) -> int:
    """Return the number of weights of one network of the population."""
    return sum(parameter[0].numel() for parameter in lattice.parameters())


def count_macs(window: Window, steps: float) -> float:
    """Return the multiply-accumulates per image of a network over this window that answers after `steps` steps.

    The count is that of an implementation that stops at that step. It computes the image's drive once; the readout, and
    a hazard that reads the state, at every step; lateral and top-down input, if there are such weights, from the second
    step on; bottom-up input at every step, or from the second on if it takes a step. Layers that the image has not
    reached yet, or whose state no longer changes, count too. Kernels count in full at the image's border. Pooling is
    not counted.
    """
    k2 = window.kernel**2
    once = readout = rising = recurrent = 0
    for layer, c in enumerate(window.channels, start=1):
        height, width = window.side(layer)
        pixels = height * width
        below = window.channels[layer - 2] if layer > 1 else window.image[0]
        bottom_up = k2 * c * below * pixels
        once, rising = (bottom_up, rising) if layer == 1 else (once, rising + bottom_up)
        if window.has_recurrent_weights:
            # Top-down input is convolved at the side of the layer above.
            recurrent += k2 * c * (c + (below if layer > 1 else 0)) * pixels
        readout += c * (window.classes + window.reads_state)
    return once + steps * readout + max(0.0, steps - window.up_delay) * rising + max(0.0, steps - 1) * recurrent


@dataclass(frozen=True)
class Evaluation:
    """The answers of a population to N images; every tensor has shape (N, P) except `step_dist`.

    Attributes:
        step: Step at which the network halts by its own rule, from 1; integers. The next four describe its readout.
        choice: Class of the answer.
        is_right: Whether the answer is the label.
        confidence: Probability of the answer.
        log_likelihood: Log-probability of the label.
        expected_steps: Σ_t t · p(t|x).
        sureness: Log-odds of the top class, averaged over all steps.
        mixture_log_likelihood, mixture_is_right: The same of the mixture Σ_t p(t|x) softmax(z[t]) of all steps.
        last_is_right: The same of the readout of the last step that the network may take.
        last_step_share: p(t|x) of that step.
        step_dist: p(t|x), shape (N, P, T).
    """

    step: Tensor
    choice: Tensor
    is_right: Tensor
    confidence: Tensor
    log_likelihood: Tensor
    expected_steps: Tensor
    sureness: Tensor
    mixture_log_likelihood: Tensor
    mixture_is_right: Tensor
    last_is_right: Tensor
    last_step_share: Tensor
    step_dist: Tensor


@torch.no_grad()
def evaluate(lattice: Lattice, images: Images, batch_size: int = 500) -> Evaluation:
    """Answer every image with every network of the population.

    Every step is computed, because the mixture and the last step are measured too. `halting.halted` gives the same
    answers at the same steps and computes only the steps that they need.

    Args:
        lattice: Any population.
        images: N images, the same for all networks.
        batch_size: Images at once; bounds the memory, not the result.
    """
    parts = [
        _evaluated(lattice, images.shown(slice(start, start + batch_size)), images.labels[start : start + batch_size])
        for start in range(0, len(images), batch_size)
    ]
    return Evaluation(**{
        field.name: torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Evaluation)
    })


def _evaluated(lattice: Lattice, pixels_BCHW: Tensor, labels_B: Tensor) -> Evaluation:
    answer = lattice(pixels_BCHW)
    dist_TBP, mixture_BPK = answer.step_dist_TBP, answer.log_probs_BPK
    labels_BP = labels_B[:, None].expand(dist_TBP.shape[1:])
    step_BP = halting_step(dist_TBP)
    last_BP = lattice.last_step.expand_as(step_BP)
    said_BPK = readout_at(answer.logits_TBPK, step_BP).log_softmax(-1)
    confidence_BP, choice_BP = said_BPK.max(-1)
    return Evaluation(
        step=step_BP,
        choice=choice_BP,
        is_right=choice_BP == labels_BP,
        confidence=confidence_BP.exp(),
        log_likelihood=said_BPK.gather(2, labels_BP[..., None])[..., 0],
        expected_steps=answer.expected_steps_BP,
        sureness=_mean_sureness(answer.logits_TBPK, lattice.entry),
        mixture_log_likelihood=mixture_BPK.gather(2, labels_BP[..., None])[..., 0],
        mixture_is_right=mixture_BPK.argmax(-1) == labels_BP,
        last_is_right=readout_at(answer.logits_TBPK, last_BP).argmax(-1) == labels_BP,
        last_step_share=dist_TBP.gather(0, last_BP[None] - 1)[0],
        step_dist=dist_TBP.permute(1, 2, 0),
    )


def _mean_sureness(logits_TBPK: Tensor, entry_PT: Tensor) -> Tensor:
    is_there_T1P = (entry_PT > 0).T[:, None].to(logits_TBPK)
    return (sureness(logits_TBPK) * is_there_T1P).sum(0) / is_there_T1P.sum(0)


def readout_at(logits_TBPK: Tensor, step_BP: Tensor) -> Tensor:
    """Return the readout at the step given for each image and network, numbered from 1; shape (B, P, K)."""
    index_1BPK = (step_BP - 1)[None, ..., None].expand(1, *logits_TBPK.shape[1:])
    return logits_TBPK.gather(0, index_1BPK)[0]


@torch.no_grad()
def measure(cut_network: Lattice, seen: Evaluation) -> dict[str, float]:
    """Return the measurements of one trained network on some images.

    Args:
        cut_network: What `cut` returned.
        seen: Its answers to held-out images.

    Returns:
        Values by name, in shares, nats, channels, layers, steps or counts. Names without a prefix describe the network
        as it is used: each image halts by the network's own rule.
    """
    left = cut_network.window
    time, expected_time = (float(steps.double().mean()) for steps in (seen.step, seen.expected_steps))
    values = {
        "accuracy": _share(seen.is_right),
        "loss": -float(seen.log_likelihood.mean()),
        **count_space(left.channels),
        "time": time,
        "time_p95": float(_reached_by(seen.step, 0.95)),
        "expected_time": expected_time,
        "mixture_accuracy": _share(seen.mixture_is_right),
        "mixture_loss": -float(seen.mixture_log_likelihood.mean()),
        "last_accuracy": _share(seen.last_is_right),
        "parameters": float(count_parameters(cut_network)),
        # The count is linear in the steps, so this is the mean over images.
        "macs": count_macs(left, time),
    }
    if cut_network.is_adaptive and (explained := steps_by_confidence(seen)) is not None:
        values["steps_by_confidence"] = explained
    return values


#: Expected steps that differ by less count as equal, since rounding alone may cause the difference.
SAME_STEPS = 1e-4


def steps_by_confidence(seen: Evaluation) -> float | None:
    """Return the share of one network's steps that its confidence explains, from 0 to 1.

    The value is the square of Spearman's rank correlation (1904, The American Journal of Psychology 15:72), over
    images, between the expected steps and the log-odds of the top class, averaged over all steps. It is 1 if ordering
    the images by answer time orders them by confidence.

    Args:
        seen: The answers of a population of one.

    Returns:
        The share; None if the steps, or the confidences, are equal for all images.
    """
    steps_N, sureness_N = seen.expected_steps[:, 0].double(), seen.sureness[:, 0].double()
    if not len(steps_N) or steps_N.max() - steps_N.min() < SAME_STEPS or sureness_N.max() == sureness_N.min():
        return None
    ranks_2N = torch.stack([_ranks(steps_N), _ranks(sureness_N)])
    return float(torch.corrcoef(ranks_2N)[0, 1].square())


def _ranks(values_N: Tensor) -> Tensor:
    """Return the ranks of values; equal values get their mean rank."""
    _, place_N, counts = torch.unique(values_N, return_inverse=True, return_counts=True)
    ranks_N: Tensor = (counts.cumsum(0) - (counts - 1) / 2)[place_N].to(values_N)
    return ranks_N


def _share(is_so: Tensor) -> float:
    return float(is_so.double().mean())


def _reached_by(values: Tensor, share: float) -> Tensor:
    """Return the smallest value that at least this share of the values does not exceed."""
    flat = values.flatten()
    return flat.kthvalue(max(1, math.ceil(share * len(flat)))).values
