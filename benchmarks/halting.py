"""Which rule decides best when to answer, and can it differ from confidence? Written before any experiment.

Question: `confidence` halts only by how sure the readout is. A hazard that reads the pooled activations (`state`) could
know more. Trained naively, it settles on one step for all images. What makes it train stably, and is it then worth
having?

Criteria, over at least three seeds, on held-out images:

(a) accuracy at the operating point, where each image halts at the median of its step distribution, against mean steps.
    At equal mean steps it is compared with two other rules on the same network's readouts: all images halt at one step
    (mixing the two nearest), or each halts as soon as the top class is likely enough, with the level that gives that
    mean. It is also compared with networks of `confidence` and `fixed` at equal time pressures;
(b) steps differ between images: the standard deviation of steps over images. A network has collapsed if it is below
    0.1, where at most one image in a hundred takes another step than the rest;
(c) the share of its steps that confidence explains, `steps_by_confidence`; near 1 for the rule `confidence`;
(d) results on ten digits, and on a part of Fashion-MNIST.

A variant is worth keeping if no seed collapses, its accuracy at equal steps is not below that of `confidence`, and (c)
is clearly below that of `confidence`.

All variants of all seeds are trained side by side in one population: a variant is a set of weights in the loss of its
members. `confidence` and `fixed` are the lattice's own hazards in the place of the state's hazard.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from sweeper.model import Images, Pressures, Task, TaskDefinition, TrainingSettings, Window, evaluate, load_task
from sweeper.model.costs import time_cost
from sweeper.model.counting import alone, steps_by_confidence
from sweeper.model.lattice import Lattice, LatticeAnswer, pooled_std
from sweeper.model.learning import Learned
from sweeper.model.population import TrainingPopulation
from sweeper.model.shard import Course, Shard
from sweeper.model.time_selection import sureness

#: Folder of image files beside a checkout; see tests/model/test_tasks.py.
SHARED = Path(__file__).parents[2] / "shared" / "data"

COLLAPSED_BELOW = 0.1

STATE, CONFIDENCE, FIXED = range(3)


@dataclass(frozen=True)
class Variant:
    """Terms of a network's loss beside the mixture's loss, a small loss of every step, and the time cost.

    Attributes:
        rule: Kind of the hazard.
        expected: 1: the expected loss Σ p(t) · CE(z_t) replaces the mixture's loss.
        benefit: Weight of the regression of the hazard on the benefit of going on; only this term then trains the
            hazard.
        blind: 1: no gradient flows from the hazard into the activations.
        entropy: Weight of the entropy of p(t|x), which fades to 0 by 80 % of the training.
        prior: Weight of the divergence of p(t|x) from a geometric distribution of rate 0.35, truncated at the window.
        spread: Weight of the standard deviation of the expected step over the images of a batch.
        standard: 1: pooled activations are standardised over images and steps.
        running: Pooled activations are standardised by running statistics, which the network keeps: 1: as constants; 2:
            in training by the batch's own statistics, as in batch normalisation; 3: by constants, with gradients
            through the batch's own statistics, as `state` does.
        unit: If above 0, pooled activations are scaled to this length.
    """

    rule: int = STATE
    expected: float = 0.0
    benefit: float = 0.0
    blind: float = 0.0
    entropy: float = 0.0
    prior: float = 0.0
    spread: float = 0.0
    standard: float = 0.0
    running: float = 0.0
    unit: float = 0.0


VARIANTS: Mapping[str, Variant] = {
    "confidence": Variant(rule=CONFIDENCE),
    "fixed": Variant(rule=FIXED),
    "naive": Variant(),
    "expected loss": Variant(expected=1),
    "benefit": Variant(benefit=1),
    "benefit, blind": Variant(benefit=1, blind=1),
    "entropy": Variant(entropy=0.1),
    "prior": Variant(prior=0.05),
    "spread": Variant(spread=0.05),
    "standardised": Variant(standard=1),
    "standardised, expected loss": Variant(standard=1, expected=1),
    "standardised, benefit": Variant(standard=1, benefit=1),
    "state": Variant(running=3, expected=1),
    "state, mixture": Variant(running=3),
    "batch, then running": Variant(running=2, expected=1),
    "running": Variant(running=1, expected=1),
    "running, mixture": Variant(running=1),
    "running, blind": Variant(running=1, expected=1, blind=1),
    "length 4, expected loss": Variant(unit=4, expected=1),
    "length 10, expected loss": Variant(unit=10, expected=1),
}


@dataclass
class SideBySide:
    """Members of a population with their variants; its methods replace the model's own during training.

    Attributes:
        variants: Variant of each member.
        rows: Members in the current computation.
        done: Share of the training done.
    """

    variants: Sequence[Variant]
    rows: Sequence[int] = ()
    done: float = 0.0

    def weight(self, name: str) -> Tensor:
        """Return one weight of the current members, shape (P,)."""
        return torch.tensor([float(getattr(self.variants[row], name)) for row in self.rows])

    def learn(
        self,
        lattice: Lattice,
        images: Tensor,
        labels_BP: Tensor,
        step_loss: float,
        time_P: Tensor,
        own_price: object = None,
    ) -> Learned:
        """Stand in for `model.learning.learn`: set the gradients of these losses, in torch."""
        answer = lattice.answer(lattice.seen(images))
        loss_P = self.loss(answer, labels_BP, step_loss, time_P)
        for parameter in lattice.parameters():
            parameter.grad = None
        loss_P.sum().backward()  # type: ignore[no-untyped-call]
        steps_P, share_TP = time_cost(answer).detach(), answer.step_dist_TBP.detach().mean(1)
        return Learned(loss_P.detach(), steps_P, share_TP, answer.features_TBPF.detach())

    def loss(self, answer: LatticeAnswer, labels_BP: Tensor, step_loss: float, time_P: Tensor) -> Tensor:
        """Return each network's loss with the price of its time, shape (P,)."""
        dist_TBP, log_probs_TBPK = answer.step_dist_TBP, answer.logits_TBPK.log_softmax(-1)
        loss_TBP = -log_probs_TBPK.gather(3, labels_BP[..., None].expand(len(dist_TBP), -1, -1, -1))[..., 0]
        steps_T11 = torch.arange(1.0, len(dist_TBP) + 1)[:, None, None]
        is_benefit_P = self.weight("benefit") > 0
        # If the benefit trains the hazard, the answers' loss and the time cost do not.
        taken_TBP = torch.where(is_benefit_P, dist_TBP.detach(), dist_TBP)
        expected_P = (taken_TBP * loss_TBP).sum(0).mean(0)
        mixture_P = -torch.logsumexp(taken_TBP.clamp_min(1e-30).log() - loss_TBP, 0).mean(0)
        time_BP = (steps_T11 * dist_TBP).sum(0)
        entropy_P = -(dist_TBP * dist_TBP.clamp_min(1e-12).log()).sum(0).mean(0)
        prior_T11 = 0.35 * 0.65 ** (steps_T11 - 1)
        from_prior_TBP = dist_TBP * (dist_TBP.clamp_min(1e-12).log() - (prior_T11 / prior_T11.sum()).log())
        return (
            torch.where(self.weight("expected") > 0, expected_P, mixture_P)
            + step_loss * loss_TBP.mean((0, 1))
            + ~is_benefit_P * time_P * time_BP.mean(0)
            + self.weight("benefit") * benefit_loss(dist_TBP, loss_TBP.detach(), time_P)
            - self.weight("entropy") * max(0.0, 1 - self.done / 0.8) * entropy_P
            + self.weight("prior") * from_prior_TBP.sum(0).mean(0)
            - self.weight("spread") * (time_BP.var(0) + 1e-6).sqrt()
        )

    def hazard_logit(self, lattice: Lattice, features: Tensor, logits: Tensor) -> Tensor:
        """Return the hazard's logit of each step, shape (T, B, P)."""
        hazard_PF = torch.cat(list(lattice.hazard), dim=-1)[:, 0]
        seen = torch.where(self.weight("blind")[:, None] > 0, features.detach(), features)
        centre, scale = seen.mean((0, 1)), seen.std((0, 1)) + 1e-3
        seen = torch.where(self.weight("standard")[:, None] > 0, (seen - centre) / scale, seen)
        if lattice.pooled_mean is not None and lattice.pooled_var is not None:
            source = torch.where(self.weight("blind")[:, None] > 0, features.detach(), features)
            running = (source - lattice.pooled_mean) / pooled_std(lattice.pooled_var)
            batch = (source - source.mean((0, 1))) / pooled_std(source.var((0, 1)))
            usual = batch if torch.is_grad_enabled() else running
            for number, read in ((1, running), (2, usual), (3, lattice.standardized_pooled(source))):
                seen = torch.where(self.weight("running")[:, None] == number, read, seen)
        unit_P1 = self.weight("unit")[:, None]
        length = torch.linalg.vector_norm(seen, dim=-1, keepdim=True).clamp_min(1e-6)
        seen = torch.where(unit_P1 > 0, seen / length * unit_P1, seen)
        by_rule = {
            STATE: torch.einsum("tbpf,pf->tbp", seen, hazard_PF),
            CONFIDENCE: hazard_PF[:, 0] * sureness(logits),
            FIXED: hazard_PF[:, : len(features)].T[:, None].expand(*features.shape[:3]),
        }
        rule_P = self.weight("rule")
        logit_TBP = torch.zeros_like(by_rule[STATE])
        for rule, read_TBP in by_rule.items():
            logit_TBP = torch.where(rule_P == rule, read_TBP, logit_TBP)
        return lattice.hazard_bias + logit_TBP

    def advance(self, shard: Shard, first: int, last: int) -> None:
        """Make training steps as a shard does, and record its members and the time."""
        self.rows, self.done = shard.members, first / shard.course.updates
        _advance(shard, first, last)


