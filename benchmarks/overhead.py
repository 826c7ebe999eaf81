"""Measures a sweep's overhead beyond its trainings: sweeper, bare processes and a plain Ray Tune script, same points.

  (a) `sweeper run` in a fresh home                                      the product, as users start it
  (b) bare_processes.py: no Ray, ledger, MLflow or checkpoints           the least possible cost; aim: b/a >= 0.8
  (c) plain_tune.py: Tune grid and MLflowLoggerCallback, one network     a script without the product
      a trial, with this project's compiled recurrence
  (d) the same, with the recurrence in torch                             without any part of it; aim: d/a >= 6

Each part is a separate process, timed from its start to its exit, and all are measured in one run on one machine. The
trained networks are compared one by one. The exit code is 1 if a part failed or trained something else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sweeper.errors import SweepError
from sweeper.ledger.home import Home
from sweeper.ledger.ledger import Ledger
from sweeper.provenance import sweep_facts
from sweeper.spec import LatticeSetting, load_spec
from sweeper.trial import State, TrialRecord

HERE = Path(__file__).parent
TITLES = {
    "a": "(a) sweeper run",
    "b": "(b) bare processes",
    "c": "(c) plain Tune script",
    "d": "(d) the same, recurrence in torch",
}
#: Least ratio of the part's seconds to those of (a), on the quickstart.
AIMS = {"b": 0.8, "d": 6.0}
COMPARED = ("accuracy", "breadth", "depth", "time")
#: Prefixes of environment variables that no part may see, since they may name another cluster or tracking server.
HIDDEN = ("RAY_", "TUNE_", "MLFLOW_", "SWEEPER_")
SHOWN = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listens on 127.0.0.1 alone
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
#: Longest folder for Ray, in characters: a socket's path may have about 100, of which Ray needs 70.
LONGEST_RAY_FOLDER = 30

Networks = dict[str, dict[str, float]]


@dataclass
class Measured:
    """One part, run once.

    Attributes:
        seconds: Time from the start of its process to its exit.
        failure: Why the run does not count; empty if it does.
        networks: Measurements of each network, by trial key.
        phases: For (a): name and seconds of each phase, in order; their sum is `seconds`.
        differences: Differences from (a), see `compare`.
    """

    part: str
    seconds: float
    failure: str = ""
    networks: Networks = field(default_factory=dict)
    phases: Sequence[tuple[str, float]] = ()
    differences: Mapping[str, float] = field(default_factory=dict)


def measure(part: str, space: str, workers: int) -> Measured:
    """Run one part in a new folder, which is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="ovh-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        out = folder / "networks.json"
        plain = [str(HERE / "plain_tune.py"), space, "--cpus", str(workers), "--folder", name, "--out", str(out)]
        arguments = {
            "a": ["-m", "sweeper", "run", space, "--home", str(folder / "home"), "--workers", str(workers)],
            "b": [str(HERE / "bare_processes.py"), space, "--workers", str(workers), "--out", str(out)],
            "c": plain,
            "d": [*plain, "--recurrence", "torch"],
        }[part]
        checkpoints = folder / "home" if part == "a" else None
        started, seconds, seen, failure = run_child(arguments, folder, checkpoints)
        measured = Measured(part, seconds, failure)
        try:
            if part == "a":
                read_sweep(measured, folder / "home", load_spec(space).spec.name, started, seen)
            else:
                measured.networks = read_networks(part, out)
        except (OSError, ValueError, KeyError, SweepError) as error:
            measured.failure = failure or f"its results cannot be read: {type(error).__name__}: {error}"
        return measured


