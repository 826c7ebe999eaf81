"""A Ray cluster: started or joined, what its nodes have, and whether they are fit to train a sweep.

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

#: A node that has not answered so long after it was asked is sick: a worker starts in seconds.
NODE_PATIENCE_S = 90.0

#: States of a placement group that does not have what it asks for.
_UNPLACED = ("PENDING", "RESCHEDULING")

#: A head's own watcher, which starts nodes or only looks on, says something after so long at most.
_WATCHER_PATIENCE_S = 20.0

#: How kinds of nodes are named by what only looks on, and starts none.
_READ_ONLY = re.compile(r"node_[0-9a-f]+")


#: Seconds to wait before Ray is started once more on this machine, where it did not start: a busy one may take longer
#: than the 30 s after which Ray gives up.
START_AGAIN_AFTER_S = (2.0, 10.0)

#: How long a start may go on whose head has died: after 30 s Ray gives up by itself, or after 60 s it ends the process.
START_GRACE_S = 45.0


@contextmanager
def connected(
    address: str | None,
    cpus: int | None = None,
    modules: Sequence[str] = (),
    is_given_up: Callable[[], bool] = lambda: False,
    at_worst: Callable[[str], None] | None = None,
) -> Iterator[bool]:
    """Start or join a Ray cluster, and leave it again; gives whether it is there: not where it was stopped meanwhile.

    Args:
        address: Of a running one, `HOST:PORT`. None starts one here.
        cpus: CPUs of the one that is started; None takes all of this machine.
        modules: What workers of the one that is started import at once, before they have anything to do.
        is_given_up: Whether nobody waits for it any more: one that did not start is not tried again then.
        at_worst: Ends the process, given what has died, where one that is started here dies and whoever waits for it
            does not come back: Ray would end the process itself, without a word.

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
    except SystemExit:  # Ray's own handler stands in for the caller's while Ray starts
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
                yield ray.is_initialized()  # stopped while it started; asking for resources would start it again
        finally:
            _shut_down()


def _shut_down() -> None:
    """Leave Ray, and let Python collect nothing meanwhile.

    What another thread collects may hold an actor or an object of Ray's. That one lets go of itself through the core of
    Ray, which ends the process at once, without a word, where it is asked while it shuts down.
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
    """Start Ray on this machine; where it does not start, once and once more, a while later.

    Args:
        folder: For its sessions.
        cpus: That it has.
        modules: What its workers import at once.
        is_given_up: Whether nobody waits for it any more.
        at_worst: Ends the process where its head dies and Ray's call does not come back. Where its daemon on this
            machine dies, it does, with an error.

    Raises:
        ClusterError: If it does not start.
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
        except Exception as error:  # Ray raises plain ones where a daemon of it does not come up in time
            with suppress(Exception):
                ray.shutdown()
            ray_private.end_children(before)
            if is_given_up() or isinstance(error, ValueError):  # of what it was told: it would say so again
                raise
            if wait_s is None:
                raise ClusterError(
                    f"Ray cannot be started here, tried {len(START_AGAIN_AFTER_S) + 1} times: {first_line(error)} Look "
                    "with `sweeper doctor`, end what keeps the machine busy, and go on with `sweeper resume`."
                ) from error
            time.sleep(wait_s)


def first_line(error: BaseException) -> str:
    """Return what an error says, in one line that ends as a sentence."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return said if said.endswith(".") else f"{said}."


def refuse_long_sockets() -> None:
    """Check that the sockets of a Ray that is started here fit into its folder.

    Raises:
        ClusterError: If they do not, with the variable that names the folder.
    """
    if found := socket_problem(os.environ):
        raise ClusterError(f"Ray cannot be started here: {'. '.join(found)}")


def _signal_handlers() -> dict[signal.Signals, Any]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    return {number: handler for number, handler in found.items() if handler is not None}


def take_back_signals() -> None:
    """Have Python's own handlers called again, once a Ray has started in another thread.

    The one that Ray puts in their place calls them as well, and has the process aborted some seconds later.
    """
    for number, handler in _signal_handlers().items():
        signal.signal(number, handler)


def lost_here() -> str:
    """Return in words what has died of the Ray that was started here; empty while all of it lives."""
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
    """Return how many requests, of everybody, wait for resources; those that have theirs may still be starting."""
    groups = placement_group_table().values()
    return sum(group["state"] in _UNPLACED for group in groups)


def _resources(named: Mapping[str, float]) -> Resources:
    return Resources(named.get("CPU", 0.0), named.get("GPU", 0.0), int(named.get("memory", 0)))


def machines(shared: Shared | None = None) -> Machines:
    """Return where populations can be placed.

    Args:
        shared: What nodes are to find there; None looks at none of them.
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
    """Whether somebody may start nodes: kinds of nodes have names of their own then.

    Where Ray does not say, somebody may: what fits no node that there is must wait then, and is not refused.
    """
    return not ray_private.tells_of_autoscalers() or any(not _READ_ONLY.fullmatch(kind) for kind in _kinds())


def _await_watcher() -> None:
    """Wait until a head that has just started knows whether it starts nodes."""
    limit = time.monotonic() + (_WATCHER_PATIENCE_S if ray_private.tells_of_autoscalers() else 0)
    while not _status() and not ray_private.node_states() and time.monotonic() < limit:
        time.sleep(0.5)


def _startable() -> list[Node]:
    """Return the kinds of nodes that an autoscaler says it may start; most say nothing of it."""
    return [
        Node(group.name, _resources(dict(group.resources)), count=group.max_count if group.max_count > 0 else 2**31)
        for group in ray_private.node_groups()
        if group.max_count
    ]


def _status() -> dict[str, Any]:
    """Return what an autoscaler last said of itself; empty where there is none."""
    with suppress(ray.exceptions.RayError):
        return ray_private.autoscaler_report()
    return {}


def _kinds() -> set[str]:
    """Return the names of the kinds of nodes that there are, as far as somebody names them."""
    status = _status()
    kinds = {kind for part in ("active_nodes", "idle_nodes", "pending_launches") for kind in status.get(part) or {}}
    kinds |= {kind for _, kind, *_ in status.get("pending_nodes") or ()}
    return kinds | {kind for kind, _ in ray_private.node_states() if kind}


def autoscaler_says() -> str:
    """Return in words whether more nodes are to come."""
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
    """Return the nodes with what is wrong with them; nodes without CPUs train nothing, and are not asked.

    Raises:
        ClusterError: If the driver itself cannot write where they are to look.
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
    except Exception as error:  # whatever a node lacks, it says with an exception of its own
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = lines[-1] if lines else type(error).__name__
        return {"problem": f"could not be asked: {said[:300]}; install the same sweeper on it as here"}


def request_of(request: Request) -> dict[str, float]:
    """Return a request as Ray Tune takes it."""
    named = {"cpu": request.cpus, "gpu": request.gpus, "memory": request.memory_bytes}
    return {name: amount for name, amount in named.items() if amount}