_advance = Shard.advance


def benefit_loss(dist_TBP: Tensor, loss_TBP: Tensor, price_P: Tensor) -> Tensor:
    """Return how badly each hazard predicts whether going on is worth its price, shape (P,).

    V(t) = h(t) CE(t) + (1 − h(t)) (price + V(t+1)) is the expected cost from step t on. The loss of a hazard is the
    binary cross-entropy against whether CE(t) is less than price + V(t+1), weighted by the difference. At its minimum
    the hazard is ½ wherever the state predicts that halting and going on cost the same.
    """
    survival_TBP = dist_TBP.flip(0).cumsum(0).flip(0)
    hazard_TBP = (dist_TBP / survival_TBP.clamp_min(1e-12)).clamp(1e-6, 1 - 1e-6)
    total_BP, value_BP = torch.zeros_like(loss_TBP[0]), loss_TBP[-1]
    for hazard_BP, halting_BP in zip(hazard_TBP[:-1].flip(0), loss_TBP[:-1].flip(0), strict=True):
        going_on_BP = price_P + value_BP
        gain_BP = going_on_BP - halting_BP
        wrong_BP = -torch.where(gain_BP > 0, hazard_BP, 1 - hazard_BP).log()
        total_BP = total_BP + gain_BP.abs() * wrong_BP
        taken_BP = hazard_BP.detach()
        value_BP = taken_BP * halting_BP + (1 - taken_BP) * going_on_BP
    return total_BP.mean(0)


