"""Measures the mirror's rate, and plain MLflow's, in a SQLite file and on servers with SQLite, PostgreSQL and login."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from query import CORNER, OBJECTIVES, TASKS, a_trial

from sweeper.analysis.fronts import compute_front
from sweeper.analysis.trials import aims
from sweeper.tracking.mlflow.client import connect
from sweeper.tracking.mlflow.recorder import MlflowRecorder
from sweeper.tracking.mlflow.runs import trial_metrics, trial_params, trial_tags
from sweeper.tracking.recorder import SweepFacts
from sweeper.trial import TrialRecord
from tests.support import servers

ADMIN, PASSWORD = "admin", "one for benchmarks only"
EPOCHS = 24


@dataclass
class Place:
    """A place that runs are mirrored to, and the rates measured there, in runs a second."""

    name: str
    uri: str
    rates: dict[str, list[float]] = field(default_factory=dict)


def trials(count: int, sweep: str) -> list[TrialRecord]:
    """Make trials up, with a curve of `EPOCHS` epochs of five measurements each."""
    made = []
    for number in range(count):
        trial = a_trial(number, TASKS[0])
        curve = [
            {"epoch": epoch, "accuracy": trial.measurement["accuracy"] * epoch / EPOCHS, "loss": 1 / epoch}
            | {name: trial.measurement[name] for name in ("breadth", "depth", "time")}
            for epoch in range(1, EPOCHS + 1)
        ]
        made.append(replace(trial, sweep=sweep, key=uuid.uuid4().hex[:16], curve=curve))
    return made


def opened(uri: str, sweep: str) -> MlflowRecorder:
    recorder = MlflowRecorder(uri)
    recorder.open(SweepFacts(sweep, f"name: {sweep}\n", "{}", {}, aims=aims(OBJECTIVES, CORNER)))
    return recorder


def in_batches(client: Any, experiment: str, trial: TrialRecord) -> None:
    """Write a trial as a careful user of MLflow would: a run, one batch, its end."""
    from mlflow.entities import Metric, Param

    run = client.create_run(experiment, start_time=trial.started_ms, tags=trial_tags(trial)).info.run_id
    metrics = [Metric(name, value, ms, step) for name, value, step, ms in trial_metrics(trial)]
    client.log_batch(run, metrics, [Param(name, value) for name, value in trial_params(trial).items()])
    client.set_terminated(run, "FINISHED", end_time=trial.ended_ms)


def one_by_one(client: Any, experiment: str, trial: TrialRecord) -> None:
    """Write a trial as MLflow's examples do: a call for every value."""
    run = client.create_run(experiment).info.run_id
    for name, value in trial_params(trial).items():
        client.log_param(run, name, value)
    for name, value, step, _ in trial_metrics(trial):
        client.log_metric(run, name, value, step=step)
    client.set_terminated(run, "FINISHED")


def rate(write: Callable[[TrialRecord], None], records: Sequence[TrialRecord]) -> float:
    started = time.perf_counter()
    for record in records:
        write(record)
    return len(records) / (time.perf_counter() - started)


