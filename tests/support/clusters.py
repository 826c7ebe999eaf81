"""Ray clusters of several nodes on one machine, which tests start and end as they need.

Ray lets nodes of one machine meet only on open interfaces: with its switch for the loopback, `ray start` takes no
second node. So each cluster has its own network namespace with nothing but a loopback. A process that talks to the
cluster must first enter that namespace, with the words of `Cluster.words` before its command.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.faults.rig import PATIENCE_S, ROOT, descendants, eventually


def kill_all(process):
    """Kill a process and everything that it started, as a power failure would."""
    os.kill(process.pid, signal.SIGSTOP)  # so that it starts nothing meanwhile
    for pid in [process.pid, *descendants(process.pid)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=60)


#: Most attempts to start a node that takes longer than Ray allows.
STARTS = 4


def started(command, environment, said, is_there):
    """Start a node, and return its process once `is_there` returns True; the node's output goes to the file `said`.

    Ray gives a node 30 s to start, however busy the machine is; a node that was too slow is started again.
    """
    for _ in range(STARTS):
        with said.open("w") as log:  # no pipe, because nobody would read it
            node = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        eventually(lambda node=node: is_there() or node.poll() is not None)
        if node.poll() is None:
            return node
        assert "timed out during startup" in said.read_text(), said.read_text()
    raise AssertionError(f"started {STARTS} times in vain: {said.read_text()}")


#: Settings that the autoscaler requires, but that nodes on this machine do not need.
_NOTHING_TO_DO = (
    *("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands"),
    *("head_start_ray_commands", "worker_start_ray_commands"),
    *("cluster_synced_files", "rsync_exclude", "rsync_filter"),
)

HEAD = ("--head", "--port=6379", "--include-dashboard=false")


class Cluster:
    """A Ray cluster in a network namespace.

    Args:
        words: Words before a command that enter the namespace.
        folder: Folder for Ray's files; its path must be short, because sockets lie in it.
        more: Environment variables of every node.
    """

    address = "127.0.0.1:6379"

    def __init__(self, words, folder, **more):
        self.words = words
        self._folder = folder
        self._nodes: list[subprocess.Popen] = []
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self._environment |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": str(folder)}
        self._environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}

    def start_head(self, cpus=1, gpus=0, memory_mib=2048, **more):
        """Start the head, on port 6379."""
        return self._start([*HEAD], cpus, gpus, memory_mib, more)

    def start_autoscaling_head(self, cpus=1, most=2):
        """Start a head without CPUs whose autoscaler starts nodes of one kind, `worker`, on demand.

        Args:
            cpus: CPUs that such a node reports; this test provider cannot give nodes memory to reserve.
            most: Largest number of such nodes.
        """
        size = {"CPU": cpus, "object_store_memory": 100_000_000}
        kinds = {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {"resources": size, "node_config": {}, "min_workers": 0, "max_workers": most},
        }
        config = {
            "cluster_name": "fake",
            "provider": {"type": "fake_multinode", "use_node_id_as_ip": True},
            "available_node_types": kinds,
            "head_node_type": "ray.head.default",
            "max_workers": most,
            "idle_timeout_minutes": 10,
            "upscaling_speed": 1.0,
            "file_mounts_sync_continuously": False,
            **{name: {} for name in ("auth", "docker", "file_mounts")},
            **{name: [] for name in _NOTHING_TO_DO},
        }
        file = self._folder / "autoscaling.json"  # JSON is valid YAML
        file.write_text(json.dumps(config))
        more = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
        return self._start([*HEAD, f"--autoscaling-config={file}"], 0, 0, 512, more)

    def add_node(self, cpus=1, gpus=0, memory_mib=2048, before=(), **more):
        """Start a further node; return its process, for `kill_node`, once the node runs.

        Args:
            cpus, gpus: Numbers of CPUs and GPUs that the node reports.
            memory_mib: Memory that the node reports.
            before: Words before its command, such as those of `hiding`.
            more: Environment variables of the node.
        """
        return self._start([f"--address={self.address}"], cpus, gpus, memory_mib, more, before)

    def _start(self, role, cpus, gpus, memory_mib, more, before=()):
        size = [f"--num-cpus={cpus}", f"--num-gpus={gpus}", f"--memory={memory_mib * 2**20}"]
        how = ["--block", "--node-ip-address=127.0.0.1", "--object-store-memory=100000000"]
        command = [*self.words, *before, str(Path(sys.executable).with_name("ray")), "start", *role, *size, *how]
        said = self._folder / f"node-{len(self._nodes)}.log"
        node = started(command, {**self._environment, **more}, said, lambda: "Ray runtime started" in said.read_text())
        self._nodes.append(node)
        return node  # the head knows the node by now

    def kill_node(self, node):
        """Kill a node without a farewell to the others."""
        kill_all(node)

    def pause_node(self, node):
        """Make a node look cut off to the others: all its processes are stopped until `resume_node`."""
        self._signal(node, signal.SIGSTOP)

    def resume_node(self, node):
        """Continue a paused node."""
        self._signal(node, signal.SIGCONT)

    def _signal(self, node, number):
        for pid in [node.pid, *descendants(node.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def run(self, *command, **more):
        """Run a command in the namespace, and return its output."""
        done = subprocess.run(
            [*self.words, *command],
            env={**self._environment, **more},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def close(self):
        """End all remaining nodes."""
        for node in reversed(self._nodes):
            if node.poll() is None:
                kill_all(node)


@contextmanager
def head(cpus):
    """Yield the address of a Ray head on the loopback, for drivers in this process; end the head afterwards."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)}
    environment |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # makes Ray use only the loopback
    environment |= {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
    program = str(Path(sys.executable).with_name("ray"))
    command = [program, "start", "--head", "--block", "--port=0", "--node-ip-address=127.0.0.1", f"--num-cpus={cpus}"]
    command += ["--include-dashboard=false", "--object-store-memory=104857600"]
    with tempfile.TemporaryDirectory(prefix="r-") as folder:  # a short path, because Ray puts sockets into it
        environment["RAY_TMPDIR"] = folder
        said, note = Path(folder, "said"), Path(folder, "ray/ray_current_cluster")
        process = started(command, environment, said, lambda: note.exists() and note.read_text())
        try:
            yield note.read_text().strip()
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE_S)


def hiding(folder):
    """Return words that hide a folder's content from a command, as on a machine that does not share the folder."""
    return ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(folder)]


def can_have_namespaces():
    """Return whether this user may make a network namespace and has the programs for it."""
    return os.getuid() == 0 and all(map(shutil.which, ("unshare", "nsenter", "ip")))


@contextmanager
def loopback():
    """Yield words that enter a new network with nothing but a loopback; skip the test if none can be made."""
    if not can_have_namespaces():
        pytest.skip("a cluster of several nodes needs a network namespace: root, unshare, nsenter and ip")
    holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], stderr=subprocess.DEVNULL)
    words = ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]
    try:
        outside = os.readlink("/proc/self/ns/net")
        eventually(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != outside, holder)
        subprocess.run([*words, "ip", "link", "set", "lo", "up"], check=True, timeout=30)
        yield words
    finally:
        holder.kill()
        holder.communicate()


@contextmanager
def cluster(**more):
    """Yield a cluster that has no nodes yet; kill all its nodes at the end."""
    with loopback() as words:
        folder = Path(tempfile.mkdtemp(prefix="r-"))  # the names of pytest's folders are too long for sockets
        made = Cluster(words, folder, **more)
        try:
            yield made
        finally:
            made.close()
            shutil.rmtree(folder, ignore_errors=True)
