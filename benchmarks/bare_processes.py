"""Runs the trainings of a sweep in bare processes: no Ray, ledger, MLflow or checkpoints. Part (b) of overhead.py.

This is the least that a sweep can cost with its populations on this many processes. torch and the images are loaded
once, before the workers are forked, so that nothing is paid twice. No stricter baseline runs the same trainings.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from sweeper.driver.needs import population_size
from sweeper.job import Job
from sweeper.ledger.populations import Population, form_populations
from sweeper.model.compute import use_threads
from sweeper.spec import load_spec
from sweeper.training import forecast
from sweeper.training import train as objective
from sweeper.trial import Ended, Outcome


def populations_of(space: str, workers: int) -> list[Population]:
    """Return the populations that `sweeper run SPACE --workers N` plans."""
    spec = load_spec(space).spec
    budget = forecast.memory_budget(forecast.check(spec.settings()))
    return form_populations(spec.settings(), population_size(spec, workers, budget))


def train(job: Job) -> Sequence[Ended]:
    return objective.train_population(job, lambda _: None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", help="a YAML file, or the name of a shipped space")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write what each network measured, as JSON")
    args = parser.parse_args()
    use_threads(1)  # before the fork, which a pool of threads does not survive
    jobs = [
        Job(
            key=population.key,
            task=population.task,
            keys=population.keys,
            settings=tuple(setting.flat() for setting in population.settings),
            wanted=(True,) * len(population.keys),
        )
        for population in populations_of(args.space, args.workers)
    ]
    networks: dict[str, dict[str, float]] = {}
    failed = []
    with ProcessPoolExecutor(args.workers, multiprocessing.get_context("fork")) as pool:
        for job, ended in zip(jobs, pool.map(train, jobs), strict=True):  # one shared queue, in plan order
            for key, member in zip(job.keys, ended, strict=True):
                if member.outcome is Outcome.COMPLETE:
                    networks[key] = dict(member.measurement)
                else:
                    failed.append(f"{key}: {member.outcome}: {member.reason}")
    if args.out:
        args.out.write_text(json.dumps(networks), encoding="utf-8")
    print(f"{len(networks)} networks trained, {len(failed)} failed")
    sys.exit("\n".join(failed) or 0)


if __name__ == "__main__":
    main()
