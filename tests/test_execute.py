"""Executors: in this process, and on a real Ray."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from sweeper.errors import ClusterError
from sweeper.execute import InlineExecutor, RayExecutor
from sweeper.jobs import LOST_RETRIES
from sweeper.vocabulary import Ended, Outcome
from tests.contracts.executor import ExecutorContract, Source, a_job, count_to_three


class TestInlineExecutor(ExecutorContract):
    @pytest.fixture
    def executor(self):
        return InlineExecutor()


@pytest.mark.slow
class TestRayExecutor(ExecutorContract):
    @pytest.fixture
    def executor(self):
        return RayExecutor(workers=2)

    def test_job_whose_worker_dies_is_given_to_another_worker_and_the_others_go_on(self, executor, tmp_path):
        source = Source([a_job(1, scratch=str(tmp_path / "dead-once")), a_job(2), a_job(3)])
        executor.run(die_once, source)
        assert sorted(source.ended) == ["job-1", "job-2", "job-3"]
        assert {ended[0].outcome for ended in source.ended.values()} == {Outcome.COMPLETE}
        assert (tmp_path / "dead-once").read_text() == "x"
        assert source.retried == ["job-1"]

    def test_job_whose_workers_always_die_is_lost_and_the_others_complete(self, executor, tmp_path):
        source = Source([a_job(1, scratch=str(tmp_path / "deaths")), a_job(2)])
        executor.run(die_always, source)
        (lost,) = source.ended["job-1"]
        assert (lost.outcome, source.ended["job-2"][0].outcome) == (Outcome.LOST, Outcome.COMPLETE)
        assert source.retried == ["job-1"] * LOST_RETRIES
        assert f"died {LOST_RETRIES + 1} times" in lost.reason
        assert len((tmp_path / "deaths").read_text()) == LOST_RETRIES + 1

    def test_handlers_for_signals_are_the_callers_own_while_jobs_run(self, executor):
        mine = signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            handler, seen = signal.getsignal(signal.SIGTERM), []

            class Watching(Source):
                def on_progress(self, job, progress):
                    seen.append(signal.getsignal(signal.SIGTERM))

            executor.run(count_to_three, Watching([a_job(1)]))
            assert set(seen) == {handler}
        finally:
            signal.signal(signal.SIGTERM, mine)


def die_once(job, report):
    scratch = str(job.settings[0]["scratch"])
    if scratch and not Path(scratch).exists():
        Path(scratch).write_text("x")
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
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
