"""The made-up training of peers.py, the same under every system, with log lines for each epoch, and its checkpoint.

It needs only numpy, so that no system pays for a package that another one loads anyway. Its processor time is exact: an
epoch ends when its thread has used the requested time, however busy the machine is.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

#: Number of weights in a checkpoint, which so takes 80 kB.
SIZE = 10_000


class Training:
    """One training: calls of `epoch`, then one of `done`.

    Attributes:
        weights: Content of a checkpoint.
    """

    def __init__(self, x: float, y: float, seconds: float, epochs: int, log: str) -> None:
        self._x, self._y, self._seconds, self._log = float(x), float(y), seconds / epochs, log
        self.weights = np.zeros(SIZE)
        self._loss = float("nan")

    def epoch(self, epoch: int) -> float:
        """Train for one epoch, from 0; return the loss after it."""
        self._say("begin", epoch)
        busy_for(self._seconds)
        self.weights = next_weights(self.weights, self._x, self._y)
        self._loss = loss_of(self.weights)
        self._say("end", epoch)
        return self._loss

    def done(self) -> float:
        """Log that the last epoch has been reported; return the loss."""
        self._say("done", -1)
        return self._loss

    def save(self, path: Path, epoch: int) -> None:
        """Write a checkpoint after `epoch` epochs."""
        with path.open("wb") as file:
            np.savez(file, weights=self.weights, epoch=epoch)

    def load(self, path: Path) -> int:
        """Resume from a checkpoint; return its number of epochs."""
        with np.load(path) as kept:
            self.weights = kept["weights"]
            self._loss = loss_of(self.weights)
            return int(kept["epoch"])

    def _say(self, event: str, epoch: int) -> None:
        said = {"at": time.time(), "event": event, "x": self._x, "y": self._y, "epoch": epoch, "loss": self._loss}
        said |= {"pid": os.getpid(), "program": Path(sys.argv[0]).name}
        line = json.dumps(said) + "\n"
        descriptor = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line.encode())  # in one call, since several processes write
        os.close(descriptor)


def busy_for(seconds: float) -> None:
    """Compute until this thread has used this much processor time."""
    until, matrix = time.thread_time() + seconds, np.ones((40, 40)) / 40
    while time.thread_time() < until:
        for _ in range(20):
            matrix = matrix @ matrix


def next_weights(weights: np.ndarray, x: float, y: float) -> np.ndarray:
    return weights * 0.5 + np.linspace(x, y, SIZE)


def loss_of(weights: np.ndarray) -> float:
    return float(np.square(weights - 1).mean())


def loss_after(x: float, y: float, epochs: int) -> float:
    """Return the loss of an undisturbed training."""
    weights = np.zeros(SIZE)
    for _ in range(epochs):
        weights = next_weights(weights, x, y)
    return loss_of(weights)


def train(trial: Any, x: float, y: float, seconds: float, epochs: int, log: str) -> None:
    """Train as this system calls the function."""
    training = Training(x, y, seconds, epochs, log)
    if trial.state is not None:
        training.weights = trial.state
    for epoch in trial.epochs(epochs):
        loss = training.epoch(epoch)
        trial.report(state=training.weights, loss=loss)
    training.done()
