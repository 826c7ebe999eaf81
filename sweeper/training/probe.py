"""Answers about torch and trainings, each given in a process of its own: see `sweeper.isolated`."""

from __future__ import annotations

import json
import sys

from sweeper.isolated import answer, serve
from sweeper.model.compute import torch_facts
from sweeper.spec import Setting
from sweeper.training.forecast import probe


def torch_build() -> None:
    """Say what torch was built for and which devices it sees."""
    answer(torch_facts())


def population() -> None:
    """Read settings, train them side by side for a moment, and say what memory this process took at most."""
    answer({"memory_bytes": probe([Setting.from_flat(flat) for flat in json.load(sys.stdin)]).memory_bytes})


if __name__ == "__main__":
    serve({"torch": torch_build, "population": population})
