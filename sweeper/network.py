"""Descriptions of a trained network for drawing, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class StepHistogram:
    """Histogram of test images by the number of recurrent steps until they were answered.

    Attributes:
        edges: Ascending edges of the bins, in steps, one more than there are bins. They lie halfway between two steps.
            Older files count expected steps: there a bin includes its lower edge, and the last bin both edges.
        right, wrong: Numbers of images in each bin that were answered right, and wrong.
    """

    edges: tuple[float, ...]
    right: tuple[int, ...]
    wrong: tuple[int, ...]

    @property
    def images(self) -> int:
        """Number of test images."""
        return sum(self.right) + sum(self.wrong)

    @property
    def is_expected(self) -> bool:
        """Whether the histogram counts expected steps, which need not be whole."""
        return any(edge % 1 != 0.5 for edge in self.edges)

    def steps_of(self, part: int) -> str:
        """Return the steps of a bin as text: one number such as `3`, or a range."""
        low, high = self.edges[part : part + 2]
        if not self.is_expected:
            low, high = low + 0.5, high - 0.5
        return f"{low:g}" if low == high else f"{low:g}–{high:g}"


@dataclass(frozen=True)
class ExampleImage:
    """The test image that a network answered soonest or latest of all that it got right, or of all that it got wrong.

    Attributes:
        kind: `fastest` or `slowest`.
        is_right: Whether `answer` equals `label`.
        image: Number of the image in the test set, from 0.
        label, answer: Classes, by their names if the data have names, otherwise by their labels.
        steps: Recurrent steps until the answer; in older files the expected steps.
        png: The image as the network saw it, as a small PNG.
    """

    kind: str
    is_right: bool
    image: int
    label: int | str
    answer: int | str
    steps: float
    png: bytes


class NetworkGraph(Protocol):
    """The remaining parts of a trained network, as `model.Graph` holds them, so that drawing needs no torch.

    Layers are listed from the image upwards; a strength is a list over targets of a list over sources.
    """

    @property
    def image(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""

    @property
    def classes(self) -> int:
        """Number of classes."""

    @property
    def channels(self) -> Sequence[int]:
        """Living channels of each layer."""

    @property
    def sides(self) -> Sequence[tuple[int, int]]:
        """Height and width of each layer's state."""

    @property
    def step_dist(self) -> Sequence[float]:
        """Shares of images answered after exactly step 1, 2, …; in older files the mean probabilities of the steps."""

    @property
    def bottom_up(self) -> Sequence[Sequence[Sequence[float]]]:
        """Strengths of each layer from the layer below, or from the image."""

    @property
    def lateral(self) -> Sequence[Sequence[Sequence[float]]]:
        """Strengths of each layer from itself one step before; empty if there are none."""

    @property
    def top_down(self) -> Sequence[Sequence[Sequence[float]]]:
        """Strengths of each layer but the deepest from the layer above one step before; empty if there are none."""

    @property
    def readout(self) -> Sequence[Sequence[float]]:
        """Strength of each channel's readout."""

    @property
    def parameters(self) -> int:
        """Number of weights."""

    @property
    def up_delay(self) -> int:
        """Delay of bottom-up input from one layer to the next, 0 or 1 steps; input from the image has no delay."""
