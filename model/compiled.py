"""The recurrence of a population in compiled code, with the same arguments and answers as `recurrence.unroll`.

Each network and image is computed separately, so a network's answers and gradients do not depend, to the last bit, on
the networks computed beside it. The work is split over as many threads as torch may use, always into the same parts,
so the number of threads changes no bit either.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sweeper.model.native.library import TORCH, Library, Range, library
from sweeper.model.recurrence import Geometry, Weights

#: Images of a batch in one part of the work; each part sums the weights' gradients separately.
IMAGES_OF_A_PART = 16

#: Most layers and largest kernel side that the compiled code has room for; beyond them torch is used.
MOST_LAYERS, MOST_KERNEL = 64, 31


@dataclass
class Room:
    """Buffers for the states that a lattice keeps from forward to backward; a buffer in use is taken out.

    Buffers are reused because the system clears newly allocated memory page by page. In every training step that would
    take longer than small networks need to fill it.
    """

    free: list[Tensor] = field(default_factory=list)

    def take(self, floats: int, like: Tensor) -> Tensor:
        """Return a buffer for this many floats."""
        while self.free:
            found = self.free.pop()
            if len(found) == floats:
                return found
        return like.new_empty(floats)

    def __deepcopy__(self, memo: dict[int, Any]) -> Room:
        """Return an empty room: a copied lattice has no use for the buffers of the original."""
        return Room()

    def __reduce__(self) -> tuple[type[Room], tuple[()]]:
        return Room, ()


def serving(name: str, geometry: Geometry, images: Tensor, weights: Weights) -> Library | None:
    """Return the compiled code that can run this recurrence; None if torch must run it.

    Args:
        name: Instruction set that the code was compiled for, or `torch` for no compiled code.
        geometry: Sizes of the recurrence.
        images: Of any shape; the code cannot compute their gradient.
        weights: Of that geometry. Their type is checked because the code would read any memory as float32.
    """
    if torch.compiler.is_compiling() or torch.compiler.is_exporting():
        return None  # first, since `len(images)` would fix the number of images in an exported program
    is_served = (
        name != TORCH
        and all(one.dtype == torch.float32 and one.device.type == "cpu" for one in (images, *weights.flat()))
        and len(images) > 0
        and not images.requires_grad
        and geometry.layers <= MOST_LAYERS
        and geometry.kernel <= MOST_KERNEL
    )
    return library(name) if is_served else None


def unroll(code: Library, geometry: Geometry, images_BPCHW: Tensor, weights: Weights, room: Room) -> Tensor:
    """Run the recurrence and pool every state over its pixels.

    Args:
        code: The compiled code; see `serving`.
        geometry: Sizes; at least one layer.
        images_BPCHW: Images, float32 on the CPU.
        weights: Of that geometry, float32 on the CPU.
        room: Buffers that keep the states for the backward pass.

    Returns:
        Mean activations, shape (T, B, P, F), where F counts the channels of all layers. They can be differentiated
        once, with respect to the weights.

    Raises:
        MemoryError: If memory runs out.
    """
    call, flat = _call(code, geometry, images_BPCHW, room), weights.flat()
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in flat):
        features: Tensor = _Unrolled.apply(call, *flat)  # type: ignore[no-untyped-call]
        return features
    return call.forward(flat, None)


def learn(
    code: Library,
    geometry: Geometry,
    images_BPCHW: Tensor,
    weights: Weights,
    room: Room,
    slopes_of: Callable[[Tensor], Tensor],
) -> list[Tensor]:
    """Run the recurrence forward and backward, without a graph of torch's.

    Args:
        code: The compiled code; see `serving`.
        geometry: Sizes; at least one layer.
        images_BPCHW: Images, float32 on the CPU.
        weights: Of that geometry, float32 on the CPU.
        room: Buffers that keep the states for the backward pass.
        slopes_of: Given the mean activations, (T, B, P, F), returns their gradients.

    Returns:
        The gradients of the weights, in their order.

    Raises:
        MemoryError: If memory runs out.
    """
    call, flat = _call(code, geometry, images_BPCHW, room), weights.flat()
    records = room.take(call.record_floats(), call.images)
    slopes = call.backward(flat, slopes_of(call.forward(flat, records)), records)
    room.free.append(records)
    return slopes


def _call(code: Library, geometry: Geometry, images_BPCHW: Tensor, room: Room) -> _Call:
    # In evaluation all networks see the same images, which the code can read without a copy for each network.
    images = images_BPCHW if images_BPCHW[0, 0].is_contiguous() else images_BPCHW.contiguous()
    return _Call(code, geometry, images, room)


class _Call:
    """One unrolling: the library, the sizes in the library's format, and the images."""

    def __init__(self, code: Library, geometry: Geometry, images: Tensor, room: Room) -> None:
        self.code, self.geometry, self.images, self.room = code, geometry, images, room
        sides = geometry.sides
        sizes = [
            *(geometry.population, geometry.steps, geometry.layers, geometry.kernel, geometry.up_delay),
            *images.shape[2:],
            *(*geometry.channels, *geometry.strides),
            *(*(height for height, _ in sides), *(width for _, width in sides)),
        ]
        self.sizes = (ctypes.c_int32 * len(sizes))(*sizes)
        self.absent = _zeros_for(geometry, images)

    @property
    def batch(self) -> int:
        """Number of images."""
        return len(self.images)

    def record_floats(self) -> int:
        """Return how many floats the backward pass needs from the forward pass."""
        return self.geometry.population * self.batch * self.code.record_floats(self.sizes)

    def forward(self, flat: Sequence[Tensor], records: Tensor | None) -> Tensor:
        """Return the features, and write what `backward` needs into `records` if given."""
        geometry = self.geometry
        weights = [weight.detach().contiguous() for weight in (*flat, *self.absent)]
        shape = (geometry.steps, self.batch, geometry.population, sum(geometry.channels))
        features = self.images.new_empty(shape)
        images = self.images.detach()

        def work(part: Range) -> None:
            self.code.forward(self.sizes, part, images, weights, features, records)

        _divided(work, list(self._parts()))
        return features

    def backward(self, flat: Sequence[Tensor], slope_TBPF: Tensor, records: Tensor) -> list[Tensor]:
        """Return the gradients of the weights."""
        weights = [weight.detach().contiguous() for weight in (*flat, *self.absent)]
        slope_TBPF = slope_TBPF.contiguous()
        parts = list(self._parts())
        chunks = sorted({part.first_image for part in parts})
        sizes = [weight.numel() for weight in weights]
        sums = slope_TBPF.new_zeros(max(1, len(chunks)), sum(sizes))

        def work(part: Range) -> None:
            room = sums[chunks.index(part.first_image)].split(sizes)  # type: ignore[no-untyped-call]
            self.code.backward(self.sizes, part, weights, slope_TBPF, records, room)

        _divided(work, parts)
        total = sums[0]
        for chunk in sums[1:]:
            total += chunk
        found = total.split(sizes)  # type: ignore[no-untyped-call]
        # The gradients of absent weights come last and are dropped.
        return [slope.view_as(weight) for slope, weight in zip(found, flat, strict=False)]

    def _parts(self) -> Iterator[Range]:
        """Yield the parts of the work: some images with all networks, or with one network if several threads work."""
        networks = self.geometry.population
        each = networks if torch.get_num_threads() == 1 else 1
        for first in range(0, self.batch, IMAGES_OF_A_PART):
            last = min(first + IMAGES_OF_A_PART, self.batch)
            for network in range(0, networks, each):
                yield Range(self.batch, network, network + each, first, last)


