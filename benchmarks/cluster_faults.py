"""Breaks a cluster of several nodes in every known way, and counts what a submitted sweep loses.

The nodes are those of `cluster/local/cluster.py`, which requires a token. The sweep is mirrored to a real tracking
server, and queried by a client that knows only the server's address. Each fault hits its own sweep, at a random moment
of its training:

driver     the driver's process is killed; the sweep is submitted again
node       a node is killed, and another one joins
cut        a node freezes, as if its network failed, until Ray has given it up and its work is done elsewhere
head       the whole cluster is killed at once and started again; the sweep is submitted again
stop       `sweeper stop`, and the sweep is submitted again
twice      the sweep is submitted several times while it runs
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from faults import KINDS, SPEC

from sweeper.errors import SweepError
from sweeper.ledger.home import Home
from sweeper.ledger.ledger import Ledger
from sweeper.trial import TrialRecord

ROOT = Path(__file__).parents[1]

#: Longest wait for any event, in seconds.
PATIENCE_S = 600


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def until(fact: Callable[[], Any], what: str) -> Any:
    limit = time.monotonic() + PATIENCE_S
    while not (found := fact()):
        if time.monotonic() > limit:
            sys.exit(f"waited {PATIENCE_S} s in vain for {what}")
        time.sleep(0.2)
    return found


def titles() -> dict[int, str]:
    """Return the command line of every process."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return found


def below(pid: int) -> list[int]:
    """Return a process and all of its descendants."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def send(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


class Cluster:
    """A cluster, a tracking server, and commands that use both."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._port, jobs = folder, free_port(), free_port()
        self.jobs, mlflow = f"http://127.0.0.1:{jobs}", free_port()
        self.tracking, self._jobs_port = f"http://127.0.0.1:{mlflow}", jobs
        hidden = ("RAY_", "SWEEPER_", "MLFLOW_")
        self._bare = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        self._bare |= {"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        script = [str(ROOT / "cluster/tracking/start-server.sh"), str(folder / "mlflow"), str(mlflow)]
        with (folder / "mlflow.log").open("w") as log:
            self._server = subprocess.Popen(script, env=self._bare, stdout=log, stderr=log, start_new_session=True)
        self.start()

    def recipe(self, *words: str) -> str:
        command = [sys.executable, str(ROOT / "cluster/local/cluster.py"), *words, "--folder", str(self.folder / "c")]
        return subprocess.run(command, env=self._bare, capture_output=True, text=True, check=True).stdout

    def start(self) -> None:
        self.recipe("start", "--nodes", "2", "--port", str(self._port), "--jobs-port", str(self._jobs_port))

    def sweeper(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.folder / "c/token")}
        environment |= {"RAY_API_SERVER_ADDRESS": self.jobs, "MLFLOW_TRACKING_URI": self.tracking}
        command = [sys.executable, "-m", "sweeper", *words]
        return subprocess.run(command, env=self._bare | environment, cwd=self.folder, capture_output=True, text=True)

    def raylet(self, number: int) -> int:
        lines = self.recipe("status").splitlines()
        return next(int(line.split()[-1]) for line in lines if line.startswith(f"node {number} "))

    def kill(self) -> None:
        """Kill the whole cluster at once, as if the power failed."""
        (pid,) = [pid for pid, title in titles().items() if f"serve {self.folder / 'c'} " in title]
        ours = {one for one in titles() if one in below(pid)} | {
            one for one, title in titles().items() if str(self.folder / "c") in title
        }
        send([pid, *ours], signal.SIGKILL)

    def close(self) -> None:
        with suppress(subprocess.CalledProcessError):
            self.recipe("stop")
        os.killpg(self._server.pid, signal.SIGTERM)
        self._server.wait()


