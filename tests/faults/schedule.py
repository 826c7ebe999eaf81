"""What is struck, in which sweep, when and how: drawn from a seed, and from nothing else."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.faults.rig import GRID, SEARCH

#: What `make faults` draws from, unless another one is given: `--kills-seed`.
SEED = 20261130

#: Ray's processes on one machine, and what is written on each of them.
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

#: When a strike is due: as soon as its target is there, once something more was trained, once one more trial has
#: ended, and once all have and only the end of the sweep is left to be written.
SOON, TRAINING, OUTCOME, CLOSING = "soon", "training", "outcome", "closing"

#: The longest that is waited after each, in seconds. A start takes some seconds, so `soon` means anywhere in it.
_LATEST_S = {SOON: 6.0, TRAINING: 1.0, OUTCOME: 0.5, CLOSING: 0.3}


@dataclass(frozen=True)
class Strike:
    """One signal to one process, or to one server as a whole.

    Attributes:
        target: What is struck.
        signal: Its name.
        moment: What is waited for before.
        delay_s: How long is waited after that.
        away_s: How long a server stays away, and what was made to pause pauses.
        which: Share, from 0 to 1, that says which of several processes of the kind it is.
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
    """A sweep that is struck.

    Attributes:
        what: It, in words.
        spec: As YAML.
        workers: Populations at a time.
        ledger: `SQLite` or `PostgreSQL`.
        tracker: `SQLite` or `server`.
        kills: How often each target is killed, beside once at the sweep's closing.
        closing: What is killed then.
        others: Pairs of a target and another signal.
        is_ordered: Whether outcomes come in the same order whatever happens, as they do with one worker or where
            nothing depends on it: then all results are the same. Otherwise what is stopped early may be others.
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


#: A population may meet more deaths of its worker than it is forgiven by default, which would rightly be its outcome.
_FORGIVEN = ("{population: 2}", "{population: 2, retries: {lost: 50}}")

#: Populations are one setting with its replicates, so that who is judged together trains together.
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
        # TPE draws at random until ten settings are known: here are more, in one cell.
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

#: What is waited for before a target is struck: servers are where something is written, workers where one trains.
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
    """What came of the strikes of one sweep.

    Attributes:
        strikes: Those that met a process, in order.
        sweeps: How many it took to use all of them up; each is compared.
        trials: How many have been planned, in all of them.
        ends: How often drivers ended with which code, by `0`, `4`, `SIGKILL`.
        lost, repeated, stuck, tracebacks, wrong: What was found, in words.
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
