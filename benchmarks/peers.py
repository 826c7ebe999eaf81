"""Compares the overhead, and the losses by a kill, of this system, Ray Tune, Optuna and Syne Tune on equal trainings.

Every system trains the same function (peer_training.py) equally often, on equally many workers, and keeps a checkpoint
of every epoch in the way that its manual shows. Each system runs undisturbed; and it runs until the driver's whole
process group is killed with SIGKILL in the middle, and resumes in the way that its manual shows. Systems take turns, so
that a machine's load affects all alike.

An epoch takes an exact processor time, so any time beyond it is the system's. All trials, epochs and losses are counted
from the log that the function itself writes. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from shutil import copy
from typing import Any

from peer_counts import Known, Losses, Overheads, Said, known, losses, overheads, said
from peer_training import loss_after
from peer_watch import Watched

from sweeper.ledger.home import Home
from sweeper.ledger.ledger import Ledger
from sweeper.provenance import sweep_facts

HERE = Path(__file__).parent
ROOT = HERE.parent
#: Prefixes of environment variables that no system may see, since they may name another cluster or tracking server.
HIDDEN = ("RAY_", "TUNE_", "MLFLOW_", "SWEEPER_", "SYNETUNE_", "PYTHONPATH")
SHOWN = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listens on 127.0.0.1 alone
    "RAY_worker_niceness": "0",  # Ray's default is 15, while other systems' workers have 0
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "OMP_NUM_THREADS": "1",
}
INTEGRATION = "pip install --no-deps --target FOLDER optuna-integration"
SYNE_TUNE = "`pip install syne-tune` in an environment of its own"
#: Longest folder for Ray, in characters: a socket's path may have about 100, of which Ray needs 70.
LONGEST_RAY_FOLDER = 30
#: A run hangs if it takes two minutes plus this many times the time of its trainings one after the other.
PATIENCE = 6
#: Seconds from a kill until the system is started again, as a supervisor would do.
PAUSE_S = 1.0

SPEC = {
    "name": "peers",
    "train": "peer_training:train",
    "measures": {"loss": "squared"},
    "objectives": [{"name": "loss", "goal": "minimize"}],
    "reference_point": {"loss": 10},
}


@dataclass(frozen=True)
class Task:
    """The task of every system."""

    trials: int
    seconds: float
    epochs: int
    workers: int

    @property
    def patience_s(self) -> float:
        return 120 + PATIENCE * self.trials * self.seconds

    def constants(self, folder: Path) -> dict[str, Any]:
        return {"seconds": self.seconds, "epochs": self.epochs, "log": str(folder / "log.jsonl")}

    def given(self, folder: Path) -> str:
        """Return the input of a peer's program, as JSON."""
        constants = self.constants(folder)
        return json.dumps({
            "folder": str(folder),
            "trials": self.trials,
            "workers": self.workers,
            "constants": constants,
        })


@dataclass(frozen=True)
class System:
    """One of the compared systems.

    Attributes:
        title: Name of its row.
        begin: Returns its command in a new folder.
        again: Returns its command after a kill.
        records: Reads its records at the end.
        missing: Why it cannot run here, and what to do about it; empty if it can.
        path: Folders to import from, in addition to its interpreter's.
    """

    title: str
    begin: Callable[[Task, Path], list[str]]
    again: Callable[[Task, Path], list[str]]
    records: Callable[[Path], list[Known]]
    missing: str = ""
    path: Sequence[str] = ()


@dataclass
class Run:
    """One system, run once.

    Attributes:
        failure: Why the run does not count; empty if it does.
        load: Load of the machine before the run.
        mlflow: Number of runs in MLflow by status.
    """

    system: str
    task: Task
    kind: str
    load: float
    overheads: Overheads | None = None
    losses: Losses | None = None
    mlflow: Mapping[str, int] = field(default_factory=dict)
    failure: str = ""