def figures(network: Lattice, images: Images) -> dict[str, float | None]:
    """Measure one cut network."""
    with torch.no_grad():
        seen, answer = evaluate(network, images), network(images.pixels)
    logits_TBK = answer.logits_TBPK[:, :, 0]
    is_right_TB = (logits_TBK.argmax(-1) == images.labels).double()
    steps_B = seen.step[:, 0].double()
    mean, by_step = float(steps_B.mean()), is_right_TB.mean(1).tolist()
    whole = min(int(mean), len(by_step) - 1)
    sure_steps_B = _halting_when_sure(logits_TBK.log_softmax(-1).amax(-1), mean)
    return {
        "steps": mean,
        "spread": float(steps_B.std()),
        "accuracy": float(seen.is_right.double().mean()),
        "accuracy_at_one_step": by_step[whole - 1] + (mean - whole) * (by_step[whole] - by_step[whole - 1]),
        "accuracy_when_sure": float(is_right_TB.gather(0, sure_steps_B[None] - 1).mean()),
        "accuracy_at_last_step": by_step[-1],
        "by_confidence": steps_by_confidence(seen),
    }


def _halting_when_sure(log_top_TB: Tensor, mean: float) -> Tensor:
    """Return the steps of images that halt once the top class reaches a level, chosen for `mean` steps on average."""
    low, high = float(log_top_TB.min()) - 1, 0.0
    for _ in range(40):
        level = (low + high) / 2
        is_sure_TB = log_top_TB >= level
        is_sure_TB[-1] = True
        steps_B = is_sure_TB.int().argmax(0) + 1
        low, high = (low, level) if float(steps_B.double().mean()) > mean else (level, high)
    return steps_B


