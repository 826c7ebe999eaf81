"""A source hears of workers that come and go, and of populations that wait for a worker."""

from __future__ import annotations

import pytest

from sweeper.execution.resources import ONE_CPU, Node, Request, Resources, Seen
from sweeper.execution.waiting import LOOK_EVERY_S, WAITS_AFTER_S, Waiting
from tests.contracts.executor import Source, a_job

GIB = 2**30


class Watched:
    """A cluster, a clock and the news that a source has heard."""

    def __init__(self, limit=None, request=ONE_CPU):
        self.now_s, self.nodes, self.free, self.more = 0.0, [], Resources(), "nothing starts nodes there by itself"
        self.jobs = {f"t{number}": a_job(number) for number in range(4)}
        self.source = Source([])
        self.source.handed = list(self.jobs.values())
        self.workers = []
        self.source.on_workers = self.workers.append
        self.looks, self.starting = 0, 0  # `starting`: workers with resources that do not work yet
        self.waiting = Waiting(
            self.source, request, limit, self._look, lambda: self.unplaced, lambda: self.more, self._clock
        )

    def _clock(self):
        return self.now_s

    def _look(self):
        self.looks += 1
        return Seen([Node(f"n{number}", one) for number, one in enumerate(self.nodes)], self.free)

    def step(self, handed=(), running=(), after_s=LOOK_EVERY_S):
        self.now_s += after_s
        self.unplaced = len(handed) - len(running) - self.starting
        self.waiting.step({trial: self.jobs[trial] for trial in handed}, running)

    @property
    def said(self):
        return [reason for _, reason in self.source.waited if reason]


@pytest.fixture
def watched():
    return Watched()


def test_workers_follow_the_nodes_that_come_and_go(watched):
    for nodes in ([2], [2], [2, 4], [4], []):
        watched.nodes = [Resources(cpus) for cpus in nodes]
        watched.step()
    assert watched.workers == [2, 6, 4, 0]


def test_workers_are_never_more_than_was_asked_for():
    watched = Watched(limit=3)
    for nodes in ([2], [2, 4], [1]):
        watched.nodes = [Resources(cpus) for cpus in nodes]
        watched.step()
    assert watched.workers == [2, 3, 1]


@pytest.mark.parametrize(("limit", "expected"), [(None, [1, 3, 7, 5]), (4, [1, 3, 4, 4])])
def test_one_more_job_than_there_is_room_for_may_be_handed_out_but_no_more_than_was_asked_for(limit, expected):
    watched, seen = Watched(limit), []
    for nodes in ([], [2], [2, 4], [4]):
        watched.nodes = [Resources(cpus) for cpus in nodes]
        watched.step()
        seen.append(watched.waiting.at_most)
    assert seen == expected


def test_room_is_known_before_the_first_step(watched):
    watched.nodes = [Resources(3)]
    assert watched.waiting.at_most == 4


def test_cluster_is_not_looked_at_more_often_than_is_useful(watched):
    for _ in range(100):
        watched.step(after_s=LOOK_EVERY_S / 10)
    assert 9 <= watched.looks <= 11


def test_jobs_without_a_worker_are_told_at_once_and_only_when_they_change(watched):
    watched.step(["t0", "t1"], ["t0"], after_s=0.1)
    watched.step(["t0", "t1"], ["t0"], after_s=0.1)
    watched.step(["t0", "t1"], ["t0", "t1"], after_s=0.1)
    assert watched.source.waited == [(("job-1",), ""), ((), "")]


def test_job_that_waits_long_is_said_once_with_what_it_waits_for():
    watched = Watched(request=Request(1, 0, 2 * GIB))
    watched.nodes, watched.free = [Resources(4, 0, 8 * GIB)], Resources(0.5, 0, GIB)
    watched.step(["t0"], after_s=0)
    assert watched.said == []
    for _ in range(20):
        watched.step(["t0"])
    assert watched.said == [
        "population job-0 waits for 1 CPU and 2.0 GiB of memory: the cluster has 0.5 CPU, 0 GPUs, 1.0 GiB free on "
        "1 node, and nothing starts nodes there by itself"
    ]


def test_what_is_waited_for_is_said_again_when_it_has_changed(watched):
    watched.step(["t0"])
    watched.step(["t0"], after_s=WAITS_AFTER_S + 1)
    watched.more = "its autoscaler is starting 1 worker"
    watched.step(["t0"])
    watched.step(["t0"])
    assert ["starting 1 worker" in text for text in watched.said] == [False, True]
    assert all("0 nodes, none of which can hold it" in text for text in watched.said)


def test_next_job_in_line_of_a_busy_cluster_is_no_news(watched):
    watched.nodes = [Resources(2)]
    for _ in range(20):
        watched.step(["t0", "t1", "t2"], ["t0", "t1"])
    assert watched.said == []
    watched.nodes = [Resources(4)]  # other users take the new CPUs
    watched.step(["t0", "t1", "t2"], ["t0", "t1"])
    assert watched.said == [], "it waited long, but not long for what is there"
    watched.step(["t0", "t1", "t2"], ["t0", "t1"], after_s=WAITS_AFTER_S + 1)
    assert len(watched.said) == 1


def test_worker_that_starts_slowly_waits_for_nothing(watched):
    watched.nodes, watched.starting = [Resources(2)], 1
    for _ in range(20):
        watched.step(["t0", "t1", "t2"], ["t0"])
    assert watched.said == []
    watched.starting = 0  # its node is gone, and other users take another one
    watched.step(["t0", "t1", "t2"], ["t0"])
    watched.step(["t0", "t1", "t2"], ["t0"], after_s=WAITS_AFTER_S + 1)
    assert len(watched.said) == 1


def test_wait_is_said_anew_after_everything_was_lost_again(watched):
    for _ in range(2):
        watched.nodes = []
        watched.step(["t0"])
        watched.step(["t0"], after_s=WAITS_AFTER_S + 1)
        watched.nodes = [Resources(1)]
        watched.step(["t0"], ["t0"])
    assert len(watched.said) == 2
