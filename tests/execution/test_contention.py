"""Workers' share of a machine beside other processes: fair shares by weight, and at least what nobody else wants."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.execution.contention import Others, _shares_by_session, others_at_work, weight_of, worker_niceness

COUNTS, NICENESS = st.integers(1, 64), st.integers(0, 19)


@given(COUNTS, COUNTS, NICENESS)
def test_who_is_alone_is_slowed_down_by_too_few_processors_only(workers, processors, niceness):
    assert Others(0, 0).slow_down(workers, processors, niceness) == pytest.approx(max(1, workers / processors))


@given(COUNTS, COUNTS, st.integers(0, 64), NICENESS, NICENESS)
def test_more_others_and_more_niceness_are_never_faster(workers, processors, others, niceness, more):
    weight = weight_of(0)
    slow_down = Others(others, others * weight).slow_down(workers, processors, niceness)
    assert slow_down >= 1
    slow_down *= 1 - 1e-12  # allows for rounding
    assert Others(others + 1, (others + 1) * weight).slow_down(workers, processors, niceness) >= slow_down
    assert Others(others, others * weight).slow_down(workers, processors, niceness + more) >= slow_down


def test_shares_of_equals_are_equal_and_nice_workers_get_little():
    assert Others(2, 2 * weight_of(0)).slow_down(2, 2, 0) == pytest.approx(2)
    assert Others(2, 2 * weight_of(0)).slow_down(2, 2, 15) > 20
    assert Others(1, weight_of(0)).slow_down(1, 2, 15) == 1  # one processor is free


@given(COUNTS, COUNTS, st.lists(st.floats(0, 64), max_size=5), NICENESS)
def test_sessions_have_equal_shares_whatever_their_number_of_threads_and_niceness(workers, processors, sessions, nice):
    slow_down = Others(0, 0, sessions).slow_down(workers, processors, nice)
    assert slow_down >= 1
    at_least = processors / (len(sessions) + 1)
    assert slow_down <= workers / min(workers, at_least) + 1e-9
    everything = sum(min(wanted, processors) for wanted in sessions) + workers
    if everything <= processors:
        assert slow_down == pytest.approx(1)


def test_one_crowded_session_leaves_half_the_machine():
    assert Others(0, 0, [70]).slow_down(2, 2, 15) == pytest.approx(2)
    assert Others(0, 0, [0.5]).slow_down(2, 2, 15) == pytest.approx(2 / 1.5)
    assert Others(70, 70 * weight_of(0)).slow_down(2, 2, 15) > 500


def test_sessions_share_where_the_kernel_says_so_and_no_control_group_does(tmp_path):
    autogroup, cgroup, root = tmp_path / "autogroup", tmp_path / "cgroup", tmp_path / "root"
    (root / "user").mkdir(parents=True)

    def shares(enabled, line):
        autogroup.write_text(enabled)
        cgroup.write_text(line)
        return _shares_by_session(autogroup, cgroup, root)

    assert shares("1\n", "1:cpu,cpuacct:/\n0::/\n")
    assert shares("1\n", "0::/user\n")
    assert not shares("0\n", "1:cpu:/\n")
    assert not shares("1\n", "1:cpu:/docker/1\n")
    (root / "user" / "cpu.weight").write_text("100")
    assert not shares("1\n", "0::/user\n")
    assert not _shares_by_session(tmp_path / "none", cgroup, root)


@pytest.mark.slow
def test_processes_that_want_a_processor_are_counted_with_their_niceness():
    wanting = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        time.sleep(0.5)
        assert others_at_work().load >= 1.5
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
