"""A cluster of several nodes on this machine, started and stopped by the same recipe as users have."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from tests.faults.rig import PATIENCE_S, ROOT, descendants

RECIPE = ROOT / "cluster/local/cluster.py"


class LocalCluster:
    """A cluster in a separate folder, and a client that knows its job server and its token's file."""

    def __init__(self, folder, mode="token"):
        self.folder, self.mode = folder, mode
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
            self.ports = one.getsockname()[1], other.getsockname()[1]
        self.jobs = f"http://127.0.0.1:{self.ports[1]}"
        hidden = ("RAY_", "SWEEPER_", "MLFLOW_")
        self._bare = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        self._bare |= {"PYTHONPATH": str(ROOT), "COLUMNS": "120"}

    @property
    def address(self):
        """Address at which drivers find the head."""
        return f"127.0.0.1:{self.ports[0]}"

    def recipe(self, *words):
        command = [sys.executable, str(RECIPE), *map(str, words), "--folder", str(self.folder)]
        environment = {**self._bare, "RAY_AUTH_MODE": self.mode}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)

    def start(self, nodes=2):
        done = self.recipe("start", "--nodes", nodes, "--port", self.ports[0], "--jobs-port", self.ports[1])
        assert done.returncode == 0, done.stdout + done.stderr
        return self

    def node(self, number):
        """Return the process ids of a node's raylet and of its descendants."""
        (line,) = [line for line in self.recipe("status").stdout.splitlines() if line.startswith(f"node {number} ")]
        raylet = int(line.split()[-1])
        return [raylet, *descendants(raylet)]

    @property
    def token(self):
        return (self.folder / "token").read_text()

    @property
    def environment(self):
        """Environment variables of a client."""
        return {**self._bare, "RAY_AUTH_MODE": self.mode, "RAY_AUTH_TOKEN_PATH": str(self.folder / "token")}

    def sweeper(self, *words, environment=None):
        """Run a command line; return exit code, output and errors."""
        command = [sys.executable, "-m", "sweeper", *map(str, words)]
        done = subprocess.run(
            command,
            env=environment or self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    def status(self, name):
        """Return the newest job of a sweep."""
        code, out, err = self.sweeper("status", name, "--address", self.jobs, "--json")
        assert code == 0, err
        return json.loads(out)

    def close(self):
        self.recipe("stop")
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def local_cluster(nodes=2, mode="token", token=None):
    """Yield a cluster, and stop it.

    Args:
        nodes: Number of nodes with one CPU each, beside the head, which has none.
        mode: Mode of authentication.
        token: Replaces the token that the recipe makes.
    """
    folder = Path(tempfile.mkdtemp(prefix="sw-"))  # the names of pytest's folders are too long for sockets
    if token:
        (folder / "token").write_text(token)
    made = LocalCluster(folder, mode)
    try:
        yield made.start(nodes)
    finally:
        made.close()
