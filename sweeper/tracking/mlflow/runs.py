"""What a trial and a front become in MLflow, and how they are told from what MLflow holds. Nothing is sent here."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeper.analysis.fronts import Front
from sweeper.analysis.points import axis_column
from sweeper.tracking.mlflow.client import FRONT
from sweeper.tracking.recorder import shortened
from sweeper.trial import State, TrialRecord

if TYPE_CHECKING:
    from sweeper.tracking.mlflow.client import Run

#: The tag that tells a sweep from another one of its name.
IDENTITY = "sweeper.identity"

#: The tag that says what a sweep optimises.
AIMS = "sweeper.aims"

#: The tag that says how a sweep stands while it runs.
LIVE = "sweeper.live"

#: The tag that says which attempt of a trial a run mirrors.
ATTEMPT = "sweeper.attempt"

#: The tags with the digests of the spec's two files, by their paths.
SPECS = {"spec.yaml": "sweeper.sha256.spec", "spec_resolved.json": "sweeper.sha256.spec_resolved"}

#: The status of a trial's run, which is its commit mark.
STATUSES = {State.COMPLETE: "FINISHED", State.PRUNED: "KILLED", State.FAILED: "FAILED"}
COMMITTED = tuple(STATUSES.values())

_LONGEST_PARAM = 6000
_MOST_CURVE_POINTS = 50

#: What is counted stays as it is for most epochs.
_COUNTS = ("breadth", "depth", "channels")


def trial_tags(trial: TrialRecord) -> dict[str, str]:
    """Return what identifies a trial and how it ended, without empty texts."""
    tags = {
        "sweeper.task": trial.task,
        "sweeper.state": trial.state.value,
        "sweeper.outcome": trial.outcome.value if trial.outcome else "",
        "sweeper.reason": shortened(trial.reason),
        "sweeper.setting_key": trial.setting_key,
        "sweeper.population": trial.population,
        ATTEMPT: str(trial.attempt),
    }
    for name, values in trial.details.items():
        tags[f"sweeper.{name}"] = shortened(json.dumps(list(values)))
    return {name: value for name, value in tags.items() if value}


def attempt_of(run: Run) -> int:
    """Return which attempt of its trial a run mirrors, as far as it says."""
    text = run.data.tags.get(ATTEMPT, "")
    return int(text) if text.isdecimal() else 0


def trial_params(trial: TrialRecord) -> dict[str, str]:
    """Return the whole setting as texts."""
    return {name: shortened(str(value), _LONGEST_PARAM) for name, value in trial.setting.items()}


def trial_metrics(trial: TrialRecord) -> list[tuple[str, float, int, int]]:
    """Return (name, value, step, Unix milliseconds) of everything about a trial that is a finite number.

    Params are texts that MLflow cannot order, so pressures and numeric axes are metrics as well. Of a count that stays
    the same over epochs the first and the last of them are told: a chart draws the same line between.
    """
    finals: dict[str, Any] = {k: v for k, v in trial.setting.items() if k.endswith("_pressure")}
    finals |= {axis_column(name, trial.own_units): value for name, value in trial.axes.items()}
    finals |= trial.measurement
    now_ms = time_of(trial)
    metrics = [(name, float(value), 0, now_ms) for name, value in finals.items() if _is_finite(value)]
    curve = thinned(trial.curve)
    for index, point in enumerate(curve):
        step, beside = int(point["epoch"]), curve[max(index - 1, 0) : index + 2]
        for name, value in point.items():
            is_told = name in _COUNTS and 0 < index < len(curve) - 1 and all(p.get(name) == value for p in beside)
            if name != "epoch" and not is_told and _is_finite(value):
                metrics.append((f"epoch/{name}", float(value), step, now_ms))
    return metrics


def time_of(trial: TrialRecord) -> int:
    """Return when a trial ended by the ledger's clock, Unix milliseconds."""
    return trial.ended_ms or trial.started_ms or 0


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def thinned(curve: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """Return at most `_MOST_CURVE_POINTS` points, evenly spread, the first and the last among them."""
    if len(curve) <= _MOST_CURVE_POINTS:
        return list(curve)
    last, gaps = len(curve) - 1, _MOST_CURVE_POINTS - 1
    return [curve[round(i * last / gaps)] for i in range(_MOST_CURVE_POINTS)]


def network_path(key: str) -> str:
    """Return where the network of a trial is stored among the artifacts of its sweep's run."""
    return f"networks/{key}.safetensors"


def front_mark(front: Front, path: str) -> tuple[str, str]:
    """Return name and value of the tag that commits a stored front to its sweep's run."""
    mark = {
        "version": front.version,
        "path": path,
        "points": front.table.num_rows,
        "hypervolume": front.hypervolume,
    }
    return f"{FRONT}.{front.key}", json.dumps(mark)


def front_marks(parent: Run) -> dict[str, dict[str, Any]]:
    """Return the committed fronts by key, as `front_mark` wrote them on the sweep's run."""
    prefix = f"{FRONT}."
    tags = parent.data.tags.items()
    return {key.removeprefix(prefix): json.loads(value) for key, value in tags if key.startswith(prefix)}
