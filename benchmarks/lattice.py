"""Measures the gain of the compiled recurrence, and of the one in torch, over a straightforward PyTorch version.

    .venv/bin/python benchmarks/lattice.py [--device cuda] [--rounds 7] [--parts same,speed,tools,conventions,ideas]

`same` compares answers and gradients, and sets the exit code to 1 if they differ by more than rounding; `speed` times
training steps, also of populations, and compares their rate with a matrix product on the same core; `tools` applies
torch.compile to the plain version; `conventions` compares bottom-up input within the step and at the next one; `ideas`
reverts single ideas and choices of the recurrence in torch. Times are those of this process alone on the CPU, which
other processes disturb little, and synchronised wall time on a GPU. The versions take turns, and the least of all
rounds counts.
"""

from __future__ import annotations

import argparse
import math
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sweeper.model import Lattice, LatticeAnswer, Window, compiled, recurrence
from sweeper.model.adam import Adam
from sweeper.model.compute import use_threads
from sweeper.model.counting import count_macs
from sweeper.model.learning import Learned, learn
from sweeper.model.native.library import TORCH, usable
from sweeper.model.time_selection import adaptive_step_dist, sureness

BATCH, LAYERS, STEPS, CLASSES = 64, 3, 6, 10
STEP_LOSS, TIME_PRESSURE = 0.2, 0.01
#: Shape of the images, layers that halve them, and aim: speed-up of a compiled step over torch.
KINDS = [
    ((1, 8, 8), (), 3.5),
    ((1, 8, 8), (2,), 3.5),
    ((1, 14, 14), (), 1.0),
    ((1, 14, 14), (2,), 1.0),
    ((1, 28, 28), (), 1.0),
    ((1, 28, 28), (2, 3), 2.0),
    ((3, 32, 32), (), 1.0),
    ((3, 32, 32), (2, 3), 2.0),
]
#: Populations on 8×8 images: networks, channels, steps, batch.
POPULATIONS = [(6, (8, 8), 4, 32), (6, (5, 3), 4, 32), (8, (8, 8, 8), 4, 32), (8, (5, 3, 2), 4, 32)]
CHANNELS = (8, 16)
CONVENTIONS = ("within", "next")
#: Largest difference that counts as rounding, relative to the largest number of its tensor.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-3}


