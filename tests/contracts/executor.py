"""The contract of every executor, whatever runs the work."""

from __future__ import annotations

from sweeper.execution.contract import Executor
from sweeper.job import Job, Progress
from sweeper.trial import Ended, Outcome

EPOCHS = 3


def a_job(number: int, members: int = 2, scratch: str = "") -> Job:
    keys = tuple(f"trial-{number}-{member}" for member in range(members))
    settings = tuple({"seed": member, "number": number, "scratch": scratch} for member in range(members))
    wanted = tuple(member != 1 for member in range(members))
    networks = tuple(f"{key}.safetensors" for key in keys)
    return Job(f"job-{number}", "a-task", keys, settings, wanted, "a.pt", networks)


class Source:
    """A source that hands out jobs and keeps everything that it hears."""

    def __init__(self, jobs, stop_after=None):
        self.jobs, self.stop_after = list(jobs), stop_after
        self.handed, self.progress, self.ended = [], [], {}
        self.workers = None
        self.waited = []

    def on_workers(self, workers):
        assert self.workers is not None or not self.handed, "the first word comes before the first job"
        self.workers = workers

    def on_waiting(self, keys, reason):
        assert set(keys) <= {job.key for job in self.handed}
        self.waited.append((tuple(keys), reason))

    def next_job(self):
        if not self.jobs:
            return None
        self.handed.append(self.jobs.pop(0))
        return self.handed[-1]

    def on_progress(self, job, progress):
        assert job.key not in self.ended
        self.progress.append((job.key, progress))

    def on_ended(self, job, ended):
        assert job.key not in self.ended, "an outcome came twice"
        self.ended[job.key] = list(ended)

    def should_stop(self):
        return self.stop_after is not None and len(self.progress) >= self.stop_after


def count_to_three(job, report):
    """Work that reports three epochs and returns an outcome for each wanted member."""
    for epoch in range(1, EPOCHS + 1):
        report(Progress(epoch, EPOCHS, [{"accuracy": epoch / 10} for _ in job.wanted_keys], ("a note",)))
    number = job.settings[0]["number"]
    measured = Ended(Outcome.COMPLETE, "", {"accuracy": 0.5, "number": number}, {"layers": [1, 2]}, [{"epoch": 1.0}])
    failed = Ended(Outcome.NOT_FINITE, "loss is nan")
    return [measured if i == 0 else failed for i in range(len(job.wanted_keys))]


class ExecutorContract:
    """Subclasses provide the fixture `executor`."""

    def test_every_job_is_worked_on_once_and_its_outcomes_arrive_under_its_key(self, executor: Executor):
        source = Source([a_job(1, 1), a_job(2, 3), a_job(3, 2)])
        executor.run(count_to_three, source)
        assert sorted(source.ended) == ["job-1", "job-2", "job-3"]
        assert [len(source.ended[f"job-{n}"]) for n in (1, 2, 3)] == [1, 2, 1]
        first, second = source.ended["job-2"]
        assert (first.outcome, second.outcome, second.reason) == (Outcome.COMPLETE, Outcome.NOT_FINITE, "loss is nan")
        assert dict(first.measurement) == {"accuracy": 0.5, "number": 2}
        assert (list(first.details["layers"]), [dict(p) for p in first.curve]) == ([1, 2], [{"epoch": 1.0}])
        self.check_progress(source)

        assert source.workers >= 1

    def check_progress(self, source):
        for number in (1, 2, 3):
            seen = [progress for key, progress in source.progress if key == f"job-{number}"]
            assert [progress.epoch for progress in seen] == [1, 2, 3]
            assert list(seen[0].notes) == ["a note"]
            assert seen[-1].values[0]["accuracy"] == 0.3

    def test_source_that_wants_to_stop_gets_no_outcome_for_what_was_running(self, executor: Executor):
        source = Source([a_job(n) for n in range(6)], stop_after=1)
        executor.run(count_to_three, source)
        assert len(source.handed) < 6
        assert len(source.ended) < 6

    def test_source_without_jobs_ends_at_once(self, executor: Executor):
        source = Source([])
        executor.run(count_to_three, source)
        assert source.ended == {}