def systems(syne_tune: str | None, optuna_integration: Path | None) -> dict[str, System]:
    """Return all systems by their short name."""
    return {
        "sweeper": System("sweeper", begin_sweep, resume_sweep, sweep_records, path=[str(ROOT)]),
        "tune": peer("Ray Tune, OptunaSearch, MLflow", "peer_tune.py"),
        "tune-reuse": peer("the same, `reuse_actors=True`", "peer_tune.py", "--reuse"),
        "optuna": peer("Optuna, processes, no MLflow", "peer_optuna.py"),
        "optuna-mlflow": peer(
            "Optuna, processes, MLflowCallback",
            "peer_optuna.py",
            "--mlflow",
            path=[str(optuna_integration)],
            missing="" if optuna_integration else f"not installed: `{INTEGRATION}`, then --optuna-integration FOLDER",
        ),
        "syne": peer(
            "Syne Tune, local backend, no MLflow",
            "peer_syne.py",
            again=["--again"],
            interpreter=syne_tune or "",
            missing="" if syne_tune else f"not installed: {SYNE_TUNE}, then --syne-tune ITS/bin/python",
        ),
    }


def peer(
    title: str,
    program: str,
    *words: str,
    again: Sequence[str] = (),
    interpreter: str = sys.executable,
    missing: str = "",
    path: Sequence[str] = (),
) -> System:
    def command(task: Task, folder: Path, more: Sequence[str] = ()) -> list[str]:
        return [interpreter, str(folder / program), "--given", task.given(folder), *words, *more]

    def records(folder: Path) -> list[Known]:
        return known(json.loads((folder / "records.json").read_text(encoding="utf-8")))

    return System(
        title, command, lambda task, folder: command(task, folder, again), records, missing, [*path, str(HERE)]
    )


def begin_sweep(task: Task, folder: Path) -> list[str]:
    parameters = {"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}}
    constants = {name: {"value": value} for name, value in task.constants(folder).items()}
    spec = {**SPEC, "parameters": parameters | constants, "search": {"trials": task.trials}}
    file = folder / "peers.yaml"
    file.write_text(json.dumps(spec), encoding="utf-8")  # JSON is YAML
    return [*sweeper(task, folder, "run"), str(file)]


def resume_sweep(task: Task, folder: Path) -> list[str]:
    if not (folder / "home" / "peers").exists():  # it was killed before it was planned
        return begin_sweep(task, folder)
    return [*sweeper(task, folder, "resume"), "peers"]


def sweeper(task: Task, folder: Path, command: str) -> list[str]:
    options = ["--home", str(folder / "home"), "--workers", str(task.workers)]
    return [sys.executable, "-P", "-m", "sweeper", command, *options]


def sweep_records(folder: Path) -> list[Known]:
    records = Ledger(Home(folder / "home").known("peers").ledger_url, "peers").records()
    return [
        Known(
            (float(record.setting["argument.x"]), float(record.setting["argument.y"])),
            str(record.state),
        )
        for record in records
    ]


def run(name: str, system: System, task: Task, kind: str) -> Run:
    """Run a system in a new folder, which is removed afterwards."""
    found = Run(name, task, kind, os.getloadavg()[0])
    with tempfile.TemporaryDirectory(prefix="prs-", ignore_cleanup_errors=True) as at:
        folder = Path(at)
        for program in HERE.glob("peer_*.py"):
            copy(program, folder)
        output = folder / "output.txt"
        environment = environment_of(system, folder)
        watched = Watched(system.begin(task, folder), folder, environment, output)
        killed_at = 0.0
        try:
            if kind == "killed":
                killed_at = kill_in_the_middle(watched, task, folder)
                time.sleep(PAUSE_S)
                watched = Watched(system.again(task, folder), folder, environment, output)
            if code := watched.wait(task.patience_s):
                found.failure = f"exit code {code}"
            measure(found, system, folder, watched, killed_at)
        except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
            found.failure = f"{found.failure} {type(error).__name__}: {error}".strip()
        finally:
            if not watched.has_ended:
                watched.kill()
            watched.wait(60)
        if found.failure:
            found.failure += f"\n{output.read_text(encoding='utf-8', errors='replace')[-3000:]}"
    return found


def measure(found: Run, system: System, folder: Path, watched: Watched, killed_at: float) -> None:
    """Fill in the results of a run that has ended."""
    task, ended = found.task, watched.ended
    log, records = read_log(folder), system.records(folder)
    found.mlflow = mlflow_runs(folder)
    right = {one.trial: loss_after(*one.trial, task.epochs) for one in log}
    found.losses = losses(log, records, task.trials, killed_at or ended, right)
    if not killed_at:
        epoch_s = task.seconds / task.epochs
        found.overheads = overheads(log, watched.curve, watched.cpu, watched.started, ended, task.workers, epoch_s)


def environment_of(system: System, folder: Path) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)} | SHOWN
    if len(str(folder)) <= LONGEST_RAY_FOLDER:
        environment["RAY_TMPDIR"] = str(folder)
    environment["SYNETUNE_FOLDER"] = str(folder / "syne")
    environment["PYTHONPATH"] = os.pathsep.join(system.path)
    return environment


