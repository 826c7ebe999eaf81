"""Each claim is tested on networks for which it is true and on others: the verdict has to follow."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.analysis.findings import diversity, growth, occlusion, reaction_times, tradeoffs
from sweeper.analysis.findings.human import Condition, Difficulty
from sweeper.analysis.findings.looks import WHOLE
from sweeper.analysis.findings.statistics import Estimate
from sweeper.analysis.findings.verdicts import Control, Finding, Part, Verdict, corrected
from tests.analysis.findings.made import look_of, networks_of

SEEDS = st.integers(0, 2**31)


def decided(parts):
    (finding,) = corrected([Finding("F", "a claim", tuple(parts))])
    return finding


def verdicts(parts):
    return {part.name: part.verdict for part in decided(parts).parts}


# The rule for all claims.


def part_of(effect=(0.5, 0.3, 0.7), p=0.001, **given):
    return Part("F1", "name", "confidence", "digits", Estimate(*effect), "unit", 0.2, p=p, **given)


@pytest.mark.parametrize(
    ("part", "verdict", "words"),
    [
        (part_of(), Verdict.SHOWN, ""),
        (part_of(effect=(0.5, 0.1, 0.7)), Verdict.NOT_SHOWN, "begins at 0.1, not above 0.2"),
        (part_of(p=0.2), Verdict.NOT_SHOWN, "corrected p is 0.2"),
        (part_of(p=math.nan), Verdict.NOT_SHOWN, "corrected p is nan"),
        (part_of(effect=(0.1, 0.0, 0.15), p=0.001), Verdict.REFUTED, "ends at 0.15, below 0.2"),
        (part_of(effect=(-0.5, -0.7, -0.3), p=1.0), Verdict.REFUTED, "below 0.2"),
        (part_of(lacks="too few"), Verdict.TOO_LITTLE, "too few"),
        (part_of(effect=(0.5, math.nan, math.nan)), Verdict.TOO_LITTLE, "no interval"),
        (part_of(controls=(Control("c", False, "it is not so"),)), Verdict.NOT_SHOWN, "c: it is not so"),
        (part_of(controls=(Control("c", None, "described"),)), Verdict.SHOWN, ""),
        (
            part_of(effect=(0, -0.1, 0.1), controls=(Control("c", False, "void", is_void=True),)),
            Verdict.NOT_SHOWN,
            "c: void",
        ),
        (
            part_of(effect=(0, -0.1, 0.1), controls=(Control("c", True, "fine", is_void=True),)),
            Verdict.REFUTED,
            "below 0.2",
        ),
        (part_of(controls=(Control("c", False, "blind", is_blind=True),)), Verdict.TOO_LITTLE, "c: blind"),
    ],
)
def test_verdict_follows_from_interval_p_and_controls(part, verdict, words):
    (found,) = decided([part]).parts
    assert found.verdict is verdict
    assert words in found.why


def test_control_with_a_qualifier_weakens_what_is_shown_and_nothing_else():
    weak = Control("confidence", False, "equal", qualifier="by confidence alone")
    (found,) = decided([part_of(controls=(weak,))]).parts
    assert (found.verdict, found.qualifier, found.why) == (Verdict.SHOWN, "by confidence alone", "")
    (found,) = decided([part_of(p=0.5, controls=(weak,))]).parts
    assert (found.verdict, found.qualifier) == (Verdict.NOT_SHOWN, "")


def test_claim_is_as_good_as_its_parts_and_all_tests_are_corrected_together():
    shown, refuted = part_of(), part_of(effect=(0, -0.1, 0.1))
    assert decided([shown, shown]).verdicts == {("digits", "confidence"): Verdict.SHOWN}
    assert decided([shown, refuted]).verdicts == {("digits", "confidence"): Verdict.REFUTED}
    assert decided([shown, part_of(p=0.9)]).verdicts == {("digits", "confidence"): Verdict.NOT_SHOWN}
    assert decided([shown, part_of(lacks="few")]).verdicts == {("digits", "confidence"): Verdict.TOO_LITTLE}
    both = corrected([
        Finding("F1", "", (part_of(p=0.03),)),
        Finding("F2", "", (part_of(p=0.02), part_of(lacks="few"))),
    ])
    assert [part.corrected for one in both for part in one.parts[:1]] == [0.04, 0.04]
    assert math.isnan(both[1].parts[1].corrected)


# F1.


def traded_networks(count=120, noise=0.3, seed=0, *, traded=True):
    """Return networks of one accuracy that trade three resources, or whose resources are drawn independently."""
    rng = np.random.default_rng(seed)
    breadth, depth = rng.integers(2, 8, count), rng.integers(1, 5, count)
    time = rng.uniform(1.5, 8, count)
    if traded:
        time = np.exp(3.2 - np.log(breadth) - np.log(depth) + noise * 0.3 * rng.normal(size=count))
    macs = breadth * depth * time
    return networks_of(
        breadth=breadth, depth=depth, time=time, macs=macs.astype(float), accuracy=0.9 + 0.003 * rng.normal(size=count)
    )


def test_resources_that_are_traded_are_shown_to_be():
    found = verdicts(tradeoffs.parts(traded_networks(), "digits", "confidence"))
    assert found["breadth for time"] is Verdict.SHOWN
    assert found["depth for time"] is Verdict.SHOWN
    assert found["breadth for depth"] is Verdict.SHOWN


@pytest.mark.slow
def test_resources_that_are_not_traded_are_refuted_or_not_shown():
    parts = tradeoffs.parts(traded_networks(400, traded=False), "digits", "confidence")
    for part in decided(parts).parts:
        assert part.verdict in (Verdict.REFUTED, Verdict.NOT_SHOWN), (part.name, part.effect, part.why)


@pytest.mark.slow
def test_trade_that_arithmetic_forces_is_not_taken_for_one():
    """Equal numbers of channels are spread at random: breadth and depth correlate, which proves nothing."""
    rng = np.random.default_rng(0)
    breadth, depth = tradeoffs.spread(np.full(150, 8), 8, 5, rng, 1)
    networks = networks_of(breadth=breadth[0], depth=depth[0], channels=np.full(150, 8.0), time=rng.uniform(2, 6, 150))
    part = next(p for p in decided(tradeoffs.parts(networks, "d", "r")).parts if p.name == "breadth for depth")
    assert part.effect.value > 0.3, "they do correlate"
    assert part.numbers["by_arithmetic"] < -0.3
    assert part.p > 0.01
    assert part.verdict is not Verdict.SHOWN


def test_too_few_networks_or_seeds_or_networks_at_the_wall_are_said():
    few = decided(tradeoffs.parts(traded_networks(25), "digits", "confidence")).parts
    assert all(part.verdict is Verdict.TOO_LITTLE and "40 of 5 seeds are needed" in part.why for part in few)
    networks = traded_networks()
    networks.limited["time"][:] = True
    walled = decided(tradeoffs.parts(networks, "digits", "confidence")).parts
    assert all("0 of 120 networks" in part.why for part in walled)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, totals=st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_channels_are_spread_in_ways_that_a_window_allows(seed, totals):
    breadth, depth = tradeoffs.spread(np.array(totals), 4, 3, np.random.default_rng(seed), 50)
    assert breadth.shape == depth.shape == (50, len(totals))
    assert ((depth >= 1) & (depth <= 3) & (breadth >= 1) & (breadth <= 4)).all()
    assert (breadth * depth >= totals).all()
    assert (breadth + depth - 1 <= np.array(totals)).all(), "every layer has a channel"


def test_every_way_of_spreading_is_as_likely_as_any_other():
    ways = [
        layers for count in (1, 2, 3) for layers in itertools.product(range(1, 5), repeat=count) if sum(layers) == 6
    ]
    breadth, depth = tradeoffs.spread(np.array([6]), 4, 3, np.random.default_rng(0), 20_000)
    for wide, deep in {(max(one), len(one)) for one in ways}:
        expected = sum((max(one), len(one)) == (wide, deep) for one in ways) / len(ways)
        assert np.mean((breadth == wide) & (depth == deep)) == pytest.approx(expected, abs=0.015)


@pytest.mark.slow
def test_exchange_rates_are_those_that_accuracy_was_made_with():
    rng = np.random.default_rng(0)
    breadth, depth, time = rng.integers(1, 9, 300), rng.integers(1, 6, 300), rng.uniform(1, 8, 300)
    odds = -2 + 1.0 * np.log(breadth) + 1.0 * np.log(depth) + 0.5 * np.log(time) + 0.05 * rng.normal(size=300)
    networks = networks_of(breadth=breadth, depth=depth, time=time, accuracy=1 / (1 + np.exp(-odds)))
    rates = {(one["halved"], one["paid"]): one for one in tradeoffs.exchange_rates(networks, rng)}
    assert rates["depth", "time"]["times"] == pytest.approx(4, rel=0.1), "half the depth costs four times the steps"
    assert rates["breadth", "depth"]["low"] < 2 < rates["breadth", "depth"]["high"]
    useless = networks_of(breadth=breadth, depth=depth, time=time, accuracy=rng.uniform(0.3, 0.9, 300))
    assert all(one["times"] is None for one in tradeoffs.exchange_rates(useless, rng))


# F2.


def climbed(growing=1.2, blocks=6, pressures=6, accuracy_step=-0.02, seed=0):
    """Return networks on a ladder of five tasks: at each step resources grow by a factor, and accuracy falls."""
    rng = np.random.default_rng(seed)
    rows = list(itertools.product(range(5), range(blocks), range(pressures)))
    level, block, pressure = (np.array(column) for column in zip(*rows, strict=True))
    resource = (2 + pressure) * growing**level * np.exp(0.05 * rng.normal(size=len(rows)))
    accuracy = 0.95 + accuracy_step * level - 0.12 / (1 + pressure) + 0.003 * rng.normal(size=len(rows))
    return networks_of(
        breadth=resource,
        layers=[[3, 3]] * len(rows),
        depth=resource,
        time=resource,
        accuracy=accuracy,
        seed=block,
        class_set=block.astype(str),
        block=np.array([f"{one}/0" for one in block]),
        level=np.array([f"classes={2 + 2 * one}" for one in level]),
        setting=np.array([f"p={one}" for one in pressure]),
        values={"complexity.regression": 0.01 + 0.02 * level, "complexity.neighbour": 0.005 + 0.01 * level},
    )


def test_growth_along_a_ladder_is_shown_and_its_absence_is_not():
    networks = climbed()
    ladder = growth.ladder_of(networks)
    assert ladder.levels == ("classes=2", "classes=4", "classes=6", "classes=8", "classes=10")
    assert ladder.agreement == pytest.approx(1)
    assert set(verdicts(growth.parts(networks, ladder, "confidence")).values()) == {Verdict.SHOWN}
    flat = climbed(growing=1.0, accuracy_step=0)
    found = verdicts(growth.parts(flat, growth.ladder_of(flat), "confidence"))
    assert set(found.values()) == {Verdict.REFUTED}


def test_ladder_on_which_accuracy_rises_or_complexities_disagree_shows_nothing():
    networks = climbed(accuracy_step=0.02)
    part = decided(growth.parts(networks, growth.ladder_of(networks), "confidence")).parts[0]
    assert next(one for one in part.controls if one.name == "harder tasks").is_passed is False
    networks = climbed()
    networks.values["complexity.neighbour"][:] *= -1
    part = decided(growth.parts(networks, growth.ladder_of(networks), "confidence")).parts[0]
    assert next(one for one in part.controls if one.name == "order of the ladder").is_passed is False
    assert part.verdict is not Verdict.SHOWN


def test_ladder_without_an_order_refutes_nothing_either():
    networks = climbed(growing=0.8)
    networks.values["complexity.neighbour"][:] *= -1
    for part in decided(growth.parts(networks, growth.ladder_of(networks), "confidence")).parts:
        assert part.verdict is Verdict.NOT_SHOWN
        assert "order of the ladder" in part.why


def test_networks_at_the_wall_of_a_resource_are_left_out_of_its_growth():
    networks = climbed()
    networks.limited["breadth"][networks.level == "classes=10"] = True
    by_name = {part.name: part for part in decided(growth.parts(networks, growth.ladder_of(networks), "r")).parts}
    assert by_name["breadth"].verdict is Verdict.TOO_LITTLE
    assert "no task is censored at fixed pressures in 0 of 6 blocks, and 5 are needed" in by_name["breadth"].why
    assert by_name["depth"].verdict is Verdict.SHOWN


def test_one_way_that_is_refuted_refutes_whatever_the_other_lacks():
    networks = climbed(growing=0.8, accuracy_step=-0.2)  # the tasks' accuracies do not overlap
    for part in decided(growth.parts(networks, growth.ladder_of(networks), "confidence")).parts:
        ways = part.numbers["ways"]
        assert ways["at fixed accuracy"]["blocks"] == 0
        assert ways["at fixed pressures"]["blocks"] == 6
        assert part.verdict is Verdict.REFUTED, part.why
        assert part.effect.value == ways["at fixed pressures"]["ratio"] < 0.6
    grown = climbed(growing=1.2, accuracy_step=-0.2)
    parts = decided(growth.parts(grown, growth.ladder_of(grown), "confidence")).parts
    assert all(part.verdict is Verdict.TOO_LITTLE for part in parts), "one way that is shown is not enough"


def test_seeds_that_share_the_classes_that_were_drawn_are_no_evidence_about_other_classes():
    networks = climbed()
    networks.class_set[:] = "0"
    for part in decided(growth.parts(networks, growth.ladder_of(networks), "confidence")).parts:
        assert part.verdict is Verdict.TOO_LITTLE
        assert "`class_seed` has 1 of the 5 values" in part.why
    networks.class_set[:] = ""  # classes are not drawn, as on a ladder of noise
    for part in decided(growth.parts(networks, growth.ladder_of(networks), "confidence")).parts:
        assert part.verdict is Verdict.SHOWN


def test_tasks_that_one_measure_finds_equal_are_ordered_by_the_other_not_by_name():
    networks = climbed()
    levels = list(growth.ladder_of(networks).levels)
    other = {level: 0.1 * at for at, level in enumerate(reversed(levels))}
    networks.values["complexity.neighbour"][:] = 0.2
    networks.values["complexity.regression"][:] = [other[level] for level in networks.level]
    assert list(growth.ladder_of(networks).levels) == levels[::-1]


def test_ladder_needs_its_complexity_measured():
    assert growth.ladder_of(networks_of(breadth=np.ones(4))) is None


@pytest.mark.parametrize(
    ("resource", "accuracy", "target", "expected"),
    [
        ([1, 2, 4], [0.5, 0.7, 0.9], 0.8, (3.0, False, False)),
        ([1, 2, 4], [0.5, 0.7, 0.9], 0.7, (2.0, False, False)),
        ([4, 1, 2, 3], [0.9, 0.5, 0.7, 0.6], 0.8, (3.0, False, False)),  # (3, 0.6) is dominated
        ([1, 2, 4], [0.5, 0.7, 0.9], 0.95, (math.nan, True, False)),
        ([2, 3, 4], [0.5, 0.7, 0.9], 0.4, (math.nan, False, True)),
        ([1, 2, 4], [0.5, 0.7, 0.9], 0.4, (1.0, False, False)),  # nothing is smaller, so that it is no bound
        ([1.01, 2, 4], [0.5, 0.7, 0.9], 0.4, (math.nan, False, True)),
        ([0, 1, 2], [0.2, 0.7, 0.9], 0.4, (1.0, False, False)),
        ([0, 2, 3], [0.2, 0.7, 0.9], 0.3, (1.0, False, False)),
        ([0, 2, 3], [0.2, 0.8, 0.9], 0.65, (1.5, False, False)),
        ([0, 2, 3], [0.2, 0.8, 0.9], 0.1, (math.nan, False, True)),
        ([2, 2, 4], [0.1, 0.7, 0.9], 0.8, (3.0, False, False)),
    ],
)
def test_least_of_a_resource_is_interpolated_on_the_frontier(resource, accuracy, target, expected):
    found = growth.least_for(np.array(resource, float), np.array(accuracy), target)
    assert found[1:] == expected[1:]
    assert found[0] == pytest.approx(expected[0], nan_ok=True)


# F3.


def occluded(rise=0.5, specific=True, by_confidence=False, seeds=10, settings_=3, seed=0):
    """Return networks that take more steps for occluded images; steps may follow confidence, or not."""
    rng = np.random.default_rng(seed)
    networks = networks_of(
        seed=np.repeat(np.arange(seeds), settings_),
        breadth=np.full(seeds * settings_, 3),
        depth=np.full(seeds * settings_, 2),
    )
    looks = {}
    for key in networks.key:
        base = 3 + rng.integers(0, 2, 200)
        sure = rng.uniform(0.3, 1, 200)
        own = rise * rng.uniform(0.5, 1.5)

        def shown(more, less_sure=0.0, right=1.0, base=base, sure=sure):
            confidence = np.clip(sure - less_sure, 0.05, 1)
            more = more + (4 * (1 - confidence) - 4 * (1 - sure) if by_confidence else 0)
            return look_of(base + more, confidence=confidence, is_right=rng.random(200) < right)

        occluder = shown(0 if by_confidence else own, 0.3 if by_confidence else 0.0, 0.6)
        if by_confidence:  # steps follow from confidence alone
            base = np.round(4 * (1 - sure) + 2)
            occluder = shown(0, 0.3, 0.6, base=base)
        whole = shown(0, base=base)
        looks[key] = {
            WHOLE: whole,
            **{("debris", level): occluder for level in (0.1, 0.25, 0.4)},
            **{("occlude_beside", level): shown(0, base=base) for level in (0.1, 0.25, 0.4)},
            ("contrast", 0.5): shown(0 if specific else 2 * own, base=base),
            ("noise", 0.4): shown(0, right=0.6, base=base),
            ("blank", 1.0): shown(0, base=base),
        }
    return networks, looks


def shown_in(looks):
    return {probe for of in looks.values() for probe in of}


def test_steps_that_rise_with_what_is_hidden_are_shown():
    networks, looks = occluded()
    assert occlusion.lacking(shown_in(looks)) == []
    (part,) = decided(occlusion.parts(networks, looks, "digits", "confidence")).parts
    assert (part.verdict, part.qualifier) == (Verdict.SHOWN, ""), (part.why, part.controls)
    assert part.numbers["networks_that_rise"] == 1
    assert part.numbers["slopes"]["debris"] > 0


def test_steps_that_do_not_rise_are_refuted():
    (part,) = decided(occlusion.parts(*occluded(rise=0.0), "digits", "confidence")).parts
    assert part.verdict is Verdict.REFUTED


def test_networks_that_cannot_take_more_steps_are_left_out():
    networks, looks = occluded()

    def take_every_step(keys):
        for key in keys:
            looks[key] = dict.fromkeys(looks[key], look_of(np.full(200, 6)))

    take_every_step(networks.key[:10])
    (part,) = decided(occlusion.parts(networks, looks, "digits", "confidence")).parts
    assert (part.verdict, part.networks, part.numbers["censored"]) == (Verdict.SHOWN, 20, 10)
    take_every_step(networks.key[:20])
    (part,) = decided(occlusion.parts(networks, looks, "digits", "confidence")).parts
    assert part.verdict is Verdict.TOO_LITTLE
    assert part.why == "20 of 30 networks take as many steps for most whole images as for any"


def test_rise_that_any_change_gives_is_said_to_be_so():
    (part,) = decided(occlusion.parts(*occluded(specific=False), "digits", "confidence")).parts
    assert (part.verdict, part.qualifier) == (Verdict.SHOWN, "not specific to occlusion")


def test_rise_that_is_confidence_is_said_to_be_so():
    (part,) = decided(occlusion.parts(*occluded(by_confidence=True), "digits", "confidence")).parts
    assert part.verdict is Verdict.SHOWN, part.why
    assert "by confidence alone" in part.qualifier


@pytest.mark.slow
def test_five_seeds_cannot_be_significant_among_several_tests_and_ten_can():
    parts = [occlusion.parts(*occluded(seeds=count), "digits", rule)[0] for count in (5, 10) for rule in "ab"]
    found = decided(parts).parts
    assert [part.verdict for part in found] == [Verdict.NOT_SHOWN] * 2 + [Verdict.SHOWN] * 2


def test_probes_that_are_missing_are_named():
    _, looks = occluded()
    for of in looks.values():
        del of["blank", 1.0]
        del of["debris", 0.1]
    (first, second) = occlusion.lacking(shown_in(looks))
    assert "blank" in first
    assert "debris was shown at fewer than 3 levels" in second
    assert "debris or occlude_grey" in occlusion.lacking([])[0]


def test_images_are_matched_by_confidence():
    shown = look_of([5] * 10 + [1] * 10, confidence=[0.55] * 10 + [0.95] * 10)
    control = look_of([3] * 30, confidence=[0.55] * 10 + [0.75] * 20)
    assert occlusion.matched_rise(shown, control) == 2
    assert math.isnan(occlusion.matched_rise(look_of([1] * 10, confidence=[0.1] * 10), control))


# F4.


def people(images=600, seed=0, noise=0.5):
    rng = np.random.default_rng(seed)
    hard = rng.normal(size=images)

    def halves(other):
        return tuple(hard + noise * other.normal(size=images) for _ in range(2))

    return Difficulty(np.arange(images), hard, "made up", halves)


def asked(difficulty, steps=1.0, confidence=0.2, accuracy=0.9, seeds=5, plain=0.2, picture=0.0):
    """Return networks whose steps and confidences follow an image's difficulty with the given strengths."""
    rng = np.random.default_rng(1)
    count = 2 * seeds
    networks = networks_of(
        seed=np.tile(np.arange(seeds), 2),
        is_feed_forward=np.repeat([False, True], seeds),
        breadth=np.full(count, 3),
        accuracy=np.full(count, accuracy),
    )
    hard, images = difficulty.value, len(difficulty.value)

    def like(strength):
        return strength * hard + rng.normal(size=images)

    looks = {}
    for key, is_plain in zip(networks.key, networks.is_feed_forward, strict=True):
        looks[key] = {
            WHOLE: look_of(
                like(plain if is_plain else steps),
                label=np.arange(images) % 4,
                is_right=rng.random(images) < accuracy,
                confidence=-like(confidence),
                first_confidence=-like(confidence),
                last_confidence=-like(confidence),
                brightness=like(picture),
                edges=-like(picture),
            )
        }
    return networks, looks


