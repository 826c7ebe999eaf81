"""Which ingredients make adaptive time adapt: each left out in turn, measured on images hidden in part.

Networks are trained on whole images only. A recipe adapts if hidden images take more steps than whole ones, in every
seed and also in networks squeezed in space, and if the expected step differs between images at all.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from sweeper.model import Pressures, Task, TaskDefinition, TrainingSettings, Window, load_task, train
from sweeper.model.counting import Evaluation, evaluate
from sweeper.model.degradations import occlude_grey
from sweeper.model.lattice import Lattice
from sweeper.model.tasks import Images

DIGITS = "digits"

#: Where image files lie beside a checkout; see tests/model/test_tasks.py.
SHARED = Path(__file__).parents[2] / "shared" / "data"

#: Shares of the area that are hidden from test images, and how many random places are averaged.
HIDDEN = (0.1, 0.25, 0.4)
PLACES = 5

Row = dict[str, float | str]


def _blind(logits_TBPK: Tensor) -> Tensor:
    return torch.zeros_like(logits_TBPK[..., 0])


#: What is replaced in the model to leave an ingredient out; a bound far away is none.
REPLACED: dict[str, tuple[str, object]] = {
    "sureness": ("sweeper.model.lattice.sureness", _blind),
    "bound": ("sweeper.model.time_selection.HAZARD_BOUND", 1e6),
}

#: Ingredients that are settings, with their weights.
WEIGHTS = {"step_loss": 0.2}


def hidden_images(images: Images, share: float) -> Images:
    """Return every image `PLACES` times, with a square hidden at another place each time."""
    rng = np.random.default_rng([1, round(share * 100)])
    pixels = np.concatenate([occlude_grey(images.pixels.numpy(), share, rng) for _ in range(PLACES)])
    return Images(torch.from_numpy(pixels), images.labels.repeat(PLACES))


def figures(network: Lattice, whole: Images, hidden: dict[float, Images]) -> Row:
    """Measure one cut network; steps are expected steps, their spread is over the whole images."""

    def shares(seen: Evaluation) -> Row:
        return {
            "steps": float(seen.expected_steps.double().mean()),
            "accuracy": float(seen.mixture_is_right.double().mean()),
            "exit_steps": float(seen.step.double().mean()),
            "exit_accuracy": float(seen.is_right.double().mean()),
        }

    seen = evaluate(network, whole)
    steps, right = seen.expected_steps[:, 0].double(), seen.mixture_is_right[:, 0]
    wrong_longer = float(steps[~right].mean() - steps[right].mean()) if 0 < right.sum() < len(right) else 0.0
    row: Row = {"spread": float(steps.std()), "wrong_longer": wrong_longer, **shares(seen)}
    row |= {"last_step": float(seen.last_step_share.mean()), "channels": float(sum(network.window.channels))}
    row |= {"sureness_weight": network.hazard_sureness.item(), "hazard_bias": network.hazard_bias.item()}
    for share, images in hidden.items():
        row |= {f"{name}_{share:g}": value for name, value in shares(evaluate(network, images)).items()}
    return row


def train_and_measure(
    without: Sequence[str], task: Task, window: Window, members: Sequence[Pressures], epochs: int
) -> list[Row]:
    """Train one population without some ingredients and return a row for each of its networks."""
    weights = {name: 0.0 if name in without else weight for name, weight in WEIGHTS.items()}
    settings = TrainingSettings(epochs=epochs, batch_size=64, learning_rate=3e-3, solver="proximal", **weights)
    hidden = {share: hidden_images(task.test, share) for share in HIDDEN}
    rows: list[Row] = []
    with ExitStack() as replaced:
        for name in REPLACED.keys() & set(without):
            replaced.enter_context(patch(*REPLACED[name]))
        for member, trained in zip(members, train(task, window, members, settings), strict=True):
            row: Row = {"breadth": member.breadth, "time": member.time, "seed": member.seed}
            rows.append(row | (figures(trained.network, task.test, hidden) if trained.network else {}))
    return rows


def summary(rows: Sequence[Row]) -> str:
    """Return what `HEADER` names: means over seeds, and ± one standard deviation over seeds."""

    def values(name: str, less: str | None = None) -> list[float]:
        return [float(row[name]) - (float(row[less]) if less else 0.0) for row in rows]

    def mean(name: str, digits: int = 2) -> str:
        return f"{statistics.mean(values(name)):.{digits}f}"

    def over_seeds(numbers: list[float]) -> str:
        return f"{statistics.mean(numbers):.2f} ± {statistics.stdev(numbers) if len(numbers) > 1 else 0:.2f}"

    more = [values(f"steps_{share:g}", less="steps") for share in HIDDEN]
    cells = [
        mean("channels", 0),
        over_seeds(values("steps")),
        *(over_seeds(numbers) for numbers in more),
        ", ".join(str(sum(number > 0 for number in numbers)) for numbers in more) + f" of {len(rows)}",
        over_seeds(values("spread")),
        over_seeds(values("wrong_longer")),
        mean("last_step"),
        f"{mean('accuracy', 3)}, {mean('accuracy_0.25', 3)}",
        f"{mean('exit_steps')}, {mean('exit_accuracy', 3)}",
    ]
    return " | ".join(cells)


HEADER = (
    "| left out | λ_breadth | λ_time | channels | steps | 10 % hidden | 25 % | 40 % | seeds that rise | spread "
    "over images | wrong − right | at the last step | right: whole, 25 % hidden | hard exit: steps, right |\n|"
    + "---|"
    * 14
)


def load(data: str) -> Task:
    """Return ten digits, or a part of an image file beside the repository."""
    if data == DIGITS:
        return load_task(TaskDefinition())
    train_file, test_file = (SHARED / f"{data}_{part}.parquet" for part in ("train", "test"))
    if not train_file.is_file():
        raise SystemExit(f"{data} needs {train_file}, which is not there. Leave out --data for the embedded digits.")
    return load_task(TaskDefinition(data=str(train_file), test=str(test_file), train_images=1500, test_images=500))


def main() -> None:
    """Print one row for each pair of pressures; every network goes to a file of JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=DIGITS, choices=[DIGITS, "mnist", "fashion_mnist", "cifar10"])
    parser.add_argument("--without", nargs="+", choices=[*REPLACED, *WEIGHTS], default=[], help="leave these out")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--breadth", nargs="+", type=float, default=[1e-5, 5e-4, 1e-3])
    parser.add_argument("--time", nargs="+", type=float, default=[0.1, 0.2])
    parser.add_argument("--json", type=Path, help="append one line per network")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    task = load(asked.data)
    # Larger images are halved twice, so that what a layer sees of the image is alike.
    halve = () if asked.data == DIGITS else (2, 3)
    window = Window((8, 8, 8), asked.steps, task.image, task.classes, halve=halve)
    pairs = list(product(asked.breadth, asked.time))
    members = [Pressures(breadth, 0.0, pressure, seed) for breadth, pressure in pairs for seed in asked.seeds]
    rows = train_and_measure(asked.without, task, window, members, asked.epochs)
    if asked.json:
        facts = {"data": asked.data, "without": asked.without, "T": asked.steps, "epochs": asked.epochs}
        with asked.json.open("a") as file:
            file.writelines(json.dumps(facts | row) + "\n" for row in rows)
    print(HEADER)
    for breadth, pressure in pairs:
        mine = [row for row in rows if (row["breadth"], row["time"]) == (breadth, pressure) and "steps" in row]
        if mine:
            print(f"| {', '.join(asked.without) or 'nothing'} | {breadth:g} | {pressure:g} | {summary(mine)} |")


if __name__ == "__main__":
    main()
