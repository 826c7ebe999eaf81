"""How far a network trained in company drifts from the same network trained alone, by epoch and number format."""

from __future__ import annotations

import torch

from sweeper.model import Pressures, TaskDefinition, Trained, TrainingSettings, Window, load_task, train

EPOCHS = 6


def weights_by_epoch(
    members: list[Pressures], dtype: torch.dtype
) -> tuple[list[dict[str, torch.Tensor]], list[Trained]]:
    """Train on ten digits in the quickstart's window; return the weights after each epoch, and the results."""
    task = load_task(TaskDefinition(classes=10))
    window = Window((8, 8, 8), 6, task.image, task.classes)
    settings = TrainingSettings(epochs=EPOCHS, batch_size=64, learning_rate=3e-3, solver="proximal", step_loss=0.2)
    kept: list[dict[str, torch.Tensor]] = []

    def keep(epoch: object) -> None:
        kept.append({name: weight.clone() for name, weight in epoch.state()["lattice"].items()})  # type: ignore[attr-defined]

    return kept, train(task, window, members, settings, report=keep, dtype=dtype)


def main() -> None:
    """Print the largest difference of any weight of the first network, P = 2 against P = 1, after each epoch."""
    torch.set_num_threads(1)
    members = [Pressures(0.1, 0.0, 0.2, 0), Pressures(0.01, 0.4, 0.03, 1)]
    print(
        "| format | " + " | ".join(f"epoch {epoch}" for epoch in range(1, EPOCHS + 1)) + " | accuracy together, alone |"
    )
    print("|---" * (EPOCHS + 2) + "|")
    for dtype in (torch.float32, torch.float64):
        together, first = weights_by_epoch(members, dtype)
        alone, only = weights_by_epoch(members[:1], dtype)
        drift = [
            max(float((a[name][0].double() - b[name][0].double()).abs().max()) for name in a)
            for a, b in zip(together, alone, strict=True)
        ]
        accuracies = f"{first[0].measurement['accuracy']:.3f}, {only[0].measurement['accuracy']:.3f}"
        print(
            f"| {str(dtype).removeprefix('torch.')} | " + " | ".join(f"{d:.0e}" for d in drift) + f" | {accuracies} |"
        )


if __name__ == "__main__":
    main()
