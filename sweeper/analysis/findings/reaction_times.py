"""F4: the time that a network takes goes with the time that people take."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.analysis.findings.human import Condition, Difficulty
from sweeper.analysis.findings.looks import WHOLE, Look, Looks, Probe
from sweeper.analysis.findings.networks import Networks, grouped
from sweeper.analysis.findings.statistics import (
    DRAWS,
    INTERVAL,
    Estimate,
    Floats,
    Indices,
    bootstrapped,
    fisher_mean,
    share_beyond,
    spearman,
    spearman_brown,
    weighted_ranks,
    within,
)
from sweeper.analysis.findings.verdicts import LEAST_SEEDS, Control, Part
from sweeper.errors import QueryError

CLAIM = "F4"
TITLE = "the time that a network takes goes with the time that people take"

#: Least accuracy of a network that counts.
LEAST_ACCURACY = 0.65

#: The smallest correlation over images that matters.
LEAST = 0.05

#: Least ceiling of human data that decide anything.
LEAST_CEILING = 0.2

#: Number of random splits of people into halves.
SPLITS = 100

#: Least number of levels of a kind of degradation that both people and networks saw.
LEAST_LEVELS = 5

#: Least number of images of a class for a correlation within it.
LEAST_IMAGES = 10

#: Largest relative difference of two levels that count as the same.
SAME_LEVEL = 0.05

#: Numbers of times that observations count.
Counts = NDArray[np.uint16]

#: Measures of an image, or of a network's answer to it, that may correlate with difficulty; signed such that harder
#: images are expected to have higher values.
PREDICTORS: Mapping[str, Callable[[Look], Floats]] = {
    "steps": lambda look: look.steps,
    "confidence of the first step": lambda look: -look.first_confidence,
    "confidence of the last step": lambda look: -look.last_confidence,
    "confidence at halting": lambda look: -look.confidence,
    "area under the uncertainty": lambda look: look.uncertainty,
    "brightness of the picture": lambda look: look.brightness,
    "edges in the picture": lambda look: look.edges,
}

#: The predictors that steps must exceed; for measures of pictures either sign counts.
BASELINES = (
    "confidence of the first step",
    "confidence of the last step",
    "brightness of the picture",
    "edges in the picture",
)
EITHER_SIGN = ("brightness of the picture", "edges in the picture")

#: Name of the steps of networks without lateral and top-down connections.
FEED_FORWARD = "steps of feed-forward networks"


@dataclass(frozen=True)
class _Matched:
    """Difficulty and networks' answers for the same images; predictors have the shape (networks, images)."""

    difficulty: Floats
    label: NDArray[np.int64]
    is_right: NDArray[np.bool_]
    predictors: Mapping[str, Floats]
    groups: Sequence[Indices]  # networks of each seed


def by_image(
    networks: Networks, looks: Looks, difficulty: Difficulty, task: str, rule: str, draws: int = DRAWS
) -> list[Part]:
    """Decide whether steps correlate with how hard people found each image.

    Args:
        networks: Complete trials, of one task and rule, also those without recurrence.
        looks: The networks' answers to each image.
        difficulty: How hard people found the images; images are rows of the whole test set.
        task, rule: Names of the task and the halting rule.
        draws: Number of draws of the bootstrap and of the permutation test.

    Raises:
        QueryError: If the images are not those of the test set.
    """
    rng = np.random.default_rng(0)
    able = networks.take((networks.accuracy >= LEAST_ACCURACY) & ~networks.is_feed_forward)
    seeds = len(np.unique(able.seed))
    if seeds < LEAST_SEEDS:
        best = f", the best {networks.accuracy.max():.2f}" if len(networks) else ""
        lacks = f"networks of {seeds} seeds have {LEAST_ACCURACY:g} right{best}; {LEAST_SEEDS} are needed"
        return [Part(CLAIM, "by image", rule, task, Estimate(math.nan), "rank correlation", LEAST, lacks=lacks)]
    plain = networks.take(networks.is_feed_forward)
    matched = _matched(able, looks, difficulty)
    others = _matched(plain, looks, difficulty) if len(plain) else None
    ceiling = _ceiling(difficulty, matched)
    found = _correlations(matched, others, rng, draws)
    effect = found["steps"]
    lacks = (
        f"the ceiling of the human data is {ceiling:.2f}; {LEAST_CEILING:g} is needed"
        if ceiling < LEAST_CEILING
        else ""
    )
    return [
        Part(
            CLAIM,
            "by image",
            rule,
            task,
            effect.estimate,
            "rank correlation within classes",
            LEAST,
            p=_permuted(matched, effect.estimate.value, rng, draws),
            networks=len(able),
            seeds=seeds,
            lacks=lacks,
            controls=tuple(
                _beyond(effect, name, one) for name, one in found.items() if name in (*BASELINES, FEED_FORWARD)
            )
            + (() if others else (_NO_BASELINE,)),
            numbers={
                "difficulty": difficulty.meaning,
                "images": len(matched.difficulty),
                "ceiling": ceiling,
                "correlations": [
                    {"of": name, "value": one.estimate.value, "low": one.estimate.low, "high": one.estimate.high}
                    for name, one in found.items()
                ],
                "beyond_confidence": _beyond_confidence(matched),
                "accuracy": float(able.accuracy.mean()),
                "feed_forward_accuracy": float(plain.accuracy.mean()) if len(plain) else None,
            },
        )
    ]