def train_all(
    task: Task, names: Sequence[str], seeds: Sequence[int], price: float, epochs: int
) -> list[dict[str, object]]:
    """Train all variants and seeds side by side; return a row for each network."""
    chosen = [(name, seed) for name in names for seed in seeds]
    beside = SideBySide([VARIANTS[name] for name, _ in chosen])
    window = Window(
        (8, 8),
        6,
        task.image,
        task.classes,
        halve=() if task.image[1] <= 8 else (1, 2),
        time_selection="state",
        standardize="images",
    )
    settings = TrainingSettings(epochs=epochs, batch_size=64, learning_rate=3e-3, solver="proximal", step_loss=0.2)
    course = Course([Pressures(0, 0, price, seed) for _, seed in chosen], settings, task.train)
    with ExitStack() as replaced:
        for place, function in (
            ("shard.learn", beside.learn),
            ("shard.Shard.advance", beside.advance),
            ("lattice.Lattice.hazard_logit", beside.hazard_logit),
        ):
            # A plain function gets the shard or lattice as its first argument, as a method does.
            replaced.enter_context(patch(f"sweeper.model.{place}", lambda *given, call=function: call(*given)))
        replaced.enter_context(patch("sweeper.model.growth.DEAD_SHARE", -1.0))  # no step closes: one shard keeps all
        population = TrainingPopulation(course, window, None, torch.zeros(0))
        for _ in range(epochs):
            population.run_epoch()
        (shard,) = population.shards
        rows: list[dict[str, object]] = []
        for row, (name, seed) in enumerate(chosen):
            beside.rows = [row]
            rows.append({"variant": name, "seed": seed, **figures(alone(shard.lattice, row), task.test)})
    return rows


HEADER = (
    "| variant | steps | spread over images | collapsed | right | all at one step | when sure | at the last step "
    "| steps by confidence |\n|---|---|---|---|---|---|---|---|---|"
)


def line(name: str, rows: Sequence[Mapping[str, object]]) -> str:
    """Return a variant's row of the table: means over seeds, and some columns seed by seed."""

    def each(column: str) -> str:
        return ", ".join("–" if row[column] is None else f"{row[column]:.2f}" for row in rows)

    def mean(column: str) -> str:
        return f"{statistics.mean(float(str(row[column])) for row in rows):.3f}"

    collapsed = sum(float(str(row["spread"])) < COLLAPSED_BELOW for row in rows)
    accuracies = map(mean, ("accuracy", "accuracy_at_one_step", "accuracy_when_sure", "accuracy_at_last_step"))
    cells = [each("steps"), each("spread"), f"{collapsed} of {len(rows)}", *accuracies, each("by_confidence")]
    return f"| {name} | {' | '.join(cells)} |"


def load(data: str, train_images: int) -> Task:
    """Return ten digits, or a part of an image file beside the repository."""
    if data == "digits":
        return load_task(TaskDefinition())
    train_file, test_file = (SHARED / f"{data}_{part}.parquet" for part in ("train", "test"))
    if not train_file.is_file():
        raise SystemExit(f"{data} needs {train_file}, which is not there. Leave out --data for the embedded digits.")
    files = {"data": str(train_file), "test": str(test_file)}
    return load_task(TaskDefinition(**files, train_images=train_images, test_images=1000))


def main() -> None:
    """Print one row for each variant; every network goes to a file of JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", choices=["digits", "mnist", "fashion_mnist", "cifar10"])
    parser.add_argument("--train-images", type=int, default=3000, help="of a file")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--price", type=float, default=0.1, help="pressure on time")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--json", type=Path, help="append one line per network")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = train_all(load(asked.data, asked.train_images), asked.variants, asked.seeds, asked.price, asked.epochs)
    if asked.json:
        facts = {"data": asked.data, "price": asked.price, "epochs": asked.epochs}
        with asked.json.open("a") as file:
            file.writelines(json.dumps(facts | row) + "\n" for row in rows)
    print(HEADER)
    for name in asked.variants:
        print(line(name, [row for row in rows if row["variant"] == name]))


if __name__ == "__main__":
    main()
