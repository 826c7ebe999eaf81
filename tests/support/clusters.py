"""Ray clusters of several nodes on one machine, that come and go as a test wants.

Ray lets nodes of one machine meet on open interfaces only: with its switch for the loopback alone, `ray start` takes no
second node. So a cluster has a network namespace of its own, in which there is nothing but a loopback, and whoever talks
to it enters that namespace first, with the words of `Cluster.words` before a command.
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
    """Kill a process and everything that it started, as a machine that loses its power would."""
    os.kill(process.pid, signal.SIGSTOP)  # it must not start anything meanwhile
    for pid in [process.pid, *descendants(process.pid)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=60)


#: How often a node is started where it takes longer than Ray allows.
STARTS = 4


def started(command, environment, said, is_there):
    """Start a node, and return its process when `is_there` says so; what it prints goes to the file `said`.

    Ray gives a node 30 s to start, whatever the machine has to do beside: it is tried again where that was too short.
    """
    for _ in range(STARTS):
        with said.open("w") as log:  # no pipe: nobody would read it
            node = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        eventually(lambda node=node: is_there() or node.poll() is not None)
        if node.poll() is None:
            return node
        assert "timed out during startup" in said.read_text(), said.read_text()
    raise AssertionError(f"started {STARTS} times in vain: {said.read_text()}")


#: What the autoscaler's settings must name, and what nodes on this machine need nothing of.
_NOTHING_TO_DO = (
    *("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands"),
    *("head_start_ray_commands", "worker_start_ray_commands"),
    *("cluster_synced_files", "rsync_exclude", "rsync_filter"),
)

HEAD = ("--head", "--port=6379", "--include-dashboard=false")


class Cluster:
    """A Ray cluster in a network namespace.

    Args:
        words: What enters the namespace, before a command.
        folder: For what Ray writes; short, since it names sockets there.
        more: Variables for the environment of every node.
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
        """Start the node that the others meet at, on port 6379."""
        return self._start([*HEAD], cpus, gpus, memory_mib, more)

    def start_autoscaling_head(self, cpus=1, most=2):
        """Start a head without CPUs whose autoscaler starts nodes of one kind, `worker`, where there is demand.

        Args:
            cpus: What such a node says it has; what starts nodes in tests can give them no memory to count.
            most: How many there may be.
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
        file = self._folder / "autoscaling.json"  # JSON is YAML
        file.write_text(json.dumps(config))
        more = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
        return self._start([*HEAD, f"--autoscaling-config={file}"], 0, 0, 512, more)

    def add_node(self, cpus=1, gpus=0, memory_mib=2048, before=(), **more):
        """Start a further node; returns its process, for `kill_node`, when it has begun to run.

        Args:
            cpus, gpus: How many it says it has.
            memory_mib: How much memory it says it has.
            before: Words before its command, such as those of `hiding`.
            more: Variables for its environment.
        """
        return self._start([f"--address={self.address}"], cpus, gpus, memory_mib, more, before)

    def _start(self, role, cpus, gpus, memory_mib, more, before=()):
        size = [f"--num-cpus={cpus}", f"--num-gpus={gpus}", f"--memory={memory_mib * 2**20}"]
        how = ["--block", "--node-ip-address=127.0.0.1", "--object-store-memory=100000000"]
        command = [*self.words, *before, str(Path(sys.executable).with_name("ray")), "start", *role, *size, *how]
        said = self._folder / f"node-{len(self._nodes)}.log"
        node = started(command, {**self._environment, **more}, said, lambda: "Ray runtime started" in said.read_text())
        self._nodes.append(node)
        return node  # the head knows of it by now

    def kill_node(self, node):
        """Let a node vanish without a word."""
        kill_all(node)

    def pause_node(self, node):
        """Cut a node off from the others, as far as they can see: all of it stands still until `resume_node`."""
        self._signal(node, signal.SIGSTOP)

    def resume_node(self, node):
        """Let a node that stood still go on."""
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
        """End every node that is left."""
        for node in reversed(self._nodes):
            if node.poll() is None:
                kill_all(node)


@contextmanager
def head(cpus):
    """Give the address of a Ray head on the loopback, for drivers in this process; it is ended afterwards."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)}
    environment |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # then Ray keeps to the loopback
    environment |= {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
    program = str(Path(sys.executable).with_name("ray"))
    command = [program, "start", "--head", "--block", "--port=0", "--node-ip-address=127.0.0.1", f"--num-cpus={cpus}"]
    command += ["--include-dashboard=false", "--object-store-memory=104857600"]
    with tempfile.TemporaryDirectory(prefix="r-") as folder:  # a short path: Ray puts sockets into it
        environment["RAY_TMPDIR"] = folder
        said, note = Path(folder, "said"), Path(folder, "ray/ray_current_cluster")
        process = started(command, environment, said, lambda: note.exists() and note.read_text())
        try:
            yield note.read_text().strip()
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE_S)


def hiding(folder):
    """Return words that hide what a folder holds from a command, as on a machine that does not share it."""
    return ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(folder)]


def can_have_namespaces():
    """Whether this user may make a network namespace, and has what it takes."""
    return os.getuid() == 0 and all(map(shutil.which, ("unshare", "nsenter", "ip")))


@contextmanager
def loopback():
    """Give words that enter a network of its own, with nothing but a loopback; skip a test where there is none."""
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
    """Give a cluster without nodes yet; at the end all that it has are killed."""
    with loopback() as words:
        folder = Path(tempfile.mkdtemp(prefix="r-"))  # pytest's folders have names too long for sockets
        made = Cluster(words, folder, **more)
        try:
            yield made
        finally:
            made.close()
            shutil.rmtree(folder, ignore_errors=True)
