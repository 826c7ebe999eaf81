"""A population of recurrent convolutional networks, each a finite window of an infinite lattice.

The lattice's axes are breadth (channels c = 1, 2, …), depth (layers l = 1, 2, …) and time (recurrent
steps t = 1, 2, …). Every network of the population obeys

    h[l,t] = relu( b[l] + U[l] * h[l-1,t] + W[l] * h[l,t-1] + D[l] * h[l+1,t-1] ),   h[0,t] = the image
    z[t]   = r0 + Σ_l R[l] · pool(h[l,t])

with 2-D convolutions `*`, h[l,0] = 0 for every layer and nothing above the deepest one. U is bottom-up and taken
within the step, so one step is already a full feed-forward sweep (the convention of Spoerer et al. 2020). W is
lateral. D is top-down, up-sampled if the layer above has a smaller image. With a single step nothing would flow
through W and D, and there would be no step to choose. So a lattice over a window of one step has neither W and D nor
weights for time selection. A window may also omit W and D over many steps (`feed_forward`).

A window may use the other convention, in which bottom-up input takes a step as lateral and top-down input do:

    h[l,t] = relu( b[l] + U[l] * h[l-1,t-1] + W[l] * h[l,t-1] + D[l] * h[l+1,t-1] ),   h[0,t] = the image, t = 0, 1, …

The image is present before the first step, so the first layer sees it at every step. The image reaches layer l at step
l. Until then the layer's state follows from zeros: h[l,1] = relu(b[l]) is the same for every image, and is read out and
passed on like any other state. A layer whose number exceeds the number of steps never sees the image. Without W and D
this is a feed-forward network with early exits: the state of layer l is constant from step l on.

Shape suffixes: P population, B batch, T time step, K class, C channels, H W space, F features (the channels of all
layers side by side). A layer's state is kept as (B, P·C, H, W), so that one grouped convolution serves all P networks.

Source of the idea: Butkus, Garzón Gupta, Kriegeskorte, arXiv 2605.25174. We knew its method from summaries only; the
equations are this project's own definition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sweeper.model import compiled
from sweeper.model.errors import WindowError
from sweeper.model.native.library import usable
from sweeper.model.recurrence import Geometry, Weights, unroll
from sweeper.model.time_selection import adaptive_step_dist, fixed_step_dist, sureness
from sweeper.model.window import Window

#: Least standard deviation that an image's pixels are divided by: an image below it is blank except for rounding.
LEAST_STD = 1e-3

#: Floor of the standard deviation of pooled activations, so that a nearly constant channel is not blown up.
LEAST_POOLED_STD = 1e-3


@dataclass(frozen=True)
class LatticeAnswer:
    """Answer of a lattice to a batch.

    Attributes:
        logits_TBPK: The instantaneous readout z[t] of each step.
        step_dist_TBP: Probability p(t|x) of answering after exactly step t; sums to 1 over T.
        features_TBPF: Pooled activations of all layers side by side, from which the answer is read.
    """

    logits_TBPK: Tensor
    step_dist_TBP: Tensor
    features_TBPF: Tensor

    @property
    def log_probs_BPK(self) -> Tensor:
        """Log of the mixture Σ_t p(t|x) softmax(z[t]), the network's answer."""
        return torch.logsumexp(self.log_step_dist_TBP[..., None] + self.logits_TBPK.log_softmax(-1), dim=0)

    @property
    def log_step_dist_TBP(self) -> Tensor:
        """Log of p(t|x), finite even for absent steps, so that their gradient is 0 and not 0/0."""
        return self.step_dist_TBP.clamp_min(1e-30).log()

    @property
    def expected_steps_BP(self) -> Tensor:
        """Σ_t t · p(t|x), in steps, between 1 and T."""
        steps_T = torch.arange(1, len(self.step_dist_TBP) + 1, device=self.step_dist_TBP.device)
        return torch.einsum("t,tbp->bp", steps_T.to(self.step_dist_TBP.dtype), self.step_dist_TBP)


