"""The training of peers.py under Ray Tune: OptunaSearch, MLflowLoggerCallback, Tuner.restore. Run by peers.py."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import ray
from peer_training import Training
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.search.optuna import OptunaSearch


def train(config: dict[str, Any]) -> None:
    training, first = Training(**config), 0
    if (checkpoint := tune.get_checkpoint()) is not None:
        with checkpoint.as_directory() as folder:
            first = training.load(Path(folder, "state.npz"))
    for epoch in range(first, config["epochs"]):
        loss = training.epoch(epoch)
        with tempfile.TemporaryDirectory() as folder:
            training.save(Path(folder, "state.npz"), epoch + 1)
            tune.report({"loss": loss, "epoch": epoch + 1}, checkpoint=tune.Checkpoint.from_directory(folder))
    training.done()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--given", required=True, help="what peers.py says, as JSON")
    parser.add_argument("--reuse", action="store_true", help="workers go on with the next trial")
    args = parser.parse_args()
    given = json.loads(args.given)
    folder, constants = Path(given["folder"]), given["constants"]
    ray.init(address="local", num_cpus=given["workers"], include_dashboard=False)
    trainable = tune.with_resources(train, {"cpu": 1})
    stored = str(folder / "tune" / "peers")
    if tune.Tuner.can_restore(stored):
        tuner = tune.Tuner.restore(stored, trainable, resume_errored=True)
    else:
        mlflow = MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}", experiment_name="peers")
        tuner = tune.Tuner(
            trainable,
            param_space={"x": tune.uniform(0, 1), "y": tune.uniform(0, 1), **constants},
            tune_config=tune.TuneConfig(
                num_samples=given["trials"],
                search_alg=OptunaSearch(metric="loss", mode="min"),
                reuse_actors=args.reuse,
            ),
            run_config=tune.RunConfig(
                name="peers",
                storage_path=str(folder / "tune"),
                callbacks=[mlflow],
                checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
                failure_config=tune.FailureConfig(max_failures=3),
            ),
        )
    rows = []
    for result in tuner.fit():
        metrics, config = result.metrics or {}, result.config or {}
        is_complete = not result.error and metrics.get("epoch") == constants["epochs"]
        state = "complete" if is_complete else "failed" if result.error else "running"
        rows.append({"x": config.get("x"), "y": config.get("y"), "state": state, "loss": metrics.get("loss")})
    (folder / "records.json").write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
