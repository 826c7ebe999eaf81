"""When to answer: the probability p(t|x) of stopping after exactly step t.

*fixed*: one learned distribution for all inputs. *adaptive*: a hazard per step read from how sure the readout is,
p(t|x) = hazard(t) · Π_{s<t} (1 − hazard(s)), where the last step of the window takes what is left
(as in PonderNet, arXiv 2107.05407; what the hazard reads is this project's own definition).
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Bound of the hazard's logit: no step is ever certain, so that every step keeps a gradient.
HAZARD_BOUND = 3.0

#: Level of the cumulated probability at which a hard early exit stops.
EXIT_LEVEL = 0.5


def fixed_step_dist(step_logits_TP: Tensor, is_outside_TP: Tensor) -> Tensor:
    """Return softmax over the steps inside each network's window, shape (T, P), exactly 0 outside."""
    return step_logits_TP.masked_fill(is_outside_TP, -torch.inf).softmax(dim=0)


def sureness(logits_TBPK: Tensor) -> Tensor:
    """Return the log-odds of the most likely class, shape (T, B, P); no gradient flows through it."""
    log_p_TBP = logits_TBPK.detach().log_softmax(-1).amax(-1).clamp_max(-1e-6)
    return log_p_TBP - torch.log(-torch.expm1(log_p_TBP))


def adaptive_step_dist(bias_P: Tensor, logits_TBPK: Tensor, sureness_weight_P: Tensor, is_last_TP: Tensor) -> Tensor:
    """Return p(t|x) from how sure the readout is at each step.

    The hazard sees nothing else: given the pooled activations too, it settles on one step for all images
    (docs/design.md, adaptive time).

    Args:
        bias_P: Learned hazard logit, before the bound, of a readout whose top class is as likely as all the rest.
        logits_TBPK: Readout of each step.
        sureness_weight_P: Learned weight of the readout's sureness.
        is_last_TP: True at the last step of each network's window, which takes what is left.

    Returns:
        Shape (T, B, P), sums to 1 over T; exactly 0 behind the last step.
    """
    raw_TBP = bias_P + sureness_weight_P * sureness(logits_TBPK)
    hazard_TBP = torch.sigmoid(HAZARD_BOUND * torch.tanh(raw_TBP / HAZARD_BOUND))
    hazard_TBP = torch.where(is_last_TP[:, None, :], 1.0, hazard_TBP)
    going_on_TBP = torch.cumprod(1 - hazard_TBP, dim=0)
    survival_TBP = torch.cat([torch.ones_like(going_on_TBP[:1]), going_on_TBP[:-1]])
    return hazard_TBP * survival_TBP


def entropy(step_dist_TBP: Tensor) -> Tensor:
    """Return the entropy of p(t|x) in nats, shape (B, P)."""
    return -(step_dist_TBP * step_dist_TBP.clamp_min(1e-30).log()).sum(0)


def early_exit(step_dist_TBP: Tensor, level: float = EXIT_LEVEL) -> Tensor:
    """Return the step, from 1, at which the cumulated probability first reaches `level`; shape (B, P)."""
    # Rounding may leave the full sum a hair below 1; the last step always stops.
    has_stopped_TBP = step_dist_TBP.cumsum(0) >= level
    has_stopped_TBP[-1] = True
    return has_stopped_TBP.int().argmax(0) + 1
