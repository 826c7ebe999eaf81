"""The recurrence of a population, unrolled over the steps of its window, with its own backward pass.

    h[l,t] = relu( b[l] + U[l] * h[l-1,t-d] + W[l] * h[l,t-1] + D[l] * h[l+1,t-1] )

Here d is the `up_delay`: 0 if bottom-up input is taken within the step, 1 if it takes a step. A layer's state at step t
feeds three targets: the layer above (U) at step t + d, the layer itself (W) and the layer below (D) at the next step.
All three convolve the same state, so they share one convolution whose output is divided; the backward pass shares it
too. The image's drive of the first layer is computed once. A weight's gradient sums over the steps: the states and
gradients of all steps are laid side by side, so that one convolution serves all steps. States are kept channels-last.
`benchmarks/lattice.py` measures the gain of each of these.

Shapes: P population, B batch, T step, L layer, C channel, H W space, O outputs of a joined convolution. A layer's
state is (B, P·C, H, W); grouped convolutions keep the P networks apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_convolution_backward = torch.ops.aten.convolution_backward


@dataclass(frozen=True)
class Geometry:
    """Sizes of an unrolling.

    Attributes:
        population: Number of networks, P.
        steps: Recurrent steps, T.
        channels: C of each layer, at least one layer.
        strides: Stride of each layer's bottom-up convolution, 1 or 2.
        sides: Height and width of each layer's state.
        kernel: Side of the kernels.
        up_delay: Steps from a layer's state to the input of the layer above, 0 or 1.
        is_feed_forward: Whether there are no lateral and top-down weights, whatever the number of steps.
    """

    population: int
    steps: int
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    sides: tuple[tuple[int, int], ...]
    kernel: int
    up_delay: int = 0
    is_feed_forward: bool = False

    @property
    def has_recurrent_weights(self) -> bool:
        """Whether states feed their own layer and the layer below at the next step."""
        return self.steps > 1 and not self.is_feed_forward

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.channels)

    def is_up_joined(self, l: int) -> bool:
        """Whether the way up from layer l is in its joined convolution: not with a stride, nor as the only way."""
        return not self.is_feed_forward and l + 1 < self.layers and self.strides[l + 1] == 1

    @cached_property
    def parts(self) -> list[dict[str, slice]]:
        """Slices of the outputs of each layer's joined convolution that go `up`, stay (`lateral`) and go `down`."""
        found = []
        for l, c in enumerate(self.channels):
            sizes = {"up": self.channels[l + 1]} if self.is_up_joined(l) else {}
            sizes |= {"lateral": c} | ({"down": self.channels[l - 1]} if l else {})
            found.append(dict(zip(sizes, _slices(sizes.values()), strict=True)))
        return found

    def convolve(self, state: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1) -> Tensor:
        """Convolve a state (B, P·I, H, W) with each network's kernels (P, O, I, k, k)."""
        flat = None if bias is None else bias.flatten()
        kernels = weight.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return F.conv2d(state, kernels, flat, stride=stride, padding=self.kernel // 2, groups=self.population)

    def slopes(
        self, slope: Tensor, state: Tensor, weight: Tensor, stride: int, wanted: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of a convolution's input (wanted="input"), or of weight and bias (wanted="weight")."""
        pad, is_input = self.kernel // 2, wanted == "input"
        if self.kernel == 1 and stride == 2 and not is_input:
            # Compute the same from only the pixels that are read: on the CPU torch 2.13 would use oneDNN's 1×1
            # convolution with a stride, which writes out of bounds if there are few channels.
            state, stride = state[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last), 1
        kernels = weight.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        got: tuple[Tensor, Tensor, Tensor] = _convolution_backward(
            slope,
            state,
            kernels,
            [kernels.shape[0]],
            [stride, stride],
            [pad, pad],
            [1, 1],
            False,
            [0, 0],
            self.population,
            [is_input, not is_input, not is_input],
        )
        return got

    def empty(self, steps: int, batch: int, layer: int, channels: int, like: Tensor) -> Tensor:
        """Allocate a layer's states or gradients of all steps, (T·B, P·channels, H, W), channels-last."""
        shape = (steps * batch, self.population * channels, *self.sides[layer])
        return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)

    def apart(self, state: Tensor) -> Tensor:
        """View (B, P·C, H, W) as (B, P, C, H, W)."""
        return _divided(state, 1, self.population)


@dataclass(frozen=True)
class Weights:
    """The weights of a population, by layer, each with the population axis first.

    A single step and a feed-forward network have no lateral and top-down weights.
    """

    bottom_up: list[Tensor]
    bias: list[Tensor]
    lateral: list[Tensor]
    top_down: list[Tensor]

    def flat(self) -> list[Tensor]:
        """Return all weights in one list."""
        return [*self.bottom_up, *self.bias, *self.lateral, *self.top_down]

    @classmethod
    def from_flat(cls, flat: Sequence[Tensor], layers: int) -> Weights:
        """Return the weights from what `flat` returned."""
        return cls(*(list(flat[start : start + layers]) for start in range(0, 4 * layers, layers)))

    def joined(self, geometry: Geometry) -> list[tuple[Tensor, Tensor]]:
        """Return kernels (P, O, C, k, k) and bias (P, O) of each layer's joined convolution."""
        found = []
        for l in range(geometry.layers):
            ways = [self.lateral[l], *([self.top_down[l - 1]] if l else [])]
            bias = torch.cat([way.new_zeros(way.shape[:2]) for way in ways], 1)
            if geometry.is_up_joined(l):
                ways, bias = [self.bottom_up[l + 1], *ways], torch.cat([self.bias[l + 1], bias], 1)
            found.append((torch.cat(ways, 1), bias))
        return found


def _slices(sizes: Iterable[int]) -> list[slice]:
    """Return the slices of adjacent parts of these sizes."""
    return [slice(*ends) for ends in pairwise(accumulate(sizes, initial=0))]


def _divided(tensor: Tensor, dim: int, parts: int) -> Tensor:
    """View a dimension as (parts, rest)."""
    divided: Tensor = tensor.unflatten(dim, (parts, -1))  # type: ignore[no-untyped-call]
    return divided


def unroll(geometry: Geometry, images: Tensor, weights: Weights) -> Tensor:
    """Run the recurrence and pool every state over its pixels.

    Args:
        geometry: Sizes; at least one layer.
        images: Shape (B, P·C, H, W).
        weights: Of that geometry.

    Returns:
        Mean activations, shape (T, B, P, F), where F counts the channels of all layers; differentiable once.
    """
    flat = weights.flat()
    is_learning = torch.is_grad_enabled() and not torch.compiler.is_exporting()
    if is_learning and any(tensor.requires_grad for tensor in (images, *flat)):
        features: Tensor = _Unrolled.apply(geometry, images, *flat)  # type: ignore[no-untyped-call]
        return features
    return _forward(geometry, images, weights, None)


def _forward(geometry: Geometry, images: Tensor, weights: Weights, kept: list[Tensor] | None) -> Tensor:
    """Compute the features, and write every layer's states of all steps into `kept` if given."""
    T, L, B = geometry.steps, geometry.layers, images.shape[0]
    joined = weights.joined(geometry) if geometry.has_recurrent_weights else []
    apart = geometry.apart
    image_drive = geometry.convolve(images, weights.bottom_up[0], weights.bias[0], geometry.strides[0])
    bottom_up = {0: apart(image_drive)}
    if geometry.up_delay:  # h[l,0] = 0: at the first step only the image gives input
        bottom_up |= {l: _everywhere(weights.bias[l], geometry, l, B) for l in range(1, L)}
    lateral: dict[int, Tensor] = {}
    top_down: dict[int, Tensor] = {}
    features: list[Tensor] = []
    for t in range(T):
        # With `up_delay` a layer takes the input from before the step, else what the layer below has just computed.
        arriving = dict(bottom_up) if geometry.up_delay else bottom_up
        for l in range(L):
            drive = arriving[l]
            if t and joined:  # h[l,0] = 0: the first step has neither lateral nor top-down input
                drive = drive + lateral[l]
                if l + 1 < L:
                    drive += top_down[l]
            room = None if kept is None else apart(kept[l][t * B : (t + 1) * B])
            h = F.relu(drive) if room is None else torch.clamp_min(drive, 0, out=room)
            features.append(h.mean(dim=(-2, -1)))
            state, parts = h.flatten(1, 2), geometry.parts[l]
            if t + 1 < T and joined:
                ways = apart(geometry.convolve(state, *joined[l]))
                lateral[l] = ways[:, :, parts["lateral"]]
                if l:
                    top_down[l - 1] = _upsampled(ways[:, :, parts["down"]], geometry, l)
            if l + 1 < L and t + geometry.up_delay < T:
                if t + 1 < T and geometry.is_up_joined(l):
                    bottom_up[l + 1] = ways[:, :, parts["up"]]
                else:
                    up = (weights.bottom_up[l + 1], weights.bias[l + 1], geometry.strides[l + 1])
                    bottom_up[l + 1] = apart(geometry.convolve(state, *up))
    return torch.stack([torch.cat(features[t * L : (t + 1) * L], -1) for t in range(T)])


def _everywhere(bias: Tensor, geometry: Geometry, l: int, batch: int) -> Tensor:
    """Expand a layer's bias (P, C) to every image and pixel, (B, P, C, H, W)."""
    return bias[None, :, :, None, None].expand(batch, -1, -1, *geometry.sides[l])


def _upsampled(down: Tensor, geometry: Geometry, l: int) -> Tensor:
    """Upsample layer l's top-down output to the side of layer l − 1."""
    if geometry.strides[l] == 1:
        return down
    return geometry.apart(F.interpolate(down.flatten(1, 2), size=geometry.sides[l - 1], mode="nearest"))


class _Unrolled(torch.autograd.Function):
    """`_forward`, with the backward pass through the steps written out."""

    @staticmethod
    def forward(ctx: Any, geometry: Geometry, images: Tensor, *flat: Tensor) -> Tensor:
        B = len(images)
        kept = [geometry.empty(geometry.steps, B, l, c, images) for l, c in enumerate(geometry.channels)]
        features = _forward(geometry, images, Weights.from_flat(flat, geometry.layers), kept)
        ctx.geometry = geometry
        ctx.save_for_backward(images, *flat, *kept)
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope_TBPF: Tensor) -> tuple[Tensor | None, ...]:
        geometry: Geometry = ctx.geometry
        images, *saved = ctx.saved_tensors
        flat, states = saved[: -geometry.layers], saved[-geometry.layers :]
        back = _Backward(geometry, Weights.from_flat(flat, geometry.layers), states, len(images))
        for t in reversed(range(geometry.steps)):
            for l in reversed(range(geometry.layers)):
                back.visit(t, l, slope_TBPF[t])
        image_slope = back.image_slope(images) if ctx.needs_input_grad[1] else None
        return (None, image_slope, *back.weight_slopes(images).flat())