def test_steps_that_go_with_people_beyond_every_baseline_are_shown():
    difficulty = people()
    (part,) = decided(reaction_times.by_image(*asked(difficulty), difficulty, "cifar10", "state", draws=200)).parts
    assert (part.verdict, part.qualifier) == (Verdict.SHOWN, ""), (part.effect, part.controls)
    assert 0.8 < part.numbers["ceiling"] < 1
    assert part.numbers["ceiling"] > part.effect.value > 0.5
    assert part.numbers["beyond_confidence"] > 0.4
    assert part.networks == 5


@pytest.mark.parametrize(
    ("given_", "qualifier"),
    [
        ({"confidence": 1.5}, "no better than confidence of the first step"),
        ({"plain": 1.5}, "no better than steps of feed-forward networks"),
        ({"picture": 1.5}, "no better than brightness of the picture"),
        ({"picture": -1.5}, "no better than edges in the picture"),
    ],
)
def test_baseline_that_is_as_good_is_named(given_, qualifier):
    difficulty = people()
    (part,) = decided(
        reaction_times.by_image(*asked(difficulty, **given_), difficulty, "cifar10", "state", draws=200)
    ).parts
    assert part.verdict is Verdict.SHOWN
    assert qualifier in part.qualifier


def test_steps_without_people_and_people_without_agreement_decide_nothing():
    difficulty = people()
    (part,) = decided(
        reaction_times.by_image(*asked(difficulty, steps=0.0), difficulty, "cifar10", "state", draws=200)
    ).parts
    assert part.verdict in (Verdict.REFUTED, Verdict.NOT_SHOWN)
    noisy = people(noise=100)
    (part,) = decided(reaction_times.by_image(*asked(noisy), noisy, "cifar10", "state", draws=200)).parts
    assert part.verdict is Verdict.TOO_LITTLE
    assert "ceiling" in part.why
    (part,) = decided(
        reaction_times.by_image(*asked(difficulty, accuracy=0.5), difficulty, "cifar10", "state", draws=200)
    ).parts
    assert "networks of 0 seeds have 0.65 right, the best 0.50" in part.why


