"""A sweep at the command line, in a separate folder, and access to its processes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from sweeper.checks.audit import audit
from sweeper.ledger.home import Home
from sweeper.ledger.ledger import Ledger

ROOT = Path(__file__).parents[2]

#: Eight networks of two tasks, in populations of two.
GRID = """
name: fragile
task: {data: digits, train_images: 300, test_images: 100}
lattice: {channels: 6, layers: 2, steps: 4}
parameters:
  classes: {values: [4, 2]}
  breadth_pressure: {values: [0, 5e-4]}
  time_pressure: {values: [0.02, 0.2]}
training: {epochs: 24, batch_size: 16}
placement: {population: 2}
objectives:
  - {name: accuracy, goal: maximize}
  - {name: breadth, goal: minimize}
  - {name: time, goal: minimize}
reference_point: {accuracy: 0, breadth: 7, time: 5}
"""

#: Half of the grid: the four networks of its first task, with the same keys and populations.
HALF = GRID.replace("[4, 2]", "[4]")

#: Three settings with two replicates each, in both of two cells, most of them stopped early.
SEARCH = """
name: fragile
task: {data: digits, train_images: 300, test_images: 100}
lattice: {channels: 6, layers: 2, steps: 4}
parameters:
  classes: {values: [4, 2]}
  breadth_pressure: {distribution: log_uniform_values, min: 1e-5, max: 1e-2}
  time_pressure: {min: 0, max: 0.5}
training: {epochs: 12, batch_size: 16}
search: {trials: 3}
replicates: 2
early_stopping: {min_epochs: 4, factor: 2}
placement: {population: 2}
objectives: [{name: accuracy, goal: maximize}, {name: time, goal: minimize}]
reference_point: {accuracy: 0, time: 5}
"""

#: Longest wait for a fact, in seconds; long, because the machine may be busy. No test depends on the actual time.
PATIENCE_S = 600


def eventually(fact, process=None):
    """Wait until `fact` returns something true, and return that; fail early if the process that causes it has ended."""
    limit = time.monotonic() + PATIENCE_S
    while not (found := fact()):
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < limit, f"waited {PATIENCE_S} s in vain"
        time.sleep(0.1)
    return found


def descendants(pid):
    """Return the titles of all descendants of a process, by process id."""
    children: dict[int, list[int]] = {}
    titles = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            titles[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # the process has ended since
        children.setdefault(parent, []).append(int(entry.name))
    found, todo = {}, [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            found[child] = titles.get(child, "")
            todo.append(child)
    return found


def workers(pid):
    """Return the ids of the training Ray workers among a process's descendants."""
    return [child for child, title in descendants(pid).items() if title.startswith("ray::ImplicitFunc")]


def assert_audited(home, name, promises=9):
    """Check that a sweep keeps all promises. A user's own function has one promise less, because it has no networks."""
    found = audit(Home(home).known(name), Home(home).tracking_uri_of(name))
    assert {promise.text: promise.said for promise in found if promise.holds is not True} == {}
    assert len(found) == promises


class Cli:
    """The command line in a separate folder.

    Args:
        folder: Current folder of the commands.
        spec: Spec of the sweep named fragile.
        home: The home of sweeps; `sweeps` in that folder by default.
        before: Words before each command, such as those that enter a namespace.
        more: Environment variables of each command.
    """

    def __init__(self, folder, spec=GRID, home=None, before=(), **more):
        self.folder, self.home, self._before = folder, home or folder / "sweeps", before
        hidden = ("SWEEPER_", "MLFLOW_", "RAY_")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        self.environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}
        self.options = [] if home is None else ["--home", str(home)]
        (folder / "fragile.yaml").write_text(spec)

    def start(self, command, *words, to=subprocess.PIPE):
        """Start a command in its own process group, as a terminal would; `to` receives all of its output."""
        return subprocess.Popen(
            [*self._before, sys.executable, "-m", "sweeper", command, *words, *self.options],
            cwd=self.folder,
            env=self.environment,
            stdout=to,
            stderr=subprocess.PIPE if to is subprocess.PIPE else subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words):
        process = self.start(*words)
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out, err

    def end(self, process):
        """Wait for a driver's end, which must be successful; return all of its output."""
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, out + err
        return out + err

    def kill(self, process):
        """Kill a driver as `kill -9` does."""
        process.send_signal(signal.SIGKILL)
        process.communicate()

    @property
    def sweep(self):
        return Home(self.home).sweep("fragile")

    @property
    def tracking_uri(self):
        return Home(self.home).tracking_uri

    def records(self):
        """Return the ledger's records, by key."""
        with closing(Ledger(self.sweep.ledger_url, "fragile")) as ledger:
            return {record.key: record for record in ledger.records()}

    def finished(self):
        return {key: record for key, record in self.records().items() if record.state.is_finished}

    def counts(self):
        code, out, err = self.run("status", "fragile", "--json")
        assert code == 0, err
        return json.loads(out)

    def checkpoints(self):
        found = (Path(self.sweep.files) / "checkpoints").glob("*.pt")
        return {path.name: path.stat().st_mtime_ns for path in found}

    def wait_for_training(self, process):
        """Wait for a new checkpoint: then at least one worker is in the middle of a training."""
        before = self.checkpoints()
        eventually(lambda: self.checkpoints() != before, process)

    def wait_for_outcome(self, process, more=1):
        """Wait until `more` additional trials have an outcome."""
        before = self._outcomes()
        eventually(lambda: self._outcomes() >= before + more, process)

    def _outcomes(self):
        """Count outcomes by SQL, because opening the whole ledger takes processor time that the sweep needs."""
        if not self.sweep.is_planned:
            return 0
        with closing(sqlite3.connect(self.sweep.path / "ledger.db", timeout=60)) as database:
            counted = "SELECT count(*) FROM trials WHERE state NOT IN ('WAITING', 'RUNNING')"
            return database.execute(counted).fetchone()[0]

    def audit(self, promises=9):
        """Check all promises, in this process, because a command spends seconds on its imports."""
        assert_audited(self.home, "fragile", promises)
