"""Holds networks' answers to each image as arrays: steps, correctness and confidence, by trial and probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sweeper.analysis.findings.statistics import Floats

#: The probe that shows unchanged images.
WHOLE = ("whole", 0.0)

#: A kind of probe and its level.
Probe = tuple[str, float]


@dataclass(frozen=True)
class Look:
    """One network's answers to N images under one probe, in the order of the test set; NaN if not measured.

    Attributes:
        image: Numbers in the test set, ascending.
        label: Class of each image.
        is_right: Whether the network's answer was right.
        steps: Steps until the network halted.
        confidence: Probability of its answer when it halted.
        first_confidence, last_confidence: Probability of the likeliest class after the first and after the last step.
        uncertainty: Uncertainty, summed over steps.
        brightness, edges: Measures of the pictures; NaN except for whole ones.
    """

    image: NDArray[np.int64]
    label: NDArray[np.int64]
    is_right: NDArray[np.bool_]
    steps: Floats
    confidence: Floats
    first_confidence: Floats
    last_confidence: Floats
    uncertainty: Floats
    brightness: Floats
    edges: Floats


#: Fields of a look that are not floats.
_OTHERS = ("image", "label", "is_right")

#: Looks by the trial's key, then by probe.
Looks = Mapping[str, Mapping[Probe, Look]]


def looks_of(table: pa.Table) -> Looks:
    """Return the rows of `load_sweep(...).probes()` by trial and probe."""
    table = table.sort_by([
        ("key", "ascending"),
        ("probe", "ascending"),
        ("level", "ascending"),
        ("image", "ascending"),
    ])
    key, probe = (np.asarray(table[name].to_pylist()) for name in ("key", "probe"))
    level = table["level"].to_numpy()
    count = len(key)
    found: dict[str, dict[Probe, Look]] = {}
    if not count:
        return found
    columns = {name: _floats(table, name) for name in Look.__dataclass_fields__ if name not in _OTHERS}
    image, label = (table[name].to_numpy().astype(np.int64) for name in ("image", "label"))
    is_right = np.asarray(table["right"].to_pylist(), bool)
    is_new = np.ones(count, bool)
    is_new[1:] = (key[1:] != key[:-1]) | (probe[1:] != probe[:-1]) | (level[1:] != level[:-1])
    starts = np.flatnonzero(is_new)
    for start, end in zip(starts, [*starts[1:], count], strict=True):
        rows = slice(start, end)
        look = Look(
            image[rows], label[rows], is_right[rows], **{name: values[rows] for name, values in columns.items()}
        )
        found.setdefault(str(key[start]), {})[str(probe[start]), float(level[start])] = look
    return found


def _floats(table: pa.Table, name: str) -> Floats:
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    return np.asarray(table[name].cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def difference(shown: Look, control: Look) -> Floats:
    """Return by how many steps each image differs between two probes, for the images that both have."""
    a, b = np.isin(shown.image, control.image), np.isin(control.image, shown.image)
    found: Floats = shown.steps[a] - control.steps[b]
    return found


def nearest_level(looks: Mapping[Probe, Look], kind: str, level: float) -> float | None:
    """Return the shown level of a kind of probe that is nearest to `level`; None if that kind was not shown."""
    levels = [known for name, known in looks if name == kind]
    return min(levels, key=lambda known: (abs(known - level), known)) if levels else None