_NO_BASELINE = Control(
    FEED_FORWARD,
    False,
    "no network without lateral and top-down connections was trained",
    qualifier="not compared with feed-forward networks",
)


def _matched(networks: Networks, looks: Looks, difficulty: Difficulty) -> _Matched:
    whole = [looks[key][WHOLE] for key in networks.key]
    count = len(whole[0].label)
    is_known = (difficulty.image >= 0) & (difficulty.image < count) & np.isfinite(difficulty.value)
    image = difficulty.image[is_known]
    label = whole[0].label[image]
    if difficulty.label is not None and (wrong := np.flatnonzero(label != difficulty.label[is_known])).size:
        at, said, own = image[wrong[0]], difficulty.label[is_known][wrong[0]], label[wrong[0]]
        raise QueryError(
            f"the human data are of other images: image {at} is of class {said} there, and of class {own} in this "
            "sweep's test set. Sweep all images of that test set, in its order."
        )
    return _Matched(
        difficulty.value[is_known],
        label,
        np.array([look.is_right[image] for look in whole]),
        {name: np.array([of(look)[image] for look in whole]) for name, of in PREDICTORS.items()},
        grouped(networks.seed),
    )


@dataclass(frozen=True)
class _Correlation:
    """A correlation with the bootstrap draws of its interval, so that two can be compared draw by draw."""

    estimate: Estimate
    draws: Floats


def _correlations(
    matched: _Matched, others: _Matched | None, rng: np.random.Generator, draws: int
) -> dict[str, _Correlation]:
    """Return the correlation of each predictor with difficulty, with intervals by drawing seeds and images together."""
    of = {False: matched, True: others}
    names = {False: tuple(matched.predictors), True: ("steps",) if others else ()}
    called = [*names[False], *([FEED_FORWARD] if others else [])]
    classes = grouped(matched.label)
    kinds = [plain for plain in (False, True) if of[plain]]
    counts = [np.zeros((draws, len(members)), np.uint16) for members in classes]
    times = {plain: np.zeros((draws, len(one.is_right)), np.uint16) for plain, one in of.items() if one}
    for draw in range(draws):
        for members, drawn_images in zip(classes, counts, strict=True):
            drawn_images[draw] = np.bincount(rng.integers(0, len(members), len(members)), minlength=len(members))
        at = rng.random(max(len(one.groups) for one in of.values() if one))  # the same seeds for both kinds of networks
        for plain, one in of.items():
            for group in [one.groups[int(x * len(one.groups))] for x in at[: len(one.groups)]] if one else ():
                times[plain][draw][group] += 1
    once = [np.ones((1, len(members)), np.uint16) for members in classes]

    def correlated(images: Sequence[Counts], networks: Mapping[bool, Counts]) -> Floats:
        return np.concatenate(
            [_of_networks(of[plain], names[plain], classes, images, networks[plain]) for plain in kinds], axis=1
        )

    (every,) = correlated(once, {plain: np.ones((1, one.shape[1]), np.uint16) for plain, one in times.items()})
    is_either = np.array([name in EITHER_SIGN for name in called])
    signs = np.where(is_either & (every < 0), -1.0, 1.0)
    drawn = signs * correlated(counts, times)
    found = {}
    for column, name in enumerate(called):
        known = drawn[np.isfinite(drawn[:, column]), column]
        low, high = np.percentile(known, INTERVAL) if len(known) > 0.9 * draws else (math.nan, math.nan)
        estimate = Estimate(float(signs[column] * every[column]), float(low), float(high))
        found[name] = _Correlation(estimate, drawn[:, column])
    return found


