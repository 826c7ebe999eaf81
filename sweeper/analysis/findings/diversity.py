"""F5: different pressures leave different computational graphs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sweeper.analysis.findings.looks import Look
from sweeper.analysis.findings.networks import Networks, grouped
from sweeper.analysis.findings.statistics import (
    Estimate,
    Floats,
    Indices,
    classical_scaling,
    jackknifed,
    permanova,
    share_beyond,
    shuffled_within,
)
from sweeper.analysis.findings.verdicts import LEAST_SEEDS, Control, Part

CLAIM = "F5"
TITLE = "different pressures leave different computational graphs"

#: Settings that must be complete.
LEAST_SETTINGS = 4

#: The smallest share of the variance that matters.
LEAST = 0.25

#: Permutations of settings.
PERMUTATIONS = 9_999

#: What lesions are needed, as they are called among a trial's values.
LESIONS = ("lateral", "top_down", "deepest")


def missing(networks: Networks) -> list[str]:
    """Return what the claim needs and no network has, in a sentence."""
    lacks = [name for name in LESIONS if not np.isfinite(_lesion(networks, name)).any()]
    return (
        [f"networks were not measured without {', '.join(name.replace('_', '-') for name in lacks)}"] if lacks else []
    )


def _lesion(networks: Networks, name: str) -> Floats:
    nothing = np.full(len(networks), math.nan)
    return networks.values.get(f"lesion.{name}.accuracy", nothing)


def parts(networks: Networks, whole: Sequence[Look], task: str, rule: str) -> list[Part]:
    """Return how much of the distances between networks lies between the settings that made them.

    Args:
        networks: Complete trials, of one task and rule.
        whole: What each does with whole images, in the same order.
        task, rule: What they are called.
    """
    rng = np.random.default_rng(0)
    settings, seeds = len(np.unique(networks.setting)), len(np.unique(networks.seed))
    lacks = ""
    if settings < LEAST_SETTINGS or seeds < LEAST_SEEDS:
        lacks = f"{settings} settings of {seeds} seeds are complete; {LEAST_SETTINGS} of {LEAST_SEEDS} seeds are needed"
    distance = distances(networks, whole)
    numbers = {"settings": settings, **_map(networks, distance)}
    if lacks:
        unknown = Estimate(math.nan)
        return [Part(CLAIM, "settings", rule, task, unknown, "of the variance", LEAST, lacks=lacks, numbers=numbers)]

    def between(rows: Indices) -> float:
        return permanova(distance[np.ix_(rows, rows)], networks.setting[rows]).adjusted

    effect = jackknifed(between, grouped(networks.seed))
    null = np.array([
        permanova(distance, shuffled_within(networks.setting, networks.seed, rng)).adjusted for _ in range(PERMUTATIONS)
    ])
    by_seed = permanova(distance, networks.seed)
    control = Control(
        "seeds",
        bool(by_seed.adjusted < effect.value),
        f"{100 * by_seed.adjusted:.0f} % of the variance lies between seeds",
    )
    return [
        Part(
            CLAIM,
            "settings",
            rule,
            task,
            effect,
            "of the variance",
            LEAST,
            p=share_beyond(effect.value, null),
            networks=len(networks),
            seeds=seeds,
            controls=(control,),
            numbers={
                **numbers,
                "share": permanova(distance, networks.setting).share,
                "between_seeds": by_seed.adjusted,
                "within_equal_channels": _within_equal_channels(networks, distance),
                "furthest": _furthest(networks, distance),
                "centres": _centres(networks, distance),
            },
        )
    ]


def _map(networks: Networks, distance: Floats) -> dict[str, Any]:
    """Return where each network lies in two dimensions, and how much of their variance these hold."""
    points, share = classical_scaling(distance)
    if not len(points):
        return {"map": [], "map_share": None}
    rows = [{**_described(networks, at), "seed": int(networks.seed[at])} for at in range(len(networks))]
    return {
        "map": [{**row, "x": float(x), "y": float(y)} for row, (x, y) in zip(rows, points, strict=True)],
        "map_share": share,
    }


def distances(networks: Networks, whole: Sequence[Look]) -> Floats:
    """Return how different networks are, N × N: the mean of four distances, each divided by its median over pairs.

    They are channels by layer (half the sum of differences, layers that are missing as 0), depth, step distributions
    (Wasserstein, in steps), and what lesions cost (Euclidean, of the losses of accuracy).
    """
    count = len(networks)
    most = max((len(layers) for layers in networks.layers), default=0)
    channels = np.array([[*layers, *[0] * (most - len(layers))] for layers in networks.layers], float).reshape(
        count, most
    )
    by_layer = np.abs(channels[:, None] - channels[None]).sum(2) / 2
    depth = np.abs(networks.depth[:, None] - networks.depth[None])
    last = int(max((look.steps.max() for look in whole), default=1))
    shares = np.array([np.bincount(look.steps.astype(int), minlength=last + 1)[1:] / len(look.steps) for look in whole])
    reached = shares.cumsum(1)  # in one dimension Wasserstein's distance is the area between the cumulated shares
    steps = np.abs(reached[:, None] - reached[None]).sum(2)
    costs = np.column_stack([networks.accuracy - _lesion(networks, name) for name in LESIONS])
    lesions = np.sqrt(np.square(costs[:, None] - costs[None]).sum(2))
    found = [_scaled(one) for one in (by_layer, depth, steps, lesions)]
    mean: Floats = np.mean(found, axis=0)
    return mean


def _scaled(distance: Floats) -> Floats:
    """Return a distance divided by its median over pairs, or by its mean where half of the pairs are equal."""
    pairs = distance[np.triu_indices(len(distance), 1)]
    size = float(np.median(pairs)) or float(pairs.mean())
    return distance / size if size else distance


def _within_equal_channels(networks: Networks, distance: Floats) -> float:
    """Return the share that lies between settings within each third of the networks by total channels, averaged."""
    order = np.argsort(networks.channels, kind="stable")
    shares = []
    for rows in np.array_split(order, 3):
        split = permanova(distance[np.ix_(rows, rows)], networks.setting[rows])
        if math.isfinite(split.adjusted):
            shares.append(split.adjusted)
    return float(np.mean(shares)) if shares else math.nan


def _furthest(networks: Networks, distance: Floats) -> list[dict[str, Any]]:
    """Return the two networks that are most different."""
    a, b = np.unravel_index(int(distance.argmax()), distance.shape)
    return [_described(networks, int(at)) for at in (a, b)]


def _centres(networks: Networks, distance: Floats) -> list[dict[str, Any]]:
    """Return the network of each setting that is nearest to all others of it."""
    found = []
    for rows in grouped(networks.setting):
        centre = rows[int(distance[np.ix_(rows, rows)].sum(1).argmin())]
        found.append(_described(networks, int(centre)))
    return found


def _described(networks: Networks, at: int) -> dict[str, Any]:
    return {
        "key": str(networks.key[at]),
        "setting": str(networks.setting[at]),
        "channels_per_layer": list(networks.layers[at]),
        "time": float(networks.time[at]),
        "accuracy": float(networks.accuracy[at]),
    }