def run_child(arguments: Sequence[str], folder: Path, checkpoints: Path | None) -> tuple[float, float, float, str]:
    """Run Python, and return its start, its seconds, the time its first checkpoint was seen, and why it failed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)} | SHOWN
    if len(str(folder)) <= LONGEST_RAY_FOLDER:
        environment["RAY_TMPDIR"] = str(folder)
    log, seen = folder / "output.log", 0.0
    with log.open("wb") as output:
        started, clock = time.time(), time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while checkpoints and not seen and process.poll() is None:
                time.sleep(0.1)
                seen = time.time() if any(checkpoints.glob("*/checkpoints/*.pt")) else 0.0
            code = process.wait()
        finally:
            process.terminate()  # needed if this script is interrupted; harmless if the process has ended
            process.wait()
        seconds = time.perf_counter() - clock
    tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    return started, seconds, seen, f"exit code {code}: {tail}" if code else ""


def read_sweep(measured: Measured, home: Path, name: str, started: float, seen: float) -> None:
    """Fill in the results of (a) from the ledger and the times of files."""
    folder = Home(home).known(name)
    records = Ledger(folder.ledger_url, name).records()
    complete = [record for record in records if record.state is State.COMPLETE]
    measured.networks = {record.key: dict(record.measurement) for record in complete}
    marks = marks_of(home, folder.path, records, seen, started + measured.seconds)
    measured.phases = list(phases(started, marks))


def marks_of(
    home: Path, sweep: Path, records: Sequence[TrialRecord], seen: float, ended: float
) -> list[tuple[str, float]]:
    """Return the end of each phase of (a), in Unix seconds; 0 if it is unknown."""
    return [
        ("start-up: imports, spec, lock", written(sweep, "driver.json")),
        ("images, plan, MLflow database, while Ray starts", written(sweep, "tracking.txt")),  # written before jobs run
        ("rest of Ray's start", min((r.started_ms for r in records if r.started_ms), default=0) / 1000),
        ("workers' start and first epoch", seen),
        ("training, mirroring in between", max((r.ended_ms for r in records if r.ended_ms), default=0) / 1000),
        ("mirror of the last population", written(home / "artifacts", "**/*.parquet")),
        ("Ray shutdown, last look at MLflow", written(home, "mlflow.db*")),
        ("print and exit", ended),
    ]


def written(folder: Path, pattern: str) -> float:
    return max((path.stat().st_mtime for path in folder.glob(pattern)), default=0.0)


def phases(started: float, marks: Sequence[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """Yield name and seconds of each phase; a phase whose end is unknown is joined with the next."""
    names: list[str] = []
    for name, at in marks:
        names.append(name)
        if at >= started:
            yield " + ".join(names), at - started
            started, names = at, []


def read_networks(part: str, out: Path) -> Networks:
    content = json.loads(out.read_text(encoding="utf-8"))
    if part == "b":
        return dict(content)
    return {LatticeSetting.from_flat(row["setting"]).key: row["measured"] for row in content}


def compare(networks: Networks, ours: Networks) -> dict[str, float]:
    """Return the number of networks in both, the number that agree in accuracy, and the largest differences."""
    both = [(networks[key], ours[key]) for key in networks.keys() & ours.keys()]
    found: dict[str, float] = {"in both": len(both)}
    found["same accuracy"] = sum(one["accuracy"] == other["accuracy"] for one, other in both)
    for name in COMPARED:
        found[f"largest difference in {name}"] = max((abs(one[name] - other[name]) for one, other in both), default=0.0)
    return found


def judge(rounds: Sequence[Sequence[Measured]]) -> None:
    """Compare the networks of each round's parts with those of (a); other networks are a failure."""
    for measured_parts in rounds:
        ours = next((m for m in measured_parts if m.part == "a" and not m.failure), None)
        for measured in measured_parts:
            if ours is None or measured is ours or measured.failure:
                continue
            measured.differences = found = compare(measured.networks, ours.networks)
            if not found["in both"] == len(ours.networks) == len(measured.networks):
                measured.failure = f"trained {len(measured.networks)} networks, (a) {len(ours.networks)}"
            elif measured.part == "b" and found["same accuracy"] < found["in both"]:
                measured.failure = f"trained other networks than (a): {found}"


def middle(part: str, rounds: Sequence[Sequence[Measured]]) -> Measured | None:
    """Return the run of a part with the median time (the lower one of two)."""
    runs = [m for measured_parts in rounds for m in measured_parts if m.part == part and not m.failure]
    median = statistics.median_low([m.seconds for m in runs]) if runs else None
    return next((m for m in runs if m.seconds == median), None)


