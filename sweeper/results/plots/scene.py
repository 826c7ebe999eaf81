"""Lays out a network for a picture, in plain numbers: which parts it shows and where. Also its counts in words."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from sweeper.analysis.sheet import TESTED, USUAL
from sweeper.measurements import MEASUREMENTS, Measurement, touched
from sweeper.network import NetworkGraph, StepHistogram

#: Most connections and most lines in a picture; a connection is a line in each step. The weakest beyond are left out,
#: because they would fill the plane between two wide layers and take seconds to draw.
MOST_CONNECTIONS = 600
MOST_LINES = 6000

#: Steps that the network reaches with less than this probability are summed up in words, not drawn.
TOLD_BELOW = 0.005

# Sizes in inches on paper. A scene larger than `_LARGEST` is shrunk as a whole.
_CHANNEL = (0.115, 0.07)  # from one channel of a layer to the next: breadth runs at an angle
_LAYER = 0.85
_STEP = (1.05, 2.2)  # from one step to the next: the least, and the most, for wide layers
_BETWEEN_STEPS = 0.6
_LARGEST = (18.0, 9.0)

Position = tuple[float, float]


class Edge(NamedTuple):
    """A connection between two places (layer, place of the channel); the source is `back` steps earlier."""

    strength: float
    kind: str
    source: tuple[int, int]
    target: tuple[int, int]
    back: int


@dataclass(frozen=True)
class Scene:
    """A network in an oblique projection: steps to the right, layers upwards, channels away into the page.

    Channels run at an angle because in upright rows all lateral connections would lie on one horizontal line.

    Attributes:
        steps: Number of steps drawn.
        order: For each layer, its channels from front to back.
        widest: Number of places in the widest row.
        step: Distance between two steps, in inches before scaling.
        scale: 1, or the factor that makes a large network fit.
    """

    steps: int
    order: tuple[tuple[int, ...], ...]
    widest: int
    step: float
    scale: float = 1.0

    @property
    def layers(self) -> int:
        """Number of layers above the image."""
        return len(self.order)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches, from the first node to the last."""
        return self.at(self.steps - 1, 0, self.widest - 1)[0], self.at(0, self.layers, self.widest - 1)[1]

    def at(self, step: int, layer: int, position: float) -> Position:
        """Return the position of a node in inches; steps and places count from 0, and layer 0 is the image."""
        return (
            self.scale * (step * self.step + position * _CHANNEL[0]),
            self.scale * (layer * _LAYER + position * _CHANNEL[1]),
        )

    def every_step(self, room: float) -> range:
        """Return the steps to label, such that labels are at least `room` inches apart."""
        return range(0, self.steps, _every(self.step * self.scale, room))

    def every_layer(self, room: float) -> range:
        """Return the layers to label, such that labels are at least `room` inches apart."""
        return range(0, self.layers + 1, _every(_LAYER * self.scale, room))


