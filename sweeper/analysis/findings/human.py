"""Reads human data: people's answers and reaction times to the same images, or to the same kinds of degradation.

Two kinds of tables are known by their columns (`docs/reference/human-data.md`):

    answers   `test_index`, `counts`: how many people chose which class; difficulty is the entropy of their answers
    trials    `rt_seconds`, `subject`, and `correct` if it is known: one row for each trial, with `test_index` if images
              are those of the test set, or with `experiment` and `condition` if pictures were degraded

The package contains no such data.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sweeper.analysis.findings.statistics import Floats, Indices
from sweeper.errors import QueryError

#: Longest time that counts as a reaction, in seconds; times of zero or less do not count either.
LONGEST_S = 60.0


@dataclass(frozen=True)
class Difficulty:
    """How hard people found each image.

    Attributes:
        image: Numbers in the test set, ascending.
        value: Difficulty of each image: entropy in bits, or log seconds less each person's own mean.
        meaning: The meaning of `value` in words.
        halves: Splits people at random, and returns the difficulty by either half; NaN if a half has no trial.
        label: Class of each image, if the file has it; it reveals data about other images.
    """

    image: Indices
    value: Floats
    meaning: str
    halves: Callable[[np.random.Generator], tuple[Floats, Floats]]
    label: Indices | None = None


@dataclass(frozen=True)
class Condition:
    """How long people took with one kind of degradation at one level.

    Attributes:
        kind, level: Kind and level of the degradation by this project's names; level 0 means unchanged pictures.
        seconds: Median reaction time of right answers, in seconds.
        trials: Number of right answers.
        halves: Splits people at random, and returns the median of either half.
    """

    kind: str
    level: float
    seconds: float
    trials: int
    halves: Callable[[np.random.Generator], tuple[float, float]]


@dataclass(frozen=True)
class Human:
    """The human data of a file: by image, by condition, or both."""

    difficulty: Difficulty | None = None
    conditions: tuple[Condition, ...] = ()


#: Side of the pictures that people saw, in pixels; some levels depend on it (Geirhos et al. 2018, 2021).
_PICTURE_SIDE = 224


def level_of(experiment: str, condition: str, side: int) -> tuple[str, float] | None:
    """Return kind and level of a condition by this project's names; None if the project has no such degradation.

    Args:
        experiment: Name of the experiment, or one of this project's degradations.
        condition: Its level as text.
        side: Side of the images that networks see, in pixels.
    """
    number = re.search(r"\d+(?:\.\d+)?", condition)
    if number is None:
        return None
    value = float(number.group())
    known: Mapping[str, tuple[str, float]] = {
        "uniform-noise": ("noise", value / math.sqrt(3)),  # standard deviation of ±width, uniform
        "contrast": ("contrast", 1 - value / 100) if condition.startswith("c") else ("contrast", value),
        "low-pass": ("blur", value * side / _PICTURE_SIDE),
        "phase-scrambling": ("phase_scramble", value / 180),
        **{name: (name, value) for name in ("noise", "blur", "phase_scramble", "debris", "clutter", "blank")},
        **{name: (name, value) for name in ("occlude_grey", "occlude_black", "occlude_beside")},
    }
    return known.get(experiment)


def human_of(table: pa.Table, name: str, side: int) -> Human:
    """Return the human data in a table.

    Args:
        table: A table of one of the two kinds.
        name: The file's name, for messages.
        side: Side of the images that networks see, in pixels.

    Raises:
        QueryError: If the table is of neither kind, or a column holds unexpected values.
    """
    columns = set(table.column_names)
    try:
        if {"test_index", "counts"} <= columns:
            return Human(_by_answers(table, name))
        if {"rt_seconds", "subject"} <= columns and columns & {"test_index", "condition"}:
            trials = _reactions(table)
            difficulty = _by_reactions(trials, name) if "test_index" in columns else None
            conditions = _by_condition(trials, side) if {"experiment", "condition"} <= columns else ()
            return Human(difficulty, conditions)
    except (pa.ArrowException, ValueError, TypeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise QueryError(
            f"the human data in {name} cannot be read: {reason}. Compare its columns with the docs."
        ) from error
    raise QueryError(
        f"{name} holds no human data that is known (its columns: {', '.join(table.column_names)}). It needs "
        "test_index and counts; or rt_seconds and subject, with test_index, or with experiment and condition."
    )


def _by_answers(table: pa.Table, name: str) -> Difficulty:
    counts = np.array(table["counts"].to_pylist(), np.int64)
    if counts.ndim != 2 or (counts < 0).any() or (counts.sum(1) < 2).any():
        raise QueryError(f"the counts in {name} must be of as many classes in each row, with at least 2 answers.")
    image = table["test_index"].to_numpy().astype(np.int64)
    _refuse_repeated(image, name)
    order = np.argsort(image)
    counts = counts[order]

    def halves(rng: np.random.Generator) -> tuple[Floats, Floats]:
        half = rng.multivariate_hypergeometric
        first = np.array([half(row, int(row.sum()) // 2) for row in counts])
        return _entropy(first), _entropy(counts - first)

    label = table["label"].to_numpy().astype(np.int64)[order] if "label" in table.column_names else None
    return Difficulty(image[order], _entropy(counts), "entropy of people's answers, in bits", halves, label)


def _entropy(counts: NDArray[np.int64]) -> Floats:
    share = counts / counts.sum(1, keepdims=True)
    found: Floats = -(share * np.log2(np.where(share > 0, share, 1))).sum(1)
    return found


def _refuse_repeated(image: Indices, name: str) -> None:
    values, times = np.unique(image, return_counts=True)
    if (times > 1).any():
        raise QueryError(f"{name} has {times.max()} rows of test_index {values[times.argmax()]}, but one is wanted.")


@dataclass(frozen=True)
class _Trials:
    """Trials with right answers in time: seconds, log seconds less each person's mean, and what they were about."""

    seconds: Floats
    centred: Floats
    subject: NDArray[np.int64]
    image: Indices | None
    experiment: NDArray[np.str_]
    condition: NDArray[np.str_]


