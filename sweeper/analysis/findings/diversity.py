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

#: Least number of complete settings.
LEAST_SETTINGS = 4

#: The smallest share of the variance that matters.
LEAST = 0.25

#: Number of permutations of settings.
PERMUTATIONS = 9_999

#: The lesions that the claim needs, by their names among a trial's values.
LESIONS = ("lateral", "top_down", "deepest")


def missing(networks: Networks) -> list[str]:
    """Return a sentence about the lesions that no network was measured with; empty if none is missing."""
    lacks = [name for name in LESIONS if not np.isfinite(_lesion(networks, name)).any()]
    return (
        [f"networks were not measured without {', '.join(name.replace('_', '-') for name in lacks)}"] if lacks else []
    )


def _lesion(networks: Networks, name: str) -> Floats:
    nothing = np.full(len(networks), math.nan)
    return networks.values.get(f"lesion.{name}.accuracy", nothing)


def parts(networks: Networks, whole: Sequence[Look], task: str, rule: str) -> list[Part]:
    """Decide how much of the variance of distances between networks lies between their settings.

    Args:
        networks: Complete trials, of one task and rule.
        whole: Each network's answers to whole images, in the same order.
        task, rule: Names of the task and the halting rule.
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
    """Return a map of the networks in two dimensions, and the share of the variance that it holds."""
    points, share = classical_scaling(distance)
    if not len(points):
        return {"map": [], "map_share": None}
    rows = [{**_described(networks, at), "seed": int(networks.seed[at])} for at in range(len(networks))]
    return {
        "map": [{**row, "x": float(x), "y": float(y)} for row, (x, y) in zip(rows, points, strict=True)],
        "map_share": share,
    }


def distances(networks: Networks, whole: Sequence[Look]) -> Floats:
    """Return the distances between networks, N × N: the mean of four, each divided by its median over pairs.

    The four distances are of channels by layer (half the sum of differences; a missing layer counts as 0), of depth, of
    step distributions (Wasserstein, in steps), and of the losses of accuracy by lesions (Euclidean).
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
    reached = shares.cumsum(1)  # in one dimension the Wasserstein distance is the area between cumulative distributions
    steps = np.abs(reached[:, None] - reached[None]).sum(2)
    costs = np.column_stack([networks.accuracy - _lesion(networks, name) for name in LESIONS])
    lesions = np.sqrt(np.square(costs[:, None] - costs[None]).sum(2))
    found = [_scaled(one) for one in (by_layer, depth, steps, lesions)]
    mean: Floats = np.mean(found, axis=0)
    return mean


def _scaled(distance: Floats) -> Floats:
    """Return a distance divided by its median over pairs, or by its mean if the median is 0."""
    pairs = distance[np.triu_indices(len(distance), 1)]
    size = float(np.median(pairs)) or float(pairs.mean())
    return distance / size if size else distance


def _within_equal_channels(networks: Networks, distance: Floats) -> float:
    """Return the share between settings within each third of the networks by total channels, averaged."""
    order = np.argsort(networks.channels, kind="stable")
    shares = []
    for rows in np.array_split(order, 3):
        split = permanova(distance[np.ix_(rows, rows)], networks.setting[rows])
        if math.isfinite(split.adjusted):
            shares.append(split.adjusted)
    return float(np.mean(shares)) if shares else math.nan


def _furthest(networks: Networks, distance: Floats) -> list[dict[str, Any]]:
    """Return the two networks that are furthest apart."""
    a, b = np.unravel_index(int(distance.argmax()), distance.shape)
    return [_described(networks, int(at)) for at in (a, b)]


def _centres(networks: Networks, distance: Floats) -> list[dict[str, Any]]:
    """Return each setting's medoid: the network that is nearest to all others of the setting."""
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
