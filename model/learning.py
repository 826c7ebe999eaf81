"""The loss that a training step minimises for each network, and the gradients of its weights.

    loss = task + w · mean_t mean_x −log softmax(z[t])[y] + λ_time · mean_x Σ_t t · p(t|x)
    task = −mean_x log Σ_t p(t|x) · softmax(z[t])[y]

Here y is the right class and w the weight `step_loss`. If the hazard reads the state, the task's loss is
mean_x Σ_t p(t|x) · −log softmax(z[t])[y]. A user's own costs, if any, are added, see `model.own_costs`. The costs of
channels and layers are not part of this loss, see `model.shard`. The loss is written twice: for torch, and with its
backward pass in `native/head.c`, which saves some hundred calls of torch in each step. The tests compare the two.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sweeper.model import compiled
from sweeper.model.costs import time_cost
from sweeper.model.lattice import LEAST_POOLED_STD, Lattice, LatticeAnswer
from sweeper.model.native.library import Head, Library, address, addresses
from sweeper.model.recurrence import Geometry
from sweeper.model.time_selection import HAZARD_BOUND
from sweeper.model.window import CONFIDENCE, FIXED, STATE

#: Numbers of the time selection rules in `head.c`; a window of one step has no rule.
_ONE_STEP, _RULES = 0, {FIXED: 1, CONFIDENCE: 2, STATE: 3}


@dataclass(frozen=True)
class Learned:
    """Observations of each network in a training step.

    Attributes:
        loss_P: The minimised loss, in nats.
        steps_P: Expected steps, mean over the images.
        step_share_TP: Step distribution, mean over the images.
        features_TBPF: Pooled activations.
    """

    loss_P: Tensor
    steps_P: Tensor
    step_share_TP: Tensor
    features_TBPF: Tensor


def task_loss(lattice: Lattice, answer: LatticeAnswer, labels_BP: Tensor, step_loss: float) -> Tensor:
    """Return each network's loss without any cost, in nats; shape (P,)."""
    label_TBP1 = labels_BP[None, ..., None].expand(len(answer.logits_TBPK), -1, -1, -1)
    loss_TBP = -answer.logits_TBPK.log_softmax(-1).gather(3, label_TBP1)[..., 0]
    if lattice.window.reads_state:
        # The mixture's loss rewards steps that are right for few images so little that all images settle on one step.
        loss_P = (answer.step_dist_TBP * loss_TBP).sum(0).mean(0)
    else:
        loss_P = -torch.logsumexp(answer.log_step_dist_TBP - loss_TBP, dim=0).mean(0)
    if step_loss:
        loss_TP = loss_TBP.mean(1)
        # Absent steps have no weight in the mean.
        weight_TP = lattice.entry.T / lattice.entry.sum(1)
        loss_P = loss_P + step_loss * (loss_TP * weight_TP).sum(0)
    return loss_P


def learn(
    lattice: Lattice,
    images: Tensor,
    labels_BP: Tensor,
    step_loss: float,
    time_P: Tensor,
    own_price: Callable[[Lattice, LatticeAnswer], Tensor] | None = None,
) -> Learned:
    """Set the gradient of every weight of a lattice to that of its network's loss.

    Args:
        lattice: The population; the gradients of its weights are replaced.
        images: Shape (B, P, C, H, W), each network its own images.
        labels_BP: Classes of the images, integers.
        step_loss: Weight of the mean loss of every single step's own answer.
        time_P: λ_time of each network.
        own_price: Returns the price of a user's own costs for each network, (P,), differentiable. None for no such
            costs. With it torch computes readout, time selection and loss, because only torch can differentiate such a
            cost; the recurrence may still run in compiled code.

    Raises:
        MemoryError: If memory runs out.
        IndexError: If a label is none of the classes.
    """
    seen = lattice.seen(images)
    geometry = lattice.geometry
    if (
        own_price is None
        and geometry
        and (code := compiled.serving(lattice.recurrence, geometry, seen, lattice.weights))
    ):
        return _learn_compiled(code, lattice, geometry, seen, labels_BP, step_loss, time_P)
    answer = lattice.answer(seen)
    loss_P = task_loss(lattice, answer, labels_BP, step_loss) + time_P * time_cost(answer)
    if own_price is not None:
        loss_P = loss_P + own_price(lattice, answer)
    for parameter in lattice.parameters():
        parameter.grad = None
    # Networks share no weight, so each gets the gradients of its own loss.
    loss_P.sum().backward()  # type: ignore[no-untyped-call]
    steps_P, share_TP = time_cost(answer).detach(), answer.step_dist_TBP.detach().mean(1)
    return Learned(loss_P.detach(), steps_P, share_TP, answer.features_TBPF.detach())


