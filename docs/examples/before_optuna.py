"""The same sweep with Optuna alone."""

import optuna
from mlp import accuracy_of, network_of, size_of, train_one_epoch


def objective(trial):
    hidden = trial.suggest_int("hidden", 8, 128)
    lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    network, optimizer = network_of(hidden, lr)
    for _ in range(10):  # with several objectives Optuna stops no trial early
        train_one_epoch(network, optimizer)
    return accuracy_of(network), size_of(network)


if __name__ == "__main__":
    study = optuna.create_study(
        study_name="tuned", storage="sqlite:///tuned.db", directions=["maximize", "minimize"], load_if_exists=True
    )
    study.optimize(objective, n_trials=8)
    for trial in study.best_trials:
        print(trial.params, trial.values)
