"""F3: occluded images take more recurrent steps, though the network was not trained on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from sweeper.analysis.findings.looks import WHOLE, Look, Looks, Probe, difference, nearest_level
from sweeper.analysis.findings.networks import Networks, grouped
from sweeper.analysis.findings.statistics import Estimate, Floats, Indices, bootstrapped, rises, slope
from sweeper.analysis.findings.verdicts import LEAST_SEEDS, Control, Part

CLAIM = "F3"
TITLE = "occluded images take more recurrent steps, though the network was not trained on them"

#: Name of the effect, and its unit.
EFFECT, UNIT = "steps under occlusion", "of the steps of whole images"

#: Probes that hide parts of an image; the first one shown is primary.
OCCLUDERS = ("debris", "occlude_grey")

#: The control: an occluder beside the object, where it hides nothing.
BESIDE = "occlude_beside"

#: Share of an image to hide; the nearest level shown is used.
LEVEL = 0.25

#: The smallest rise that matters, as a share of the steps of whole images.
LEAST = 0.02

#: Bins of confidence for matching images, and the least number of images in a bin on both sides.
BINS = np.linspace(0, 1, 11)
LEAST_IN_BIN = 5

#: Share of contrast to take away; the nearest level shown is used.
CONTRAST = 0.5

#: Probes that the claim needs besides an occluder.
NEEDED = (BESIDE, "contrast", "noise", "blank")

#: Least number of shown levels of an occluder.
LEAST_LEVELS = 3


def lacking(probes: Collection[Probe]) -> list[str]:
    """Return in sentences which probes are missing for the claim."""
    kinds: dict[str, set[float]] = {}
    for kind, level in probes:
        kinds.setdefault(kind, set()).add(level)
    lacks = [name for name in NEEDED if name not in kinds]
    if not any(name in kinds for name in OCCLUDERS):
        lacks.insert(0, " or ".join(OCCLUDERS))
    said = [f"networks were not shown the probes {', '.join(lacks)}"] if lacks else []
    few = [name for name in (*OCCLUDERS, BESIDE) if 0 < len(kinds.get(name, ())) < LEAST_LEVELS]
    if few:
        said.append(f"{', '.join(few)} was shown at fewer than {LEAST_LEVELS} levels")
    return said


def parts(networks: Networks, looks: Looks, task: str, rule: str) -> list[Part]:
    """Decide whether occlusion raises the steps of networks of one task and rule that were not trained on it.

    Networks that take their largest number of steps already for most whole images are left out, because they could not
    take more for occluded ones.

    Args:
        networks: Complete trials, of that task and rule.
        looks: The networks' answers to each image, complete for all of them.
        task, rule: Names of the task and the halting rule.
    """
    rng = np.random.default_rng(0)
    every, networks = len(networks), networks.take([not _is_bounded(looks[key]) for key in networks.key])
    censored = f"{every - len(networks)} of {every} networks take as many steps for most whole images as for any"
    if 2 * len(networks) < every or not len(networks):
        return [
            Part(CLAIM, EFFECT, rule, task, Estimate(math.nan), UNIT, LEAST, networks=len(networks), lacks=censored)
        ]
    seen = [looks[key] for key in networks.key]
    occluder = next(name for name in OCCLUDERS if nearest_level(seen[0], name, LEVEL) is not None)
    at = _at(seen[0], occluder, LEVEL)
    rise = np.array([_rise(of, at, _at(of, BESIDE, LEVEL)) for of in seen])
    groups = grouped(networks.seed)
    effect = bootstrapped(lambda rows: float(np.median(rise[rows])), groups, rng)
    medians = [float(np.median(rise[rows])) for rows in groups]
    alone, beyond = _at_equal_confidence(seen, at, groups, rng), _beyond_any_change(seen, at, groups, rng)
    lacks = f"{len(groups)} seeds are complete, and {LEAST_SEEDS} are needed" if len(groups) < LEAST_SEEDS else ""
    return [
        Part(
            CLAIM,
            EFFECT,
            rule,
            task,
            effect,
            UNIT,
            LEAST,
            p=rises(medians),
            networks=len(networks),
            seeds=len(groups),
            lacks=lacks,
            controls=(_equal_confidence(alone), _any_change(beyond)),
            numbers={
                "occluder": occluder,
                "level": at[1],
                "censored": every - len(networks),
                "at_equal_confidence": _plain(alone),
                "beyond_any_change": _plain(beyond),
                "networks_that_rise": float((rise > 0).mean()),
                "seeds_that_rise": float((np.array(medians) > 0).mean()),
                "probes": _table(seen, networks, groups, rng),
                "slopes": {
                    name: _slope(seen, name)
                    for name in (*OCCLUDERS, BESIDE)
                    if nearest_level(seen[0], name, 0) is not None
                },
                "right_and_wrong": _right_and_wrong(seen, at),
            },
        )
    ]


def _is_bounded(of: Mapping[Probe, Look]) -> bool:
    """Return whether a network takes its largest number of steps already for most whole images."""
    return bool(np.median(of[WHOLE].steps) >= max(look.steps.max() for look in of.values()))


def _at(of: Mapping[Probe, Look], kind: str, level: float) -> Probe:
    """Return the probe of a kind at the shown level nearest to `level`."""
    nearest = nearest_level(of, kind, level)
    return kind, math.nan if nearest is None else nearest


def _rise(of: Mapping[Probe, Look], shown: Probe, control: Probe) -> float:
    """Return the mean rise of steps from a control to a probe on the same images, as a share of whole images' steps."""
    return float(difference(of[shown], of[control]).mean() / of[WHOLE].steps.mean())


