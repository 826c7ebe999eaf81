"""What training side by side gains on one core, and what its convolutions cost by layout."""

from __future__ import annotations

import statistics
import time
from contextlib import suppress

import torch
import torch.nn.functional as F

from model import Epoch, Pressures, TaskDefinition, TrainingSettings, Window, load_task, train

SIZES = (1, 2, 4, 6, 12, 16)
CHANNELS, SIDE, BATCH = 8, 8, 64


class _EnoughError(Exception):
    """Ends a training that was long enough to time."""


def epoch_ms(size: int, epochs: int = 3) -> float:
    """Return the time of an epoch of the quickstart's ten-digit networks, per network; the first one warms up."""
    task = load_task(TaskDefinition(classes=10))
    window = Window((CHANNELS,) * 3, 6, task.image, task.classes)
    settings = TrainingSettings(
        epochs=60, batch_size=BATCH, learning_rate=3e-3, solver="proximal", step_loss=0.2, entropy_bonus=0.1
    )
    ends: list[float] = []

    def stop(epoch: Epoch) -> None:
        ends.append(time.perf_counter())
        if len(ends) > epochs:
            raise _EnoughError

    with suppress(_EnoughError):
        train(task, window, [Pressures(0.1, 0.1, 0.1, seed) for seed in range(size)], settings, report=stop)
    return (ends[-1] - ends[0]) / epochs / size * 1000


def convolution_us(size: int, *, is_channels_last: bool, joined: int, rounds: int = 7) -> float:
    """Return the median time of one 8-to-8-channel convolution, forward and backward, per network.

    Args:
        size: Networks side by side, one group each.
        is_channels_last: Memory layout of images and kernels.
        joined: How many convolutions of the same input are done as one.
        rounds: Rounds of 20 convolutions, of which the median counts.
    """
    layout = torch.channels_last if is_channels_last else torch.contiguous_format
    state = torch.rand(BATCH, size * CHANNELS, SIDE, SIDE).to(memory_format=layout).requires_grad_()
    weight = torch.rand(size * CHANNELS * joined, CHANNELS, 3, 3).to(memory_format=layout).requires_grad_()
    slope = torch.rand(BATCH, size * CHANNELS * joined, SIDE, SIDE).to(memory_format=layout)
    times: list[float] = []
    for _ in range(rounds + 1):  # the first one warms up
        start = time.perf_counter()
        for _ in range(20):
            F.conv2d(state, weight, padding=1, groups=size).backward(slope)
        times.append((time.perf_counter() - start) / 20 / size / joined * 1e6)
    return statistics.median(times[1:])


def main() -> None:
    """Print one row a population size."""
    torch.set_num_threads(1)
    flop = 3 * 2 * BATCH * SIDE**2 * 9 * CHANNELS**2  # forward, and backward to input and weights
    print("| P | ms per epoch and network | one convolution, µs | GFLOP/s | channels-last, µs | three joined, µs |")
    print("|---:|---:|---:|---:|---:|---:|")
    for size in SIZES:
        plain = convolution_us(size, is_channels_last=False, joined=1)
        last = convolution_us(size, is_channels_last=True, joined=1)
        joined = convolution_us(size, is_channels_last=False, joined=3)
        print(f"| {size} | {epoch_ms(size):.0f} | {plain:.0f} | {flop / plain / 1e3:.0f} | {last:.0f} | {joined:.0f} |")


if __name__ == "__main__":
    main()
