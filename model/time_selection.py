"""When to answer: the probability p(t|x) of stopping after exactly step t.

*fixed*: one learned distribution for all inputs. *adaptive*: a hazard per step,
p(t|x) = hazard(t) · Π_{s<t} (1 − hazard(s)), where the last step of the window takes what is left (as in PonderNet,
arXiv 2107.05407). Its hazard reads from the state how sure the answer is, hazard(t) = sigmoid(b + w · sureness(z[t]))
with a bounded logit, and nothing else: what else it might read lets it collapse to one step
(`benchmarks/adaptive_time.py`). This is the project's own definition.

`entry` says how far each step is open. A step with entry 0 is not there, one with entry 1 is a step of its own; in
between, it takes that share of what it would take, and the step before keeps the rest.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Bound of the hazard's logit: no step is ever certain, so that every step keeps a gradient. Without it some squeezed
#: networks stop at their first step before they have learned anything.
HAZARD_BOUND = 3.0

#: Level of the cumulated probability at which a hard early exit stops.
EXIT_LEVEL = 0.5


def fixed_step_dist(step_logits_TP: Tensor, entry_TP: Tensor) -> Tensor:
    """Return the distribution in proportion to entry · exp(logit), shape (T, P), exactly 0 where entry is 0."""
    return (step_logits_TP + entry_TP.log()).softmax(dim=0)


def sureness(logits_TBPK: Tensor) -> Tensor:
    """Return the log-odds of the most likely class, shape (T, B, P); no gradient flows through it."""
    log_p_TBP = logits_TBPK.detach().log_softmax(-1).amax(-1).clamp_max(-1e-6)
    return log_p_TBP - torch.log(-torch.expm1(log_p_TBP))


def adaptive_step_dist(logits_TBPK: Tensor, bias_P: Tensor, weight_P: Tensor, entry_TP: Tensor) -> Tensor:
    """Return p(t|x) from how sure the readout is at each step.

    Args:
        logits_TBPK: Readout of each step.
        bias_P, weight_P: Hazard's logit is bias + weight · sureness, before its bound.
        entry_TP: How far each step is open, 0 to 1, falling over T; the first step is always open.

    Returns:
        Shape (T, B, P), sums to 1 over T; exactly 0 where entry is 0.
    """
    logit_TBP = bias_P + weight_P * sureness(logits_TBPK)
    going_on_TBP = torch.sigmoid(-HAZARD_BOUND * torch.tanh(logit_TBP / HAZARD_BOUND))
    # Who goes on needs a step to go to: the window's last step takes what is left.
    next_entry_TP = torch.cat([entry_TP[1:], torch.zeros_like(entry_TP[:1])])
    going_on_TBP = going_on_TBP * next_entry_TP[:, None, :]
    survival_TBP = torch.cat([torch.ones_like(going_on_TBP[:1]), torch.cumprod(going_on_TBP, dim=0)])
    return survival_TBP[:-1] - survival_TBP[1:]


def early_exit(step_dist_TBP: Tensor, level: float = EXIT_LEVEL) -> Tensor:
    """Return the step, from 1, at which the cumulated probability first reaches `level`; shape (B, P)."""
    # Rounding may leave the full sum a hair below 1; the last step always stops.
    has_stopped_TBP = step_dist_TBP.cumsum(0) >= level
    has_stopped_TBP[-1] = True
    return has_stopped_TBP.int().argmax(0) + 1