def _reactions(table: pa.Table) -> _Trials:
    seconds = np.asarray(table["rt_seconds"].cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
    is_kept = np.isfinite(seconds) & (seconds > 0) & (seconds <= LONGEST_S)
    if "correct" in table.column_names:
        is_kept &= np.array([value is True for value in table["correct"].to_pylist()])
    _, subject = np.unique(np.array([str(one) for one in table["subject"].to_pylist()]), return_inverse=True)
    log_seconds = np.log(np.where(is_kept, seconds, 1))
    sums, counts = (np.bincount(subject, weights) for weights in (log_seconds * is_kept, is_kept.astype(float)))
    centred = log_seconds - (sums / np.maximum(counts, 1))[subject]

    def words(column: str) -> NDArray[np.str_]:
        values = table[column].to_pylist() if column in table.column_names else [""] * table.num_rows
        return np.array([str(value) for value in values])[is_kept]

    has_images = "test_index" in table.column_names
    return _Trials(
        seconds[is_kept],
        centred[is_kept],
        subject[is_kept],
        table["test_index"].to_numpy().astype(np.int64)[is_kept] if has_images else None,
        words("experiment"),
        words("condition"),
    )


def _by_reactions(trials: _Trials, name: str) -> Difficulty:
    if trials.image is None or not len(trials.image):
        raise QueryError(f"{name} has no trial that was answered right, in more than 0 and at most {LONGEST_S:g} s.")
    image, index = np.unique(trials.image, return_inverse=True)

    def halves(rng: np.random.Generator) -> tuple[Floats, Floats]:
        is_first = _half_of(trials.subject, rng)
        return tuple(_means(trials.centred[which], index[which], len(image)) for which in (is_first, ~is_first))  # type: ignore[return-value]

    value = _means(trials.centred, index, len(image))
    return Difficulty(image, value, "log reaction time of right answers, less each person's mean", halves)


def _half_of(subject: Indices, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which trials belong to a random half of the people."""
    people = np.unique(subject)
    first = rng.permutation(people)[: len(people) // 2]
    found: NDArray[np.bool_] = np.isin(subject, first)
    return found


def _means(values: Floats, index: Indices, count: int) -> Floats:
    sums, counts = np.bincount(index, values, count), np.bincount(index, minlength=count)
    with np.errstate(invalid="ignore"):
        found: Floats = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return found


def _by_condition(trials: _Trials, side: int) -> tuple[Condition, ...]:
    found = []
    for experiment in np.unique(trials.experiment):
        of = trials.experiment == experiment
        for condition in np.unique(trials.condition[of]):
            named = level_of(str(experiment), str(condition), side)
            if named is None:
                continue
            which = np.flatnonzero(of & (trials.condition == condition))
            seconds, subject = trials.seconds[which], trials.subject[which]
            found.append(Condition(*named, float(np.median(seconds)), len(which), _median_halves(seconds, subject)))
    return tuple(sorted(found, key=lambda one: (one.kind, one.level)))


def _median_halves(seconds: Floats, subject: Indices) -> Callable[[np.random.Generator], tuple[float, float]]:
    def halves(rng: np.random.Generator) -> tuple[float, float]:
        is_first = _half_of(subject, rng)
        return _median(seconds[is_first]), _median(seconds[~is_first])

    return halves


def _median(values: Floats) -> float:
    return float(np.median(values)) if len(values) else math.nan