class Broken:
    """One sweep that suffers one fault."""

    def __init__(self, cluster: Cluster, fault: str, kind: str, rng: random.Random) -> None:
        self._cluster, self.name, self._rng = cluster, f"{fault}-{kind}", rng
        self._fault = fault
        self._file = cluster.folder / f"{self.name}.yaml"
        self._file.write_text(SPEC.format(name=self.name) + KINDS[kind])
        self._sweep = Home(cluster.folder / "home").sweep(self.name)
        self._known: dict[str, TrialRecord] = {}
        self.repeated = 0

    def submit(self, *words: str) -> str:
        done = self._cluster.sweeper("submit", str(self._file), "--home", str(self._cluster.folder / "home"), *words)
        if done.returncode:
            sys.exit(f"{self.name}: {done.stdout}{done.stderr}")
        return done.stdout

    def _look(self) -> list[TrialRecord]:
        """Return all trials, and count finished ones that changed or disappeared since the last look."""
        records: list[TrialRecord] = []
        with suppress(SweepError):
            if self._sweep.is_planned:
                records = Ledger(self._sweep.ledger_url, self.name).records()
        now = {record.key: record for record in records if record.state.is_finished}
        self.repeated += sum(now.get(key) != record for key, record in self._known.items())
        self._known = now
        return records

    def _is_training(self) -> bool:
        return bool(list(Path(self._sweep.files, "checkpoints").glob("*.pt")))

    def run(self) -> dict[str, Any]:
        """Submit the sweep, cause the fault, and let the sweep finish."""
        self.submit()
        until(self._is_training, f"the first epoch of {self.name}")
        time.sleep(self._rng.uniform(0, 8))
        self._look()
        getattr(self, f"_{self._fault}")()
        waited = self._cluster.sweeper("submit", str(self._file), "--wait")
        if waited.returncode:
            print(waited.stdout, waited.stderr, self._cluster.sweeper("logs", self.name).stdout, file=sys.stderr)
        records = self._look()
        audit = self._cluster.sweeper("audit", self.name, "--home", str(self._cluster.folder / "home"), "--json")
        front = self._cluster.sweeper("pareto", self.name, "--tracking-uri", self._cluster.tracking, "--json")
        planned = Ledger(self._sweep.ledger_url, self.name).spec.planned
        return {
            "sweep": self.name,
            "exit": waited.returncode,
            "planned": planned,
            "ended": len(self._known),
            "stuck": sum(not record.state.is_finished for record in records),
            "repeated": self.repeated,
            "tries": sum(sum(record.retries.values()) for record in records),
            "promises": f"{sum(bool(p['holds']) for p in json.loads(audit.stdout)['promises'])} of 9",
            "front": front.returncode == 0,
        }

    def _driver(self) -> None:
        named = f"-m sweeper run spec.yaml --name {self.name} "
        drivers = [pid for pid, title in titles().items() if named in title and not title.startswith("/bin/sh")]
        send(drivers, signal.SIGKILL)
        self._until_over()

    def _until_over(self) -> None:
        """Wait until Ray has noticed that the job has ended."""

        def is_over() -> bool:
            done = self._cluster.sweeper("status", self.name, "--json")
            return done.returncode == 0 and json.loads(done.stdout)["status"] not in {"RUNNING", "PENDING"}

        until(is_over, f"the end of a job of {self.name}")

    def _node(self) -> None:
        number = self._cluster.recipe("status").splitlines()[-1].split()[1]
        self._cluster.recipe("kill", number)
        self._cluster.recipe("add")

    def _cut(self) -> None:
        number = int(self._cluster.recipe("status").splitlines()[-1].split()[1])
        node = below(self._cluster.raylet(number))
        send(node, signal.SIGSTOP)
        self._cluster.recipe("add")
        until(lambda: any(record.retries for record in self._look()), "what ran on a node that was cut off")
        send(node, signal.SIGCONT)

    def _head(self) -> None:
        self._cluster.kill()
        until(lambda: self._sweep.driver is None, "the end of the driver of a head that is gone")
        self._cluster.start()

    def _stop(self) -> None:
        self._cluster.sweeper("stop", self.name)

    def _twice(self) -> None:
        for _ in range(3):
            self.submit()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    faults = ["driver", "node", "cut", "head", "stop", "twice"]
    parser.add_argument("--faults", nargs="+", choices=faults, default=faults)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, is_whole = random.Random(args.seed), True
    with tempfile.TemporaryDirectory(prefix="sw-", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder))
        try:
            for fault in args.faults:
                for kind in args.kinds:
                    began = time.monotonic()
                    found = Broken(cluster, fault, kind, rng).run()
                    print(json.dumps(found | {"seconds": round(time.monotonic() - began)}), flush=True)
                    is_whole &= found["ended"] == found["planned"] and not found["stuck"] + found["repeated"]
                    is_whole &= found["exit"] == 0 and found["front"] and found["promises"].startswith("9 ")
        finally:
            cluster.close()
    sys.exit(0 if is_whole else 1)


if __name__ == "__main__":
    main()
