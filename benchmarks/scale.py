"""How a long sweep goes: thousands of trivial trials through ledger, Ray and MLflow; only training is left out."""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from sweeper.driver.driver import Snapshot
from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor, RayExecutor
from sweeper.job import Job, Progress
from sweeper.ledger.ledger import Ledger
from sweeper.ledger.studies import create_ledger
from sweeper.measurements import MEASUREMENTS
from sweeper.spec import LoadedSpec, load_spec
from sweeper.tracking.memory import MemoryRecorder
from sweeper.tracking.mlflow.recorder import MlflowRecorder
from sweeper.tracking.recorder import SweepFacts
from sweeper.trial import Ended, Outcome, TrialRecord

SPEC = """\
name: scale
task: {{data: digits, train_images: 50, test_images: 50}}
parameters:
  time_pressure: {{values: {pressures}}}
placement: {{population: 8}}
objectives:
  - {{name: accuracy, goal: maximize}}
  - {{name: time, goal: minimize}}
reference_point: {{accuracy: 0, time: 7}}
"""
EVERY = 1000


def work(job: Job, report: Callable[[Progress], None]) -> list[Ended]:
    """Stand in for training: make figures up."""
    ended = []
    for setting in job.settings:
        chance = random.Random(repr(setting["time_pressure"]))
        measured = {name: chance.uniform(0, 5) for name in MEASUREMENTS}
        curve = [{"epoch": epoch, "accuracy": chance.random()} for epoch in (1, 2)]
        ended.append(Ended(Outcome.COMPLETE, "", measured, {"channels_per_layer": [4, 2]}, curve))
    return ended


class Watch:
    """Prints how things stand after every so many trials; an observer of a sweep."""

    def __init__(self, every: int, home: Path, scratch: Path) -> None:
        self._every, self._home, self._scratch = every, home, scratch
        self._next, self._since, self.rows = every, time.perf_counter(), list[tuple[float, float]]()
        self.begun = 0.0

    def __call__(self, snapshot: Snapshot) -> None:
        if not self.begun:  # planned, and the workers are there
            self.begun = self._since = time.perf_counter()
            print(self._line(0, 0.0), flush=True)
        if snapshot.counts.complete >= self._next:
            now = time.perf_counter()
            each_ms = (now - self._since) / self._every * 1000
            self.rows.append((each_ms, resident_mib()))
            print(self._line(snapshot.counts.complete, each_ms), flush=True)
            self._next, self._since = self._next + self._every, time.perf_counter()

    def _line(self, trials: int, each_ms: float) -> str:
        places = [f"{files} | {size / 2**20:.1f}" for files, size in (size_of(self._home), size_of(self._scratch))]
        open_files = len(list(Path("/proc/self/fd").iterdir()))
        return f"| {trials} | {each_ms:.2f} | {resident_mib():.0f} | {open_files} | " + " | ".join(places) + " |"


HEAD = """\
| trials | ms a trial | driver, MiB | open files | files in home | MiB | files of Ray | MiB |
|---:|---:|---:|---:|---:|---:|---:|---:|"""


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def size_of(folder: Path) -> tuple[int, int]:
    """Return number and bytes of the files and folders below a folder."""
    files, size = 0, 0
    for path in folder.rglob("*"):
        try:
            size += path.lstat().st_size
            files += 1
        except OSError:  # it is gone
            continue
    return files, size


def loaded_spec(folder: Path, trials: int) -> LoadedSpec:
    space = folder / "scale.yaml"
    space.write_text(SPEC.format(pressures=[number / trials for number in range(trials)]), encoding="utf-8")
    return load_spec(space)


def run_sweep(folder: Path, trials: int, recorder: str, executor: str) -> list[tuple[float, float]]:
    """Run the whole, and print a table."""
    sweep = Sweep("scale", folder / "home")
    ray_folder = Path(tempfile.gettempdir(), "ray", "session_latest")
    watch = Watch(min(EVERY, trials), folder / "home", ray_folder / "artifacts")
    print(f"\n{trials} trials, {executor}, {recorder}\n\n{HEAD}", flush=True)
    started = time.perf_counter()
    summary = sweep.run(
        loaded_spec(folder, trials),
        executor=InlineExecutor() if executor == "inline" else RayExecutor(2, scratch=sweep.scratch),
        recorder=MemoryRecorder() if recorder == "memory" else None,
        observe=watch,
        work=work,
        workers=2,
    )
    ended = time.perf_counter()
    files, size = size_of(folder / "home")
    print(
        f"\nplanned and started in {watch.begun - started:.1f} s, ended after {ended - watch.begun:.1f} s more: "
        f"{trials / (ended - watch.begun):.0f} results/s; {summary.counts.complete} complete, "
        f"{summary.unmirrored or 'mirrored'}; {files} files, {size / 2**20:.1f} MiB in home; "
        f"driver at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB",
        flush=True,
    )
    return watch.rows


