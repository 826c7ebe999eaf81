"""The schedule of strikes on processes, by sweep: target, moment and signal are drawn from nothing but a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.faults.rig import GRID, SEARCH

#: Seed of `make faults`, unless `--kills-seed` gives another one.
SEED = 20261130

#: Ray's processes on one machine, and a part of each one's title.
RAY = {
    "raylet": "raylet/raylet ",
    "GCS": "gcs/gcs_server ",
    "dashboard": "dashboard/dashboard.py ",
    "dashboard agent": "ray::DashboardAgent",
    "runtime environment agent": "ray::RuntimeEnvAgent",
    "log monitor": "log_monitor.py ",
    "autoscaler monitor": "autoscaler/_private/monitor.py ",
}

DRIVER, WORKER, MLFLOW, POSTGRES, BACKEND = "driver", "worker", "MLflow", "PostgreSQL", "PostgreSQL backend"

#: Moments when a strike is due: as soon as its target exists, after more training, after one more outcome, and once all
#: trials have ended and only the end of the sweep is left to be written.
SOON, TRAINING, OUTCOME, CLOSING = "soon", "training", "outcome", "closing"

#: Longest delay after each moment, in seconds. A start takes some seconds, so `soon` means anywhere in it.
_LATEST_S = {SOON: 6.0, TRAINING: 1.0, OUTCOME: 0.5, CLOSING: 0.3}


@dataclass(frozen=True)
class Strike:
    """One signal to one process, or to one server as a whole.

    Attributes:
        target: Kind of the process or server.
        signal: Name of the signal.
        moment: Moment to wait for.
        delay_s: Delay after the moment, in seconds.
        away_s: Time that a server stays away or a paused process pauses, in seconds.
        which: Number from 0 to 1 that selects one of several processes of the kind.
    """

    target: str
    signal: str
    moment: str
    delay_s: float
    away_s: float
    which: float

    @property
    def is_kill(self) -> bool:
        return self.signal == "SIGKILL"


@dataclass(frozen=True)
class Plan:
    """A sweep whose processes are struck.

    Attributes:
        what: Description of the sweep.
        spec: Spec as YAML.
        workers: Number of populations at a time.
        ledger: `SQLite` or `PostgreSQL`.
        tracker: `SQLite` or `server`.
        kills: Number of kills of each target, without the one at the sweep's closing.
        closing: Target that is killed at the closing.
        others: Pairs of a target and a signal other than SIGKILL.
        is_ordered: Whether results do not depend on the order of outcomes, or the order is always the same, as with one
            worker: then all results must be the same. Otherwise other trials may be stopped early.
    """

    what: str
    spec: str
    workers: int
    ledger: str
    tracker: str
    kills: Mapping[str, int]
    closing: str
    others: Sequence[tuple[str, str]] = ()
    is_ordered: bool = True


def _with(text: str, *changes: tuple[str, str]) -> str:
    """Return a spec with texts replaced, each of which must be there."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


#: Raises the limit of retries: a population's worker may die more often than the default allows, and the population
#: would rightly end as lost.
_FORGIVEN = ("{population: 2}", "{population: 2, retries: {lost: 50}}")

#: Each population is one setting with its replicates, so that trials that are judged together train together.
_SEARCH = _with(SEARCH, ("min_epochs: 4", "min_epochs: 32"), ("epochs: 12", "epochs: 96"), _FORGIVEN)

GROWING = """
name: fragile
task: {data: digits, train_images: 300, test_images: 100, classes: 4}
lattice: {window: auto}
parameters:
  breadth_pressure: {values: [1e-3, 2e-2]}
  depth_pressure: {values: [1e-3, 1e-2]}
  time_pressure: {values: [0.05, 0.2]}
training: {epochs: 144, batch_size: 16}
placement: {population: 2}
objectives:
  - {name: accuracy, goal: maximize}
  - {name: breadth, goal: minimize}
  - {name: depth, goal: minimize}
  - {name: time, goal: minimize}
reference_point: {accuracy: 0, breadth: 33, depth: 9, time: 17}
"""

