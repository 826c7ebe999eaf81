"""Private names of Ray: the pinned Ray has them, and a missing one is handled."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tomllib
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from ray.tune.experiment import Trial

from sweeper.errors import ClusterError
from sweeper.execution import ray_cluster, ray_private
from sweeper.execution.contract import Expected
from sweeper.execution.executors import RayExecutor
from sweeper.trial import Ended, Outcome
from tests.contracts.executor import Source, a_job, count_to_three
from tests.execution.test_executors import hang_at_the_first

ROOT = Path(__file__).parent.parent.parent

#: Private names for asking about an autoscaler: module, name.
AUTOSCALER = [
    ("ray._private.ray_constants", "DEBUG_AUTOSCALING_STATUS"),
    ("ray.experimental.internal_kv", "_internal_kv_get"),
    ("ray.autoscaler.v2.sdk", "get_cluster_status"),
    ("ray.autoscaler.v2.utils", "is_autoscaler_v2"),
]


def without(monkeypatch, names):
    for module, name in names:
        monkeypatch.delattr(f"{module}.{name}")


def bounds_of(package):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], *(text for its in project["optional-dependencies"].values() for text in its)]
    return {str(one.specifier) for one in map(Requirement, texts) if one.name == package}


def test_versions_that_an_error_names_are_those_of_the_project():
    assert bounds_of("ray") == {str(SpecifierSet(ray_private.TESTED))}
    assert SpecifierSet(ray_private.TESTED).contains(ray.__version__)


# --- in the pinned version -----------------------------------------------------------------------------


def test_pinned_ray_has_every_name():
    from ray._common.utils import get_system_memory
    from ray._private.state import state
    from ray._raylet import GcsClient  # wraps another client; the test with a real head checks the methods

    assert get_system_memory() > 0
    assert callable(state.get_cluster_config)
    assert callable(GcsClient)
    assert ray_private._key_value_store() is not None
    assert ray_private._second_generation() is not None


def test_pinned_tune_keeps_the_actor_and_the_folders_of_a_trial_where_they_are_looked_for():
    trial = Trial("any", stub=True)
    assert ray_private.actor_of(trial) is None
    trial.temporary_state.ray_actor = "an actor"
    assert ray_private.actor_of(trial) == "an actor"
    assert ray_private.folders_of(trial) == (None, ())
    from ray.train._internal.storage import StorageContext

    for name in ("trial_working_directory", "trial_driver_staging_path", "trial_fs_path"):
        assert isinstance(getattr(StorageContext, name), property)


@pytest.mark.slow
def test_ray_that_is_started_here_hands_out_all_of_the_memory_and_says_who_it_is():
    from ray._common.utils import get_system_memory

    with ray_cluster.connected(None, 1):
        (node,) = ray_cluster.nodes()
        facts = ray_private.head_facts(ray.get_runtime_context().gcs_address)
    assert node.has.memory_bytes == get_system_memory()
    assert facts["ray_version"] == ray.__version__


def has_imported(job, report):
    """Work that tells whether its worker had imported a module before the job, and the worker's process id."""
    return [Ended(Outcome.COMPLETE, "", {"had": float("colorsys" in sys.modules), "pid": float(os.getpid())})]


@pytest.mark.slow
@pytest.mark.parametrize("finds_names", [True, False])
def test_tune_takes_workers_that_are_there_already_and_have_imported_what_they_need(monkeypatch, finds_names):
    """Without Tune's private names, Tune starts other workers, which import the same modules."""
    from ray.tune.execution import class_cache

    if not finds_names:
        monkeypatch.setattr(ray_private, "actors_as_they_start", nullcontext)
    executor = RayExecutor(workers=2)
    with executor.starting(Expected(2, modules=("colorsys", "no_such_module"))):
        assert executor._started.result()
        first = workers_there()
        source = Source([a_job(1), a_job(2)])
        executor.run(has_imported, source)
    ended = [its[0].measurement for its in source.ended.values()]
    assert [its["had"] for its in ended] == [1.0, 1.0]
    assert ({int(its["pid"]) for its in ended} <= first) is finds_names
    assert class_cache.DEFAULT_ENV_VARS, "as it was"


@pytest.mark.parametrize("said", ["", "colorsys", "no_such_module,colorsys", "exits,fails,broken,colorsys"])
def test_what_is_imported_ahead_raises_nothing_but_an_import_error_and_leaves_no_sweeper(tmp_path, said):
    for name, text in {"exits": "raise SystemExit(3)", "fails": "raise OSError('no library')", "broken": "def"}.items():
        (tmp_path / f"{name}.py").write_text(text)
    code = (
        "import importlib, sys\n"
        "try:\n    importlib.import_module('sweeper.execution.ahead')\n"
        "except ImportError as error:\n    print(type(error).__name__)\n"
        "print('colorsys' in sys.modules, [name for name in sys.modules if name.split('.')[0] == 'sweeper'])\n"
        "import sweeper.execution.worker"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, ray_private._NAMES: said}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["ImportError", f"{'colorsys' in said} []"]
    assert f'NAMES = "{ray_private._NAMES}"' in (ROOT / "sweeper" / "execution" / "ahead.py").read_text()


