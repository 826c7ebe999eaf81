"""Kills the drivers of grids and searches with SIGKILL at random moments, and counts the losses.

About half of the moments, drawn at random, are counted from the driver's start, so that they hit planning and Ray's
start. The others are counted from the end of the first epoch, so that they hit training and mirroring.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

from sweeper.errors import SweepError
from sweeper.ledger.home import Home
from sweeper.ledger.ledger import Ledger
from sweeper.trial import TrialRecord

ROOT = Path(__file__).parents[1]

SPEC = """
name: {name}
task: {{data: digits, train_images: 300, test_images: 100}}
lattice: {{channels: 6, layers: 2, steps: 4}}
training: {{epochs: 24, batch_size: 16}}
placement: {{population: 2}}
objectives: [{{name: accuracy, goal: maximize}}, {{name: breadth, goal: minimize}}, {{name: time, goal: minimize}}]
reference_point: {{accuracy: 0, breadth: 7, time: 5}}
"""

KINDS = {
    "grid": """
parameters:
  classes: {values: [4, 2]}
  breadth_pressure: {values: [0, 3e-4, 5e-4, 1e-3]}
  time_pressure: {values: [0.02, 0.2]}
""",
    "search": """
parameters:
  classes: {values: [4, 2]}
  breadth_pressure: {distribution: log_uniform_values, min: 1e-5, max: 1e-2}
  time_pressure: {min: 0, max: 0.5}
