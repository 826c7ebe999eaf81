"""Measures a GPU in one run of at most 8 minutes: does it compute the same, and how fast does it train networks?

    .venv/bin/python benchmarks/gpu.py [--minutes 8] [--parts same,training,graphs] [--device cpu]

`same` compares answers, gradients and short trainings with the CPU's, and sets the exit code to 1 if they differ by
more than rounding. `training` measures time and memory of whole training steps, as in a sweep, for 1 to 512 networks
side by side. `graphs` times the step alone (forward, loss, backward, Adam), launched normally and replayed from a CUDA
graph. Rows for which there is no time left are listed at the end. `--device cpu` tries the script without a GPU.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from lattice import BATCH, CLASSES, example, hardware
from population import STEPS as TRAINING_STEPS
from population import course, fresh
from torch import Tensor

from sweeper.model import Lattice, Window
from sweeper.model.adam import Adam

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
GRAPH_SIZES = (1, 8, 64, 512)

_T = TypeVar("_T")

WINDOWS = {
    "8×8 (digits)": Window((8,) * 3, 6, (1, 8, 8), CLASSES),
    "28×28, halve 2, 3 (MNIST)": Window((8,) * 3, 6, (1, 28, 28), CLASSES, halve=(2, 3)),
    "32×32 colour, halve 2, 3 (CIFAR)": Window((16,) * 3, 6, (3, 32, 32), CLASSES, halve=(2, 3)),
}
#: Largest difference that counts as rounding, relative to the largest number of its tensor, for answers and gradients.
TOLERANCE = {torch.float32: 2e-3, torch.float64: 1e-9}
#: The same after a few training steps in float64, which amplify differences.
TRAINED_TOLERANCE = 1e-6
#: Aim: speed-up over one network at a time, and the least number of networks that it applies to.
AIM, AIM_SIZE = 20, 32
#: Approximate time of a measurement, in seconds, and least number of repeats.
MEASURED_S, LEAST_REPEATS = 0.5, 2


class Clock:
    """Tells whether there is time for another row, which may take 1.5 times as long as the longest row of its table."""

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes
        self.left_out: list[str] = []

    def rows(self, named: Mapping[str, _T]) -> Iterator[_T]:
        """Yield each value that there is time for, and record the names of the others."""
        longest = 0.0
        for name, value in named.items():
            started = time.monotonic()
            if started + 1.5 * longest > self._end:
                self.left_out.append(name)
                continue
            yield value
            longest = max(longest, time.monotonic() - started)


def wait(device: str) -> None:
    """Wait until a GPU has finished its work."""
    if device != "cpu":
        torch.cuda.synchronize()


def milliseconds(call: Callable[[], object], device: str) -> float:
    """Return the wall time of a call in milliseconds, the least of two rounds."""
    call()
    wait(device)
    started = time.perf_counter()
    call()
    wait(device)
    repeats = max(LEAST_REPEATS, math.ceil(MEASURED_S / 2 / max(time.perf_counter() - started, 1e-6)))
    best = math.inf
    for _ in range(2):
        started = time.perf_counter()
        for _ in range(repeats):
            call()
        wait(device)
        best = min(best, (time.perf_counter() - started) / repeats * 1e3)
    return best


def loss_of(lattice: Lattice, images: Tensor, labels_B: Tensor) -> Tensor:
    """Return the sum of all networks' losses: mixture's loss and price of the expected time."""
    answer = lattice(images)
    of_label_BP = answer.log_probs_BPK.gather(2, labels_B[:, None, None].expand(-1, lattice.population, 1))[..., 0]
    loss: Tensor = 0.01 * answer.expected_steps_BP.mean(0).sum() - of_label_BP.mean(0).sum()
    return loss


def bare_step(lattice: Lattice, images: Tensor, labels: Tensor) -> Callable[[], None]:
    """Return a function that makes one training step without space prices and without reading numbers from the GPU."""
    parameters = list(lattice.parameters())
    optimizer = Adam(parameters, 1e-5)

    def step() -> None:
        for parameter in parameters:
            parameter.grad = None
        loss_of(lattice, images, labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def captured(step: Callable[[], None]) -> Callable[[], None]:
    """Return a function that replays a step from a CUDA graph.

    Raises:
        RuntimeError: If the step cannot be captured, for example because the CPU waits for a number.
    """
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def difference(ones: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """Return the largest difference, relative to the largest number of its tensor; infinite if any is not finite."""
    worst = 0.0
    for one, other in zip(ones, others, strict=True):
        mine, theirs = one.detach().cpu().double(), other.detach().cpu().double()
        apart = float((mine - theirs).abs().max() / theirs.abs().max().clamp_min(1e-12)) if mine.numel() else 0.0
        worst = max(worst, apart if math.isfinite(apart) else math.inf)
    return worst


def shown_sameness(device: str, clock: Clock) -> bool:
    """Print the differences between the device and the CPU; return whether all are rounding."""
    print("Difference from the CPU, relative to the largest number of each tensor, 5 networks:\n")
    print("| images | answers and slopes, float32 | float64 | weights after 6 training steps, float64 |")
    print("|---|---:|---:|---:|")
    is_same = True
    for name, window in clock.rows({f"sameness of {one[0]}": one for one in WINDOWS.items()}):
        cells = []
        for dtype, tolerance in TOLERANCE.items():
            found = []
            for where in ("cpu", device):
                lattice, images, labels = example(window, where, dtype, population=5, batch=16)
                # The reference uses the CPU's compiled code; the other uses torch, even if it is the CPU too.
                lattice.recurrence = lattice.recurrence if not found else "torch"
                loss_of(lattice, images, labels).backward()  # type: ignore[no-untyped-call]
                answer = lattice(images)
                slopes = [parameter.grad for parameter in lattice.parameters() if parameter.grad is not None]
                found.append([answer.logits_TBPK, answer.step_dist_TBP, *slopes])
            cells.append(difference(found[1], found[0]))
            is_same &= cells[-1] <= tolerance
        cells.append(difference(trained(window, device), trained(window, "cpu")))
        is_same &= cells[-1] <= TRAINED_TOLERANCE
        print(f"| {name} |", " | ".join(f"{cell:.1e}" for cell in cells), "|", flush=True)
    print(f"\n{'All of it is rounding.' if is_same else '**The device computes something else.**'}\n")
    return is_same


def trained(window: Window, device: str) -> list[Tensor]:
    """Return the weights of three networks after a few whole training steps in float64."""
    planned = course(3, window.image, "cpu")
    shard = fresh(replace(planned, images=planned.images.to(device, torch.float64)), range(3), window)
    for _ in range(3):
        shard.advance(0, TRAINING_STEPS)
    return list(shard.lattice.parameters())


def show_training(device: str, clock: Clock) -> None:
    """Print time and memory of a training step by the number of networks."""
    print(f"Whole training steps of {BATCH} images, milliseconds a step; and against one network at a time:\n")
    print("| images | networks | a step, ms | times as fast as one at a time | memory, MiB |")
    print("|---|---:|---:|---:|---:|")
    for name, window in WINDOWS.items():
        alone, most = math.nan, 0.0
        for size in clock.rows({f"{name}, {size} networks": size for size in SIZES}):
            try:
                value, memory = step_of(size, window, device)
            except torch.OutOfMemoryError:
                print(f"| {name} | {size} | – | – | more than there is |", flush=True)
                break
            alone = value if size == 1 else alone
            gain = size * alone / value
            most = max(most, gain if size >= AIM_SIZE else 0.0)
            print(f"| {name} | {size} | {value:.2f} | {gain:.1f} | {memory} |", flush=True)
        if most:
            reached = "reached" if most >= AIM else "missed"
            print(f"| {name} | {AIM_SIZE} or more | | **{most:.1f}**, aim {AIM}: {reached} | |")
    print()


def step_of(size: int, window: Window, device: str) -> tuple[float, str]:
    """Return the milliseconds of a training step, and its peak memory if the device reports it."""
    if device != "cpu":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    shard = fresh(course(size, window.image, device), range(size), window)
    value = milliseconds(lambda: shard.advance(0, TRAINING_STEPS), device) / TRAINING_STEPS
    return value, "–" if device == "cpu" else f"{torch.cuda.max_memory_allocated() / 2**20:.0f}"


def show_graphs(device: str, clock: Clock) -> bool:
    """Print the gain of replaying a step from a CUDA graph; return whether both give the same weights."""
    if device == "cpu":
        print("CUDA graphs: left out, since this is no GPU.\n")
        return True
    print("The step alone (forward, loss, backward, Adam), milliseconds:\n")
    print("| images | networks | launched | replayed from a graph | gain | difference of the weights |")
    print("|---|---:|---:|---:|---:|---:|")
    is_same = True
    for name, window in WINDOWS.items():
        for size in clock.rows({f"graphs of {name}, {size} networks": size for size in GRAPH_SIZES}):
            launched, replayed, apart = graph_of(size, window, device)
            if isinstance(replayed, str):
                print(f"| {name} | {size} | {launched:.2f} | cannot be captured: {replayed} | | |", flush=True)
                continue
            is_same &= apart <= TOLERANCE[torch.float32]
            gain = launched / replayed
            print(f"| {name} | {size} | {launched:.2f} | {replayed:.2f} | {gain:.1f} | {apart:.1e} |", flush=True)
    print()
    return is_same


def graph_of(size: int, window: Window, device: str) -> tuple[float, float | str, float]:
    """Return the milliseconds launched and replayed, and the difference of the weights after equally many steps.

    The second value is a reason, in one line, if the step cannot be captured.
    """
    torch.cuda.empty_cache()
    eager, images, labels = example(window, device, population=size)
    step = bare_step(eager, images, labels)
    other, _, _ = example(window, device, population=size)
    try:
        replay = captured(bare_step(other, images, labels))
    except RuntimeError as error:
        return milliseconds(step, device), (str(error).strip().splitlines() or ["no reason given"])[0][:120], math.nan
    for _ in range(3):  # as many steps as `captured` makes before the capture, which makes none
        step()
    for _ in range(5):
        step()
        replay()
    apart = difference(list(other.parameters()), list(eager.parameters()))
    return milliseconds(step, device), milliseconds(replay, device), apart


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try the script")
    parser.add_argument("--minutes", type=float, default=8.0, help="begin nothing that would end later")
    parser.add_argument("--parts", default="same,training,graphs")
    args = parser.parse_args()
    parts = args.parts.split(",")
    if not set(parts) <= {"same", "training", "graphs"}:
        parser.error(f"--parts takes same, training and graphs, separated by commas, but got {args.parts}")
    if args.device != "cpu" and not torch.cuda.is_available():
        sys.exit("torch finds no GPU here. Try the script with --device cpu, or see `sweeper doctor`.")
    clock = Clock(args.minutes)
    print(f"{hardware(args.device)}; CUDA {torch.version.cuda or '–'}\n")
    is_same = "same" not in parts or shown_sameness(args.device, clock)
    if "graphs" in parts:  # before `training`, which takes longest
        is_same &= show_graphs(args.device, clock)
    if "training" in parts:
        show_training(args.device, clock)
    if clock.left_out:
        print(f"There was no time for {len(clock.left_out)} rows: {'; '.join(clock.left_out)}")
    sys.exit(0 if is_same else 1)


if __name__ == "__main__":
    main()
