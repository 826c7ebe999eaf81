"""The same sweep with Ray Tune and its Optuna searcher."""

import tempfile
from pathlib import Path

import torch
from mlp import accuracy_of, network_of, size_of, train_one_epoch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch


def train(config):
    network, optimizer = network_of(config["hidden"], config["lr"])
    first = 0
    if (checkpoint := tune.get_checkpoint()) is not None:
        with checkpoint.as_directory() as folder:
            state = torch.load(Path(folder, "state.pt"))
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"] + 1
    for epoch in range(first, 10):
        train_one_epoch(network, optimizer)
        with tempfile.TemporaryDirectory() as folder:
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
            torch.save(state, Path(folder, "state.pt"))
            measures = {"accuracy": accuracy_of(network), "parameters": size_of(network)}
            tune.report(measures, checkpoint=tune.Checkpoint.from_directory(folder))


if __name__ == "__main__":
    tuner = tune.Tuner(
        train,
        param_space={"hidden": tune.randint(8, 129), "lr": tune.loguniform(1e-4, 1e-1)},
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",  # ASHA stops by one metric
            num_samples=8,
            search_alg=OptunaSearch(),
            scheduler=ASHAScheduler(max_t=10, grace_period=3),
        ),
        run_config=tune.RunConfig(name="tuned", storage_path=str(Path("ray_results").absolute())),
    )
    best = tuner.fit().get_best_result()
    print("best:", best.config, best.metrics["accuracy"])