def _of_networks(
    matched: _Matched | None,
    names: Sequence[str],
    classes: Sequence[Indices],
    images: Sequence[Counts],
    times: Counts,
) -> Floats:
    """Return each predictor's correlation within classes, among right answers, as the mean over networks.

    Args:
        matched: Difficulty and the networks' answers.
        names: Names of P predictors.
        classes: The images of each class.
        images: How often each image of a class counts, in each of D draws: (draws, images) by class.
        times: How often each network counts: (draws, networks).

    Returns:
        Shape (D, P); NaN if no network has a correlation.
    """
    total = np.zeros((len(times), len(names)))
    weight = np.zeros_like(total)
    for network in range(times.shape[1]) if matched else ():
        if times[:, network].any():
            z = _within_classes(matched, names, classes, images, network)  # type: ignore[arg-type]
            is_known = np.isfinite(z)
            own = times[:, network, None] * is_known
            total, weight = total + np.where(is_known, z, 0) * own, weight + own
    with np.errstate(invalid="ignore"):
        found: Floats = total / weight
    return found


def _within_classes(
    matched: _Matched, names: Sequence[str], classes: Sequence[Indices], images: Sequence[Counts], network: int
) -> Floats:
    """Return one network's correlation within classes for each predictor, averaged by Fisher's z: (draws, P)."""
    found = []
    for members, counted in zip(classes, images, strict=True):
        is_right = matched.is_right[network, members]
        right, weight = members[is_right], counted[:, is_right].astype(float)
        if len(right):
            hard = weighted_ranks(matched.difficulty[right], weight)
            others = (weighted_ranks(matched.predictors[name][network, right], weight) for name in names)
            z = np.column_stack([_correlated(hard, one, weight) for one in others])
            z[weight.sum(1) < LEAST_IMAGES] = math.nan
            found.append(z)
    return _averaged(found, (len(images[0]), len(names)))


def _correlated(x: Floats, y: Floats, weight: Floats) -> Floats:
    """Return the weighted correlation of two centred variables, for each row."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = (weight * x * y).sum(1) / np.sqrt((weight * x * x).sum(1) * (weight * y * y).sum(1))
    return found


def _averaged(correlations: Sequence[Floats], shape: tuple[int, ...]) -> Floats:
    """Return the elementwise mean of correlations by Fisher's z; NaN if none is known."""
    total, count = np.zeros(shape), np.zeros(shape)
    for one in correlations:
        is_known = np.isfinite(one)
        total += np.where(is_known, np.arctanh(np.clip(np.where(is_known, one, 0), -0.999999, 0.999999)), 0)
        count += is_known
    with np.errstate(invalid="ignore"):
        found: Floats = np.tanh(total / count)
    return found


def _permuted(matched: _Matched, found: float, rng: np.random.Generator, draws: int) -> float:
    """Return the p-value of the correlation of steps, by permuting difficulty among the images of each class."""
    classes, every = grouped(matched.label), np.concatenate(matched.groups)
    orders = [np.empty((draws, len(members)), np.int32) for members in classes]
    for draw in range(draws):
        for order in orders:
            order[draw] = rng.permutation(order.shape[1])
    total, count = np.zeros(draws), np.zeros(draws)
    for network in every:
        z = _averaged(
            [
                _exchanged(matched, members, order, int(network))
                for members, order in zip(classes, orders, strict=True)
                if np.count_nonzero(matched.is_right[network, members]) >= LEAST_IMAGES
            ],
            (draws,),
        )
        is_known = np.isfinite(z)
        total, count = total + np.where(is_known, z, 0), count + is_known
    with np.errstate(invalid="ignore"):
        return share_beyond(found, total / count)


def _exchanged(matched: _Matched, members: Indices, order: NDArray[np.int32], network: int) -> Floats:
    """Return the correlation of a network's steps within a class, with difficulty permuted among its images.

    Args:
        matched: Difficulty and the networks' answers.
        members: The images of the class.
        order: In each of D draws, the image whose difficulty each image takes: (draws, images).
        network: Index of the network.
    """
    is_right = matched.is_right[network, members]
    right = np.flatnonzero(is_right)
    # In each draw, weight 1 for a difficulty that goes to an image answered right, else 0.
    weight = np.zeros(order.shape)
    np.put_along_axis(weight, order[:, right], 1, axis=1)
    hard = np.take_along_axis(weighted_ranks(matched.difficulty[members], weight), order[:, right], axis=1)
    once = np.ones((1, len(right)))
    steps = weighted_ranks(matched.predictors["steps"][network, members[right]], once)
    return _correlated(hard, steps, once)


def _ceiling(difficulty: Difficulty, matched: _Matched) -> float:
    """Return the highest correlation to expect: the square root of the reliability between halves of people."""
    rng = np.random.default_rng(1)
    is_known = np.isfinite(difficulty.value) & (difficulty.image >= 0)
    label = np.full(len(difficulty.image), -1)
    label[np.flatnonzero(is_known)[: len(matched.label)]] = matched.label
    found = []
    for _ in range(SPLITS):
        one, other = difficulty.halves(rng)
        both = np.isfinite(one) & np.isfinite(other) & (label >= 0)
        found.append(within(one[both], other[both], label[both], least=LEAST_IMAGES))
    return math.sqrt(spearman_brown(float(np.nanmean(found)))) if np.isfinite(found).any() else 0.0


