"""The training of peers.py under Optuna: processes share a SQLite study, heartbeats detect dead ones. Run by peers.py.

RetryHeartbeatStaleTrialCallback retries interrupted trials, which resume from their checkpoints, as in Optuna's own
example. With --mlflow, MLflowCallback of optuna-integration records trials.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.study import MaxTrialsCallback
from optuna.trial import TrialState
from peer_training import Training

#: In seconds, as short as possible: a training of one second would be over before the 60 and 120 of Optuna's manual.
HEARTBEAT, GRACE = 1, 3


def study_of(folder: Path) -> optuna.Study:
    storage = RDBStorage(
        f"sqlite:///{folder / 'study.db'}",
        heartbeat_interval=HEARTBEAT,
        grace_period=GRACE,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=3),
    )
    return optuna.create_study(study_name="peers", storage=storage, direction="minimize", load_if_exists=True)


def prepare(folder: Path, is_mlflow: bool) -> None:
    """Create the databases before processes share them."""
    study_of(folder)
    if is_mlflow:
        import mlflow

        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        mlflow.set_experiment("peers")


def work(given: dict[str, Any], is_mlflow: bool) -> None:
    folder, constants = Path(given["folder"]), given["constants"]

    def objective(trial: optuna.Trial) -> float:
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        training, first = Training(x, y, **constants), 0
        frozen = trial.study.get_trials(deepcopy=False)[trial.number]  # knows the number of the trial that it retries
        retried = RetryHeartbeatStaleTrialCallback.retried_trial_number(frozen)
        number = trial.number if retried is None else retried
        kept = folder / "checkpoints" / str(number) / "state.npz"
        kept.parent.mkdir(parents=True, exist_ok=True)
        if kept.exists():
            first = training.load(kept)
        for epoch in range(first, constants["epochs"]):
            loss = training.epoch(epoch)
            aside = kept.with_name("aside.npz")
            training.save(aside, epoch + 1)
            os.replace(aside, kept)
            trial.report(loss, epoch)
        return training.done()

    callbacks: list[Any] = [MaxTrialsCallback(given["trials"], states=(TrialState.COMPLETE,))]
    if is_mlflow:
        from optuna_integration.mlflow import MLflowCallback

        callbacks.append(MLflowCallback(f"sqlite:///{folder / 'mlflow.db'}", metric_name="loss"))
    study_of(folder).optimize(objective, callbacks=callbacks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--given", required=True, help="what peers.py says, as JSON")
    parser.add_argument("--mlflow", action="store_true")
    args = parser.parse_args()
    given = json.loads(args.given)
    folder = Path(given["folder"])
    if args.mlflow:
        import_module("optuna_integration.mlflow")  # once before the fork, and not in every process
    fork = multiprocessing.get_context("fork")
    first = fork.Process(target=prepare, args=(folder, args.mlflow))
    first.start()
    first.join()
    workers = [fork.Process(target=work, args=(given, args.mlflow)) for _ in range(given["workers"])]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    rows = [
        {
            "x": trial.params.get("x"),
            "y": trial.params.get("y"),
            "state": {"fail": "failed"}.get(trial.state.name.lower(), trial.state.name.lower()),
            "loss": trial.value if trial.state is TrialState.COMPLETE else None,
        }
        for trial in study_of(folder).trials
    ]
    (folder / "records.json").write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
