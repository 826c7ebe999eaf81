"""Measures how far a network in a population drifts from the same network alone, by epoch and number format."""

from __future__ import annotations

from typing import Any

import torch

from sweeper.model import Epoch, Lattice, Pressures, TaskDefinition, Trained, TrainingSettings, Window, load_task, train

EPOCHS = 6


def first_network(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the weights of a population's first network, from its current lattice."""
    shard = next(shard for shard in state["shards"] if 0 in shard["members"])
    lattice = Lattice(Window(**shard["window"]), shard["members"])
    lattice.load_state_dict(shard["lattice"], assign=True)
    row = shard["members"].index(0)
    return {name: weight[row].detach().clone() for name, weight in lattice.named_parameters()}


def weights_by_epoch(
    members: list[Pressures], dtype: torch.dtype
) -> tuple[list[dict[str, torch.Tensor]], list[Trained]]:
    """Train on ten digits; return the first network's weights after each epoch, and the results."""
    task = load_task(TaskDefinition(classes=10))
    window = Window((8, 8, 8), 6, task.image, task.classes, standardize="images")
    settings = TrainingSettings(epochs=EPOCHS, batch_size=64, learning_rate=1e-2, solver="backprop", step_loss=0.2)
    kept: list[dict[str, torch.Tensor]] = []

    def keep(epoch: Epoch) -> None:
        kept.append(first_network(epoch.state()))

    return kept, train(task, window, members, settings, report=keep, dtype=dtype)


def main() -> None:
    """Print the largest difference of any weight of the first network, P = 2 against P = 1, after each epoch."""
    torch.set_num_threads(1)
    members = [Pressures(1e-5, 1e-5, 0.02, 0), Pressures(1e-4, 1e-4, 0.05, 1)]
    print(
        "| format | " + " | ".join(f"epoch {epoch}" for epoch in range(1, EPOCHS + 1)) + " | accuracy together, alone |"
    )
    print("|---" * (EPOCHS + 2) + "|")
    for dtype in (torch.float32, torch.float64):
        together, first = weights_by_epoch(members, dtype)
        alone, only = weights_by_epoch(members[:1], dtype)
        drift = [
            max(float((a[name].double() - b[name].double()).abs().max()) for name in a)
            for a, b in zip(together, alone, strict=True)
        ]
        accuracies = f"{first[0].measurement['accuracy']:.3f}, {only[0].measurement['accuracy']:.3f}"
        print(
            f"| {str(dtype).removeprefix('torch.')} | " + " | ".join(f"{d:.0e}" for d in drift) + f" | {accuracies} |"
        )


if __name__ == "__main__":
    main()