@torch.no_grad()
def _learn_compiled(
    code: Library,
    lattice: Lattice,
    geometry: Geometry,
    images_BPCHW: Tensor,
    labels_BP: Tensor,
    step_loss: float,
    time_P: Tensor,
) -> Learned:
    """Do in compiled code what `learn` does."""
    weights, found = lattice.weights, list[Learned]()

    def slopes_of(features_TBPF: Tensor) -> Tensor:
        learned, slope_TBPF = _head(code, lattice, features_TBPF, labels_BP, step_loss, time_P)
        found.append(learned)
        return slope_TBPF

    slopes = compiled.learn(code, geometry, images_BPCHW, weights, lattice.room, slopes_of)
    for weight, slope in zip(weights.flat(), slopes, strict=True):
        weight.grad = slope
    return found[0]


def _head(
    code: Library,
    lattice: Lattice,
    features_TBPF: Tensor,
    labels_BP: Tensor,
    step_loss: float,
    time_P: Tensor,
) -> tuple[Learned, Tensor]:
    """Set the gradients of readout and time selection; return the observations, and the gradients of the features."""
    window, (T, B, P, _) = lattice.window, features_TBPF.shape
    rule = _RULES[window.time_selection] if window.is_recurrent else _ONE_STEP
    # This dict keeps every tensor alive until the compiled code has returned.
    read = {
        "features": features_TBPF,
        "labels": labels_BP.long(),
        "readout_bias": lattice.readout_bias,
        "entry": lattice.entry,
        "time_pressure": time_P,
    }
    learning = {"readout_bias_slopes": lattice.readout_bias}
    if window.is_adaptive:
        read["selection"] = learning["selection_slopes"] = lattice.hazard_bias
    elif window.is_recurrent:
        read["selection"] = learning["selection_slopes"] = lattice.step_logits
    if rule == _RULES[CONFIDENCE]:
        read["sureness"] = learning["sureness_slopes"] = lattice.hazard_sureness
    if lattice.pooled_mean is not None and lattice.pooled_var is not None:
        read |= {"pooled_mean": lattice.pooled_mean, "pooled_var": lattice.pooled_var}
    read = {name: tensor.detach().contiguous() for name, tensor in read.items()}
    written = {
        "loss": features_TBPF.new_empty(P),
        "expected_steps": features_TBPF.new_empty(P),
        "step_share": features_TBPF.new_empty(T, P),
        "feature_slopes": torch.empty_like(features_TBPF),
        **{name: _slope(weight) for name, weight in learning.items()},
    }
    by_layer = {"readout": list(lattice.readout), "hazard": list(lattice.hazard)}
    layers = {name: [weight.detach().contiguous() for weight in weights] for name, weights in by_layer.items()}
    layers |= {f"{name}_slopes": [_slope(weight) for weight in weights] for name, weights in by_layer.items()}
    given = Head(
        steps=T,
        batch=B,
        networks=P,
        classes=window.classes,
        layers=window.layers,
        rule=rule,
        step_loss=step_loss,
        hazard_bound=HAZARD_BOUND,
        least_pooled_std=LEAST_POOLED_STD,
        channels=(ctypes.c_int32 * window.layers)(*window.channels),
        **{name: address(tensor) for name, tensor in (read | written).items()},
        **{name: addresses(tensors) for name, tensors in layers.items()},
    )
    code.head(given)
    seen = Learned(written["loss"], written["expected_steps"], written["step_share"], features_TBPF)
    return seen, written["feature_slopes"]


def _slope(weight: Tensor) -> Tensor:
    """Allocate a weight's gradient, and return it."""
    weight.grad = torch.empty_like(weight, memory_format=torch.contiguous_format)
    return weight.grad