search: {trials: 5}
replicates: 2
early_stopping: {min_epochs: 6, factor: 2}
""",
}


class Killed:
    """One sweep whose driver is killed again and again, with counts of its losses."""

    def __init__(self, kind: str, number: int, folder: Path) -> None:
        self.name, self.kind, self._folder = f"{kind}-{number}", kind, folder
        self._file = folder / f"{self.name}.yaml"
        self._file.write_text(SPEC.format(name=self.name) + KINDS[kind])
        self._sweep = Home(folder / "sweeps").sweep(self.name)
        self._known: dict[str, TrialRecord] = {}
        self._kills, self.repeated, self.epochs_s, self.lost_s = 0, 0, list[float](), list[float]()

    def start(self) -> subprocess.Popen[str]:
        words = ["resume", self.name] if self._sweep.is_planned else ["run", str(self._file)]
        return self._command(*words, "--workers", "2")

    def _command(self, *words: str) -> subprocess.Popen[str]:
        hidden = ("SWEEPER_", "MLFLOW_", "RAY_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        with (self._folder / f"{self.name}.log").open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "sweeper", *words],
                cwd=self._folder,
                env=environment | {"PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE if words[0] == "audit" else log,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def said(self) -> str:
        """Return the output of its drivers."""
        return (self._folder / f"{self.name}.log").read_text()

    def checkpoints(self, since: float) -> dict[str, list[float]]:
        """Return the times at which each population's checkpoints were written, of those written after `since`."""
        found: dict[str, list[float]] = {}
        for path in Path(self._sweep.files, "checkpoints").glob("*.pt"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime > since:
                    found.setdefault(path.name.split(".")[0], []).append(path.stat().st_mtime)
        return found

    def kill(self, process: subprocess.Popen[str], started: float) -> str:
        """Kill the driver, and describe what it was doing."""
        process.kill()
        now = time.time()
        ended = process.wait()
        self._kills += 1
        records = self._records()
        self._compare(records)
        at = "had ended by itself" if ended >= 0 else f"killed after {now - started:5.1f} s"
        return f"{self.name:9} {at}: {self._stage(records)}{self._lost(started, now)}"

    def _records(self) -> list[TrialRecord]:
        with suppress(SweepError):
            if self._sweep.is_planned:
                return Ledger(self._sweep.ledger_url, self.name).records()
        return []

    def _compare(self, records: list[TrialRecord]) -> None:
        """Count finished trials that changed or disappeared since the last look."""
        now = {record.key: record for record in records if record.state.is_finished}
        self.repeated += sum(now.get(key) != record for key, record in self._known.items())
        self._known = now

    def _stage(self, records: list[TrialRecord]) -> str:
        if not records:
            return "nothing was planned yet" if not self._sweep.is_planned else "a ledger, no trial in it"
        states = Counter(str(record.state) for record in records)
        return f"{len(records)} trials in the ledger: " + ", ".join(f"{n} {s}" for s, n in sorted(states.items()))

    def _lost(self, started: float, now: float) -> str:
        """Describe what the workers lost: the time since the last checkpoint that each wrote under this driver."""
        driver = self._sweep.path / "driver.json"  # before a driver writes it, former workers may still write
        found = self.checkpoints(max(started, driver.stat().st_mtime)) if driver.exists() else {}
        self.epochs_s += [max(times) - min(times) for times in found.values() if len(times) == 2]
        ended = {record.population for record in self._known.values()}
        lost = [max(0.0, now - max(times)) for key, times in found.items() if key not in ended]
        self.lost_s += lost
        return "; since their last checkpoints " + ", ".join(f"{s:.2f} s" for s in lost) if lost else ""

    def end(self) -> dict[str, Any]:
        """Let the sweep finish, and audit it."""
        code = self.start().wait()
        records = self._records()
        self._compare(records)
        found = json.loads(self._command("audit", self.name, "--json").communicate()[0])
        planned = Ledger(self._sweep.ledger_url, self.name).spec.planned
        keys = Counter(record.key for record in records)
        return {
            "name": self.name,
            "kills": self._kills,
            "exit code": code,
            "trials": planned,
            "lost": planned - len(keys),
            "repeated": self.repeated + keys.total() - len(keys),
            "stuck": sum(not record.state.is_finished for record in records),
            "promises": [promise["text"] for promise in found["promises"] if promise["holds"] is not True],
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=15, help="of the seconds until a kill")
    options = parser.parse_args()
    dice = random.Random(options.seed)
    print(f"{options.kills} kills, seed {options.seed}, load before {os.getloadavg()[0]:.1f}", flush=True)
    ended, epochs, lost = [], list[float](), list[float]()
    with tempfile.TemporaryDirectory(prefix="sweeper-faults-") as folder:
        for kind, kills in (("grid", options.kills - options.kills // 2), ("search", options.kills // 2)):
            left, number = kills, 0
            while left:
                number += 1
                sweep = Killed(kind, number, Path(folder))
                while left:
                    started, process = time.time(), sweep.start()
                    is_training = dice.random() < 0.5
                    moment = dice.uniform(0, options.longest)
                    while is_training and process.poll() is None and not sweep.checkpoints(started):
                        time.sleep(0.05)
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(timeout=moment)
                    if process.poll() == 0:
                        break  # the sweep has ended: kill the next one
                    if process.poll() is not None:
                        sys.exit(f"{sweep.name} ended with {process.returncode}:\n{sweep.said()}")
                    print(sweep.kill(process, started), flush=True)
                    left -= 1
                ended.append(sweep.end())
                epochs, lost = epochs + sweep.epochs_s, lost + sweep.lost_s
                print(json.dumps(ended[-1]), flush=True)
    epoch = median(epochs) if epochs else float("nan")
    shares = sorted(seconds / epoch for seconds in lost)
    totals = {name: sum(one[name] for one in ended) for name in ("kills", "trials", "lost", "repeated", "stuck")}
    print(", ".join(f"{value} {name}" for name, value in totals.items()))
    if shares:
        print(
            f"work lost by a worker: {len(shares)} times, median {median(shares):.2f} and at most {shares[-1]:.2f} "
            f"of an epoch, which took {epoch:.2f} s (median)"
        )
    is_kept = all(not one["promises"] and one["exit code"] == 0 for one in ended)
    sys.exit(0 if is_kept and not totals["lost"] + totals["repeated"] + totals["stuck"] else 1)


if __name__ == "__main__":
    main()