#: The sweeps, by name.
PLANS: Mapping[str, Plan] = {
    "grid": Plan(
        what="a grid of two tasks, in populations of two",
        spec=_with(GRID, ("epochs: 24", "epochs: 160"), _FORGIVEN),
        workers=2,
        ledger="SQLite",
        tracker="SQLite",
        kills={DRIVER: 4, WORKER: 4, **dict.fromkeys(RAY, 1)},
        closing=DRIVER,
        others=[(DRIVER, "SIGTERM"), (DRIVER, "SIGSTOP"), (WORKER, "SIGSTOP")],
    ),
    "search in order": Plan(
        # TPE draws at random until ten settings are known, so one cell has more than ten here.
        what="TPE over two pressures with two replicates, stopped early, one population at a time",
        spec=_with(_SEARCH, ("[4, 2]", "[4]"), ("{trials: 3}", "{trials: 14}")),
        workers=1,
        ledger="PostgreSQL",
        tracker="SQLite",
        kills={DRIVER: 3, WORKER: 3, POSTGRES: 3, BACKEND: 1, "raylet": 1, "GCS": 1, "runtime environment agent": 1},
        closing=POSTGRES,
        others=[(DRIVER, "SIGHUP"), (BACKEND, "SIGSTOP"), ("raylet", "SIGSTOP")],
    ),
    "growing windows": Plan(
        what="a grid over three pressures whose windows grow with the networks",
        spec=_with(GROWING, _FORGIVEN),
        workers=2,
        ledger="SQLite",
        tracker="server",
        kills={DRIVER: 3, WORKER: 4, MLFLOW: 3, "raylet": 1, "GCS": 1, "dashboard agent": 1, "log monitor": 1},
        closing=MLFLOW,
        others=[(DRIVER, "SIGINT"), (MLFLOW, "SIGSTOP"), ("GCS", "SIGSTOP")],
    ),
    "search at once": Plan(
        what="random settings in two cells with two replicates, stopped early, two populations at a time",
        spec=_with(_SEARCH, ("{trials: 3}", "{trials: 6, sampler: random}")),
        workers=2,
        ledger="PostgreSQL",
        tracker="server",
        kills={DRIVER: 3, WORKER: 3, MLFLOW: 2, POSTGRES: 2, "raylet": 1, "autoscaler monitor": 1, "dashboard": 1},
        closing=DRIVER,
        others=[(DRIVER, "SIGTERM"), (MLFLOW, "SIGSTOP"), (WORKER, "SIGSTOP")],
        is_ordered=False,
    ),
}

#: Moments to choose from for each target: servers matter while something is written, workers while one trains.
_MOMENTS = {
    WORKER: (TRAINING, TRAINING, OUTCOME),
    MLFLOW: (SOON, TRAINING, OUTCOME, OUTCOME),
    POSTGRES: (SOON, TRAINING, OUTCOME, OUTCOME),
    BACKEND: (TRAINING, OUTCOME),
    DRIVER: (SOON, TRAINING, OUTCOME),
}


def schedule(seed: int = SEED) -> dict[str, list[Strike]]:
    """Return the strikes of each sweep, in order; the same for the same seed, on every machine."""
    return {name: _strikes(plan, random.Random(f"{seed} {name}")) for name, plan in PLANS.items()}


def _strikes(plan: Plan, dice: random.Random) -> list[Strike]:
    hits = [(target, "SIGKILL") for target, times in plan.kills.items() for _ in range(times)]
    hits += plan.others
    dice.shuffle(hits)
    drawn = [
        _drawn(target, signal, dice.choice(_MOMENTS.get(target, (SOON, TRAINING))), dice) for target, signal in hits
    ]
    return [*drawn, _drawn(plan.closing, "SIGKILL", CLOSING, dice)]


def _drawn(target: str, signal: str, moment: str, dice: random.Random) -> Strike:
    delay_s, away_s, which = dice.uniform(0, _LATEST_S[moment]), dice.uniform(0, 4), dice.random()
    return Strike(target, signal, moment, round(delay_s, 2), round(away_s, 2), round(which, 3))


@dataclass
class Tale:
    """Results of the strikes on one sweep.

    Attributes:
        strikes: Strikes that met a process, in order.
        sweeps: Number of sweeps that it took to use up all strikes; each of them is compared.
        trials: Number of trials planned in all of these sweeps.
        ends: Number of drivers by exit code or signal, such as `0`, `4`, `SIGKILL`.
        lost, repeated, stuck, tracebacks, wrong: Findings of each kind, as texts.
    """

    strikes: list[Strike] = field(default_factory=list)
    sweeps: int = 0
    trials: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def found(self) -> dict[str, list[str]]:
        kinds = ("lost", "repeated", "stuck", "tracebacks", "wrong")
        return {kind: its for kind in kinds if (its := getattr(self, kind))}
