"""Resources that populations need, computed from a spec, a task and machines before anything is planned."""

from __future__ import annotations

import pytest

from sweeper.driver.needs import needs, this_machine
from sweeper.errors import ClusterError, SpecError
from sweeper.execution.resources import Machines, Node, Request, Resources
from sweeper.spec import PlacementSpec, load_spec
from sweeper.training import forecast

GIB = 2**30

#: Windows may grow until a network takes half a gibibyte.
GROWS = """
name: grows
task: {data: digits, classes: 2, train_images: 200}
lattice: {window: auto, memory_mib: 512}
parameters: {time_pressure: {values: [0.1, 0.2, 0.3, 0.4]}}
objectives: [{name: accuracy, goal: maximize}]
reference_point: {accuracy: 0}
"""


@pytest.fixture(scope="module")
def smoke():
    return load_spec("smoke").spec


@pytest.fixture(scope="module")
def tasks(smoke):
    return forecast.check(smoke.corners())


def placed(spec, **placement):
    return spec.model_copy(update={"placement": PlacementSpec(**placement)})


def cluster(*sizes, problem=""):
    nodes = [Node(f"n{k}", Resources(cpus, gpus, gib * GIB), problem) for k, (cpus, gpus, gib) in enumerate(sizes)]
    return Machines(nodes, is_cluster=True)


def test_here_a_population_asks_for_one_cpu_and_no_memory(smoke, tasks):
    found = needs(smoke, tasks, None, workers=2)
    assert found.request == Request(1, this_machine().has.gpus > 0, 0)


@pytest.mark.parametrize(("device", "gpus"), [("nvidia0", 3), ("dxg", 3), ("kfd", 3), ("nvhost-gpu", 3), ("nvme0", 0)])
def test_torch_is_asked_for_gpus_where_there_is_a_device_of_one(device, gpus, tmp_path, monkeypatch):
    monkeypatch.setattr(forecast, "usable_gpus", lambda: 3)
    monkeypatch.setattr("sys.platform", "linux")
    (tmp_path / device).touch()
    assert this_machine(tmp_path).has.gpus == gpus


def test_where_devices_are_not_files_torch_is_always_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(forecast, "usable_gpus", lambda: 2)
    monkeypatch.setattr("sys.platform", "win32")
    assert this_machine(tmp_path).has.gpus == 2


def test_gpus_are_one_for_each_population_where_there_are_any_and_none_elsewhere(smoke, tasks):
    spec = placed(smoke, memory_mib=700)
    assert needs(spec, tasks, cluster((8, 0, 64))).request.gpus == 0
    with_gpus = needs(spec, tasks, cluster((8, 0, 64), (8, 2, 64)))
    assert with_gpus.request.gpus == 1
    assert with_gpus.at_once == 2


@pytest.mark.parametrize(("cpus", "gpus", "at_once"), [(1, 0, 8), (2, 0, 4), (0.5, 0, 16), (1, 0.25, 8), (3, 1, 2)])
def test_what_the_spec_asks_for_is_asked_for(smoke, tasks, cpus, gpus, at_once):
    found = needs(placed(smoke, cpus=cpus, gpus=gpus, memory_mib=512), tasks, cluster((8, 2, 64)))
    assert found.request == Request(cpus, gpus, 512 * 2**20)
    assert found.at_once == at_once


def test_size_of_populations_follows_the_places_of_the_cluster_and_not_this_machine(smoke, tasks):
    spec = placed(smoke, memory_mib=700)
    few, many = needs(spec, tasks, cluster((1, 0, 64))), needs(spec, tasks, cluster((64, 0, 64)))
    assert few.population > many.population == 1


def test_size_that_was_planned_stands_whatever_the_machines_are(smoke, tasks):
    spec = placed(smoke, memory_mib=700)
    assert needs(spec, tasks, cluster((64, 0, 64)), planned=3).population == 3
    assert needs(smoke, tasks, None, workers=500, planned=3).population == 3


def test_population_must_fit_into_the_memory_that_it_asks_for(smoke, tasks):
    with pytest.raises(SpecError, match=r"placement\.memory_mib is 300.*Use a higher memory_mib"):
        needs(placed(smoke, memory_mib=300), tasks, cluster((8, 0, 64)))


def test_memory_of_zero_is_asked_for_of_nobody_and_populations_still_fit_their_node(smoke, tasks):
    spec = placed(smoke, memory_mib=0)
    assert needs(spec, tasks, cluster((1, 0, 64))).request == Request(1, 0, 0)
    with pytest.raises(SpecError, match=r"node n0 has 0\.2 GiB"):
        needs(spec, tasks, cluster((1, 0, 0.25)))


def test_population_that_fits_no_node_is_refused_with_the_smallest_one_named(smoke, tasks):
    with pytest.raises(SpecError, match=r"in each of 2 workers, and node n1 has 0\.2 GiB"):
        needs(smoke, tasks, cluster((1, 0, 64), (2, 0, 0.25)))


def test_request_beyond_every_node_is_refused_before_anything_is_measured(smoke, tasks, monkeypatch):
    monkeypatch.setattr("sweeper.driver.needs.ask", lambda *_: pytest.fail("measured"))
    with pytest.raises(ClusterError, match="asks for 9 CPUs, and no node"):
        needs(placed(smoke, cpus=9), tasks, cluster((8, 0, 64)))


def test_node_that_cannot_train_is_refused(smoke, tasks):
    with pytest.raises(ClusterError, match="n0: it has no folder"):
        needs(placed(smoke, memory_mib=700), tasks, cluster((8, 0, 64), problem="it has no folder"))


@pytest.mark.slow
def test_memory_is_measured_in_a_process_of_its_own_and_grows_with_what_windows_may_take(smoke, tasks, tmp_path):
    found = needs(smoke, tasks, cluster((8, 0, 64)))
    assert 200 * 2**20 < found.request.memory_bytes < 4 * GIB
    assert found.request.memory_bytes % (64 * 2**20) == 0
    (tmp_path / "grows.yaml").write_text(GROWS)
    grows = load_spec(tmp_path / "grows.yaml").spec
    more = needs(grows, forecast.check(grows.corners()), cluster((8, 0, 64)))
    assert more.request.memory_bytes > found.request.memory_bytes + more.population * 400 * 2**20


@pytest.mark.slow
def test_memory_that_cannot_be_measured_is_said_with_the_way_out(smoke, tasks, monkeypatch):
    monkeypatch.setattr("sweeper.driver.needs._PROBE_PATIENCE_S", 0.01)
    with pytest.raises(ClusterError, match=r"could not be measured.*no answer within 0\.01 s.*placement\.memory_mib"):
        needs(smoke, tasks, cluster((8, 0, 64)))