def _per_network(
    seen: Sequence[Mapping[Probe, Look]],
    value: Callable[[Mapping[Probe, Look]], float],
    groups: Sequence[Indices],
    rng: np.random.Generator,
) -> Estimate:
    """Return the median of a value over networks, with its interval; networks without the value are left out."""
    values = np.array([value(of) for of in seen])
    return bootstrapped(lambda rows: _median(values[rows]), groups, rng)


def _median(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else math.nan


def matched_rise(shown: Look, control: Look) -> float:
    """Return by how many steps a probe's images differ from a control's images of equal confidence.

    Mean steps are compared within each tenth of confidence. A tenth weighs as much as the smaller of its two numbers of
    images. NaN if no tenth has enough images of both.
    """
    bins = [np.clip(np.digitize(look.confidence, BINS) - 1, 0, len(BINS) - 2) for look in (shown, control)]
    total, weight = 0.0, 0
    for part in range(len(BINS) - 1):
        a, b = (look.steps[where == part] for look, where in zip((shown, control), bins, strict=True))
        fewer = min(len(a), len(b))
        if fewer >= LEAST_IN_BIN:
            total, weight = total + fewer * float(a.mean() - b.mean()), weight + fewer
    return total / weight if weight else math.nan


def _at_equal_confidence(
    seen: Sequence[Mapping[Probe, Look]], at: Probe, groups: Sequence[Indices], rng: np.random.Generator
) -> Estimate:
    def value(of: Mapping[Probe, Look]) -> float:
        return matched_rise(of[at], of[_at(of, BESIDE, LEVEL)]) / float(of[WHOLE].steps.mean())

    return _per_network(seen, value, groups, rng)


def _equal_confidence(found: Estimate) -> Control:
    return Control(
        "equal confidence",
        bool(found.is_known and found.low > 0),
        f"at equal confidence steps differ by {_said(found)}",
        qualifier="by confidence alone",
    )


def _beyond_any_change(
    seen: Sequence[Mapping[Probe, Look]], at: Probe, groups: Sequence[Indices], rng: np.random.Generator
) -> Estimate:
    def value(of: Mapping[Probe, Look]) -> float:
        noisy = as_wrong(of, "noise", float(of[at].is_right.mean()))
        others = [_rise(of, _at(of, "contrast", CONTRAST), WHOLE), _rise(of, noisy, WHOLE)]
        return _rise(of, at, _at(of, BESIDE, LEVEL)) - max(others)

    return _per_network(seen, value, groups, rng)


def _any_change(found: Estimate) -> Control:
    return Control(
        "any change",
        bool(found.is_known and found.low > 0),
        f"the rise is larger than that under less contrast or as harmful noise by {_said(found)}",
        qualifier="not specific to occlusion",
    )


def as_wrong(of: Mapping[Probe, Look], kind: str, accuracy: float) -> Probe:
    """Return the probe of a kind under which a network's accuracy is nearest to the given one."""
    probes = [probe for probe in of if probe[0] == kind]
    return min(probes, key=lambda probe: (abs(float(of[probe].is_right.mean()) - accuracy), probe[1]))


def _table(
    seen: Sequence[Mapping[Probe, Look]], networks: Networks, groups: Sequence[Indices], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Return for each probe the accuracy, confidence, steps, and the rise of steps over whole images."""
    found = []
    for probe in sorted(seen[0], key=lambda one: (one != WHOLE, one)):
        rise = _per_network(seen, lambda of, probe=probe: _rise(of, probe, WHOLE), groups, rng)  # type: ignore[misc]
        found.append({
            "probe": probe[0],
            "level": probe[1],
            "accuracy": float(np.mean([of[probe].is_right.mean() for of in seen])),
            "confidence": float(np.mean([of[probe].confidence.mean() for of in seen])),
            "steps": float(np.mean([of[probe].steps.mean() for of in seen])),
            "rise": rise.value,
            "low": rise.low,
            "high": rise.high,
            "networks_that_rise": float(np.mean([of[probe].steps.mean() > of[WHOLE].steps.mean() for of in seen])),
        })
    return found


def _slope(seen: Sequence[Mapping[Probe, Look]], kind: str) -> float:
    """Return the slope of steps over levels (steps per share), median over networks; whole images are level 0."""
    found = []
    for of in seen:
        probes = [WHOLE, *sorted(probe for probe in of if probe[0] == kind)]
        found.append(slope([level for _, level in probes], [of[probe].steps.mean() for probe in probes]))
    return _median(np.array(found))


def _right_and_wrong(seen: Sequence[Mapping[Probe, Look]], at: Probe) -> dict[str, float]:
    """Return the mean steps of right and of wrong answers, for whole and for occluded images."""
    found = {}
    for name, probe in (("whole", WHOLE), ("occluded", at)):
        for word, is_right in (("right", True), ("wrong", False)):
            steps = [of[probe].steps[of[probe].is_right == is_right] for of in seen]
            means = [float(one.mean()) for one in steps if len(one)]
            found[f"{name}_{word}"] = float(np.mean(means)) if means else math.nan
    return found


def _plain(found: Estimate) -> dict[str, float]:
    return {"value": found.value, "low": found.low, "high": found.high}


def _said(found: Estimate) -> str:
    if not math.isfinite(found.value):
        return "nothing that could be measured"
    return f"{100 * found.value:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"
