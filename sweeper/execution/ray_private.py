"""Uses of Ray beyond its documented interface, each behind one function that knows what to do without it.

A missing name disables only the features that need it. If there is no way round, it raises one `ClusterError`, at the
moment when the feature is needed. `tests/execution/test_ray_private.py` checks that every name exists in the tested
Ray, and what happens without each of them.

Imported once Ray's environment is set.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import ray
from ray.job_config import JobConfig

from sweeper.errors import ClusterError
from sweeper.provenance import PACKAGE

#: Versions of Ray that the tests pass with: the bounds of `pyproject.toml`.
TESTED = ">=2.52.1,<2.61"


def _missing(name: str, what: str) -> ClusterError:
    return ClusterError(
        f"Ray {ray.__version__} has no {name}, and without it {what}. This version of sweeper was tested with "
        f"ray{TESTED}. Install one of those: pip install 'ray[tune]{TESTED}'"
    )


# --- starting ------------------------------------------------------------------------------------------

#: Variables that Ray's daemon reads when it starts: modules that workers import, and how long idle workers live, in ms.
#: By default it ends idle workers beyond its number of free CPUs, and so each worker whose CPU Tune has just reserved.
_PRELOADED, _IDLE_MS = "RAY_preload_python_modules", "RAY_idle_worker_killing_time_threshold_ms"

#: The variable that `ahead.py` reads; repeated here because that file cannot be imported.
_NAMES = "SWEEPER_IMPORTED_AHEAD"

#: Longest wait of idle workers for their first job, in ms.
_WAITS_MS = 120_000


def start(modules: Iterable[str], **settings: Any) -> None:
    """Start Ray here with all of the machine's memory to hand out, because nobody else reserves memory here.

    By default, and if Ray takes no such number, it hands out about two thirds.

    Args:
        modules: Modules that workers import as soon as they start, if this Ray supports that.
        settings: As for `ray.init`.
    """
    named = ",".join(modules)
    ahead = f"{__package__}.ahead" if named else ""
    with _variable(_NAMES, named), _variable(_PRELOADED, ahead), _variable(_IDLE_MS, str(_WAITS_MS)):
        _start(settings)


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """Set an environment variable for processes started meanwhile; a value that the user has set stands."""
    if not value or name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)


def _start(settings: Mapping[str, Any]) -> None:
    try:
        from ray._common.utils import get_system_memory
    except ImportError:
        ray.init(**settings)
        return
    try:
        ray.init(**settings, _memory=get_system_memory())
    except (RuntimeError, TypeError) as error:
        if "_memory" not in str(error):  # Ray refuses an unknown argument before it starts anything
            raise
        ray.init(**settings)


def children() -> set[int]:
    """Return the ids of Ray's processes below this one."""
    return {child.pid for child in _children()}


def end_children(before: set[int]) -> None:
    """End Ray's remaining processes below this one, except those whose ids are in `before`."""
    for child in _children():
        if child.pid not in before:
            with suppress(Exception):  # the process has ended by itself
                child.kill()


def _children() -> list[Any]:
    try:
        import psutil  # type: ignore[import-untyped]  # Ray brings its own

        found = psutil.Process().children(recursive=True)
        return [child for child in found if any(f"{os.sep}ray{os.sep}" in word for word in _command(child))]
    except Exception:  # without psutil the processes stay until this one ends
        return []


def _command(process: Any) -> list[str]:
    try:
        return list(process.cmdline())
    except Exception:  # the process has ended, or is another user's
        return []


#: Ray's name of the daemon of its head.
HEAD = "gcs_server"


def head_to_come(before: set[int]) -> Callable[[], bool]:
    """Return a function that says whether the head that this process starts from now on has died.

    Needed while Ray starts, because Ray names its daemons to `dead_daemons` only once all of them run.

    Args:
        before: Ids of the processes that existed before.
    """
    seen: list[Any] = []

    def has_died() -> bool:
        if not seen:
            seen.extend(one for one in _children() if one.pid not in before and HEAD in "".join(_command(one)[:1]))
        return any(_is_gone(one) for one in seen)

    return has_died


def _is_gone(process: Any) -> bool:
    try:
        return not process.is_running() or process.status() == "zombie"
    except Exception:  # the process ended during the call
        return True


def dead_daemons() -> list[str]:
    """Return the dead daemons of the Ray started here; empty if this Ray does not name its daemons."""
    try:
        from ray._private import worker

        started = getattr(worker._global_node, "all_processes", {})
        named = {name: [info.process for info in started[name]] for name in (HEAD, "raylet") if name in started}
        return [name for name, processes in named.items() if any(one.poll() is not None for one in processes)]
    except (ImportError, AttributeError):
        return []


@contextmanager
def actors_as_they_start() -> Iterator[None]:
    """Let Tune's actors take idle workers: Tune asks for its own environment, which no idle worker has.

    Only for a Ray started here, whose workers have the driver's environment anyway. If a version of Tune differs here,
    its actors start new workers.
    """
    try:
        from ray.tune.execution import class_cache
    except ImportError:
        yield
        return
    with ExitStack() as stack:
        for name, empty in (("DEFAULT_ENV_VARS", {}), ("ENV_VARS_TO_PROPAGATE", set())):
            if hasattr(class_cache, name):
                stack.enter_context(_replaced(class_cache, name, empty))
        yield


