"""Draws networks: those along a front side by side, and how many steps one of them takes for which images."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeper.measurements import Goal
from sweeper.network import ExampleImage, NetworkGraph
from sweeper.results.plots import scene as scenes
from sweeper.results.plots.accuracies import Row, spread
from sweeper.results.plots.points import Points
from sweeper.results.plots.scene import Scene
from sweeper.results.plots.style import (
    BLUE,
    CLEAR,
    GREEN,
    ITS_TEXT,
    LEAST_SIZE,
    PALE,
    SMALL_SIZE,
    VERMILLION,
    NotDrawnError,
    Picture,
    Sketch,
    Trace,
    axis_title,
    hover,
    number,
    sketch,
)
from sweeper.results.plots.style import (
    shown as shown_text,
)
from sweeper.training.network_file import Described, describe_bytes

#: Most networks in one picture. Three in a row fit on a narrow page too.
MOST_NETWORKS = 12
_COLUMNS = 3
_ROW = 190  # height of a row, in pixels

#: Most lines of one network, the strongest ones: the picture is small, and a page holds many.
_MOST_LINES = 150

#: The same colours as in `drawing`.
_COLOURS = {"bottom-up": BLUE, "lateral": VERMILLION, "top-down": GREEN}

#: Classes of lines, strongest first: least share of the greatest strength (times the step's vigour), width, opacity.
_STRENGTHS = ((0.5, 1.8, 0.85), (0.2, 1.1, 0.6), (0.0, 0.7, 0.3))


def network_of(points: Points, key: str) -> Described | None:
    """Return the description in a network's file; None if MLflow has no such network.

    Raises:
        QueryError: If the file is damaged.
    """
    data = points.sweep.network(key)
    return None if data is None else describe_bytes(data, f"the network of trial {key}", key)


#: Most characters of a class's name below an image.
_LONGEST_NAME = 16


@dataclass
class _Page:
    """Collects the parts of a picture."""

    traces: list[Trace] = field(default_factory=list)
    shapes: list[dict[str, Any]] = field(default_factory=list)
    words: list[dict[str, Any]] = field(default_factory=list)
    axes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self, text: str, position: tuple[float, float], *, size: int, **how: Any) -> None:
        """Write centred words below a position of the page."""
        at = {
            "x": position[0],
            "y": position[1],
            "xref": "paper",
            "yref": "paper",
            "xanchor": "center",
            "yanchor": "top",
            "align": "center",
        }
        self.words.append({"text": text, "showarrow": False, "bgcolor": CLEAR, "font": {"size": size}, **at, **how})

    def sketch(self, height: int, **layout: Any) -> Sketch:
        """Return the collected parts as a sketch."""
        return sketch(self.traces, height, shapes=self.shapes, annotations=self.words, **{**self.axes, **layout})


# --- side by side ---------------------------------------------------------------------------------


def networks(points: Points) -> Picture:
    """Draw networks along the front, all on one scale.

    Raises:
        NotDrawnError: If MLflow has none of these networks.
        QueryError: If the file of a network is damaged.
    """
    first = points.objectives[0]
    members: list[Row] = points.front.table.to_pylist()
    if first.goal is Goal.MINIMIZE:
        members.reverse()
    shown = [(row, found) for row in spread(members, MOST_NETWORKS) if (found := network_of(points, row["key"]))]
    if not shown:
        raise NotDrawnError(
            f"MLflow has no network of the front of task {points.task!r}. "
            f"`sweeper mirror {points.sweep.name}` stores them again where the sweep ran"
        )
    drawn = [(row, found.graph, scenes.scene_of(found.graph)) for row, found in shown]
    extent = [max(scene.size[side] for _, _, scene in drawn) for side in (0, 1)]
    columns = min(_COLUMNS, len(drawn))
    lines = -(-len(drawn) // columns)
    page = _Page()
    for position, (row, graph, scene) in enumerate(drawn):
        down, right = divmod(position, columns)
        domain = ((right + 0.03) / columns, (right + 0.97) / columns)
        top = 1 - down / lines
        _cell(page, position + 1, scene, (domain, (top - 0.97 / lines, top - 0.3 / lines)), extent)
        _draw(page, position + 1, graph, scene)
        _mark(page, position + 1, points, row, scene)
        said = f"<b>{first.name} {number(row[first.name])}</b><br>{_layers(graph)}<br>{_steps(graph)}"
        page.write(said, ((domain[0] + domain[1]) / 2, top - 0.02 / lines), size=SMALL_SIZE)
    kinds = "   ".join(f'<span style="color:{colour}">━</span> {kind}' for kind, colour in _COLOURS.items())
    page.write(kinds, (0.5, 1.0), size=12, yshift=24)
    looks = page.sketch(
        40 + _ROW * lines, least_width=110 * columns, margin={"l": 8, "r": 8, "t": 32, "b": 8}, showlegend=False
    )
    some = f"{len(drawn)} of the {len(members)}" if len(drawn) < len(members) else f"The {len(drawn)}"
    caption = (
        f"{some} networks of the front, from the worst {first.name} to the best, on one scale: recurrent steps to the "
        "right, layers upwards from the image's squares, channels away into the page. Lateral and top-down connections "
        f"{_and_up(graph for _, graph, _ in drawn)}lead to the next step; only the strongest are drawn, and steps that "
        "are seldom reached are pale."
    )
    names = [objective.name for objective in points.objectives]
    numbers = [
        {"key": row["key"], **{name: row[name] for name in names}, "channels per layer": list(graph.channels)}
        for row, graph, _ in drawn
    ]
    return Picture("networks", "Networks along the front", caption, looks, numbers=numbers)


def _and_up(graphs: Iterable[NetworkGraph]) -> str:
    """Return the part of the caption about networks whose bottom-up connections also lead to the next step."""
    waits = [bool(graph.up_delay) for graph in graphs]
    if not any(waits):
        return ""
    return "and bottom-up ones between layers " if all(waits) else "and, with bottom_up: next, bottom-up ones "


def _layers(graph: NetworkGraph) -> str:
    """Return the channels of each layer in words, short enough for a third of a narrow page."""
    channels = list(graph.channels)
    if not channels:
        return "no living layer"
    if len(channels) > 5:
        return f"{len(channels)} layers of {min(channels)}–{max(channels)}"
    return f"{' · '.join(map(str, channels))} ch."


def _steps(graph: NetworkGraph) -> str:
    return f"{sum(step * p for step, p in enumerate(graph.step_dist, start=1)):.1f} steps"


def _cell(
    page: _Page, cell: int, scene: Scene, domains: Sequence[tuple[float, float]], extent: Sequence[float]
) -> None:
    """Add invisible axes for one network, on the common scale."""
    number = str(cell) if cell > 1 else ""
    middle = [size / 2 for size in scene.size] if scene.layers else [0.0, 0.0]
    for side, other, domain, low, size in (
        ("x", "y", domains[0], middle[0] - extent[0] / 2, extent[0]),
        ("y", "x", domains[1], 0.0, extent[1]),
    ):
        room = 0.06 * size + 0.1
        span = [low - room, low + size + room]
        hidden = {"visible": False, "fixedrange": True, "domain": domain, "range": span, "anchor": f"{other}{number}"}
        page.axes[f"{side}axis{number}"] = hidden


def _draw(page: _Page, cell: int, graph: NetworkGraph, scene: Scene) -> None:
    """Draw connections as a few paths and channels as dots, so that a network takes only a few kilobytes."""
    if not graph.channels:
        return
    suffix = str(cell) if cell > 1 else ""
    vigour = [0.2 + 0.8 * reached for reached in scenes.reach(graph.step_dist)[: scene.steps]]
    kept = max(1, _MOST_LINES // scene.steps)
    strongest = scenes.strongest(graph, scene)[:kept]
    most = strongest[0].strength if strongest else 1.0
    paths: dict[tuple[str, int], list[str]] = {}
    for connection in strongest:
        for step in range(connection.back, scene.steps):
            share = connection.strength / most * vigour[step]
            class_ = next(at for at, (least, _, _) in enumerate(_STRENGTHS) if share >= least)
            x0, y0 = scene.at(step - connection.back, *connection.source)
            x1, y1 = scene.at(step, *connection.target)
            paths.setdefault((connection.kind, class_), []).append(f"M{x0:.2f} {y0:.2f}L{x1:.2f} {y1:.2f}")
    for (kind, class_), parts in sorted(paths.items(), key=lambda item: -item[0][1]):  # the strongest on top
        _, width, opacity = _STRENGTHS[class_]
        page.shapes.append({
            "type": "path",
            "path": "".join(parts),
            "xref": f"x{suffix}",
            "yref": f"y{suffix}",
            "layer": "below",
            "opacity": opacity,
            "line": {"width": width, "color": _COLOURS[kind]},
        })
    for nodes, symbol, size in ((_channels(scene), "circle", 4), (_image(graph, scene), "square", 4)):
        positions = [(scene.at(step, layer, position), vigour[step]) for step, layer, position in nodes]
        page.traces.append({
            "type": "scatter",
            "x": [round(x, 2) for (x, _), _ in positions],
            "y": [round(y, 2) for (_, y), _ in positions],
            "xaxis": f"x{suffix}",
            "yaxis": f"y{suffix}",
            "mode": "markers",
            "marker": {"symbol": symbol, "size": size, "color": PALE, "opacity": [round(v, 2) for _, v in positions]},
            "hoverinfo": "skip",
        })


def _channels(scene: Scene) -> Iterator[tuple[int, int, int]]:
    for step in range(scene.steps):
        for layer, order in enumerate(scene.order, start=1):
            yield from ((step, layer, position) for position in range(len(order)))


def _image(graph: NetworkGraph, scene: Scene) -> Iterator[tuple[int, int, int]]:
    for step in range(scene.steps):
        yield from ((step, 0, position) for position in range(graph.image[0]))


def _mark(page: _Page, cell: int, points: Points, row: Row, scene: Scene) -> None:
    """Lay an invisible mark over a network; it carries the network's key and hover text."""
    suffix = str(cell) if cell > 1 else ""
    page.traces.append({
        "type": "scatter",
        "x": [scene.size[0] / 2 if scene.layers else 0.0],
        "y": [scene.size[1] / 2 if scene.layers else 0.0],
        "xaxis": f"x{suffix}",
        "yaxis": f"y{suffix}",
        "mode": "markers",
        "marker": {"size": 110, "opacity": 0, "color": PALE},
        "customdata": [[row["key"]]],
        "text": [hover(row, points.objectives, points.axes)],
        "hovertemplate": ITS_TEXT,
    })


