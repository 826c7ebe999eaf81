"""A population of recurrent convolutional networks, each a finite window of an infinite lattice.

The lattice's axes are breadth (channels c = 1, 2, …), depth (layers l = 1, 2, …) and time (recurrent
steps t = 1, 2, …). Every network of the population obeys

    h[l,t] = relu( b[l] + U[l] * h[l-1,t] + W[l] * h[l,t-1] + D[l] * h[l+1,t-1] ),   h[0,t] = the image
    z[t]   = r0 + Σ_l R[l] · pool(h[l,t])

with 2-D convolutions `*`, h[l,0] = 0 for every layer and nothing above the deepest one. U is bottom-up and taken
within the step, so one step is already a full feed-forward sweep (the convention of Spoerer et al. 2020); W is
lateral; D is top-down, up-sampled where the layer above has a smaller image. With a single step nothing
would ever flow through W and D, and there is no step to choose: a lattice over a window of one step has
neither, nor weights for time selection. A window may also be asked for without them over many steps (`feed_forward`).

A window may ask for the other convention, in which bottom-up input takes a step as lateral and top-down input do:

    h[l,t] = relu( b[l] + U[l] * h[l-1,t-1] + W[l] * h[l,t-1] + D[l] * h[l+1,t-1] ),   h[0,t] = the image, t = 0, 1, …

The image is there before the first step, so the first layer sees it at every step, from the first on. The image
reaches layer l at step l. Until then the layer is what the equation makes of zeros: h[l,1] = relu(b[l]), the same for
every image, and read out and passed on like any other state. A layer deeper than there are steps never sees the image.
Without W and D this is a feed-forward network with early exits: layer l stays as it is from step l on.

Shape suffixes: P population, B batch, T time step, K class, C channels, H W space, F features (the channels of all
layers side by side). A layer's state is kept as (B, P·C, H, W), so that one grouped convolution serves all P networks.

Source of the idea: Butkus, Garzón Gupta, Kriegeskorte, arXiv 2605.25174. Its method was known to us from
summaries only; the equations are this project's own definition.
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

#: Pixels of an image whose standard deviation is less are not spread to 1: it is blank, but for rounding.
LEAST_STD = 1e-3

#: Least standard deviation of pooled activations that is taken for one: a channel that hardly changes is not blown up.
LEAST_POOLED_STD = 1e-3


@dataclass(frozen=True)
class LatticeAnswer:
    """What a lattice says about a batch.

    Attributes:
        logits_TBPK: The instantaneous readout z[t] of each step.
        step_dist_TBP: Probability p(t|x) of answering after exactly step t; sums to 1 over T.
        features_TBPF: Pooled activations of all layers side by side, which the answer is read from.
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
        """Log of p(t|x); a step that is not there has a finite one, so that its gradient is 0 and not 0/0."""
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
        weight: The weights themselves; a bias is (P, C) and comes from nowhere.
        to: Layer they lead to; None for the answer.
        of: Layer they come from; None for the image, and for a bias.
    """

    name: str
    layer: int
    weight: nn.Parameter
    to: int | None
    of: int | None


class Lattice(nn.Module):
    """P networks over one window, their weights side by side on a leading population axis.

    Network i computes and trains as it would alone; P = 1 is the plain case.

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
        #: What the recurrence runs in where it can: `torch`, or what its code was compiled for, such as `avx2`.
        self.recurrence = usable()[0]
        self.room = compiled.Room()
        drawn = [_initial_weights(window, seed) for seed in seeds]

        def stacked(name: str) -> nn.ParameterList:
            return nn.ParameterList(
                nn.Parameter(torch.stack(per_layer))
                for per_layer in zip(*(weights[name] for weights in drawn), strict=True)
            )

        self.bottom_up = stacked("bottom_up")  # U[l]: (P, C_l, C_{l-1}, k, k)
        self.lateral = stacked("lateral")  # W[l]: (P, C_l, C_l, k, k), none over one step, or feed-forward
        self.top_down = stacked("top_down")  # D[l]: (P, C_l, C_{l+1}, k, k), nor for the deepest layer
        self.bias = stacked("bias")  # b[l]: (P, C_l)
        self.readout = stacked("readout")  # R[l]: (P, K, C_l)
        P, T = self.population, window.steps
        # H[l]: (P, 1, C_l), how the hazard reads each layer; none but where it does.
        self.hazard = nn.ParameterList(
            nn.Parameter(torch.zeros(P, 1, c)) for c in (window.channels if window.reads_state else ())
        )
        self.readout_bias = nn.Parameter(torch.zeros(P, window.classes))  # r0
        # How far each network's steps are open, from 1 (a step of its own) to 0 (not there): a window that grows or
        # shrinks in time opens or closes its last step gradually, see `model.growth`.
        self.entry: Tensor
        self.register_buffer("entry", torch.ones(P, T))
        # Of each network's training images; here, so that whoever has the network needs nothing else.
        self.pixel_mean: Tensor
        self.pixel_std: Tensor
        if window.standardize == "images":
            self.register_buffer("pixel_mean", torch.zeros(P, window.image[0]))
            self.register_buffer("pixel_std", torch.ones(P, window.image[0]))
        # How the pooled activations of each network have been of late, (P, F); none unless the hazard reads them
        # standardised, which it does in training only: see `standardize_pooled`.
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
        """What the recurrence unrolls with."""
        return Weights(list(self.bottom_up), list(self.bias), list(self.lateral), list(self.top_down))

    @property
    def geometry(self) -> Geometry | None:
        """The sizes that it unrolls with; None without a layer."""
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
        """Return the hazard's logit before its bound, of one step or of many.

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
        """Answer images that are as `seen` returns them."""
        features_TBPF = self._features(seen_BPCHW)
        readout_PKF = torch.cat([*self.readout, self._no_weights(self.window.classes)], dim=-1)
        logits_TBPK = torch.einsum("tbpf,pkf->tbpk", features_TBPF, readout_PKF) + self.readout_bias
        return LatticeAnswer(logits_TBPK, self._step_dist(features_TBPF, logits_TBPK), features_TBPF)

    def _hazard_PF(self) -> Tensor:
        return torch.cat([*self.hazard, self._no_weights(1)], dim=-1)[:, 0]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Load what is stored, with the statistics of pooled activations where there are any."""
        if f"{prefix}pooled_mean" in state_dict:  # not in a network, nor where an earlier version began the training
            self.standardize_pooled()
        else:
            self.pooled_mean = self.pooled_var = None
        super()._load_from_state_dict(state_dict, prefix, *args)

    @torch.no_grad()
    def standardize_pooled(self) -> None:
        """Let a hazard that reads the state read it standardised from now on; does nothing where it does not.

        Pooled activations are positive, and all grow with the steps. While more steps still help all images, weights on
        them are pushed until the hazard is at its bound for every image, and stay there. Of activations that are
        centred and of one size they are not. The statistics start at mean 0 and variance 1, and `follow_pooled` has
        them follow.
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
        # Numbers are by what is kept, in training as in use; slopes are as through the batch's own statistics, as those
        # of batch normalisation are: the hazard may not move the activations of all images at once. Slopes through
        # constants do, and cost 10 points of accuracy; see benchmarks/README.md.
        mean_PF, var_PF = self._pooled_statistics(features)
        by_batch = (features - mean_PF) / pooled_std(var_PF)
        return by_batch + (read - by_batch).detach()

    def _pooled_statistics(self, features_TBPF: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance over images and steps; steps that a network does not have say nothing about it."""
        weight_TP = self.entry.T / (self.entry.sum(1) * features_TBPF.shape[1])
        mean_PF = torch.einsum("tbpf,tp->pf", features_TBPF, weight_TP)
        return mean_PF, torch.einsum("tbpf,tp->pf", (features_TBPF - mean_PF).square(), weight_TP)

    @torch.no_grad()
    def follow_pooled(self, features_TBPF: Tensor, rate: float) -> None:
        """Move the statistics of pooled activations towards those of a batch; does nothing where none are kept.

        Args:
            features_TBPF: Pooled activations of the batch.
            rate: Share that the batch takes of the statistics, above 0 and at most 1.
        """
        if self.pooled_mean is None or self.pooled_var is None:
            return
        mean_PF, var_PF = self._pooled_statistics(features_TBPF)
        # A channel that says nothing, and may be no more than room for one, stays as if it were new.
        rate_PF = rate * ((mean_PF != 0) | (var_PF != 0)).to(mean_PF)
        apart_PF = mean_PF - self.pooled_mean
        self.pooled_mean += rate_PF * apart_PF
        self.pooled_var += rate_PF * (var_PF - self.pooled_var + (1 - rate) * apart_PF.square())

    @torch.no_grad()
    def forget_pooled(self, dead: Sequence[Tensor]) -> None:
        """Let the statistics of dead channels begin anew: the hazard must read nothing of what they said.

        Args:
            dead: By layer, bool, shape (P, C_l).
        """
        if self.pooled_mean is not None and self.pooled_var is not None:
            dead_PF = torch.cat(list(dead), dim=1)
            self.pooled_mean.masked_fill_(dead_PF, 0.0)
            self.pooled_var.masked_fill_(dead_PF, 1.0)

    @torch.no_grad()
    def fold_pooled(self) -> None:
        """Put the statistics of pooled activations into the hazard's weights: the answers stay, to rounding."""
        if self.pooled_mean is None or self.pooled_var is None:
            return
        std_PF = pooled_std(self.pooled_var)
        self.hazard_bias.sub_((self._hazard_PF() * self.pooled_mean / std_PF).sum(1))
        for weight, std_PC in zip(self.hazard, torch.split(std_PF, list(self.window.channels), 1), strict=True):
            weight.div_(std_PC[:, None])
        self.pooled_mean = self.pooled_var = None

    @torch.no_grad()
    def set_pixel_statistics(self, pixels: Tensor) -> None:
        """Have all networks standardise by these training images, where their window says so.

        Args:
            pixels: Shape (N, C, H, W).
        """
        std_C, mean_C = torch.std_mean(pixels.double(), (0, 2, 3), correction=0)
        self.standardize_by(mean_C, std_C)

    @torch.no_grad()
    def standardize_by(self, mean_C: Tensor, std_C: Tensor) -> None:
        """Have all networks standardise by mean and standard deviation of each channel, where their window says so."""
        if self.window.standardize == "images":
            self.pixel_mean.copy_(mean_C.expand(self.population, -1))
            # A channel that is the same everywhere says nothing, whatever it is divided by.
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
        """Return (P, …, 0): lets a lattice without layers be no special case."""
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
    """Return the sizes that a population of networks over a window unrolls with."""
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
    """Return what pooled activations of this variance are divided by."""
    return (var + LEAST_POOLED_STD**2).sqrt()


def _initial_weights(window: Window, seed: int) -> dict[str, list[Tensor]]:
    """Draw one network's weights from its own stream.

    Kernels get He's variance 2 / fan-in, where the fan-in of a layer counts all that converges on it
    (bottom-up, lateral and top-down), so that activity neither dies nor explodes over the steps.
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
