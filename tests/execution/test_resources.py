"""Resources that populations request and machines have: what fits, how often, and which messages refuse a request."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.errors import ClusterError
from sweeper.execution.resources import ONE_CPU, Machines, Node, Request, Resources

GIB = 2**30
CPUS = st.sampled_from([0.1, 0.25, 0.3, 0.5, 1.0, 2.0, 3.0])
GPUS = st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0, 2.0])
REQUESTS = st.builds(Request, cpus=CPUS, gpus=GPUS, memory_bytes=st.integers(0, 4 * GIB))
HAS = st.builds(Resources, st.integers(0, 64), st.integers(0, 8), st.integers(0, 512 * GIB))


def node(name="a", cpus=4, gpus=0, gib=8, **more):
    return Node(name, Resources(cpus, gpus, gib * GIB), **more)


def cluster(*nodes, **more):
    return Machines(nodes, is_cluster=True, **more)


@given(request=REQUESTS, has=HAS)
def test_as_many_populations_fit_as_resources_hold_and_no_more(request, has):
    count = request.at_once(has)
    pairs = ((request.cpus, has.cpus), (request.gpus, has.gpus), (request.memory_bytes, has.memory_bytes))
    assert all(count * wanted <= there + 1e-6 for wanted, there in pairs)
    assert any((count + 1) * wanted > there + 1e-6 for wanted, there in pairs)


@pytest.mark.parametrize(("cpus", "count"), [(0.1, 10), (0.3, 3), (0.7, 1), (1, 1), (2, 0)])
def test_fractions_of_a_cpu_share_it_without_rounding_errors(cpus, count):
    assert Request(cpus).at_once(Resources(1, 0, 0)) == count


@given(request=REQUESTS, has=st.lists(HAS, max_size=4))
def test_request_is_refused_exactly_where_no_node_holds_it(request, has):
    there = cluster(*(Node(f"n{number}", one) for number, one in enumerate(has)))
    if there.at_once(request):
        there.refuse_what_never_fits(request)
    else:
        with pytest.raises(ClusterError):
            there.refuse_what_never_fits(request)


def test_refusal_names_the_request_and_every_node_and_the_way_out():
    there = cluster(node("10.0.0.1", 2, 0, 4), node("10.0.0.2", 8, 1, 16))
    with pytest.raises(ClusterError) as refused:
        there.refuse_what_never_fits(Request(4, 2, 3 * GIB))
    said = str(refused.value)
    assert "asks for 4 CPUs, 2 GPUs and 3.0 GiB of memory" in said
    assert "10.0.0.1 has 2 CPUs, 0 GPUs, 4.0 GiB; 10.0.0.2 has 8 CPUs, 1 GPU, 16.0 GiB" in said
    assert "Use a lower placement.gpus, or start a node" in said


def test_refusal_where_each_part_is_somewhere_but_nowhere_together_says_so():
    there = cluster(node("wide", 64, 0, 4), node("deep", 1, 0, 64))
    with pytest.raises(ClusterError, match=r"one of placement\.cpus, gpus and memory_mib"):
        there.refuse_what_never_fits(Request(8, 0, 32 * GIB))


def test_refusal_on_this_machine_speaks_of_no_cluster():
    with pytest.raises(ClusterError, match=r"no machine can ever.*this machine has 2 CPUs.*use a larger machine"):
        Machines([node("this machine", 2)]).refuse_what_never_fits(Request(4))


def test_refusal_names_at_most_eight_nodes():
    with pytest.raises(ClusterError, match="and 92 more"):
        cluster(*(node(f"n{number}") for number in range(100))).refuse_what_never_fits(Request(5))


def test_empty_cluster_is_refused_and_one_that_may_grow_is_not():
    with pytest.raises(ClusterError, match="it has no node"):
        cluster().refuse_what_never_fits(ONE_CPU)
    cluster(has_autoscaler=True).refuse_what_never_fits(Request(1000))


def test_kinds_of_nodes_that_an_autoscaler_could_start_decide_where_they_are_known():
    there = cluster(node("head", 0), startable=[node("worker", 16, 1, 64, count=10)], has_autoscaler=True)
    there.refuse_what_never_fits(Request(16, 1, 64 * GIB))
    assert there.at_once(Request(8)) == 20
    with pytest.raises(ClusterError, match="each of 10 worker has 16 CPUs, 1 GPU"):
        there.refuse_what_never_fits(Request(17))


def test_nodes_that_cannot_train_are_all_named_with_what_is_missing():
    there = cluster(node("good"), node("old", problem="it has torch 2.0"), node("far", problem="no folder"))
    told = r"2 of 3 nodes of the cluster cannot train.*\n  old: it has torch 2.0\n  far: no folder\nMend them"
    with pytest.raises(ClusterError, match=told):
        there.refuse_problems(ONE_CPU)


def test_problem_of_a_node_that_would_never_train_is_none():
    cluster(node("head", 0, problem="it has no images"), node("worker")).refuse_problems(ONE_CPU)
    with pytest.raises(ClusterError, match="head: it has no images"):
        cluster(node("head", problem="it has no images"), node("worker")).refuse_problems(ONE_CPU)


def test_gpu_that_torch_cannot_use_matters_only_to_who_asks_for_one():
    there = cluster(node("card", 4, 1, gpu_problem="torch is built for CPU"))
    assert not there.has_usable_gpu
    there.refuse_problems(ONE_CPU)
    with pytest.raises(ClusterError, match="card: torch is built for CPU"):
        there.refuse_problems(Request(1, 1))


def test_smallest_node_is_that_with_the_least_memory_of_those_that_hold_the_request():
    there = cluster(node("tiny", 1, 0, 1), node("small", 4, 0, 8), node("large", 4, 0, 64))
    assert there.smallest(Request(2)).name == "small"
    assert there.smallest(Request(5)) is None


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request(), "1 CPU"),
        (Request(0.5, 0.25), "0.5 CPU and 0.25 GPU"),
        (Request(2, 0, 3 * GIB // 2), "2 CPUs and 1.5 GiB of memory"),
    ],
)
def test_request_reads_as_people_say_it(request_, words):
    assert re.fullmatch(re.escape(words), str(request_))
