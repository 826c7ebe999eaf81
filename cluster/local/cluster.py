#!/usr/bin/env python3
"""Runs a Ray cluster of several nodes on this machine, to try out clusters and the death of nodes.

    cluster/local/cluster.py start --nodes 2 --cpus 1   a head without CPUs, and two nodes with one each
    eval "$(cluster/local/cluster.py env)"              its address and token, for this shell
    cluster/local/cluster.py status                     its nodes, with their process ids
    cluster/local/cluster.py add --cpus 1               adds a node
    cluster/local/cluster.py kill 1                     kills node 1 at once, as if its power failed
    cluster/local/cluster.py stop                       stops this cluster, and nothing else

All processes listen on 127.0.0.1 only, which Ray's own `ray start` cannot do for more than one node. They require a
token, which is made in the cluster's folder and which only you can read. Other Ray processes are left alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

#: Longest start of a cluster, in seconds; on two busy cores a head took 6 s and a node 2 s.
PATIENCE_S = 180

#: Size of each node's object store, in bytes; sweeps pass no large objects between nodes.
OBJECT_STORE = 100 * 2**20

DEFAULT_FOLDER = Path(tempfile.gettempdir(), f"sweeper-cluster-{os.getuid()}")


def environment(folder: Path) -> dict[str, str]:
    """Return the environment variables that the cluster's processes, and its clients, need."""
    return {
        "RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "token"),
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listens on the loopback only
        "RAY_TMPDIR": str(folder),  # keeps Ray's record of this cluster from hiding another one
        "RAY_USAGE_STATS_ENABLED": "0",
    }


class Members:
    """The nodes of a cluster; all are child processes of this one.

    Args:
        folder: Folder for Ray's files.
        port: Port of the head.
        jobs_port: Port of its job server.
    """

    def __init__(self, folder: Path, port: int, jobs_port: int) -> None:
        from ray.cluster_utils import Cluster

        head = {
            **self._node(0, 0, 0),
            "gcs_server_port": port,
            "include_dashboard": True,
            "dashboard_host": "127.0.0.1",
            "dashboard_port": jobs_port,
            "dashboard_agent_listen_port": None,  # any free port, since another cluster may use the default one
            "temp_dir": str(folder / "ray"),
        }
        self._jobs = f"http://127.0.0.1:{jobs_port}"
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._nodes: dict[int, Any] = {}
        self._number = 0  # number of the newest node; numbers are never reused

    @staticmethod
    def _node(number: int, cpus: float, gpus: float) -> dict[str, Any]:
        return {
            "node_ip_address": "127.0.0.1",
            "node_name": f"node {number}",
            # Nodes share a folder here, and each unpacks the files of a job: they must not overwrite each other's.
            "runtime_env_dir_name": f"runtime_resources_{number}",
            "num_cpus": cpus,
            "num_gpus": gpus,
            "object_store_memory": OBJECT_STORE,
        }

    def add(self, cpus: float, gpus: float) -> None:
        """Start a node."""
        self._number += 1
        self._nodes[self._number] = self._cluster.add_node(**self._node(self._number, cpus, gpus))

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out a request, and return the resulting state of the cluster."""
        problem = ""
        if request.get("do") == "add":
            self.add(request["cpus"], request["gpus"])
        elif request.get("do") == "kill":
            if (node := self._nodes.pop(request["node"], None)) is None:
                problem = "name the node to kill" if request["node"] is None else f"there is no node {request['node']}"
            else:
                self._cluster.remove_node(node, allow_graceful=False)
        nodes = {number: _raylet(node) for number, node in self._nodes.items()}
        return {"problem": problem, "address": self._cluster.address, "jobs": self._jobs, "nodes": nodes}

    def end(self) -> None:
        """Shut all nodes down."""
        self._cluster.shutdown()


def serve(folder: Path, nodes: int, cpus: float, gpus: float, port: int, jobs_port: int) -> None:
    """Run a cluster until it is told to stop."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    members = Members(folder, port, jobs_port)
    try:
        for _ in range(nodes):
            members.add(cpus, gpus)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / "control"))
        listener.listen()
        while True:
            with listener.accept()[0] as caller, caller.makefile("rw") as stream:
                answer = members.answer(json.loads(stream.readline() or "{}"))
                with suppress(OSError):  # the caller has left
                    stream.write(json.dumps(answer) + "\n")
                    stream.flush()
    finally:
        (folder / "control").unlink(missing_ok=True)
        members.end()


def _raylet(node: Any) -> int | None:
    """Return the id of a node's raylet process, whose children are the node's workers; None if it has died."""
    return next((process.pid for name, process in node.live_processes() if name == "raylet"), None)


def ask(folder: Path, **request: Any) -> dict[str, Any]:
    """Send a request to the process that runs a cluster; if there is none, exit with advice."""
    with socket.socket(socket.AF_UNIX) as caller:
        try:
            caller.connect(str(folder / "control"))
        except OSError:
            sys.exit(f"no cluster runs in {folder}. Start one: {sys.argv[0]} start")
        with caller.makefile("rw") as stream:
            stream.write(json.dumps(request) + "\n")
            stream.flush()
            answer: dict[str, Any] = json.loads(stream.readline() or "{}")
    if problem := answer.get("problem"):
        sys.exit(f"{problem}; the nodes are: {', '.join(answer['nodes']) or 'none'}")
    return answer