def table(parts: Sequence[str], rounds: Sequence[Sequence[Measured]], has_aims: bool) -> Iterator[str]:
    """Yield the lines of one table, in Markdown."""
    ours = middle("a", rounds)
    yield "| what | seconds | by (a) | networks | against (a) |"
    yield "|---|---:|---:|---:|---|"
    for part in parts:
        run = middle(part, rounds)
        if run is None:
            yield f"| {TITLES[part]} | failed | | | |"
            continue
        times = [m.seconds for measured_parts in rounds for m in measured_parts if m.part == part and not m.failure]
        spread = f" ({min(times):.1f} to {max(times):.1f})" if len(times) > 1 else ""
        ratio = f"{run.seconds / ours.seconds:.2f}" if ours else ""
        aim = f" (aim ≥ {AIMS[part]:g})" if has_aims and part in AIMS else ""
        yield f"| {TITLES[part]} | {run.seconds:.1f}{spread} | {ratio}{aim} | {len(run.networks)} | {agreement(run)} |"
        for name, seconds in run.phases:
            yield f"| — {name} | {seconds:.1f} | {seconds / run.seconds:.2f} | | |"


def agreement(run: Measured) -> str:
    found = run.differences
    if not found:
        return ""
    largest = ", ".join(f"{name} {found[f'largest difference in {name}']:.2g}" for name in COMPARED)
    return f"{found['same accuracy']:.0f} of {found['in both']:.0f} equal in accuracy; at most apart: {largest}"


def machine() -> dict[str, str]:
    """Return the facts that the figures depend on."""
    cpu = platform.processor() or "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    facts = {"date": time.strftime("%Y-%m-%d %H:%M"), "cpu": cpu, "cores": str(os.cpu_count()), "load before": load}
    return facts | sweep_facts({})


def with_epochs(space: str, epochs: int | None, folder: Path) -> str:
    """Return the space to run: the named one, or a copy of it with other epochs."""
    if epochs is None:
        return str(Path(space).absolute()) if Path(space).is_file() else space
    spec = load_spec(space).spec
    document: dict[str, Any] = json.loads(spec.to_json())  # JSON is YAML
    if "epochs" in spec.axes:
        sys.exit(f"--epochs {epochs} cannot take the place of an axis: {space} varies epochs. Leave --epochs out.")
    document["training"] = {**document["training"], "epochs": epochs, "updates": None}
    copy = folder / "space.yaml"
    copy.write_text(json.dumps(document), encoding="utf-8")
    return str(copy)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="quickstart", help="a YAML file, or the name of a shipped space")
    parser.add_argument("--workers", type=int, default=2, help="processes that train (c, d: CPUs of Ray)")
    parser.add_argument("--epochs", type=int, help="for a quick try: takes the place of the space's own, in all parts")
    parser.add_argument("--parts", default="a,b,c,d", help="which to run, such as a,b")
    parser.add_argument("--repeat", type=int, default=1, help="rounds; the median of each part is shown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    args = parser.parse_args()
    args.parts = sorted(set(args.parts.split(",")))
    if not set(args.parts) <= set(TITLES) or min(args.repeat, args.workers) < 1:
        parser.error("--parts takes a, b, c and d, separated by commas; --repeat and --workers take 1 or more")
    if args.json and not args.json.absolute().parent.is_dir():
        parser.error(f"--json {args.json}: there is no such folder")
    return args


def main() -> None:
    args, facts = arguments(), machine()
    # An untimed import first: otherwise only the first part would pay for reading the packages from disk.
    subprocess.run([sys.executable, "-c", "import mlflow, optuna, ray.tune, sweeper.model"], check=True)
    rounds: list[list[Measured]] = []
    with tempfile.TemporaryDirectory(prefix="ovh-") as folder:
        space = with_epochs(args.space, args.epochs, Path(folder))
        for number in range(args.repeat):
            rounds.append([])
            for part in args.parts:
                print(f"round {number + 1} of {args.repeat}: {TITLES[part]}", file=sys.stderr, flush=True)
                rounds[-1].append(measure(part, space, args.workers))
    judge(rounds)
    epochs = f", {args.epochs} epochs" if args.epochs else ""
    print(f"{args.space}{epochs}, {args.workers} workers; " + "; ".join(f"{k} {v}" for k, v in facts.items()) + "\n")
    print("\n".join(table(args.parts, rounds, has_aims=args.space == "quickstart" and args.epochs is None)))
    failures = [f"{TITLES[m.part]}: {m.failure}" for measured_parts in rounds for m in measured_parts if m.failure]
    if args.json:
        content = {"options": vars(args) | {"json": str(args.json)}, "machine": facts, "rounds": rounds}
        args.json.write_text(json.dumps(content, indent=1, default=asdict), encoding="utf-8")
    sys.exit("\n".join(["", *failures]) if failures else 0)


if __name__ == "__main__":
    main()
