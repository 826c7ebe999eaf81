"""Tables of human answers: how they are read, in any order of rows, and which tables are refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.analysis.findings.human import LONGEST_S, human_of, level_of
from sweeper.errors import QueryError

#: Folder of real data beside the checkout, which the repository does not contain.
REAL = next((up / "shared" / "data" for up in Path(__file__).parents if (up / "shared" / "data").is_dir()), Path())

COUNTS = st.lists(
    st.lists(st.integers(0, 60), min_size=4, max_size=4).filter(lambda row: sum(row) >= 2), min_size=1, max_size=12
)


def of_counts(counts, index=None, **columns):
    index = list(range(len(counts))) if index is None else index
    return human_of(pa.table({"test_index": index, "counts": counts, **columns}), "answers", 32).difficulty


def of_trials(rows, side=32):
    return human_of(pa.Table.from_pylist(rows), "trials", side)


def trial(subject="a", seconds=1.0, **columns):
    return {"subject": subject, "rt_seconds": seconds, **columns}


# Answers.


@pytest.mark.parametrize(
    ("counts", "bits"), [([7, 0, 0, 0], 0), ([5, 5, 0, 0], 1), ([3, 3, 3, 3], 2), ([3, 1, 0, 0], 0.811278)]
)
def test_difficulty_is_the_entropy_of_answers_in_bits(counts, bits):
    assert of_counts([counts]).value == pytest.approx([bits], abs=1e-6)


@given(counts=COUNTS, seed=st.integers(0, 1000))
def test_entropy_lies_between_none_and_that_of_equal_shares_and_knows_no_order(counts, seed):
    found = of_counts(counts)
    assert ((found.value >= 0) & (found.value <= 2 + 1e-9)).all()
    rng = np.random.default_rng(seed)
    assert of_counts([rng.permutation(row).tolist() for row in counts]).value == pytest.approx(found.value)
    assert of_counts([[3 * n for n in row] for row in counts]).value == pytest.approx(found.value)


@given(counts=COUNTS, seed=st.integers(0, 1000))
def test_order_of_rows_does_not_matter(counts, seed):
    order = np.random.default_rng(seed).permutation(len(counts))
    found = of_counts(counts, label=list(range(len(counts))))
    other = of_counts([counts[i] for i in order], order.tolist(), label=order.tolist())
    for name in ("image", "value", "label"):
        assert getattr(found, name).tolist() == getattr(other, name).tolist()


@given(
    row=st.lists(st.integers(0, 9), min_size=3, max_size=3).filter(lambda row: sum(row) >= 2), seed=st.integers(0, 1000)
)
def test_halves_are_halves_of_the_same_answers(row, seed):
    """Splitting keeps every answer and adds none: if all answers name one class, so do both halves."""
    first, second = of_counts([row]).halves(np.random.default_rng(seed))
    least, half = sum(row) // 2, -(-sum(row) // 2)
    assert 0 <= first[0] <= math.log2(max(1, min(3, least))) + 1e-9
    assert 0 <= second[0] <= math.log2(min(3, half)) + 1e-9
    if max(row) == sum(row):
        assert first[0] == second[0] == 0


def test_halves_of_many_answers_agree_and_of_few_do_not():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet([0.3] * 4, 200)

    def agreement(people):
        halves = of_counts([rng.multinomial(people, share).tolist() for share in shares]).halves(rng)
        return np.corrcoef(*halves)[0, 1]

    assert agreement(2000) > 0.95 > agreement(6)


# Reaction times.


def test_people_are_centred_so_that_who_is_slow_makes_no_image_hard():
    """Two people see the same two images, and one person is ten times slower."""
    rows = [
        trial("fast", 0.5, test_index=0),
        trial("fast", 1.0, test_index=1),
        trial("slow", 5.0, test_index=0),
        trial("slow", 10.0, test_index=1),
    ]
    found = of_trials(rows).difficulty
    assert found.image.tolist() == [0, 1]
    assert found.value == pytest.approx([-math.log(2) / 2, math.log(2) / 2])


@given(
    seconds=st.lists(st.floats(0.2, 5), min_size=2, max_size=20), factor=st.floats(0.2, 5), seed=st.integers(0, 1000)
)
def test_difficulty_knows_no_order_of_trials_and_no_pace_of_people(seconds, factor, seed):
    rows = [trial(f"p{at % 3}", value, test_index=at % 4) for at, value in enumerate(seconds)]
    found = of_trials(rows).difficulty
    shuffled = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
    slower = [{**row, "rt_seconds": row["rt_seconds"] * (factor if row["subject"] == "p1" else 1)} for row in shuffled]
    other = of_trials(slower).difficulty
    assert other.image.tolist() == found.image.tolist()
    assert other.value == pytest.approx(found.value, abs=1e-9)


def test_only_right_answers_in_time_count():
    good = [trial(seconds=1.0, test_index=0, correct=True), trial(seconds=2.0, test_index=1, correct=True)]
    bad = [
        trial(seconds=9.0, test_index=0, correct=False),
        trial(seconds=9.0, test_index=0, correct=None),
        trial(seconds=-1.0, test_index=0, correct=True),
        trial(seconds=LONGEST_S + 1, test_index=0, correct=True),
        trial(seconds=None, test_index=2, correct=True),
    ]
    found = of_trials([*good, *bad]).difficulty
    assert found.image.tolist() == [0, 1]
    assert found.value == pytest.approx([-math.log(2) / 2, math.log(2) / 2])


def test_halves_are_of_different_people():
    rows = [trial(f"p{person}", 1.0 + person * image, test_index=image) for person in range(4) for image in range(3)]
    first, second = of_trials(rows).difficulty.halves(np.random.default_rng(0))
    whole = of_trials(rows).difficulty.value
    assert (first + second) / 2 == pytest.approx(whole), "each half has two of the four people"


# Conditions.


@pytest.mark.parametrize(
    ("experiment", "condition", "expected"),
    [
        ("uniform-noise", "0.35", ("noise", 0.35 / math.sqrt(3))),  # standard deviation of uniform noise
        ("uniform-noise", "0.0", ("noise", 0)),
        ("contrast", "c05", ("contrast", 0.95)),  # 5 % of the contrast is left
        ("contrast", "c100", ("contrast", 0)),
        ("contrast", "0.5", ("contrast", 0.5)),  # this project's own level: the share that is taken away
        ("low-pass", "7", ("blur", 1)),  # pixels of 224, scaled to 32
        ("phase-scrambling", "90", ("phase_scramble", 0.5)),
        ("debris", "0.25", ("debris", 0.25)),
        ("occlude_beside", "0.4", ("occlude_beside", 0.4)),
        ("high-pass", "1", None),
        ("uniform-noise", "none", None),
    ],
)
def test_conditions_are_levels_of_degradations(experiment, condition, expected):
    found = level_of(experiment, condition, 32)
    assert found == (None if expected is None else (expected[0], pytest.approx(expected[1])))


def test_condition_is_the_median_of_right_answers():
    rows = [
        trial(person, seconds, experiment="noise", condition=level, correct=correct)
        for person in "abcd"
        for level, seconds, correct in (
            ("0.1", 1, True),
            ("0.1", 3, True),
            ("0.1", 2, True),
            ("0.1", 9, False),
            ("0.2", 4, True),
        )
    ]
    first, second = of_trials(rows).conditions
    assert (first.kind, first.level, first.seconds, first.trials) == ("noise", 0.1, 2, 12)
    assert (second.level, second.seconds, second.trials) == (0.2, 4, 4)
    assert first.halves(np.random.default_rng(0)) == (2, 2)


def test_experiments_that_this_project_does_not_know_are_left_out():
    rows = [trial(experiment="sketch", condition="0"), trial(experiment="blur", condition="1.5")]
    assert [one.kind for one in of_trials(rows).conditions] == ["blur"]
    assert of_trials(rows).difficulty is None


# Tables that are refused.


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"a": [1]}, "its columns: a"),
        ({"test_index": [0]}, "its columns: test_index"),
        ({"rt_seconds": [1.0], "subject": ["a"]}, "with experiment and condition"),
        ({"test_index": [0], "counts": [[1, 0]]}, "at least 2 answers"),
        ({"test_index": [0], "counts": [[3, -1]]}, "as many classes"),
        ({"test_index": [0, 1], "counts": [[3, 1], [3, 1, 0]]}, "cannot be read"),
        ({"test_index": [4, 4], "counts": [[3, 1], [3, 1]]}, "2 rows of test_index 4"),
        ({"test_index": ["x"], "counts": [[3, 1]]}, "cannot be read"),
        ({"test_index": [0], "counts": ["many"]}, "cannot be read"),
        ({"test_index": [0], "subject": ["a"], "rt_seconds": ["soon"]}, "cannot be read"),
        ({"test_index": [0], "subject": ["a"], "rt_seconds": [-1.0]}, "no trial that was answered right"),
        (
            {"test_index": [0], "subject": ["a"], "rt_seconds": [1.0], "correct": [False]},
            "no trial that was answered right",
        ),
    ],
)
def test_table_that_cannot_be_used_is_refused_by_name(columns, words):
    with pytest.raises(QueryError, match=words) as refused:
        human_of(pa.table(columns), "mine.parquet", 32)
    assert "mine.parquet" in str(refused.value)


# Real data.


@pytest.mark.skipif(not (REAL / "cifar10h_probs.parquet").is_file(), reason="CIFAR-10H is not beside this checkout")
def test_entropy_of_cifar10h_is_that_of_its_own_column():
    table = pq.read_table(REAL / "cifar10h_probs.parquet")
    found = human_of(table, "cifar10h", 32).difficulty
    assert found.image.tolist() == list(range(10_000))
    assert found.value == pytest.approx(table["entropy_bits"].to_numpy(), abs=1e-9)
    assert found.label.tolist() == table["label"].to_pylist()


@pytest.mark.skipif(
    not (REAL / "human_rt_modelvshuman.parquet").is_file(), reason="these trials are not beside this checkout"
)
def test_people_take_longer_for_more_noise_and_levels_are_ours():
    found = human_of(pq.read_table(REAL / "human_rt_modelvshuman.parquet"), "trials", 32)
    assert found.difficulty is None
    kinds = {one.kind for one in found.conditions}
    assert kinds == {"noise", "contrast", "blur", "phase_scramble"}
    noise = [one for one in found.conditions if one.kind == "noise"]
    assert [one.level for one in noise] == pytest.approx([
        w / math.sqrt(3) for w in (0, 0.03, 0.05, 0.1, 0.2, 0.35, 0.6, 0.9)
    ])
    assert [round(one.seconds, 3) for one in noise] == [0.768, 0.756, 0.782, 0.765, 0.809, 0.830, 0.874, 0.885]
