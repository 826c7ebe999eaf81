"""One plain loop that trains a population and hands each epoch's measurements to a callable."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from model.costs import proximal_step, space_costs, time_cost, touching
from model.counting import BACKPROP_DEAD_BELOW, cut, evaluate, living_channels, measure, remove_dead
from model.errors import CheckpointError
from model.lattice import Answer, Lattice, Window
from model.settings import Pressures, TrainingSettings
from model.tasks import Images, Task
from model.time_selection import entropy

#: At most so many points of a training curve are kept, however many epochs there are.
CURVE_POINTS = 50

#: Share of training after which the entropy bonus has faded to zero, and after which the learning rate falls.
ENTROPY_GONE = 0.8

STATE_FORMAT = 1


@dataclass(frozen=True)
class Epoch:
    """What is handed out after each epoch.

    Attributes:
        epoch: Epochs done, from 1.
        epochs: Epochs in all.
        values: By member: `loss`, `accuracy`, `time`, `channels` on the held-out images; empty where not finite.
        state: Returns all that is needed to go on from here; tensors, numbers and lists only.
    """

    epoch: int
    epochs: int
    values: Sequence[dict[str, float]]
    state: Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Trained:
    """One trained network.

    Attributes:
        network: What is left of it, cut; None if its weights or loss became infinite or NaN.
        measurement: Values by name, see `model.counting.measure`.
        channels_per_layer: Living channels of each living layer.
        curve: At most `CURVE_POINTS` mappings with `epoch` and the epoch's values.
        reason: Why there is no network.
        step_dist: Mean over the held-out images of p(t|x), from step 1.
    """

    network: Lattice | None
    measurement: dict[str, float]
    channels_per_layer: list[int]
    curve: list[dict[str, float]]
    reason: str = ""
    step_dist: list[float] = field(default_factory=list)


@dataclass
class _Progress:
    """Everything that changes while a population trains."""

    lattice: Lattice
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    lost_at: list[int | None] = field(default_factory=list)  # by member: epoch at which it stopped being finite
    curves: list[list[dict[str, float]]] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        return {
            "format": STATE_FORMAT,
            "epoch": self.epoch,
            "lattice": self.lattice.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "lost_at": list(self.lost_at),
            "curves": [list(curve) for curve in self.curves],
        }

    def restore(self, state: dict[str, Any]) -> None:
        if state.get("format") != STATE_FORMAT or len(state["lost_at"]) != self.lattice.population:
            raise CheckpointError(
                f"the training state has format {state.get('format')} and {len(state.get('lost_at', []))} members, "
                f"but format {STATE_FORMAT} and {self.lattice.population} members are needed. Train from the start."
            )
        try:
            self.lattice.load_state_dict(state["lattice"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(f"the training state is of another window: {str(error).splitlines()[0]}") from error
        self.epoch, self.lost_at, self.curves = state["epoch"], state["lost_at"], state["curves"]


def train(
    task: Task,
    window: Window,
    members: Sequence[Pressures],
    settings: TrainingSettings,
    *,
    report: Callable[[Epoch], None] = lambda _: None,
    state: dict[str, Any] | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> list[Trained]:
    """Train one network per member, side by side.

    Each trains as it would alone, up to rounding, which training amplifies: over six epochs of digits the weights
    differed from those trained alone by 4e-16 in float64, but by up to 2e-2 in float32 (`benchmarks/rounding.py`).

    Deterministic given the seeds and torch's thread count. Every random stream is derived from the member's seed
    and the epoch, so a state taken between two epochs holds the streams and the data order by its epoch number.

    Args:
        task: Images to learn and images held out.
        window: Shape of every lattice.
        members: Pressures and seed of each network.
        settings: Shared by all.
        report: Called after each epoch; what it raises ends the training.
        state: Where to go on, as handed to `report` before. None starts anew.
        device: Torch device.
        dtype: Type of weights and pixels.

    Returns:
        One result per member, in order.

    Raises:
        CheckpointError: If `state` belongs to another population.
    """
    lattice = Lattice(window, [member.seed for member in members]).to(device, dtype)
    optimizer = torch.optim.Adam(lattice.parameters(), lr=settings.learning_rate, fused=True)
    progress = _Progress(lattice, optimizer, 0, [None] * len(members), [[] for _ in members])
    if state is not None:
        progress.restore(state)
    train_images, test_images = task.train.to(device, dtype), task.test.to(device, dtype)
    loop = _Loop(progress, members, settings, train_images)
    keep_every = math.ceil(settings.epochs / CURVE_POINTS)
    while progress.epoch < settings.epochs:
        loop.run_epoch()
        progress.epoch += 1
        values = _values(progress, test_images)
        if progress.epoch % keep_every == 0 or progress.epoch == settings.epochs:
            for curve, value in zip(progress.curves, values, strict=True):
                curve.extend([{"epoch": progress.epoch, **value}] if value else [])
        report(Epoch(progress.epoch, settings.epochs, values, progress.state))
        if all(epoch is not None for epoch in progress.lost_at):
            break
    if settings.solver == "backprop":
        remove_dead(lattice, BACKPROP_DEAD_BELOW)
    return [_result(progress, member, test_images) for member in range(len(members))]


class _Loop:
    """The steps of one epoch, with what stays the same between them."""

    def __init__(
        self, progress: _Progress, members: Sequence[Pressures], settings: TrainingSettings, images: Images
    ) -> None:
        self.progress, self.members, self.settings, self.images = progress, members, settings, images
        reference = progress.lattice.readout_bias
        self.breadth_P, self.depth_P, self.time_P = (
            reference.new_tensor([getattr(member, axis) for member in members]) for axis in ("breadth", "depth", "time")
        )
        self.has_space_pressure = bool(torch.any(self.breadth_P > 0) | torch.any(self.depth_P > 0))
        self.batch_size = min(settings.batch_size, len(images))
        self.steps_per_epoch = len(images) // self.batch_size
        self.dead: list[Tensor] = []

    def run_epoch(self) -> None:
        progress, settings = self.progress, self.settings
        lattice, optimizer = progress.lattice, progress.optimizer
        order_NP = torch.stack([self._order(member.seed) for member in self.members], dim=1)
        order_NP = order_NP.to(self.images.labels.device)
        loss_sum_P = torch.zeros_like(self.time_P)
        for step in range(self.steps_per_epoch):
            done = (progress.epoch + step / self.steps_per_epoch) / settings.epochs
            learning_rate = settings.learning_rate * _rate(done)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            index_BP = order_NP[step * self.batch_size : (step + 1) * self.batch_size]
            answer = lattice(self.images.pixels[index_BP])
            loss_P = self._loss(answer, self.images.labels[index_BP], done)
            optimizer.zero_grad()
            loss_P.sum().backward()  # type: ignore[no-untyped-call]  # networks share no weight: each gets its own gradient
            optimizer.step()
            if self._is_proximal and self.has_space_pressure:
                self._bury(proximal_step(lattice, self.breadth_P, self.depth_P, learning_rate))
            loss_sum_P += loss_P.detach()
        if self._is_proximal:
            # Without a path from the image or to the answer a channel is dead too; see docs/design.md.
            self._bury([~alive_PC for alive_PC in remove_dead(lattice)])
        self._drop_not_finite(loss_sum_P)

    @property
    def _is_proximal(self) -> bool:
        return self.settings.solver == "proximal"

    def _order(self, seed: int) -> Tensor:
        """Return the data order of this epoch: a stream of its own for each seed and epoch."""
        stream = (seed * 1_000_003 + self.progress.epoch + 1) * 2 + 1
        return torch.randperm(len(self.images), generator=torch.Generator().manual_seed(stream))

    def _loss(self, answer: Answer, labels_BP: Tensor, done: float) -> Tensor:
        """Return each network's loss, shape (P,)."""
        settings = self.settings
        label_BP1 = labels_BP[..., None]
        loss_P = -answer.log_probs_BPK.gather(2, label_BP1)[..., 0].mean(0)
        if settings.step_loss:
            log_probs_TBPK = answer.logits_TBPK.log_softmax(-1)
            label_TBP1 = label_BP1.expand(len(log_probs_TBPK), -1, -1, -1)
            loss_P = loss_P - settings.step_loss * log_probs_TBPK.gather(3, label_TBP1)[..., 0].mean((0, 1))
        bonus = settings.entropy_bonus * max(0.0, 1 - done / ENTROPY_GONE)
        if bonus and self.progress.lattice.is_adaptive:
            loss_P = loss_P - bonus * entropy(answer.step_dist_TBP).mean(0)
        loss_P = loss_P + self.time_P * time_cost(answer)
        if not self._is_proximal and self.has_space_pressure:
            breadth_cost_P, depth_cost_P = space_costs(self.progress.lattice)
            loss_P = loss_P + self.breadth_P * breadth_cost_P + self.depth_P * depth_cost_P
        return loss_P

    @torch.no_grad()
    def _bury(self, dead: list[Tensor]) -> None:
        """Clear the optimizer's moments of channels that died: momentum must not bring one back to life."""
        is_news = [d & ~known for d, known in zip(dead, self.dead, strict=True)] if self.dead else dead
        self.dead = dead
        if not any(bool(died_PC.any()) for died_PC in is_news):
            return
        for parameter, keep in touching(self.progress.lattice, [(~d).to(self.time_P) for d in dead]):
            for moment in moments(self.progress.optimizer, parameter):
                moment.mul_(keep)

    def _drop_not_finite(self, loss_sum_P: Tensor) -> None:
        """Note which networks stopped being finite, and set them to zero: nothing else is disturbed."""
        lattice, optimizer = self.progress.lattice, self.progress.optimizer
        finite_P = torch.isfinite(loss_sum_P)
        for parameter in lattice.parameters():
            finite_P = finite_P & torch.isfinite(parameter.detach().view(len(finite_P), -1)).all(1)
        for member in (~finite_P).nonzero().flatten().tolist():
            if self.progress.lost_at[member] is None:
                self.progress.lost_at[member] = self.progress.epoch + 1
            for parameter in lattice.parameters():
                parameter.data[member] = 0
                for moment in moments(optimizer, parameter):
                    moment[member] = 0


