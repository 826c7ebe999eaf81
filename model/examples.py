"""How long a network thinks about each image: a histogram of its steps, and the images it answers soonest and latest.

Both come from the evaluation that measures a trained network, and are kept in the description of its file:

    steps     {"edges": B + 1 numbers, "right": B counts, "wrong": B counts}: steps until halting, by test image
    examples  at most eight images, see `thinking_entries`

The counts take up to 1 KB. Eight images take 2.5 KB with 8 × 8 grey pixels, 4 KB with 28 × 28, 25 KB with 32 × 32 in
colour, and 35 KB if these are noisy; `most_bytes` returns an upper bound.

Nothing here is an objective or changes a measurement.
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sweeper.model.counting import Evaluation
from sweeper.model.images import Images
from sweeper.model.picture import LONGEST_SIDE

#: Most bins of a histogram; a bin is one step wide, or two, four, … steps in windows of more steps.
MOST_PARTS = 60

#: Number of images of each kind: right or wrong, and soonest or latest answered.
OF_A_KIND = 2

FASTEST, SLOWEST = "fastest", "slowest"


@dataclass(frozen=True)
class StepCounts:
    """Histogram of the steps until halting over images.

    Attributes:
        edges: Edges of the bins, ascending, halfway between two steps. Unit: steps.
        right, wrong: Number of images in each bin that were answered right, and wrong.
    """

    edges: tuple[float, ...]
    right: tuple[int, ...]
    wrong: tuple[int, ...]


@dataclass(frozen=True)
class Example:
    """An image, and how it was answered.

    Attributes:
        kind: `fastest` or `slowest`.
        is_right: Whether the answer is its label.
        image: Index of the image in the test set, from 0.
        label, answer: Classes, from 0.
        steps: Steps until the answer.
    """

    kind: str
    is_right: bool
    image: int
    label: int
    answer: int
    steps: int


@dataclass(frozen=True)
class Thinking:
    """How long one network thinks about each image.

    Attributes:
        steps: Histogram over all images; None if the network's probabilities are not finite.
        examples: Soonest and latest answered images; empty if all images take the same steps.
    """

    steps: StepCounts | None = None
    examples: tuple[Example, ...] = ()


def thinking_of(seen: Evaluation, labels: Tensor, window_steps: int) -> Thinking:
    """Return how long one network thinks about each image.

    Args:
        seen: The answers of a population of one to N images.
        labels: Their labels, shape (N,).
        window_steps: T, the steps of the network's window.
    """
    expected_N, steps_N = (steps[:, 0].cpu().numpy() for steps in (seen.expected_steps, seen.step))
    if not np.isfinite(expected_N).all():
        return Thinking()
    is_right_N = seen.is_right[:, 0].cpu().numpy()
    counts = _counted(steps_N, is_right_N, edges_of(window_steps))
    if not len(steps_N) or not np.ptp(steps_N):
        return Thinking(counts)
    answer_N = seen.choice[:, 0].cpu().numpy()
    examples = [
        Example(kind, is_right, int(i), int(labels[i]), int(answer_N[i]), int(steps_N[i]))
        for is_right in (True, False)
        for kind, chosen in _ends(steps_N, expected_N, np.flatnonzero(is_right_N == is_right))
        for i in chosen
    ]
    return Thinking(counts, tuple(examples))


def edges_of(window_steps: int) -> tuple[float, ...]:
    """Return the edges of a histogram over a window of T steps; the first edge is at 0.5."""
    width = 1
    while math.ceil(window_steps / width) > MOST_PARTS:
        width *= 2
    return tuple(0.5 + part * width for part in range(math.ceil(window_steps / width) + 1))


def _counted(steps_N: NDArray[np.int64], is_right_N: NDArray[np.bool_], edges: tuple[float, ...]) -> StepCounts:
    part_N = np.searchsorted(edges, steps_N) - 1
    right, wrong = (np.bincount(part_N[which], minlength=len(edges) - 1) for which in (is_right_N, ~is_right_N))
    return StepCounts(edges, tuple(right.tolist()), tuple(wrong.tolist()))


def _ends(
    steps_N: NDArray[np.int64], expected_N: NDArray[np.floating], among: NDArray[np.int64]
) -> list[tuple[str, NDArray[np.int64]]]:
    """Return the soonest and the latest answered of some images, none twice.

    Images with equal steps are ordered by their expected steps, then by their index.
    """
    soonest = among[np.lexsort((expected_N[among], steps_N[among]))][: min(OF_A_KIND, -(-len(among) // 2))]
    rest = np.setdiff1d(among, soonest)
    return [(FASTEST, soonest), (SLOWEST, rest[np.lexsort((-expected_N[rest], -steps_N[rest]))][:OF_A_KIND])]


def thinking_entries(thinking: Thinking, images: Images) -> dict[str, Any]:
    """Return the entries of a network's description as values that JSON can hold.

    Args:
        thinking: What `thinking_of` returned.
        images: The images that the network answered.

    Returns:
        `steps`, unless there is none, and `examples`: the fields of `Example`, and `png`, the image as the network
        saw it, in base64.
    """
    examples = [
        {
            **asdict(example),
            "png": base64.b64encode(png_of(images.shown(slice(example.image, example.image + 1))[0])).decode("ascii"),
        }
        for example in thinking.examples
    ]
    if thinking.steps is None:
        return {"examples": examples}
    return {"steps": {name: list(values) for name, values in asdict(thinking.steps).items()}, "examples": examples}


def most_bytes(image: tuple[int, int, int]) -> int:
    """Return about the most bytes that the entries take in a network's file.

    Args:
        image: Channels, height and width of the test images.
    """
    channels, height, width = image
    factor = min(1.0, LONGEST_SIDE / max(height, width))
    pixels = round(height * factor + 1) * round(width * factor + 1) * (3 if channels == 3 else 1)
    return 4 * OF_A_KIND * (pixels * 4 // 3 + 500) + 1500  # noise cannot be compressed; the rest is text


def png_of(pixels_CHW: Tensor) -> bytes:
    """Return an image as a PNG, grey or RGB, whose longest side has at most `LONGEST_SIDE` pixels.

    Args:
        pixels_CHW: One channel or three; values outside 0–1 are clipped. Any other number of channels is shown as
            their mean.
    """
    pixels = torch.nan_to_num(pixels_CHW.detach().float().cpu()).clamp(0, 1)
    channels = pixels if len(pixels) in (1, 3) else pixels.mean(0, keepdim=True)
    bytes_HWC = (channels * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    picture = Image.fromarray(bytes_HWC[..., 0] if len(channels) == 1 else bytes_HWC)
    longest = max(picture.size)
    if longest > LONGEST_SIDE:
        width, height = (max(1, round(side * LONGEST_SIDE / longest)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()