@contextmanager
def _replaced(module: ModuleType, name: str, value: object) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


# --- the import path of workers, on which Ray puts the folders of the driver first ------------------------

#: Private attribute of a job's configuration that holds the folders. If Ray renames it, Ray adds the folders as usual,
#: and workers report wrong imports.
_FOLDERS = "_py_driver_sys_path"


class _Ours(list[str]):
    """A list of folders that accepts only the folder of sweeper itself."""

    def extend(self, more: Iterable[str]) -> None:
        """Add sweeper's own folder if it is among these: without it workers do not find a checkout."""
        root = str(PACKAGE.resolve().parent)
        super().extend(folder for folder in more if os.path.realpath(folder) == root)


def own_folders_alone() -> JobConfig:
    """Return the configuration of a job whose workers get no folder of the driver but sweeper's own.

    A file in a folder of the driver could hide a package of the same name (`yaml.py`).
    """
    config = JobConfig()
    if isinstance(getattr(config, _FOLDERS, None), list):
        setattr(config, _FOLDERS, _Ours())
    return config


# --- the autoscaler: without it a cluster has the nodes that it has ----------------------------------------


def tells_of_autoscalers() -> bool:
    """Return whether this Ray has any interface that reports an autoscaler."""
    return _key_value_store() is not None or _second_generation() is not None


def autoscaler_report() -> dict[str, Any]:
    """Return the last report of an autoscaler; empty if there is none, or the report cannot be read.

    Raises:
        RayError: If the cluster does not answer.
    """
    found = _key_value_store()
    try:
        get, key = found or (lambda _: None, "")
        report = json.loads(get(key) or "{}").get("autoscaler_report")
    except (ValueError, TypeError, AttributeError):
        return {}
    return report if isinstance(report, dict) else {}


def _key_value_store() -> tuple[Any, str] | None:
    """Return the function that reads a key of the cluster's head, and the key of an autoscaler's report."""
    try:
        from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
        from ray.experimental.internal_kv import _internal_kv_get
    except ImportError:
        return None
    return _internal_kv_get, DEBUG_AUTOSCALING_STATUS


def node_states() -> list[tuple[str, str]]:
    """Return kind and state, `here` or `pending`, of every node of an autoscaler of the second generation."""
    found = _second_generation()
    if found is None:
        return []
    get_cluster_status, is_autoscaler_v2 = found
    try:
        status = get_cluster_status(ray.get_runtime_context().gcs_address)
        if not is_autoscaler_v2(fetch_from_server=True):
            return []
        here = [(node.ray_node_type_name, "here") for node in (*status.active_nodes, *status.idle_nodes)]
        pending = [(node.ray_node_type_name, "pending") for node in status.pending_nodes]
        launched = [(one.ray_node_type_name, "pending") for one in status.pending_launches for _ in range(one.count)]
    except Exception:  # a cluster without such an autoscaler may raise any exception
        return []
    return [*here, *pending, *launched]


def _second_generation() -> tuple[Any, Any] | None:
    try:
        from ray.autoscaler.v2.sdk import get_cluster_status
        from ray.autoscaler.v2.utils import is_autoscaler_v2
    except ImportError:
        return None
    return get_cluster_status, is_autoscaler_v2


def node_groups() -> list[Any]:
    """Return the kinds of nodes that an autoscaler may start: name, resources, max_count; most do not say."""
    try:
        from ray._private.state import state

        config = state.get_cluster_config()
        return list(config.node_group_configs) if config else []
    except (ImportError, AttributeError):
        return []


# --- trials of Ray Tune ----------------------------------------------------------------------------------


def actor_of(trial: Any) -> Any:
    """Return the actor that works on a running trial of Tune; None while the trial has none.

    Raises:
        ClusterError: If this Ray does not name the actor.
    """
    try:
        return trial.temporary_state.ray_actor
    except AttributeError as error:
        raise _missing(
            "Trial.temporary_state.ray_actor",
            f"a worker that hangs cannot be ended: {trial.trial_id} has not answered for longer than its limit",
        ) from error


def folders_of(trial: Any) -> tuple[Path | None, Iterable[str]]:
    """Return the working folder of a trial's worker, and Tune's folders of the trial; none if Tune does not say."""
    try:
        storage = trial.storage
        if storage is None:
            return None, ()
        kept = (storage.trial_driver_staging_path, storage.trial_fs_path)
        return Path(storage.trial_working_directory), kept
    except AttributeError:  # the folders then stay until the run's folder, and Ray's session, are removed
        return None, ()


# --- a head that is not joined ---------------------------------------------------------------------------


def head_facts(address: str, timeout_s: float = 5) -> dict[str, Any]:
    """Return facts about a head without joining it, including `ray_version` and `python_version`.

    Raises:
        ClusterError: If this Ray has no interface for that.
        Exception: Whatever Ray raises if no head answers, or the head refuses access.
    """
    try:
        from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled: it has no types
    except ImportError as error:
        raise _missing("ray._raylet.GcsClient", "a head cannot be asked for its version before it is joined") from error
    head = GcsClient(address=address)
    try:
        get = head.internal_kv_get
    except AttributeError as error:
        raise _missing("GcsClient.internal_kv_get", "a head cannot be asked for its version") from error
    found = json.loads(get(b"CLUSTER_METADATA", namespace=b"cluster", timeout=timeout_s) or b"{}")
    return found if isinstance(found, dict) else {}