class _Backward:
    """The backward pass: gradients of every state before its relu, stored as the convolutions need them.

    `ways[l]` holds, step by step, the gradients of the outputs of layer l's joined convolution, which come from the
    layers that it feeds. `ups[l]` holds the gradients of its way up if that is not joined, and `last_up[l]` the
    gradient of the way up at the last step, after which nothing goes sideways or down. If bottom-up input takes a step,
    nothing leaves the last step, and `first_bias[l]` is the gradient of layer l's first step, which only its bias gets.
    """

    def __init__(self, geometry: Geometry, weights: Weights, states: Sequence[Tensor], batch: int) -> None:
        self.geometry, self.weights, self.states, self.batch = geometry, weights, states, batch
        T, L = geometry.steps, geometry.layers
        self.joined = [kernels for kernels, _ in weights.joined(geometry)] if geometry.has_recurrent_weights else []
        outputs = [kernels.shape[1] for kernels in self.joined]
        self.ways = [geometry.empty(T - 1, batch, l, o, states[0]) for l, o in enumerate(outputs)]
        self.rises = T - geometry.up_delay  # steps whose states the layers above take
        self.ups: dict[int, Tensor] = {
            l: geometry.empty(self.rises, batch, l + 1, geometry.channels[l + 1], states[0])
            for l in range(L - 1)
            if not geometry.is_up_joined(l)
        }
        self.last_up: dict[int, Tensor] = {}
        self.first_bias: dict[int, Tensor] = {}
        self.image_drive_slope: Tensor | None = None
        self.features = _slices(geometry.channels)

    def _step(self, of_all: Tensor, t: int) -> Tensor:
        return of_all[t * self.batch : (t + 1) * self.batch]

    def visit(self, t: int, l: int, slope_BPF: Tensor) -> None:
        """Sum the gradients of all that h[l,t] fed, pass them through its relu, and store them for its inputs."""
        geometry, state = self.geometry, self._step(self.states[l], t)
        height, width = geometry.sides[l]
        pooled = (slope_BPF[..., self.features[l]] / (height * width)).flatten(1)[..., None, None]
        slope: Tensor | None = None
        if t + 1 < geometry.steps and self.joined:
            slope = geometry.slopes(self._step(self.ways[l], t), state, self.joined[l], 1, "input")[0]
        if t < self.rises and (l in self.ups or (l + 1 < geometry.layers and t + 1 == geometry.steps)):
            up = self._step(self.ups[l], t) if l in self.ups else self.last_up[l]
            way_up = (self.weights.bottom_up[l + 1], geometry.strides[l + 1], "input")
            from_above = geometry.slopes(up, state, *way_up)[0]
            slope = from_above if slope is None else slope.add_(from_above)
        slope = pooled.expand_as(state) if slope is None else slope.add_(pooled)
        self._hand_back(t, l, torch.ops.aten.threshold_backward(slope, state, 0))

    def _hand_back(self, t: int, l: int, slope: Tensor) -> None:
        geometry, (T, L) = self.geometry, (self.geometry.steps, self.geometry.layers)
        slope_5d, risen = geometry.apart(slope), t - geometry.up_delay
        if l == 0:
            # The image's drive is the same at every step, so its gradient is the sum over the steps.
            before = self.image_drive_slope
            self.image_drive_slope = slope if before is None else before.add_(slope)
        elif risen < 0:
            self.first_bias[l] = slope_5d.sum((0, 3, 4))
        elif l - 1 in self.ups:
            self._step(self.ups[l - 1], risen).copy_(slope)
        elif risen + 1 == T:
            self.last_up[l - 1] = slope
        else:
            self._way(l - 1, risen, "up").copy_(slope_5d)
        if t == 0 or not self.joined:
            return
        self._way(l, t - 1, "lateral").copy_(slope_5d)
        if l + 1 < L:
            if geometry.strides[l + 1] > 1:
                coarse = (len(slope), slope.shape[1], *geometry.sides[l + 1])
                fine = torch.ops.aten.upsample_nearest2d_backward(slope.contiguous(), list(geometry.sides[l]), coarse)
                slope_5d = geometry.apart(fine)
            self._way(l + 1, t - 1, "down").copy_(slope_5d)

    def _way(self, l: int, t: int, name: str) -> Tensor:
        return self.geometry.apart(self._step(self.ways[l], t))[:, :, self.geometry.parts[l][name]]

    def image_slope(self, images: Tensor) -> Tensor:
        """Return the gradient of the images."""
        assert self.image_drive_slope is not None
        first = (self.weights.bottom_up[0], self.geometry.strides[0], "input")
        return self.geometry.slopes(self.image_drive_slope, images, *first)[0]

    def weight_slopes(self, images: Tensor) -> Weights:
        """Return the gradients of all weights, with one convolution over all steps for each joined way."""
        geometry, (T, L) = self.geometry, (self.geometry.steps, self.geometry.layers)
        assert self.image_drive_slope is not None
        found = Weights([], [], [], [])
        self._append(found, self.image_drive_slope, images, 0)
        for l in range(L - 1):
            if l in self.ups and self.rises:
                self._append(found, self.ups[l], self.states[l][: self.rises * self.batch], l + 1)
            elif l in self.last_up:
                self._append(found, self.last_up[l], self._step(self.states[l], T - 1), l + 1)
            else:
                found.bottom_up.append(torch.zeros_like(self.weights.bottom_up[l + 1]))
                found.bias.append(torch.zeros_like(self.weights.bias[l + 1]))
        for l, slope in self.first_bias.items():
            found.bias[l].add_(slope)
        for l in range(L if self.joined else 0):
            before = self.states[l][: (T - 1) * self.batch]
            _, kernels, bias = geometry.slopes(self.ways[l], before, self.joined[l], 1, "weight")
            kernels, parts = _divided(kernels, 0, geometry.population), geometry.parts[l]
            if geometry.is_up_joined(l):
                found.bottom_up[l + 1].add_(kernels[:, parts["up"]])
                found.bias[l + 1].add_(bias.view(geometry.population, -1)[:, parts["up"]])
            found.lateral.append(kernels[:, parts["lateral"]])
            if l:
                found.top_down.append(kernels[:, parts["down"]])
        return found

    def _append(self, found: Weights, slope: Tensor, state: Tensor, l: int) -> None:
        """Append the gradients of layer l's bottom-up weights and bias, from one convolution."""
        way = (self.weights.bottom_up[l], self.geometry.strides[l], "weight")
        _, kernels, bias = self.geometry.slopes(slope, state, *way)
        found.bottom_up.append(_divided(kernels, 0, self.geometry.population))
        found.bias.append(bias.view(self.geometry.population, -1))
