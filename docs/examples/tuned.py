"""The same training as a function for sweeper."""

from mlp import accuracy_of, network_of, size_of, train_one_epoch


def train(trial, hidden: int, lr: float, epochs: int = 10):
    network, optimizer = network_of(hidden, lr)
    if trial.state:
        network.load_state_dict(trial.state["network"])
        optimizer.load_state_dict(trial.state["optimizer"])
    for _ in trial.epochs(epochs):
        train_one_epoch(network, optimizer)
        trial.report(
            state={"network": network.state_dict(), "optimizer": optimizer.state_dict()},
            accuracy=accuracy_of(network),
            parameters=size_of(network),
        )