# --- steps of images ------------------------------------------------------------------------------


def steps(points: Points, key: str | None = None) -> Picture:
    """Draw a histogram of one network's recurrent steps over images, with images that take few steps and many.

    Args:
        points: The task's points.
        key: Key of a trial that is or was on the front; by default the best in the first objective.

    Raises:
        NotDrawnError: If the front is empty, MLflow has no such network, or its file does not hold the steps.
        QueryError: If its file is damaged.
    """
    first = points.objectives[0]
    members: list[Row] = points.front.table.to_pylist()
    if not members:
        raise NotDrawnError(f"the front of task {points.task!r} is empty")
    best = members[-1 if first.goal is Goal.MAXIMIZE else 0]
    wanted = key or best["key"]
    found = network_of(points, wanted)
    if found is None:
        raise NotDrawnError(f"MLflow has no network of trial {wanted!r}: it has those that are or were on a front")
    if found.steps is None:
        raise NotDrawnError(
            f"the file of the network of trial {wanted} does not say how many steps images take: "
            "an older sweeper wrote it, or all its steps were not finite"
        )
    who = f"the front's best in {first.name}, trial {wanted}" if wanted == best["key"] else f"trial {wanted}"
    caption = (
        f"Recurrent steps that {who}, {'is expected to take' if found.steps.is_expected else 'takes'} for each of "
        f"{found.steps.images:,} test images{'' if found.steps.is_expected else ' until it halts'}."
        f"{_EXAMPLES if found.examples else ''}"
    )
    return Picture("steps", "Steps per image", caption, _thinking(found))


