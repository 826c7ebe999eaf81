"""When to answer: the probability p(t|x) of stopping after exactly step t.

*fixed* has one learned distribution for all inputs. The other rules have a hazard per step,
p(t|x) = hazard(t) · Π_{s<t} (1 − hazard(s)), where the last step of the window takes the rest (as in PonderNet, arXiv
2107.05407), with a bounded logit. *confidence* reads only how sure the answer is:
hazard(t) = sigmoid(b + w · sureness(z[t])). *state* reads the pooled activations of all layers, with gradients:
hazard(t) = sigmoid(b + Σ_l H[l] · pool(h[l,t])). In training it reads them standardised, by statistics that are folded
into b and H at the end, see `Lattice.standardize_pooled`. These definitions are the project's own.

A network is used with one rule: for each image it halts at the first step at which the cumulated probability reaches
`HALT_LEVEL`, the median of p(t|x), and answers with that step's readout. The reported `accuracy`, `time` and `macs`
describe a network used in this way.

`entry` says how far each step is open. A step with entry 0 is absent, and one with entry 1 is fully open. In between,
a step takes that share of its probability, and the step before keeps the rest.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

#: Bound of the hazard's logit: no step is ever certain, so that every step keeps a gradient. Without the bound some
#: networks under strong pressure stop at their first step before they have learned anything.
HAZARD_BOUND = 3.0

#: Least probability of going on to the next step under the bound.
LEAST_GOING_ON = 1 / (1 + math.exp(HAZARD_BOUND))

#: Cumulated probability at which an image halts: ½ halts at the median of its step distribution.
HALT_LEVEL = 0.5


def fixed_step_dist(step_logits_TP: Tensor, entry_TP: Tensor) -> Tensor:
    """Return the distribution in proportion to entry · exp(logit), shape (T, P), exactly 0 where entry is 0."""
    return (step_logits_TP + entry_TP.log()).softmax(dim=0)


def sureness(logits: Tensor) -> Tensor:
    """Return the log-odds of the most likely class, (…, P) from (…, P, K); no gradient flows through it."""
    log_p = logits.detach().log_softmax(-1).amax(-1).clamp_max(-1e-6)
    return log_p - torch.log(-torch.expm1(log_p))


def going_on(hazard_logit: Tensor) -> Tensor:
    """Return the probability 1 − hazard of going on to the next step, given the hazard's logit before its bound."""
    return torch.sigmoid(_bounded(hazard_logit))


def _bounded(hazard_logit: Tensor) -> Tensor:
    """Return the logit of going on: the negative of the hazard's bounded logit."""
    return -HAZARD_BOUND * torch.tanh(hazard_logit / HAZARD_BOUND)


def adaptive_step_dist(hazard_logit_TBP: Tensor, entry_TP: Tensor) -> Tensor:
    """Return p(t|x) from the hazard of each step.

    Args:
        hazard_logit_TBP: The hazard's logit, before its bound.
        entry_TP: How far each step is open, 0 to 1, not increasing over T; the first step is always open.

    Returns:
        Shape (T, B, P), sums to 1 over T; exactly 0 where entry is 0.
    """
    # An image can only go on to an open step; the window's last step takes the rest.
    next_entry_TP = torch.cat([entry_TP[1:], torch.zeros_like(entry_TP[:1])])
    # A sum of logs, since the backward pass of a product takes several times as long.
    survival_TBP = F.logsigmoid(_bounded(hazard_logit_TBP)).cumsum(0).exp() * next_entry_TP.cumprod(0)[:, None, :]
    survival_TBP = torch.cat([torch.ones_like(survival_TBP[:1]), survival_TBP])
    return survival_TBP[:-1] - survival_TBP[1:]


def halting_step(step_dist_TBP: Tensor, level: float = HALT_LEVEL) -> Tensor:
    """Return the step, from 1, at which the cumulated probability first reaches `level`; shape (B, P)."""
    # Rounding may leave the full sum slightly below 1; at the last step every image halts.
    has_halted_TBP = step_dist_TBP.cumsum(0) >= level
    has_halted_TBP[-1] = True
    return has_halted_TBP.int().argmax(0) + 1