def _every(distance: float, room: float) -> int:
    return max(1, -int(-room // distance))


def scene_of(graph: NetworkGraph) -> Scene:
    """Lay out the nodes of a network; all networks have the same scale, except very large ones."""
    widest = max((graph.image[0], *graph.channels))
    step = min(_STEP[1], max(_STEP[0], (widest - 1) * _CHANNEL[0] + _BETWEEN_STEPS))
    order = tuple(_strongest_first(graph, layer) for layer in range(len(graph.channels)))
    natural = Scene(shown_steps(graph.step_dist), order, widest, step)
    fits = [most / size for most, size in zip(_LARGEST, natural.size, strict=True) if size > most]
    return Scene(natural.steps, order, widest, step, min(fits, default=1.0))


def shown_steps(step_dist: Sequence[float]) -> int:
    """Return how many steps to draw: those reached with a probability of `TOLD_BELOW` or more, and at least one."""
    reached = reach(step_dist)
    return next((step for step in range(1, len(reached)) if reached[step] < TOLD_BELOW), len(reached))


def reach(step_dist: Sequence[float]) -> list[float]:
    """Return, for each step, the probability that the network reaches it: that it has not answered before."""
    return [max(0.0, 1 - sum(step_dist[:step])) for step in range(len(step_dist))]


def strongest(graph: NetworkGraph, scene: Scene) -> list[Edge]:
    """Return the connections to draw, strongest first."""
    most = min(MOST_CONNECTIONS, max(1, MOST_LINES // scene.steps))
    return heapq.nlargest(most, _connections(graph, scene.order))


def count_connections(graph: NetworkGraph) -> int:
    """Return the number of connections of nonzero strength."""
    return sum(
        strength > 0
        for by_layer in (graph.bottom_up, graph.lateral, graph.top_down)
        for strengths in by_layer
        for row in strengths
        for strength in row
    )


def _connections(graph: NetworkGraph, order: Sequence[Sequence[int]]) -> Iterator[Edge]:
    positions = [list(range(graph.image[0])), *([row.index(c) for c in range(len(row))] for row in order)]
    kinds = (
        ("bottom-up", graph.bottom_up, -1, graph.up_delay),
        ("lateral", graph.lateral, 0, 1),
        ("top-down", graph.top_down, 1, 1),
    )
    for kind, by_layer, offset, back in kinds:
        for layer, strengths in enumerate(by_layer, start=1):
            sources = [(layer + offset, position) for position in positions[layer + offset]]
            for position, row in zip(positions[layer], strengths, strict=True):
                for source, strength in zip(sources, row, strict=True):
                    if strength > 0:
                        is_image = source[0] == 0  # the image is there at every step
                        yield Edge(strength, kind, source, (layer, position), 0 if is_image else back)


def _strongest_first(graph: NetworkGraph, layer: int) -> tuple[int, ...]:
    """Order a layer's channels by the strength of their bottom-up input and readout, strongest first."""
    totals = [
        readout**2 + sum(strength**2 for strength in row)
        for readout, row in zip(graph.readout[layer], graph.bottom_up[layer], strict=True)
    ]
    return tuple(sorted(range(len(totals)), key=lambda channel: -totals[channel]))


def summary(graph: NetworkGraph, measurement: Mapping[str, float]) -> str:
    """Return a network's layers, channels, classes and the walls that limited it, in one line."""
    classes = f"{graph.classes} classes"
    walls = touched(measurement)
    if axes := ", ".join(wall.axis for wall in walls if wall.is_window):
        classes += f" · limited by its window in {axes}"
    if others := ", ".join(wall.axis for wall in walls if not wall.is_window):
        classes += f" and the window by {others}"
    if not graph.channels:
        return f"no living layer · {classes}"
    layers, first = counted(len(graph.channels), "layer"), counted(graph.channels[0], "channel")
    if len(set(graph.channels)) == 1:
        return f"{layers} of {first}{' each' * (len(graph.channels) > 1)} · {classes}"
    return f"{layers} of {' + '.join(map(str, graph.channels))} channels, from the image upwards · {classes}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: 1 layer, 2 layers."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def counts(graph: NetworkGraph, measurement: Mapping[str, float]) -> dict[str, str]:
    """Return a network's figures by label; figures that were not measured are counted on the graph."""
    known = {
        "breadth": max(graph.channels, default=0),
        "depth": len(graph.channels),
        "time": sum(step * p for step, p in enumerate(graph.step_dist, start=1)),
        "parameters": graph.parameters,
        **measurement,
    }
    shown = [MEASUREMENTS[name] for name in (*USUAL, *TESTED, "parameters", "macs") if name in known]
    return {one.label or one.name: _figure(one, known[one.name]) for one in shown}


def _figure(measurement: Measurement, value: float) -> str:
    # Earlier versions measured some of today's whole numbers as means.
    is_counted = not measurement.digits or (measurement.is_whole and float(value).is_integer())
    return _short(value) if is_counted else f"{value:.{measurement.digits}f}"


def median_steps(histogram: StepHistogram) -> str:
    """Return the median steps of right and of wrong answers in words; empty without answers."""
    parts = []
    for counts, how in ((histogram.right, "right"), (histogram.wrong, "wrong")):
        if total := sum(counts):
            middle = next(part for part, upto in enumerate(accumulate(counts)) if 2 * upto >= total)
            parts.append(f"{how} {histogram.steps_of(middle)} ({counted(total, 'image')})")
    return f"median steps: {', '.join(parts)}" if parts else ""


def _short(count: float) -> str:
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if count >= limit:
            return f"{count / limit:.3g} {unit}"
    return f"{count:,.0f}"


def percent(p: float) -> str:
    """Return a probability as a percentage in text; only an exact zero is 0 %."""
    return "<1 %" if 0 < p < 0.005 else f"{100 * p:.0f} %"