_EXAMPLES = (
    " Below are images that it answered soonest and latest of those it got right, and of those it got wrong: "
    "label → answer, and steps."
)


def _thinking(found: Described) -> Sketch:
    histogram = found.steps
    assert histogram is not None
    edges = histogram.edges
    parts = list(itertools.pairwise(edges))
    hatched = {"shape": "/", "size": 6, "solidity": 0.35, "fgcolor": "#ffffff", "fillmode": "overlay"}
    bars: list[Trace] = [
        {
            "type": "bar",
            "x": [(low + high) / 2 for low, high in parts],
            "y": list(counts),
            "width": [high - low for low, high in parts],
            "name": f"{name} ({sum(counts):,})",
            "marker": {"color": colour, "line": {"width": 0}, **pattern},
            "hovertext": [f"{histogram.steps_of(part)} steps" for part in range(len(parts))],
            "hovertemplate": f"%{{y}} {name}, %{{hovertext}}<extra></extra>",
        }
        for name, counts, colour, pattern in (
            ("right", histogram.right, BLUE, {}),
            ("wrong", histogram.wrong, VERMILLION, {"pattern": hatched}),
        )
    ]
    rows = [[one for one in found.examples if one.is_right is is_right] for is_right in (True, False)]
    rows = [row for row in rows if row]
    below = 132 * len(rows)
    height = 330 + below
    plot = height - 36 - 8
    page = _Page(bars)
    for down, row in enumerate(rows):
        _show(page, row, (below - 132 * down) / plot, plot)
    return page.sketch(
        height,
        barmode="stack",
        bargap=0,
        showlegend=True,
        legend={"traceorder": "normal"},
        margin={"t": 36, "b": 48 if not rows else 8},
        xaxis={
            "title": {
                "text": axis_title("time").replace(
                    "time", f"{'expected ' if histogram.is_expected else ''}time of an image"
                )
            }
        },
        yaxis={"title": {"text": "test images (count)"}, "domain": [(below + 56) / plot if rows else 0, 1]},
    )


