"""Runs a network step by step, and computes no further steps for an image that has halted.

This is the definition of `model.lattice`, one step at a time. `Lattice.forward` computes every step of the window for
every image, which training needs. This module computes only the steps that the answers need, so that an image costs
what `counting.count_macs` says for its steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sweeper.model.lattice import Lattice
from sweeper.model.time_selection import HALT_LEVEL, fixed_step_dist, going_on


@dataclass(frozen=True)
class HaltedAnswer:
    """Answer of a network to a batch in which each image halts by the network's own rule.

    Attributes:
        log_probs: Log-probabilities of the readout at the step at which the image halted; shape (B, K).
        steps: That step, from 1; shape (B,), integers.
    """

    log_probs: Tensor
    steps: Tensor


@torch.no_grad()
def halted(lattice: Lattice, images: Tensor) -> HaltedAnswer:
    """Answer a batch of images, each as soon as it halts.

    Args:
        lattice: A population of one.
        images: Shape (B, C, H, W), of the window's size and the weights' type.
    """
    recurrence = _Recurrence(lattice, images)
    has_halted = _halting_rule(lattice)
    left_B = torch.arange(len(images), device=images.device)  # indices of the images that go on
    log_probs_BK = images.new_zeros(len(images), lattice.window.classes)
    steps_B = torch.zeros_like(left_B)
    readout_KF = torch.cat([*(weight[0] for weight in lattice.readout), images.new_zeros(lattice.window.classes, 0)], 1)
    step = 0
    while len(left_B):
        step += 1
        features_BF = recurrence.next_features()
        logits_BK = F.linear(features_BF, readout_KF, lattice.readout_bias[0])
        halts_B = has_halted(features_BF, logits_BK, step)
        log_probs_BK[left_B[halts_B]] = logits_BK[halts_B].log_softmax(-1)
        steps_B[left_B[halts_B]] = step
        recurrence.keep(~halts_B)
        left_B = left_B[~halts_B]
    return HaltedAnswer(log_probs_BK, steps_B)


def _halting_rule(lattice: Lattice) -> Callable[[Tensor, Tensor, int], Tensor]:
    """Return a function of pooled activations (B, F), readout (B, K) and step that says which images halt.

    The function must be called for the steps in order.
    """
    if not lattice.window.is_recurrent:
        return lambda _, logits_BK, step: torch.ones_like(logits_BK[:, 0], dtype=torch.bool)
    if not lattice.is_adaptive:
        halts_T = fixed_step_dist(lattice.step_logits.T, lattice.entry.T)[:, 0].cumsum(0) >= HALT_LEVEL
        halts_T[int(lattice.last_step) - 1] = True  # rounding may leave the full sum slightly below 1
        return lambda _, logits_BK, step: halts_T[step - 1].expand(len(logits_BK))
    # No image goes on from the last step.
    next_entry_T = torch.cat([lattice.entry[0, 1:], torch.zeros_like(lattice.entry[0, :1])])
    survival_B = torch.ones_like(lattice.hazard_bias)

    def has_halted(features_BF: Tensor, logits_BK: Tensor, step: int) -> Tensor:
        nonlocal survival_B
        hazard_logit_B = lattice.hazard_logit(features_BF[:, None], logits_BK[:, None])[:, 0]
        survival_B = survival_B * going_on(hazard_logit_B) * next_entry_T[step - 1]
        halts_B = 1 - survival_B >= HALT_LEVEL
        survival_B = survival_B[~halts_B]
        return halts_B

    return has_halted


class _Recurrence:
    """The states of one network's layers for the images that have not halted.

    Args:
        lattice: A population of one.
        images: Shape (B, C, H, W).
    """

    def __init__(self, lattice: Lattice, images: Tensor) -> None:
        self.lattice, self.window = lattice, lattice.window
        self.states: list[Tensor] = []
        self.nothing = images.new_zeros(len(images), 0)
        if self.window.layers:
            self.image_drive = self._up(lattice.standardized(images[:, None])[:, 0], 0)

    def next_features(self) -> Tensor:
        """Compute the next step, and return the pooled activations of all layers, shape (B, F)."""
        before, self.states = self.states, []
        for l in range(self.window.layers):
            drive = self._bottom_up_input(before, l)
            if before and self.window.has_recurrent_weights:
                drive = drive + self._convolved(before[l], self.lattice.lateral[l])
            if before and self.window.has_recurrent_weights and l + 1 < self.window.layers:
                down = self._convolved(before[l + 1], self.lattice.top_down[l])
                drive = drive + F.interpolate(down, size=drive.shape[-2:], mode="nearest")
            self.states.append(drive.relu())
        return torch.cat([*(state.mean((-2, -1)) for state in self.states), self.nothing], 1)

    def _bottom_up_input(self, before: list[Tensor], l: int) -> Tensor:
        """Return the bottom-up input of layer l with its bias; `before` holds the states of the previous step."""
        if l == 0:
            return self.image_drive
        if not self.window.up_delay:
            return self._up(self.states[l - 1], l)
        if before:
            return self._up(before[l - 1], l)
        bias_1C11 = self.lattice.bias[l][:1, :, None, None]  # h[l,0] = 0: nothing has come up yet
        drive: Tensor = bias_1C11.expand(len(self.nothing), -1, *self.window.side(l + 1))
        return drive

    def keep(self, is_left_B: Tensor) -> None:
        """Keep only some of the images."""
        self.states = [state[is_left_B] for state in self.states]
        self.nothing = self.nothing[is_left_B]
        if self.window.layers:
            self.image_drive = self.image_drive[is_left_B]

    def _up(self, below: Tensor, l: int) -> Tensor:
        bottom_up, bias = self.lattice.bottom_up[l][0], self.lattice.bias[l][0]
        stride = 2 if l + 1 in self.window.halve else 1
        return F.conv2d(below, bottom_up, bias, stride=stride, padding=self.window.kernel // 2)

    def _convolved(self, state: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(state, weight[0], padding=self.window.kernel // 2)
