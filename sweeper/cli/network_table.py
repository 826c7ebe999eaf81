"""A network in a terminal, in words, as rich renderables. Prints nothing itself."""

from __future__ import annotations

from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from sweeper.network import NetworkGraph, StepHistogram
from sweeper.results.plots import scene

#: Cells of the bar of a step that is certain.
_BAR_CELLS = 30


def network_summary(
    graph: NetworkGraph, title: str, measurement: Mapping[str, float], thought: StepHistogram | None = None
) -> Group:
    """Return a network in words: its counts, its layers from the deepest down to the image, and its steps.

    Args:
        thought: Steps by test image, where they are known.
    """
    figures = Table(box=None, pad_edge=False, show_header=False)
    for label, value in scene.counts(graph, measurement).items():
        figures.add_row(label, value)
    layers = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("layer", "channels", "side"):
        layers.add_column(heading, justify="left" if heading == "layer" else "right")
    shapes = zip(graph.channels, graph.sides, strict=True)
    rows = [("image", graph.image[0], graph.image[1:]), *((f"{l}", c, side) for l, (c, side) in enumerate(shapes, 1))]
    for name, channels, (height, width) in reversed(rows):
        layers.add_row(name, str(channels), f"{height}×{width}")
    steps = Table(box=SIMPLE_HEAD, pad_edge=False)
    steps.add_column("step", justify="right")
    steps.add_column("answers here", justify="right")
    steps.add_column("")
    for step, p in enumerate(graph.step_dist, start=1):
        steps.add_row(str(step), scene.percent(p), "█" * round(_BAR_CELLS * p))
    medians = [Text(line)] if thought and (line := scene.median_steps(thought)) else []
    return Group(Text(title, "bold"), Text(scene.summary(graph, measurement)), Text(), figures, layers, steps, *medians)
