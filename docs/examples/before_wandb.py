"""The same sweep with W&B: the program that its agent starts for each trial."""

import wandb
from mlp import accuracy_of, network_of, size_of, train_one_epoch

with wandb.init() as run:
    network, optimizer = network_of(run.config["hidden"], run.config["lr"])
    for _ in range(10):
        train_one_epoch(network, optimizer)
        run.log({"accuracy": accuracy_of(network), "parameters": size_of(network)})