@dataclass(frozen=True)
class Projection:
    """The weights between two layers, by channel: (P, channels of `to`, channels of `of`, …).

    Attributes:
        name: Name of the weights, such as `lateral`.
        layer: Number of the layer that holds them, from 0.
        weight: The weights themselves; a bias is (P, C) and has no source.
        to: Layer that the weights lead to; None for the answer.
        of: Layer that the weights come from; None for the image, and for a bias.
    """

    name: str
    layer: int
    weight: nn.Parameter
    to: int | None
    of: int | None


class Lattice(nn.Module):
    """P networks over one window, their weights side by side on a leading population axis.

    Network i computes and trains as it would alone; P = 1 is a single network.

    Args:
        window: The shape that all P networks share.
        seeds: One seed per network; the initial weights of network i depend on `seeds[i]` only.
    """

    def __init__(self, window: Window, seeds: Sequence[int]) -> None:
        super().__init__()
        if not seeds:
            raise WindowError("a population needs at least one network, but got no seeds")
        self.window = window
        self.population = len(seeds)
        #: Preferred implementation of the recurrence: `torch`, or the instruction set of compiled code, such as `avx2`.
        self.recurrence = usable()[0]
        self.room = compiled.Room()
        drawn = [_initial_weights(window, seed) for seed in seeds]

        def stacked(name: str) -> nn.ParameterList:
            return nn.ParameterList(
                nn.Parameter(torch.stack(per_layer))
                for per_layer in zip(*(weights[name] for weights in drawn), strict=True)
            )

        self.bottom_up = stacked("bottom_up")  # U[l]: (P, C_l, C_{l-1}, k, k)
        self.lateral = stacked("lateral")  # W[l]: (P, C_l, C_l, k, k), empty over one step, or feed-forward
        self.top_down = stacked("top_down")  # D[l]: (P, C_l, C_{l+1}, k, k), empty as W; none for the deepest layer
        self.bias = stacked("bias")  # b[l]: (P, C_l)
        self.readout = stacked("readout")  # R[l]: (P, K, C_l)
        P, T = self.population, window.steps
        # H[l]: (P, 1, C_l), how the hazard reads each layer; empty unless it does.
        self.hazard = nn.ParameterList(
            nn.Parameter(torch.zeros(P, 1, c)) for c in (window.channels if window.reads_state else ())
        )
        self.readout_bias = nn.Parameter(torch.zeros(P, window.classes))  # r0
        # How far each network's steps are open, from 1 (fully) to 0 (absent): a window that grows or shrinks in time
        # opens or closes its last step gradually, see `model.growth`.
        self.entry: Tensor
        self.register_buffer("entry", torch.ones(P, T))
        # Statistics of the training images, kept in the network so that using it needs nothing else.
        self.pixel_mean: Tensor
        self.pixel_std: Tensor
        if window.standardize == "images":
            self.register_buffer("pixel_mean", torch.zeros(P, window.image[0]))
            self.register_buffer("pixel_std", torch.ones(P, window.image[0]))
        # Running statistics of each network's pooled activations, (P, F). They exist only in training, while the hazard
        # reads the activations standardised, see `standardize_pooled`.
        self.pooled_mean: Tensor | None
        self.pooled_var: Tensor | None
        self.register_buffer("pooled_mean", None)
        self.register_buffer("pooled_var", None)
        if window.is_adaptive:
            self.hazard_bias = nn.Parameter(torch.full((P,), -1.0))
        if window.is_adaptive and not window.reads_state:
            self.hazard_sureness = nn.Parameter(torch.zeros(P))
        if window.is_recurrent and not window.is_adaptive:
            self.step_logits = nn.Parameter(torch.zeros(P, T))

    @property
    def weights(self) -> Weights:
        """The weights that the recurrence uses."""
        return Weights(list(self.bottom_up), list(self.bias), list(self.lateral), list(self.top_down))

    @property
    def geometry(self) -> Geometry | None:
        """The sizes of the recurrence; None without a layer."""
        return geometry_of(self.window, self.population) if self.window.layers else None

    @property
    def last_step(self) -> Tensor:
        """The last step that each network may take, from 1; shape (P,)."""
        return (self.entry > 0).sum(1)

    def connections(self) -> list[Projection]:
        """Return all weights that belong to channels, biases included."""
        found: list[Projection] = []
        for l in range(self.window.layers):
            found.append(Projection("bottom_up", l, self.bottom_up[l], l, l - 1 if l else None))
            if self.window.has_recurrent_weights:
                found.append(Projection("lateral", l, self.lateral[l], l, l))
            if self.window.has_recurrent_weights and l + 1 < self.window.layers:
                found.append(Projection("top_down", l, self.top_down[l], l, l + 1))
            found.append(Projection("bias", l, self.bias[l], l, None))
            found.append(Projection("readout", l, self.readout[l], None, l))
            if self.window.reads_state:
                found.append(Projection("hazard", l, self.hazard[l], None, l))
        return found

    @property
    def is_adaptive(self) -> bool:
        """Whether the step distribution depends on the image."""
        return self.window.is_adaptive

    def hazard_logit(self, features: Tensor, logits: Tensor) -> Tensor:
        """Return the hazard's logit before its bound, for one step or many.

        Args:
            features: Pooled activations of all layers, shape (…, P, F).
            logits: Readout, shape (…, P, K).

        Returns:
            Shape (…, P).
        """
        if self.window.reads_state:
            read = self.standardized_pooled(features)
            return self.hazard_bias + torch.einsum("...pf,pf->...p", read, self._hazard_PF())
        return self.hazard_bias + self.hazard_sureness * sureness(logits)

    def forward(self, images: Tensor) -> LatticeAnswer:
        """Answer a batch of images.

        Args:
            images: Shape (B, P, C, H, W), each network its own images, or (B, C, H, W), the same for all.

        Returns:
            Readouts and step distribution.

        Raises:
            WindowError: If the images have another size than the window.
        """
        return self.answer(self.seen(images))

    def seen(self, images: Tensor) -> Tensor:
        """Return images as the first layer of each network sees them, (B, P, C, H, W); see `forward`."""
        if tuple(images.shape[-3:]) != self.window.image:
            raise WindowError(
                f"the window is made for images of {self.window.image} (channels, height, width), "
                f"but got {tuple(images.shape[-3:])}"
            )
        if images.dim() == 4:
            images = images[:, None].expand(-1, self.population, -1, -1, -1)
        return self.standardized(images)

    def answer(self, seen_BPCHW: Tensor) -> LatticeAnswer:
        """Answer images that `seen` returned."""
        features_TBPF = self._features(seen_BPCHW)
        readout_PKF = torch.cat([*self.readout, self._no_weights(self.window.classes)], dim=-1)
        logits_TBPK = torch.einsum("tbpf,pkf->tbpk", features_TBPF, readout_PKF) + self.readout_bias
        return LatticeAnswer(logits_TBPK, self._step_dist(features_TBPF, logits_TBPK), features_TBPF)

    def _hazard_PF(self) -> Tensor:
        return torch.cat([*self.hazard, self._no_weights(1)], dim=-1)[:, 0]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Load a stored state, and the statistics of pooled activations if it has them."""
        if f"{prefix}pooled_mean" in state_dict:  # not in saved networks, nor in states of earlier versions
            self.standardize_pooled()
        else:
            self.pooled_mean = self.pooled_var = None
        super()._load_from_state_dict(state_dict, prefix, *args)

    @torch.no_grad()
    def standardize_pooled(self) -> None:
        """Let a hazard that reads the state read it standardised from now on; other hazards are not changed.

        Pooled activations are positive, and all grow with the steps. While more steps still help all images, training
        would push their weights until the hazard stays at its bound for every image. With centred activations of equal
        scale this does not happen. The statistics start at mean 0 and variance 1; `follow_pooled` updates them.
        """
        if self.window.reads_state:
            self.pooled_mean = self.readout_bias.new_zeros(self.population, sum(self.window.channels))
            self.pooled_var = torch.ones_like(self.pooled_mean)

    def standardized_pooled(self, features: Tensor) -> Tensor:
        """Return pooled activations as the hazard reads them, (…, P, F): standardised while statistics are kept."""
        if self.pooled_mean is None or self.pooled_var is None:
            return features
        read = (features - self.pooled_mean) / pooled_std(self.pooled_var)
        if not features.requires_grad:
            return read
        # Values use the running statistics, in training as in use. Gradients go through the batch's own statistics, as
        # in batch normalisation, so that the hazard cannot move the activations of all images at once. Gradients
        # through constants do, and cost 10 points of accuracy; see benchmarks/README.md.
        mean_PF, var_PF = self._pooled_statistics(features)
        by_batch = (features - mean_PF) / pooled_std(var_PF)
        return by_batch + (read - by_batch).detach()

    def _pooled_statistics(self, features_TBPF: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance over images and steps; steps that a network does not have get no weight."""
        weight_TP = self.entry.T / (self.entry.sum(1) * features_TBPF.shape[1])
        mean_PF = torch.einsum("tbpf,tp->pf", features_TBPF, weight_TP)
        return mean_PF, torch.einsum("tbpf,tp->pf", (features_TBPF - mean_PF).square(), weight_TP)

    @torch.no_grad()
    def follow_pooled(self, features_TBPF: Tensor, rate: float) -> None:
        """Move the statistics of pooled activations towards those of a batch; does nothing if none are kept.

        Args:
            features_TBPF: Pooled activations of the batch.
            rate: Weight of the batch in the new statistics, above 0 and at most 1.
        """
        if self.pooled_mean is None or self.pooled_var is None:
            return
        mean_PF, var_PF = self._pooled_statistics(features_TBPF)
        # A silent channel, which may be an unused slot, keeps the statistics of a new one.
        rate_PF = rate * ((mean_PF != 0) | (var_PF != 0)).to(mean_PF)
        apart_PF = mean_PF - self.pooled_mean
        self.pooled_mean += rate_PF * apart_PF
        self.pooled_var += rate_PF * (var_PF - self.pooled_var + (1 - rate) * apart_PF.square())

    @torch.no_grad()
    def forget_pooled(self, dead: Sequence[Tensor]) -> None:
        """Reset the statistics of dead channels, so that the hazard reads nothing of their former activations.

        Args:
            dead: By layer, bool, shape (P, C_l).
        """
        if self.pooled_mean is not None and self.pooled_var is not None:
            dead_PF = torch.cat(list(dead), dim=1)
            self.pooled_mean.masked_fill_(dead_PF, 0.0)
            self.pooled_var.masked_fill_(dead_PF, 1.0)

    @torch.no_grad()
    def fold_pooled(self) -> None:
        """Fold the statistics of pooled activations into the hazard's weights; answers stay the same up to rounding."""
        if self.pooled_mean is None or self.pooled_var is None:
            return
        std_PF = pooled_std(self.pooled_var)
        self.hazard_bias.sub_((self._hazard_PF() * self.pooled_mean / std_PF).sum(1))
        for weight, std_PC in zip(self.hazard, torch.split(std_PF, list(self.window.channels), 1), strict=True):
            weight.div_(std_PC[:, None])
        self.pooled_mean = self.pooled_var = None

    @torch.no_grad()
    def set_pixel_statistics(self, pixels: Tensor) -> None:
        """Let all networks standardise by these training images, if their window asks for it.

        Args:
            pixels: Shape (N, C, H, W).
        """
        std_C, mean_C = torch.std_mean(pixels.double(), (0, 2, 3), correction=0)
        self.standardize_by(mean_C, std_C)

    @torch.no_grad()
    def standardize_by(self, mean_C: Tensor, std_C: Tensor) -> None:
        """Let all networks standardise by mean and standard deviation of each channel, if their window asks for it."""
        if self.window.standardize == "images":
            self.pixel_mean.copy_(mean_C.expand(self.population, -1))
            # A constant channel carries no information, whatever it is divided by.
            self.pixel_std.copy_(std_C.where(std_C > 0, 1.0).expand(self.population, -1))

    def standardized(self, images_BPCHW: Tensor) -> Tensor:
        """Return images as the first layer sees them: pixels standardised as the window says; (B, P, C, H, W)."""
        if self.window.standardize == "images":
            return (images_BPCHW - self.pixel_mean[..., None, None]) / self.pixel_std[..., None, None]
        if self.window.standardize == "each":
            std, mean = torch.std_mean(images_BPCHW, (2, 3, 4), correction=0, keepdim=True)
            return (images_BPCHW - mean) / std.clamp_min(LEAST_STD)
        return images_BPCHW

    def _no_weights(self, *shape: int) -> Tensor:
        """Return zeros (P, …, 0), so that a lattice without layers is no special case."""
        return self.readout_bias.new_zeros(self.population, *shape, 0)

    def _features(self, images_BPCHW: Tensor) -> Tensor:
        """Return the pooled activations of every step, (T, B, P, F)."""
        window, (B, P) = self.window, images_BPCHW.shape[:2]
        if not window.layers:
            return images_BPCHW.new_zeros(window.steps, B, P, 0)
        geometry, weights = geometry_of(window, P), self.weights
        if code := compiled.serving(self.recurrence, geometry, images_BPCHW, weights):
            return compiled.unroll(code, geometry, images_BPCHW, weights, self.room)
        images = images_BPCHW.flatten(1, 2).contiguous(memory_format=torch.channels_last)
        return unroll(geometry, images, weights)

    def _step_dist(self, features_TBPF: Tensor, logits_TBPK: Tensor) -> Tensor:
        T, B, P = logits_TBPK.shape[:3]
        if not self.window.is_recurrent:
            return logits_TBPK.new_ones(T, B, P)
        entry_TP = self.entry.T
        if not self.is_adaptive:
            return fixed_step_dist(self.step_logits.T, entry_TP)[:, None, :].expand(T, B, P)
        return adaptive_step_dist(self.hazard_logit(features_TBPF, logits_TBPK), entry_TP)


