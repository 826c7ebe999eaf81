"""Made-up networks and their answers, for which a claim is true or false."""

from __future__ import annotations

import numpy as np

from sweeper.analysis.findings.looks import Look
from sweeper.analysis.findings.networks import Networks

WINDOW = (8, 5)


def networks_of(**columns):
    """Return networks with these columns; the other columns are unremarkable."""
    count = len(next(iter(columns.values())))
    rng = np.random.default_rng(0)
    layers = columns.pop("layers", None)
    breadth, depth = columns.get("breadth"), columns.get("depth")
    if layers is None:
        wide = np.full(count, 3) if breadth is None else np.asarray(breadth, int)
        deep = np.full(count, 2) if depth is None else np.asarray(depth, int)
        layers = [[int(w)] * int(d) for w, d in zip(wide, deep, strict=True)]
    given = {
        "key": np.array([f"{at:016x}" for at in range(count)]),
        "task": np.full(count, "digits"),
        "rule": np.full(count, "confidence"),
        "is_feed_forward": np.zeros(count, bool),
        "seed": np.arange(count) % 5,
        "class_set": np.full(count, ""),
        "block": np.array([f"0/{at % 5}" for at in range(count)]),
        "level": np.full(count, "digits"),
        "setting": np.array([f"breadth_pressure={at // 5}" for at in range(count)]),
        "accuracy": 0.9 + 0.005 * rng.normal(size=count),
        "breadth": np.array([max(one, default=0) for one in layers], float),
        "depth": np.array([len(one) for one in layers], float),
        "time": 3 + rng.random(count),
        "channels": np.array([sum(one) for one in layers], float),
        "macs": np.full(count, 1e5),
        "parameters": np.full(count, 1e3),
        "limited": {name: np.zeros(count, bool) for name in ("breadth", "depth", "time")},
        "values": {},
        "window": WINDOW,
        **columns,
    }
    return Networks(layers=layers, **given)


def look_of(steps, *, label=None, is_right=None, confidence=None, **columns):
    """Return a network's answers to images; values that are not given do not matter."""
    steps = np.asarray(steps, float)
    count = len(steps)
    flat = np.full(count, 0.5)
    given = dict.fromkeys(("first_confidence", "last_confidence", "uncertainty", "brightness", "edges"), flat)
    return Look(
        image=np.arange(count),
        label=np.arange(count) % 2 if label is None else np.asarray(label),
        is_right=np.ones(count, bool) if is_right is None else np.asarray(is_right),
        steps=steps,
        confidence=flat if confidence is None else np.asarray(confidence, float),
        **{**given, **{name: np.asarray(values, float) for name, values in columns.items()}},
    )