def _called(name: int | str) -> str:
    """Return a class's name, shortened and escaped: names come from data, and plotly reads markup and `%{…}`."""
    text = str(name)
    text = text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
    return shown_text(text.replace("%{", "% {"))


def _show(page: _Page, examples: Sequence[ExampleImage], top: float, plot: float) -> None:
    """Show a row of at most four images, each with the network's answer below it.

    Args:
        page: The page to add the row to.
        examples: Images that were all answered right, or all wrong.
        top: Top of the row, as a share of the plot's height.
        plot: Height of the plot in pixels.
    """
    how = "right" if examples[0].is_right else "wrong"
    for right, example in enumerate(examples[:4]):
        cell = len(page.traces)
        x, y = ((right + 0.06) / 4, (right + 0.94) / 4), (top - 86 / plot, top - 18 / plot)
        middle = sum(x) / 2
        answered = f"{_called(example.label)} → {_called(example.answer)}"
        page.traces.append({
            "type": "image",
            "source": f"data:image/png;base64,{base64.b64encode(example.png).decode('ascii')}",
            "xaxis": f"x{cell}",
            "yaxis": f"y{cell}",
            "hovertemplate": f"image {example.image}: {answered}, {example.steps:.3g} steps, {how}<extra></extra>",
            "zsmooth": False,
        })
        hidden = {"visible": False, "fixedrange": True, "constrain": "domain"}
        page.axes[f"xaxis{cell}"] = {**hidden, "domain": x, "anchor": f"y{cell}"}
        upright = {"anchor": f"x{cell}", "scaleanchor": f"x{cell}", "autorange": "reversed"}
        page.axes[f"yaxis{cell}"] = {**hidden, "domain": y, **upright}
        page.write(f"{example.kind}, {how}", (middle, top), size=LEAST_SIZE)
        page.write(f"{answered}<br>{example.steps:.3g} steps", (middle, y[0]), size=LEAST_SIZE)