def kill_in_the_middle(watched: Watched, task: Task, folder: Path) -> float:
    """Kill a system when half of its trials are done and one more epoch has ended; return the time."""
    until = time.time() + task.patience_s
    while time.time() < until and not watched.has_ended:
        log = read_log(folder)
        done = [one.at for one in log if one.event == "done"]
        if len(done) >= task.trials // 2 and any(one.event == "end" and one.at > done[-1] for one in log):
            watched.kill()
            return time.time()
        time.sleep(0.02)
    raise ValueError("it was not in the middle of its trials before it ended, or before patience did")


def read_log(folder: Path) -> list[Said]:
    file = folder / "log.jsonl"
    return said(file.read_text(encoding="utf-8").splitlines(keepends=True)) if file.exists() else []


def mlflow_runs(folder: Path) -> dict[str, int]:
    """Return the number of MLflow's runs by status."""
    for file in (folder / "mlflow.db", folder / "home" / "mlflow.db"):
        if file.exists():
            with closing(sqlite3.connect(file)) as database:
                return dict(database.execute("SELECT status, COUNT(*) FROM runs GROUP BY status ORDER BY status"))
    return {}


def overhead_table(shown: Mapping[str, System], runs: Sequence[Run]) -> Iterator[str]:
    yield (
        "| system | rounds | start, s | of processors | a trial, s | of processors | end, s | of processors | "
        "in all, a trial, s | of processors | load |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    for name, system in shown.items():
        if system.missing:
            yield f"| {system.title} | {system.missing} |" + " |" * 9
            continue
        good = [one for one in runs if one.system == name and one.kind == "undisturbed" and not one.failure]
        found = [one.overheads for one in good if one.overheads is not None]
        if not found:
            yield f"| {system.title} | failed |" + " |" * 9
            continue
        columns = ("start", "start_cpu", "trial", "trial_cpu", "end", "end_cpu", "wall", "cpu")
        cells = [f"{statistics.median(getattr(one, column) for one in found):.2f}" for column in columns]
        load = " ".join(f"{one.load:.1f}" for one in good)
        yield f"| {system.title} | {len(found)} | " + " | ".join(cells) + f" | {load} |"


def loss_table(shown: Mapping[str, System], runs: Sequence[Run]) -> Iterator[str]:
    yield (
        "| system | complete of asked | done before the kill, lost | done again | epochs again | epochs thrown away | "
        "cut by the kill | unfinished for ever | first calls | wrong | in MLflow |"
    )
    yield "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|"
    for name, system in shown.items():
        for one in runs:
            if one.system == name and one.kind == "killed":
                if one.losses is None:
                    yield f"| {system.title} | failed |" + " |" * 9
                    continue
                counted = one.losses
                runs_said = ", ".join(f"{count} {status.lower()}" for status, count in one.mlflow.items()) or "–"
                yield (
                    f"| {system.title} | {counted.complete} of {counted.asked} | "
                    f"{counted.lost} of {counted.finished_before} | {counted.done_again} | {counted.epochs_again} | "
                    f"{counted.epochs_left} | {counted.cut} | {counted.unfinished} | {counted.rehearsed} | "
                    f"{counted.wrong} | {runs_said} |"
                )


def tables(shown: Mapping[str, System], task: Task, runs: Sequence[Run]) -> Iterator[str]:
    sizes = f"{task.trials} trials of {task.seconds:g} s in {task.epochs} epochs, {task.workers} workers"
    if any(one.kind == "undisturbed" for one in runs):
        yield f"\n{sizes}; beside the trainings:\n"
        yield from overhead_table(shown, runs)
    if any(one.kind == "killed" for one in runs):
        yield f"\n{sizes}; killed when {task.trials // 2} trials were done, and gone on with:\n"
        yield from loss_table(shown, runs)


def machine() -> dict[str, str]:
    """Return the facts that the figures depend on."""
    cpu, facts = platform.processor() or "unknown", dict[str, str]()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            facts.setdefault(name.strip(), value.strip())
        sets = [one for one in ("avx512f", "avx2", "asimd") if one in facts.get("flags", "").split()]
        cpu = (
            f"{facts.get('model name', cpu)} (family {facts.get('cpu family', '?')}, model {facts.get('model', '?')}, "
            f"{sets[0] if sets else 'no AVX2'})"
        )
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    told = {"date": time.strftime("%Y-%m-%d %H:%M"), "cpu": cpu, "cores": str(os.cpu_count()), "load before": load}
    return told | sweep_facts({})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.0, 10.0], help="processor seconds of a training")
    parser.add_argument("--trials", type=int, nargs="+", default=[24, 8], help="for each of --seconds")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2, help="of undisturbed runs; medians are shown")
    parser.add_argument(
        "--kills", type=int, default=2, help="runs of each system that are killed, at the first --seconds"
    )
    parser.add_argument("--systems", nargs="+", help="default: all of them")
    parser.add_argument("--syne-tune", metavar="PYTHON", help="an interpreter that has Syne Tune")
    parser.add_argument("--optuna-integration", type=Path, metavar="FOLDER", help="where optuna-integration is")
    parser.add_argument("--quick", action="store_true", help="8 trials of 0.5 s, one round: to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    args = parser.parse_args()
    if args.quick:
        args.seconds, args.trials, args.rounds, args.kills = [0.5], [8], 1, 1
    if len(args.seconds) != len(args.trials) or min(*args.trials, args.epochs, args.workers) < 2:
        parser.error("--seconds and --trials take as many values; --trials, --epochs and --workers at least 2")
    if args.json and not args.json.absolute().parent.is_dir():
        parser.error(f"--json {args.json}: there is no such folder")
    return args


def main() -> None:
    args, facts = arguments(), machine()
    shown = systems(args.syne_tune, args.optuna_integration)
    if unknown := set(args.systems or ()) - set(shown):
        sys.exit(f"--systems takes {', '.join(shown)}, but got {', '.join(sorted(unknown))}.")
    shown = {name: shown[name] for name in args.systems or shown}
    here = {name: system for name, system in shown.items() if not system.missing}
    # An untimed import first: otherwise only the first system would pay for reading the packages from disk.
    subprocess.run([sys.executable, "-c", "import mlflow, optuna, ray.tune, sweeper.model"], check=True)
    print("; ".join(f"{name} {value}" for name, value in facts.items()))
    tasks = [Task(trials, s, args.epochs, args.workers) for s, trials in zip(args.seconds, args.trials, strict=True)]
    runs = list[Run]()
    with suppress(KeyboardInterrupt):  # the measurements so far are shown
        for number in range(max(args.rounds, args.kills)):
            kinds = [("undisturbed", args.rounds), ("killed", args.kills)]
            for task, (kind, rounds) in product(tasks, kinds):
                for name, system in here.items() if number < rounds else ():
                    print(f"{task.seconds:g} s, {kind} {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
                    runs.append(run(name, system, task, kind))
                    if args.json:
                        content = {"machine": facts, "runs": [asdict(one) for one in runs]}
                        args.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    for task in tasks:
        print("\n".join(tables(shown, task, [one for one in runs if one.task == task])))
    failures = [f"{one.system}, {one.kind}, {one.task.seconds:g} s: {one.failure}" for one in runs if one.failure]
    sys.exit("\n".join(["", *failures]) if failures else 0)


if __name__ == "__main__":
    main()
