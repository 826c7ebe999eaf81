"""Importance of parameters: functions with a known variance, and the uncertainty with few settings."""

from __future__ import annotations

import random

import pytest

from sweeper.search.importance import importances


def tried(count, function, **ranges):
    """Return random settings, each with the function's value `y`."""
    chance = random.Random(1)
    rows = []
    for _ in range(count):
        setting = {
            name: chance.choice(of) if isinstance(of, list) else chance.uniform(*of) for name, of in ranges.items()
        }
        rows.append({**setting, "y": function(**setting)})
    return rows


def test_shares_are_those_of_the_function():
    """For 2a + b on equal ranges, a explains four fifths of the variance, b one fifth, and c nothing."""
    rows = tried(90, lambda a, b, c: 2 * a + b, a=(0, 1), b=(0, 1), c=(0, 1))
    found = importances(rows, ["a", "b", "c"], "y")
    assert found["a"].share == pytest.approx(0.8, abs=0.12)
    assert found["b"].share == pytest.approx(0.2, abs=0.1)
    assert found["c"].share < 0.05
    assert all(0 <= one.low <= one.share <= one.high <= 1 for one in found.values())
    assert found["a"].low > found["b"].high, "so the order is known"
    assert found == importances(rows, ["a", "b", "c"], "y")


def test_few_settings_are_unsure():
    few = importances(tried(6, lambda a, b, c: 2 * a + b, a=(0, 1), b=(0, 1), c=(0, 1)), ["a", "b", "c"], "y")
    many = importances(tried(90, lambda a, b, c: 2 * a + b, a=(0, 1), b=(0, 1), c=(0, 1)), ["a", "b", "c"], "y")
    assert few["a"].high - few["a"].low > 2 * (many["a"].high - many["a"].low)


def test_words_and_yes_and_no_are_choices_and_decades_are_orders_of_magnitude():
    rows = tried(
        80,
        lambda word, flag, rate: (word == "deep") + 0.01 * flag + (rate > 1e-2),
        word=["deep", "wide", "long"],
        flag=[True, False],
        rate=[1e-4, 1e-3, 1e-2, 1e-1],
    )
    found = importances(rows, ["word", "flag", "rate"], "y")
    assert found["word"].share > 0.4
    assert found["flag"].share < 0.05
    assert found["rate"].share > 0.3


def test_what_acts_only_together_is_in_no_share():
    rows = tried(90, lambda a, b: (a > 0.5) ^ (b > 0.5), a=(0, 1), b=(0, 1))
    found = importances(rows, ["a", "b"], "y")
    assert found["a"].share + found["b"].share < 0.35


def test_objective_that_does_not_vary_has_none():
    assert importances(tried(9, lambda a: 1.0, a=(0, 1)), ["a"], "y") == {}