def moments(optimizer: torch.optim.Optimizer, parameter: Tensor) -> list[Tensor]:
    """Return Adam's two moments of a parameter; none where it had no gradient yet."""
    state = optimizer.state.get(parameter, {})
    return [state[name] for name in ("exp_avg", "exp_avg_sq") if name in state]


def _rate(done: float) -> float:
    """Return the factor on the learning rate: constant, then falling linearly to a twentieth in the last fifth."""
    return 1.0 if done < ENTROPY_GONE else 1 - 0.95 * (done - ENTROPY_GONE) / (1 - ENTROPY_GONE)


@torch.no_grad()
def _values(progress: _Progress, images: Images) -> list[dict[str, float]]:
    """Measure the population as it is; cheap enough for every epoch."""
    seen = evaluate(progress.lattice, images)
    living = living_channels(progress.lattice)
    channels = sum((alive_PC.sum(1) for alive_PC in living), torch.zeros_like(progress.lattice.last_step))
    rows = zip(
        progress.lost_at,
        (-seen.log_likelihood.mean(0)).tolist(),
        seen.is_right.double().mean(0).tolist(),
        seen.expected_steps.mean(0).tolist(),
        channels.tolist(),
        strict=True,
    )
    return [
        {} if lost_at is not None else {"loss": loss, "accuracy": accuracy, "time": time, "channels": left}
        for lost_at, loss, accuracy, time, left in rows
    ]


def _result(progress: _Progress, member: int, images: Images) -> Trained:
    curve, lost_at = progress.curves[member], progress.lost_at[member]
    if lost_at is not None:
        reason = f"loss or weights became infinite or NaN in epoch {lost_at}; a lower learning_rate may help"
        return Trained(None, {}, [], curve, reason)
    network = cut(progress.lattice, member)
    measurement = measure(network, progress.lattice.window, images)
    step_dist = evaluate(network, images).step_dist.mean((0, 1)).tolist()
    return Trained(network, measurement, list(network.window.channels), curve, step_dist=step_dist)
