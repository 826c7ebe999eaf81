"""Executors: in this process, and on a real Ray."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.errors import ClusterError
from sweeper.execution.contract import Expected
from sweeper.execution.executors import InlineExecutor, RayExecutor
from sweeper.trial import Ended, Outcome
from tests.contracts.executor import ExecutorContract, Source, a_job, count_to_three


class TestInlineExecutor(ExecutorContract):
    @pytest.fixture
    def executor(self):
        return InlineExecutor()


@pytest.mark.slow
class TestRayExecutor(ExecutorContract):
    @pytest.fixture
    def executor(self, ray_head):
        return RayExecutor(workers=2, address=ray_head)

    def test_job_whose_worker_dies_is_lost_with_the_reason_and_the_others_complete(self, executor, tmp_path):
        source = Source([a_job(1, scratch=str(tmp_path / "deaths")), a_job(2), a_job(3)])
        executor.run(die_always, source)
        (lost,) = source.ended["job-1"]
        assert {source.ended[f"job-{n}"][0].outcome for n in (2, 3)} == {Outcome.COMPLETE}
        assert lost.outcome is Outcome.LOST
        assert "population job-1 died: " in lost.reason
        assert (tmp_path / "deaths").read_text() == "x"

    def test_job_that_comes_back_when_all_others_are_done_is_still_run(self, executor, tmp_path):
        class Stubborn(Source):
            def on_ended(self, job, ended):
                if ended[0].outcome is Outcome.LOST and len(self.handed) < 3:
                    self.jobs.append(job)
                else:
                    super().on_ended(job, ended)

        source = Stubborn([a_job(1, scratch=str(tmp_path / "deaths")), a_job(2)])
        executor.run(die_always, source)
        assert (tmp_path / "deaths").read_text() == "xx"
        assert sorted(source.ended) == ["job-1", "job-2"]

    def test_job_that_fails_where_others_were_worked_on_is_tried_in_a_new_process_before_that_counts(self, executor):
        source = Source([a_job(n, members=1) for n in range(1, 7)])
        executor.run(fail_unless_fresh, source)
        assert sorted(source.ended) == [f"job-{n}" for n in range(1, 7)]
        assert {ended.outcome for (ended,) in source.ended.values()} == {Outcome.COMPLETE}
        assert any("failed on a worker that had trained others" in reason for _, reason in source.waited)

    def test_job_that_fails_everywhere_fails_and_the_others_complete(self, executor):
        source = Source([a_job(n, members=1) for n in range(1, 7)])
        executor.run(fail_two_and_five, source)
        failed = {key for key, (ended,) in source.ended.items() if ended.outcome is Outcome.FAILED}
        assert failed == {"job-2", "job-5"}
        assert len(source.ended) == 6

    def test_worker_that_hangs_beyond_its_limit_is_killed_and_its_job_has_timed_out(self, executor, monkeypatch):
        from sweeper.execution import ray_tune

        monkeypatch.setattr(ray_tune, "HANGS_AFTER_S", 2.0)
        hung = replace(a_job(1), time_limit_s=0.1)
        source = Source([hung, replace(a_job(2), time_limit_s=300.0), a_job(3)])
        executor.run(hang_at_the_first, source)
        (ended,) = source.ended["job-1"]
        assert ended.outcome is Outcome.TIMED_OUT
        assert "did not answer after the limit of 0.1 s" in ended.reason
        assert {source.ended[f"job-{n}"][0].outcome for n in (2, 3)} == {Outcome.COMPLETE}

    def test_handlers_for_signals_are_the_callers_own_while_jobs_run(self):
        mine = signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            handler, seen = signal.getsignal(signal.SIGTERM), []

            class Watching(Source):
                def on_progress(self, job, progress):
                    seen.append(signal.getsignal(signal.SIGTERM))

            RayExecutor(workers=1).run(count_to_three, Watching([a_job(1)]))  # starts a Ray, which sets handlers
            assert set(seen) == {handler}
        finally:
            signal.signal(signal.SIGTERM, mine)


def fail_unless_fresh(job, report):
    """Work that fails in a process that an earlier job has used."""
    if os.environ.get("LEFT_BY_AN_EARLIER_JOB"):
        return [Ended(Outcome.FAILED, "could not create a primitive")]
    os.environ["LEFT_BY_AN_EARLIER_JOB"] = job.key
    return count_to_three(job, report)


def fail_two_and_five(job, report):
    if job.settings[0]["number"] in (2, 5):
        return [Ended(Outcome.FAILED, "a mistake in the training")]
    return count_to_three(job, report)


def hang_at_the_first(job, report):
    while job.key == "job-1":
        time.sleep(0.1)
    return [Ended(Outcome.COMPLETE, "", {"accuracy": 1.0})] * len(job.wanted_keys)


def die_always(job, report):
    scratch = str(job.settings[0]["scratch"])
    if scratch:
        with Path(scratch).open("a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    return [Ended(Outcome.COMPLETE, "", {"accuracy": 1.0})] * len(job.wanted_keys)


@pytest.mark.parametrize("address", ["http://127.0.0.1:8265", "https://head:8265"])
def test_address_for_submitting_jobs_is_refused_with_the_way_out(address):
    with pytest.raises(ClusterError, match=f"{address}.*submitting jobs"):
        RayExecutor(1, address).run(count_to_three, Source([a_job(1)]))


def test_cluster_that_cannot_be_reached_is_named():
    with pytest.raises(ClusterError, match=r"127\.0\.0\.1:9 cannot be reached"):
        RayExecutor(1, "127.0.0.1:9").run(count_to_three, Source([a_job(1)]))


@pytest.mark.slow
def test_many_jobs_run_in_several_rounds_of_tune_and_leave_no_folders(tmp_path, monkeypatch):
    from sweeper.execution import ray_tune

    monkeypatch.setattr(ray_tune, "_LEAST_JOBS", 3)
    monkeypatch.setattr(ray_tune, "_JOBS_A_WORKER", 1)
    rounds, seen = [], []
    run_tune = ray_tune._run_tune
    monkeypatch.setattr(ray_tune, "_run_tune", lambda *args: rounds.append(1) or run_tune(*args))

    class Watching(Source):
        def on_ended(self, job, ended):
            super().on_ended(job, ended)
            places = [tmp_path / "scratch", Path(ray_session(), "artifacts")]
            seen.append(max(len(list(place.rglob("*"))) for place in places))

    source = Watching([a_job(number) for number in range(9)])
    RayExecutor(2, scratch=tmp_path / "scratch").run(count_to_three, source)
    assert sorted(source.ended) == sorted(a_job(number).key for number in range(9))
    assert len(rounds) == 3, "no round begins for nothing"
    assert not (tmp_path / "scratch").exists()
    assert max(seen) <= 40


def ray_session():
    import ray

    return ray._private.worker._global_node.get_session_dir_path()


def test_folder_too_deep_for_sockets_is_refused_before_anything_is_started(monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", f"/tmp/{'deep/' * 20}")
    said = r"the folder that RAY_TMPDIR names.*export RAY_TMPDIR=/tmp"
    with pytest.raises(ClusterError, match=said), RayExecutor(workers=1).starting(Expected(1)):
        raise AssertionError("started")


def test_who_runs_nothing_removes_what_killed_drivers_have_left_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    left = tmp_path / "swr-12345678"
    left.mkdir()
    (left / "driver").touch()  # no process holds its lock
    scratch, other = tmp_path / "placement", tmp_path / "of-somebody-else"
    scratch.mkdir()
    other.mkdir()
    RayExecutor(1, scratch=scratch).clear()
    assert list(tmp_path.iterdir()) == [other]
