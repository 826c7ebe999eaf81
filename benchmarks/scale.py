"""Runs a long sweep of thousands of trivial trials through ledger, Ray and MLflow; only training is left out."""

from __future__ import annotations

import argparse
import itertools
import os
import random
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import simulated

from sweeper.driver.driver import Snapshot
from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor, RayExecutor
from sweeper.job import Job, Progress
from sweeper.ledger.database import shared_url
from sweeper.ledger.ledger import Ledger
from sweeper.ledger.studies import create_ledger
from sweeper.measurements import MEASUREMENTS
from sweeper.spec import LoadedSpec, load_spec
from sweeper.tracking.memory import MemoryRecorder
from sweeper.tracking.mlflow.recorder import MlflowRecorder
from sweeper.tracking.recorder import SweepFacts
from sweeper.trial import Ended, Outcome, State, TrialRecord

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
#: Further lines of a spec for simulated clusters, and for early stopping there.
CLUSTER = f"training: {{epochs: {simulated.EPOCHS}}}\n"
STOPPING = "early_stopping: {min_epochs: 5, factor: 3}\n"
EVERY = 1000


def work(job: Job, report: Callable[[Progress], None]) -> list[Ended]:
    """Replace training: make measurements up."""
    ended = []
    for setting in job.settings:
        chance = random.Random(repr(setting["time_pressure"]))
        measured = {name: chance.uniform(0, 5) for name in MEASUREMENTS}
        curve = [{"epoch": epoch, "accuracy": chance.random()} for epoch in (1, 2)]
        ended.append(Ended(Outcome.COMPLETE, "", measured, {"channels_per_layer": [4, 2]}, curve))
    return ended


class Watch:
    """An observer of a sweep that prints a row after every `every` trials."""

    def __init__(self, every: int, home: Path, scratch: Path) -> None:
        self._every, self._home, self._scratch = every, home, scratch
        self._next, self._since, self.rows = every, time.perf_counter(), list[tuple[float, float]]()
        self.begun = 0.0

    def __call__(self, snapshot: Snapshot) -> None:
        if not self.begun:  # the sweep is planned, and the workers have started
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
        except OSError:  # it was removed meanwhile
            continue
    return files, size


def loaded_spec(folder: Path, trials: int, more: str = "") -> LoadedSpec:
    space = folder / "scale.yaml"
    space.write_text(SPEC.format(pressures=[number / trials for number in range(trials)]) + more, encoding="utf-8")
    return load_spec(space)


@contextmanager
def ledgers(kinds: Sequence[str]) -> Iterator[dict[str, Callable[[], str | None]]]:
    """Yield for each kind of ledger a function that returns a new one's URL; None is the home's own, in SQLite."""
    from tests.support import servers

    with ExitStack() as stack:
        found: dict[str, Callable[[], str | None]] = {}
        for kind in kinds:
            if kind == "postgresql":
                server = stack.enter_context(servers.postgres())
                server.sync_writes()
                found[kind] = server.new_database
            else:
                found[kind] = lambda: None
        yield found


def run_sweep(folder: Path, args: argparse.Namespace, ledger: str, url: str | None) -> list[tuple[float, float]]:
    """Run the whole sweep, and print a table."""
    trials, recorder, executor = args.trials, args.recorder, args.executor
    folder = folder / ledger
    folder.mkdir()
    sweep = Sweep("scale", folder / "home", ledger=url)
    ray_folder = Path(tempfile.gettempdir(), "ray", "session_latest")
    watch = Watch(min(EVERY, trials), folder / "home", ray_folder / "artifacts")
    print(f"\n{trials} trials, {executor}, ledger in {ledger}, {recorder}\n\n{HEAD}", flush=True)
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


@dataclass
class Counted:
    """A recorder that counts the complete trials that it has recorded."""

    recorder: Any
    recorded: int = 0

    def record(self, trial: TrialRecord) -> None:
        self.recorder.record(trial)
        self.recorded += trial.state is State.COMPLETE

    def __getattr__(self, name: str) -> Any:
        return getattr(self.recorder, name)


def run_cluster(folder: Path, args: argparse.Namespace, kind: str, url: str | None, workers: int, asked: float) -> str:
    """Run a simulated cluster with a number of workers and an aimed rate of results, and return its row."""
    mean_s = workers * simulated.POPULATION / asked
    home = Path(tempfile.mkdtemp(dir=folder))
    recorder = Counted(
        MemoryRecorder() if args.recorder == "memory" else MlflowRecorder(f"sqlite:///{home / 'mlflow.db'}")
    )
    behind: list[int] = []
    cluster_of = simulated.Tune if args.executor == "ray" else simulated.Queue
    cluster = cluster_of(
        workers, mean_s, args.settle, args.seconds, lambda: behind.append(cluster.told - recorder.recorded)
    )
    # Rates above `most` are not reached, and planning trials for them would take time.
    trials = int(1.2 * (min(asked, args.most) * (args.settle + args.seconds) + simulated.POPULATION * workers))
    Sweep("scale", home, ledger=url).run(
        loaded_spec(home, trials, CLUSTER + (STOPPING if args.early_stopping else "")),
        executor=cluster,
        recorder=recorder,
        work=work,
        should_stop=cluster.is_over,
    )
    seen, waits = cluster.figures, sorted(cluster.figures.waits) or [0.0]
    middle, high = statistics.median(waits), waits[int(0.95 * (len(waits) - 1))]
    return (
        f"| {workers} | {kind} | {args.recorder} | {mean_s:.1f} | {asked:g} | {seen.results / seen.seconds:.0f} "
        f"| {seen.reports / seen.seconds:.0f} | {1 - seen.idle_s / seen.seconds:.0%} "
        f"| {1000 * seen.processor_s / max(seen.results, 1):.1f} | {middle * 1000:.0f} "
        f"| {high * 1000:.0f} | {seen.lost_s / workers / seen.seconds:.1%} | {behind[0]} |"
    )


