"""Compares the time that `sweeper plan` predicts with the actual time, from the first epoch to the last outcome.

    .venv/bin/python benchmarks/plan.py quickstart adaptive          # --busy 2: beside two busy processes

Aim: within 30 % of the actual time, also on a busy machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lattice import hardware
from overhead import run_child

import sweeper
from sweeper.ledger.home import Home
from sweeper.ledger.ledger import Ledger

#: Seconds until the busy processes run.
BEGUN_S = 2
AIM = 0.3


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Run a number of processes that keep processors busy."""
    begun = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        if begun:
            time.sleep(BEGUN_S)
        yield
    finally:
        for process in begun:
            process.kill()
            process.wait()


def happened(space: str, workers: int) -> float:
    """Return the seconds of a sweep's training, from the first seen end of an epoch to the last outcome."""
    with tempfile.TemporaryDirectory(prefix="plan-") as folder:
        home = Path(folder, "home")
        words = ["-m", "sweeper", "run", space, "--home", str(home), "--name", "planned", "--workers", str(workers)]
        _, _, seen, failure = run_child(words, Path(folder), home)
        if failure or not seen:
            raise SystemExit(failure or "no checkpoint was seen")
        records = Ledger(Home(home).known("planned").ledger_url, "planned").records()
        return max(record.ended_ms or 0 for record in records) / 1000 - seen


def main() -> int:
    """Print the table; return 1 if an estimate misses the aim."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spaces", nargs="+", help="names of shipped search spaces, or files")
    parser.add_argument("--busy", type=int, default=0, help="processes that want a processor all the time")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    print(f"{hardware('cpu')}; {given.workers} workers, {given.busy} busy processes\n")
    print("| space | load | planned, s | happened, s | planned by happened |\n|---|---:|---:|---:|---:|")
    is_near = True
    with busy(given.busy):
        for name in given.spaces:
            space = str(Path(name).resolve()) if Path(name).is_file() else name
            planned = sweeper.plan(space, workers=given.workers)
            took = happened(space, given.workers)
            ratio = planned.train_s / took
            is_near &= abs(ratio - 1) <= AIM
            cells = f"{planned.load:.1f} | {planned.train_s:.0f} | {took:.0f} | {ratio:.2f}"
            print(f"| {Path(name).stem} | {cells} |", flush=True)
    return 0 if is_near else 1


if __name__ == "__main__":
    sys.exit(main())