def workers_there():
    """Return the idle workers of the Ray that this process has started, once there are two."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        found = {
            process
            for daemon in children_of(os.getpid())
            for process in children_of(daemon)
            if Path(f"/proc/{process}/cmdline").read_bytes().startswith(b"ray::IDLE")
        }
        if len(found) >= 2:
            return found
        time.sleep(0.2)
    raise AssertionError("no workers wait")


def children_of(process):
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


# --- with a name taken away ------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", [AUTOSCALER[:1], AUTOSCALER[1:2], AUTOSCALER[2:3], AUTOSCALER[3:], AUTOSCALER])
def test_without_its_names_an_autoscaler_says_nothing(monkeypatch, gone):
    without(monkeypatch, gone)
    assert ray_private.tells_of_autoscalers() == (len(gone) == 1), "one way of two is left"
    if gone in (AUTOSCALER[:1], AUTOSCALER[1:2], AUTOSCALER):
        assert ray_private.autoscaler_report() == {}
    if gone not in (AUTOSCALER[:1], AUTOSCALER[1:2]):
        assert ray_private.node_states() == []


def test_without_its_names_an_autoscaler_may_be_there(monkeypatch):
    without(monkeypatch, AUTOSCALER)
    assert ray_cluster._has_autoscaler()
    assert ray_cluster.autoscaler_says() == f"Ray {ray.__version__} does not say whether more nodes are to come"


def test_without_its_names_kinds_of_nodes_are_unknown(monkeypatch):
    monkeypatch.delattr("ray._private.state.state")
    assert ray_private.node_groups() == []


def test_without_its_name_a_hanging_worker_is_one_error_that_names_it():
    with pytest.raises(ClusterError) as raised:
        ray_private.actor_of(SimpleNamespace(trial_id="t1"))
    said = str(raised.value)
    assert said.startswith(f"Ray {ray.__version__} has no Trial.temporary_state.ray_actor, and without it a worker")
    assert f"pip install 'ray[tune]{ray_private.TESTED}'" in said
    assert "\n" not in said


def test_without_their_names_folders_of_trials_stay():
    assert ray_private.folders_of(SimpleNamespace()) == (None, ())
    assert ray_private.folders_of(SimpleNamespace(storage=SimpleNamespace(trial_fs_path="x"))) == (None, ())


def test_without_its_name_a_head_that_is_not_joined_cannot_be_asked(monkeypatch):
    monkeypatch.delattr("ray._raylet.GcsClient")
    with pytest.raises(ClusterError, match=rf"Ray {ray.__version__} has no ray\._raylet\.GcsClient, and without it"):
        ray_private.head_facts("127.0.0.1:9")


def test_waiting_for_a_watcher_ends_at_once_where_none_can_be_heard(monkeypatch):
    without(monkeypatch, AUTOSCALER)
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("it waits"))
    ray_cluster._await_watcher()


@pytest.fixture
def refusing_ray(monkeypatch):
    """A Ray that refuses the argument `_memory`; returns the arguments of each successful start."""
    start, given = ray.init, []

    def init(**settings):
        if "_memory" in settings:
            raise RuntimeError("Unknown keyword argument(s): _memory")
        given.append(settings)
        return start(**settings)

    monkeypatch.setattr(ray, "init", init)
    return given


@pytest.mark.slow
def test_ray_that_takes_no_memory_is_started_with_what_it_hands_out_itself(refusing_ray):
    source = Source([a_job(1), a_job(2)])
    RayExecutor(workers=2).run(count_to_three, source)
    assert {its[0].outcome for its in source.ended.values()} == {Outcome.COMPLETE}
    assert len(refusing_ray) == 1


def test_other_error_of_a_start_is_not_tried_twice(monkeypatch):
    tried = []

    def init(**settings):
        tried.append(settings)
        raise RuntimeError("no room")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(RuntimeError, match="no room"):
        ray_private.start(("colorsys",))
    assert len(tried) == 1
    set_now = [name for name in os.environ if name.startswith(("RAY_preload", "RAY_idle", "SWEEPER_IMPORTED"))]
    assert set_now == [], "it is for one start alone"


@pytest.mark.rare
@pytest.mark.slow
def test_worker_that_hangs_and_cannot_be_killed_ends_the_run_with_one_error_and_no_outcome(ray_head, monkeypatch):
    from dataclasses import replace

    from sweeper.execution import ray_tune

    actor_of = ray_private.actor_of
    monkeypatch.setattr(ray_tune, "HANGS_AFTER_S", 2.0)
    monkeypatch.setattr(ray_private, "actor_of", lambda trial: actor_of(SimpleNamespace(trial_id=trial.trial_id)))
    source = Source([replace(a_job(1), time_limit_s=0.1)])
    with pytest.raises(ClusterError, match=r"has no Trial\.temporary_state\.ray_actor"):
        RayExecutor(1, ray_head).run(hang_at_the_first, source)
    assert source.ended == {}


@pytest.mark.slow
def test_sweep_runs_on_a_ray_that_has_none_of_what_it_can_do_without(ray_head, monkeypatch):
    for way in ("_key_value_store", "_second_generation"):  # Ray itself needs the names inside these
        monkeypatch.setattr(ray_private, way, lambda: None)
    monkeypatch.setattr(ray_private, "folders_of", lambda trial: (None, ()))
    source = Source([a_job(n) for n in range(3)])
    with ray_cluster.connected(ray_head):
        machines = ray_cluster.machines()
    assert machines.has_autoscaler
    assert [node.has.cpus for node in machines.nodes] == [2]
    RayExecutor(2, ray_head).run(count_to_three, source)
    assert {its[0].outcome for its in source.ended.values()} == {Outcome.COMPLETE}
