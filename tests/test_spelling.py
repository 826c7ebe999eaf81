"""Recognition of a misspelt name, and the list of known names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.measurements import MEASUREMENTS
from sweeper.spec import shipped_spaces
from sweeper.spelling import did_you_mean, meant, names_near

NAMES = st.lists(st.text("abcdefgh-0123456789", min_size=1, max_size=12), min_size=1, max_size=30, unique=True)


@pytest.mark.parametrize("name", [*shipped_spaces(), *MEASUREMENTS])
def test_known_name_with_two_letters_exchanged_in_other_case_or_cut_short_is_recognised(name):
    known = [*shipped_spaces(), *MEASUREMENTS]
    assert meant(name, known) == name
    assert meant(name.upper(), known) == name
    assert meant(name[:3] + name[4:3:-1] + name[5:], known) == name or len(name) < 6
    assert (meant(name[:-1], known) or "").startswith(name[:-1])


def test_beginning_of_a_name_is_nearer_than_one_of_like_letters():
    assert meant("acc", ["macs", "accuracy"]) == "accuracy"
    assert did_you_mean("acc", ["macs", "accuracy"]) == "Did you mean 'accuracy'?"


def test_what_is_near_nothing_is_answered_otherwise():
    assert meant("zebra", ["accuracy", "time"]) is None
    assert meant("", ["accuracy"]) is None
    assert did_you_mean("zebra", [], "Name one of these.") == "Name one of these."


@given(NAMES, st.text(max_size=200))
def test_list_holds_ten_names_at_most_and_counts_the_rest(names, word):
    text = names_near(word, names)
    told, _, more = text.partition(" and ")
    shown = told.split(", ")
    assert set(shown) <= set(names)
    assert len(shown) == min(len(names), 10)
    assert int((more or "0").split()[0]) == len(names) - len(shown)
    assert names_near(word, []) == "none"


@given(NAMES, st.integers(0, 100))
def test_of_many_names_the_one_that_is_meant_is_in_the_list(names, which):
    one = names[which % len(names)]
    assert one in names_near(one, names).split(" and ")[0].split(", ")
