"""Translates trials and fronts into tags, params and metrics of MLflow, and back. Sends nothing."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from sweeper.analysis.fronts import Front
from sweeper.analysis.points import axis_column
from sweeper.errors import DamagedError, TrackingError
from sweeper.tracking.mlflow.client import FRONT, SWEEP
from sweeper.tracking.recorder import shortened
from sweeper.trial import State, TrialRecord

if TYPE_CHECKING:
    from sweeper.tracking.mlflow.client import Run

#: The tag with the fronts and the number of trials stored when the sweep last ended; none of them may be missing later.
CLOSED = "sweeper.closed"

#: The tag that distinguishes a sweep from another of the same name.
IDENTITY = "sweeper.identity"

#: The tag with a sweep's objectives and reference point.
AIMS = "sweeper.aims"

#: The tag with a sweep's state while it runs.
LIVE = "sweeper.live"

#: The tag with the attempt of a trial that a run mirrors.
ATTEMPT = "sweeper.attempt"

#: The tags with the digests of the spec's two files, by their paths.
SPECS = {"spec.yaml": "sweeper.sha256.spec", "spec_resolved.json": "sweeper.sha256.spec_resolved"}

#: The status of a trial's run, which is its commit mark.
STATUSES = {State.COMPLETE: "FINISHED", State.PRUNED: "KILLED", State.FAILED: "FAILED"}
COMMITTED = tuple(STATUSES.values())

_LONGEST_PARAM = 6000
_MOST_CURVE_POINTS = 50

#: Counts in a trial's curve, which stay the same for most epochs.
_COUNTS = ("breadth", "depth", "channels")


def trial_tags(trial: TrialRecord) -> dict[str, str]:
    """Return the tags that identify a trial and say how it ended, without empty texts."""
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
    """Return the attempt of its trial that a run mirrors; 0 if its tag does not say."""
    text = run.data.tags.get(ATTEMPT, "")
    return int(text) if text.isdecimal() else 0


def trial_params(trial: TrialRecord) -> dict[str, str]:
    """Return the whole setting as texts."""
    return {name: shortened(str(value), _LONGEST_PARAM) for name, value in trial.setting.items()}


def trial_metrics(trial: TrialRecord) -> list[tuple[str, float, int, int]]:
    """Return all finite numbers of a trial as (name, value, step, Unix milliseconds).

    Params are texts that MLflow cannot order, so pressures and numeric axes are metrics as well. If a count stays the
    same over epochs, only the first and the last of them are written, because a chart draws the same line.
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
    """Return when a trial ended (or else started) by the ledger's clock, Unix milliseconds."""
    return trial.ended_ms or trial.started_ms or 0


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def thinned(curve: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """Return at most `_MOST_CURVE_POINTS` evenly spaced points, with the first and the last among them."""
    if len(curve) <= _MOST_CURVE_POINTS:
        return list(curve)
    last, gaps = len(curve) - 1, _MOST_CURVE_POINTS - 1
    return [curve[round(i * last / gaps)] for i in range(_MOST_CURVE_POINTS)]


def network_path(key: str) -> str:
    """Return the path of a trial's network among the artifacts of its sweep's run."""
    return f"networks/{key}.safetensors"


def front_mark(front: Front, path: str, data: bytes) -> tuple[str, str]:
    """Return name and value of the tag that commits a stored front to its sweep's run.

    Args:
        front: The front.
        path, data: Path and content of its file; the mark keeps a digest, so that no other file is taken for it.
    """
    mark = {
        "version": front.version,
        "path": path,
        "sha256": hashlib.sha256(data).hexdigest(),
        "points": front.table.num_rows,
        "hypervolume": front.hypervolume,
    }
    return f"{FRONT}.{front.key}", json.dumps(mark)


def front_marks(parent: Run) -> dict[str, dict[str, Any]]:
    """Return the committed fronts by key, as `front_mark` wrote them on the sweep's run.

    Raises:
        TrackingError: If a mark is damaged or missing.
    """
    _closed(parent)
    found, torn = readable_marks(parent)
    if torn:
        raise TrackingError(damaged_tag(parent, f"{FRONT}.{torn[0]}"))
    return found


def readable_marks(parent: Run) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the committed fronts by key, and the keys of fronts whose marks are damaged or missing."""
    found: dict[str, dict[str, Any]] = {}
    torn = []
    for tag, value in parent.data.tags.items():
        if not tag.startswith(f"{FRONT}."):
            continue
        key = tag.removeprefix(f"{FRONT}.")
        try:
            mark = json.loads(value)
            kinds = {"version": int, "path": str, "points": int, "hypervolume": int | float}
            if not all(isinstance(mark[name], kind) for name, kind in kinds.items()):
                raise TypeError("it is of another kind")
            found[key] = mark
        except (ValueError, KeyError, TypeError):
            torn.append(key)
    with suppress(TrackingError):
        torn += [key for key in _closed(parent).get("fronts", []) if key not in found and key not in torn]
    return found, torn


def noted_trials(parent: Run) -> int:
    """Return how many trials were stored when the sweep last ended; 0 if its tag does not say."""
    return int(_closed(parent).get("trials", 0))


def closed_mark(fronts: Iterable[str], trials: int) -> tuple[str, str]:
    """Return name and value of the tag `CLOSED`."""
    return CLOSED, json.dumps({"fronts": sorted(fronts), "trials": trials})


def _closed(parent: Run) -> dict[str, Any]:
    """Return the content of the tag `CLOSED`; empty if the sweep has not ended, or an earlier version ended it.

    Raises:
        TrackingError: If the tag is damaged.
    """
    if (text := parent.data.tags.get(CLOSED)) is None:
        return {}
    try:
        noted = json.loads(text)
        return {"fronts": list(map(str, noted["fronts"])), "trials": int(noted["trials"])}
    except (ValueError, KeyError, TypeError):
        raise TrackingError(damaged_tag(parent, CLOSED)) from None


def damaged_tag(parent: Run, tag: str) -> str:
    """Return the message that a tag of a sweep's run is damaged or missing."""
    sweep = parent.data.tags.get(SWEEP, "NAME")
    return (
        f"the tag {tag} of the MLflow run {parent.info.run_id} of sweep {sweep!r} is gone, or holds something else "
        f"than was written. `sweeper mirror {sweep}` writes it again from the ledger."
    )


@contextmanager
def of_file(path: str, sweep: str) -> Iterator[None]:
    """Name the stored file in errors about its content."""
    try:
        yield
    except DamagedError as error:
        raise DamagedError(f"{path} of sweep '{sweep}' in MLflow is damaged: {error}") from error


def refuse_other_file(noted: object, data: bytes, path: str, sweep: str) -> None:
    """Check a file against its stored digest; files of earlier versions have none.

    Raises:
        DamagedError: If the digests differ.
    """
    if noted is not None and hashlib.sha256(data).hexdigest() != noted:
        raise DamagedError(
            f"{path} of sweep '{sweep}' is not as it was written: its digest is another one. Store it again with "
            f"`sweeper mirror {sweep}`."
        )