def _zeros_for(geometry: Geometry, like: Tensor) -> list[Tensor]:
    """Return zeros for the lateral and top-down weights that a feed-forward network lacks but the code expects.

    Adding zeros changes no bit. The zeros are made anew for each call and are no weights of the network, so that
    nothing can ever learn them.
    """
    if not geometry.is_feed_forward or geometry.steps == 1:
        return []
    shapes = [(c, c) for c in geometry.channels] + [*pairwise(geometry.channels)]
    return [like.new_zeros(geometry.population * to * of * geometry.kernel**2) for to, of in shapes]


def _divided(work: Callable[[Range], None], parts: Sequence[Range]) -> None:
    """Do all parts in as many threads as torch may use; the compiled code releases Python's lock."""
    threads = min(torch.get_num_threads(), len(parts))
    if threads <= 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, parts):
            pass


class _Unrolled(torch.autograd.Function):
    """An unrolling that keeps its states, and its backward pass."""

    @staticmethod
    def forward(ctx: Any, call: _Call, *flat: Tensor) -> Tensor:
        ctx.call, ctx.records = call, call.room.take(call.record_floats(), call.images)
        ctx.save_for_backward(*flat)
        return call.forward(flat, ctx.records)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope_TBPF: Tensor) -> tuple[Tensor | None, ...]:
        call: _Call = ctx.call
        if ctx.records is None:
            raise RuntimeError(
                "compiled code goes back once through what it computed, though retain_graph was asked for; "
                f"set lattice.recurrence = {TORCH!r} before the images are answered"
            )
        slopes = call.backward(ctx.saved_tensors, slope_TBPF, ctx.records)
        call.room.free.append(ctx.records)
        ctx.records = None
        return (None, *slopes)