def _beyond(steps: _Correlation, name: str, other: _Correlation) -> Control:
    """Return whether steps correlate with difficulty more than another predictor, by the interval of the difference."""
    difference = steps.draws - other.draws
    known = difference[np.isfinite(difference)]
    low, high = np.percentile(known, INTERVAL) if len(known) else (math.nan, math.nan)
    value = steps.estimate.value - other.estimate.value
    return Control(
        name,
        bool(low > 0),
        f"that of steps is larger by {value:.3f} ({low:.3f} to {high:.3f})",
        qualifier=f"no better than {name}",
    )


def _beyond_confidence(matched: _Matched) -> float:
    """Return the correlation of steps with difficulty at fixed confidence at halting, as the mean over networks."""
    found = []
    for network, is_right in enumerate(matched.is_right):
        steps, confidence = (matched.predictors[name][network] for name in ("steps", "confidence at halting"))
        found.append(
            within(
                steps[is_right],
                matched.difficulty[is_right],
                matched.label[is_right],
                [confidence[is_right]],
                LEAST_IMAGES,
            )
        )
    known = np.array(found)[np.isfinite(found)]
    return float(known.mean()) if len(known) else math.nan


def by_condition(networks: Networks, looks: Looks, conditions: Sequence[Condition]) -> list[dict[str, Any]]:
    """Describe how mean steps correlate with people's median reaction time over the levels of each degradation.

    Args:
        networks: Complete trials, of one task and rule, also those without recurrence.
        looks: The networks' answers to each image under each probe.
        conditions: The human data.

    Returns:
        A row for each kind with at least 5 levels that both saw: the correlations of steps and of confidence, averaged
        over networks, and of the steps of feed-forward networks if there are any, with intervals over seeds; the human
        data's ceiling, and the levels themselves.
    """
    found, plain, networks = [], networks.take(networks.is_feed_forward), networks.take(~networks.is_feed_forward)
    rng = np.random.default_rng(0)
    for kind in dict.fromkeys(one.kind for one in conditions):
        levels = [one for one in conditions if one.kind == kind]
        seen = [(one, _probe_of(looks[key], kind, one.level)) for key in networks.key[:1] for one in levels]
        both = [(one, probe) for one, probe in seen if probe is not None]
        if len({probe for _, probe in both}) < LEAST_LEVELS:
            continue
        seconds = [one.seconds for one, _ in both]

        def over_levels(
            which: Networks, of: Callable[[Look], Floats], both: Any = both, seconds: Any = seconds
        ) -> Estimate:
            by_network = np.array([
                spearman([float(of(looks[key][probe]).mean()) for _, probe in both], seconds) for key in which.key
            ])
            return bootstrapped(lambda rows: fisher_mean(by_network[rows]), grouped(which.seed), rng)

        steps = over_levels(networks, PREDICTORS["steps"])
        confidence = over_levels(networks, PREDICTORS["confidence at halting"])
        others = over_levels(plain, PREDICTORS["steps"])
        found.append({
            "kind": kind,
            "levels": len(both),
            "steps": steps.value,
            "steps_interval": [steps.low, steps.high],
            "confidence": confidence.value,
            "confidence_interval": [confidence.low, confidence.high],
            "feed_forward": others.value,
            "feed_forward_interval": [others.low, others.high],
            "ceiling": _ceiling_over_levels([one for one, _ in both]),
            "rows": [
                {
                    "level": one.level,
                    "seconds": one.seconds,
                    "steps": float(np.mean([looks[key][probe].steps.mean() for key in networks.key])),
                    "accuracy": float(np.mean([looks[key][probe].is_right.mean() for key in networks.key])),
                }
                for one, probe in both
            ],
        })
    return found


def _probe_of(of: Mapping[Probe, Look], kind: str, level: float) -> Probe | None:
    """Return the probe of a kind at a level, or of whole images at level 0; None if it was not shown."""
    if level == 0:
        return WHOLE
    known = [probe for probe in of if probe[0] == kind and abs(probe[1] - level) <= SAME_LEVEL * level]
    return min(known, key=lambda probe: abs(probe[1] - level)) if known else None


def _ceiling_over_levels(conditions: Sequence[Condition]) -> float:
    found = []
    for split in range(SPLITS):  # one seed per split puts the same people into a half at all levels
        halves = [one.halves(np.random.default_rng(split)) for one in conditions]
        found.append(spearman([a for a, _ in halves], [b for _, b in halves]))
    return math.sqrt(spearman_brown(float(np.nanmean(found)))) if np.isfinite(found).any() else 0.0
