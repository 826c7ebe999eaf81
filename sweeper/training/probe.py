"""Answers questions about torch and trainings, each in a separate process; see `sweeper.isolated`."""

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
    """Answer with torch's build, the devices that it sees, and the step time of each available recurrence in ms."""
    facts = torch_facts()
    use_threads(1)
    answer({**facts, "step_ms": {name: reference_step_ms(name) for name in facts["recurrences"]}})


def population() -> None:
    """Read settings, train them briefly side by side, and answer with the peak memory of this process in bytes.

    With a `folder`, a user's own costs are imported from there and take part.
    """
    given = json.load(sys.stdin)
    settings = [LatticeSetting.from_flat(flat) for flat in given["settings"]]
    with redirect_stdout(sys.stderr):  # output of a user's code is no answer
        found = probe(settings, folder=given["folder"] or None)
    answer({"memory_bytes": found.memory_bytes, "checkpoint_bytes": found.checkpoint_bytes})


if __name__ == "__main__":
    serve({"torch": torch_build, "population": population})
