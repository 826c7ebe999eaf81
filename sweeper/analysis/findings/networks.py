"""Holds the complete trials of a sweep as columns, from which findings are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from sweeper.analysis.columns import TASK_AXES
from sweeper.analysis.findings.statistics import Floats, Indices
from sweeper.analysis.trials import axes_of
from sweeper.measurements import is_probe

#: The resources, in their usual order.
RESOURCES = ("breadth", "depth", "time")


@dataclass(frozen=True)
class Networks:
    """N complete trials. Every field except `window` holds N values in the same order, or such columns by name.

    Attributes:
        key: Key of the trial.
        task: Label of its task.
        rule: Halting rule: how the network decides when to answer.
        is_feed_forward: Whether it has neither lateral nor top-down connections.
        seed: Seed of its random numbers.
        class_set: Which draw of its classes it has, if the sweep varies their number; else empty.
        block: Its class set and seed together; a ladder compares networks of one block.
        level: Its task without the class set: a step of a ladder.
        setting: Its pressures and the like, the same for other tasks and seeds.
        accuracy: Share of test images answered right.
        breadth: Channels of the widest layer.
        depth: Number of layers.
        time: Mean steps over test images.
        channels: Channels in all layers together.
        macs: Multiply-accumulates per image.
        parameters: Living weights.
        limited: By resource, whether the window bounded it.
        layers: Channels of each layer from the image upwards.
        values: Other measurements by name; NaN if not measured.
        window: Channels per layer, and layers, of the window; None if the window grows or differs between networks.
    """

    key: NDArray[np.str_]
    task: NDArray[np.str_]
    rule: NDArray[np.str_]
    is_feed_forward: NDArray[np.bool_]
    seed: NDArray[np.int64]
    class_set: NDArray[np.str_]
    block: NDArray[np.str_]
    level: NDArray[np.str_]
    setting: NDArray[np.str_]
    accuracy: Floats
    breadth: Floats
    depth: Floats
    time: Floats
    channels: Floats
    macs: Floats
    parameters: Floats
    limited: Mapping[str, NDArray[np.bool_]]
    layers: Sequence[Sequence[int]]
    values: Mapping[str, Floats]
    window: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.key)

    @property
    def is_limited(self) -> NDArray[np.bool_]:
        """Whether the window bounded a network in any resource."""
        found: NDArray[np.bool_] = np.logical_or.reduce([self.limited[name] for name in RESOURCES])
        return found

    def resource(self, name: str) -> Floats:
        """Return one of `RESOURCES`."""
        found: Floats = getattr(self, name)
        return found

    @property
    def probes(self) -> frozenset[tuple[str, float]]:
        """Kinds and levels of the probes that some network was shown, from the names of its measurements."""
        names = [name.split(".") for name, values in self.values.items() if np.isfinite(values).any()]
        # A name such as probe.debris.0.25.time; the level may contain a point.
        return frozenset((one[1], float(".".join(one[2:-1]))) for one in names if one[0] == "probe" and len(one) > 3)

    def take(self, which: ArrayLike) -> Networks:
        """Return some of the networks, by a mask or by indices."""
        index: Indices = np.arange(len(self))[np.asarray(which)]
        columns: dict[str, Any] = {
            name: value[index] for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        return replace(
            self,
            **columns,
            limited={name: values[index] for name, values in self.limited.items()},
            layers=[self.layers[i] for i in index],
            values={name: values[index] for name, values in self.values.items()},
        )


def grouped(values: ArrayLike) -> list[Indices]:
    """Return the indices of each distinct value, in the order of values."""
    of = np.asarray(values)
    return [np.flatnonzero(of == value) for value in np.unique(of)]


def networks_of(trials: pa.Table, spec: Mapping[str, Any]) -> Networks:
    """Return the complete trials of a sweep.

    Args:
        trials: As `trials_table` returns them.
        spec: The sweep's spec with every default written out, as JSON holds it.
    """
    table = trials.filter(pc.equal(trials["state"], "complete")).sort_by([
        ("task", "ascending"),
        ("number", "ascending"),
    ])
    axes = {axis: table[column].to_pylist() for column, axis in axes_of(trials).items()}
    count = table.num_rows
    lattice = spec.get("lattice", {})

    def words(values: Sequence[object]) -> NDArray[np.str_]:
        return np.array([str(value) for value in values], dtype=np.str_)

    def numbers(name: str) -> Floats:
        if name not in table.column_names:
            return np.full(count, np.nan)
        return np.asarray(table[name].cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)

    def chosen(axis: str, default: str) -> NDArray[np.str_]:
        return words(axes.get(axis, [lattice.get(axis, default)] * count))

    def joined(names: Sequence[str]) -> NDArray[np.str_]:
        rows = zip(*(axes[name] for name in names), strict=True) if names else [()] * count
        return words([" ".join(f"{n}={_text(v)}" for n, v in zip(names, row, strict=True)) for row in rows])

    seed = table["seed"].to_numpy().astype(np.int64)
    sets = axes.get("class_seed", [spec.get("task", {}).get("class_seed", 0)] * count)
    rest = [name for name in axes if name not in TASK_AXES and name not in _RULES]
    level = joined([name for name in axes if name in TASK_AXES and name != "class_seed"])
    layers = [[int(n) for n in one or []] for one in table["channels_per_layer"].to_pylist()]
    return Networks(
        key=words(table["key"].to_pylist()),
        task=words(table["task"].to_pylist()),
        rule=chosen("time_selection", "confidence"),
        is_feed_forward=chosen("connections", "all") == "feed_forward",
        seed=seed,
        class_set=words([
            str(one) if isinstance(number, int) else ""
            for one, number in zip(sets, axes.get("classes", [None] * count), strict=True)
        ]),
        block=words([f"{one}/{number}" for one, number in zip(sets, seed, strict=True)]),
        level=np.where(level == "", words(table["task"].to_pylist()), level),
        setting=joined(rest),
        accuracy=numbers("test_accuracy"),
        breadth=numbers("breadth"),
        depth=numbers("depth"),
        time=numbers("test_time"),
        channels=numbers("channels"),
        macs=numbers("macs"),
        parameters=numbers("parameters"),
        limited={name: np.nan_to_num(numbers(f"limited_{name}")) > 0 for name in RESOURCES},
        layers=layers,
        values={name: numbers(name) for name in table.column_names if is_probe(name) or name == "updates"},
        window=_window_of(lattice, axes),
    )


#: Axes with fields of their own, which are not part of a setting.
_RULES = ("time_selection", "connections")


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _window_of(lattice: Mapping[str, Any], axes: Mapping[str, object]) -> tuple[int, int] | None:
    """Return the channels per layer, and the layers, of all windows; None if they grow or differ between networks."""
    if lattice.get("window") == "auto" or axes.keys() & {"window", "channels", "layers"}:
        return None
    if not {"channels", "layers"} <= lattice.keys():  # the sweep's spec is not stored
        return None
    return int(lattice["channels"]), int(lattice["layers"])
