"""Draws a network's living graph as SVG or PNG: time to the right, depth upwards, breadth into the page."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from sweeper.errors import QueryError
from sweeper.network import NetworkGraph
from sweeper.results.plots import scene as scenes
from sweeper.results.plots.scene import Position, Scene

FORMATS = ("svg", "png")

_DPI = 150

# Sizes in inches on paper.
_LEAST_WIDTH = 8.2
_MARGIN = 0.3
_LABELS = 1.3  # left of the scene: the layers' names
_TOLD = 0.85  # right of it: a note about the steps that are not drawn
_FOOT = 1.65  # below: step numbers and legend
_ABOVE = 1.35  # above: the bars
_BAR = (0.34, 0.5)  # width and height of the bar of a step with probability 1
_TILE = 1.27

_INK, _SOFT, _CARD, _EDGE = "#1f2933", "#6b7785", "#eef2f6", "#cbd5e0"
#: Colours by Okabe and Ito, which colour-blind readers can tell apart too.
_COLOURS = {"bottom-up": "#0072B2", "lateral": "#D55E00", "top-down": "#009E73"}
_BAR_COLOUR = "#CC79A7"

_STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "svg.fonttype": "none",  # words stay text, so readers can search and copy them
    "svg.hashsalt": "sweeper",  # the same picture gives the same bytes
}

Colour = tuple[float, float, float]


def picture_format(path: Path) -> str:
    """Return `svg` or `png` by the ending of a file's name.

    Raises:
        QueryError: If the name ends otherwise.
    """
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise QueryError(f"a picture's name must end in .svg or .png, but got {path}. Name another file with -o.")
    return suffix


def draw(graph: NetworkGraph, kind: str, *, title: str = "", measurement: Mapping[str, float] | None = None) -> bytes:
    """Return the picture of a network; the same input gives the same bytes.

    Args:
        graph: The network; everything in it is alive.
        kind: `svg` or `png`.
        title: Headline, such as task and trial key.
        measurement: Values by the names in `MEASUREMENTS`; a missing one is counted on the graph or left out.
    """
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # matplotlib draws a box in its place
        matplotlib.rcdefaults()  # ignore the user's own matplotlibrc
        matplotlib.rcParams.update(_STYLE)
        figure = _figure(graph, title, measurement or {})
        file = io.BytesIO()
        unsaid = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(file, format=kind, dpi=_DPI, metadata=unsaid)
    return file.getvalue()


def _figure(graph: NetworkGraph, title: str, measurement: Mapping[str, float]) -> Figure:
    """Lay out the page: title, counts, bars, scene, legend, from the top."""
    scene = scenes.scene_of(graph)
    has_told = scene.steps < len(graph.step_dist)
    content = _LABELS + scene.size[0] + (_TOLD if has_told else 0.2)
    counts = scenes.counts(graph, measurement)
    width = max(_LEAST_WIDTH, max(content, len(counts) * _TILE) + 2 * _MARGIN)
    titles = textwrap.wrap(title, int((width - 2 * _MARGIN) / 0.125), break_on_hyphens=False)
    words = textwrap.wrap(scenes.summary(graph, measurement), int((width - 2 * _MARGIN) / 0.078))
    head = 0.3 + 0.26 * len(titles) + 0.22 * len(words) + 0.75
    height = head + (_ABOVE + scene.size[1] + _FOOT if graph.channels else 1.0)
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    _write_head(axes, height, titles, words, counts)
    if graph.channels:
        slack = (width - 2 * _MARGIN - content) / 2  # a small network stands in the middle
        _Painter(axes, graph, scene, (_MARGIN + _LABELS + slack, _FOOT)).paint()
    else:
        _write(axes, _MARGIN, 0.5, "No living layer: every image gets the same answer.", size=12, gid="nothing")
    return figure


class _Painter:
    """Draws one network into axes whose unit is an inch."""

    def __init__(self, axes: Axes, graph: NetworkGraph, scene: Scene, origin: Position) -> None:
        self.axes, self.graph, self.scene, self.origin = axes, graph, scene, origin
        # Early steps matter even if the network seldom answers there. So a step is pale if the network seldom reaches
        # it, not if p(t) is small.
        self.vigour = [0.2 + 0.8 * reached for reached in scenes.reach(graph.step_dist)[: scene.steps]]
        self.thin = max(0.4, scene.scale)

    def at(self, step: int, layer: int, position: float) -> Position:
        x, y = self.scene.at(step, layer, position)
        return self.origin[0] + x, self.origin[1] + y

    def paint(self) -> None:
        self._cards()
        self._lines()
        self._nodes()
        self._bars()
        self._labels()

    def _cards(self) -> None:
        """Lay a card behind each step."""
        pad = 0.13 * self.scene.scale
        for step, vigour in enumerate(self.vigour):
            corners = ((0, -1), (0, self.scene.widest), (self.scene.layers, -1))
            (left, low), (right, low_right), (_, high) = (self.at(step, *corner) for corner in corners)
            rise = low_right - low
            outline = [(left, low - pad), (right, low + rise - pad), (right, high + rise + pad), (left, high + pad)]
            self.axes.add_patch(
                Polygon(
                    outline,
                    facecolor=_CARD,
                    edgecolor=_EDGE,
                    linewidth=0.6,
                    alpha=0.3 + 0.5 * vigour,
                    gid=f"step-{step + 1}",
                )
            )

    def _lines(self) -> None:
        drawn = scenes.strongest(self.graph, self.scene)
        most = drawn[0].strength if drawn else 1.0
        for kind, colour in _COLOURS.items():
            segments, widths, alphas = [], [], []
            for connection in reversed([c for c in drawn if c.kind == kind]):  # the strongest on top
                share = connection.strength / most
                for step in range(connection.back, self.scene.steps):
                    source = self.at(step - connection.back, *connection.source)
                    segments.append([source, self.at(step, *connection.target)])
                    widths.append((0.3 + 1.9 * share) * self.thin)
                    alphas.append((0.06 + 0.84 * share**1.5) * self.vigour[step])
            if segments:
                lines = LineCollection(segments, linewidths=widths, colors=colour, alpha=alphas, zorder=2, gid=kind)
                lines.set_capstyle("round")
                self.axes.add_collection(lines)
        waits = {kind: any(c.back for c in drawn if c.kind == kind) for kind in {c.kind for c in drawn}}
        _write_legend(self.axes, {k: f"{k}, to the next step" if waits[k] else k for k in _COLOURS if k in waits})
        of = scenes.count_connections(self.graph)
        some = f"the {len(drawn):,} strongest of {of:,} connections are drawn"
        every = "its only connection is drawn" if of == 1 else f"all {of:,} connections are drawn"
        words = f"Line width: strength; {every if len(drawn) == of else some}. Dark node: strongly read out."
        _write(self.axes, _MARGIN, 0.53, words, size=8, color=_SOFT, va="center", gid="drawn")

    def _nodes(self) -> None:
        most = max(max(layer) for layer in self.graph.readout) or 1.0
        positions, fills, edges = [], [], []
        image, image_edges = [], []
        for step, vigour in enumerate(self.vigour):
            for layer, order in enumerate(self.scene.order):
                positions += [self.at(step, layer + 1, position) for position in range(len(order))]
                fills += [_mixed(vigour * self.graph.readout[layer][channel] / most) for channel in order]
                edges += [_mixed(vigour)] * len(order)
            image += [self.at(step, 0, position) for position in range(self.graph.image[0])]
            image_edges += [_mixed(vigour)] * self.graph.image[0]
        self._marks("nodes", "o", positions, fills, edges)
        self._marks("image", "s", image, [_mixed(0.0)] * len(image), image_edges)

    def _marks(
        self, gid: str, marker: str, positions: list[Position], fills: list[Colour], edges: list[Colour]
    ) -> None:
        x, y = zip(*positions, strict=True)
        size = ((6.2 if marker == "o" else 7.4) * self.scene.scale) ** 2
        edge = 0.8 * self.thin
        self.axes.scatter(
            x, y, s=size, marker=marker, facecolors=fills, edgecolors=edges, linewidths=edge, zorder=3, gid=gid
        )

    def _bars(self) -> None:
        """Draw p(t) above each step, and write the sum of p(t) over the steps after the last one drawn."""
        base = self.origin[1] + self.scene.size[1] + 0.32
        wide, high = min(_BAR[0], 0.6 * self.scene.step * self.scene.scale), _BAR[1]
        middle = [self.at(step, 0, (self.scene.widest - 1) / 2)[0] for step in range(self.scene.steps)]
        for step, (x, p) in enumerate(zip(middle, self.graph.step_dist, strict=False)):
            corner = (x - wide / 2, base)
            self.axes.add_patch(Rectangle(corner, wide, high, facecolor="#f3f5f7"))
            self.axes.add_patch(Rectangle(corner, wide, high * min(p, 1), facecolor=_BAR_COLOUR, gid=f"p-{step + 1}"))
        for step in self.scene.every_step(0.5):
            number = scenes.percent(self.graph.step_dist[step])
            _write(self.axes, middle[step], base + high + 0.05, number, size=8, ha="center", gid="p")
        beside: dict[str, Any] = {"size": 8, "va": "center", "color": _SOFT}
        _write(
            self.axes,
            middle[0] - wide / 2 - 0.12,
            base + high / 2,
            "probability of\nanswering here",
            ha="right",
            **beside,
        )
        told = self.graph.step_dist[self.scene.steps :]
        if told:
            first, last = self.scene.steps + 1, len(self.graph.step_dist)
            steps = f"step {last}" if first == last else f"steps {first}–{last}"
            words = f"{steps}:\n{scenes.percent(sum(told))}"
            _write(self.axes, middle[-1] + wide / 2 + 0.15, base + high / 2, words, gid="told", **beside)

    def _labels(self) -> None:
        """Name layers and steps."""
        names = [
            (f"layer {l}", c, side)
            for l, (c, side) in enumerate(zip(self.graph.channels, self.graph.sides, strict=True), 1)
        ]
        names.insert(0, ("image", self.graph.image[0], self.graph.image[1:]))
        left = self.at(0, 0, -1)[0] - 0.12
        for layer in self.scene.every_layer(0.34):
            name, channels, side = names[layer]
            y = self.at(0, layer, 0)[1]
            _write(self.axes, left, y + 0.02, name, size=8.5, ha="right", va="bottom", weight="bold")
            shape = f"{channels} × {side[0]}×{side[1]}"
            _write(self.axes, left, y, shape, size=7.5, ha="right", va="top", color=_SOFT, gid="shape")
        y = self.at(0, 0, 0)[1] - 0.45
        _write(self.axes, left, y, "step", size=8.5, ha="right", weight="bold")
        for step in self.scene.every_step(0.3):
            _write(self.axes, self.at(step, 0, 0)[0], y, f"{step + 1}", size=8.5, ha="center", weight="bold")


def _mixed(share: float) -> Colour:
    """Return the colour of ink at a share of 0 to 1 on white; opaque, so that no line shows through a node."""
    red, green, blue = (1 - min(share, 1.0) * (1 - int(_INK[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return red, green, blue


def _write(axes: Axes, x: float, y: float, text: str, *, size: float, color: str = _INK, **how: Any) -> None:
    axes.text(x, y, text, fontsize=size, color=color, parse_math=False, **{"gid": "words", **how})  # a $ stays a $


def _write_head(
    axes: Axes, height: float, titles: Sequence[str], words: Sequence[str], tiles: Mapping[str, str]
) -> None:
    y = height - 0.25
    for line in titles:
        y -= 0.26
        _write(axes, _MARGIN, y, line, size=13, weight="bold", gid="title")
    for line in words:
        y -= 0.22
        _write(axes, _MARGIN, y, line, size=9, color=_SOFT, gid="summary")
    for position, (label, value) in enumerate(tiles.items()):
        _write(axes, _MARGIN + position * _TILE, y - 0.42, value, size=13, gid="count")
        _write(axes, _MARGIN + position * _TILE, y - 0.6, label, size=7.5, color=_SOFT)


def _write_legend(axes: Axes, kinds: Mapping[str, str]) -> None:
    x = _MARGIN
    for kind, words in kinds.items():
        axes.plot([x, x + 0.3], [0.78, 0.78], color=_COLOURS[kind], linewidth=2, solid_capstyle="round")
        _write(axes, x + 0.38, 0.78, words, size=8, va="center")
        x += 0.38 + 0.059 * len(words) + 0.3
    words = "Pale: seldom reached, because most answers come before."
    _write(axes, _MARGIN, 0.32, words, size=8, color=_SOFT, va="center")
    corner = (axes.get_xlim()[1] - 1.25, 0.36)
    for name, (dx, dy), how in (
        ("time", (0.5, 0.0), {"ha": "left", "va": "center"}),
        ("breadth", (0.36, 0.22), {"ha": "left", "va": "bottom"}),
        ("depth", (0.0, 0.45), {"ha": "center", "va": "bottom"}),
    ):
        tip = (corner[0] + dx, corner[1] + dy)
        axes.annotate("", tip, corner, arrowprops={"arrowstyle": "->", "color": _SOFT, "shrinkA": 0, "shrinkB": 0})
        away = 0.04 if dx else 0.0
        _write(axes, tip[0] + away, tip[1] + 0.02 * bool(dy), name, size=7.5, color=_SOFT, **how)