CLUSTER_HEAD = (
    "| workers | ledger | mirror | a training, s | results/s asked for | reached | reports/s | driver busy "
    "| processor, ms a result | a worker waits, ms | 95 % | of its time | mirror behind |\n"
    f"|---:|---|---|{'---:|' * 10}"
)


def judge(rows: Sequence[tuple[float, float]]) -> Iterator[str]:
    """Yield whether the aims are reached: after the first thousand trials, time and memory do not grow."""
    later = rows[1:]
    if len(later) < 2:
        yield "too few trials to judge"
        return
    times, sizes = [each for each, _ in later], [mib for _, mib in later]
    spread = max(times) / min(times) - 1
    growth = sizes[-1] / sizes[0] - 1
    yield f"time per trial, longest by shortest thousand after the first: +{spread:.0%} (aim: within 20 %)"
    yield f"driver's memory, last by second thousand: {growth:+.1%}, {sizes[-1] - sizes[0]:+.0f} MiB (aim: flat)"


def ledger_alone(url: str, loaded: LoadedSpec) -> tuple[float, float, list[TrialRecord]]:
    """Return the rates of planning and of claiming and telling, in trials a second, and the told records."""
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


def plain_optuna(url: str, records: Sequence[TrialRecord]) -> float:
    """Return the rate of `ask` and `tell` through Optuna's public interface, in trials a second, same content."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
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
    """Return the rate of MLflow's fluent interface, in runs a second, with about the same content."""
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


def compare(folder: Path, trials: int, new_urls: Mapping[str, Callable[[], str | None]]) -> Iterator[str]:
    """Yield the rate of each part alone, and that of plain use of the same libraries."""
    loaded, rates = loaded_spec(folder, trials), dict[str, float]()
    for kind, new_url in new_urls.items():
        given = new_url()
        url = f"sqlite:///{folder / 'alone.db'}" if given is None else shared_url(given)
        planned, rates[kind], records = ledger_alone(url, loaded)
        told = f"{planned:.0f} planned/s, {rates[kind]:.0f} results/s (aim: 500)"
        yield f"\nledger alone, {kind}, {trials} trials: {told}"
        few = records[: min(300, trials)]
        optuna = plain_optuna(url.replace("alone.db", "plain.db"), few)
        yield f"plain Optuna, ask and tell, {len(few)} trials: {optuna:.0f}/s; ledger by it: {rates[kind] / optuna:.1f}"
    mirror, mlflow = mirror_alone(folder, few), plain_mlflow(folder, few)
    yield f"\nmirror alone, {len(few)} runs: {mirror:.0f} results/s (aim: 500)"
    yield f"plain MLflow, fluent, {len(few)} runs: {mlflow:.0f}/s; mirror by it: {mirror / mlflow:.1f}"
    for kind, ledger in rates.items():
        yield f"ledger in {kind} and mirror, one after the other: {1 / (1 / ledger + 1 / mirror):.0f} results/s"


def main() -> None:
    """Run the sweep, then each part alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--recorder", choices=["mlflow", "memory"], default="mlflow")
    parser.add_argument("--executor", choices=["ray", "inline"], default="ray")
    parser.add_argument("--ledger", choices=["sqlite", "postgresql"], nargs="+", default=["sqlite"])
    parser.add_argument(
        "--part",
        choices=["sweep", "alone", "all", "cluster"],
        default="all",
        help="the sweep, its parts alone, or simulated clusters",
    )
    simulation = parser.add_argument_group("simulated clusters: --executor ray leaves Ray Tune's loop in")
    simulation.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1000])
    simulation.add_argument("--asked", type=float, nargs="+", default=[50, 100, 200, 400], help="results a second")
    simulation.add_argument("--seconds", type=float, default=15.0, help="that are counted")
    simulation.add_argument("--settle", type=float, default=3.0, help="seconds before them")
    simulation.add_argument("--most", type=float, default=800.0, help="results a second that are planned for")
    simulation.add_argument("--early-stopping", action="store_true", help="populations pause and are judged")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # otherwise its servers would outlive it
    with tempfile.TemporaryDirectory(prefix="scale-") as name, ledgers(args.ledger) as new_urls:
        folder = Path(name)
        if args.part == "cluster":
            print(f"load {os.getloadavg()[0]:.1f}\n\n{CLUSTER_HEAD}", flush=True)
            for workers, (kind, new_url), asked in itertools.product(args.workers, new_urls.items(), args.asked):
                print(run_cluster(folder, args, kind, new_url(), workers, asked), flush=True)
            return
        for kind, new_url in new_urls.items() if args.part != "alone" else ():
            rows = run_sweep(folder, args, kind, new_url())
            print("\n".join(judge(rows)), flush=True)
        if args.part != "sweep":
            for line in compare(folder, args.trials, new_urls):
                print(line, flush=True)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
