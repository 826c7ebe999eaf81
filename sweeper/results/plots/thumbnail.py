"""Draws a network's living graph as a few kilobytes of SVG, for pages that hold many networks.

The layout is that of `drawing`: steps to the right, layers upwards, channels away into the page. The SVG is small
because it defines the lines of a step once and reuses them at each step. The page's style sheet sets the colours, so
that the page may be light or dark.
"""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Iterator, Mapping

from sweeper.network import NetworkGraph
from sweeper.results.plots import scene as scenes
from sweeper.results.plots.scene import Position, Scene

#: Approximate bytes of SVG: for a connection ("M1234 456l-123 85"), and for the rest of a network.
BYTES_A_CONNECTION, BYTES_A_NETWORK = 17, 3500

_LEVELS = 5  # levels of strength, weakest first
_UNIT = 100  # units in an inch
_NODE = 9
_USUAL_WIDTH = 420  # a wider picture gets larger letters, because the page shrinks it to the usual width

# Letters in units; the other sizes as multiples of the letters' height:
_LETTERS = 11
_LEFT, _ABOVE, _BELOW, _RIGHT = 4.8, 6.4, 2.6, 2.2
_BAR = (2.6, 3.4)  # width and height of the bar of a step with probability 1


def small_svg(
    graph: NetworkGraph, name: str, measurement: Mapping[str, float], most: int = scenes.MOST_CONNECTIONS
) -> str:
    """Return an `<svg>` element; the same input gives the same text.

    Args:
        graph: The network; everything in it is alive.
        name: A name that is unique on the page, of letters, digits and hyphens.
        measurement: As for `scene.summary`, which makes the picture's label.
        most: Most connections to draw; the strongest are drawn.
    """
    label = html.escape(scenes.summary(graph, measurement))
    if not graph.channels:
        return (
            f'<svg class="network" viewBox="0 0 300 40" font-size="11" role="img" aria-label="{label}">'
            '<text x="6" y="25">No living layer: every image gets the same answer.</text></svg>'
        )
    return _Sketch(graph, scenes.scene_of(graph), name, most).svg(label)


