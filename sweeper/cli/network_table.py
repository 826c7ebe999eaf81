"""Describes a network in words for a terminal, as rich renderables. Prints nothing itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from sweeper.measurements import PROBED
from sweeper.network import NetworkGraph, StepHistogram
from sweeper.results.plots import scene

if TYPE_CHECKING:
    from sweeper.analysis.formats import ArrowTable

#: Settings with the size of a fixed window.
_WINDOW = ("lattice.channels", "lattice.layers", "lattice.steps")

#: Settings with the length of a training.
_BUDGET = ("training.updates", "training.epochs")

#: Characters in the bar of a step with probability 1.
_BAR_CELLS = 30

#: Most images of a file whose answers are printed, and the printed columns.
_SHOWN_IMAGES = 10
_SHOWN_COLUMNS = ("image", "label", "answer", "right", "steps", "expected_steps", "confidence")


def network_summary(
    graph: NetworkGraph,
    title: str,
    measurement: Mapping[str, float],
    thought: StepHistogram | None = None,
    setting: Mapping[str, str | float] | None = None,
) -> Group:
    """Describe a network: parameters that made it, counts, layers from the deepest to the image, and steps.

    Args:
        graph: The network.
        title: Its headline.
        measurement: Its measurements by name.
        thought: Histogram of steps over test images, if it is known.
        setting: Its trial's setting with dotted names; None or empty if it is not known.
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
    made = [Text(line) for line in _made_by(setting or {})]
    return Group(
        Text(title, "bold"), Text(scene.summary(graph, measurement)), *made, Text(), figures, layers, steps, *medians
    )


def _made_by(setting: Mapping[str, str | float]) -> list[str]:
    """Return one or two lines on the parameters of a network: pressures and seed, window and training."""
    numbers = {name: value for name, value in setting.items() if not isinstance(value, str)}
    pressures = [f"{name} {value:g}" for name, value in numbers.items() if name.endswith("_pressure") and value]
    seed = [f"seed {numbers['seed']:g}"] if "seed" in numbers else []
    window = [f"{numbers[name]:g} {name.partition('.')[2]}" for name in _WINDOW if name in numbers]
    rule = [f"halting by {setting['lattice.time_selection']}"] if "lattice.time_selection" in setting else []
    budget = [f"{numbers[name]:g} {name.partition('.')[2]}" for name in _BUDGET if name in numbers]
    lines = [
        ("made by", [*pressures, *seed]),
        ("in a window of", [" × ".join(window), *rule, *budget] if window else []),
    ]
    return [f"{begin} {', '.join(parts)}" for begin, parts in lines if parts]


def lesion_table(values: Mapping[str, Mapping[str, float]], images: str, count: int) -> Group:
    """Return a table of a network and its lesions, with a row for each.

    Args:
        values: Means by the names of the removed parts, joined by commas; the whole network has an empty name.
        images: The images of the measurement, in words.
        count: Number of images.
    """
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("network")
    for what, unit in PROBED.items():
        table.add_column(what if unit == "share" else unit, justify="right")
    for parts, means in values.items():
        name = f"without {parts.replace(',', ', ')}" if parts else "whole"
        table.add_row(name, *(f"{means[what]:.{4 if unit == 'share' else 3}f}" for what, unit in PROBED.items()))
    return Group(Text(), Text(f"Measured on {images}: {count} images"), table)


def answers_summary(table: ArrowTable, title: str) -> Group:
    """Summarise a network's answers to images: means, and the first few images."""
    columns = {name: table[name].to_pylist() for name in _SHOWN_COLUMNS if name in table.column_names}
    told = [right for right in columns.get("right", ()) if right is not None]
    figures = [f"{table.num_rows} images", f"{_mean(columns['steps']):.3f} steps in the mean"]
    if told:
        of_them = f" over {len(told)} of them" if len(told) < table.num_rows else ""
        figures.insert(1, f"accuracy {_mean(told):.4f}{of_them}")
    rows = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        rows.add_column(name, justify="right")
    for row in list(zip(*columns.values(), strict=True))[:_SHOWN_IMAGES]:
        rows.add_row(*map(_cell, row))
    left = table.num_rows - min(table.num_rows, _SHOWN_IMAGES)
    others = f"{left} more images, and more of each" if left else "More of each image"
    more = Text(f"{others}: with -o FILE.parquet or -o FILE.csv")
    return Group(Text(title, "bold"), Text(", ".join(figures)), rows, more)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