def geometry_of(window: Window, population: int) -> Geometry:
    """Return the sizes of the recurrence of a population over a window."""
    layers = range(1, window.layers + 1)
    strides = tuple(2 if layer in window.halve else 1 for layer in layers)
    sides = tuple(window.side(layer) for layer in layers)
    return Geometry(
        population,
        window.steps,
        window.channels,
        strides,
        sides,
        window.kernel,
        window.up_delay,
        window.is_feed_forward,
    )


def pooled_std(var: Tensor) -> Tensor:
    """Return the divisor that standardises pooled activations of this variance."""
    return (var + LEAST_POOLED_STD**2).sqrt()


def _initial_weights(window: Window, seed: int) -> dict[str, list[Tensor]]:
    """Draw one network's weights from its own stream.

    Kernels get He's variance 2 / fan-in. The fan-in of a layer counts all of its inputs (bottom-up, lateral and
    top-down), so that activity neither dies nor explodes over the steps.
    """
    generator = torch.Generator().manual_seed(seed)
    k2 = window.kernel**2
    weights: dict[str, list[Tensor]] = {name: [] for name in ("bottom_up", "lateral", "top_down", "bias", "readout")}

    def kernel(outgoing: int, incoming: int, fan_in: int) -> Tensor:
        shape = (outgoing, incoming, window.kernel, window.kernel)
        return torch.randn(shape, generator=generator) * math.sqrt(2.0 / fan_in)

    for index, c in enumerate(window.channels):
        below = window.channels[index - 1] if index else window.image[0]
        itself = c if window.has_recurrent_weights else 0
        above = window.channels[index + 1] if window.has_recurrent_weights and index + 1 < window.layers else 0
        fan_in = k2 * (below + itself + above)
        weights["bottom_up"].append(kernel(c, below, fan_in))
        if itself:
            weights["lateral"].append(kernel(c, c, fan_in))
        if above:
            weights["top_down"].append(kernel(c, above, fan_in))
        weights["bias"].append(torch.zeros(c))
        features = sum(window.channels)
        weights["readout"].append(torch.randn((window.classes, c), generator=generator) / features**0.5)
    return weights