class Plain(nn.Module):
    """The equations written in the plainest way: a convolution per connection and step, and autograd."""

    def __init__(self, lattice: Lattice) -> None:
        super().__init__()
        self.window = window = lattice.window
        self.strides = [2 if layer in window.halve else 1 for layer in range(1, window.layers + 1)]

        def convolution(weight: Tensor, stride: int = 1, bias: Tensor | None = None) -> nn.Conv2d:
            outputs, inputs, k, _ = weight[0].shape
            made = nn.Conv2d(inputs, outputs, k, stride=stride, padding=k // 2, bias=bias is not None).to(weight)
            made.weight.data.copy_(weight[0])
            if made.bias is not None and bias is not None:
                made.bias.data.copy_(bias[0])
            return made

        self.bottom_up = nn.ModuleList(map(convolution, lattice.bottom_up, self.strides, lattice.bias))
        self.lateral = nn.ModuleList(map(convolution, lattice.lateral))
        self.top_down = nn.ModuleList(map(convolution, lattice.top_down))
        self.readout = nn.Linear(sum(window.channels), window.classes).to(lattice.readout_bias)
        self.readout.weight.data.copy_(torch.cat(list(lattice.readout), -1)[0])
        self.readout.bias.data.copy_(lattice.readout_bias[0])
        self.hazard_bias = nn.Parameter(lattice.hazard_bias.detach().clone())
        self.hazard_sureness = nn.Parameter(lattice.hazard_sureness.detach().clone())

    def forward(self, images: Tensor) -> LatticeAnswer:
        L, before, features = self.window.layers, [], []
        if self.window.up_delay:
            sides = [(c, *self.window.side(l)) for l, c in enumerate(self.window.channels, start=1)]
            before = [images.new_zeros(len(images), *side) for side in sides]
        for _ in range(self.window.steps):
            now: list[Tensor] = []
            for l in range(L):
                below = before if self.window.up_delay else now
                drive = self.bottom_up[l](below[l - 1] if l else images)
                if before:
                    drive = drive + self.lateral[l](before[l])
                if before and l + 1 < L:
                    down = self.top_down[l](before[l + 1])
                    drive = drive + (F.interpolate(down, drive.shape[-2:]) if self.strides[l + 1] > 1 else down)
                now.append(F.relu(drive))
            features.append(torch.cat([h.mean((-2, -1)) for h in now], -1))
            before = now
        features_TBPF = torch.stack(features)[:, :, None]
        logits_TBPK = self.readout(features_TBPF)
        entry_TP = logits_TBPK.new_ones(len(features), 1)
        hazard_logit_TBP = self.hazard_bias + self.hazard_sureness * sureness(logits_TBPK)
        return LatticeAnswer(logits_TBPK, adaptive_step_dist(hazard_logit_TBP, entry_TP), features_TBPF)

    def slopes(self) -> dict[str, Tensor]:
        """Return the gradients of all weights by the lattice's names."""
        found = {f"bias.{l}": c.bias.grad for l, c in enumerate(self.bottom_up)}
        found |= {f"readout.{l}": r for l, r in enumerate(self.readout.weight.grad.split(self.window.channels, -1))}
        for name in ("bottom_up", "lateral", "top_down"):
            found |= {f"{name}.{l}": c.weight.grad for l, c in enumerate(getattr(self, name))}
        found |= {"readout_bias": self.readout.bias.grad, "hazard_bias": self.hazard_bias.grad[0]}
        return {
            name: slope[None] for name, slope in (found | {"hazard_sureness": self.hazard_sureness.grad[0]}).items()
        }


def loss(answer: LatticeAnswer, labels_B: Tensor) -> Tensor:
    """Return one network's training loss: the mixture's loss, that of single steps and the time cost."""
    log_probs_TBK = answer.logits_TBPK[:, :, 0].log_softmax(-1)
    steps = -log_probs_TBK.gather(2, labels_B.expand(len(log_probs_TBK), -1)[..., None]).mean()
    return (
        F.nll_loss(answer.log_probs_BPK[:, 0], labels_B)
        + STEP_LOSS * steps
        + TIME_PRESSURE * answer.expected_steps_BP.mean()
    )


def seconds(device: str) -> float:
    """Return a clock in seconds: processor time on the CPU, or wall time once a GPU has finished."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def fastest(
    calls: Mapping[str, Callable[[], object]], device: str, rounds: int, least: float = 0.15
) -> dict[str, float]:
    """Return each call's milliseconds: the least of some rounds of `least` seconds each, in which calls take turns."""
    repeats: dict[str, int] = {}
    for name, call in calls.items():
        call()  # warms up
        start = seconds(device)
        call()
        repeats[name] = math.ceil(least / (seconds(device) - start))
    best = dict.fromkeys(calls, math.inf)
    for _ in range(rounds):
        for name, call in calls.items():
            start = seconds(device)
            for _ in range(repeats[name]):
                call()
            best[name] = min(best[name], (seconds(device) - start) / repeats[name] * 1e3)
    return best


def hardware(device: str) -> str:
    """Return date, hardware and torch version in one line."""
    name = platform.processor() or platform.machine()
    if device != "cpu":
        name = torch.cuda.get_device_name()
    elif (facts := Path("/proc/cpuinfo")).exists():
        lines = [line.split(":")[1].strip() for line in facts.read_text().splitlines() if line.startswith("model")]
        name = f"{lines[1]} (model {lines[0]}), {torch.get_num_threads()} thread, process time"
    return f"{time.strftime('%Y-%m-%d')}, {name}, torch {torch.__version__}"


def example(
    window: Window,
    device: str,
    dtype: torch.dtype = torch.float32,
    *,
    population: int = 1,
    batch: int = BATCH,
    recurrence: str | None = None,
) -> tuple[Lattice, Tensor, Tensor]:
    """Return a lattice, images and labels."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, *window.image, generator=generator).to(device, dtype)
    labels = torch.randint(window.classes, (batch,), generator=generator).to(device)
    lattice = Lattice(window, range(population)).to(device, dtype)
    lattice.recurrence = recurrence or lattice.recurrence
    with torch.no_grad():
        lattice.hazard_sureness.fill_(0.5)  # at its initial 0, half of the time selection has no gradient
    return lattice, images, labels


def learnt(lattice: Lattice, images: Tensor, labels: Tensor) -> Learned:
    """Set the gradients of a lattice's weights for the same loss as `loss`."""
    whole, labels_BP = (batch[:, None].expand(-1, lattice.population, *batch.shape[1:]) for batch in (images, labels))
    return learn(lattice, whole, labels_BP, STEP_LOSS, torch.full_like(lattice.readout_bias[:, 0], TIME_PRESSURE))


def training_step(module: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], None]:
    """Return a function that makes a training step, of a lattice as in training, of other modules with autograd."""
    if isinstance(module, Lattice):
        lattice, adam = module, Adam(list(module.parameters()), 1e-5)

        def lattice_step() -> None:
            learnt(lattice, images, labels)
            adam.step()

        return lattice_step
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-5, fused=True)

    def step() -> None:
        value = loss(module(images), labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    return step


def windows() -> Iterator[tuple[str, Window, float]]:
    """Yield the measured windows: a name, the window, and the aimed speed-up over torch."""
    for image, halve, aim in KINDS:
        for c in CHANNELS:
            halved = f", halve {', '.join(map(str, halve))}" if halve else ""
            name = f"{'×'.join(map(str, image[1:]))}{' colour' * (image[0] > 1)}, {c} channels{halved}"
            yield name, Window((c,) * LAYERS, STEPS, image, CLASSES, halve=halve), aim


def differences(window: Window, device: str, dtype: torch.dtype) -> tuple[float, float]:
    """Return the differences of answers and of gradients, each relative to the largest number of its tensor."""
    lattice, images, labels = example(window, device, dtype)
    plain = Plain(lattice)
    with torch.backends.cudnn.flags(allow_tf32=False):
        answers = [module(images) for module in (lattice, plain)]
        learnt(lattice, images, labels)
        loss(answers[1], labels).backward()
    theirs, ours = plain.slopes(), {name: weight.grad for name, weight in lattice.named_parameters()}
    assert ours.keys() == theirs.keys()

    def apart(a: Tensor, b: Tensor) -> float:
        return float((a - b).detach().abs().max() / b.detach().abs().max())

    ours_said, theirs_said = ((answer.logits_TBPK, answer.step_dist_TBP) for answer in answers)
    return max(map(apart, ours_said, theirs_said)), max(apart(ours[name], theirs[name]) for name in ours)


def show_same(device: str) -> bool:
    """Print the differences between the versions, and return whether all are rounding."""
    formats = list(TOLERANCE)
    heads = [f"{what}, {str(dtype)[6:]}" for dtype in formats for what in ("answers", "slopes")]
    print("| window |", " | ".join(heads), "|\n|---|" + "---:|" * len(heads))
    is_same = True
    both = ((name, window, bottom_up) for name, window, _ in windows() for bottom_up in CONVENTIONS)
    for name, window, bottom_up in both:
        window = replace(window, bottom_up=bottom_up)
        found = [differences(window, device, dtype) for dtype in formats]
        print(
            f"| {name}, {bottom_up} |", " | ".join(f"{value:.0e}" for pair in found for value in pair), "|", flush=True
        )
        is_same &= all(max(pair) < TOLERANCE[dtype] for pair, dtype in zip(found, formats, strict=True))
    print("\nThey are the same to rounding.\n" if is_same else "\nTHEY ARE NOT THE SAME.\n")
    return is_same


def recurrence_only(lattice: Lattice, images: Tensor) -> Callable[[], None]:
    """Return a function that runs only the recurrence of a training step, forward and backward."""
    whole, geometry = images[:, None].expand(-1, lattice.population, -1, -1, -1), lattice.geometry
    assert geometry is not None
    code = compiled.serving(lattice.recurrence, geometry, whole, lattice.weights)

    @torch.no_grad()
    def in_compiled_code() -> None:
        compiled.learn(code, geometry, whole, lattice.weights, lattice.room, torch.ones_like)

    def in_torch() -> None:
        features = lattice._features(whole)
        features.backward(torch.ones_like(features))
        lattice.zero_grad()

    return in_compiled_code if code else in_torch


def show_speed(device: str, rounds: int) -> None:
    """Print the milliseconds of a training step of all versions, and the compiled one's rate beside the core's."""
    fast, matrix = usable()[0], torch.rand(1024, 1024)
    print(f"`compiled` is for {fast}; the recurrence alone, in GFLOP/s, and a product of two matrices of 1024×1024.\n")
    print(
        "| window | plain, ms | torch, ms | compiled, ms | times faster than torch | aim | recurrence | product "
        "| rest of the step |\n|---|---:|---:|---:|---:|---|---:|---:|---:|"
    )
    rows = [(name, window, aim, 1, BATCH) for name, window, aim in windows()]
    for networks, channels, steps, batch in POPULATIONS:
        window = Window(channels, steps, (1, 8, 8), CLASSES)
        rows.append((f"8×8, {networks} of {'+'.join(map(str, channels))}, {steps} steps", window, 3.5, networks, batch))
    for name, window, aim, networks, size in rows:
        how = {"population": networks, "batch": size}
        versions: dict[str, Callable[[], None]] = {}
        for recurrence_name in (TORCH, fast):
            lattice, *batch = example(window, device, recurrence=recurrence_name, **how)
            versions[recurrence_name] = training_step(lattice, *batch)
        versions |= {"alone": recurrence_only(lattice, batch[0]), "product": lambda: matrix @ matrix}
        if networks == 1:
            versions["plain"] = training_step(Plain(lattice), *batch)
        ms = fastest(versions, device, rounds)
        ratio = ms[TORCH] / ms[fast]
        # Nearly all operations of an answer are convolutions; the backward pass has two for each.
        flops = 3 * 2 * count_macs(window, window.steps) * networks * size
        rate, product = flops / ms["alone"] / 1e6, 2 * len(matrix) ** 3 / ms["product"] / 1e6
        plain = f"{ms['plain']:.1f}" if "plain" in ms else "–"
        print(
            f"| {name} | {plain} | {ms[TORCH]:.1f} | {ms[fast]:.1f} | {ratio:.2f} "
            f"| {aim}, {'reached' if ratio >= aim else 'missed'} | {rate:.0f} | {product:.0f} "
            f"| {max(0.0, 1 - ms['alone'] / ms[fast]):.0%} |",
            flush=True,
        )
    print()


def show_tools(device: str, rounds: int) -> None:
    """Print the speed of the plain version under torch.compile, and the time to compile it."""
    print(
        "| window | plain, ms | torch.compile, ms | to compile, s | compiled recurrence, ms |\n"
        "|---|---:|---:|---:|---:|"
    )
    for name, window, _ in list(windows())[:2]:
        lattice, *batch = example(window, device)
        plain = Plain(lattice)
        begin = time.perf_counter()
        made = training_step(torch.compile(plain), *batch)
        made()
        took = time.perf_counter() - begin
        steps = {"plain": training_step(plain, *batch), "made": made, "lattice": training_step(lattice, *batch)}
        ms = fastest(steps, device, rounds)
        print(f"| {name} | {ms['plain']:.1f} | {ms['made']:.1f} | {took:.0f} | {ms['lattice']:.1f} |", flush=True)
    print()


def show_conventions(device: str, rounds: int) -> None:
    """Print the milliseconds of a training step of both conventions, and multiply-accumulates of a whole answer."""
    print("| window | within, ms | next, ms | times faster | multiply-accumulates |\n|---|---:|---:|---:|---:|")
    for name, window, _ in windows():
        by_convention = {bottom_up: replace(window, bottom_up=bottom_up) for bottom_up in CONVENTIONS}
        steps = {}
        for bottom_up, its in by_convention.items():
            lattice, *batch = example(its, device)
            steps[bottom_up] = training_step(lattice, *batch)
        ms = fastest(steps, device, rounds)
        macs = [count_macs(its, its.steps) for its in by_convention.values()]
        times = f"{ms['within']:.1f} | {ms['next']:.1f} | {ms['within'] / ms['next']:.2f}"
        print(f"| {name} | {times} | {macs[1] / macs[0]:.2f} of within |", flush=True)
    print()


def _by_autograd() -> AbstractContextManager[object]:
    return patch("sweeper.model.lattice.unroll", lambda *args: recurrence._forward(*args, None))


@contextmanager
def _contiguous() -> Iterator[None]:
    with patch.object(torch, "channels_last", torch.contiguous_format):
        yield


def _up_apart() -> AbstractContextManager[object]:
    return patch.object(recurrence.Geometry, "is_up_joined", lambda *_: False)


#: Variants of the recurrence in torch: name -> whether it is the plain version, its patch, and the number format.
IDEAS: dict[str, tuple[bool, Callable[[], AbstractContextManager[object]], torch.dtype]] = {
    "lattice": (False, nullcontext, torch.float32),
    "slopes by autograd": (False, _by_autograd, torch.float32),
    "way up not joined": (False, _up_apart, torch.float32),
    "contiguous": (False, _contiguous, torch.float32),
    "bfloat16": (False, nullcontext, torch.bfloat16),
    "plain": (True, nullcontext, torch.float32),
    "plain, autocast": (True, nullcontext, torch.bfloat16),
}


def show_ideas(device: str, rounds: int) -> None:
    """Print the milliseconds of a training step with single ideas reverted, and with other formats."""
    print("| window |", " | ".join(IDEAS), "|\n|---|" + "---:|" * len(IDEAS))
    for name, window, _ in windows():

        def variant(idea: str, window: Window = window) -> Callable[[], None]:
            is_plain, changed, dtype = IDEAS[idea]
            lattice, *batch = example(window, device, torch.float32 if is_plain else dtype, recurrence=TORCH)
            step = training_step(Plain(lattice) if is_plain else lattice, *batch)

            def run() -> None:
                with changed(), torch.autocast(device, dtype=torch.bfloat16, enabled=is_plain and dtype.itemsize == 2):
                    step()

            return run

        ms = fastest({idea: variant(idea) for idea in IDEAS}, device, rounds)
        print(f"| {name} |", " | ".join(f"{value:.1f}" for value in ms.values()), "|", flush=True)
    print()


def main() -> int:
    """Print the tables; return 1 if the two versions are not the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--parts", default="same,speed,tools,conventions,ideas")
    given = parser.parse_args()
    use_threads(1)
    parts = given.parts.split(",")
    print(f"{hardware(given.device)}; batch {BATCH}, {LAYERS} layers, {STEPS} steps, best of {given.rounds}\n")
    is_same = show_same(given.device) if "same" in parts else True
    shown = {"speed": show_speed, "tools": show_tools, "conventions": show_conventions, "ideas": show_ideas}
    for part, show in shown.items():
        if part in parts:
            show(given.device, given.rounds)
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main())
