"""Measures `sweeper audit` on a large sweep with a real ledger, MLflow and network files; only training is left out."""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sweeper import model
from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.job import Job, Progress
from sweeper.measurements import MEASUREMENTS
from sweeper.spec import load_spec
from sweeper.trial import Ended, Outcome

SPEC = """\
name: large
task: {{data: digits, train_images: 50, test_images: 50}}
parameters:
  time_pressure: {{values: {pressures}}}
replicates: 5
placement: {{population: 8}}
objectives:
  - {{name: accuracy, goal: maximize}}
  - {{name: time, goal: minimize}}
reference_point: {{accuracy: 0, time: 7}}
"""
CURVE_POINTS = 10


def network_of(key: str) -> model.Lattice:
    """Return a network whose size depends on the key, since cut networks differ in size."""
    sizes = random.Random(key)
    channels = tuple(sizes.randint(2, 12) for _ in range(sizes.randint(1, 4)))
    return model.Lattice(model.Window(channels, 4, (1, 8, 8), 10), [0])


def train_at_once(job: Job, report: Callable[[Progress], None]) -> list[Ended]:
    """Replace training: write networks of the usual size, and make measurements up."""
    ended = []
    for key, setting, network in zip(job.keys, job.settings, job.networks, strict=True):
        chance = random.Random(key)
        measured = {name: chance.uniform(0, 5) for name in MEASUREMENTS}
        description = {"key": key, "setting": dict(setting), "measurement": measured, "step_dist": [0.25] * 4}
        model.save(network_of(key), description, network)
        curve = [{"epoch": e, "accuracy": chance.random(), "loss": chance.random()} for e in range(1, CURVE_POINTS + 1)]
        ended.append(Ended(Outcome.COMPLETE, "", measured, {"channels_per_layer": [4, 2]}, curve))
    return ended


def main() -> None:
    """Make a sweep, audit it in another process, and print times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500, help="a multiple of 5; 5000 take about ten minutes to make")
    trials = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as folder:
        space = Path(folder, "large.yaml")
        space.write_text(SPEC.format(pressures=[number / trials for number in range(trials // 5)]), encoding="utf-8")
        started = time.perf_counter()
        Sweep("large", folder).run(load_spec(space), executor=InlineExecutor(), work=train_at_once)
        print(f"{trials} trials made in {time.perf_counter() - started:.0f} s")
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "sweeper", "audit", "large", "--home", folder], check=False)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        worked_s, mib = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
        print(
            f"audited in {time.perf_counter() - started:.1f} s ({worked_s:.1f} s of one processor, {mib:.0f} MiB); "
            f"exit code {done.returncode}"
        )


if __name__ == "__main__":
    main()
