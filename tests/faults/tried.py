"""What fault tests tried and found, as a file that the documentation's figures are made of."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

from tests.faults.measured import measured_on

#: Whose versions matter to what is read.
_PACKAGES = ("pareto-sweeper", "mlflow", "optuna", "pyarrow", "safetensors", "torch", "hypothesis")


class Tried:
    """Counts answers by what was tried, and keeps those that are wrong in words."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.wrong: list[str] = []

    def note(self, what: str, answer: str, said: str = "") -> None:
        """Count one answer; `said` is what is wrong with it, where something is."""
        self.counts[what][answer] += 1
        if said:
            self.wrong.append(f"{what}: {answer}: {said}")

    def write(self, file: str | Path, **more: object) -> None:
        """Write it as JSON, with when, where and on what it was found."""
        found = {
            **measured_on(_PACKAGES),
            **more,
            "tried": {what: dict(sorted(counts.items())) for what, counts in self.counts.items()},
        }
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
