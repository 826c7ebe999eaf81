"""Starts or joins a Ray cluster, and finds out what its nodes have and whether they are fit to train a sweep.

Imported by `executors.py` once Ray's environment is set.
"""

from __future__ import annotations

import gc
import logging
import os
import re
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import ray
from ray.util.placement_group import placement_group_table
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeper import storage
from sweeper.errors import ClusterError
from sweeper.execution import ray_private
from sweeper.execution.lifeline import watching
from sweeper.execution.node_check import look
from sweeper.execution.ray_folder import own_folder, socket_problem
from sweeper.execution.resources import Machines, Node, Request, Resources, Seen, Shared
from sweeper.execution.worker import asked, packed, travel_by_value
from sweeper.limits import read_limits

#: Longest wait for a node's answer, in seconds. A worker starts in seconds, so a slower node has a problem.
NODE_PATIENCE_S = 90.0

#: States of a placement group that waits for its resources.
_UNPLACED = ("PENDING", "RESCHEDULING")

#: Longest wait for the first report of a head's monitor, which starts nodes or only watches them, in seconds.
_WATCHER_PATIENCE_S = 20.0

#: Names of node kinds from a monitor that only watches nodes and starts none.
_READ_ONLY = re.compile(r"node_[0-9a-f]+")


#: Pauses before Ray is started again on this machine after a failed start, in seconds: a busy machine may take longer
#: than the 30 s after which Ray gives up.
START_AGAIN_AFTER_S = (2.0, 10.0)

#: Longest start whose head has died, in seconds: after 30 s Ray gives up by itself, or after 60 s it ends the process.
START_GRACE_S = 45.0


@contextmanager
def connected(
    address: str | None,
    cpus: int | None = None,
    modules: Sequence[str] = (),
    is_given_up: Callable[[], bool] = lambda: False,
    at_worst: Callable[[str], None] | None = None,
) -> Iterator[bool]:
    """Start or join a Ray cluster, and leave it again; yield whether it runs, which is False if it was stopped.

    Args:
        address: Address of a running cluster, `HOST:PORT`. None starts one here.
        cpus: CPUs of a cluster started here; None takes all of this machine.
        modules: Modules that workers of a cluster started here import at once, before their first job.
        is_given_up: Returns whether nobody waits for the cluster any more; then a failed start is not repeated.
        at_worst: Ends the process, given a description of what has died. Called if a Ray started here dies and calls
            into it do not return; Ray itself would end the process silently.

    Raises:
        ClusterError: If the cluster cannot be started or joined.
    """
    if address is None:
        refuse_long_sockets()
    handlers = _signal_handlers()
    stack = ExitStack()
    try:
        if address is None:
            folder = stack.enter_context(own_folder(os.environ))
            _start(folder, cpus or read_limits().workers, modules, is_given_up, at_worst)
        else:
            ray.init(
                address=address,
                logging_level=logging.ERROR,
                log_to_driver=False,
                job_config=ray_private.own_folders_alone(),
            )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        stack.close()
        where = f"the Ray cluster at {address} cannot be reached" if address else "Ray cannot be started here"
        raise ClusterError(
            f"{where}: {first_line(error)} Check the address, and that RAY_AUTH_MODE is the same here as there."
        ) from error
    except SystemExit:  # raised by Ray's own handler, which replaces the caller's while Ray starts
        caller = handlers.get(signal.SIGTERM)
        if not callable(caller):
            raise
        caller(signal.SIGTERM, None)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    with stack:
        try:
            with watching(lost_here, lambda _: None, at_worst) if address is None else nullcontext():
                yield ray.is_initialized()  # False if stopped while it started; a later call would start it again
        finally:
            _shut_down()