def judge(rows: Sequence[tuple[float, float]]) -> Iterator[str]:
    """Yield whether the aims are reached: after the first thousand, nothing grows."""
    later = rows[1:]
    if len(later) < 2:
        yield "too few trials to judge"
        return
    times, sizes = [each for each, _ in later], [mib for _, mib in later]
    spread = max(times) / min(times) - 1
    growth = sizes[-1] / sizes[0] - 1
    yield f"time per trial, longest by shortest thousand after the first: +{spread:.0%} (aim: within 20 %)"
    yield f"driver's memory, last by second thousand: {growth:+.1%}, {sizes[-1] - sizes[0]:+.0f} MiB (aim: flat)"


def ledger_alone(folder: Path, loaded: LoadedSpec) -> tuple[float, float, list[TrialRecord]]:
    """Return trials planned a second, and claimed and told a second; and what was told."""
    url = f"sqlite:///{folder / 'alone.db'}"
    create_ledger(url)
    with closing(Ledger(url, "scale", "benchmark")) as ledger:
        started = time.perf_counter()
        ledger.plan(loaded, 8, {"identity": "scale"})
        planned = time.perf_counter()
        populations, told = ledger.open_populations(), []
        begun = time.perf_counter()
        for population in populations:
            ledger.claim(population, "benchmark", 0)
            settings = tuple(setting.flat() for setting in population.settings)
            job = Job(population.key, population.task, population.keys, settings, (True,) * len(settings))
            told += ledger.tell_all(population, dict(zip(population.keys, work(job, print), strict=True)))
        ended = time.perf_counter()
    return len(told) / (planned - started), len(told) / (ended - begun), told


def mirror_alone(folder: Path, records: Sequence[TrialRecord]) -> float:
    recorder = MlflowRecorder(f"sqlite:///{folder / 'alone-mlflow.db'}")
    recorder.open(SweepFacts("scale", "", "{}", {}))
    started = time.perf_counter()
    for record in records:
        recorder.record(record)
    return len(records) / (time.perf_counter() - started)


def plain_optuna(folder: Path, records: Sequence[TrialRecord]) -> float:
    """Return trials a second of `ask` and `tell` by Optuna's public interface, with the same content."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = f"sqlite:///{folder / 'plain.db'}"
    sampler = optuna.samplers.RandomSampler()
    study = optuna.create_study(storage=url, sampler=sampler, directions=["maximize", "minimize"])
    started = time.perf_counter()
    for record in records:
        trial = study.ask()
        trial.suggest_float("time_pressure", 0, 1)
        trial.set_user_attr("setting", dict(record.setting))
        trial.set_user_attr("measurement", dict(record.measurement))
        study.tell(trial, [record.measurement["accuracy"], record.measurement["time"]])
    return len(records) / (time.perf_counter() - started)


def plain_mlflow(folder: Path, records: Sequence[TrialRecord]) -> float:
    """Return runs a second of MLflow's fluent interface, with about the same content."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder / 'fluent.db'}")
    mlflow.set_experiment("fluent")
    started = time.perf_counter()
    for record in records:
        with mlflow.start_run(run_name=record.key):
            mlflow.log_params(dict(record.setting))
            mlflow.log_metrics(dict(record.measurement))
            mlflow.set_tags({"task": record.task, "state": str(record.state)})
    return len(records) / (time.perf_counter() - started)


def compare(folder: Path, trials: int) -> Iterator[str]:
    """Yield results a second through each part alone, and what plain use of the same libraries reaches."""
    loaded = loaded_spec(folder, trials)
    planned, ledger, records = ledger_alone(folder, loaded)
    few = records[: min(300, trials)]
    optuna, mirror, mlflow = plain_optuna(folder, few), mirror_alone(folder, few), plain_mlflow(folder, few)
    yield f"\nledger alone, {trials} trials: {planned:.0f} planned/s, {ledger:.0f} results/s (aim: 500)"
    yield f"plain Optuna, ask and tell, {len(few)} trials: {optuna:.0f}/s; ledger by it: {ledger / optuna:.1f}"
    yield f"mirror alone, {len(few)} runs: {mirror:.0f} results/s (aim: 500)"
    yield f"plain MLflow, fluent, {len(few)} runs: {mlflow:.0f}/s; mirror by it: {mirror / mlflow:.1f}"
    yield f"both, one after the other: {1 / (1 / ledger + 1 / mirror):.0f} results/s"


def main() -> None:
    """Run the sweep, then each part alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--recorder", choices=["mlflow", "memory"], default="mlflow")
    parser.add_argument("--executor", choices=["ray", "inline"], default="ray")
    parser.add_argument(
        "--part", choices=["sweep", "alone", "all"], default="all", help="the sweep, or its parts alone"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        if args.part != "alone":
            rows = run_sweep(folder, args.trials, args.recorder, args.executor)
            print("\n".join(judge(rows)), flush=True)
        if args.part != "sweep":
            for line in compare(folder, args.trials):
                print(line, flush=True)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
