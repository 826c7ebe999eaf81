"""Records the tries and findings of fault tests in a file, from which the documentation's figures are made."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

from tests.faults.measured import measured_on

#: Packages whose versions matter to reading stored data.
_PACKAGES = ("pareto-sweeper", "mlflow", "optuna", "pyarrow", "safetensors", "torch", "hypothesis")


class Tried:
    """Counts answers by the kind of try, and keeps descriptions of wrong ones."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.wrong: list[str] = []

    def note(self, what: str, answer: str, said: str = "") -> None:
        """Count one answer; `said` describes what is wrong with it, if anything is."""
        self.counts[what][answer] += 1
        if said:
            self.wrong.append(f"{what}: {answer}: {said}")

    def write(self, file: str | Path, **more: object) -> None:
        """Write the counts as JSON, with the date, the processor and the versions."""
        found = {
            **measured_on(_PACKAGES),
            **more,
            "tried": {what: dict(sorted(counts.items())) for what, counts in self.counts.items()},
        }
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
