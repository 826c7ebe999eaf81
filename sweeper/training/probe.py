"""Answers about torch and trainings, each given in a process of its own: see `sweeper.isolated`."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout

from sweeper.isolated import answer, serve
from sweeper.model.compute import torch_facts, use_threads
from sweeper.model.forecast import reference_step_ms
from sweeper.spec import LatticeSetting
from sweeper.training.forecast import probe


def torch_build() -> None:
    """Say what torch was built for, which devices it sees, and how fast each thing is that networks can run in."""
    facts = torch_facts()
    use_threads(1)
    answer({**facts, "step_ms": {name: reference_step_ms(name) for name in facts["recurrences"]}})


def population() -> None:
    """Read settings, train them side by side for a moment, and say what memory this process took at most.

    With a `folder` a user's own costs are imported from there, and take part.
    """
    given = json.load(sys.stdin)
    settings = [LatticeSetting.from_flat(flat) for flat in given["settings"]]
    with redirect_stdout(sys.stderr):  # what a user's code prints is no answer
        found = probe(settings, folder=given["folder"] or None)
    answer({"memory_bytes": found.memory_bytes, "checkpoint_bytes": found.checkpoint_bytes})


if __name__ == "__main__":
    serve({"torch": torch_build, "population": population})