def start(folder: Path, options: argparse.Namespace) -> None:
    """Start a cluster in the background and wait until it is complete."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        sys.exit(f"{folder} must be yours alone, since it holds a token: chmod 700 it, or name another --folder.")
    if (folder / "control").exists():
        with socket.socket(socket.AF_UNIX) as caller:
            if caller.connect_ex(str(folder / "control")) == 0:
                sys.exit(f"a cluster runs in {folder} already. Stop it first: {sys.argv[0]} stop")
        (folder / "control").unlink()  # left by a killed cluster
    for option, port in (("--port", options.port), ("--jobs-port", options.jobs_port)):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except (OSError, OverflowError) as error:
            sys.exit(f"port {port} of 127.0.0.1 cannot be used: {error}. Name another one with {option}.")
    if not (folder / "token").exists():
        with open(os.open(folder / "token", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    words = [str(value) for value in (options.nodes, options.cpus, options.gpus, options.port, options.jobs_port)]
    command = [sys.executable, os.path.abspath(__file__), "serve", str(folder), *words]
    with (folder / "cluster.log").open("w") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Jobs run `python`, which must be the one with this project's packages.
            env={**os.environ, **environment(folder), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            start_new_session=True,
        )
    limit = time.monotonic() + PATIENCE_S
    while not (folder / "control").exists():
        if process.poll() is not None or time.monotonic() > limit:
            process.terminate()
            sys.exit(f"the cluster did not start: {_last_line(folder / 'cluster.log')} (all of it: {log.name})")
        time.sleep(0.1)
    show(ask(folder))
    print(f'\nenter it from this shell:\n  eval "$({sys.argv[0]} env{_elsewhere(folder)})"')


def _last_line(log: Path) -> str:
    return next(reversed(log.read_text(errors="replace").strip().splitlines()), "it said nothing")


def _elsewhere(folder: Path) -> str:
    return "" if folder == DEFAULT_FOLDER else f" --folder {folder}"


def stop(folder: Path) -> None:
    """Stop a cluster by its serving process, which stops all others."""
    ask(folder)
    with socket.socket(socket.AF_UNIX) as caller:  # the peer of the socket is the process to stop
        caller.connect(str(folder / "control"))
        pid = int.from_bytes(caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], sys.byteorder)
        os.kill(pid, signal.SIGTERM)
    limit = time.monotonic() + PATIENCE_S
    while Path("/proc", str(pid)).exists() and time.monotonic() < limit:
        time.sleep(0.1)


def show(answer: Mapping[str, Any]) -> None:
    """Print the addresses of a cluster, and its nodes."""
    print(f"head      {answer['address']}, jobs at {answer['jobs']}")
    for number, raylet in answer["nodes"].items():
        print(f"node {number:<4} process {raylet}" if raylet else f"node {number:<4} has died")


def _use_ray() -> None:
    """Continue with the Python of this checkout's environment if this one has no Ray."""
    if importlib.util.find_spec("ray") is None:
        python = Path(__file__).resolve().parents[2] / ".venv/bin/python"
        if not python.exists():
            sys.exit(f"{sys.executable} has no Ray. Run `make` first, or use the Python of your environment.")
        os.execv(python, [str(python), *sys.argv])


def main() -> None:
    """Parse the command, carry it out, and print the resulting state."""
    _use_ray()
    if sys.argv[1:2] == ["serve"]:
        folder, nodes, cpus, gpus, port, jobs_port = sys.argv[2:]
        serve(Path(folder), int(nodes), float(cpus), float(gpus), int(port), int(jobs_port))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["start", "env", "status", "add", "kill", "stop"])
    parser.add_argument("node", nargs="?", type=int, help="which node to kill")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="of token, logs and sockets: a short path")
    parser.add_argument("--nodes", type=int, default=2, help="nodes beside the head")
    parser.add_argument("--cpus", type=float, default=1, help="CPUs of each node")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of each node, whether or not there are any")
    parser.add_argument("--port", type=int, default=6379, help="of the head")
    parser.add_argument("--jobs-port", type=int, default=8265, help="of the server that takes jobs, and the dashboard")
    options = parser.parse_args()
    folder = options.folder.absolute()
    if options.command == "start":
        start(folder, options)
    elif options.command == "stop":
        stop(folder)
    elif options.command == "env":
        answer = ask(folder)
        values = {**environment(folder), "RAY_API_SERVER_ADDRESS": answer["jobs"], "RAY_ADDRESS": answer["address"]}
        print("\n".join(f"export {name}={value}" for name, value in values.items()))
    elif options.command == "kill":
        show(ask(folder, do="kill", node=options.node))
    else:
        show(ask(folder, do=options.command, cpus=options.cpus, gpus=options.gpus))


if __name__ == "__main__":
    main()
