"""The window of the infinite lattice that a network covers, and the shapes of its weights. Does not load torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from sweeper.model.errors import WindowError

#: Rules that choose the step of the answer; see `model.time_selection`.
FIXED, CONFIDENCE, STATE = TIME_SELECTIONS = ("fixed", "confidence", "state")

#: Connections of a window: bottom-up, lateral and top-down ones, or bottom-up ones alone.
ALL, FEED_FORWARD = CONNECTIONS = ("all", "feed_forward")

#: Name of a rule in files of earlier versions -> its current name.
FORMER_NAMES = {"adaptive": CONFIDENCE}

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """The part of the infinite lattice that is computed, and the shape of its images.

    Attributes:
        channels: Channels of each layer, from the image upwards. Empty for no layer and a constant answer.
        steps: Recurrent steps.
        image: Channels, height and width of the images.
        classes: Number of classes.
        kernel: Side of every convolution's kernel, odd.
        halve: Layers, numbered from 1, whose state has half the side of the layer below.
        time_selection: `fixed`, `confidence` or `state`; see `model.time_selection`.
        bottom_up: When a layer takes the output of the layer below: `within` the same step, or at the `next` one.
        standardize: Standardisation of pixels: `images`, by mean and standard deviation of each channel over the
            training images; `each`, by those of the image itself; or `none`.
        connections: `all`; or `feed_forward`: only bottom-up connections, at the `next` step, which makes a network
            with early exits in which the image reaches layer l at step l.
    """

    channels: tuple[int, ...]
    steps: int
    image: tuple[int, int, int]
    classes: int
    kernel: int = 3
    halve: tuple[int, ...] = ()
    time_selection: str = CONFIDENCE
    bottom_up: str = "within"
    standardize: str = "none"
    connections: str = ALL

    def __post_init__(self) -> None:
        if any(c < 1 for c in self.channels):
            raise WindowError(f"every layer needs at least 1 channel, but got channels={self.channels}")
        if self.steps < 1:
            raise WindowError(f"a window needs at least 1 step, but got steps={self.steps}")
        if self.classes < 2:
            raise WindowError(f"a task needs at least 2 classes, but got classes={self.classes}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise WindowError(f"the kernel's side must be odd and positive, but got kernel={self.kernel}")
        if self.time_selection not in TIME_SELECTIONS:
            known = ", ".join(map(repr, TIME_SELECTIONS))
            raise WindowError(f"time selection is one of {known}, but got time_selection={self.time_selection!r}")
        if self.bottom_up not in {"within", "next"}:
            raise WindowError(
                f"bottom-up input is taken 'within' the step or at the 'next', but got bottom_up={self.bottom_up!r}"
            )
        if self.standardize not in {"images", "each", "none"}:
            raise WindowError(f"pixels are standardized by images, each or none, but got {self.standardize!r}")
        if self.connections not in CONNECTIONS:
            known = " or ".join(map(repr, CONNECTIONS))
            raise WindowError(f"connections are {known}, but got connections={self.connections!r}")
        if self.is_feed_forward and not self.up_delay:
            raise WindowError(
                "all steps of a feed-forward network are equal where bottom-up input is taken within the step: "
                f"connections={self.connections!r} goes with bottom_up='next', but got bottom_up={self.bottom_up!r}"
            )
        for layer in range(1, len(self.channels) + 1):
            below, above = self.side(layer - 1), self.side(layer)
            if layer in self.halve and min(below) < 2:
                raise WindowError(
                    f"layer {layer} cannot halve an image of {below[0]}×{below[1]} pixels (it would be "
                    f"{above[0]}×{above[1]}). Remove {layer} from halve={self.halve}."
                )

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.channels)

    @property
    def is_recurrent(self) -> bool:
        """Whether there is more than one step, so that there is a step to choose."""
        return self.steps > 1

    @property
    def is_feed_forward(self) -> bool:
        """Whether layers get input from the layer below only, whatever the number of steps."""
        return self.connections == FEED_FORWARD

    @property
    def has_recurrent_weights(self) -> bool:
        """Whether there are lateral and top-down weights, which need more than one step."""
        return self.is_recurrent and not self.is_feed_forward

    @property
    def is_adaptive(self) -> bool:
        """Whether the step distribution depends on the image; with a single step there is nothing to choose."""
        return self.time_selection != FIXED and self.is_recurrent

    @property
    def reads_state(self) -> bool:
        """Whether the hazard reads the pooled activations, so that channels have hazard weights."""
        return self.time_selection == STATE and self.is_recurrent

    @property
    def up_delay(self) -> int:
        """Steps that bottom-up input takes: 0, or 1 if each layer sees the image one step after the layer below."""
        return int(self.bottom_up == "next")

    def side(self, layer: int) -> tuple[int, int]:
        """Return height and width of a layer's state; layer 0 is the image."""
        _, height, width = self.image
        for halved in range(1, layer + 1):
            if halved in self.halve:
                height, width = -(-height // 2), -(-width // 2)
        return height, width

    def reaches(self, layer: int, steps: int) -> bool:
        """Tell whether the image reaches a layer, numbered from 1, within a number of steps."""
        return layer <= steps if self.up_delay else steps > 0

    def resized(self, channels: tuple[int, ...], steps: int) -> Window:
        """Return a window of the same kind and another size; only its own layers are halved."""
        halve = tuple(layer for layer in self.halve if layer <= len(channels))
        return replace(self, channels=channels, steps=steps, halve=halve)

    def training_bytes(self, batch_size: int) -> int:
        """Return about the memory that training one network takes, in bytes: states, gradients, weights and moments."""
        states, ways = 0, 0
        below, outputs = self.image[0], 0
        for layer, c in enumerate(self.channels, start=1):
            height, width = self.side(layer)
            above = self.channels[layer] if layer < self.layers else 0
            states += c * height * width
            ways += (above + c + (below if layer > 1 else 0)) * height * width
            outputs += self.kernel**2 * c * (below + c + above) + c * (self.classes + 1)
            below = c
        # Every step stores states and the gradients of what they feed. Workspace takes about one step more.
        numbers = batch_size * (self.steps + 1) * (states + ways)
        return 4 * (numbers + 4 * outputs)

    def learned_shapes(self) -> dict[str, Shape]:
        """Return the shapes of one network's learned weights, by name; a `Lattice` adds the leading axis P.

        This needs no torch, so that a file can be checked against the shapes before a network is made from it.
        """
        sources = (self.image[0], *self.channels)
        kernel = (self.kernel, self.kernel)
        layers: dict[str, list[Shape]] = {
            "bottom_up": [(c, below, *kernel) for below, c in pairwise(sources)],
            "lateral": [(c, c, *kernel) for c in self.channels if self.has_recurrent_weights],
            "top_down": [(c, above, *kernel) for c, above in pairwise(self.channels) if self.has_recurrent_weights],
            "bias": [(c,) for c in self.channels],
            "readout": [(self.classes, c) for c in self.channels],
            "hazard": [(1, c) for c in self.channels if self.reads_state],
        }
        shapes: dict[str, Shape] = {"readout_bias": (self.classes,)}
        if self.is_adaptive:
            shapes["hazard_bias"] = ()
        if self.is_adaptive and not self.reads_state:
            shapes["hazard_sureness"] = ()
        if self.is_recurrent and not self.is_adaptive:
            shapes["step_logits"] = (self.steps,)
        return shapes | {f"{name}.{l}": shape for name, of in layers.items() for l, shape in enumerate(of)}

    def kept_shapes(self) -> dict[str, Shape]:
        """Return the shapes of one network's other tensors, by name: how far steps are open, and pixel statistics."""
        pixels = ("pixel_mean", "pixel_std") if self.standardize == "images" else ()
        return {"entry": (self.steps,), **dict.fromkeys(pixels, self.image[:1])}