def _shut_down() -> None:
    """Shut Ray down with Python's garbage collector disabled.

    Another thread's collection may free an actor or an object of Ray's, which then calls Ray's core. During shutdown
    such a call ends the process at once and silently.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        ray.shutdown()
    finally:
        if was_enabled:
            gc.enable()


def _start(
    folder: str,
    cpus: int | None,
    modules: Sequence[str],
    is_given_up: Callable[[], bool],
    at_worst: Callable[[str], None] | None,
) -> None:
    """Start Ray on this machine; repeat a failed start after each pause of `START_AGAIN_AFTER_S`.

    Args:
        folder: Folder of Ray's sessions.
        cpus: Number of CPUs that Ray hands out.
        modules: Modules that workers import at once.
        is_given_up: Returns whether nobody waits for Ray any more.
        at_worst: Ends the process if Ray's head dies and Ray's call does not return. If Ray's daemon on this machine
            dies, the call raises an error instead.

    Raises:
        ClusterError: If Ray does not start.
    """
    for wait_s in (*START_AGAIN_AFTER_S, None):
        before = ray_private.children()
        try:
            with watching(_head_lost(before), lambda _: None, at_worst, START_GRACE_S):
                ray_private.start(
                    modules,
                    address="local",
                    num_cpus=cpus,
                    include_dashboard=False,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                    job_config=ray_private.own_folders_alone(),
                    object_store_memory=100 * 2**20,
                    _temp_dir=folder,
                )
            return
        except Exception as error:  # Ray raises plain exceptions if a daemon does not come up in time
            with suppress(Exception):
                ray.shutdown()
            ray_private.end_children(before)
            if is_given_up() or isinstance(error, ValueError):  # a ValueError is about the arguments and would recur
                raise
            if wait_s is None:
                raise ClusterError(
                    f"Ray cannot be started here, tried {len(START_AGAIN_AFTER_S) + 1} times: {first_line(error)} Look "
                    "with `sweeper doctor`, end what keeps the machine busy, and go on with `sweeper resume`."
                ) from error
            time.sleep(wait_s)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, ending with a full stop."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return said if said.endswith(".") else f"{said}."


def refuse_long_sockets() -> None:
    """Check that the socket paths of a Ray started here are not too long.

    Raises:
        ClusterError: If they are; names the variable that sets the folder.
    """
    if found := socket_problem(os.environ):
        raise ClusterError(f"Ray cannot be started here: {'. '.join(found)}")


def _signal_handlers() -> dict[signal.Signals, Any]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    return {number: handler for number, handler in found.items() if handler is not None}


def take_back_signals() -> None:
    """Restore Python's signal handlers after Ray has started in another thread.

    Ray's handler calls them as well, but aborts the process some seconds later.
    """
    for number, handler in _signal_handlers().items():
        signal.signal(number, handler)


def lost_here() -> str:
    """Return a description of the dead daemons of the Ray started here; empty while all of them live."""
    return _said_lost(ray_private.dead_daemons())


def _head_lost(before: set[int]) -> Callable[[], str]:
    has_died = ray_private.head_to_come(before)
    return lambda: _said_lost([ray_private.HEAD] if has_died() else [])


def _said_lost(died: Sequence[str]) -> str:
    return f"Ray's {' and '.join(died)} on this machine {'has' if len(died) == 1 else 'have'} died" if died else ""


def nodes() -> list[Node]:
    """Return the nodes that are alive."""
    found = []
    for node in ray.nodes():  # type: ignore[no-untyped-call]  # ray has no types here
        if node["Alive"]:
            name = f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})"
            found.append(Node(name, _resources(node["Resources"]), id=node["NodeID"]))
    return found


def seen() -> Seen:
    """Return the cluster as it is now."""
    free = _resources(ray.available_resources())  # type: ignore[no-untyped-call]  # ray has no types here
    return Seen(nodes(), free)


def unplaced() -> int:
    """Return how many requests, of all users, wait for resources; requests whose workers are starting do not count."""
    groups = placement_group_table().values()
    return sum(group["state"] in _UNPLACED for group in groups)


def _resources(named: Mapping[str, float]) -> Resources:
    return Resources(named.get("CPU", 0.0), named.get("GPU", 0.0), int(named.get("memory", 0)))


def machines(shared: Shared | None = None) -> Machines:
    """Return the machines that populations can be placed on.

    Args:
        shared: Everything that nodes must find; None checks no node.
    """
    found = nodes()
    startable = _startable()
    _await_watcher()
    return Machines(
        nodes=_looked_at(found, shared) if shared else found,
        startable=startable,
        has_autoscaler=bool(startable) or _has_autoscaler(),
        is_cluster=True,
    )


# --- the autoscaler ------------------------------------------------------------------------------------


def _has_autoscaler() -> bool:
    """Return whether an autoscaler may start nodes: it gives kinds of nodes their own names.

    If Ray does not say, an autoscaler is assumed, so a request that fits no present node waits instead of being
    refused.
    """
    return not ray_private.tells_of_autoscalers() or any(not _READ_ONLY.fullmatch(kind) for kind in _kinds())


def _await_watcher() -> None:
    """Wait until a head that has just started knows whether it has an autoscaler."""
    limit = time.monotonic() + (_WATCHER_PATIENCE_S if ray_private.tells_of_autoscalers() else 0)
    while not _status() and not ray_private.node_states() and time.monotonic() < limit:
        time.sleep(0.5)


def _startable() -> list[Node]:
    """Return the kinds of nodes that an autoscaler says it may start; most autoscalers do not say."""
    return [
        Node(group.name, _resources(dict(group.resources)), count=group.max_count if group.max_count > 0 else 2**31)
        for group in ray_private.node_groups()
        if group.max_count
    ]


def _status() -> dict[str, Any]:
    """Return the last report of an autoscaler; empty if there is none."""
    with suppress(ray.exceptions.RayError):
        return ray_private.autoscaler_report()
    return {}


def _kinds() -> set[str]:
    """Return the known names of the kinds of nodes in the cluster."""
    status = _status()
    kinds = {kind for part in ("active_nodes", "idle_nodes", "pending_launches") for kind in status.get(part) or {}}
    kinds |= {kind for _, kind, *_ in status.get("pending_nodes") or ()}
    return kinds | {kind for kind, _ in ray_private.node_states() if kind}


def autoscaler_says() -> str:
    """Return a clause that says whether more nodes will come."""
    if not ray_private.tells_of_autoscalers():
        return f"Ray {ray.__version__} does not say whether more nodes are to come"
    if not _has_autoscaler():
        return "nothing starts nodes there by itself"
    status = _status()
    coming = Counter({kind: count for kind, count in (status.get("pending_launches") or {}).items() if count})
    coming.update(kind for _, kind, *_ in status.get("pending_nodes") or ())
    coming.update(kind for kind, state in ray_private.node_states() if state == "pending")
    if coming:
        return f"its autoscaler is starting {', '.join(f'{n} {kind}' for kind, n in sorted(coming.items()))}"
    return "its autoscaler is starting no node now"


# --- whether nodes are fit -----------------------------------------------------------------------------


def _looked_at(found: Sequence[Node], shared: Shared) -> list[Node]:
    """Return the nodes with their problems; nodes without CPUs train nothing and are not asked.

    Raises:
        ClusterError: If the driver itself cannot write to the shared storage.
    """
    mark = f"probe-{uuid.uuid4().hex}"
    probe = storage.join(shared.folder, mark) if shared.folder else ""
    travel_by_value()
    try:
        if probe:
            storage.write_bytes(probe, mark.encode())
        told = {}
        for node in found:
            if node.has.cpus:
                where = NodeAffinitySchedulingStrategy(node.id, soft=False)
                task = ray.remote(asked).options(num_cpus=0, max_retries=0, scheduling_strategy=where)
                question = packed(partial(look, shared, probe, int(node.has.gpus)))
                told[task.remote(question)] = node
        ready, _ = ray.wait(list(told), num_returns=len(told), timeout=NODE_PATIENCE_S) if told else ([], [])
        answers = {told[ref].id: _answer(ref) if ref in ready else _silent() for ref in told}
    except OSError as error:
        raise ClusterError(
            f"the storage {storage.without_credentials(shared.folder)} cannot be written: {error.strerror}. "
            "Name another one with --storage."
        ) from error
    finally:
        with suppress(OSError):
            if probe:
                storage.delete(probe)
    return [
        replace(node, problem=answer.get("problem", ""), gpu_problem=answer.get("gpu_problem", ""))
        for node in found
        for answer in [answers.get(node.id, {})]
    ]


def _silent() -> dict[str, str]:
    return {"problem": f"did not answer within {NODE_PATIENCE_S:g} s; look into its logs, or restart Ray on it"}


def _answer(ref: Any) -> dict[str, str]:
    try:
        return dict(ray.get(ref))
    except Exception as error:  # a node that lacks something may raise any exception
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = lines[-1] if lines else type(error).__name__
        return {"problem": f"could not be asked: {said[:300]}; install the same sweeper on it as here"}


def request_of(request: Request) -> dict[str, float]:
    """Return a request in the form that Ray Tune takes."""
    named = {"cpu": request.cpus, "gpu": request.gpus, "memory": request.memory_bytes}
    return {name: amount for name, amount in named.items() if amount}