def test_conditions_are_described_beside_their_ceiling():
    networks = networks_of(seed=np.arange(3), breadth=np.full(3, 3))
    levels = [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    looks = {
        key: {(WHOLE if not level else ("noise", level)): look_of(np.full(20, 2 + level)) for level in levels}
        for key in networks.key
    }
    conditions = [
        Condition("noise", level, 0.5 + level, 100, lambda rng, level=level: (level, level)) for level in levels
    ]
    (row,) = reaction_times.by_condition(networks, looks, conditions)
    assert (row["kind"], row["levels"], row["ceiling"]) == ("noise", 6, 1)
    assert row["steps"] == pytest.approx(1, abs=1e-5)
    assert reaction_times.by_condition(networks, looks, conditions[:4]) == []
    assert reaction_times.by_condition(networks, looks, [Condition("blur", 1, 1, 1, None)] * 5) == []


def test_conditions_have_feed_forward_networks_as_their_baseline_and_intervals_over_seeds():
    """Recurrent networks take more steps at higher levels; feed-forward networks take fewer."""
    networks = networks_of(
        seed=np.tile(np.arange(5), 2), is_feed_forward=np.repeat([False, True], 5), breadth=np.full(10, 3)
    )
    levels = [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    looks = {
        key: {
            (WHOLE if not level else ("noise", level)): look_of(np.full(20, 2 - level if is_plain else 2 + level))
            for level in levels
        }
        for key, is_plain in zip(networks.key, networks.is_feed_forward, strict=True)
    }
    conditions = [
        Condition("noise", level, 0.5 + level, 100, lambda rng, level=level: (level, level)) for level in levels
    ]
    (row,) = reaction_times.by_condition(networks, looks, conditions)
    assert (row["steps"], row["feed_forward"]) == (pytest.approx(1, abs=1e-5), pytest.approx(-1, abs=1e-5))
    assert row["steps_interval"] == pytest.approx([row["steps"]] * 2)
    assert row["rows"][-1]["steps"] == 2.5, "what is described of levels is of recurrent networks alone"


# F5.


def graphs(different=True, settings_=5, seeds=6, seed=0):
    rng = np.random.default_rng(seed)
    setting = np.repeat(np.arange(settings_), seeds)
    wide = 2 + (setting if different else rng.integers(0, settings_, len(setting)))
    layers = [[int(w), *[1] * int(w // 2)] for w in wide]
    lesions = {f"lesion.{name}.accuracy": 0.3 + 0.1 * rng.random(len(setting)) for name in diversity.LESIONS}
    networks = networks_of(
        layers=layers,
        seed=np.tile(np.arange(seeds), settings_),
        setting=np.array([f"p={one}" for one in setting]),
        values=lesions,
    )
    looks = [look_of(rng.integers(1, 4, 50) + (w if different else 0)) for w in wide]
    return networks, looks


def test_pressures_that_leave_different_graphs_are_shown_to():
    networks, looks = graphs()
    assert diversity.missing(networks) == []
    (part,) = decided(diversity.parts(networks, looks, "digits", "confidence")).parts
    assert part.verdict is Verdict.SHOWN, (part.effect, part.why)
    assert len(part.numbers["centres"]) == 5
    assert {one["setting"] for one in part.numbers["furthest"]} == {"p=0", "p=4"}


def test_pressures_that_make_no_difference_are_refuted():
    (part,) = decided(diversity.parts(*graphs(different=False), "digits", "confidence")).parts
    assert part.verdict is Verdict.REFUTED, (part.effect, part.why)
    assert abs(part.effect.value) < 0.2


def test_graphs_need_settings_seeds_and_lesions():
    (part,) = decided(diversity.parts(*graphs(settings_=3), "digits", "confidence")).parts
    assert part.verdict is Verdict.TOO_LITTLE
    assert "without lateral, top-down, deepest" in diversity.missing(networks_of(breadth=np.ones(3)))[0]


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_distances_are_symmetric_and_zero_between_equal_networks(seed):
    networks, looks = graphs(seed=seed)
    distance = diversity.distances(networks, looks)
    assert np.allclose(distance, distance.T)
    assert np.allclose(np.diag(distance), 0)
    assert (distance >= 0).all()
