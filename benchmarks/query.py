"""Times queries of fronts, trials and histories on a sweep of 10,000 trials in MLflow, compared with plain MLflow."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sweeper import load_sweep
from sweeper.analysis.fronts import compute_front
from sweeper.analysis.pareto import non_dominated
from sweeper.analysis.trials import aims
from sweeper.measurements import MEASUREMENTS, Goal, Objective
from sweeper.tracking.mlflow.client import connect
from sweeper.tracking.mlflow.recorder import MlflowRecorder
from sweeper.tracking.recorder import SweepFacts
from sweeper.trial import Outcome, State, TrialRecord

OBJECTIVES = (
    Objective("accuracy", Goal.MAXIMIZE),
    Objective("breadth", Goal.MINIMIZE),
    Objective("depth", Goal.MINIMIZE),
    Objective("time", Goal.MINIMIZE),
)
CORNER = {"accuracy": 0.0, "breadth": 9.0, "depth": 9.0, "time": 9.0}
TASKS = ("digits-10", "digits-3")
SEEDS = 2
AIM_MS = 200


def a_trial(number: int, task: str) -> TrialRecord:
    """Make a trial up: pressures reduce accuracy, breadth, depth and time, with some noise."""
    setting, seed = divmod(number, SEEDS)
    of_setting, luck = random.Random(f"{task}/{setting}"), random.Random(f"{task}/{number}")
    pressures = {f"{axis}_pressure": of_setting.random() for axis in ("breadth", "depth", "time")}
    sizes = {
        name: 1 + 7 * (1 - pressures[f"{name}_pressure"]) * luck.uniform(0.8, 1)
        for name in ("breadth", "depth", "time")
    }
    accuracy = 1 - sum((1 - size / 9) ** 2 for size in sizes.values()) / 3 - luck.uniform(0, 0.1)
    measured = {name: luck.uniform(0, 5) for name in MEASUREMENTS} | sizes | {"accuracy": accuracy}
    began_ms = 1_700_000_000_000 + number * 1000
    return TrialRecord(
        key=f"{random.Random(f'key/{task}/{number}').getrandbits(64):016x}",
        sweep="query",
        task=task,
        number=number,
        state=State.COMPLETE,
        setting={**pressures, "seed": seed, **{f"training.{n}": n for n in range(20)}},
        axes=pressures,
        setting_key=f"{task}/{setting}",
        seed=seed,
        population=f"p{number // 8}",
        outcome=Outcome.COMPLETE,
        measurement=measured,
        details={"channels_per_layer": [4, 2]},
        curve=[{"epoch": epoch, "accuracy": luck.random()} for epoch in (1, 2)],
        started_ms=began_ms,
        ended_ms=began_ms + 60_000,
    )


def fill(uri: str, trials: int) -> None:
    """Write the sweep to MLflow as a driver does."""
    recorder = MlflowRecorder(uri)
    recorder.open(SweepFacts("query", "name: query\n", "{}", {}, aims=aims(OBJECTIVES, CORNER)))
    each = trials // len(TASKS)
    written: dict[str, list[TrialRecord]] = {task: [] for task in TASKS}
    started = time.perf_counter()
    for number in range(each):
        for task in TASKS:
            written[task].append(a_trial(number, task))
            recorder.record(written[task][-1])
        if (number + 1) % 1000 == 0 or number + 1 == each:
            for task, records in written.items():
                recorder.record_front(
                    compute_front(records, sweep="query", task=task, objectives=OBJECTIVES, reference_point=CORNER)
                )
    recorder.close("FINISHED")
    print(f"written in {time.perf_counter() - started:.0f} s by MlflowRecorder", flush=True)


def plain_front(uri: str, task: str) -> list[str]:
    """Return the keys of a front by plain MLflow, which searches and compares all runs of the task, page by page."""
    client = connect(uri, is_reading=True)
    experiment = client.get_experiment_by_name("query")
    groups: dict[str, list[Any]] = {}
    token = None
    while True:
        page = client.search_runs(
            [experiment.experiment_id], f"tags.`sweeper.task` = '{task}'", max_results=1000, page_token=token
        )
        for run in page:
            groups.setdefault(run.data.tags["sweeper.setting_key"], []).append(run)
        token = page.token
        if not token:
            break
    names = [objective.name for objective in OBJECTIVES]
    points = [[statistics.fmean(run.data.metrics[n] for run in runs) for n in names] for runs in groups.values()]
    kept = non_dominated(points, [objective.goal for objective in OBJECTIVES])
    first = [min(runs, key=lambda run: int(run.data.params["seed"])) for runs in groups.values()]
    return [run.data.tags["sweeper.trial_key"] for run, is_kept in zip(first, kept, strict=True) if is_kept]


def timed(ask: Callable[[], object], rounds: int) -> list[float]:
    took_ms = []
    for _ in range(rounds):
        started = time.perf_counter()
        ask()
        took_ms.append((time.perf_counter() - started) * 1000)
    return took_ms


def measure(uri: str, rounds: int, plain_rounds: int) -> Iterator[str]:
    """Yield the rows of a table. Each query loads the sweep anew, so that nothing is cached between queries."""
    task = TASKS[0]
    connecting = timed(lambda: connect(uri, is_reading=True), rounds)
    kept = load_sweep("query", uri)
    size = kept.trials().num_rows
    questions: dict[str, Callable[[], object]] = {
        "the stored front of one task": lambda: load_sweep("query", uri).front(task),
        "the stored fronts of all tasks": lambda: load_sweep("query", uri).front(),
        f"the table of all {size} trials": lambda: load_sweep("query", uri).trials(),
        "all points, means over seeds": lambda: load_sweep("query", uri).points(),
        "hypervolume after each trial of one task": lambda: load_sweep("query", uri).hypervolume_history(task),
        "the front over two other objectives": lambda: load_sweep("query", uri).front(
            task, objectives=["accuracy", "time"]
        ),
        "attainment over seeds, three objectives": lambda: load_sweep("query", uri).attainment(
            task, ["accuracy", "breadth", "time"]
        ),
        "the same history again, trials already read": lambda: kept.hypervolume_history(task),
    }
    yield _row("connecting, which every question does", connecting)
    took = {}
    for name, ask in questions.items():
        took[name] = timed(ask, rounds)
        yield _row(name, took[name])
    plain = timed(lambda: plain_front(uri, task), plain_rounds)
    yield _row("the front of one task by plain search_runs", plain)
    front = statistics.median(took["the stored front of one task"])
    verdict = "reached" if front <= AIM_MS else "MISSED"
    front_keys = kept.front(task)["key"].to_pylist()
    yield (
        f"\nstored front: {front:.0f} ms (aim: {AIM_MS}, {verdict}), "
        f"{statistics.median(plain) / front:.0f} times faster than plain; {len(front_keys)} points, "
        + ("the same" if sorted(front_keys) == sorted(plain_front(uri, task)) else "NOT THE SAME")
    )


def _row(name: str, took_ms: list[float]) -> str:
    return f"| {name} | {statistics.median(took_ms):.0f} | {min(took_ms):.0f}–{max(took_ms):.0f} |"


def cold(uri: str) -> str:
    """Return the time of the first query of a new process, imports included."""
    code = f"from sweeper import load_sweep; load_sweep('query', {uri!r}).front({TASKS[0]!r})"
    took = timed(lambda: subprocess.run([sys.executable, "-c", code], check=True), 3)
    return _row("a stored front, by a new process, imports included", took)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Run a tracking server on a copy of the database that also serves the artifacts; yield its address."""
    copy, artifacts = folder / "served.db", (folder / "artifacts").as_uri()
    shutil.copy(folder / "mlflow.db", copy)
    with closing(sqlite3.connect(copy)) as database, database:  # paths as the server would have written them
        database.execute(
            "UPDATE experiments SET artifact_location = replace(artifact_location, ?, 'mlflow-artifacts:')",
            (artifacts,),
        )
        database.execute("UPDATE runs SET artifact_uri = replace(artifact_uri, ?, 'mlflow-artifacts:')", (artifacts,))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{copy}", "--artifacts-destination", artifacts]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, env={**os.environ, **settings}, stdout=log, stderr=log, cwd=folder)
        try:
            _wait_for(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"the server at {address} does not answer; see server.log beside its database")


def main() -> None:
    """Write the sweep, then query the database and a server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--plain-rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keep the database here, and use one that is here already")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="query-") as scratch:
        folder = (args.folder or Path(scratch)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        if not (folder / "mlflow.db").exists():
            fill(uri, args.trials)
        with server(folder) as address:
            for where, at in (("SQLite", uri), ("server on 127.0.0.1", address)):
                load = os.getloadavg()[0]
                print(f"\n{where}, load before {load:.1f}\n\n| question | ms, median | ms, range |\n|---|---:|---:|")
                print(cold(at), flush=True)
                for line in measure(at, args.rounds, args.plain_rounds):
                    print(line, flush=True)


if __name__ == "__main__":
    main()
