"""Trains the points of a sweep in a plain Ray Tune grid with MLflowLoggerCallback. Parts (c) and (d) of overhead.py.

The script follows the manuals of Ray and MLflow: each trial trains one network on one CPU and reports its epochs, runs
go to a SQLite MLflow, and everything else is left at its default. Only the points come from a space of this project.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import ray
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback

from sweeper import model
from sweeper.spec import LatticeSetting, load_spec
from sweeper.training import inputs


def train(config: dict[str, Any], recurrence: str | None = None) -> None:
    """Train one network and report its epochs; the last report contains all measurements."""
    import torch  # not at the top: cloudpickle would confuse `task.classes` with the unpicklable `torch.classes`

    torch.set_num_threads(1)  # the one CPU of the trial
    setting = LatticeSetting.from_flat(config)
    task = inputs.load_task(setting.task)
    window, training = inputs.window_of(setting, task), inputs.training_of(setting)
    with patch("sweeper.model.lattice.usable", lambda: [recurrence]) if recurrence else nullcontext():
        (trained,) = model.train(
            task, window, inputs.members_of([setting]), training, report=lambda epoch: tune.report(epoch.values[0])
        )
    if trained.network is None:
        raise RuntimeError(trained.reason)
    tune.report(trained.measurement)  # breadth and depth are counted after training


def search_space(space: str) -> dict[str, Any]:
    """Return the grid: `tune.grid_search` for varied parameters, plain values for constants."""
    values: dict[str, list[Any]] = {}
    for setting in load_spec(space).spec.settings():
        for name, value in setting.flat().items():
            seen = values.setdefault(name, [])
            if value not in seen:
                seen.append(value)
    return {name: tune.grid_search(seen) if len(seen) > 1 else seen[0] for name, seen in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", help="a YAML file, or the name of a shipped space")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--folder", type=Path, required=True, help="where trials and mlflow.db go")
    parser.add_argument("--recurrence", choices=["torch"], help="default: in compiled code, as in a sweep")
    parser.add_argument("--out", type=Path, help="write what each network measured, as JSON")
    args = parser.parse_args()
    folder = args.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    mlflow = MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}", experiment_name="plain")
    ray.init(address="local", num_cpus=args.cpus)  # never a cluster that already runs here
    tuner = tune.Tuner(
        partial(train, recurrence=args.recurrence),
        param_space=search_space(args.space),
        run_config=tune.RunConfig(name="plain", storage_path=str(folder / "trials"), callbacks=[mlflow]),
    )
    results = tuner.fit()
    if args.out:
        rows = [{"setting": result.config, "measured": result.metrics} for result in results if not result.error]
        args.out.write_text(json.dumps(rows, default=str), encoding="utf-8")
    print(f"{len(results) - results.num_errors} networks trained, {results.num_errors} failed")
    sys.exit(1 if results.num_errors else 0)


if __name__ == "__main__":
    main()