def measure(place: Place, count: int) -> None:
    """Measure one round: sweeper's recorder, plain MLflow, and a few runs value by value."""
    sweep = f"round-{uuid.uuid4().hex[:8]}"
    recorder, client = opened(place.uri, sweep), connect(place.uri)
    location = None if place.uri.startswith("http") else (Path(place.uri[10:]).parent / "plain").as_uri()
    experiment = client.create_experiment(f"{sweep}-plain", location)
    parts = {
        "sweeper": (recorder.record, trials(count, sweep)),
        "batch": (lambda trial: in_batches(client, experiment, trial), trials(count, sweep)),
        "value": (lambda trial: one_by_one(client, experiment, trial), trials(max(2, count // 50), sweep)),
    }
    for name, (write, records) in parts.items():
        place.rates.setdefault(name, []).append(rate(write, records))
    front = compute_front(
        parts["sweeper"][1], sweep=sweep, task=TASKS[0], objectives=OBJECTIVES, reference_point=CORNER
    )
    started = time.perf_counter()
    recorder.record_front(front)
    place.rates.setdefault("front", []).append(time.perf_counter() - started)
    recorder.close("FINISHED")


def side_by_side(uri: str, threads: int, count: int) -> float:
    """Return how many runs a second several threads of one driver write; the product has one thread."""
    recorder = opened(uri, sweep := f"threads-{uuid.uuid4().hex[:8]}")
    records = trials(count, sweep)
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        list(pool.map(recorder.record, records))
        return count / (time.perf_counter() - started)


def drive(uri: str, count: int, ready: Any, go: Any, results: Any) -> None:
    """Run as one of several drivers, and report when it began and ended."""
    recorder, records = opened(uri, sweep := f"driver-{uuid.uuid4().hex[:8]}"), trials(count, f"{os.getpid()}")
    ready.put(sweep)
    go.wait()
    started = time.time()
    for record in records:
        recorder.record(record)
    results.put((started, time.time()))


def together(uri: str, drivers: int, count: int) -> float:
    """Return how many runs a second several drivers reach at once, from the first start to the last end."""
    context = multiprocessing.get_context("spawn")
    ready, go, results = context.Queue(), context.Event(), context.Queue()
    processes = [
        context.Process(target=drive, args=(uri, count, ready, go, results), daemon=True) for _ in range(drivers)
    ]
    for process in processes:
        process.start()
    for _ in processes:
        ready.get(timeout=300)
    go.set()
    spans = [results.get(timeout=600) for _ in processes]
    for process in processes:
        process.join()
    return drivers * count / (max(end for _, end in spans) - min(start for start, _ in spans))


@contextmanager
def places(folder: Path, workers: int) -> Iterator[list[Place]]:
    """Start all servers, and yield the places that runs can be mirrored to."""
    password = folder / "admin"
    password.write_text(PASSWORD, encoding="utf-8")
    password.chmod(0o600)
    login = ["--auth", "--admin-password-file", str(password)]
    more = ["--workers", str(workers)]
    with (
        servers.postgres() as postgres,
        servers.tracking(folder / "sqlite", *more) as on_sqlite,
        servers.tracking(folder / "postgres", *more, *database(postgres, folder)) as on_postgres,
        servers.tracking(folder / "login", *more, *database(postgres, folder), *login) as with_login,
    ):
        (folder / "file").mkdir()
        yield [
            Place("SQLite file", f"sqlite:///{folder / 'file' / 'mlflow.db'}"),
            Place("server, SQLite", on_sqlite.uri),
            Place("server, PostgreSQL", on_postgres.uri),
            Place("server, PostgreSQL, login", with_login.uri),
        ]


def database(postgres: servers.Postgres, folder: Path) -> list[str]:
    """Return the options for a new database, with its writes synced to disk as in production."""
    name = postgres.new_database().rpartition("/")[2]
    postgres.sync_writes()
    secret = folder / "database"
    secret.write_text(postgres.password, encoding="utf-8")
    secret.chmod(0o600)
    return ["--database", postgres.url(name, ""), "--database-password-file", str(secret)]


def row(place: Place) -> str:
    middle = {name: statistics.median(found) for name, found in place.rates.items()}
    span = f"{min(place.rates['sweeper']):.0f}–{max(place.rates['sweeper']):.0f}"
    own, batch, value = middle["sweeper"], middle["batch"], middle["value"]
    return (
        f"| {place.name} | {own:.1f} | {span} | {batch:.1f} | {own / batch:.2f} | {value:.2f} | {own / value:.0f} "
        f"| {middle['front'] * 1000:.0f} |"
    )


def main() -> None:
    """Measure the places in turn, round after round, so that other load affects all alike."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200, help="a round and place")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1, help="processes of each server")
    parser.add_argument("--drivers", type=int, default=0, help="measure so many drivers at once, on servers")
    parser.add_argument("--threads", type=int, nargs="*", default=[], help="measure so many threads of one driver")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # otherwise its servers would outlive it
    os.environ |= {"MLFLOW_TRACKING_USERNAME": ADMIN, "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    with tempfile.TemporaryDirectory(prefix="tracking-") as scratch, places(Path(scratch), args.workers) as found:
        load = os.getloadavg()[0]
        print(f"{args.trials} trials, {args.rounds} rounds, {args.workers} server processes, load {load:.1f}\n")
        if args.drivers:
            print(f"| place | runs/s of {args.drivers} drivers |\n|---|---:|")
            for place in found[1:]:
                print(f"| {place.name} | {together(place.uri, args.drivers, args.trials):.1f} |", flush=True)
            return
        if args.threads:
            print(f"| place | {' | '.join(f'{number} threads' for number in args.threads)} |")
            print(f"|---|{'---:|' * len(args.threads)}")
            for place in found:
                rates = [f"{side_by_side(place.uri, number, args.trials):.1f}" for number in args.threads]
                print(f"| {place.name} | {' | '.join(rates)} |", flush=True)
            return
        for _ in range(args.rounds):
            for place in found:
                measure(place, args.trials)
        print("| place | runs/s | range | in batches | ratio | value by value | ratio | a front, ms |")
        print("|---|---:|---:|---:|---:|---:|---:|---:|")
        for place in found:
            print(row(place))


if __name__ == "__main__":
    main()
