"""What workers get of a machine beside others: fair shares by weight, and at least what nobody else wants."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.execution.contention import Others, others_at_work, weight_of, worker_niceness

COUNTS, NICENESS = st.integers(1, 64), st.integers(0, 19)


@given(COUNTS, COUNTS, NICENESS)
def test_who_is_alone_is_slowed_down_by_too_few_processors_only(workers, processors, niceness):
    assert Others(0, 0).slow_down(workers, processors, niceness) == pytest.approx(max(1, workers / processors))


@given(COUNTS, COUNTS, st.integers(0, 64), NICENESS, NICENESS)
def test_more_others_and_more_niceness_are_never_faster(workers, processors, others, niceness, more):
    weight = weight_of(0)
    slow_down = Others(others, others * weight).slow_down(workers, processors, niceness)
    assert slow_down >= 1
    assert Others(others + 1, (others + 1) * weight).slow_down(workers, processors, niceness) >= slow_down
    assert Others(others, others * weight).slow_down(workers, processors, niceness + more) >= slow_down


def test_shares_of_equals_are_equal_and_nice_workers_get_little():
    assert Others(2, 2 * weight_of(0)).slow_down(2, 2, 0) == pytest.approx(2)
    assert Others(2, 2 * weight_of(0)).slow_down(2, 2, 15) > 20
    assert Others(1, weight_of(0)).slow_down(1, 2, 15) == 1  # one processor is left


def test_processes_that_want_a_processor_are_counted_with_their_niceness():
    wanting = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        time.sleep(0.5)
        assert others_at_work().count >= 1.5
        assert others_at_work().weight >= 1.5 * weight_of(os.nice(0))
    finally:
        for process in wanting:
            process.kill()
            process.wait()


@pytest.mark.parametrize(("said", "more"), [(None, 15), ("0", 0), ("5", 5), ("much", 15)])
def test_niceness_of_workers_is_what_ray_is_told(monkeypatch, said, more):
    monkeypatch.delenv("RAY_worker_niceness", raising=False)
    if said is not None:
        monkeypatch.setenv("RAY_worker_niceness", said)
    assert worker_niceness() == os.nice(0) + more
