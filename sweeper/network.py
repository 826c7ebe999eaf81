"""What a trained network leaves for people to look at: who draws it needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class StepHistogram:
    """How many test images took how many recurrent steps until they were answered.

    Attributes:
        edges: Ascending, one more than there are counts; halfway between two steps, but in older files, which count
            expected steps: there a part holds its lower edge, the last part both. Unit: steps.
        right, wrong: Images of each part that were answered right, and wrong.
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
        """Whether expected steps were counted, which need not be whole."""
        return any(edge % 1 != 0.5 for edge in self.edges)

    def steps_of(self, part: int) -> str:
        """Return how many steps the images of a part took: `3`, or from where to where."""
        low, high = self.edges[part : part + 2]
        if not self.is_expected:
            low, high = low + 0.5, high - 0.5
        return f"{low:g}" if low == high else f"{low:g}–{high:g}"


@dataclass(frozen=True)
class ExampleImage:
    """A test image that a network answered soonest or latest of all it got right, or of all it got wrong.

    Attributes:
        kind: `fastest` or `slowest`.
        is_right: Whether `answer` is `label`.
        image: Its number in the test set, from 0.
        label, answer: Classes: their names where the data have any, else their labels.
        steps: Recurrent steps until it was answered; in older files the expected ones.
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
    """What is left of a trained network, as `model.Graph` holds it: who draws it needs no torch.

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
        """Share of images that are answered after exactly step 1, 2, …; in older files the mean probability."""

    @property
    def bottom_up(self) -> Sequence[Sequence[Sequence[float]]]:
        """Strengths of each layer from the layer below, or from the image."""

    @property
    def lateral(self) -> Sequence[Sequence[Sequence[float]]]:
        """Strengths of each layer from itself one step before; empty where there are none."""

    @property
    def top_down(self) -> Sequence[Sequence[Sequence[float]]]:
        """Strengths of each layer but the deepest from the layer above one step before; empty where there are none."""

    @property
    def readout(self) -> Sequence[Sequence[float]]:
        """Strength of each channel's readout."""

    @property
    def parameters(self) -> int:
        """Number of weights."""

    @property
    def up_delay(self) -> int:
        """Steps that bottom-up input from one layer to the next takes, 0 or 1; that from the image takes none."""