class _Sketch:
    """One network in SVG: x to the right, y downwards, 100 units to the inch."""

    def __init__(self, graph: NetworkGraph, scene: Scene, name: str, most: int) -> None:
        self.graph, self.scene, self.name, self.most = graph, scene, name, most
        self.reached = scenes.reach(graph.step_dist)[: scene.steps]
        self.bold = max(1.0, (scene.size[0] * _UNIT + 66) / _USUAL_WIDTH)
        self.letters = round(_LETTERS * self.bold)
        self.left, self.below = round(_LEFT * self.letters), round(_BELOW * self.letters)
        self.width = self.left + round(scene.size[0] * _UNIT + _RIGHT * self.letters)
        self.height = round(_ABOVE * self.letters + scene.size[1] * _UNIT) + self.below

    def at(self, step: int, layer: int, position: float) -> tuple[int, int]:
        x, y = self.scene.at(step, layer, position)
        return self.left + round(x * _UNIT), self.height - self.below - round(y * _UNIT)

    def shift(self, step: int) -> int:
        return self.at(step, 0, 0)[0] - self.at(0, 0, 0)[0]

    def svg(self, label: str) -> str:
        parts = [
            f'<svg class="network" viewBox="0 0 {self.width} {self.height}" font-size="{self.letters}" '
            f'role="img" aria-label="{label}">',
            *self._defined(),
            *self._steps(),
            *self._bars(),
            *self._labels(),
            "</svg>",
        ]
        return "".join(parts)

    def _defined(self) -> Iterator[str]:
        """Yield the parts that every step reuses: lines within it, lines from the step before, nodes."""
        yield "<defs>"
        for back, paths in enumerate(self._lines()):
            yield f'<g id="{self.name}-{back}" fill="none" stroke-linecap="round">'
            for (kind, level), path in sorted(paths.items(), key=lambda item: (item[0][1], item[0][0])):
                wide = (0.5 + 0.55 * level) * self.bold
                yield f'<path class="{kind} l{level}" stroke-width="{wide:.1f}" d="{path}"/>'
            yield "</g>"
        yield f'<g id="{self.name}-n" fill="none" stroke-linecap="round">'
        size = _NODE * max(self.scene.scale * self.bold**0.5, 0.5)
        dots, by_level = self._dots()
        yield f'<path class="rim" stroke-width="{size:.1f}" d="{dots}"/>'
        yield f'<path class="paper" stroke-width="{size - 2:.1f}" d="{dots}"/>'
        for level, path in sorted(by_level.items()):
            yield f'<path class="ink n{level}" stroke-width="{size - 2:.1f}" d="{path}"/>'
        yield "</g></defs>"

    def _lines(self) -> tuple[dict[tuple[str, int], str], dict[tuple[str, int], str]]:
        """Return the lines within a step and those from the step before, as paths by kind and level of strength."""
        drawn = scenes.strongest(self.graph, self.scene)[: self.most]
        most = drawn[0].strength if drawn else 1.0
        paths: tuple[dict[tuple[str, int], str], ...] = (defaultdict(str), defaultdict(str))
        for line in reversed(drawn):  # the strongest on top
            x, y = self.at(0, *line.source)
            to_x, to_y = self.at(0, *line.target)
            path = f"M{x - line.back * self.shift(1)} {y}l{to_x - x + line.back * self.shift(1)} {to_y - y}"
            paths[line.back][line.kind, _level(line.strength / most)] += path
        return paths[0], paths[1]

    def _dots(self) -> tuple[str, dict[int, str]]:
        most = max(max(layer) for layer in self.graph.readout) or 1.0
        dots = ""
        by_level: dict[int, str] = defaultdict(str)
        for position in range(self.graph.image[0]):
            dots += _dot(self.at(0, 0, position))
        for layer, order in enumerate(self.scene.order):
            for position, channel in enumerate(order):
                dot = _dot(self.at(0, layer + 1, position))
                dots += dot
                by_level[_level(self.graph.readout[layer][channel] / most)] += dot
        return dots, by_level

    def _steps(self) -> Iterator[str]:
        for step, reached in enumerate(self.reached):
            x = self.shift(step)
            yield f'<g opacity="{0.2 + 0.8 * reached:.2f}"><use href="#{self.name}-0" x="{x}"/>'
            if step:
                yield f'<use href="#{self.name}-1" x="{x}"/>'
            yield "</g>"
        for step, reached in enumerate(self.reached):  # above all lines, also those to the next step
            yield f'<use href="#{self.name}-n" x="{self.shift(step)}" opacity="{0.25 + 0.75 * reached:.2f}"/>'

    def _bars(self) -> Iterator[str]:
        """Yield the probability of answering after each step, above it."""
        wide = min(round(_BAR[0] * self.letters), round(0.6 * self.scene.step * self.scene.scale * _UNIT))
        high, base = round(_BAR[1] * self.letters), round((_ABOVE - 1.2) * self.letters)
        labelled = self.scene.every_step(0.5 * self.bold)
        for step, p in enumerate(self.graph.step_dist[: self.scene.steps]):
            x = self.at(step, 0, (self.scene.widest - 1) / 2)[0] - wide // 2
            bar = max(1, round(high * min(p, 1)))
            yield f'<path class="room" d="M{x} {base}v-{high}h{wide}v{high}z"/>'
            yield f'<path class="bar" d="M{x} {base}v-{bar}h{wide}v{bar}z"/>'
            if step in labelled:
                yield f'<text class="mid" x="{x + wide // 2}" y="{base - high - 4}">{scenes.percent(p)}</text>'

    def _labels(self) -> Iterator[str]:
        for layer in self.scene.every_layer(0.2 * self.bold):
            y = self.at(0, layer, 0)[1] + self.letters // 3
            words = "image" if layer == 0 else str(self.graph.channels[layer - 1])
            yield f'<text class="end" x="{self.left - self.letters}" y="{y}">{words}</text>'
        for step in self.scene.every_step(0.25 * self.bold):
            x, y = self.at(step, 0, 0)[0], self.height - self.letters // 2
            yield f'<text class="mid" x="{x}" y="{y}">{step + 1}</text>'


def _level(share: float) -> int:
    return min(_LEVELS - 1, max(0, int(share * _LEVELS)))


def _dot(position: Position) -> str:
    return f"M{position[0]} {position[1]}h.1"
